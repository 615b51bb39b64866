"""The reference without a network: rPIE, from the same test patterns, from nothing or from a network's object."""

import logging
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ptycho.data import retrieval
from ptycho.data.dataset import ComplexArray, Dataset, FloatArray
from ptycho.data.stitching import light_share

logger = logging.getLogger(__name__)

LIT_SHARE = 0.99  # of a pattern's light


@dataclass(frozen=True, eq=False)
class Retrieved:
    """What an iterative reconstruction came to.

    Parameters
    ----------
    object : (H, W) complex64; pixels that no window holds are as they were at the start
    convergence : a row for the start and each iteration: ``iteration``, ``r_factor``, ``seconds`` (wall time of
        the iterations so far)
    """

    object: npt.NDArray[np.complex64]
    convergence: pd.DataFrame

    @property
    def seconds(self) -> float:
        """Wall time of all iterations."""
        return float(self.convergence["seconds"].iloc[-1])


def retrieve(
    dataset: Dataset, iterations: int, alpha: float, rng: np.random.Generator, start: ComplexArray | None = None
) -> Retrieved:
    """Return the object that rPIE makes of all patterns of a scan; the probe is known and stays.

    Parameters
    ----------
    dataset : diffraction, positions, probe, bad pixels; its truth is not looked at. Read into memory, as each
        iteration goes through all patterns
    iterations : sweeps over all patterns
    alpha : see :func:`ptycho.data.retrieval.pie_sweeps`
    start : (H, W) complex of the dataset's ``object_shape``; None for an empty object, 1 everywhere
    """
    scan = dataset.loaded()
    image = np.ones(scan.object_shape, np.complex64) if start is None else start.astype(np.complex64)
    rows: list[tuple[int, float, float]] = [(0, retrieval.r_factor(image, scan), 0.0)]
    seconds = 0.0
    for iteration in range(1, iterations + 1):
        started = time.perf_counter()
        image = retrieval.pie_sweeps(image, scan, 1, rng, alpha)
        seconds += time.perf_counter() - started
        rows.append((iteration, retrieval.r_factor(image, scan), seconds))
        logger.info("iteration %d of %d: R-factor %.5f (%.1f s)", iteration, iterations, rows[-1][1], seconds)
    return Retrieved(image, pd.DataFrame(rows, columns=["iteration", "r_factor", "seconds"]))


def covered_r_factor(image: ComplexArray, dataset: Dataset, covered: npt.NDArray[np.bool_]) -> float:
    """Return the R-factor of the patterns whose light falls on covered pixels; NaN where there are none.

    See :func:`ptycho.data.retrieval.r_factor`.

    Parameters
    ----------
    image : (H, W) complex; pixels that are not covered may hold anything
    covered : (H, W) bool
    """
    inside = np.flatnonzero(light_share(dataset.xcoords, dataset.ycoords, dataset.probe, covered) >= LIT_SHARE)
    if not inside.size or not np.isfinite(image[covered]).all():
        return float("nan")
    return retrieval.r_factor(np.where(covered, image, image[covered].mean()), dataset.select(inside))


def filled(image: ComplexArray, weight: FloatArray) -> npt.NDArray[np.complex64]:
    """Return a stitched object, (H, W), with its weighted mean where nothing was stitched, for :func:`retrieve`."""
    lit = weight > 0
    total = float(weight.sum(dtype=float))
    mean = np.sum(image * weight) / total if total > 0 else 1.0
    return np.where(lit, image, mean).astype(np.complex64)
