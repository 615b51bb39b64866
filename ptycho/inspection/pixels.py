"""Pixels that no light explains: isolated hot ones, and those at the largest value of the detector's data type."""

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import ComplexArray, FloatArray
from ptycho.physics.diffraction import diffraction_intensity

BRIGHTEST = 64  # pixels of a pattern that are examined
ABOVE = 10.0  # times the neighbours, beyond what the probe's size permits, from which a pixel is hot
FEW_COUNTS = 3  # by which shot noise may raise a pixel above dark neighbours; three times this is a factor of ABOVE
TYPE_MAXIMA = tuple(2.0**bits - 1 for bits in (8, 15, 16, 31, 32))  # of 8, 16 and 32 bit integers
RELATIVE = 1e-5  # float32 amplitudes resolve counts to 1e-7


def narrowest_spot(probe: ComplexArray) -> float:
    """Return how many times brighter than its neighbours a pixel can be that light of this probe illuminates.

    No feature of a far field is narrower than that of a probe with the same amplitude and a flat phase. It is at
    least 1, and infinite for a flat probe that fills its window.
    """
    spot = diffraction_intensity(np.abs(probe)[None], np.ones((1, *probe.shape), complex))[0]
    half = probe.shape[0] // 2
    around = max(spot[half - 1, half], spot[half + 1, half], spot[half, half - 1], spot[half, half + 1])
    return float(max(spot[half, half] / around, 1.0)) if around > 1e-9 * spot[half, half] else float("inf")


def hot_pixels(counts: FloatArray, spot: float) -> npt.NDArray[np.bool_]:
    """Return the pixels, (k, N, N) bool, that are far brighter than their eight neighbours in the same pattern.

    Of each pattern the ``BRIGHTEST`` pixels are examined.

    Parameters
    ----------
    counts : (k, N, N), 0 or more, in any unit; the smallest of a pattern above 0 is taken for one count
    spot : see :func:`narrowest_spot`
    """
    side, hot = counts.shape[-1], np.zeros(counts.shape, bool)
    if side < 4 or not np.isfinite(spot):
        return hot
    flat = counts.reshape(len(counts), -1)
    top = np.argpartition(flat, -min(BRIGHTEST, flat.shape[1]), axis=1)[:, -BRIGHTEST:]
    rows, columns = np.divmod(top, side)
    number = np.arange(len(counts))[:, None]
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    around = np.max([counts[number, (rows + dy) % side, (columns + dx) % side] for dy, dx in steps], axis=0)
    one = np.where(flat > 0, flat, np.inf).min(axis=1, keepdims=True)
    one = np.where(np.isfinite(one), one, 0)
    hot[number, rows, columns] = flat[number, top] > ABOVE * spot * (around + FEW_COUNTS * one)
    return hot


def at_type_maximum(mean: FloatArray) -> tuple[npt.NDArray[np.bool_], float]:
    """Return the pixels, (N, N) bool, that always hold the largest value of an integer type, and this value.

    Parameters
    ----------
    mean : (N, N) mean counts
    """
    for value in reversed(TYPE_MAXIMA):
        found = np.abs(mean - value) <= RELATIVE * value
        if found.any() and mean.max() <= value * (1 + RELATIVE):
            return found, value
    return np.zeros(mean.shape, bool), 0.0
