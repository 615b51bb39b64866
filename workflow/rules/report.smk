"""The configuration, the summary and the merged log of a study."""

import dataclasses

import yaml

from ptycho.io.text import to_jsonable

ALL_PLOTS = [*(f"{plot}_generalization" for plot in PLOTS), *FIGURES]


CONFIGURATION = to_jsonable(dataclasses.asdict(STUDY))
# always null here, and a further key would write the files of finished studies anew
del CONFIGURATION["analysis_dir"]
for key in ("claims", "target", "test_sets", "sweep"):
    if getattr(STUDY, key) == getattr(StudyConfig(), key):
        del CONFIGURATION[key]
if not STUDY.plots.scaling_law:
    del CONFIGURATION["plots"]["scaling_law"]


rule study_config:
    output:
        f"{OUT}/{layout.STUDY_CONFIG}",
    log:
        f"{OUT}/logs/study_config.log",
    conda:
        "../envs/ptycho.yaml"
    params:
        text=yaml.safe_dump(CONFIGURATION, sort_keys=False),
    message:
        "Writing the configuration of the study to {output}"
    shell:
        "printf '%s' {params.text:q} > {output:q} 2> {log:q}"


rule summary:
    input:
        config=[] if STUDY.existing else f"{OUT}/{layout.STUDY_CONFIG}",
        tables=[f"{OUT}/{table}" for table in TABLES],
        sets=[path for path in SET_FILES if path.endswith(".csv")],
        # the summary reads the benchmarks of these jobs, too
        plots=expand(f"{OUT}/{{plot}}.png", plot=ALL_PLOTS),
        sizes=(
            []
            if STUDY.existing
            else expand(
                f"{SIZE}/{layout.COMPARISON_PLOT}",
                branch=BRANCHES,
                size=STUDY.train_sizes,
            )
        ),
        test=[] if STUDY.existing else TEST_DATA,
        train=[] if STUDY.existing else TRAIN_DATA,
    output:
        report(
            f"{OUT}/{layout.SUMMARY}",
            caption="../report/summary.rst",
            category="Overview",
            labels={"figure": "summary"},
        ),
        f"{OUT}/{layout.RESULTS_TEX}",
        f"{OUT}/{layout.COSTS}",
        (
            []
            if STUDY.existing
            else report(
                f"{OUT}/{layout.COSTS_PLOT}",
                caption="../report/costs.rst",
                category="Overview",
                labels={"figure": "costs"},
            )
        ),
    log:
        f"{OUT}/logs/summary.log",
    benchmark:
        f"{OUT}/benchmarks/summary.tsv"
    conda:
        "../envs/ptycho.yaml"
    params:
        study=analysed,
        out=analysis,
        data=lambda wildcards, input: (
            ["--test_data", input.test, "--train_data", input.train]
            if input.test
            else []
        ),
    message:
        "Writing the summary of the study"
    shell:
        "ptycho-summarize-study {params.study:q} --output_dir {params.out:q} {params.data:q} 2> {log:q}"


rule study_log:
    input:
        f"{OUT}/{layout.SUMMARY}",
        expand(
            f"{SIZE}/{layout.COMPARISON_PLOT}", branch=BRANCHES, size=STUDY.train_sizes
        ),
        expand(f"{OUT}/{{plot}}.png", plot=ALL_PLOTS),
    output:
        f"{OUT}/{layout.STUDY_LOG}",
    log:
        f"{OUT}/logs/study_log.log",
    conda:
        "../envs/ptycho.yaml"
    params:
        study=subpath(output[0], parent=True),
    message:
        "Merging the logs of all jobs into {output}"
    shell:
        "ptycho-collect-logs {params.study:q} 2> {log:q}"
