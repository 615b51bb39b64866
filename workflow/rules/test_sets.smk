"""Further test sets: their data, the scores of the models of each trial on them, and their tables and figures."""

import json

MEASURED_SETS = data_sets.foreign_test_sets(STUDY)
SET_NAME = "[a-z][a-z0-9_]*"
SAMPLE_FLAGS = ["--seed", str(STUDY.seed)]
if STUDY.evaluation.n_test_images is not None:
    SAMPLE_FLAGS += ["--n_test_images", str(STUDY.evaluation.n_test_images)]


def set_words(branch, size, trial):
    """Return the flags that describe the test sets of a trial to the command."""
    words = []
    for one in SETS[branch]:
        error = {k: v for k, v in dataclasses.asdict(one.probe_error).items() if v}
        stated = {
            k: v
            for k, v in dataclasses.asdict(one.study.measured).items()
            if v not in (None, "auto")
        }
        given = {
            "name": one.name,
            "data": set_data(branch, one),
            **({} if one.own_data else {"held_out": True}),
            **({"measured": stated} if stated and is_stated(one) else {}),
            **({"probe_error": error} if error else {}),
            **({"network_is_exact": True} if one.network_is_exact else {}),
        }
        if set_iterative(branch, one):
            given["iterative_dir"] = os.path.dirname(set_iterative(branch, one))
        words += ["--set", json.dumps(given, sort_keys=True)]
    return words


def is_stated(one):
    """Return whether a test set is read in the conventions that the configuration states: if it is not imported."""
    if one.test_data:
        return one.group not in MEASURED_SETS
    return not one.own_data and "test" not in IMPORTED


def set_data(branch, one):
    """Return the data file of a test set in a branch."""
    if not one.own_data:
        return data_of(branch, "test")
    if one.test_data:
        imported = f"{OUT}/{layout.IMPORTED_SETS_DIR}/{one.group}.npz"
        return imported if one.group in MEASURED_SETS else one.test_data
    return prepared_file(one.study, "test")


def set_iterative(branch, one):
    """Return the reconstruction of a test set by the iterative arm of a branch; none where there is none."""
    if "iterative" not in arms(branch) or one.network_is_exact:
        return None
    if data_sets.needs_iterative(one, STUDY):
        return f"{OUT}/{branch}iterative/test_{one.name}/{layout.RECONSTRUCTION}"
    return f"{iterative_dir(branch)}/{layout.RECONSTRUCTION}"


def set_masks(branch):
    """Return the masks that the test sets of a branch are read with."""
    found = {one.study.measured.bad_pixels for one in SETS[branch] if is_stated(one)}
    return sorted(found - {None})


def networks(branch):
    """Return the arms of a branch that are trained networks."""
    return [arm for arm in arms(branch) if arm in ("pinn", "baseline")]


def set_of(wildcards):
    """Return the test set of a job."""
    return next(one for one in SETS[wildcards.branch] if one.name == wildcards.set)


SET_TABLES = [
    f"test_{one.name}/{file}"
    for one in SETS[""]
    for file in TRIAL_TABLES + TRIAL_FILES[:2]
]
SCORED = expand(
    f"{TRIAL}/{{file}}",
    branch=BRANCHES,
    size=STUDY.train_sizes,
    trial=TRIALS,
    file=SET_TABLES,
)
SET_METRICS = [path for path in SCORED if path.endswith(layout.COMPARISON_METRICS)]
SET_DATA = sorted(
    {set_data(branch, one) for branch in BRANCHES for one in SETS[branch]}
)


if MEASURED_SETS:

    rule import_test_set:
        """A measured test set of another format is read, checked and scaled once."""
        input:
            data=lambda wildcards: MEASURED_SETS[wildcards.set].test_data,
            mask=lambda wildcards: MEASURED_SETS[
                wildcards.set
            ].study.measured.bad_pixels
            or [],
        output:
            f"{OUT}/{layout.IMPORTED_SETS_DIR}/{{set}}.npz",
        log:
            f"{OUT}/logs/import_test_set_{{set}}.log",
        benchmark:
            f"{OUT}/benchmarks/import_test_set_{{set}}.tsv"
        wildcard_constraints:
            set=SET_NAME,
        conda:
            "../envs/ptycho.yaml"
        resources:
            mem_mb=import_memory,
        params:
            **replaced(*SET_INPUTS),
            flags=lambda wildcards: as_flags(
                MEASURED_SETS[wildcards.set].study.measured
            ),
        message:
            "Importing the test set {wildcards.set}, {input.data}"
        shell:
            "ptycho-convert-dataset {input.data:q} {output:q} --trainable {params.flags:q} 2> {log:q}"


rule iterative_test_set:
    input:
        test=lambda wildcards: set_data(wildcards.branch, set_of(wildcards)),
        mask=lambda wildcards: (
            set_of(wildcards).study.measured.bad_pixels or []
            if is_stated(set_of(wildcards))
            else []
        ),
    output:
        multiext(f"{OUT}/{{branch}}iterative/test_{{set}}/", *ARM_FILES["iterative"]),
    log:
        f"{OUT}/{{branch}}logs/iterative_test_{{set}}.log",
    benchmark:
        f"{OUT}/{{branch}}benchmarks/iterative_test_{{set}}.tsv"
    wildcard_constraints:
        set=SET_NAME,
    conda:
        "../envs/ptycho.yaml"
    threads: CORES  # no other job at the same time: the computation times of the arms are compared
    params:
        **replaced(*SET_INPUTS, TEST_DATA),
        directory=subpath(output[0], parent=True),
        flags=lambda wildcards: [
            *as_flags(STUDY.iterative, skip=("refined_iterations",)),
            *as_flags(set_of(wildcards).probe_error),
            *(
                as_flags(set_of(wildcards).study.measured)
                if is_stated(set_of(wildcards))
                else []
            ),
            *SAMPLE_FLAGS,
        ],
    message:
        "Reconstructing the test set {wildcards.set} by iterative phase retrieval"
    shell:
        "ptycho-run-iterative --test_data {input.test:q} --output_dir {params.directory:q} "
        "{params.flags:q} 2> {log:q}"


rule compare_test_sets:
    """All test sets of a trial in one process, which loads each model once."""
    input:
        models=lambda wildcards: expand(
            [
                f"{ARM_DIRS[arm]}/{file}"
                for arm in networks(wildcards.branch)
                for file in ARM_FILES[arm]
            ],
            **wildcards,
        ),
        data=lambda wildcards: sorted(
            {set_data(wildcards.branch, one) for one in SETS[wildcards.branch]}
        ),
        iterative=lambda wildcards: sorted(
            {set_iterative(wildcards.branch, one) for one in SETS[wildcards.branch]}
            - {None}
        ),
        train=lambda wildcards: data_of(wildcards.branch, "train"),
        masks=lambda wildcards: set_masks(wildcards.branch),
        custom=STUDY.evaluation.custom_metrics or [],
    output:
        [f"{TRIAL}/{file}" for file in SET_TABLES],
    log:
        log_name("compare_test_sets"),
    benchmark:
        benchmark_name("compare_test_sets")
    conda:
        "../envs/ptycho.yaml"
    # most of it is scores and figures of one thread; at most four trials at a time, as each takes 1.1 GB
    threads: max(1, CORES // 4)
    params:
        **replaced(*SET_INPUTS, TEST_DATA, CUSTOM_FILE),
        directory=lambda wildcards: TRIAL.format(**wildcards),
        models=lambda wildcards: [
            word
            for arm in networks(wildcards.branch)
            for word in (f"--{arm}_dir", ARM_DIRS[arm].format(**wildcards))
        ]
        + (["--refined"] if {"refined", "pinn"} <= set(arms(wildcards.branch)) else []),
        sets=lambda wildcards: set_words(**wildcards),
        flags=[
            *as_flags(STUDY.evaluation),
            *as_flags(STUDY.iterative, skip=("iterations",)),
            *as_flags(STUDY.plots, skip=("formats", "band", "scaling_law")),
            "--seed",
            str(STUDY.seed),
        ],
        title=lambda wildcards: f"{wildcards.size} training images, trial {wildcards.trial}"
        + (f", {wildcards.branch.split('/')[1]}" if wildcards.branch else ""),
    message:
        "Scoring the models on all test sets: {params.title}"
    shell:
        "ptycho-score-test-sets {params.models:q} --train_data {input.train:q} {params.sets:q} "
        "--output_dir {params.directory:q} --title {params.title:q} {params.flags:q} 2> {log:q}"
