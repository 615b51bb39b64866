"""Iterative phase retrieval (rPIE): an object that explains all patterns of a scan, pattern by pattern."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.fft

from ptycho.data.dataset import ComplexArray, Dataset, FloatArray
from ptycho.physics import misfit
from ptycho.physics.patches import pad_edges

logger = logging.getLogger(__name__)

Patch = npt.NDArray[np.complex64]
ALPHA = 0.1  # between the bold step of 0 and the careful one of 1, where the probe is dim


def rpie(
    image: ComplexArray, dataset: Dataset, sweeps: int, rng: np.random.Generator, alpha: float = ALPHA
) -> npt.NDArray[np.complex64]:
    """Return ``image`` after so many sweeps of the regularized ptychographic iterative engine (rPIE).

    Each sweep goes through the patterns in random order: the wave behind the object takes the measured amplitude
    in the detector plane and goes back, and what that changed is added to the object, weighted by the probe. The
    probe is known and stays.

    Parameters
    ----------
    image : (H, W) complex, where to start; every window must lie on it to a pixel
    dataset : diffraction, positions and probe; its truth is not looked at
    alpha : 0 to 1, how much of the brightest probe pixel's weight a dim one is divided by

    Notes
    -----
    A. Maiden, D. Johnson, P. Li, Optica 4, 736 (2017), eq. 10, with the object at fractions of a pixel: a window
    is the weighted sum of four at whole pixels, and its change goes back to them with the same weights.
    """
    probe = dataset.probe.astype(np.complex64)
    brightness = np.abs(probe) ** 2
    step = np.conj(probe) / ((1 - alpha) * brightness + alpha * brightness.max())
    blind = None if dataset.bad_pixels is None else scipy.fft.ifftshift(dataset.bad_pixels)

    def change(number: int, patch: Patch) -> Patch:
        measured = scipy.fft.ifftshift(dataset.diffraction[number : number + 1][0]) * np.float32(dataset.window_px)
        return step * _exit_wave_update(probe * patch, measured, blind)

    return _sweep(image, dataset, sweeps, rng, change)


def fit_patches(
    image: ComplexArray, dataset: Dataset, sweeps: int, rng: np.random.Generator, alpha: float = ALPHA
) -> npt.NDArray[np.complex64]:
    """Return ``image`` after so many sweeps that bring its windows to the patches of a dataset.

    The counterpart of :func:`pie_sweeps` where the patches are known: the same steps, weighted alike, so that what
    the probe leaves dark stays as it was; merging patches at fractions of a pixel in one pass would blur them.

    Parameters
    ----------
    dataset : patches, positions and probe
    """
    brightness = np.abs(dataset.probe).astype(np.float32) ** 2
    step = brightness / ((1 - alpha) * brightness + alpha * brightness.max())
    patches = dataset.patches
    assert patches is not None

    def change(number: int, patch: Patch) -> Patch:
        return np.asarray(step * (patches[number : number + 1][0] - patch))

    return _sweep(image, dataset, sweeps, rng, change)


def _sweep(
    image: ComplexArray, dataset: Dataset, sweeps: int, rng: np.random.Generator, change: Callable[[int, Patch], Patch]
) -> npt.NDArray[np.complex64]:
    """Return ``image`` after each window took, in random order, ``change(number, patch)``, so many times."""
    window = dataset.window_px
    left, top = dataset.xcoords - window // 2 + 1, dataset.ycoords - window // 2 + 1  # of the padded object
    column, row = np.floor(left).astype(int), np.floor(top).astype(int)
    shares = _bilinear_weights(left - column, top - row)
    padded = pad_edges(image).copy()
    for _ in range(sweeps):
        for i in rng.permutation(len(dataset)):
            area = padded[row[i] : row[i] + window + 1, column[i] : column[i] + window + 1]
            corners = area[:-1, :-1], area[:-1, 1:], area[1:, :-1], area[1:, 1:]
            difference = change(i, sum(share * corner for share, corner in zip(shares[i], corners, strict=True)))
            for share, corner in zip(shares[i], corners, strict=True):
                corner += share * difference
    return padded[1:-2, 1:-2]


def _bilinear_weights(fx: npt.NDArray[np.float64], fy: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the (n, 4) bilinear weights of the whole-pixel windows at the upper left, upper right, lower ones."""
    parts = [(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx]
    return np.stack(parts, axis=1).astype(np.float32)


def _exit_wave_update(
    wave: npt.NDArray[np.complex64], measured: npt.NDArray[np.float32], blind: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.complex64]:
    """Return what is to be added to an exit wave (N, N), so that its diffraction has the measured amplitude."""
    spectrum = scipy.fft.fft2(wave)
    factor = measured / (np.abs(spectrum) + np.float32(1e-6)) - 1
    if blind is not None:
        factor[blind] = 0
    corrected: npt.NDArray[np.complex64] = scipy.fft.ifft2(spectrum * factor)
    return corrected


@dataclass(frozen=True, eq=False)
class PhaseRetrieval:
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


def reconstruct(
    dataset: Dataset, iterations: int, alpha: float, rng: np.random.Generator, start: ComplexArray | None = None
) -> PhaseRetrieval:
    """Return the object that rPIE makes of all patterns of a scan; the probe is known and stays.

    Parameters
    ----------
    dataset : diffraction, positions, probe, bad pixels; its truth is not looked at. Read into memory, as each
        iteration goes through all patterns
    iterations : sweeps over all patterns
    alpha : see :func:`ptycho.physics.phase_retrieval.rpie`
    start : (H, W) complex of the dataset's ``object_shape``; None for an empty object, 1 everywhere
    """
    scan = dataset.loaded()
    image = np.ones(scan.object_shape, np.complex64) if start is None else start.astype(np.complex64)
    rows: list[tuple[int, float, float]] = [(0, misfit.r_factor(image, scan), 0.0)]
    seconds = 0.0
    for iteration in range(1, iterations + 1):
        started = time.perf_counter()
        image = rpie(image, scan, 1, rng, alpha)
        seconds += time.perf_counter() - started
        rows.append((iteration, misfit.r_factor(image, scan), seconds))
        logger.info("iteration %d of %d: R-factor %.5f (%.1f s)", iteration, iterations, rows[-1][1], seconds)
    return PhaseRetrieval(image, pd.DataFrame(rows, columns=["iteration", "r_factor", "seconds"]))


def fill_uncovered(image: ComplexArray, weight: FloatArray) -> npt.NDArray[np.complex64]:
    """Return a stitched object, (H, W), with its weighted mean where nothing was stitched, for :func:`retrieve`."""
    lit = weight > 0
    total = float(weight.sum(dtype=float))
    mean = np.sum(image * weight) / total if total > 0 else 1.0
    return np.where(lit, image, mean).astype(np.complex64)
