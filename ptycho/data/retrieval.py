"""Iterative phase retrieval: an object that explains all patterns of a scan, pattern by pattern."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.fft

from ptycho.data import optics
from ptycho.data.dataset import ComplexArray, Dataset, FloatArray

Patch = npt.NDArray[np.complex64]

JUDGED = 256  # patterns that the R-factor is of, at most, spread over the scan
ALPHA = 0.1  # between the bold step of 0 and the careful one of 1, where the probe is dim


def pie_sweeps(
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
        return step * _correction(probe * patch, measured, blind)

    return _swept(image, dataset, sweeps, rng, change)


def patch_sweeps(
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

    return _swept(image, dataset, sweeps, rng, change)


def r_factor(image: ComplexArray, dataset: Dataset) -> float:
    """Return ``sum | |F| - diffraction | / sum diffraction`` over a sample of the patterns, bad pixels left out.

    The misfit that crystallographers call R: 0 where the object explains the patterns; photon noise sets a floor.
    """
    sample = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), JUDGED)).astype(int))
    measured: FloatArray = dataset.diffraction[sample]
    patches = optics.cut_patches(image, dataset.xcoords[sample], dataset.ycoords[sample], dataset.window_px)
    off = np.abs(optics.diffraction_amplitude(dataset.probe, patches) - measured)
    if dataset.bad_pixels is not None:
        off, measured = off[:, ~dataset.bad_pixels], measured[:, ~dataset.bad_pixels]
    light = float(measured.sum(dtype=float))
    return float(off.sum(dtype=float)) / light if light else float("nan")


def _swept(
    image: ComplexArray, dataset: Dataset, sweeps: int, rng: np.random.Generator, change: Callable[[int, Patch], Patch]
) -> npt.NDArray[np.complex64]:
    """Return ``image`` after each window took, in random order, ``change(number, patch)``, so many times."""
    window = dataset.window_px
    left, top = dataset.xcoords - window // 2 + 1, dataset.ycoords - window // 2 + 1  # of the padded object
    column, row = np.floor(left).astype(int), np.floor(top).astype(int)
    shares = _shares(left - column, top - row)
    padded = optics.padded(image).copy()
    for _ in range(sweeps):
        for i in rng.permutation(len(dataset)):
            area = padded[row[i] : row[i] + window + 1, column[i] : column[i] + window + 1]
            corners = area[:-1, :-1], area[:-1, 1:], area[1:, :-1], area[1:, 1:]
            difference = change(i, sum(share * corner for share, corner in zip(shares[i], corners, strict=True)))
            for share, corner in zip(shares[i], corners, strict=True):
                corner += share * difference
    return padded[1:-2, 1:-2]


def _shares(fx: npt.NDArray[np.float64], fy: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the (n, 4) bilinear weights of the whole-pixel windows at the upper left, upper right, lower ones."""
    parts = [(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx]
    return np.stack(parts, axis=1).astype(np.float32)


def _correction(
    wave: npt.NDArray[np.complex64], measured: npt.NDArray[np.float32], blind: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.complex64]:
    """Return what is to be added to an exit wave (N, N), so that its diffraction has the measured amplitude."""
    spectrum = scipy.fft.fft2(wave)
    factor = measured / (np.abs(spectrum) + np.float32(1e-6)) - 1
    if blind is not None:
        factor[blind] = 0
    corrected: npt.NDArray[np.complex64] = scipy.fft.ifft2(spectrum * factor)
    return corrected
