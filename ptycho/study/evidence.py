"""The numbers of a study that a claim is checked by, and the verdict that follows from them."""

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ptycho.results.schema import TRAINED, describe, model_label
from ptycho.study.markdown import listed
from ptycho.study.paired import MIN_PAIRS, NOT_RESOLVED
from ptycho.study.resampling import MIN_INTERVAL, RESAMPLES, Values, percentiles
from ptycho.study.tables import quantiles, ranked

HELD = "held"
DID_NOT_HOLD = "did not hold"
UNCHECKED = "cannot be checked"


@dataclass(frozen=True)
class Figure:
    """One number of a claim: ``text``, and whether it supports the claim (1), contradicts it (-1) or neither (0)."""

    text: str
    direction: int
    n: int  # trials


@dataclass(frozen=True)
class Judgement:
    """A verdict (held, did not hold, not resolved, cannot be checked), its reason, and the numbers, as text."""

    verdict: str
    reason: str = ""
    numbers: str = ""

    def __str__(self) -> str:
        return f"{self.verdict} ({self.reason})" if self.reason else self.verdict


def conclude(figures: Collection[Figure], missing: Collection[str] = ()) -> Judgement:
    """Return the verdict of all figures of a claim.

    A figure that contradicts the claim decides. Otherwise the claim cannot be checked if anything is missing, it held
    if every figure supports it, and else it is not resolved.

    Parameters
    ----------
    missing : what the claim needs and the study does not have, in words
    """
    numbers = "; ".join(figure.text for figure in figures)
    if any(figure.direction < 0 for figure in figures):
        return Judgement(DID_NOT_HOLD, "", numbers)
    if missing or not figures:
        return Judgement(UNCHECKED, listed(list(missing)) or "no statistics in the tables", numbers)
    if all(figure.direction > 0 for figure in figures):
        return Judgement(HELD, "", numbers)
    n = min(figure.n for figure in figures)
    return Judgement(NOT_RESOLVED, "" if n >= MIN_PAIRS else "one trial" if n == 1 else f"{n} trials", numbers)


def interval(draws: Values, n: int) -> tuple[float, float]:
    """Return the middle 95 % of the figures of resamples.

    Parameters
    ----------
    draws : (m,)
    n : trials that were resampled

    Returns
    -------
    float, float : NaN for fewer than three trials, or if a figure is NaN
    """
    if n < MIN_INTERVAL or np.isnan(draws).any():
        return float("nan"), float("nan")
    return percentiles(draws)


def direction(bounds: tuple[float, float], n: int, sign: int = 1, level: float = 0.0) -> int:
    """Return 1 if an interval lies above ``level`` (below it for ``sign`` -1), -1 if on the other side, else 0.

    Also 0 for fewer than :data:`ptycho.study.paired.MIN_PAIRS` trials, whatever the interval.
    """
    low, high = bounds
    if n < MIN_PAIRS or np.isnan([low, high]).any():
        return 0
    return sign * (int(low > level) - int(high < level))


def bracketed(bounds: tuple[float, float], form: str) -> str:
    """Return e.g. `` [1.5, 2.1]``; nothing where the interval is unknown."""
    if np.isnan(bounds).any():
        return ""
    return f" [{', '.join(f'{x:{form}}' if np.isfinite(x) else 'failed' for x in bounds)}]"


@dataclass(frozen=True)
class Evidence:
    """The scores of one metric and part, of PtychoPINN and Baseline in the study itself, without its variants.

    Parameters
    ----------
    metric, part : e.g. ``rmse`` and ``phase``
    tables : by number of training images, a row a trial, a column for each of pinn and baseline; a failed trial
        without a value is the worst there is, see :func:`ptycho.study.tables.ranked`
    statistics : rows of :func:`ptycho.study.statistics.study_statistics` on this metric and part
    """

    metric: str
    part: str
    tables: dict[int, pd.DataFrame]
    statistics: pd.DataFrame

    @classmethod
    def of(cls, trials_wide: pd.DataFrame, statistics: pd.DataFrame, metric: str, part: str) -> "Evidence":
        """Return the evidence of a metric and part; without tables where the study does not have it."""
        name = f"{metric}_{part}"
        if name not in trials_wide or trials_wide[name].isna().all():
            return cls(metric, part, {}, statistics[:0])
        own = trials_wide.assign(y=ranked(trials_wide, metric, part))
        own = own[own["model_type"].isin(TRAINED)]
        tables = {
            int(str(size)): group.pivot(index="trial", columns="model_type", values="y")
            for size, group in own.groupby("train_size")
        }
        return cls(metric, part, tables, statistics[(statistics["metric"] == metric) & (statistics["part"] == part)])

    @property
    def label(self) -> str:
        """Name and unit of the metric, e.g. ``Phase RMSE (rad)``."""
        return describe(self.metric).axis_label(self.part)

    @property
    def form(self) -> str:
        """The format of its numbers."""
        return describe(self.metric).format

    @property
    def sign(self) -> int:
        """1 if higher is better, else -1."""
        return 1 if describe(self.metric).higher_is_better else -1

    def sizes(self, *kinds: str) -> list[int]:
        """Return the sizes, ascending, in which a trial has values of all the kinds (``pinn``, ``baseline``)."""
        return [
            size
            for size, table in sorted(self.tables.items())
            if set(kinds) <= set(table) and len(table[list(kinds)].dropna())
        ]

    def absent(self, kinds: Collection[str]) -> list[str]:
        """Return a reason for each kind that the study has no values of."""
        return [f"no results of {model_label(kind)}" for kind in kinds if not self.sizes(kind)]

    def present(self, kinds: Sequence[str], wanted: Collection[int]) -> tuple[list[int], list[str]]:
        """Return those of the wanted sizes that have values of all kinds, and reasons if some are missing."""
        found = [size for size in self.sizes(*kinds) if size in wanted]
        lost = [str(size) for size in wanted if size not in found]
        return found, self.absent(kinds) or ([f"no results with {listed(lost)} images"] if lost else [])

    def ends(self, kinds: Sequence[str]) -> tuple[list[int], list[str]]:
        """Return the smallest and the largest size with values of all kinds, or the reason if these are not two."""
        sizes, reasons = self.sizes(*kinds), self.absent(kinds)
        if not reasons and len(sizes) < 2:
            names = listed([model_label(kind) for kind in kinds])
            reasons = [f"only {sizes[0]} images for {names}" if sizes else f"no size with results of {names}"]
        return [sizes[0], sizes[-1]] if len(sizes) > 1 else [], reasons

    def medians(self, kinds: Sequence[str], sizes: Sequence[int]) -> tuple[dict[str, Values], int]:
        """Return medians over the trials and over resamples of them, and the smallest number of trials of a size.

        Each size is resampled separately, with a random stream of its own; its models together, trial by trial.

        Returns
        -------
        dict, int : by kind (1 + RESAMPLES, sizes); the first row is that of the trials themselves
        """
        drawn, counts = [], []
        for size in sizes:
            values = self.tables[size][list(kinds)].dropna().to_numpy(float)
            rng = np.random.default_rng([size, zlib.crc32(f"{self.metric}_{self.part} claims".encode())])
            rows = rng.integers(len(values), size=(RESAMPLES, len(values)))
            samples = np.concatenate([values[None], values[rows]])
            drawn.append(quantiles(np.moveaxis(samples, -1, -2), 0.5))
            counts.append(len(values))
        return {kind: np.stack([m[:, i] for m in drawn], axis=-1) for i, kind in enumerate(kinds)}, min(counts)

    def value(self, number: float) -> str:
        """Return a score as text."""
        return f"{number:{self.form}}" if np.isfinite(number) else "failed"

    def change(self, number: float, bounds: tuple[float, float] = (float("nan"), float("nan"))) -> str:
        """Return a difference of scores as text: with its sign and, if known, its interval."""
        if not np.isfinite(number):
            return "failed"
        return f"{number:+{self.form}}{bracketed(bounds, f'+{self.form}')}"
