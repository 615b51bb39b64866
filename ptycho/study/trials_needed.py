"""How many trials make the interval of a paired difference as narrow as wanted."""

import math
from collections.abc import Mapping

import numpy as np
from scipy import stats

from ptycho.errors import InputError
from ptycho.study.paired import exact_interval
from ptycho.study.resampling import MIN_INTERVAL, Values

EFFICIENCY = math.pi / 3  # trials that the exact interval needs for each one of Student's, of normal differences


def trials_for_width(differences: Values, width: float) -> int:
    """Return the number of trials with which the 95 % interval of the effect is expected to be narrower than a width.

    The second stage of Stein's procedure (Ann. Math. Statist. 16, 243 (1945)): the trials so far give the standard
    deviation s, and (2 t s / width)**2 trials are needed, t being the quantile of Student's distribution with their
    degrees of freedom, so that few trials ask for more. Times pi / 3, as the interval is the exact one of ranks.

    Parameters
    ----------
    differences : (n,), n > 2, finite, in the unit of the metric
    width : of the interval, in the same unit, above 0

    Returns
    -------
    int : n where the interval is narrow enough already
    """
    n = differences.size
    low, high, _ = exact_interval(differences)
    if high - low < width:
        return n
    spread = float(np.std(differences, ddof=1))
    needed = math.ceil(EFFICIENCY * (2 * stats.t.ppf(0.975, n - 1) * spread / width) ** 2)
    return max(n + 1, needed)


def plan(by_size: Mapping[int, Values], width: float, at_most: int) -> tuple[int, list[str]]:
    """Return the ``num_trials`` to run a study with, and a sentence on each size.

    Parameters
    ----------
    by_size : paired differences (n,) by training images, without NaN
    width : that no interval shall reach, in the unit of the metric
    at_most : trials of a size that may be spent

    Raises
    ------
    InputError : no difference, too few trials to tell their spread, or a bound that makes no sense
    """
    if not (math.isfinite(width) and width > 0):
        raise InputError(f"--width is {width:g}, expected a number above 0, in the unit of the metric")
    if not by_size:
        raise InputError("no paired differences of PtychoPINN and Baseline: run both arms")
    few = {size: values.size for size, values in by_size.items() if values.size < MIN_INTERVAL}
    if few:
        size, n = next(iter(few.items()))
        raise InputError(
            f"{n} paired trials with {size} images, expected {MIN_INTERVAL} or more to estimate their spread: run the "
            f"study with num_trials={MIN_INTERVAL} first"
        )
    most = max(values.size for values in by_size.values())
    if at_most < most:
        raise InputError(f"--at_most is {at_most}, but there are {most} trials already: give {most} or more")
    needed, lines = most, []
    for size, values in sorted(by_size.items()):
        if not np.isfinite(values).all():
            lines.append(f"{size} images: a trial failed, so its difference has no width: left out")
            continue
        low, high, why = exact_interval(values)
        now = f"{high - low:.3g} wide" if np.isfinite(low) else f"none ({why})"
        trials = trials_for_width(values, width)
        needed = max(needed, trials)
        told = "enough" if trials == values.size else f"{trials} trials are needed"
        lines.append(f"{size} images: interval with {values.size} trials {now}; {told}")
    if needed > at_most:
        lines.append(f"limited to {at_most} trials: the intervals will not all be narrower than {width:g}")
    return min(needed, at_most), lines
