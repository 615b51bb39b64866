"""Far-field forward model and photon counts: the reference implementation in numpy.

Amplitudes are in the unitary convention ``FFT / N``, which keeps the energy (Parseval): the summed square of a
pattern's amplitude equals the summed square of the exit wave.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from ptycho.data.dataset import ComplexArray, FloatArray


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
    return scipy.fft.fftshift(scipy.fft.fft2(exit_wave, norm="ortho"), axes=(-2, -1))


def diffraction_amplitude(probe: ComplexArray, patches: ComplexArray) -> FloatArray:
    """Return ``|FFT(probe * patches)| / N``, (..., N, N), in the precision of the input."""
    return np.abs(far_field(probe * patches))


def cut_patches(
    array: ComplexArray, xcoords: FloatArray, ycoords: FloatArray, window_px: int
) -> npt.NDArray[np.complex64]:
    """Cut windows at sub-pixel positions out of an object, by bilinear interpolation.

    Parameters
    ----------
    array : (H, W) complex
    xcoords, ycoords : (n,) pixels; the windows must lie inside the object
    window_px : N

    Returns
    -------
    (n, N, N) complex64

    Notes
    -----
    The fraction is the same for every pixel of a window, so a patch is the weighted sum of four whole-pixel
    windows, read as strided views.
    """
    left, top = np.asarray(xcoords) - window_px / 2, np.asarray(ycoords) - window_px / 2
    column, row = np.floor(left).astype(int), np.floor(top).astype(int)
    fx = (left - column).astype(np.float32)[:, None, None]
    fy = (top - row).astype(np.float32)[:, None, None]
    padded = np.pad(array.astype(np.complex64, copy=False), ((0, 1), (0, 1)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (window_px + 1, window_px + 1))[row, column]
    rows = windows[:, :-1] * (1 - fy) + windows[:, 1:] * fy
    return rows[:, :, :-1] * (1 - fx) + rows[:, :, 1:] * fx


def photon_counts(amplitude: FloatArray, rng: np.random.Generator) -> npt.NDArray[np.floating[Any]]:
    """Return Poisson counts of the expected intensities ``amplitude**2``, as float32."""
    return rng.poisson(np.square(amplitude, dtype=np.float64)).astype(np.float32)
