"""Tables and figures of all trials."""

METRICS = ["rmse", "psnr", "frc50", "mae", "mse", "ssim", "ms_ssim", *CUSTOM_METRICS]
PLOTS = [f"{metric}_{part}" for metric in METRICS for part in ("phase", "amp")]
FIGURES = ["overview", "training_curves", "reconstructions_by_size"]
TABLES = list(layout.TABLES)
FORMATS = [extension for extension in STUDY.plots.formats if extension != "png"]
SELECTION = [
    "--train-sizes",
    *map(str, STUDY.train_sizes),
    "--num-trials",
    str(STUDY.num_trials),
    "--variants",
    *STUDY.variants,
]
ALL_METRICS = expand(
    f"{TRIAL}/{layout.COMPARISON_METRICS}",
    branch=BRANCHES,
    size=STUDY.train_sizes,
    trial=TRIALS,
)
FIGURE_INPUTS = {
    "overview": [],
    "training_curves": [
        f"{OUT}/{branch}train_{size}/trial_{trial}/{arm}_run/{layout.HISTORY}"
        for branch, study in VARIANTS.items()
        for arm in (STUDY.varied_arms(branch.split("/")[1]) if branch else STUDY.arms)
        if arm in ("pinn", "baseline")
        for size in STUDY.train_sizes
        for trial in TRIALS
    ],
    "reconstructions_by_size": expand(
        f"{TRIAL}/{layout.RECONSTRUCTIONS}",
        branch=BRANCHES,
        size=STUDY.train_sizes,
        trial=TRIALS,
    ),
}
if STUDY.arms and not FIGURE_INPUTS["training_curves"]:
    FIGURES = [figure for figure in FIGURES if figure != "training_curves"]
if STUDY.existing:
    from ptycho.study import sweeps, tables, test_sets, trials

    try:
        FOUND = trials.read_trials(STUDY.existing)
        WIDE = tables.results_all_trials(FOUND)
        FIGURES = tables.possible_figures(STUDY.existing, WIDE)
        ALL_METRICS = [
            str(path)
            for branch in layout.branches(STUDY.existing).values()
            for path in layout.metric_files(branch).values()
        ]
    except InputError as error:
        sys.exit(f"error: existing: {error}")
    SELECTION = []
    SCORED = [
        str(directory / layout.COMPARISON_METRICS)
        for branch in layout.branches(STUDY.existing).values()
        for path in layout.metric_files(branch).values()
        for directory in layout.test_set_dirs(path.parent).values()
    ]
    SET_METRICS = SCORED
    SWEEPS = sweeps.configured(STUDY.existing)
    SET_NAMES, STRENGTH_LISTS = test_sets.configured(STUDY.existing, SCORED)
    PLOTS = [f"{metric}_{part}" for metric, part in tables.plotted(WIDE)]
    METRICS = sorted({metric for metric, _ in tables.plotted(WIDE)})
    FIGURE_INPUTS = dict.fromkeys(FIGURES, [])


rule tables:
    input:
        ALL_METRICS,
    output:
        [
            report(
                f"{OUT}/{table}",
                caption="../report/tables.rst",
                category="Tables",
                labels={"table": table},
            )
            for table in TABLES
        ],
    log:
        f"{OUT}/logs/tables.log",
    benchmark:
        f"{OUT}/benchmarks/tables.tsv"
    conda:
        "../envs/ptycho.yaml"
    params:
        study=analysed,
        out=analysis,
        selection=SELECTION,
        seed=STUDY.seed,
        target=TARGET,
    message:
        "Collecting the metrics of all trials in tables"
    shell:
        "ptycho-aggregate-and-plot-results {params.study:q} --tables-only --output_dir {params.out:q} "
        "--seed {params.seed} {params.selection:q} {params.target:q} 2> {log:q}"


rule generalization_plot:
    """The plots of all metrics: each is a target of its own, but one process draws them all."""
    input:
        ALL_METRICS,
        f"{OUT}/{layout.ALL_TRIALS}",  # read instead of the table of each trial
    output:
        [
            report(
                f"{OUT}/{plot}_generalization.png",
                caption="../report/generalization.rst",
                category="Generalization",
                labels=dict(zip(("metric", "part"), plot.rsplit("_", 1))),
            )
            for plot in PLOTS
        ],
        expand(f"{OUT}/{{plot}}_generalization.{{end}}", plot=PLOTS, end=FORMATS),
    log:
        f"{OUT}/logs/plot_generalization.log",
    benchmark:
        f"{OUT}/benchmarks/plot_generalization.tsv"
    conda:
        "../envs/ptycho.yaml"
    params:
        study=analysed,
        out=analysis,
        plots=PLOTS,
        selection=SELECTION,
        flags=plot_flags(),
    message:
        "Plotting all metrics against the number of training images"
    shell:
        "ptycho-aggregate-and-plot-results {params.study:q} --plots {params.plots:q} --output_dir {params.out:q} "
        "{params.selection:q} {params.flags:q} 2> {log:q}"


rule figure:
    input:
        ALL_METRICS,
        f"{OUT}/{layout.ALL_TRIALS}",
        lambda wildcards: FIGURE_INPUTS[wildcards.figure],
    output:
        png=report(
            f"{OUT}/{{figure}}.png",
            caption="../report/figure.rst",
            category="Overview",
            labels={"figure": "{figure}"},
        ),
        others=[f"{OUT}/{{figure}}.{end}" for end in FORMATS],
    log:
        f"{OUT}/logs/plot_{{figure}}.log",
    benchmark:
        f"{OUT}/benchmarks/plot_{{figure}}.tsv"
    wildcard_constraints:
        figure="|".join(FIGURES) or "none",
    conda:
        "../envs/ptycho.yaml"
    params:
        study=analysed,
        selection=SELECTION,
        flags=plot_flags(),
    message:
        "Drawing the figure {wildcards.figure}"
    shell:
        "ptycho-aggregate-and-plot-results {params.study:q} --figure {wildcards.figure} "
        "--output {output.png:q} {params.selection:q} {params.flags:q} 2> {log:q}"


UNCERTAINTY_FIGURES = [
    layout.UNCERTAINTY_CALIBRATION,
    *map(layout.uncertainty_maps, ("amp", "phase")),
]


rule uncertainty:
    """Spread of the trials beside the error of their mean; no part of the whole study."""
    input:
        ALL_METRICS,
        f"{OUT}/{layout.ALL_TRIALS}",
        FIGURE_INPUTS.get("reconstructions_by_size", []),
    output:
        report(
            f"{OUT}/{layout.UNCERTAINTY}",
            caption="../report/uncertainty.rst",
            category="Uncertainty",
            labels={"shown": "table"},
        ),
        [
            report(
                f"{OUT}/{figure}.png",
                caption="../report/uncertainty.rst",
                category="Uncertainty",
                labels={"shown": figure},
            )
            for figure in UNCERTAINTY_FIGURES
        ],
        expand(f"{OUT}/{{figure}}.{{end}}", figure=UNCERTAINTY_FIGURES, end=FORMATS),
    log:
        f"{OUT}/logs/uncertainty.log",
    benchmark:
        f"{OUT}/benchmarks/uncertainty.tsv"
    conda:
        "../envs/ptycho.yaml"
    params:
        study=analysed,
        out=analysis,
        selection=SELECTION,
        flags=plot_flags(),
    message:
        "Comparing the spread over the trials with the error of their mean"
    shell:
        "ptycho-summarize-uncertainty {params.study:q} --output_dir {params.out:q} {params.selection:q} "
        "{params.flags:q} 2> {log:q}"
