"""Procedural probes: beams of lenses and pinholes, in the plane of the object.

Each is ``draw(window_px, rng) -> (N, N) complex64`` of unit peak amplitude, centred on ``[N/2, N/2]``. All have a
structured phase: under a beam of flat phase, an object and its conjugate twin give the same pattern. All keep 99 % of
their energy in the central 3/4 of the window's side, and spread it over a useful part of the detector.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

Probe = npt.NDArray[np.complex64]
REFERENCE_PX = 64  # smaller windows get a softer pupil and a weaker aberration, to contain the beam
PINHOLE_RADIUS = 0.26  # of the window's side
FRESNEL_NUMBER = 5.0  # of the pinhole: rings, yet still a disk


def texture(shape: tuple[int, int], rng: np.random.Generator, correlation_px: float = 4.0) -> npt.NDArray[np.float64]:
    """Draw a Gaussian random field of zero mean and unit variance, correlated over ``correlation_px`` pixels."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), correlation_px / 2, mode="wrap")
    return (field - field.mean()) / field.std()


def defocused_probe(window_px: int, rng: np.random.Generator) -> Probe:
    """Return the defocused focus of an aberrated zone plate with a central stop.

    The pupil is an annulus of 0.36 of the detector's side; defocus spreads the beam over about half the window
    and a smooth random pupil phase gives it structure, without which single patterns are ambiguous.
    """
    radius = np.hypot(*_from_centre(window_px)) / window_px
    edge = np.clip(REFERENCE_PX / window_px, 1, 2) / window_px
    pupil = np.clip((0.36 - radius) / edge, 0, 1) * np.clip((radius - 0.06) / edge, 0, 1)
    defocus = np.pi * 0.62 * window_px * radius**2  # a ray at r lands 0.62 N r from the axis
    wave = pupil * np.exp(1j * (defocus + _aberration(window_px, rng, 1.2)))
    return _unit_peak(fft.fftshift(fft.ifft2(fft.ifftshift(wave))))


def gaussian_probe(window_px: int, rng: np.random.Generator) -> Probe:
    """Return a Gaussian beam out of focus, a little elliptical and astigmatic along a random axis.

    Amplitude ``exp(-r**2 / w**2)`` and phase ``pi r**2 / (wavelength R)`` (B. E. A. Saleh, M. C. Teich, Fundamentals
    of Photonics, 2nd ed., eq. 3.1-7): ``w`` about 0.21 N, and a curvature by which light at r pixels from the axis
    falls about 1.15 r pixels from the detector's centre.
    """
    y, x = _from_centre(window_px)
    angle = rng.uniform(0, np.pi)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    waist_u, waist_v = 0.21 * window_px * rng.uniform(0.88, 1.12, 2)
    curvature_u, curvature_v = 1.15 / window_px * rng.uniform(0.88, 1.12, 2)
    amplitude = np.exp(-((u / waist_u) ** 2) - (v / waist_v) ** 2)
    return _unit_peak(amplitude * np.exp(1j * np.pi * (curvature_u * u**2 + curvature_v * v**2)))


def disk_probe(window_px: int, rng: np.random.Generator) -> Probe:
    """Return the beam some way behind a round pinhole in a spherical wave, with a weak smooth aberration.

    Behind an aperture, a spherical wave is the plane wave magnified, times a curvature (the Fresnel scaling theorem,
    D. M. Paganin, Coherent X-Ray Optics, 2006). The plane wave goes through the Fresnel propagator (J. W. Goodman,
    Introduction to Fourier Optics, 3rd ed., eq. 4-21) over the distance given by ``FRESNEL_NUMBER``; by the
    curvature, light at r pixels from the axis falls 1.1 r pixels from the detector's centre.
    """
    pinhole_px = PINHOLE_RADIUS * window_px
    wide = np.hypot(*_from_centre(2 * window_px))  # room for light diffracted outwards at the rim
    rim_px = window_px / 12  # a tapered rim: a sharp one would diffract light beyond the detector
    pinhole = np.clip((pinhole_px - wide) / rim_px + 0.5, 0, 1)
    frequency = fft.fftfreq(2 * window_px)
    distance = pinhole_px**2 / FRESNEL_NUMBER  # times the wavelength, square pixels
    propagator = np.exp(-1j * np.pi * distance * (frequency[:, None] ** 2 + frequency**2))
    wave = fft.ifft2(fft.fft2(pinhole) * propagator)[window_px // 2 : -window_px // 2, window_px // 2 : -window_px // 2]
    y, x = _from_centre(window_px)
    curvature = np.pi * 1.1 / window_px * (x**2 + y**2)
    return _unit_peak(wave * np.exp(1j * (curvature + _aberration(window_px, rng, 0.4))))


PROBES: dict[str, Callable[[int, np.random.Generator], Probe]] = {
    "zone_plate": defocused_probe,
    "gaussian": gaussian_probe,
    "disk": disk_probe,
}


def _from_centre(window_px: int) -> npt.NDArray[np.floating]:
    """Return the offsets (y, x) from ``[N/2, N/2]``, (2, N, N), pixels."""
    return np.indices((window_px, window_px)) - window_px / 2.0


def _aberration(window_px: int, rng: np.random.Generator, strength_rad: float) -> npt.NDArray[np.float64]:
    """Return a smooth random phase, (N, N), radians, that deflects rays by a similar fraction of any window."""
    strength_rad *= min(1.0, window_px / REFERENCE_PX)
    return strength_rad * texture((window_px, window_px), rng, correlation_px=window_px / 8)


def _unit_peak(probe: npt.NDArray[np.complexfloating]) -> Probe:
    return (probe / np.abs(probe).max()).astype(np.complex64)
