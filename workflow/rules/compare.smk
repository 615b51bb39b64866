"""The models of a trial side by side, and each size over its trials."""

MODEL_FILES = {
    "pinn": ["pinn_run/wts.h5.zip", "pinn_run/history.json"],
    "baseline": ["baseline_run/baseline_model.h5", "baseline_run/history.json"],
}
TRIAL_FILES = [
    *(file for arm in STUDY.arms for file in MODEL_FILES[arm]),
    *COMPARISON_FILES,
    "reconstructions.npz",
    "frc_curves.csv",
]


rule compare:
    input:
        models=[f"{TRIAL}/{file}" for arm in STUDY.arms for file in MODEL_FILES[arm]],
        test=TEST_DATA,
        mask=STUDY.measured.bad_pixels or [],
    output:
        multiext(
            f"{TRIAL}/",
            "comparison_metrics.csv",
            "comparison_plot.png",
            "reconstructions.npz",
            "frc_curves.csv",
        ),
    log:
        f"{OUT}/logs/compare_{{size}}_{{trial}}.log",
    benchmark:
        f"{OUT}/benchmarks/compare_{{size}}_{{trial}}.tsv"
    conda:
        "../../environment.yml"
    threads: workflow.cores or 1
    params:
        directory=subpath(output[0], parent=True),
        models=[
            word
            for arm in STUDY.arms
            for word in (f"--{arm}_dir", f"{TRIAL}/{arm}_run")
        ],
        flags=[
            *study_config.as_flags(STUDY.evaluation),
            *study_config.as_flags(STUDY.measured),
        ],
        plot_flags=study_config.as_flags(STUDY.plots, skip=("formats", "band")),
        seed=STUDY.seed,
    shell:
        script(
            "compare_models.py {params.models:q} --test_data {input.test:q} "
            "--output_dir {params.directory:q} --seed {params.seed} "
            "--title '{wildcards.size} training images, trial {wildcards.trial}' "
            "{params.flags:q} {params.plot_flags:q} 2> {log:q}"
        )


rule compare_size:
    input:
        expand(
            f"{TRIAL}/{{file}}",
            trial=TRIALS,
            file=["comparison_metrics.csv", "reconstructions.npz"],
            allow_missing=True,
        ),
    output:
        multiext(
            f"{OUT}/train_{{size}}/", "comparison_metrics.csv", "comparison_plot.png"
        ),
    log:
        f"{OUT}/logs/compare_{{size}}.log",
    benchmark:
        f"{OUT}/benchmarks/compare_{{size}}.tsv"
    conda:
        "../../environment.yml"
    params:
        study=subpath(output[0], ancestor=2),
        trials=STUDY.num_trials,
        flags=plot_flags(),
    shell:
        script(
            "aggregate_and_plot_results.py {params.study:q} --size {wildcards.size} "
            "--num-trials {params.trials} {params.flags:q} 2> {log:q}"
        )
