"""Both models of a trial, on the same images. A training takes one GPU slot; without a GPU, all cores."""

GPU_SLOTS = workflow.global_resources.get("gpu")
TRAINING_THREADS = max(1, (workflow.cores or 1) // max(1, (GPU_SLOTS and GPU_SLOTS.value) or 1))


def training_flags(section):
    """The flags that both trainings share, and those of their own section."""
    return [
        "--seed",
        str(STUDY.seed),
        *study_config.as_flags(STUDY.training, skip=("epochs",)),
        *study_config.as_flags(section),
    ]


rule train_pinn:
    input:
        train=TRAIN_DATA,
        test=TEST_DATA,
    output:
        multiext(f"{TRIAL}/pinn_run/", "wts.h5.zip", "history.dill", "history.json", "params.dill", "params.json"),
    params:
        directory=f"{TRIAL}/pinn_run",
        epochs=STUDY.training.epochs,
        flags=training_flags(STUDY.pinn),
    threads: TRAINING_THREADS
    resources:
        gpu=1,
    log:
        f"{TRIAL}/pinn_run/training.log",
    benchmark:
        f"{OUT}/benchmarks/train_pinn_{{size}}_{{trial}}.tsv"
    shell:
        "{PYTHON:q} {SCRIPTS:q}/train.py --train_data_file {input.train:q} --test_data_file {input.test:q} "
        "--n_images {wildcards.size} --trial {wildcards.trial} --output_dir {params.directory:q} "
        "--nepochs {params.epochs} {params.flags:q}"


rule train_baseline:
    input:
        train=TRAIN_DATA,
        test=TEST_DATA,
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
    params:
        directory=f"{TRIAL}/baseline_run",
        epochs=STUDY.training.epochs,
        flags=training_flags(STUDY.baseline),
        crop_px=STUDY.evaluation.stitch_crop_px,
    threads: TRAINING_THREADS
    resources:
        gpu=1,
    log:
        f"{TRIAL}/baseline_run/training.log",
    benchmark:
        f"{OUT}/benchmarks/train_baseline_{{size}}_{{trial}}.tsv"
    shell:
        "{PYTHON:q} {SCRIPTS:q}/run_baseline.py --train_data {input.train:q} --test_data {input.test:q} "
        "--n_images {wildcards.size} --trial {wildcards.trial} --output_dir {params.directory:q} "
        "--epochs {params.epochs} {params.flags:q} --stitch_crop_px {params.crop_px}"
