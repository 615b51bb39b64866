"""Numbers to Markdown: the report of a study, written from its tables alone, whoever wins."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ptycho.results import layout
from ptycho.results.schema import COVERED_ENOUGH, FAILURES, PARTS, Model, describe, models, with_identity
from ptycho.study.claims import claims_section
from ptycho.study.markdown import bullets, listed, table
from ptycho.study.methods import data_section, flat_config, methods_section
from ptycho.study.statistics import DIFFERENCE, EFFICIENCY, ENOUGH, MIN_PAIRS, NOT_RESOLVED, SMALL_GAIN_DB
from ptycho.study.tables import metric_parts, models_without_result, unscored
from ptycho.study.trials import Trial, missing_trials

REPORTED = ("rmse", "psnr", "ssim", "mae", "frc50")

CITATION = """```bibtex
@misc{ptychopinn_generalization_study,
    title={PtychoPINN Model Generalization Study Framework},
    author={[Your Name]},
    year={2025},
    note={Available at: https://github.com/your-repo/PtychoPINN}
}
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

    Returns
    -------
    str : Markdown
    """
    results, trials_wide = with_identity(results), with_identity(trials_wide)
    names = listed([model.label for model in models(trials_wide).values()])
    sections = {
        "Findings": findings(statistics, trials_wide),
        "Claims": claims_section(trials_wide, statistics, config.get("claims", ())),
        "Results": _results_section(results, trials_wide),
        "Time to reconstruction": _times_section(times),
        "Warnings": bullets([*study_warnings(results, trials_wide, expected_trials), *warnings]) or "None.",
        "Data": data_section(config),
        "Hardware and versions": table(["", ""], facts.items()) if facts else "Not recorded.",
        "Methods": methods_section(config, trials_wide),
        "Configuration": table(["key", "value"], flat_config(config).items()) if config else "Not given.",
        "Citation": f"Fill in the name and the address before use.\n\n{CITATION}",
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"# Generalization study: {names}\n\n{body}\n"


def _label(row: Mapping[Any, Any]) -> str:
    """Return the display name of the model that a row is about."""
    return Model(str(row["arm"]), str(row["variant"])).label


# findings --------------------------------------------------------------------------------------------------


def findings(statistics: pd.DataFrame, trials_wide: pd.DataFrame) -> str:
    """Return what the paired differences show, then how each model changes with the training images, in Markdown.

    Parameters
    ----------
    statistics : as :func:`ptycho.study.statistics.study_statistics` makes it
    trials_wide : as :func:`ptycho.study.tables.results_all_trials` makes it
    """
    if unscored(trials_wide):
        return "The test data holds no ground truth, so nothing is scored: see the figures in `train_*`."
    paired = statistics[(statistics["quantity"] == DIFFERENCE) & statistics["metric"].isin(REPORTED)]
    trends = bullets(_trends(statistics))
    if paired.empty:
        return f"PtychoPINN and Baseline were not both run, so there is no comparison between them.\n\n{trends}"
    counts = paired["verdict"].value_counts().to_dict()
    tally = ", ".join(f"{verdict} in {n}" for verdict, n in counts.items())
    sizes = sorted(set(paired["train_size"]))
    heads = ["", *(f"{size} images" for size in sizes)]
    rows = [
        [describe(str(metric)).axis_label(str(part)), *(_difference(group, size) for size in sizes)]
        for (metric, part), group in paired.groupby(["metric", "part"], sort=False)
    ]
    return (
        f"Of {len(paired)} comparisons ({len(rows)} quantities at {len(sizes)} sizes): {tally}.\n\n"
        "Median of the differences PtychoPINN - Baseline within each trial, with its 95 % interval, p-value "
        f"and number of pairs:\n\n{table(heads, rows)}\n\n"
        f"*{NOT_RESOLVED}*: the trials show no significant difference. *Ahead in every trial*: with "
        f"{MIN_PAIRS} pairs p cannot fall below 0.0625, so this is the strongest evidence that {MIN_PAIRS} trials can "
        "give. "
        f"p-values are not corrected for the number of comparisons.\n\n{trends}\n\n"
        f"{bullets([*_efficiency(statistics), *_enough(statistics)])}".rstrip()
    )


def _difference(group: pd.DataFrame, size: int) -> str:
    """Return the cell of a size: verdict, difference, interval, p-value and number of pairs."""
    rows = group[group["train_size"] == size]
    if rows.empty:
        return "no data"
    row, metric = rows.iloc[0], describe(str(rows.iloc[0]["metric"]))
    if not row["n"]:
        return f"{row['verdict']}: no pair"
    number, low, high = (
        f"{row[key]:+{metric.format}}" if np.isfinite(row[key]) else "one failed"
        for key in ("estimate", "ci_low", "ci_high")
    )
    interval = "" if np.isnan(row["ci_low"]) else f" [{low}, {high}]"
    p = f"p = {row['p_value']:.3g}, " if np.isfinite(row["p_value"]) else ""
    return f"**{row['verdict']}**: {number}{interval}, {p}n = {row['n']}"


def _efficiency(statistics: pd.DataFrame) -> Iterable[str]:
    """Yield a sentence for each size on how many times as many images the baseline needs for the same PSNR."""
    rows = statistics[(statistics["quantity"] == EFFICIENCY) & (statistics["metric"] == "psnr")]
    for row in rows.to_dict("records"):
        size, part = row["train_size"], PARTS[row["part"]].lower()
        of = f"For the {part} PSNR of PtychoPINN with {size} images Baseline needs"
        if np.isfinite(row["estimate"]) and row["estimate"] > 0:
            yield f"{of} {row['estimate']:.2g} times as many{_factor_interval(row)}: {row['verdict']}."
        elif not np.isnan(row["estimate"]):
            yield f"{of} a multiple outside the measured sizes{_factor_interval(row)}: {row['verdict']}."


def _factor_interval(row: Mapping[Any, Any]) -> str:
    """Return e.g. `` [1.5, 2.1]``; nothing where the interval is unknown."""
    low, high = row["ci_low"], row["ci_high"]
    if np.isnan([low, high]).any():
        return ""
    return f" [{f'{low:.2g}' if low > 0 else 'less'}, {f'{high:.2g}' if np.isfinite(high) else 'more'}]"


def _enough(statistics: pd.DataFrame) -> Iterable[str]:
    """Yield a sentence for each model on the size from which more images bring little."""
    rows = statistics[statistics["quantity"].str.endswith(f"_{ENOUGH}")]
    for row in rows.to_dict("records"):
        of = f"{PARTS[row['part']]} PSNR of {_label(row)}"
        if np.isinf(row["estimate"]):
            yield f"{of}: the last doubling still brings {SMALL_GAIN_DB} dB or more ({row['verdict']})."
        elif np.isfinite(row["estimate"]):
            interval = "" if np.isnan(row["ci_low"]) else f", between {row['ci_low']:.0f} and {_size(row['ci_high'])}"
            yield (
                f"{of}: from {row['estimate']:.0f} images on{interval}, a doubling brings less than {SMALL_GAIN_DB} dB "
                f"({row['verdict']})."
            )


def _size(value: float) -> str:
    """Return a number of images; in words where it lies beyond the largest size."""
    return f"{value:.0f}" if np.isfinite(value) else "more than were measured"


def _trends(statistics: pd.DataFrame) -> Iterable[str]:
    """Yield, for each model and the PSNR of each part, its median at the smallest and the largest size."""
    rows = statistics[statistics["quantity"].str.endswith("_median") & (statistics["metric"] == "psnr")]
    for (part, _), group in rows[rows["n"] > 0].groupby(["part", "quantity"], sort=False):
        first, last = group.iloc[0], group.iloc[-1]
        name, metric = _label(first.to_dict()), describe("psnr")
        start, stop = (
            metric.value(row["estimate"], str(part)) if np.isfinite(row["estimate"]) else "failed"
            for row in (first, last)
        )
        of = f"{PARTS[str(part)]} PSNR of {name}: median {start}"
        if first["arm"] == "iterative":
            yield f"{of}, independent of the training images."
        else:
            more = f", {stop} with {last['train_size']}" if len(group) > 1 else ""
            yield f"{of} with {first['train_size']} images{more}."


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
    if times is None or times[["training_s", "answer_s"]].isna().all(axis=None):
        return "Not recorded."
    heads = ["images", "model", "training (s)", "time to reconstruction (s)", "break-even number of scans"]
    rows = [
        [row["train_size"], _label(row), _seconds(row["training_s"]), _seconds(row["answer_s"]),
         _scans(row["scans_to_pay"])]
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
