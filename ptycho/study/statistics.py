"""Intervals and paired tests over the trials of a study, gathered in one table. Formulas: ``docs/statistics.md``."""

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ptycho.results.schema import IDENTITY, Model, describe, models
from ptycho.study import paired
from ptycho.study.image_counts import METHOD, diminishing, efficiency
from ptycho.study.resampling import MIN_INTERVAL, Values, median_interval
from ptycho.study.tables import metric_parts, quantile, ranked

METRICS = ("rmse", "psnr", "ssim", "ms_ssim", "frc50", "mae")  # that are tested
DIFFERENCE = "pinn_minus_baseline"
OVERALL = "pinn_minus_baseline_all_sizes"
NO_MODEL = Model("")  # of a quantity that is about two models
KEYS = ["train_size", "metric", "part", "quantity", *IDENTITY]
COLUMNS = [*KEYS, "estimate", "ci_low", "ci_high", "interval", "p_value", "p_holm", "n", "verdict"]


def study_statistics(trials_wide: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Estimate the median of each model and the paired difference PtychoPINN - Baseline, and test the difference.

    Parameters
    ----------
    trials_wide : as :func:`ptycho.study.tables.results_all_trials` makes it
    seed : of the bootstrap; each estimate has its own stream, so that a further size changes no other number

    Returns
    -------
    DataFrame : train_size (empty over all sizes), metric, part, quantity (``pinn_median``, ``baseline_median``, ...,
        ``pinn_minus_baseline``, ``pinn_minus_baseline_all_sizes``), variant and arm (empty where a quantity is about
        two models), estimate (of a difference that of Hodges and Lehmann), ci_low, ci_high (95 %), interval (their
        method, or why there are none), p_value (two-sided), p_holm (corrected for all comparisons of the same
        quantity), n (values that are not NaN), verdict (see :func:`ptycho.study.paired.verdict`); the last and both p
        of differences only. Unit of the estimates: that of the metric. Then the rows of
        :func:`ptycho.study.image_counts.efficiency` (a factor) and :func:`ptycho.study.image_counts.diminishing`
        (images)
    """
    ranks = {f"{metric}_{part}": ranked(trials_wide, metric, part) for metric, part in metric_parts(trials_wide)}
    table = trials_wide.assign(**ranks)
    rows: list[dict[str, Any]] = []
    by_size: dict[str, list[Values]] = {f"{m}_{part}": [] for m in METRICS for part in ("amp", "phase")}
    for size, group in table.groupby("train_size"):
        for name in (name for name in by_size if name in table):
            for quantity, model, values in _medians(group, name):
                rng = np.random.default_rng([seed, int(str(size)), zlib.crc32(f"{name} {quantity}".encode())])
                rows.append(_key(size, name, quantity, model) | _median(values, rng))
            differences = paired_differences(group, name)
            if differences is not None:
                rows.append(_key(size, name, DIFFERENCE, NO_MODEL) | _effect(differences))
                by_size[name].append(differences)
    for name, found in by_size.items():
        counted = paired.counted(found)
        if len(counted) > 1:
            rng = np.random.default_rng([seed, zlib.crc32(f"{name} {OVERALL}".encode())])
            rows.append(_key(pd.NA, name, OVERALL, NO_MODEL) | _overall(counted, rng))
    rows += efficiency(trials_wide, seed) + diminishing(trials_wide, seed)
    return _judged(pd.DataFrame(rows, columns=[*COLUMNS, "leader", "unanimous"])).astype({"train_size": "Int64"})


def _key(size: Any, name: str, quantity: str, model: Model) -> dict[str, Any]:
    """Return the cells that say what a row is about."""
    metric, _, part = name.rpartition("_")
    return dict(zip(KEYS, [size, metric, part, quantity, model.variant, model.arm], strict=True))


def _medians(group: pd.DataFrame, name: str) -> Iterator[tuple[str, Model, Values]]:
    """Yield the median of each model of a size: its quantity, the model, and its values without NaN."""
    for kind, model in models(group).items():
        yield f"{kind}_median", model, group.loc[group["model_type"] == kind, name].dropna().to_numpy(float)


def _median(values: Values, rng: np.random.Generator) -> dict[str, Any]:
    """Return the cells of the median of a model."""
    low, high = median_interval(values, rng)
    method = METHOD if values.size >= MIN_INTERVAL else f"fewer than {MIN_INTERVAL} trials"
    numbers = {"estimate": quantile(values, 0.5), "ci_low": low, "ci_high": high}
    return numbers | {"interval": method, "n": values.size, "verdict": ""}


def paired_differences(group: pd.DataFrame, name: str) -> Values | None:
    """Return the differences PtychoPINN - Baseline of the trials of a size, without NaN; None without both models.

    Parameters
    ----------
    group : rows of the size in a wide table, where failed trials rank as :func:`ptycho.study.tables.ranked` says
    name : column, e.g. ``rmse_phase``
    """
    pairs = group.pivot(index="trial", columns="model_type", values=name)
    if not {"pinn", "baseline"} <= set(pairs.columns):
        return None
    pairs = pairs[["pinn", "baseline"]].dropna()
    same = pairs["pinn"] == pairs["baseline"]  # also where both are infinite, which have no difference
    return (pairs["pinn"] - pairs["baseline"]).mask(same, 0.0).to_numpy(float)


def _effect(values: Values) -> dict[str, Any]:
    """Return the cells of the paired differences of a size."""
    if not values.size:
        return {"interval": "no pair", "n": 0, "leader": 0, "unanimous": False}
    estimate = float(paired.hodges_lehmann(values))
    low, high, method = paired.exact_interval(values)
    numbers = {"estimate": estimate, "ci_low": low, "ci_high": high, "interval": method}
    return numbers | _tested([values], paired.paired_p_value(values))


def _overall(by_size: list[Values], rng: np.random.Generator) -> dict[str, Any]:
    """Return the cells of the paired differences of all sizes."""
    low, high, method = paired.mean_effect_interval(by_size, rng)
    numbers = {"estimate": float(paired.mean_effect(*by_size)), "ci_low": low, "ci_high": high, "interval": method}
    return numbers | _tested(by_size, paired.stratified_p_value(by_size))


def _tested(by_size: list[Values], p_value: float) -> dict[str, Any]:
    """Return the cells of a test, and what its verdict needs beside p: who leads, and whether in every trial."""
    leader, signs = paired.leaning(by_size), np.sign(np.concatenate(by_size))
    return {"p_value": p_value, "n": signs.size, "leader": leader, "unanimous": bool((signs == leader).all())}


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with corrected p-values and the verdicts of the differences, without what only these need."""
    for quantity in (DIFFERENCE, OVERALL):
        rows = table["quantity"] == quantity
        table.loc[rows, "p_holm"] = paired.holm(table.loc[rows, "p_value"].to_numpy(float))
        table.loc[rows, "verdict"] = [
            paired.verdict(row, describe(str(row["metric"])).higher_is_better) for row in table[rows].to_dict("records")
        ]
    return table[COLUMNS]
