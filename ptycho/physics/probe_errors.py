"""Errors of an assumed probe, and of scan positions: what a reconstruction is told differs from what is true."""

import numpy as np
from scipy import fft, ndimage

from ptycho.data.dataset import ComplexArray, FloatArray
from ptycho.physics.probes import texture

NOISE_CORRELATION = 8  # the phase noise is smooth over 1/8 of the window


def wrong_probe(
    probe: ComplexArray,
    rng: np.random.Generator,
    *,
    defocus_rad: float = 0.0,
    amplitude_blur_px: float = 0.0,
    phase_noise_rad: float = 0.0,
    shift_px: float = 0.0,
) -> ComplexArray:
    """Return a probe with errors, of the same energy and type; the probe itself where all errors are 0.

    Parameters
    ----------
    probe : (N, N) complex
    rng : draws the phase noise, which is the same field for every strength
    defocus_rad : phase ``defocus_rad * (2 |q|)**2`` of the spectrum, q in cycles per pixel: ``defocus_rad`` at the
        middle of the detector's edges, where ``|q| = 1/2``
    amplitude_blur_px : standard deviation of the Gaussian blur of the amplitude; phases are kept
    phase_noise_rad : standard deviation of a smooth random phase, correlated over N / 8 pixels
    shift_px : shift along x, towards larger columns, by the Fourier shift theorem

    Notes
    -----
    The errors are applied in this order. A distance z, under the paraxial propagator ``exp(-i pi wavelength z |k|**2)``
    (J. W. Goodman, Introduction to Fourier Optics, 3rd ed., eq. 4-21), is a defocus of
    ``-pi * wavelength * z / (4 * pixel_size**2)`` radians.
    """
    if not (defocus_rad or amplitude_blur_px or phase_noise_rad or shift_px):
        return probe
    wave = probe.astype(np.complex128)
    size = probe.shape[0]
    q = fft.fftfreq(size)
    if defocus_rad:
        wave = fft.ifft2(fft.fft2(wave) * np.exp(4j * defocus_rad * (q[:, None] ** 2 + q**2)))
    if amplitude_blur_px:
        blurred = ndimage.gaussian_filter(np.abs(wave), amplitude_blur_px, mode="constant")
        wave = blurred * np.exp(1j * np.angle(wave))
    if phase_noise_rad:
        wave = wave * np.exp(1j * phase_noise_rad * texture(probe.shape, rng, size / NOISE_CORRELATION))
    if shift_px:
        wave = fft.ifft2(ndimage.fourier_shift(fft.fft2(wave), (0, shift_px)))
    energy = float(np.sum(np.abs(probe) ** 2, dtype=np.float64) / np.sum(np.abs(wave) ** 2))
    return (wave * np.sqrt(energy)).astype(probe.dtype)


def jittered_positions(
    xcoords: FloatArray,
    ycoords: FloatArray,
    jitter_px: float,
    rng: np.random.Generator,
    shape: tuple[int, int],
    window_px: int,
) -> tuple[FloatArray, FloatArray]:
    """Return positions with independent normal errors; whole windows stay inside the object.

    Parameters
    ----------
    xcoords, ycoords : (n,) float64, pixels of the object
    jitter_px : standard deviation of the error of each coordinate; 0 returns the positions themselves
    rng : draws the errors, which for every strength are the same but for the factor
    shape : (H, W) of the object
    window_px : N
    """
    if not jitter_px:
        return xcoords, ycoords
    errors = jitter_px * rng.standard_normal((2, len(xcoords)))
    half = window_px / 2
    moved = [
        np.clip(true + error, min(half, true.min()), max(size - half, true.max()))
        for true, error, size in zip((xcoords, ycoords), errors, (shape[1], shape[0]), strict=True)
    ]
    return moved[0], moved[1]
