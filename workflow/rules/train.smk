"""Both networks of a trial, on the same images. A training takes one GPU slot; see common.smk for their number."""

TRAINING_FILES = [
    str(Path(file).with_suffix(suffix))
    for file in (layout.HISTORY, layout.PARAMS)
    for suffix in (".dill", ".json")
]


rule train_pinn:
    input:
        train=lambda wildcards: data_of(wildcards.branch, "train"),
        mask=measured("train").bad_pixels or [],
        # imported first, so that unusable test data are reported before any training
        test=ancient(IMPORTED["test"]) if "test" in IMPORTED else [],
    output:
        multiext(
            f"{TRIAL}/pinn_run/",
            layout.MODEL_FILES["pinn"],
            *TRAINING_FILES,
        ),
    log:
        f"{TRIAL}/pinn_run/training.log",
    benchmark:
        benchmark_name("train_pinn")
    conda:
        "../envs/ptycho.yaml"
    threads: TRAINING_THREADS
    resources:
        gpu=1,
        mem_mb=training_memory,
        runtime=training_minutes,
        micro_batches=micro_batches,
    params:
        **replaced(TRAIN_DATA, measured("train").bad_pixels),
        command="ptycho-train",
        data=lambda wildcards, input: ["--train_data_file", input.train],
        directory=subpath(output[0], parent=True),
        epochs=training_epochs("--nepochs"),
        flags=training_flags("pinn", "train"),
    message:
        "Training PtychoPINN on {wildcards.size} images, trial {wildcards.trial} (log: {log})"
    shell:
        "{params.command} {params.data:q} --n_images {wildcards.size} --trial {wildcards.trial} "
        "--output_dir {params.directory:q} {params.epochs} --micro_batches {resources.micro_batches} "
        "{params.flags:q}"


use rule train_pinn as train_baseline with:
    input:
        train=lambda wildcards: data_of(wildcards.branch, "train"),
        # recon.dill is computed from the test data; newer test data do not repeat the training
        test=lambda wildcards: ancient(data_of(wildcards.branch, "test")),
        mask=measured("train", "test").bad_pixels or [],
    output:
        multiext(
            f"{TRIAL}/baseline_run/",
            layout.MODEL_FILES["baseline"],
            *TRAINING_FILES,
            layout.RECON_DILL,
            str(Path(layout.RECON_DILL).with_suffix(".json")),
        ),
    log:
        f"{TRIAL}/baseline_run/training.log",
    benchmark:
        benchmark_name("train_baseline")
    params:
        **replaced(TRAIN_DATA, measured("train", "test").bad_pixels),
        command="ptycho-run-baseline",
        data=lambda wildcards, input: [
            "--train_data",
            input.train,
            "--test_data",
            input.test,
        ],
        epochs=training_epochs("--epochs"),
        flags=training_flags("baseline", "train", "test"),
    message:
        "Training the baseline on {wildcards.size} images, trial {wildcards.trial} (log: {log})"
