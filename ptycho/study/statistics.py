"""Intervals and paired tests over the trials of a study.

The two models of a trial train on the same images, so they are compared within each trial. Few trials resolve
little, and the verdicts say so: with five pairs no two-sided rank test can fall below p = 2/2**5 = 0.0625.
"""

import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ptycho.study.aggregation import describe, model_label, ordered_models, quantile

METRICS = ("psnr", "ssim", "ms_ssim", "frc50", "mae", "rmse")  # that are tested
DIFFERENCE = "pinn_minus_baseline"
NOT_RESOLVED = "not resolved"
MIN_INTERVAL = 3  # trials below which an interval says nothing
MIN_PAIRS = 5  # pairs below which a test cannot even hint
ALPHA = 0.05
KEYS = ["train_size", "metric", "part", "quantity"]
COLUMNS = [*KEYS, "estimate", "ci_low", "ci_high", "p_value", "n", "verdict"]

Values = npt.NDArray[np.float64]


def study_statistics(trials_wide: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Estimate the median of each model, and of the paired difference PtychoPINN - Baseline.

    Parameters
    ----------
    trials_wide : as :func:`ptycho.study.aggregation.results_all_trials` makes it
    seed : of the bootstrap; each estimate has its own stream, so that a further size changes no other number

    Returns
    -------
    DataFrame : train_size, metric, part, quantity (``pinn_median``, ``baseline_median``, ...,
        ``pinn_minus_baseline``), estimate, ci_low, ci_high (95 % percentile bootstrap), p_value (Wilcoxon
        signed rank, two-sided), n (values that are not NaN), verdict (see :func:`verdict`); the last
        and p_value of the difference only. Unit of the estimates: that of the metric.
    """
    rows = []
    for size, group in trials_wide.groupby("train_size"):
        columns = (f"{metric}_{part}" for metric in METRICS for part in ("amp", "phase"))
        for name in (column for column in columns if column in trials_wide):
            metric, _, part = name.rpartition("_")
            for quantity, values in _quantities(group, name):
                rng = np.random.default_rng([seed, int(str(size)), zlib.crc32(f"{name} {quantity}".encode())])
                low, high = median_interval(values, rng)
                row = [size, metric, part, quantity, quantile(values, 0.5), low, high]
                p, words = (float("nan"), "")
                if quantity == DIFFERENCE:
                    p = paired_p_value(values)
                    words = verdict(values, (low, high), p, describe(metric).higher_is_better)
                rows.append([*row, p, values.size, words])
    return pd.DataFrame(rows, columns=COLUMNS)


def _quantities(group: pd.DataFrame, name: str) -> Iterator[tuple[str, Values]]:
    """Yield each quantity of a size with its values, without NaN."""
    table = group.pivot(index="trial", columns="model_type", values=name)
    for kind in ordered_models(table.columns):
        yield f"{kind}_median", table[kind].dropna().to_numpy()
    if {"pinn", "baseline"} <= set(table.columns):
        pairs = table[["pinn", "baseline"]].dropna()
        same = pairs["pinn"] == pairs["baseline"]  # also where both are infinite, which have no difference
        yield DIFFERENCE, (pairs["pinn"] - pairs["baseline"]).mask(same, 0.0).to_numpy()


def median_interval(values: Values, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the median.

    NaN for fewer than three values, or where one is infinite. Of up to five values it is their range. Not
    BCa: its acceleration comes from a jackknife, which is not consistent for a median (Efron & Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 11).
    """
    if values.size < MIN_INTERVAL or not np.isfinite(values).all():
        return float("nan"), float("nan")
    interval = stats.bootstrap((values,), np.median, method="percentile", rng=rng).confidence_interval
    return float(interval.low), float(interval.high)


def paired_p_value(differences: Values) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test; NaN for fewer than five pairs.

    Exact for up to 50 pairs (scipy.stats.wilcoxon; Wilcoxon, Biometrics Bulletin 1, 80, 1945).
    """
    if differences.size < MIN_PAIRS:
        return float("nan")
    return float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0


def verdict(differences: Values, interval: tuple[float, float], p_value: float, higher_is_better: bool | None) -> str:
    """Say what paired differences (pinn - baseline) show.

    ``{model} better``: p < 0.05 and the interval of the median leaves out zero. ``{model} ahead in every
    trial``: all differences of five or more pairs have one sign, but there are too few for p < 0.05. Else
    ``not resolved``.
    """
    if differences.size < MIN_PAIRS or higher_is_better is None:
        return NOT_RESOLVED
    sign = np.sign(np.median(differences))
    ahead = model_label("pinn" if (sign > 0) == higher_is_better else "baseline")
    if p_value < ALPHA and (interval[0] > 0 or interval[1] < 0):
        return f"{ahead} better"
    if sign and (np.sign(differences) == sign).all():
        return f"{ahead} ahead in every trial"
    return NOT_RESOLVED
