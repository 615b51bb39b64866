"""Table and figure of each sweep, of this study or of an existing one."""

import json

SWEPT = {key.replace(".", "_"): key for key in SWEEPS}
SWEEP_FILES = [f"{OUT}/sweep_{name}.csv" for name in SWEPT]
SWEEP_PLOTS = expand(f"{OUT}/sweep_{{name}}.{{end}}", name=SWEPT, end=["png", *FORMATS])


def spacing_data(key):
    """Return the dataset of each point of a sweep of the number of patterns, which is drawn as their spacing."""
    if key != "simulation.n_images" or STUDY.existing:
        return {}
    return {
        name: data_of(f"variants/{name}/" if name else "", "test")
        for name in SWEEPS[key]
    }


rule plot_sweep:
    input:
        ALL_METRICS,
        lambda wildcards: list(spacing_data(SWEPT[wildcards.swept]).values()),
    output:
        png=report(
            f"{OUT}/sweep_{{swept}}.png",
            caption="../report/sweep.rst",
            category="Sweeps",
            labels={"key": "{swept}"},
        ),
        csv=f"{OUT}/sweep_{{swept}}.csv",
        others=[f"{OUT}/sweep_{{swept}}.{end}" for end in FORMATS],
    log:
        f"{OUT}/logs/plot_sweep_{{swept}}.log",
    benchmark:
        f"{OUT}/benchmarks/plot_sweep_{{swept}}.tsv"
    wildcard_constraints:
        swept="|".join(SWEPT),
    conda:
        "../envs/ptycho.yaml"
    params:
        study=analysed,
        key=lambda wildcards: SWEPT[wildcards.swept],
        values=lambda wildcards: json.dumps(SWEEPS[SWEPT[wildcards.swept]]),
        data=lambda wildcards: json.dumps(spacing_data(SWEPT[wildcards.swept])),
        selection=SELECTION,
        flags=plot_flags(),
    message:
        "Drawing the sweep of {params.key}"
    shell:
        "ptycho-plot-sweep {params.study:q} --key {params.key:q} --values {params.values:q} "
        "--data {params.data:q} --output {output.png:q} {params.selection:q} {params.flags:q} 2> {log:q}"


rule sweeps:
    """Tables and figures of the sweeps."""
    input:
        SWEEP_FILES,
        SWEEP_PLOTS,
    message:
        "All sweeps are tabulated and drawn"
