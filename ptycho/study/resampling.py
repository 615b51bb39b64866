"""Percentile bootstrap over the trials of a study, of medians and of figures that follow from them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ptycho.study.tables import quantiles

RESAMPLES = 999
MIN_INTERVAL = 3  # trials below which an interval says nothing

Values = npt.NDArray[np.float64]
Medians = dict[str, Values]  # by model type, (..., sizes)


def median_interval(values: Values, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the median.

    NaN for fewer than three values. An infinite one, of a trial that failed, counts by its rank. Of up to five values
    it is their range. Not BCa: its acceleration comes from a jackknife, which is not consistent for a median (Efron &
    Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11).
    """
    if values.size < MIN_INTERVAL:
        return float("nan"), float("nan")
    if not np.isfinite(values).all():  # ranks are all that counts
        return percentiles(quantiles(rng.choice(values, (RESAMPLES, values.size)), 0.5))
    interval = stats.bootstrap((values,), np.median, method="percentile", rng=rng).confidence_interval
    return float(interval.low), float(interval.high)


def percentiles(drawn: Values) -> tuple[float, float]:
    """Return the bounds of the middle 95 % of resampled figures, (m,), as they were drawn: some may be infinite."""
    ordered = np.sort(drawn)
    return float(ordered[round(0.025 * (len(drawn) - 1))]), float(ordered[round(0.975 * (len(drawn) - 1))])


def bootstrapped(
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
    return estimate, *percentiles(of(samples)), n


def _resampled(lengths: list[int], rng: np.random.Generator) -> list[npt.NDArray[np.int64]]:
    """Return rows drawn with replacement, an array (RESAMPLES, n) for each length n, one resample after the other."""
    if len(set(lengths)) == 1:
        drawn = rng.integers(lengths[0], size=(RESAMPLES, len(lengths), lengths[0]))
        return [drawn[:, i] for i in range(len(lengths))]
    rows = [[rng.integers(n, size=n) for n in lengths] for _ in range(RESAMPLES)]
    return [np.stack(of_a_size) for of_a_size in zip(*rows, strict=True)]
