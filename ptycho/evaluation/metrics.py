"""One function a metric: ``f(target, prediction) -> float`` on real images, (h, w), of one unit.

The registry :data:`METRICS` holds them by the name they bear in every table. For those of a user's own file see
:mod:`ptycho.evaluation.custom`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from ptycho.data.dataset import FloatArray
from ptycho.errors import InputError

Metric = Callable[[FloatArray, FloatArray], float]
METRICS: dict[str, Metric] = {}

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang 2003, section 3.2, finest scale first
MS_SSIM_WINDOW_PX = 11  # side of the Gaussian window, sigma 1.5 px
TUKEY_TAPER = 0.5  # share of the side that the window of the FRC tapers, both ends together
CONSTANT = 1e-6  # range over largest value below which an image holds rounding errors only (float32)


def register(name: str) -> Callable[[Metric], Metric]:
    """Enter the decorated function into :data:`METRICS` under ``name``.

    Raises
    ------
    InputError : the name is taken
    """

    def enter(metric: Metric) -> Metric:
        if name in METRICS:
            raise InputError(f"a metric named {name} is registered already: give yours another name")
        METRICS[name] = metric
        return metric

    return enter


# differences ---------------------------------------------------------------------------------------------


@register("mae")
def mae(target: FloatArray, prediction: FloatArray) -> float:
    """Return the mean absolute error, in the unit of the images."""
    return float(np.mean(np.abs(_difference(target, prediction))))


@register("mse")
def mse(target: FloatArray, prediction: FloatArray) -> float:
    """Return the mean squared error, in the squared unit of the images."""
    return float(np.mean(_difference(target, prediction) ** 2))


@register("rmse")
def rmse(target: FloatArray, prediction: FloatArray) -> float:
    """Return the root of the mean squared error, in the unit of the images."""
    return float(np.sqrt(mse(target, prediction)))


@register("psnr")
def psnr(target: FloatArray, prediction: FloatArray) -> float:
    """Return 10 log10(range^2 / mse) in dB, range = max - min of the target; see :func:`_decibels`."""
    return _decibels(_data_range(target), mse(target, prediction))


@register("psnr_peak255")
def psnr_peak255(target: FloatArray, prediction: FloatArray) -> float:
    """Return 10 log10(255^2 / mse) in dB, the peak of 8-bit images: to compare with published figures."""
    return _decibels(255.0, mse(target, prediction))


def _difference(target: FloatArray, prediction: FloatArray) -> npt.NDArray[np.float64]:
    return np.subtract(prediction, target, dtype=np.float64)


def _data_range(image: FloatArray) -> float:
    """Return max - min, or 0 for an image that is constant but for rounding errors."""
    span = float(np.ptp(image))
    return span if span > CONSTANT * float(np.abs(image).max()) else 0.0


def _decibels(peak: float, mean_square: float) -> float:
    """Return 10 log10(peak^2 / mean_square): infinite for a perfect match, NaN where there is no peak."""
    if mean_square == 0:
        return float("inf")
    return float(10 * np.log10(peak**2 / mean_square)) if peak > 0 else float("nan")


# structural similarity -----------------------------------------------------------------------------------


@register("ssim")
def ssim(target: FloatArray, prediction: FloatArray) -> float:
    """Return the mean structural similarity, at most 1, over 7 x 7 pixel windows.

    Data range as in :func:`psnr`; NaN where the target has none, or is smaller than the window.

    Notes
    -----
    Z. Wang et al., IEEE Trans. Image Process. 13, 600 (2004), eq. 13, as scikit-image computes it by default.
    """
    data_range = _data_range(target)
    if data_range == 0 or min(target.shape) < 7:
        return float("nan")
    target, prediction = np.asarray(target, float), np.asarray(prediction, float)
    return float(structural_similarity(target, prediction, data_range=data_range))


@register("ms_ssim")
def ms_ssim(target: FloatArray, prediction: FloatArray) -> float:
    """Return the multi-scale structural similarity, 0 to 1; NaN for no data range or under 11 x 11 px.

    Notes
    -----
    Z. Wang, E. P. Simoncelli, A. C. Bovik, 37th Asilomar Conf., 1398 (2003), eq. 7, and its five weights.
    Between scales images are averaged over 2 x 2 pixels. Only scales at least as large as the 11-pixel window
    are used, their weights renormalised to sum 1. Negative terms, which have no real power, are clamped to 0.
    """
    target, prediction = np.asarray(target, float), np.asarray(prediction, float)
    n_scales = (min(target.shape) // MS_SSIM_WINDOW_PX).bit_length()  # the side is halved between scales
    data_range = _data_range(target)
    if n_scales == 0 or data_range == 0:
        return float("nan")
    weights = np.array(MS_SSIM_WEIGHTS[:n_scales])
    terms = []
    for _ in weights:
        similarity, contrast_structure = _similarity(target, prediction, data_range)
        terms.append(contrast_structure)
        target, prediction = _halved(target), _halved(prediction)
    terms[-1] = similarity  # luminance enters at the coarsest scale alone
    return float(np.prod(np.maximum(terms, 0) ** (weights / weights.sum())))


def _similarity(target: FloatArray, prediction: FloatArray, data_range: float) -> tuple[float, float]:
    """Return the means of the SSIM map and of its contrast-structure factor (Wang 2003, eq. 2 to 5)."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2

    def blurred(image: FloatArray) -> FloatArray:
        radius = MS_SSIM_WINDOW_PX // 2
        return gaussian_filter(image, 1.5, radius=radius)[radius:-radius, radius:-radius]

    mean_t, mean_p = blurred(target), blurred(prediction)
    variances = blurred(target**2) - mean_t**2 + blurred(prediction**2) - mean_p**2
    covariance = blurred(target * prediction) - mean_t * mean_p
    contrast_structure = (2 * covariance + c2) / (variances + c2)
    luminance = (2 * mean_t * mean_p + c1) / (mean_t**2 + mean_p**2 + c1)
    return float((luminance * contrast_structure).mean()), float(contrast_structure.mean())


def _halved(image: FloatArray) -> FloatArray:
    """Return the means over 2 x 2 pixels; an odd last row or column is left out."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    return image[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))


# Fourier ring correlation --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class FrcCurve:
    """Correlation of two images over spatial frequency.

    Parameters
    ----------
    rings_px : (m,) int64, radius 1 to Nyquist in pixels of the Fourier transform of the square image
    cycles_per_px : (m,) float64, the same radius as a spatial frequency
    correlation : (m,) float64, -1 to 1
    """

    rings_px: npt.NDArray[np.int64]
    cycles_per_px: npt.NDArray[np.float64]
    correlation: npt.NDArray[np.float64]


class Crossing(NamedTuple):
    """Where a curve first falls below a threshold; ``crossed`` is False where it never does."""

    value: float
    crossed: bool


def frc_curve(target: FloatArray, prediction: FloatArray) -> FrcCurve:
    """Return the Fourier ring correlation of the central squares of two images.

    The mean is removed and a Tukey window applied. An image that is constant correlates with nothing: 0.

    Notes
    -----
    W. O. Saxton, W. Baumeister, J. Microsc. 127, 127 (1982): Re sum(F G*) / sqrt(sum|F|^2 sum|G|^2), by ring.
    """
    first, second = _spectrum(target), _spectrum(prediction)
    side = len(first)
    frequency = scipy.fft.fftfreq(side, 1 / side)
    ring = np.rint(np.hypot(frequency[:, None], frequency)).astype(int).ravel()

    def summed(values: FloatArray) -> FloatArray:
        return np.bincount(ring, values.ravel()).astype(float)[1 : side // 2 + 1]

    power = np.sqrt(summed(np.abs(first) ** 2) * summed(np.abs(second) ** 2))
    shared = summed((first * second.conj()).real)
    correlation = np.divide(shared, power, out=np.zeros_like(power), where=power > 0)
    rings = np.arange(1, side // 2 + 1)
    return FrcCurve(rings, rings / side, correlation)


def _spectrum(image: FloatArray) -> npt.NDArray[np.complex128]:
    """Return the transform of the central square: mean removed, windowed; zeros for a constant image."""
    from scipy.signal.windows import tukey  # half a second, for whoever needs no FRC

    side = min(image.shape)
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = np.asarray(image[top : top + side, left : left + side], np.float64)
    if _data_range(square) == 0:
        return np.zeros((side, side), complex)
    window = tukey(side, TUKEY_TAPER)
    return scipy.fft.fft2((square - square.mean()) * window[:, None] * window)


def crossing(curve: FrcCurve, threshold: float) -> Crossing:
    """Return the ring, in pixels, at which a curve first falls through ``threshold``, linearly interpolated.

    A curve that never does counts as Nyquist, the last ring. The innermost rings hold few Fourier components; one
    that starts below does not end the curve there, as it would be no crossing. A curve that is below throughout has
    resolved nothing: 0.
    """
    above = curve.correlation >= threshold
    falls = np.flatnonzero(above[:-1] & ~above[1:])
    if falls.size:
        last = falls[0]
        before, after = curve.correlation[last : last + 2]
        return Crossing(float(curve.rings_px[last] + (before - threshold) / (before - after)), True)
    if above.size and not above[-1]:
        return Crossing(0.0, True)
    return Crossing(float(curve.rings_px[-1]) if curve.rings_px.size else float("nan"), False)


@register("frc50")
def frc50(target: FloatArray, prediction: FloatArray) -> float:
    """Return the ring (px) where the Fourier ring correlation first falls below 0.5; see :func:`crossing`."""
    return crossing(frc_curve(target, prediction), 0.5).value


@register("frc1over7")
def frc1over7(target: FloatArray, prediction: FloatArray) -> float:
    """Return the same for 1/7, the threshold of half-data maps: to compare with published figures only."""
    return crossing(frc_curve(target, prediction), 1 / 7).value
