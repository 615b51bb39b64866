"""Far-field forward model: the reference implementation in numpy.

Amplitudes are in the unitary convention ``FFT / N``, which keeps the energy (Parseval): the summed square of a
pattern's amplitude equals the summed square of the exit wave.
"""

import numpy as np

from ptycho.data.dataset import ComplexArray, FloatArray


def far_field(exit_wave: ComplexArray) -> ComplexArray:
    """Return the Fraunhofer diffraction of exit waves, unitary, DC at ``[..., N/2, N/2]``.

    Parameters
    ----------
    exit_wave : (..., N, N) complex, N even, in the object plane

    Notes
    -----
    J. W. Goodman, Introduction to Fourier Optics, 3rd ed., eq. 4-25, without its constant phase factors. The
    position of the origin in the object plane only adds a phase ramp to the wave, which a detector does not
    measure; so the wave is not shifted before the transform.
    """
    return np.fft.fftshift(np.fft.fft2(exit_wave, norm="ortho"), axes=(-2, -1))


def diffraction_intensity(probe: ComplexArray, patches: ComplexArray) -> FloatArray:
    """Return ``|FFT(probe * patches)|**2 / N**2``, the intensity of :func:`far_field`, in the precision of the input.

    Parameters
    ----------
    probe : (N, N) complex
    patches : (..., N, N) complex

    Returns
    -------
    (..., N, N) real, DC at ``[..., N/2, N/2]``
    """
    wave = np.fft.fft2(probe * patches, norm="ortho")  # shifted below, as real numbers: half the memory
    return np.fft.fftshift(wave.real**2 + wave.imag**2, axes=(-2, -1))


def diffraction_amplitude(probe: ComplexArray, patches: ComplexArray) -> FloatArray:
    """Return ``|FFT(probe * patches)| / N``, the root of :func:`diffraction_intensity`, (..., N, N)."""
    return np.sqrt(diffraction_intensity(probe, patches))
