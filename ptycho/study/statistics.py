"""Intervals and paired tests over the trials of a study.

The two models of a trial train on the same images, so they are compared within each trial. Few trials resolve
little, and the verdicts say so: with five pairs no two-sided rank test can fall below p = 2/2**5 = 0.0625.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ptycho.results.schema import IDENTITY, Model, describe, model_label, models
from ptycho.study.tables import metric_parts, quantile, quantiles, ranked

METRICS = ("rmse", "psnr", "ssim", "ms_ssim", "frc50", "mae")  # that are tested
CURVES = ("psnr", "ssim", "frc50")  # for which the number of images needed is estimated
DIFFERENCE = "pinn_minus_baseline"
EFFICIENCY = "baseline_images_over_pinn"
ENOUGH = "images_enough"
SMALL_GAIN_DB = 0.5  # PSNR that a doubling of the images must bring to be worth it
RESAMPLES = 999
NOT_RESOLVED = "not resolved"
MIN_INTERVAL = 3  # trials below which an interval says nothing
MIN_PAIRS = 5  # pairs below which a test cannot even hint
ALPHA = 0.05
NO_MODEL = Model("")  # of a quantity that is about two models
KEYS = ["train_size", "metric", "part", "quantity", *IDENTITY]
COLUMNS = [*KEYS, "estimate", "ci_low", "ci_high", "p_value", "n", "verdict"]

Values = npt.NDArray[np.float64]
Medians = dict[str, Values]  # by model type, (..., sizes)


def study_statistics(trials_wide: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Estimate the median of each model, and of the paired difference PtychoPINN - Baseline.

    Parameters
    ----------
    trials_wide : as :func:`ptycho.study.tables.results_all_trials` makes it
    seed : of the bootstrap; each estimate has its own stream, so that a further size changes no other number

    Returns
    -------
    DataFrame : train_size, metric, part, quantity (``pinn_median``, ``baseline_median``, ...,
        ``pinn_minus_baseline``), variant and arm (empty where a quantity is about two models), estimate, ci_low,
        ci_high (95 % percentile bootstrap), p_value (Wilcoxon signed rank, two-sided), n (values that are not NaN),
        verdict (see :func:`verdict`); the last and p_value of the difference only. Unit of the estimates: that of the
        metric. Then the rows of :func:`efficiency` (a factor) and :func:`diminishing` (images, of all sizes:
        train_size is empty)
    """
    rows = []
    ranks = {f"{metric}_{part}": ranked(trials_wide, metric, part) for metric, part in metric_parts(trials_wide)}
    for size, group in trials_wide.assign(**ranks).groupby("train_size"):
        columns = (f"{metric}_{part}" for metric in METRICS for part in ("amp", "phase"))
        for name in (column for column in columns if column in trials_wide):
            metric, _, part = name.rpartition("_")
            for quantity, model, values in _quantities(group, name):
                rng = np.random.default_rng([seed, int(str(size)), zlib.crc32(f"{name} {quantity}".encode())])
                low, high = median_interval(values, rng)
                row = [size, metric, part, quantity, model.variant, model.arm, quantile(values, 0.5), low, high]
                p, words = (float("nan"), "")
                if quantity == DIFFERENCE:
                    p = paired_p_value(values)
                    words = verdict(values, (low, high), p, describe(metric).higher_is_better)
                rows.append([*row, p, values.size, words])
    rows += efficiency(trials_wide, seed) + diminishing(trials_wide, seed)
    return pd.DataFrame(rows, columns=COLUMNS).astype({"train_size": "Int64"})


def _quantities(group: pd.DataFrame, name: str) -> Iterator[tuple[str, Model, Values]]:
    """Yield each quantity of a size, the model that it is about, and its values without NaN."""
    table = group.pivot(index="trial", columns="model_type", values=name)
    for kind, model in models(group).items():
        yield f"{kind}_median", model, table[kind].dropna().to_numpy()
    if {"pinn", "baseline"} <= set(table.columns):
        pairs = table[["pinn", "baseline"]].dropna()
        same = pairs["pinn"] == pairs["baseline"]  # also where both are infinite, which have no difference
        yield DIFFERENCE, NO_MODEL, (pairs["pinn"] - pairs["baseline"]).mask(same, 0.0).to_numpy()


def median_interval(values: Values, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the median.

    NaN for fewer than three values. An infinite one, of a trial that failed, counts by its rank. Of up to five values
    it is their range. Not BCa: its acceleration comes from a jackknife, which is not consistent for a median (Efron &
    Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11).
    """
    if values.size < MIN_INTERVAL:
        return float("nan"), float("nan")
    if not np.isfinite(values).all():  # ranks are all that counts
        return _percentiles(quantiles(rng.choice(values, (RESAMPLES, values.size)), 0.5))
    interval = stats.bootstrap((values,), np.median, method="percentile", rng=rng).confidence_interval
    return float(interval.low), float(interval.high)


def _percentiles(drawn: Values) -> tuple[float, float]:
    """Return the bounds of the middle 95 % of resampled figures, (m,), as they were drawn: some may be infinite."""
    ordered = np.sort(drawn)
    return float(ordered[round(0.025 * (len(drawn) - 1))]), float(ordered[round(0.975 * (len(drawn) - 1))])


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


# how many images, and how many are enough -----------------------------------------------------------------


def efficiency(trials_wide: pd.DataFrame, seed: int) -> list[list[Any]]:
    """Return rows on how many times as many images the baseline needs for what PtychoPINN reaches with a size.

    The medians of the baseline are interpolated over log2 of the images; the first crossing of PtychoPINN's median
    counts. ``inf``: not reached with the largest size; 0: the smallest already reaches it. The interval is the 95 %
    percentile bootstrap over the trials, drawn for each size, the same trials of both models.

    Returns
    -------
    list : rows of :data:`COLUMNS`
    """
    rows = []
    for metric, part, table in _curves(trials_wide, {"pinn", "baseline"}):
        better = describe(metric).higher_is_better
        sizes = np.array(sorted(table))
        for size in sizes:
            rng = np.random.default_rng([seed, int(size), zlib.crc32(f"{metric}_{part} {EFFICIENCY}".encode())])

            def factor(medians: Medians, size: int = size, sizes: Values = sizes, better: bool | None = better) -> Any:
                """Return how many times as many images the baseline needs, of each resample."""
                target = medians["pinn"][..., sizes == size][..., 0]
                return images_needed(sizes, medians["baseline"], target, better) / size

            estimate, low, high, n = _bootstrapped(table, factor, rng)
            words = efficiency_verdict((low, high), n)
            if np.isinf(estimate):
                words = f"{words}; not reached with {sizes[-1]} images: more than {sizes[-1] / size:.3g}"
            elif estimate == 0:
                words = f"{words}; reached with {sizes[0]} images already: less than {sizes[0] / size:.3g}"
            rows.append([size, metric, part, EFFICIENCY, "", "", estimate, low, high, np.nan, n, words])
    return rows


def images_needed(sizes: Values, medians: Values, target: Any, higher_is_better: bool | None) -> Any:
    """Return the number of images at which medians, interpolated over log2 of the sizes, first reach ``target``.

    Parameters
    ----------
    sizes : (s,), ascending
    medians : (..., s), of each size
    target : (...)
    higher_is_better : whether a median reaches the target from below

    Returns
    -------
    (...) : infinite where they never do, 0 where the smallest size already does, NaN where something is not known
    """
    sign = 1.0 if higher_is_better else -1.0
    with np.errstate(invalid="ignore"):  # two infinities: not known
        short = sign * (np.asarray(target)[..., None] - medians)  # what is missing
    reached = short <= 0
    last = reached.argmax(axis=-1)
    first = np.maximum(last - 1, 0)
    before, after = (np.take_along_axis(short, at[..., None], -1)[..., 0] for at in (first, last))
    octaves = np.log2(sizes)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(np.isfinite(before) & np.isfinite(after), before / (before - after), 1.0)
        place = octaves[first] + share * (octaves[last] - octaves[first])
    between = np.reshape([2.0**octave for octave in place.flat], place.shape)  # numpy's power rounds arrays otherwise
    smallest = np.where(short[..., 0] == 0, float(sizes[0]), 0.0)
    found = np.where(last == 0, smallest, between)
    found = np.where(reached.any(axis=-1), found, np.inf)
    return np.where(np.isnan(short).any(axis=-1), np.nan, found)[()]


def efficiency_verdict(interval: tuple[float, float], n: int) -> str:
    """Say whom the interval of the factor favours; few trials say nothing."""
    low, high = interval
    if n < MIN_INTERVAL or np.isnan([low, high]).any() or low <= 1 <= high:
        return NOT_RESOLVED
    return f"{model_label('baseline' if low > 1 else 'pinn')} needs more images"


def diminishing(trials_wide: pd.DataFrame, seed: int) -> list[list[Any]]:
    """Return rows on the size from which a doubling of the images brings less than :data:`SMALL_GAIN_DB`.

    Of the medians of the PSNR, for each model that trains; ``inf`` where the last doubling still brings more.
    Intervals as in :func:`efficiency`.

    Returns
    -------
    list : rows of :data:`COLUMNS`, whose train_size is empty
    """
    rows = []
    for kind, model in models(trials_wide).items():
        if model.arm == "iterative":
            continue
        for metric, part, table in _curves(trials_wide, {kind}):
            sizes = np.array(sorted(table))
            if metric != "psnr" or len(sizes) < 2:
                continue
            rng = np.random.default_rng([seed, zlib.crc32(f"{metric}_{part} {kind} {ENOUGH}".encode())])

            def enough(medians: Medians, sizes: Values = sizes, kind: str = kind) -> Any:
                """Return the size that is enough, of each resample."""
                return enough_images(sizes, medians[kind])

            estimate, low, high, n = _bootstrapped(table, enough, rng)
            words = NOT_RESOLVED if n < MIN_INTERVAL or np.isnan(estimate) or low != high else "resolved"
            if np.isinf(estimate):
                words = f"{words}; still growing at {sizes[-1]} images"
            name = f"{kind}_{ENOUGH}"
            rows.append([pd.NA, metric, part, name, model.variant, model.arm, estimate, low, high, np.nan, n, words])
    return rows


def enough_images(sizes: Values, medians: Values) -> Any:
    """Return the first size after which no doubling gains :data:`SMALL_GAIN_DB`; inf where the last one does.

    Parameters
    ----------
    sizes : (s,), ascending, at least two
    medians : (..., s), dB, of each size

    Returns
    -------
    (...) : a size; NaN where a median is not finite
    """
    known = np.isfinite(medians).all(axis=-1)
    with np.errstate(invalid="ignore"):
        large = np.diff(medians) / np.diff(np.log2(sizes)) >= SMALL_GAIN_DB
    after = large.shape[-1] - large[..., ::-1].argmax(axis=-1)  # the size that follows the last large gain
    further = np.append(sizes[:-1], np.inf)[after]
    found = np.where(large.any(axis=-1), further, float(sizes[0]))
    return np.where(known, found, np.nan)[()]


def _curves(trials_wide: pd.DataFrame, kinds: set[str]) -> Iterator[tuple[str, str, dict[int, pd.DataFrame]]]:
    """Yield metric, part and, by size, a table of the trials (rows) of the kinds (columns), where all kinds are."""
    for metric, part in metric_parts(trials_wide):
        if metric not in CURVES:
            continue
        values = trials_wide.assign(y=ranked(trials_wide, metric, part))
        tables = {
            int(str(size)): group.pivot(index="trial", columns="model_type", values="y")
            for size, group in values.groupby("train_size")
        }
        found = {size: table[sorted(kinds)].dropna() for size, table in tables.items() if kinds <= set(table.columns)}
        found = {size: table for size, table in found.items() if len(table)}
        if found:
            yield metric, part, found


def _bootstrapped(
    tables: dict[int, pd.DataFrame], figure: Callable[[Medians], Any], rng: np.random.Generator
) -> tuple[float, float, float, int]:
    """Return a figure of the medians of all sizes, its 95 % interval, and the number of trials of the least size.

    Parameters
    ----------
    tables : by size, a row a trial, a column a model
    figure : from medians (..., sizes, ascending) by model to (...) numbers
    """
    columns = list(next(iter(tables.values())).columns)
    arrays = [tables[size].to_numpy(float) for size in sorted(tables)]

    def of(samples: list[Values]) -> Any:
        """Return the figure of samples (..., trials, models), an array a size."""
        medians = [quantiles(np.moveaxis(values, -1, -2), 0.5) for values in samples]  # (..., models) of each size
        return figure({kind: np.stack([m[..., i] for m in medians], axis=-1) for i, kind in enumerate(columns)})

    estimate, n = float(of(arrays)), min(map(len, arrays))
    if n < MIN_INTERVAL:
        return estimate, float("nan"), float("nan"), n
    samples = [values[rows] for values, rows in zip(arrays, _resampled([len(v) for v in arrays], rng), strict=True)]
    return estimate, *_percentiles(of(samples)), n


def _resampled(lengths: list[int], rng: np.random.Generator) -> list[npt.NDArray[np.int64]]:
    """Return rows drawn with replacement, an array (RESAMPLES, n) for each length n, one resample after the other."""
    if len(set(lengths)) == 1:
        drawn = rng.integers(lengths[0], size=(RESAMPLES, len(lengths), lengths[0]))
        return [drawn[:, i] for i in range(len(lengths))]
    rows = [[rng.integers(n, size=n) for n in lengths] for _ in range(RESAMPLES)]
    return [np.stack(of_a_size) for of_a_size in zip(*rows, strict=True)]
