"""Iterative phase retrieval, the comparison of the arms of each trial, and the summary of the trials of each size."""

TRIAL_TABLES = [layout.COMPARISON_METRICS, layout.RECONSTRUCTIONS, layout.FRC_CURVES]
TRIAL_FILES = [layout.COMPARISON_PLOT, layout.FRC_PLOT, *TRIAL_TABLES]
TEST_FLAGS = [
    *as_flags(measured("test")),
    *as_flags(
        STUDY.evaluation,
        skip=(
            "registration_max_px",
            "custom_metrics",
            "stitch_crop_px",
            "synchronize_phases",
        ),
    ),
    "--seed",
    str(STUDY.seed),
]


rule iterative:
    input:
        test=TEST_DATA,
        mask=measured("test").bad_pixels or [],
    output:
        multiext(f"{ARM_DIRS['iterative']}/", *ARM_FILES["iterative"]),
    log:
        f"{OUT}/logs/iterative.log",
    benchmark:
        f"{OUT}/benchmarks/iterative.tsv"
    conda:
        "../envs/ptycho.yaml"
    threads: CORES  # no other job at the same time: the computation times of the arms are compared
    params:
        **replaced(TEST_DATA, measured("test").bad_pixels),
        directory=subpath(output[0], parent=True),
        flags=as_flags(STUDY.iterative, skip=("refined_iterations",)),
        test_flags=TEST_FLAGS,
    message:
        "Reconstructing the test data by iterative phase retrieval"
    shell:
        "ptycho-run-iterative --test_data {input.test:q} --output_dir {params.directory:q} "
        "{params.flags:q} {params.test_flags:q} 2> {log:q}"


use rule iterative as iterative_variant with:
    input:
        test=lambda wildcards: data_of(wildcards.branch, "test"),
        mask=[],
    output:
        multiext(f"{OUT}/{{branch}}iterative/", *ARM_FILES["iterative"]),
    log:
        f"{OUT}/{{branch}}logs/iterative.log",
    benchmark:
        f"{OUT}/{{branch}}benchmarks/iterative.tsv"
    wildcard_constraints:
        branch="|".join(branch for branch in BRANCHES if has_own_data(branch))
        or "none/",
    params:
        flags=as_flags(STUDY.iterative, skip=("refined_iterations",)),
        test_flags=TEST_FLAGS,
    message:
        "Reconstructing the test data of a variant by iterative phase retrieval: {wildcards.branch}"


use rule iterative as refined with:
    input:
        models=expand(
            f"{ARM_DIRS['pinn']}/{{file}}", file=ARM_FILES["pinn"], allow_missing=True
        ),
        test=lambda wildcards: data_of(wildcards.branch, "test"),
        mask=measured("test").bad_pixels or [],
    output:
        multiext(f"{ARM_DIRS['refined']}/", *ARM_FILES["refined"]),
    log:
        log_name("refined"),
    benchmark:
        benchmark_name("refined")
    params:
        flags=lambda wildcards, input: [
            "--model_dir",
            os.path.dirname(input.models[0]),
            *as_flags(STUDY.iterative, skip=("iterations",)),
        ],
        test_flags=[
            *as_flags(measured("test")),
            *as_flags(
                STUDY.evaluation, skip=("registration_max_px", "custom_metrics")
            ),
            "--seed",
            str(STUDY.seed),
        ],
    message:
        "Refining the reconstruction of PtychoPINN by iterative phase retrieval: {wildcards.size} images, "
        "trial {wildcards.trial} (log: {log})"


rule compare_trial:
    input:
        models=lambda wildcards: expand(arm_files(wildcards.branch), **wildcards),
        test=lambda wildcards: data_of(wildcards.branch, "test"),
        train=lambda wildcards: (
            []
            if STUDY.train_data or STUDY.test_data
            else data_of(wildcards.branch, "train")
        ),
        mask=measured("test").bad_pixels or [],
        custom=STUDY.evaluation.custom_metrics or [],
    output:
        report(
            f"{TRIAL}/{layout.COMPARISON_PLOT}",
            caption="../report/comparison.rst",
            category="Trials",
            subcategory="{branch}{size} images",
            labels={"trial": "{trial}", "shown": "reconstructions"},
        ),
        report(
            f"{TRIAL}/{layout.FRC_PLOT}",
            caption="../report/comparison.rst",
            category="Trials",
            subcategory="{branch}{size} images",
            labels={"trial": "{trial}", "shown": "resolution"},
        ),
        multiext(f"{TRIAL}/", *TRIAL_TABLES),
    log:
        log_name("compare"),
    benchmark:
        benchmark_name("compare")
    conda:
        "../envs/ptycho.yaml"
    threads: CORES
    params:
        **replaced(TEST_DATA, measured("test").bad_pixels, CUSTOM_FILE),
        directory=subpath(output[0], parent=True),
        models=lambda wildcards: [
            word
            for arm in arms(wildcards.branch)
            for word in (
                f"--{arm}_dir",
                arm_dir(arm, wildcards.branch).format(**wildcards),
            )
        ],
        train=lambda wildcards, input: (
            ["--train_data", input.train] if input.train else []
        ),
        flags=[
            *as_flags(STUDY.evaluation),
            *as_flags(measured("test")),
        ],
        plot_flags=as_flags(STUDY.plots, skip=("formats", "band", "scaling_law")),
        seed=STUDY.seed,
        title=lambda wildcards: f"{wildcards.size} training images, trial {wildcards.trial}"
        + (f", {wildcards.branch.split('/')[1]}" if wildcards.branch else ""),
    message:
        "Comparing the reconstructions of all arms: {params.title}"
    shell:
        "ptycho-compare-models {params.models:q} --test_data {input.test:q} "
        "--output_dir {params.directory:q} --seed {params.seed} "
        "--title {params.title:q} "
        "{params.train:q} {params.flags:q} {params.plot_flags:q} 2> {log:q}"


rule compare_size:
    input:
        expand(
            f"{TRIAL}/{{file}}",
            trial=TRIALS,
            file=[layout.COMPARISON_METRICS, layout.RECONSTRUCTIONS],
            allow_missing=True,
        ),
    output:
        report(
            f"{SIZE}/{layout.COMPARISON_PLOT}",
            caption="../report/comparison.rst",
            category="Sizes",
            labels={"images": "{branch}{size}", "shown": "reconstructions"},
        ),
        f"{SIZE}/{layout.COMPARISON_METRICS}",
    log:
        f"{OUT}/{{branch}}logs/compare_{{size}}.log",
    benchmark:
        f"{OUT}/{{branch}}benchmarks/compare_{{size}}.tsv"
    conda:
        "../envs/ptycho.yaml"
    params:
        study=subpath(output[0], ancestor=2),
        trials=STUDY.num_trials,
        flags=plot_flags(),
    message:
        "Summarizing the trials with {wildcards.size} training images (log: {log})"
    shell:
        "ptycho-aggregate-and-plot-results {params.study:q} --size {wildcards.size} "
        "--num-trials {params.trials} {params.flags:q} 2> {log:q}"
