"""All trials -> tables and generalization plots."""

METRICS = ["psnr", "frc50", "mae", "mse", "ssim", "ms_ssim", *CUSTOM_METRICS]
PLOTS = [f"{metric}_{part}" for metric in METRICS for part in ("phase", "amp")]
ALL_METRICS = expand(
    f"{TRIAL}/comparison_metrics.csv", size=STUDY.train_sizes, trial=TRIALS
)
SELECTION = [
    "--train-sizes",
    *map(str, STUDY.train_sizes),
    "--num-trials",
    str(STUDY.num_trials),
]


rule tables:
    input:
        ALL_METRICS,
    output:
        multiext(f"{OUT}/", "results.csv", "results_all_trials.csv", "statistics.csv"),
    log:
        f"{OUT}/logs/tables.log",
    benchmark:
        f"{OUT}/benchmarks/tables.tsv"
    conda:
        "../../environment.yml"
    params:
        study=subpath(output[0], parent=True),
        selection=SELECTION,
        seed=STUDY.seed,
    shell:
        script(
            "aggregate_and_plot_results.py {params.study:q} --tables-only "
            "{params.selection:q} --seed {params.seed} 2> {log:q}"
        )


rule generalization_plot:
    input:
        ALL_METRICS,
    output:
        f"{OUT}/{{metric}}_{{part}}_generalization.png",
    log:
        f"{OUT}/logs/plot_{{metric}}_{{part}}.log",
    benchmark:
        f"{OUT}/benchmarks/plot_{{metric}}_{{part}}.tsv"
    wildcard_constraints:
        metric="|".join(METRICS),
        part="amp|phase",
    conda:
        "../../environment.yml"
    params:
        study=subpath(output[0], parent=True),
        selection=SELECTION,
        flags=plot_flags(),
    shell:
        script(
            "aggregate_and_plot_results.py {params.study:q} --metric {wildcards.metric} "
            "--part {wildcards.part} --output {output:q} {params.selection:q} {params.flags:q} 2> {log:q}"
        )
