"""Tables and figures of further test sets, of this study or of an existing one."""

import json

STRENGTHS = {
    group: {
        "key": sets[0].strength[0],
        "sets": {one.name: one.strength[1] for one in sets},
    }
    for group, sets in STRENGTH_LISTS.items()
}
SET_FIGURES = [
    layout.MATRIX_PLOT,
    *(layout.test_set_plot(*plot.rsplit("_", 1)) for plot in PLOTS),
    *(layout.probe_error_plot(group) for group in STRENGTHS),
]
SET_CSV = [layout.TEST_SET_TRIALS, layout.TEST_SET_RESULTS, layout.MATRIX]
SET_FILES = [
    *(f"{OUT}/{table}" for table in SET_CSV),
    *expand(f"{OUT}/{{figure}}.{{end}}", figure=SET_FIGURES, end=["png", *FORMATS]),
]


rule tabulate_test_sets:
    input:
        ALL_METRICS,
        SET_METRICS,
    output:
        tables=[f"{OUT}/{table}" for table in SET_CSV],
        figures=[
            report(
                f"{OUT}/{figure}.png",
                caption="../report/test_sets.rst",
                category="Test sets",
                labels={"figure": figure},
            )
            for figure in SET_FIGURES
        ],
        others=expand(f"{OUT}/{{figure}}.{{end}}", figure=SET_FIGURES, end=FORMATS),
    log:
        f"{OUT}/logs/tabulate_test_sets.log",
    benchmark:
        f"{OUT}/benchmarks/tabulate_test_sets.tsv"
    conda:
        "../envs/ptycho.yaml"
    params:
        study=analysed,
        out=analysis,
        sets=["--sets", *SET_NAMES],
        swept=["--swept", *sorted(set().union(*SWEEPS.values()) - {""})],
        strengths=json.dumps(STRENGTHS),
        plots=["--plots", *PLOTS],
        selection=SELECTION,
        flags=plot_flags(),
    message:
        "Tabulating and drawing what the models lose on other test sets"
    shell:
        "ptycho-tabulate-test-sets {params.study:q} --output_dir {params.out:q} {params.sets:q} {params.swept:q} "
        "--strengths {params.strengths:q} {params.plots:q} {params.selection:q} {params.flags:q} 2> {log:q}"


rule test_sets:
    """Scores, tables and figures of the test sets."""
    input:
        SCORED,
        SET_FILES,
    message:
        "All test sets are tabulated and drawn"
