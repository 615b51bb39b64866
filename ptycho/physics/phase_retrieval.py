"""Iterative phase retrieval (rPIE): the object is updated pattern by pattern until it explains all of a scan."""

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
from ptycho.physics.patches import bilinear_corners, extract_window, pad_edges, scatter_window

logger = logging.getLogger(__name__)

Patch = npt.NDArray[np.complex64]


def rpie(
    image: ComplexArray, dataset: Dataset, sweeps: int, rng: np.random.Generator, alpha: float
) -> npt.NDArray[np.complex64]:
    """Return ``image`` after ``sweeps`` iterations of the regularized ptychographic iterative engine (rPIE).

    An iteration visits the patterns in random order: the exit wave is propagated to the detector, its amplitude
    replaced by the measured one, and propagated back; the change is added to the object, weighted by the probe.
    The probe is known and not refined.

    Parameters
    ----------
    image : (H, W) complex, initial object; every window lies on it, or extends beyond it by at most a pixel
    dataset : diffraction, positions, probe and bad pixels; ``object`` and ``patches`` are not used
    sweeps : iterations over all patterns
    rng : draws the order of the patterns
    alpha : 0 to 1, regularization: 1 is ePIE, smaller takes larger steps where the probe is weak

    Returns
    -------
    (H, W) complex64

    Notes
    -----
    A. Maiden, D. Johnson, P. Li, Optica 4, 736 (2017), eq. 10, at sub-pixel positions: patches are extracted by
    bilinear interpolation, and updates returned by its adjoint.
    """
    probe = dataset.probe.astype(np.complex64)
    brightness = np.abs(probe) ** 2
    step = np.conj(probe) / ((1 - alpha) * brightness + alpha * brightness.max())
    masked = None if dataset.bad_pixels is None else scipy.fft.ifftshift(dataset.bad_pixels)

    def change(number: int, patch: Patch) -> Patch:
        measured = scipy.fft.ifftshift(dataset.diffraction[number : number + 1][0]) * np.float32(dataset.window_px)
        return step * _exit_wave_update(probe * patch, measured, masked)

    return _sweep(image, dataset, sweeps, rng, change)


def fit_patches(
    image: ComplexArray, dataset: Dataset, sweeps: int, rng: np.random.Generator, alpha: float
) -> npt.NDArray[np.complex64]:
    """Return ``image`` after ``sweeps`` iterations that fit it to the patches of a dataset.

    The counterpart of :func:`rpie` for known patches, with the same probe-weighted steps: pixels that the probe does
    not illuminate keep their values. Stitching patches at sub-pixel positions in one pass would blur them.

    Parameters
    ----------
    dataset : patches, positions and probe
    image, sweeps, rng, alpha : see :func:`rpie`

    Returns
    -------
    (H, W) complex64
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
    """Add ``change(number, patch)`` to each window of the image, in random order, ``sweeps`` times."""
    window = dataset.window_px
    left, top = dataset.xcoords - window // 2 + 1, dataset.ycoords - window // 2 + 1  # of the padded object
    corners = bilinear_corners(left, top)
    row, column, weights = corners.row, corners.column, corners.weights.astype(np.float32)
    padded = pad_edges(image).copy()
    for _ in range(sweeps):
        for i in rng.permutation(len(dataset)):
            area = padded[row[i] : row[i] + window + 1, column[i] : column[i] + window + 1]
            scatter_window(area, weights[i], change(i, extract_window(area, weights[i])))
    return padded[1:-2, 1:-2]


def _exit_wave_update(
    wave: npt.NDArray[np.complex64], measured: npt.NDArray[np.float32], masked: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.complex64]:
    """Return the change of an exit wave (N, N) that gives its diffraction the measured amplitude.

    Parameters
    ----------
    wave : (N, N) complex64
    measured : (N, N) float32, amplitude times N, DC at [0, 0]
    masked : (N, N) bool, bad pixels, where the amplitude is kept; DC at [0, 0]
    """
    spectrum = scipy.fft.fft2(wave)
    factor = measured / (np.abs(spectrum) + np.float32(1e-6)) - 1
    if masked is not None:
        factor[masked] = 0
    corrected: npt.NDArray[np.complex64] = scipy.fft.ifft2(spectrum * factor)
    return corrected


@dataclass(frozen=True, eq=False)
class PhaseRetrieval:
    """The result of an iterative reconstruction.

    Parameters
    ----------
    object : (H, W) complex64; pixels outside of every window keep their initial values
    convergence : one row for the initial object and each iteration: ``iteration``, ``r_factor``, ``seconds``
        (accumulated wall time of the iterations)
    """

    object: npt.NDArray[np.complex64]
    convergence: pd.DataFrame

    @property
    def seconds(self) -> float:
        """Wall time of all iterations, s."""
        return float(self.convergence["seconds"].iloc[-1])


def reconstruct(
    dataset: Dataset, iterations: int, alpha: float, rng: np.random.Generator, start: ComplexArray | None = None
) -> PhaseRetrieval:
    """Reconstruct the object of a scan by rPIE and log its convergence.

    Parameters
    ----------
    dataset : as for :func:`rpie`; read into memory, as each iteration visits all patterns
    iterations : number of iterations over all patterns
    alpha, rng : see :func:`rpie`
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
    """Return a stitched object, (H, W), with its weighted mean where ``weight`` is 0, to start :func:`reconstruct`.

    Parameters
    ----------
    image, weight : (H, W), see :class:`ptycho.physics.stitching.Stitched`
    """
    lit = weight > 0
    total = float(weight.sum(dtype=float))
    mean = np.sum(image * weight) / total if total > 0 else 1.0
    return np.where(lit, image, mean).astype(np.complex64)
