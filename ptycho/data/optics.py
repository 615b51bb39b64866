"""Far-field forward model and photon counts: the reference implementation in numpy.

Amplitudes are in the unitary convention ``FFT / N``, which keeps the energy (Parseval): the summed square of a
pattern's amplitude equals the summed square of the exit wave.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import ComplexArray, FloatArray
from ptycho.errors import InputError


def far_field(exit_wave: ComplexArray) -> ComplexArray:
    """Return the Fraunhofer diffraction of exit waves, unitary, DC at ``[..., N/2, N/2]``.

    Parameters
    ----------
    exit_wave : (..., N, N) complex, N even, in the object plane

    Notes
    -----
    J. W. Goodman, Introduction to Fourier Optics, 3rd ed., eq. 4-25, without its constant phase factors. The
    position of the origin in the object plane only adds a phase ramp to the wave, which no detector sees; so
    the wave is not shifted before the transform.
    """
    return np.fft.fftshift(np.fft.fft2(exit_wave, norm="ortho"), axes=(-2, -1))


def diffraction_intensity(probe: ComplexArray, patches: ComplexArray) -> FloatArray:
    """Return ``|FFT(probe * patches)|**2 / N**2``, (..., N, N), in the precision of the input: :func:`far_field`'s."""
    wave = np.fft.fft2(probe * patches, norm="ortho")  # shifted below, as real numbers: half the memory
    return np.fft.fftshift(wave.real**2 + wave.imag**2, axes=(-2, -1))


def diffraction_amplitude(probe: ComplexArray, patches: ComplexArray) -> FloatArray:
    """Return ``|FFT(probe * patches)| / N``, (..., N, N), in the precision of the input."""
    return np.sqrt(diffraction_intensity(probe, patches))


def cut_patches(
    array: ComplexArray, xcoords: FloatArray, ycoords: FloatArray, window_px: int
) -> npt.NDArray[np.complex64]:
    """Cut windows at sub-pixel positions out of an object, by bilinear interpolation.

    Parameters
    ----------
    array : (H, W) complex
    xcoords, ycoords : (n,) pixels; windows may stand out of the object by a pixel, where its edge goes on
    window_px : N

    Returns
    -------
    (n, N, N) complex64

    Notes
    -----
    The fraction is the same for every pixel of a window, so a patch is the weighted sum of four whole-pixel
    windows, read as strided views.
    """
    return cut_padded(padded(array), xcoords, ycoords, window_px)


def padded(array: ComplexArray) -> npt.NDArray[np.complex64]:
    """Return an object with its edges repeated, as :func:`cut_padded` reads it: by 1 pixel before and 2 after."""
    return np.pad(array.astype(np.complex64, copy=False), ((1, 2), (1, 2)), mode="edge")


def cut_padded(
    array: npt.NDArray[np.complex64], xcoords: FloatArray, ycoords: FloatArray, window_px: int
) -> npt.NDArray[np.complex64]:
    """Return what :func:`cut_patches` returns, of an object that was padded once for many calls."""
    left, top = np.asarray(xcoords) - window_px / 2 + 1, np.asarray(ycoords) - window_px / 2 + 1  # of the padded one
    column, row = np.floor(left).astype(int), np.floor(top).astype(int)
    fx = (left - column).astype(np.float32)[:, None, None]
    fy = (top - row).astype(np.float32)[:, None, None]
    windows = np.lib.stride_tricks.sliding_window_view(array, (window_px + 1, window_px + 1))[row, column]
    parts = windows.view(np.float32)  # real and imaginary parts side by side: weights are real
    rows = parts[:, :-1] * (1 - fy)
    rows += parts[:, 1:] * fy
    patches = rows[:, :, :-2] * (1 - fx)
    patches += rows[:, :, 2:] * fx
    return patches.view(np.complex64)


@dataclass(frozen=True, eq=False)
class Detector:
    """What keeps a detector from counting every photon of the pattern and no other.

    Parameters
    ----------
    background_counts : mean stray photons of a pixel, Poisson
    readout_noise_counts : standard deviation of the electronics' noise, Gaussian, in counts; then rounded, and
        cut at 0
    saturation_counts : most a pixel can count, or None
    bad_pixels : (N, N) bool, pixels that count nothing, DC in the centre, or None
    """

    background_counts: float = 0.0
    readout_noise_counts: float = 0.0
    saturation_counts: float | None = None
    bad_pixels: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        limits = (self.background_counts, self.readout_noise_counts, self.saturation_counts or 0.0)
        if not all(0 <= value < np.inf for value in limits) or self.saturation_counts == 0:
            raise InputError(
                f"background {self.background_counts:g}, read-out noise {self.readout_noise_counts:g}, saturation "
                f"{self.saturation_counts}: expected counts of 0 or more, and more than 0 for the saturation"
            )


def photon_counts(
    intensity: FloatArray, rng: np.random.Generator, detector: Detector | None = None
) -> npt.NDArray[np.floating[Any]]:
    """Return what a detector counts where ``intensity`` photons are expected: Poisson numbers, as float64.

    Parameters
    ----------
    intensity : (N, N) expected photons of each pixel
    detector : its imperfections; None for none
    """
    if detector is None:
        return rng.poisson(intensity).astype(np.float64)
    counts = rng.poisson(intensity + detector.background_counts).astype(np.float64)
    if detector.readout_noise_counts:
        counts += rng.normal(0, detector.readout_noise_counts, counts.shape)
    counts = np.clip(np.rint(counts), 0, detector.saturation_counts)
    return counts if detector.bad_pixels is None else np.where(detector.bad_pixels, 0, counts)
