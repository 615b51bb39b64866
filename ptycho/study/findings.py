"""What a study found: who is ahead, where, by how much and how sure; then every comparison, from the tables alone."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ptycho.results.schema import PARTS, Metric, Model, describe, model_label
from ptycho.study.image_counts import EFFICIENCY, ENOUGH, SMALL_GAIN_DB
from ptycho.study.markdown import bullets, listed, table
from ptycho.study.paired import MIN_EXACT, MIN_PAIRS, NOT_RESOLVED
from ptycho.study.statistics import DIFFERENCE, METRICS, OVERALL
from ptycho.study.tables import unscored

LEADING = [(metric, part) for part in ("phase", "amp") for metric in METRICS]  # the first of them opens the summary
DETAILS = "<!-- details -->"  # what precedes it is on the first page of the report, too (workflow/report/workflow.rst)
Row = Mapping[Any, Any]


def findings(statistics: pd.DataFrame, trials_wide: pd.DataFrame) -> str:
    """Return what the paired differences show, then how each model changes with the training images, in Markdown.

    Parameters
    ----------
    statistics : as :func:`ptycho.study.statistics.study_statistics` makes it
    trials_wide : as :func:`ptycho.study.tables.results_all_trials` makes it
    """
    if unscored(trials_wide):
        return "The test data holds no ground truth, so nothing is scored: see the figures in `train_*`."
    shown = statistics[statistics["metric"].isin(METRICS)]
    paired, overall = (shown[shown["quantity"] == quantity] for quantity in (DIFFERENCE, OVERALL))
    trends = bullets(_trends(statistics))
    if paired.empty:
        alone = "PtychoPINN and Baseline were not both run, so there is no comparison between them."
        return f"{alone}\n\n{DETAILS}\n\n{trends}"
    sections = [
        bullets(_headline(paired, overall)),
        DETAILS,
        _overall_table(overall),
        _table_by_size(paired),
        _explained(),
        trends,
        bullets([*_efficiency(statistics), *_enough(statistics)]),
    ]
    return "\n\n".join(filter(None, sections))


# the first lines -------------------------------------------------------------------------------------------


def _headline(paired: pd.DataFrame, overall: pd.DataFrame) -> Iterable[str]:
    """Yield who is ahead, where, by how much, and how sure this is: of the phase RMSE, or of what there is instead."""
    known = paired[paired["n"] > 0]
    found = next((pair for pair in LEADING if len(_of(known, *pair))), None)
    if found is None:
        yield "**Who is ahead:** unknown: no trial has a value of both models."
        return
    rows = _of(known, *found).to_dict("records")
    whole = next(iter(_of(overall, *found).to_dict("records")), None)
    metric, part = describe(found[0]), found[1]
    name = f"{PARTS[part].lower()} {metric.label}"
    if max(row["n"] for row in rows) == 1:
        yield from _one_trial(rows, metric, part, name)
        return
    decisive = whole or (rows[0] if len(rows) == 1 else None)
    yield f"**Who is ahead:** {_who(decisive, len(rows))}, by the {name}."
    yield f"**Where:** {_where(rows)}."
    mean = f"; mean over the sizes {_effect(whole, metric, part)}" if whole else ""
    yield f"**By how much:** PtychoPINN - Baseline {_amounts(rows, metric, part)}{mean}. {_better(metric)}"
    tests = [_how_sure(whole, len(overall))] if whole else []
    least = min(rows, key=lambda row: row["p_value"] if np.isfinite(row["p_value"]) else 2)
    tests += [f"at one size {_smallest_p(least)}"]
    yield f"**How sure:** {'; '.join(tests)}. {_tally(overall if len(overall) else paired)}"


def _of(table: pd.DataFrame, metric: str, part: str) -> pd.DataFrame:
    """Return the rows of a metric and part."""
    return table[(table["metric"] == metric) & (table["part"] == part)]


def _one_trial(rows: list[dict[Any, Any]], metric: Metric, part: str, name: str) -> Iterable[str]:
    """Yield the first lines of a study with one trial of each size."""
    ahead: dict[str, list[str]] = {}
    for row in rows:
        ahead.setdefault(_leader(row["estimate"], metric), []).append(str(row["train_size"]))
    places = "; ".join(f"{who} with {listed(sizes)} images" for who, sizes in ahead.items())
    yield f"**Who is ahead:** not known: there is one trial of each size. In it, by the {name}: {places}."
    yield f"**By how much:** PtychoPINN - Baseline {_amounts(rows, metric, part)}. {_better(metric)}"
    yield (
        "**How sure:** one trial gives no estimate of the spread between trials, so no interval and no test: run the "
        f"study with `num_trials={MIN_EXACT}`."
    )


def _leader(difference: float, metric: Metric) -> str:
    """Return the model that a difference favours."""
    if metric.higher_is_better is None or not difference:
        return "neither"
    return model_label("pinn" if (difference > 0) == metric.higher_is_better else "baseline")


def _who(row: Row | None, sizes: int) -> str:
    """Return the model that is ahead, over all sizes, and the grade of the evidence."""
    scope = "over all sizes" if sizes > 1 else "at the one size"
    if row is None or row["verdict"] == NOT_RESOLVED:
        return f"{NOT_RESOLVED} {scope}"
    name, _, grade = str(row["verdict"]).partition(" ")
    if grade == "better":
        return f"{name}, {scope}"
    if grade.startswith("ahead in every"):
        return f"{name} in every trial {scope}, though the trials are too few for p < 0.05 after correction"
    return f"{name} {scope}, but only before the correction for the number of comparisons"


def _where(rows: list[dict[Any, Any]]) -> str:
    """Return the sizes of each verdict."""
    places: dict[str, list[str]] = {}
    for row in rows:
        places.setdefault(str(row["verdict"]), []).append(str(row["train_size"]))
    return "; ".join(f"{verdict} with {listed(sizes)} images" for verdict, sizes in places.items())


def _amounts(rows: list[dict[Any, Any]], metric: Metric, part: str) -> str:
    """Return the effect at each size."""
    return ", ".join(f"{_effect(row, metric, part)} with {row['train_size']} images" for row in rows)


def _effect(row: Row, metric: Metric, part: str) -> str:
    """Return an effect with its unit and, if known, its interval."""
    if not np.isfinite(row["estimate"]):
        return "not finite, as trials failed,"
    return f"{'+' * (row['estimate'] >= 0)}{metric.value(row['estimate'], part)}{_interval(row, metric)}"


def _interval(row: Row, metric: Metric) -> str:
    """Return the 95 % interval of a row in brackets; nothing where it is unknown."""
    bounds = row["ci_low"], row["ci_high"]
    if np.isnan(bounds).any():
        return ""
    words = (f"{bound:+{metric.format}}" if np.isfinite(bound) else "one failed" for bound in bounds)
    return f" [{', '.join(words)}]"


def _better(metric: Metric) -> str:
    """Return which sign favours PtychoPINN."""
    if metric.higher_is_better is None:
        return ""
    return f"{'Positive' if metric.higher_is_better else 'Negative'} values favour PtychoPINN."


def _how_sure(row: Row, family: int) -> str:
    """Return the test over all sizes in words."""
    if not np.isfinite(row["p_value"]):
        return f"over all sizes no test: {row['n']} pairs"
    words = f"over all sizes p = {row['p_value']:.2g} (sign-flip test, {row['n']} pairs)"
    return words + f", {row['p_holm']:.2g} after Holm's correction for {family} comparisons"


def _smallest_p(row: Row) -> str:
    """Return the smallest p-value of a size, and the smallest that its number of pairs allows."""
    if not np.isfinite(row["p_value"]):
        return f"no test: {MIN_PAIRS} pairs are needed"
    return f"p = {row['p_value']:.3g} or more ({row['n']} pairs allow {2 / 2 ** row['n']:.3g})"


def _tally(rows: pd.DataFrame) -> str:
    """Return in how many comparisons each verdict was reached."""
    counts = rows["verdict"].value_counts().to_dict()
    sizes = rows["train_size"].nunique()
    what = f"{len(rows)} comparisons" + (f" at {sizes} sizes" if sizes > 1 else "" if sizes else " over all sizes")
    return f"Of {what}: {', '.join(f'{verdict} in {n}' for verdict, n in counts.items())}."


# all comparisons -------------------------------------------------------------------------------------------


def _overall_table(overall: pd.DataFrame) -> str:
    """Return the table of the comparisons over all sizes."""
    if overall.empty:
        return ""
    heads = ["over all sizes", "mean effect", "p", "p (Holm)", "pairs", "verdict"]
    rows = [
        [describe(row["metric"]).axis_label(row["part"]), _effect(row, describe(row["metric"]), row["part"]),
         _p(row["p_value"]), _p(row["p_holm"]), row["n"], f"**{row['verdict']}**"]
        for row in overall.to_dict("records")
    ]  # fmt: skip
    return (
        "Mean over the sizes of the effect PtychoPINN - Baseline, with its 95 % interval where the trials suffice, and "
        f"the stratified sign-flip test over all pairs:\n\n{table(heads, rows)}"
    )


def _p(value: float) -> str:
    """Return a p-value; nothing where there is none."""
    return f"{value:.2g}" if np.isfinite(value) else ""


def _table_by_size(paired: pd.DataFrame) -> str:
    """Return the table of the comparisons at each size."""
    sizes = sorted(set(paired["train_size"]))
    heads = ["at each size", *(f"{size} images" for size in sizes)]
    rows = [
        [describe(str(metric)).axis_label(str(part)), *(_difference(group, size) for size in sizes)]
        for (metric, part), group in paired.groupby(["metric", "part"], sort=False)
    ]
    return (
        "Effect (Hodges-Lehmann) of PtychoPINN - Baseline within each trial, with its exact 95 % interval, p-value, "
        f"the same after Holm's correction for the {len(paired)} comparisons of this table, and number of pairs:\n\n"
        f"{table(heads, rows)}"
    )


def _difference(group: pd.DataFrame, size: int) -> str:
    """Return the cell of a size: verdict, effect, interval, p-values and number of pairs."""
    rows = group[group["train_size"] == size]
    if rows.empty:
        return "no data"
    row = rows.iloc[0].to_dict()
    metric = describe(str(row["metric"]))
    if not row["n"]:
        return f"{row['verdict']}: no pair"
    number = f"{row['estimate']:+{metric.format}}" if np.isfinite(row["estimate"]) else "one failed"
    holm = row.get("p_holm", np.nan)
    corrected = f" (Holm {_p(holm)})" if np.isfinite(holm) else ""
    p = f"p = {row['p_value']:.3g}{corrected}, " if np.isfinite(row["p_value"]) else ""
    return f"**{row['verdict']}**: {number}{_interval(row, metric)}, {p}n = {row['n']}"


def _explained() -> str:
    """Return how to read the verdicts."""
    return (
        f"*Better*: p < 0.05 after Holm's correction for all comparisons of the table. *Ahead in every trial*: all "
        f"differences have one sign; with n pairs p cannot fall below 2 / 2^n, which is 0.0312 for {MIN_EXACT}, so at "
        "one size the correction leaves little. *Ahead (uncorrected)*: p < 0.05 for this comparison alone. "
        f"*{NOT_RESOLVED.capitalize()}*: the trials show no significant difference."
    )


# the training images ---------------------------------------------------------------------------------------


def _label(row: Row) -> str:
    """Return the display name of the model that a row is about."""
    return Model(str(row["arm"]), str(row["variant"])).label


def _efficiency(statistics: pd.DataFrame) -> Iterable[str]:
    """Yield a sentence for each size on how many times as many images the baseline needs for the same PSNR."""
    rows = statistics[(statistics["quantity"] == EFFICIENCY) & (statistics["metric"] == "psnr")]
    for row in rows.to_dict("records"):
        size, part = row["train_size"], PARTS[row["part"]].lower()
        of = f"For the {part} PSNR of PtychoPINN with {size} images Baseline needs"
        if np.isfinite(row["estimate"]) and row["estimate"] > 0:
            times = f"{row['estimate']:.2g}"
            multiple = "as many" if times == "1" else f"{times} times as many"
            yield f"{of} {multiple}{_factor_interval(row)}: {row['verdict']}."
        elif not np.isnan(row["estimate"]):
            yield f"{of} a multiple outside the measured sizes{_factor_interval(row)}: {row['verdict']}."


def _factor_interval(row: Mapping[Any, Any]) -> str:
    """Return e.g. `` [1.5, 2.1]``; nothing where the interval is unknown."""
    low, high = row["ci_low"], row["ci_high"]
    if np.isnan([low, high]).any():
        return ""
    words = ("less" if bound == 0 else f"{bound:.2g}" if np.isfinite(bound) else "more" for bound in (low, high))
    return f" [{', '.join(words)}]"


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
