"""What a reader opens: the configuration, the log and the summary."""

import dataclasses

import yaml

from ptycho.data.store import plain


rule study_config:
    output:
        f"{OUT}/study_config.txt",
    log:
        f"{OUT}/logs/study_config.log",
    conda:
        "../../environment.yml"
    params:
        text=yaml.safe_dump(plain(dataclasses.asdict(STUDY)), sort_keys=False),
    shell:
        "printf '%s' {params.text:q} > {output:q} 2> {log:q}"


rule summary:
    input:
        config=f"{OUT}/study_config.txt",
        tables=multiext(
            f"{OUT}/", "results.csv", "results_all_trials.csv", "statistics.csv"
        ),
        test=TEST_DATA,
    output:
        f"{OUT}/STUDY_SUMMARY.md",
    log:
        f"{OUT}/logs/summary.log",
    benchmark:
        f"{OUT}/benchmarks/summary.tsv"
    conda:
        "../../environment.yml"
    params:
        study=subpath(output[0], parent=True),
    shell:
        script(
            "summarize_study.py {params.study:q} --test_data {input.test:q} 2> {log:q}"
        )


rule study_log:
    input:
        f"{OUT}/STUDY_SUMMARY.md",
        expand(f"{OUT}/train_{{size}}/comparison_plot.png", size=STUDY.train_sizes),
        expand(f"{OUT}/{{plot}}_generalization.png", plot=PLOTS),
    output:
        f"{OUT}/study_log.txt",
    log:
        f"{OUT}/logs/study_log.log",
    conda:
        "../../environment.yml"
    params:
        study=subpath(output[0], parent=True),
    shell:
        script("collect_logs.py {params.study:q} 2> {log:q}")
