"""Both models of a trial, on the same images. A training takes one GPU slot; without a GPU, all cores."""


rule train_pinn:
    input:
        train=TRAIN_DATA,
        test=TEST_DATA,
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
        directory=subpath(output[0], parent=True),
        epochs=lambda wildcards: VARIANTS[wildcards.branch].training.epochs,
        flags=training_flags("pinn"),
    shell:
        script(
            "train.py --train_data_file {input.train:q} --test_data_file {input.test:q} "
            "--n_images {wildcards.size} --trial {wildcards.trial} --output_dir {params.directory:q} "
            "--nepochs {params.epochs} --micro_batches {resources.micro_batches} {params.flags:q}"
        )


rule train_baseline:
    input:
        train=TRAIN_DATA,
        test=TEST_DATA,
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
    conda:
        "../../environment.yml"
    threads: TRAINING_THREADS
    resources:
        gpu=1,
        mem_mb=training_memory,
        runtime=training_minutes,
        micro_batches=micro_batches,
    params:
        directory=subpath(output[0], parent=True),
        epochs=lambda wildcards: VARIANTS[wildcards.branch].training.epochs,
        flags=training_flags("baseline"),
    shell:
        script(
            "run_baseline.py --train_data {input.train:q} --test_data {input.test:q} "
            "--n_images {wildcards.size} --trial {wildcards.trial} --output_dir {params.directory:q} "
            "--epochs {params.epochs} --micro_batches {resources.micro_batches} {params.flags:q}"
        )
