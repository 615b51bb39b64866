"""Paired differences of two models: size of the effect, tests of one size and of all, and what they show.

The two models of a trial train on the same images, so they are compared within each trial. An infinite difference is
that of a trial in which one of the models failed; it counts by its rank. Formulas: ``docs/statistics.md``.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from ptycho.results.schema import model_label
from ptycho.study.resampling import RESAMPLES, Values

ALPHA = 0.05
MIN_PAIRS = 5  # pairs below which a test cannot even hint
MIN_EXACT = 6  # pairs from which an exact 95 % interval exists: 1 - 2 / 2**5 is 93.75 %
MIN_OF_SIZE = 2  # pairs of a size from which on it counts in the test over all sizes
MIN_BCA = 20  # pairs in all, MIN_EXACT of each size, from which BCa intervals cover 91 % or more
MOST_STEPS = 2e8  # operations up to which the distribution of a test over all sizes is computed, beyond it is drawn
DRAWS = 99_999
NOT_RESOLVED = "not resolved"
EXACT = "exact signed rank"  # methods of intervals
BCA = "BCa bootstrap"
NOT_FINITE = "a trial failed"

Interval = tuple[float, float, str]  # low, high, and the method, or why both are NaN


# of one size -----------------------------------------------------------------------------------------------


def hodges_lehmann(differences: Values) -> Values:
    """Return the median of all means of two differences (each with itself, too), the estimate of Hodges and Lehmann.

    Parameters
    ----------
    differences : (..., n), n > 0, in the unit of the metric; the mean of two infinite ones of opposite sign is 0

    Returns
    -------
    (...) : Hodges and Lehmann, Ann. Math. Statist. 34, 598 (1963)
    """
    middle = _means_of_two(differences)
    half = middle.shape[-1] // 2
    ordered = np.partition(middle, [max(half - 1, 0), half], axis=-1)
    low, high = ordered[..., half if middle.shape[-1] % 2 else half - 1], ordered[..., half]
    with np.errstate(invalid="ignore"):  # infinities of both signs
        return np.where(low == high, low, (low + high) / 2)


def _means_of_two(differences: Values) -> Values:
    """Return the means of all pairs i <= j, (..., n (n + 1) / 2), of differences (..., n)."""
    i, j = np.triu_indices(differences.shape[-1])
    with np.errstate(invalid="ignore"):
        means = (differences[..., i] + differences[..., j]) / 2
    return np.where(np.isnan(means), 0.0, means)


def exact_interval(differences: Values) -> Interval:
    """Return the 95 % interval that belongs to Wilcoxon's test: the shifts of the differences that it does not reject.

    Distribution-free for symmetric differences, and never of less than 95 % (Hollander, Wolfe and Chicken,
    Nonparametric Statistical Methods, 3rd ed., 2014, section 3.3).

    Parameters
    ----------
    differences : (n,), without NaN

    Returns
    -------
    float, float, str : NaN for fewer than six differences, with which no such interval reaches 95 %
    """
    n = differences.size
    if n < MIN_EXACT:
        return float("nan"), float("nan"), f"fewer than {MIN_EXACT} pairs"
    means = np.sort(_means_of_two(differences))
    below = np.cumsum(_sums_of_subsets(np.arange(1, n + 1)))
    out = int(np.searchsorted(below, ALPHA / 2, side="right")) - 1  # the largest rank sum that is rejected
    return float(means[out]), float(means[-1 - out]), EXACT


def _sums_of_subsets(scores: np.ndarray) -> Values:
    """Return the probability of each sum of the positive ones among whole-numbered scores with random signs."""
    found = np.ones(1)
    for score in map(int, scores):
        wider = np.zeros(found.size + score)
        wider[: found.size] += found / 2
        wider[score:] += found / 2
        found = wider
    return found


def paired_p_value(differences: Values) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test; NaN for fewer than five pairs.

    Exact for up to 50 pairs (scipy.stats.wilcoxon; Wilcoxon, Biometrics Bulletin 1, 80, 1945).
    """
    if differences.size < MIN_PAIRS:
        return float("nan")
    return float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0


# over all sizes --------------------------------------------------------------------------------------------


def counted(by_size: Sequence[Values]) -> list[Values]:
    """Return the differences of the sizes that count over all sizes: those with two pairs or more."""
    return [differences for differences in by_size if differences.size >= MIN_OF_SIZE]


def _scores(by_size: Sequence[Values]) -> tuple[np.ndarray, np.ndarray]:
    """Return signs and whole-numbered scores of all differences but zeros: ranks in their size, over its n + 1."""
    kept = [differences[differences != 0] for differences in by_size]
    common = math.lcm(*(d.size + 1 for d in kept))
    doubled = [np.rint(2 * stats.rankdata(np.abs(d))).astype(np.int64) * (common // (d.size + 1)) for d in kept]
    return np.sign(np.concatenate(kept)).astype(np.int64), np.concatenate(doubled)


def leaning(by_size: Sequence[Values]) -> int:
    """Return the sign of the statistic of :func:`stratified_p_value`."""
    signs, scores = _scores(by_size)
    return int(np.sign(signs @ scores))


def stratified_p_value(by_size: Sequence[Values], seed: int = 0) -> float:
    """Return the two-sided p-value of a sign-flip test of the paired differences of all sizes.

    The statistic is the sum of the signs times the ranks of the absolute differences within their size over n + 1, so
    that each size counts by its pairs, whatever the scale of its errors; zeros are left out. Of one size it is
    Wilcoxon's test. The distribution over all flips of signs is computed exactly, by convolution; where the numbers of
    pairs differ so much that this takes too long, it is drawn.

    Parameters
    ----------
    by_size : (n,) of each size, without NaN
    seed : of the draws

    Returns
    -------
    float : NaN for fewer than five pairs in all; van Elteren, Bull. Inst. Int. Statist. 37, 351 (1960)
    """
    if sum(differences.size for differences in by_size) < MIN_PAIRS:
        return float("nan")
    signs, scores = _scores(by_size)
    if not scores.size:
        return 1.0
    observed = abs(int(signs @ scores))
    total = int(scores.sum())
    if total * scores.size <= MOST_STEPS:
        flipped = np.abs(2 * np.arange(total + 1) - total)
        return float(min(1.0, _sums_of_subsets(scores)[flipped >= observed].sum()))
    rng, extreme = np.random.default_rng(seed), 1
    for count in (DRAWS // 9,) * 9:
        extreme += int(np.sum(np.abs(rng.choice([-1, 1], (count, scores.size)) @ scores) >= observed))
    return extreme / (DRAWS + 1)


def mean_effect(*by_size: Values, axis: int = -1) -> Values:
    """Return the mean over the sizes of :func:`hodges_lehmann`; each size counts the same."""
    return np.mean([hodges_lehmann(np.moveaxis(differences, axis, -1)) for differences in by_size], axis=0)


def mean_effect_interval(by_size: Sequence[Values], rng: np.random.Generator) -> Interval:
    """Return the 95 % BCa bootstrap interval of :func:`mean_effect`, resampled within each size.

    Efron, J. Amer. Statist. Assoc. 82, 171 (1987); scipy.stats.bootstrap.

    Parameters
    ----------
    by_size : (n,) of each size, without NaN

    Returns
    -------
    float, float, str : NaN for few pairs, where a difference is infinite, and where all of each size are equal
    """
    empty = float("nan"), float("nan")
    pairs = [differences.size for differences in by_size]
    if sum(pairs) < MIN_BCA or min(pairs) < MIN_EXACT:
        return *empty, f"fewer than {MIN_BCA} pairs, or {MIN_EXACT} of a size"
    if not all(np.isfinite(differences).all() for differences in by_size):
        return *empty, NOT_FINITE
    if not any(np.ptp(differences) for differences in by_size):
        return *empty, "no spread"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # told by the interval
        interval = stats.bootstrap(
            tuple(by_size), mean_effect, n_resamples=RESAMPLES, method="BCa", vectorized=True, rng=rng
        ).confidence_interval
    bounds = float(interval.low), float(interval.high)
    return (*bounds, BCA) if np.isfinite(bounds).all() else (*empty, "degenerate resamples")


# what they show --------------------------------------------------------------------------------------------


def holm(p_values: Values) -> Values:
    """Return p-values corrected for their number: Holm, Scand. J. Statist. 6, 65 (1979); NaN stays and counts for none.

    Parameters
    ----------
    p_values : (m,)
    """
    corrected = np.full(len(p_values), np.nan)
    order = np.argsort(p_values)[: int(np.sum(~np.isnan(p_values)))]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * np.asarray(p_values)[order]))
    return corrected


def verdict(test: Mapping[Any, Any], higher_is_better: bool | None) -> str:
    """Say what paired differences PtychoPINN - Baseline show.

    ``{model} better``: p < 0.05 after Holm's correction. ``{model} ahead in every trial``: all differences of five or
    more pairs have one sign, but p is not small enough. ``{model} ahead (uncorrected)``: p < 0.05 before the correction
    only. Else ``not resolved``.

    Parameters
    ----------
    test : n (pairs), leader (sign of the effect: 1 where the values of PtychoPINN are higher), unanimous (whether all
        differences have this sign), p_value, p_holm
    """
    if test["n"] < MIN_PAIRS or higher_is_better is None or not test["leader"]:
        return NOT_RESOLVED
    ahead = model_label("pinn" if (test["leader"] > 0) == higher_is_better else "baseline")
    if test["p_holm"] < ALPHA:
        return f"{ahead} better"
    if test["unanimous"]:
        return f"{ahead} ahead in every trial"
    return f"{ahead} ahead (uncorrected)" if test["p_value"] < ALPHA else NOT_RESOLVED
