"""Fourier ring correlation of two images, and the spatial frequency up to which they agree."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.ndimage import distance_transform_edt

from ptycho.data.dataset import FloatArray

TUKEY_TAPER = 0.5  # share of the side that the window of the FRC tapers, both ends together
GAP_TAPER_PX = 8  # over which the window of the FRC falls to 0 around pixels that are not covered
SMOOTHED_RINGS = 5  # that a point of the smoothed FRC curve is the mean of
CONSTANT = 1e-6  # range over largest value below which an image holds rounding errors only (float32)


@dataclass(frozen=True, eq=False)
class FrcCurve:
    """Correlation of two images, and the power of their difference, over spatial frequency.

    Parameters
    ----------
    rings_px : (m,) int64, radius 1 to Nyquist, in pixels of the Fourier transform of a square of the shorter side
    cycles_per_px : (m,) float64, the same radius as a spatial frequency
    correlation : (m,) float64, -1 to 1
    components : (m,) int64, Fourier components of each ring
    error_power, target_power : (m,) float64, the part of the mean square of the difference and of the target that
        lies in each ring, in the squared unit of the images; both less their means, weighted by the window
    """

    rings_px: npt.NDArray[np.int64]
    cycles_per_px: npt.NDArray[np.float64]
    correlation: npt.NDArray[np.float64]
    components: npt.NDArray[np.int64]
    error_power: npt.NDArray[np.float64]
    target_power: npt.NDArray[np.float64]


class Crossing(NamedTuple):
    """Where a curve first falls below a threshold, in rings; ``crossed`` is False where it never does."""

    value: float
    crossed: bool


def frc_curve(
    target: npt.NDArray[np.float64], prediction: npt.NDArray[np.float64], covered: npt.NDArray[np.bool_]
) -> FrcCurve:
    """Return the Fourier ring correlation of two images over all of their region.

    Parameters
    ----------
    target, prediction : (h, w) float64, of one unit, finite everywhere
    covered : (h, w) bool, the pixels that are compared

    Notes
    -----
    The weighted mean is removed; the window tapers at the border of the region and around pixels outside the mask.
    The correlation of a constant image is 0.

    W. O. Saxton, W. Baumeister, J. Microsc. 127, 127 (1982): Re sum(F G*) / sqrt(sum|F|^2 sum|G|^2), by ring.
    """
    window = _frc_window(covered)
    first, second = (_spectrum(image, window) for image in (target, prediction))
    side = min(target.shape)
    frequency = np.hypot(*np.meshgrid(*(scipy.fft.fftfreq(n, 1 / side) for n in target.shape), indexing="ij"))
    ring = np.rint(frequency).astype(int).ravel()

    def summed(values: FloatArray) -> npt.NDArray[np.float64]:
        """Return the sum over each ring, 1 to Nyquist."""
        return np.bincount(ring, values.ravel(), side // 2 + 1).astype(float)[1 : side // 2 + 1]

    powers = summed(np.abs(first) ** 2), summed(np.abs(second) ** 2)
    power = np.sqrt(powers[0] * powers[1])
    shared = summed((first * second.conj()).real)
    correlation = np.divide(shared, power, out=np.zeros_like(power), where=power > 0)
    rings = np.arange(1, side // 2 + 1)
    unit = window.size * float(np.sum(window**2)) or 1.0  # Parseval: sums of this are mean squares
    return FrcCurve(
        rings,
        rings / side,
        correlation,
        np.bincount(ring, minlength=side // 2 + 1)[1 : side // 2 + 1],
        summed(np.abs(second - first) ** 2) / unit,
        powers[0] / unit,
    )


def _frc_window(covered: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the window of the FRC, (h, w): a Tukey window, tapered to 0 around pixels outside the mask."""
    from scipy.signal.windows import tukey  # takes half a second, which commands without FRC save

    window = np.outer(*(tukey(side, TUKEY_TAPER) for side in covered.shape))
    if covered.all():
        return window
    distance = np.minimum(distance_transform_edt(covered), GAP_TAPER_PX)
    return window * np.sin(np.pi / 2 * distance / GAP_TAPER_PX) ** 2


def _spectrum(image: npt.NDArray[np.float64], window: npt.NDArray[np.float64]) -> npt.NDArray[np.complex128]:
    """Return the transform of an image: weighted mean removed, windowed; zeros for a constant image."""
    seen = image[window > 0]
    if seen.size == 0 or np.ptp(seen) <= CONSTANT * float(np.abs(seen).max()):
        return np.zeros(image.shape, complex)
    return scipy.fft.fft2((image - np.average(image, weights=window)) * window)


def crossing(curve: FrcCurve, threshold: float) -> Crossing:
    """Return the ring, in pixels, at which a curve first falls through ``threshold``, linearly interpolated.

    The published definition: no smoothing, from the first ring on. A curve that never falls counts as Nyquist, the
    last ring. For one that starts below, the search starts where it rises above; one that is below throughout
    gives 0.
    """
    return _first_fall(curve.rings_px.astype(float), curve.correlation, threshold, from_start=False)


def resolution(curve: FrcCurve, window_px: int | None) -> Crossing:
    """Return the ring, in pixels, at which a curve, smoothed over a few rings, first falls through 0.5.

    The search starts at the ring of period N pixels: coarser periods are hardly resolved by a pattern, and the
    innermost rings hold so few Fourier components that their correlation is random. A curve that is below 0.5 there
    gives 0. One that never falls counts as Nyquist, the last ring.
    """
    if not curve.rings_px.size:
        return Crossing(float("nan"), False)
    side = round(curve.rings_px[0] / curve.cycles_per_px[0])
    first = 1 if window_px is None else max(1, -(-side // window_px))
    kept = slice(min(first, len(curve.rings_px)) - 1, None)
    rings, smooth = curve.rings_px[kept].astype(float), smoothed(curve.correlation[kept], curve.components[kept])
    return _first_fall(rings, smooth, 0.5, from_start=True)


def smoothed(correlation: npt.NDArray[np.float64], components: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the running mean of a curve over SMOOTHED_RINGS rings, weighted by their number of Fourier components."""
    box = np.ones(min(SMOOTHED_RINGS, len(correlation) - 1 | 1))  # odd, so that it is centred
    return np.convolve(correlation * components, box, "same") / np.convolve(components, box, "same")


def _first_fall(
    rings: npt.NDArray[np.float64], correlation: npt.NDArray[np.float64], threshold: float, *, from_start: bool
) -> Crossing:
    """Return the first fall through a threshold; ``from_start``: 0 where the curve starts below it."""
    above = correlation >= threshold
    if above.size and not above[0] and (from_start or not above.any()):
        return Crossing(0.0, True)
    falls = np.flatnonzero(above[:-1] & ~above[1:])
    if falls.size:
        last = falls[0]
        before, after = correlation[last : last + 2]
        return Crossing(
            float(rings[last] + (before - threshold) / (before - after) * (rings[last + 1] - rings[last])), True
        )
    return Crossing(float(rings[-1]) if rings.size else float("nan"), False)
