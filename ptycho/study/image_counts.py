"""How many training images the models need: for each other's quality, and until more bring little."""

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ptycho.results.schema import describe, model_label, models
from ptycho.study.paired import NOT_RESOLVED
from ptycho.study.resampling import MIN_INTERVAL, Medians, Values, bootstrapped
from ptycho.study.tables import metric_parts, ranked

CURVES = ("psnr", "ssim", "frc50")  # for which the number of images needed is estimated
EFFICIENCY = "baseline_images_over_pinn"
ENOUGH = "images_enough"
SMALL_GAIN_DB = 0.5  # PSNR that a doubling of the images must bring to be worth it
METHOD = "percentile bootstrap"  # of the intervals


def efficiency(trials_wide: pd.DataFrame, seed: int) -> list[dict[str, Any]]:
    """Return rows on how many times as many images the baseline needs for what PtychoPINN reaches with a size.

    The medians of the baseline are interpolated over log2 of the images; the first crossing of PtychoPINN's median
    counts. ``inf``: not reached with the largest size; 0: the smallest already reaches it. The interval is the 95 %
    percentile bootstrap over the trials, drawn for each size, the same trials of both models.

    Returns
    -------
    list : rows of :data:`ptycho.study.statistics.COLUMNS`, by column
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

            estimate, low, high, n = bootstrapped(table, factor, rng)
            words = efficiency_verdict((low, high), n)
            if np.isinf(estimate):
                words = f"{words}; not reached with {sizes[-1]} images: more than {sizes[-1] / size:.3g}"
            elif estimate == 0:
                words = f"{words}; reached with {sizes[0]} images already: less than {sizes[0] / size:.3g}"
            row = {"train_size": size, "metric": metric, "part": part, "quantity": EFFICIENCY, "variant": "", "arm": ""}
            rows.append(row | _cells(estimate, low, high, n, words))
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


def diminishing(trials_wide: pd.DataFrame, seed: int) -> list[dict[str, Any]]:
    """Return rows on the size from which a doubling of the images brings less than :data:`SMALL_GAIN_DB`.

    Of the medians of the PSNR, for each model that trains; ``inf`` where the last doubling still brings more.
    Intervals as in :func:`efficiency`.

    Returns
    -------
    list : rows of :data:`ptycho.study.statistics.COLUMNS`, without a train_size
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

            estimate, low, high, n = bootstrapped(table, enough, rng)
            words = NOT_RESOLVED if n < MIN_INTERVAL or np.isnan(estimate) or low != high else "resolved"
            if np.isinf(estimate):
                words = f"{words}; still growing at {sizes[-1]} images"
            row = {"train_size": pd.NA, "metric": metric, "part": part, "quantity": f"{kind}_{ENOUGH}"}
            row |= {"variant": model.variant, "arm": model.arm}
            rows.append(row | _cells(estimate, low, high, n, words))
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


def _cells(estimate: float, low: float, high: float, n: int, verdict: str) -> dict[str, Any]:
    """Return the cells of an estimate with its interval."""
    method = f"fewer than {MIN_INTERVAL} trials" if np.isnan(low) else METHOD
    numbers = {"estimate": estimate, "ci_low": low, "ci_high": high, "interval": method}
    return numbers | {"n": n, "verdict": verdict}
