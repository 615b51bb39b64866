"""Both networks of a trial, on the same images. A training takes one GPU slot; without a GPU, all cores."""


rule train_pinn:
    input:
        train=TRAIN_DATA,
        mask=STUDY.measured.bad_pixels or [],
    output:
        multiext(
            f"{TRIAL}/pinn_run/",
            "wts.h5.zip",
            "history.dill",
            "history.json",
            "params.dill",
            "params.json",
        ),
    log:
        f"{TRIAL}/pinn_run/training.log",
    benchmark:
        benchmark_name("train_pinn")
    conda:
        "../../environment.yml"
    threads: TRAINING_THREADS
    resources:
        gpu=1,
        mem_mb=training_memory,
        runtime=training_minutes,
        micro_batches=micro_batches,
    params:
        script="train.py",
        data=lambda wildcards, input: ["--train_data_file", input.train],
        directory=subpath(output[0], parent=True),
        epochs=training_epochs("--nepochs"),
        flags=training_flags("pinn"),
    message:
        "Training PtychoPINN on {wildcards.size} images, trial {wildcards.trial} (log: {log})"
    shell:
        script(
            "{params.script} {params.data:q} --n_images {wildcards.size} --trial {wildcards.trial} "
            "--output_dir {params.directory:q} {params.epochs} --micro_batches {resources.micro_batches} "
            "{params.flags:q}"
        )


use rule train_pinn as train_baseline with:
    input:
        train=TRAIN_DATA,
        # recon.dill is computed from the test data; newer test data do not repeat the training
        test=ancient(TEST_DATA),
        mask=STUDY.measured.bad_pixels or [],
    output:
        multiext(
            f"{TRIAL}/baseline_run/",
            "baseline_model.h5",
            "history.dill",
            "history.json",
            "params.dill",
            "params.json",
            "recon.dill",
            "recon.json",
        ),
    log:
        f"{TRIAL}/baseline_run/training.log",
    benchmark:
        benchmark_name("train_baseline")
    params:
        script="run_baseline.py",
        data=lambda wildcards, input: [
            "--train_data",
            input.train,
            "--test_data",
            input.test,
        ],
        epochs=training_epochs("--epochs"),
        flags=training_flags("baseline"),
    message:
        "Training the baseline on {wildcards.size} images, trial {wildcards.trial} (log: {log})"
