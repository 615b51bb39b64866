"""Preparation of training and test data from the input: one rule for each step of the study guide; or their import."""

if FOREIGN:

    rule import_data:
        """Measured data of other formats are read, checked and scaled once."""
        input:
            data=lambda wildcards: FOREIGN[wildcards.half],
            mask=STUDY.measured.bad_pixels or [],
        output:
            f"{OUT}/{layout.IMPORTED_DIR}/{{half}}.npz",
        log:
            f"{OUT}/logs/import_{{half}}.log",
        benchmark:
            f"{OUT}/benchmarks/import_{{half}}.tsv"
        wildcard_constraints:
            half="|".join(FOREIGN),
        conda:
            "../envs/ptycho.yaml"
        resources:
            mem_mb=import_memory,
        params:
            **replaced_import(),
            flags=as_flags(STUDY.measured),
        message:
            "Importing the {wildcards.half} data {input.data}"
        shell:
            "ptycho-convert-dataset {input.data:q} {output:q} --trainable {params.flags:q} 2> {log:q}"


rule specimen:
    output:
        f"{STAGES}/specimen.npz",
    log:
        f"{OUT}/logs/specimen.log",
    benchmark:
        f"{OUT}/benchmarks/specimen.tsv"
    conda:
        "../envs/ptycho.yaml"
    params:
        flags=as_flags(STUDY.specimen),
        seed=STUDY.seed,
    message:
        "Generating the procedural object and probe"
    shell:
        "ptycho-make-specimen {output:q} --seed {params.seed} {params.flags:q} 2> {log:q}"


rule pad:
    input:
        STUDY.input or f"{STAGES}/specimen.npz",
    output:
        f"{STAGES}/padded.npz",
    log:
        f"{OUT}/logs/pad.log",
    benchmark:
        f"{OUT}/benchmarks/pad.tsv"
    conda:
        "../envs/ptycho.yaml"
    params:
        # shared data of another content are refused instead, see preflight
        **({} if STUDY.datasets_dir else replaced(STUDY.input)),
    message:
        "Padding object and probe of {input} to even side lengths"
    shell:
        "ptycho-pad-to-even {input:q} {output:q} 2> {log:q}"


rule transpose:
    input:
        f"{STAGES}/padded.npz",
    output:
        f"{STAGES}/transposed.npz",
    log:
        f"{OUT}/logs/transpose.log",
    benchmark:
        f"{OUT}/benchmarks/transpose.tsv"
    conda:
        "../envs/ptycho.yaml"
    message:
        "Converting names, axis order and data types to those of the study"
    shell:
        "ptycho-transpose-rename-convert {input:q} {output:q} 2> {log:q}"


rule interpolate:
    input:
        f"{STAGES}/transposed.npz",
    output:
        f"{STAGES}/interpolated.npz",
    log:
        f"{OUT}/logs/interpolate.log",
    benchmark:
        f"{OUT}/benchmarks/interpolate.tsv"
    conda:
        "../envs/ptycho.yaml"
    params:
        zoom=STUDY.preparation.zoom_factor,
    message:
        "Interpolating object and probe by a factor of {params.zoom}"
    shell:
        "ptycho-prepare-data {input:q} {output:q} "
        "--interpolate --zoom-factor {params.zoom} 2> {log:q}"


rule smooth:
    input:
        f"{STAGES}/interpolated.npz",
    output:
        f"{STAGES}/smoothed.npz",
    log:
        f"{OUT}/logs/smooth.log",
    benchmark:
        f"{OUT}/benchmarks/smooth.tsv"
    conda:
        "../envs/ptycho.yaml"
    params:
        sigma=STUDY.preparation.smooth_object_sigma,
    message:
        "Smoothing the object by {params.sigma} pixels"
    shell:
        "ptycho-prepare-data {input:q} {output:q} "
        "--smooth --target object --sigma {params.sigma} 2> {log:q}"


rule simulate:
    input:
        smoothed=f"{STAGES}/smoothed.npz",
        mask=STUDY.simulation.bad_pixels or [],
    output:
        stage(f"{STAGES}/simulated.npz"),
    log:
        f"{OUT}/logs/simulate.log",
    benchmark:
        f"{OUT}/benchmarks/simulate.tsv"
    conda:
        "../envs/ptycho.yaml"
    threads: CORES
    params:
        **({} if STUDY.datasets_dir else replaced(STUDY.simulation.bad_pixels)),
        flags=as_flags(STUDY.simulation, skip=("buffer_px",), dashes=True),
        buffer_px=STUDY.simulation.buffer_px,
        seed=STUDY.seed,
    message:
        "Simulating the diffraction patterns"
    shell:
        "ptycho-simulate-and-save --input-file {input.smoothed:q} --output-file {output:q} "
        "{params.flags:q} --buffer {params.buffer_px} --seed {params.seed} 2> {log:q}"


rule downsample:
    input:
        f"{STAGES}/simulated.npz",
    output:
        stage(f"{STAGES}/downsampled.npz"),
    log:
        f"{OUT}/logs/downsample.log",
    benchmark:
        f"{OUT}/benchmarks/downsample.tsv"
    conda:
        "../envs/ptycho.yaml"
    threads: CORES
    params:
        crop=STUDY.preparation.crop_factor,
        bin=STUDY.preparation.bin_factor,
        method=STUDY.preparation.downsample_method,
    message:
        "Cropping the detector by {params.crop} and binning object and probe by {params.bin}"
    shell:
        "ptycho-downsample-data {input:q} {output:q} "
        "--crop-factor {params.crop} --bin-factor {params.bin} --method {params.method} 2> {log:q}"


rule split:
    input:
        f"{STAGES}/downsampled.npz",
    output:
        train=PREPARED_TRAIN,
        test=PREPARED_TEST,
    log:
        f"{OUT}/logs/split.log",
    benchmark:
        f"{OUT}/benchmarks/split.tsv"
    conda:
        "../envs/ptycho.yaml"
    threads: CORES
    params:
        directory=subpath(output.train, parent=True),
        name=Path(PREPARED_TRAIN).stem.removesuffix("_train"),
        fraction=STUDY.preparation.split_fraction,
        axis=STUDY.preparation.split_axis,
        gap_px=STUDY.preparation.split_gap_px,
    message:
        "Splitting the patterns along {params.axis} into training and test data"
    shell:
        "ptycho-split-dataset {input:q} {params.directory:q} --name {params.name:q} "
        "--split-fraction {params.fraction} --split-axis {params.axis} --split-gap {params.gap_px} 2> {log:q}"
