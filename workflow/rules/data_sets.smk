"""Data of test sets and variants that differ from those of the study: all steps of the preparation in one job."""

import json


def prepared_flags(wildcards):
    """Return the flags of the preparation of a data set."""
    study, halves = PREPARED[wildcards.key]
    kept = None if study.input else data_sets.probe_of(STUDY)
    return [
        *([] if "train" in halves else ["--test_only"]),
        *(["--probe_of", json.dumps(kept, sort_keys=True)] if kept else []),
        "--seed",
        str(study.seed),
        *([] if study.input else as_flags(study.specimen)),
        *as_flags(study.simulation),
        *as_flags(study.preparation, skip=("keep_stages",)),
    ]


def replaced_data():
    """Return the param of the preparation of data sets whose input or mask was replaced; other sets keep theirs."""
    masks = [study.simulation.bad_pixels for study, _ in PREPARED.values()]
    if not replaced(STUDY.input, *masks):
        return {}

    def of_data_set(wildcards):
        study, _ = PREPARED[wildcards.key]
        found = INPUTS.replaced([study.input, study.simulation.bad_pixels])
        # these flags are a param already: Snakemake compares the set of them
        return found or prepared_flags(wildcards)

    return {"replaced": of_data_set}


rule prepare_test_data:
    input:
        source=lambda wildcards: PREPARED[wildcards.key][0].input or [],
        mask=lambda wildcards: PREPARED[wildcards.key][0].simulation.bad_pixels or [],
    output:
        f"{OUT}/{layout.PREPARED_DIR}_{{key}}/test.npz",
    log:
        f"{OUT}/logs/prepare_{{key}}.log",
    benchmark:
        f"{OUT}/benchmarks/prepare_{{key}}.tsv"
    wildcard_constraints:
        key="|".join(k for k, (_, halves) in PREPARED.items() if "train" not in halves)
        or "none",
    conda:
        "../envs/ptycho.yaml"
    threads: CORES
    params:
        **replaced_data(),
        directory=subpath(output[0], parent=True),
        input=lambda wildcards, input: (
            ["--input", input.source] if input.source else []
        ),
        flags=prepared_flags,
    message:
        "Preparing the data set {wildcards.key}"
    shell:
        "ptycho-prepare-dataset --output_dir {params.directory:q} {params.input:q} {params.flags:q} 2> {log:q}"


use rule prepare_test_data as prepare_data with:
    output:
        f"{OUT}/{layout.PREPARED_DIR}_{{key}}/test.npz",
        f"{OUT}/{layout.PREPARED_DIR}_{{key}}/train.npz",
    wildcard_constraints:
        key="|".join(k for k, (_, halves) in PREPARED.items() if "train" in halves)
        or "none",
