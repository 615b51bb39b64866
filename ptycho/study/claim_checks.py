"""How a claim is checked: a function for each kind of claim, from the scores of a study to a judgement.

Each takes the scores of one metric and part; what a function calls better or a gain is a lower RMSE, a higher SSIM.
"""

import zlib
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pandas as pd

from ptycho.results.schema import TRAINED, model_label
from ptycho.study.evidence import UNCHECKED, Evidence, Figure, Judgement, bracketed, conclude, direction, interval
from ptycho.study.image_counts import EFFICIENCY, SMALL_GAIN_DB
from ptycho.study.paired import MIN_PAIRS, NOT_RESOLVED
from ptycho.study.resampling import Values, median_interval
from ptycho.study.statistics import DIFFERENCE
from ptycho.study.tables import quantile

ABOUT = 2**0.5  # a measured size within this factor stands for one that a claim states as about


def improves(evidence: Evidence) -> Judgement:
    """Check that the median of each model is better at the largest size than at the smallest."""
    figures, missing = [], []
    for kind in TRAINED:
        ends, reasons = evidence.ends([kind])
        missing += reasons
        if ends:
            medians, n = evidence.medians([kind], ends)
            change = _minus(medians[kind][:, 1], medians[kind][:, 0])
            bounds = interval(change[1:], n)
            first, last = (evidence.value(value) for value in medians[kind][0])
            words = (
                f"{model_label(kind)} {first} with {ends[0]} images, {last} with {ends[1]} "
                f"({evidence.change(change[0], bounds)})"
            )
            figures.append(Figure(words, direction(bounds, n, evidence.sign), n))
    return conclude(figures, missing)


def _minus(values: Values, others: Values) -> Values:
    """Return differences; NaN, and no warning, where both have failed."""
    with np.errstate(invalid="ignore"):
        return np.asarray(values - others)


def diminishes(evidence: Evidence, about: int) -> Judgement:
    """Check that a doubling of the images lowers each model's error by fewer dB above ``about`` images than below."""
    figures, missing = [], []
    kinds = [kind for kind in TRAINED if evidence.sizes(kind)]
    for kind in kinds:
        sizes, name = evidence.sizes(kind), model_label(kind)
        pivot = min(sizes, key=lambda size: abs(np.log2(size / about)))
        if not about / ABOUT <= pivot <= about * ABOUT:
            missing.append(f"no results of {name} with about {about} images")
        elif pivot in (sizes[0], sizes[-1]):
            missing.append(f"no results of {name} with {'fewer' if pivot == sizes[0] else 'more'} than {pivot} images")
        else:
            figures.append(_slower(evidence, kind, [sizes[0], pivot, sizes[-1]]))
    return conclude(figures, missing or ([] if kinds else evidence.absent(TRAINED)))


def _slower(evidence: Evidence, kind: str, sizes: list[int]) -> Figure:
    """Return whether the gain per doubling between the last two of three sizes is below that between the first two.

    In dB of the error: where the error is a power of the number of images, every doubling gains the same.
    """
    medians, n = evidence.medians([kind], sizes)
    steps = np.diff(np.log2(sizes))
    with np.errstate(invalid="ignore", divide="ignore"):
        levels = 20 * np.log10(_errors(evidence, medians[kind]))
    before, after = (_minus(levels[:, i], levels[:, i + 1]) / steps[i] for i in (0, 1))
    growth = _minus(after, before)
    bounds = interval(growth[1:], n)
    words = (
        f"gain of {model_label(kind)} per doubling {_decibels(before[0])} up to {sizes[1]} images, "
        f"{_decibels(after[0])} above (difference {_decibels(growth[0], bounds)})"
    )
    return Figure(words, direction(bounds, n, -1), n)


def _decibels(number: float, bounds: tuple[float, float] = (float("nan"), float("nan"))) -> str:
    """Return a difference in dB as text: with its sign and, if known, its interval."""
    return f"{number:+.2f} dB{bracketed(bounds, '+.2f')}" if np.isfinite(number) else "failed"


def ahead_up_to(evidence: Evidence, most: int) -> Judgement:
    """Check that PtychoPINN is ahead at every measured size of at most ``most`` images."""
    sizes = [size for size in evidence.sizes(*TRAINED) if size <= most]
    missing = evidence.absent(TRAINED) or ([] if sizes else [f"no results with {most} images or fewer"])
    return _ahead(evidence, sizes, missing)


def ahead_at(evidence: Evidence, wanted: Collection[int]) -> Judgement:
    """Check that PtychoPINN is ahead at each of the wanted sizes."""
    return _ahead(evidence, *evidence.present(TRAINED, wanted))


def _ahead(evidence: Evidence, sizes: Collection[int], missing: Collection[str]) -> Judgement:
    """Return what the paired differences at these sizes show, with the verdicts that the findings give them."""
    rows = evidence.statistics[evidence.statistics["quantity"] == DIFFERENCE]
    figures = []
    for row in rows[rows["train_size"].isin(list(sizes)) & (rows["n"] > 0)].to_dict("records"):
        verdict = str(row["verdict"])
        toward = 0 if verdict == NOT_RESOLVED else 1 if verdict.startswith(model_label("pinn")) else -1
        words = f"{evidence.change(row['estimate'], (row['ci_low'], row['ci_high']))} with {row['train_size']} images"
        figures.append(Figure(words, toward, int(row["n"])))
    return _introduced("PtychoPINN - Baseline", conclude(figures, missing))


def _introduced(words: str, judged: Judgement) -> Judgement:
    """Return a judgement whose numbers, if there are any, start with a name."""
    return Judgement(judged.verdict, judged.reason, f"{words} {judged.numbers}" if judged.numbers else "")


def baseline_gains_more(evidence: Evidence, wanted: Sequence[int] = ()) -> Judgement:
    """Check that Baseline gains more than PtychoPINN from one size to another.

    Parameters
    ----------
    wanted : the two sizes; none: the smallest and the largest
    """
    sizes, missing = evidence.present(TRAINED, wanted) if wanted else evidence.ends(TRAINED)
    if len(sizes) < 2:
        return conclude([], missing)
    medians, n = evidence.medians(TRAINED, sizes)
    gains = {kind: evidence.sign * _minus(values[:, 1], values[:, 0]) for kind, values in medians.items()}
    lead = _minus(gains["baseline"], gains["pinn"])
    bounds = interval(lead[1:], n)
    told = ", ".join(f"{model_label(kind)} {evidence.change(gains[kind][0])}" for kind in TRAINED)
    words = (
        f"gain from {sizes[0]} to {sizes[1]} images: {told} (Baseline - PtychoPINN {evidence.change(lead[0], bounds)})"
    )
    return conclude([Figure(words, direction(bounds, n), n)])


def _errors(evidence: Evidence, medians: Values) -> Values:
    """Return medians as errors: 1 less the metric where higher is better."""
    return medians if evidence.sign < 0 else 1 - medians


def scales_faster(evidence: Evidence) -> Judgement:
    """Check that the error of Baseline falls with a larger exponent of the number of images than that of PtychoPINN.

    The exponents are those of straight lines through the medians on logarithmic axes. The error of a metric of which
    higher is better is 1 less the metric.
    """
    missing = evidence.ends(TRAINED)[1]
    if missing:
        return conclude([], missing)
    sizes = evidence.sizes(*TRAINED)
    medians, n = evidence.medians(TRAINED, sizes)
    octaves = np.log2(sizes) - np.mean(np.log2(sizes))
    with np.errstate(invalid="ignore", divide="ignore"):
        exponents = {
            kind: -(np.log2(_errors(evidence, values)) @ octaves) / (octaves @ octaves)
            for kind, values in medians.items()
        }
    lead = _minus(exponents["baseline"], exponents["pinn"])
    bounds = interval(lead[1:], n)
    told = ", ".join(f"{model_label(kind)} {exponents[kind][0]:.2f}" for kind in TRAINED)
    words = f"exponents {told} (Baseline - PtychoPINN {lead[0]:+.2f}{bracketed(bounds, '+.2f')})"
    if not np.isfinite(lead[0]):
        words = "exponents unknown, because half of the trials of a size failed"
    return conclude([Figure(words, direction(bounds, n), n)])


def stable(evidence: Evidence) -> Judgement:
    """Check that the medians of PtychoPINN over all sizes span less than :data:`SMALL_GAIN_DB` per doubling.

    In dB of the error, by which the PSNR changes. The error of a metric of which higher is better is 1 less the metric.
    """
    missing = evidence.ends(["pinn"])[1]
    if missing:
        return conclude([], missing)
    sizes = evidence.sizes("pinn")
    medians, n = evidence.medians(["pinn"], sizes)
    errors = _errors(evidence, medians["pinn"])
    with np.errstate(invalid="ignore", divide="ignore"):
        span = 20 * np.log10(errors.max(axis=1) / errors.min(axis=1)) / np.log2(sizes[-1] / sizes[0])
    bounds = interval(span[1:], n)
    lowest, highest = (evidence.value(value) for value in (medians["pinn"][0].min(), medians["pinn"][0].max()))
    told = f"{span[0]:.2f} dB per doubling{bracketed(bounds, '.2f')}" if np.isfinite(span[0]) else "failed at a size"
    words = f"medians of PtychoPINN {lowest} to {highest}: {told}"
    return conclude([Figure(words, direction(bounds, n, -1, SMALL_GAIN_DB), n)])


def needs_times(evidence: Evidence, factor: float = 1.0, wanted: Sequence[int] = ()) -> Judgement:
    """Check that Baseline needs more than ``factor`` times as many images for the median of PtychoPINN.

    Parameters
    ----------
    wanted : sizes of PtychoPINN; none: each measured one but the largest, beyond which Baseline was not measured
    """
    sizes = evidence.sizes(*TRAINED)
    found, missing = evidence.present(TRAINED, wanted) if wanted else (sizes[:-1], evidence.ends(TRAINED)[1])
    rows = evidence.statistics[evidence.statistics["quantity"] == EFFICIENCY]
    figures = list(_factors(rows[rows["train_size"].isin(found)], sizes, factor))
    return _introduced("Baseline needs", conclude(figures, missing))


def _factors(rows: pd.DataFrame, sizes: list[int], factor: float) -> Iterator[Figure]:
    """Yield the factor of each size; only a bound is known of one that leads out of the measured sizes."""
    for row in rows.to_dict("records"):
        size, n = row["train_size"], int(row["n"])
        least, most = sizes[0] / size, sizes[-1] / size
        low, high = row["ci_low"], row["ci_high"]
        toward, between = 0, ""
        if not np.isnan([low, high]).any():
            between = f" [{_times(low, least, most)}, {_times(high, least, most)}]"
            exceeds = most >= factor if np.isinf(low) else low > factor
            below = least <= factor if high == 0 else high < factor
            toward = int(exceeds) - int(below) if n >= MIN_PAIRS else 0
        words = f"{_times(row['estimate'], least, most)} times the {size} images of PtychoPINN{between}"
        yield Figure(words, toward, n)


def _times(factor: float, least: float, most: float) -> str:
    """Return a factor as text: infinite means above ``most``, 0 below ``least``."""
    if np.isnan(factor):
        return "an unknown number of"
    return f"over {most:.3g}" if np.isinf(factor) else f"under {least:.3g}" if factor == 0 else f"{factor:.2g}"


def reaches(evidence: Evidence, kind: str, level: float, wanted: Collection[int]) -> Judgement:
    """Check that the median of a model is better than ``level`` at each of the wanted sizes."""
    found, missing = evidence.present([kind], wanted)
    figures = []
    for size in found:
        values = evidence.tables[size][kind].dropna().to_numpy(float)
        rng = np.random.default_rng([size, zlib.crc32(f"{evidence.metric}_{evidence.part} {kind} level".encode())])
        bounds = median_interval(values, rng)
        words = f"{evidence.value(quantile(values, 0.5))}{bracketed(bounds, evidence.form)} with {size} images"
        figures.append(Figure(words, direction(bounds, values.size, evidence.sign, level), values.size))
    return _introduced(model_label(kind), conclude(figures, missing))


def reaches_between(evidence: Evidence, level: float, least: int, most: int) -> Judgement:
    """Check that PtychoPINN is better than ``level`` at each measured size from ``least`` to ``most`` images."""
    sizes = [size for size in evidence.sizes("pinn") if least <= size <= most]
    if not sizes:
        return conclude([], evidence.absent(["pinn"]) or [f"no results with {least} to {most} images"])
    return reaches(evidence, "pinn", level, sizes)


def not_comparable(evidence: Evidence, reason: str, wanted: Collection[int]) -> Judgement:
    """Return that a claim cannot be checked and why, with the medians that the study has at the wanted sizes."""
    told = []
    for kind in TRAINED:
        found = [
            f"{evidence.value(quantile(evidence.tables[size][kind].dropna().to_numpy(float), 0.5))} ({size} images)"
            for size in evidence.sizes(kind)
            if size in wanted
        ]
        told += [f"{model_label(kind)} {', '.join(found)}"] if found else []
    return Judgement(UNCHECKED, reason, f"in this study {'; '.join(told)}" if told else "")
