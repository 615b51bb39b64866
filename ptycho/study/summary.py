"""Numbers to Markdown: the report of a study, written from its tables alone, whoever wins."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ptycho import __version__
from ptycho.results import layout
from ptycho.results.schema import COVERED_ENOUGH, FAILURES, Model, describe, models, with_identity
from ptycho.study import test_sets
from ptycho.study.claims import claims_section
from ptycho.study.findings import findings
from ptycho.study.markdown import bullets, listed, table
from ptycho.study.methods import data_section, methods_section, used_config
from ptycho.study.paired import MIN_PAIRS
from ptycho.study.scaling_section import scaling_section
from ptycho.study.tables import metric_parts, models_without_result
from ptycho.study.trials import Trial, missing_trials

REPORTED = ("rmse", "psnr", "ssim", "mae", "frc50")

COMPARED = 3  # trials of a size at least, to tell which validation loss is unusual
FAR_ABOVE = 1.2  # times the median; on the panel only trainings whose loss rose and did not recover are above
CITATION = f"""```bibtex
@misc{{ptychopinn_generalization_study,
    title={{PtychoPINN Model Generalization Study Framework}},
    author={{{{The PtychoPINN generalization study authors}}}},
    year={{2026}},
    note={{Version {__version__}, BSD-3-Clause}}
}}
```"""


def study_summary(
    config: Mapping[str, Any],
    results: pd.DataFrame,
    statistics: pd.DataFrame,
    trials_wide: pd.DataFrame,
    expected_trials: Collection[Trial],
    facts: Mapping[str, str],
    warnings: Sequence[str] = (),
    times: pd.DataFrame | None = None,
    scaling_laws: pd.DataFrame | None = None,
    losses: pd.DataFrame | None = None,
) -> str:
    """Write STUDY_SUMMARY.md.

    Parameters
    ----------
    config : the resolved configuration, sections nested; keys that it lacks are omitted
    results, trials_wide : as :mod:`ptycho.study.tables` makes them
    statistics : as :func:`ptycho.study.statistics.study_statistics` makes it
    expected_trials : (size, trial) that were configured; missing ones become warnings
    facts : hardware, versions, commit, times, by name
    warnings : further warnings, a line each
    times : as :func:`ptycho.study.tables.times` makes it
    scaling_laws : as :func:`ptycho.study.scaling_table.scaling_laws` makes it
    losses : as :func:`ptycho.study.test_sets.matrix` makes it; None without further test sets

    Returns
    -------
    str : Markdown
    """
    results, trials_wide = with_identity(results), with_identity(trials_wide)
    known = models(trials_wide).values()
    own = [model.label for model in known if not model.variant]
    n_variants = len({model.variant for model in known if model.variant})
    names = listed(own or [model.label for model in known])
    names += f"; {n_variants} variant{'s' * (n_variants > 1)}" if own and n_variants else ""
    sections = {
        "Findings": findings(statistics, trials_wide),
        "Claims": claims_section(trials_wide, statistics, config.get("claims", ())),
        "Results": _results_section(results, trials_wide),
        "Scaling law": scaling_section(scaling_laws),
        **test_sets.summary_section(losses),
        "Time to reconstruction": _times_section(times),
        "Warnings": bullets([*study_warnings(results, trials_wide, expected_trials), *warnings]) or "None.",
        "Data": data_section(config),
        "Hardware and versions": table(["", ""], facts.items()) if facts else "Not recorded.",
        "Methods": methods_section(config, trials_wide),
        "Configuration": table(["key", "value"], used_config(config).items()) if config else "Not given.",
        "Citation": CITATION,
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"# Generalization study: {names}\n\n{body}\n"


def _label(row: Mapping[Any, Any]) -> str:
    """Return the display name of the model that a row is about."""
    return Model(str(row["arm"]), str(row["variant"])).label


# results and warnings --------------------------------------------------------------------------------------


def _results_section(results: pd.DataFrame, trials_wide: pd.DataFrame) -> str:
    """Return the table of results with a sentence on how to read it."""
    pairs = [(metric, part) for metric, part in metric_parts(trials_wide) if metric in REPORTED]
    heads = ["images", "model", "trials", "failed", *(describe(m).axis_label(part) for m, part in pairs)]
    rows = [
        [row["train_size"], _label(row), row["n_trials"], row["n_failed"]]
        + [_median(row, metric, part) for metric, part in pairs]
        for row in results.to_dict("records")
    ]
    return (
        "Median [quartiles] over the trials; failed trials are included, as the worst where they have no value (n: "
        "trials with a value, where some have none). PSNR: peak = range of the ground truth. All metrics: "
        f"`{layout.RESULTS}`.\n\n{table(heads, rows)}"
    )


def _median(row: Mapping[Any, Any], metric: str, part: str) -> str:
    """Return the cell of a metric: its median, quartiles and, where trials lack a value, their number."""
    name, form = f"{metric}_{part}", describe(metric).format
    if not row[f"{name}_n_valid"]:
        return "no value"
    median, low, high = (_figure(row[f"{name}_{key}"], metric, form) for key in ("median", "p25", "p75"))
    n = row[f"{name}_n_valid"]
    return f"{median} [{low}, {high}]" + (f" (n = {n})" if n < row["n_trials"] else "")


def _figure(value: float, metric: str, form: str) -> str:
    """Return a quantile, or ``failed`` where it falls on trials without a value, which rank as the worst."""
    better = describe(metric).higher_is_better
    failed = better is not None and value == (-np.inf if better else np.inf)
    return "failed" if failed else f"{value:{form}}"


def _times_section(times: pd.DataFrame | None) -> str:
    """Return the table of times with sentences on how to read it."""
    if times is None or times[["training_s", "reconstruction_s"]].isna().all(axis=None):
        return "Not recorded."
    heads = ["images", "model", "training (s)", "time to reconstruction (s)", "break-even number of scans"]
    rows = [
        [row["train_size"], _label(row), _seconds(row["training_s"]), _seconds(row["reconstruction_s"]),
         _scans(row["break_even_scans"])]
        for row in with_identity(times).to_dict("records")
    ]  # fmt: skip
    return (
        "Medians over the trials, wall time. Training: all epochs. Time to reconstruction: from the test patterns to "
        "the object, with the model loaded. Break-even number of scans: from so many scans of this size on, training "
        "and reconstructing with the network takes less time than reconstructing them iteratively; never, where the "
        f"network alone takes longer.\n\n{table(heads, rows)}"
    )


def _seconds(value: float) -> str:
    """Return seconds with three digits; nothing where they are unknown."""
    return "" if np.isnan(value) else f"{value:.3g}"


def _scans(value: float) -> str:
    """Return a number of scans, rounded up; nothing where it is unknown."""
    return "" if np.isnan(value) else "never" if np.isinf(value) else f"{int(np.ceil(value)):,}"


def study_warnings(results: pd.DataFrame, trials_wide: pd.DataFrame, expected_trials: Collection[Trial]) -> list[str]:
    """Return what a reader must know before trusting the tables, a line each.

    Parameters
    ----------
    results, trials_wide : as :mod:`ptycho.study.tables` makes them
    expected_trials : (size, trial) that were configured
    """
    lines = []
    few = results[results["n_trials"] < MIN_PAIRS]
    if len(few):
        sizes = ", ".join(str(size) for size in sorted(set(few["train_size"])))
        lines.append(f"Fewer than {MIN_PAIRS} trials at {sizes} images: no difference can be resolved there.")
    for row in trials_wide[trials_wide["status"].isin(FAILURES)].to_dict("records"):
        lines.append(f"{_label(row)}, {row['train_size']} images, trial {row['trial']}: {row['status']}.")
    if "covered_share" in trials_wide:
        lines += _uncovered(trials_wide)
    if "registration_refused" in trials_wide:
        for row in trials_wide[trials_wide["registration_refused"] > 0].to_dict("records"):
            lines.append(
                f"{_label(row)}, {row['train_size']} images, trial {row['trial']}: registration refused, not applied."
            )
    for size, trial in missing_trials(trials_wide, expected_trials):
        lines.append(f"{size} images, trial {trial}: configured, but no result was found.")
    for size, trial, model in models_without_result(trials_wide):
        lines.append(f"{model.label}, {size} images, trial {trial}: no result, though the trial has others.")
    for size, trial in _unexpected(trials_wide, expected_trials):
        lines.append(f"{size} images, trial {trial}: found and counted, but not configured.")
    return lines


def loss_warnings(histories: Mapping[tuple[int, int, Model], Mapping[str, Any]]) -> list[str]:
    """Return a line for each training whose lowest validation loss is far above the median of the trials of its size.

    Parameters
    ----------
    histories : as :func:`ptycho.study.artifacts.read_histories` returns them
    """
    lowest: dict[tuple[str, int], dict[int, float]] = {}
    for (size, trial, model), history in histories.items():
        losses = [loss for loss in history.get("val_loss", []) if loss is not None and np.isfinite(loss)]
        if losses:
            lowest.setdefault((model.label, size), {})[trial] = min(losses)
    return [
        f"{label}, {size} images, trial {trial}: its lowest validation loss is {loss / usual:.2f} times the median of "
        "the trials; training_curves.png shows whether the loss rose and did not recover. It counts as any other trial."
        for (label, size), trials in lowest.items()
        if len(trials) >= COMPARED and (usual := float(np.median(list(trials.values()))))
        for trial, loss in trials.items()
        if loss > FAR_ABOVE * usual
    ]


def _uncovered(trials_wide: pd.DataFrame) -> Iterable[str]:
    """Yield a warning where the test scan, the same for every trial, covers only part of the evaluated region."""
    share = trials_wide["covered_share"].min()
    if share < COVERED_ENOUGH:
        yield (
            f"The test scan covers {share:.1%} of the evaluated region; the rest is excluded from all metrics. More "
            "test patterns, or a larger evaluation.stitch_crop_px, would cover it."
        )


def _unexpected(trials_wide: pd.DataFrame, expected_trials: Collection[Trial]) -> list[Trial]:
    """Return (size, trial) that have results but are not configured."""
    found = set(zip(trials_wide["train_size"], trials_wide["trial"], strict=True))
    return sorted(found - set(expected_trials)) if expected_trials else []


# for the paper ---------------------------------------------------------------------------------------------


def results_tex(results: pd.DataFrame, trials_wide: pd.DataFrame) -> str:
    """Return the results as a LaTeX table (booktabs): median and quartiles over the trials of each size and model.

    Parameters
    ----------
    results, trials_wide : as :mod:`ptycho.study.tables` makes them
    """
    pairs = [(metric, part) for metric, part in metric_parts(trials_wide) if metric in REPORTED]
    heads = ["images", "model", *(describe(m).axis_label(part) for m, part in pairs)]
    lines = [
        " & ".join(map(_tex, heads)) + r" \\",
        r"\midrule",
        *(
            " & ".join(
                _tex(str(cell))
                for cell in [row["train_size"], _label(row)] + [_median(row, metric, part) for metric, part in pairs]
            )
            + r" \\"
            for row in with_identity(results).to_dict("records")
        ),
    ]
    body = "\n".join(lines)
    return (
        "% median [quartiles] over the trials; needs \\usepackage{booktabs}\n"
        f"\\begin{{tabular}}{{rl{'c' * len(pairs)}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"
    )


def _tex(text: str) -> str:
    """Return a text with the characters escaped that mean something to LaTeX."""
    escaped: dict[str, str | int | None] = {letter: f"\\{letter}" for letter in "&%_#${}"}
    escaped |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "²": "$^2$"}
    return text.translate(str.maketrans(escaped))
