"""One function for each metric: ``f(images) -> float`` of a target and a prediction of one unit, over a mask.

The registry :data:`METRICS` holds them by the name that they have in every table. User-defined ones are loaded by
:mod:`ptycho.evaluation.custom_metrics`.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion, gaussian_filter
from skimage.metrics import structural_similarity

from ptycho.data.dataset import FloatArray
from ptycho.errors import InputError
from ptycho.evaluation.frc import CONSTANT, FrcCurve, crossing, frc_curve, resolution

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang 2003, section 3.2, finest scale first
MS_SSIM_WINDOW_PX = 11  # side of the Gaussian window, sigma 1.5 px
SSIM_WINDOW_PX = 7
ROUNDING = 1e-7  # root mean square over range below which images differ by rounding errors only (float32)


@dataclass(frozen=True, eq=False)
class Images:
    """The two images that a metric compares, and the mask of the pixels that it takes into account.

    Parameters
    ----------
    target, prediction : (h, w) float64, of one unit. Pixels outside the mask may hold anything
    covered : (h, w) bool, the mask
    window_px : N, the side of a diffraction pattern in pixels: coarser periods are not resolved by a pattern; None
        where there is no such limit
    """

    target: npt.NDArray[np.float64]
    prediction: npt.NDArray[np.float64]
    covered: npt.NDArray[np.bool_]
    window_px: int | None = None

    @classmethod
    def of(
        cls,
        target: FloatArray,
        prediction: FloatArray,
        covered: npt.NDArray[np.bool_] | None = None,
        window_px: int | None = None,
    ) -> "Images":
        """Return images in float64; pixels outside the mask hold the mean of the target within it, in both images.

        Raises
        ------
        InputError : shapes differ, or the mask is empty
        """
        covered = np.ones(target.shape, bool) if covered is None else covered
        if not target.shape == prediction.shape == covered.shape:
            raise InputError(
                f"target {target.shape}, prediction {prediction.shape} and covered {covered.shape} must have one shape"
            )
        if not covered.any():
            raise InputError("no pixel is covered: there is nothing to compare")
        fill = float(np.mean(target[covered], dtype=np.float64))
        filled = [np.where(covered, image, fill).astype(np.float64) for image in (target, prediction)]
        return cls(filled[0], filled[1], covered, window_px)

    @property
    def difference(self) -> npt.NDArray[np.float64]:
        """(m,) prediction - target of the pixels within the mask."""
        return (self.prediction - self.target)[self.covered]

    @property
    def data_range(self) -> float:
        """Largest less smallest value of the target, or 0 where it is constant but for rounding errors."""
        values = self.target[self.covered]
        span = float(np.ptp(values))
        return span if span > CONSTANT * float(np.abs(values).max()) else 0.0

    @functools.cached_property
    def frc(self) -> FrcCurve:
        """The Fourier ring correlation of both, computed once."""
        return frc_curve(self.target, self.prediction, self.covered)


Metric = Callable[[Images], float]
METRICS: dict[str, Metric] = {}


def register(name: str) -> Callable[[Metric], Metric]:
    """Enter the decorated function into :data:`METRICS` under ``name``.

    Raises
    ------
    InputError : the name is taken
    """

    def enter(metric: Metric) -> Metric:
        """Register a metric, and return it."""
        if name in METRICS:
            raise InputError(f"a metric named {name} is registered already: give yours another name")
        METRICS[name] = metric
        return metric

    return enter


# differences ---------------------------------------------------------------------------------------------


@register("rmse")
def rmse(images: Images) -> float:
    """Return the root of the mean squared error, in the unit of the images."""
    return float(np.sqrt(mse(images)))


@register("mae")
def mae(images: Images) -> float:
    """Return the mean absolute error, in the unit of the images."""
    return float(np.mean(np.abs(images.difference)))


@register("mse")
def mse(images: Images) -> float:
    """Return the mean squared error, in the squared unit of the images."""
    return float(np.mean(images.difference**2))


@register("psnr")
def psnr(images: Images) -> float:
    """Return 10 log10(range^2 / mse) in dB, range = max - min of the target; see :func:`_decibels`."""
    return _decibels(images, images.data_range)


@register("psnr_peak255")
def psnr_peak255(images: Images) -> float:
    """Return 10 log10(255^2 / mse) in dB, the peak of 8-bit images: to compare with published figures."""
    return _decibels(images, 255.0)


def _decibels(images: Images, peak: float) -> float:
    """Return 10 log10(peak^2 / mse): infinite for a match to the rounding of float32, NaN where there is no peak."""
    mean_square = mse(images)
    if mean_square <= (ROUNDING * images.data_range) ** 2:
        return float("inf")
    return float(10 * np.log10(peak**2 / mean_square)) if peak > 0 else float("nan")


# structural similarity -----------------------------------------------------------------------------------


@register("ssim")
def ssim(images: Images) -> float:
    """Return the mean structural similarity, at most 1, over the 7 x 7 pixel windows that lie within the mask.

    Data range as in :func:`psnr`; NaN where the target has none, or where there is no such window.

    Notes
    -----
    Z. Wang et al., IEEE Trans. Image Process. 13, 600 (2004), eq. 13, as scikit-image computes it by default.
    """
    window = np.ones((SSIM_WINDOW_PX, SSIM_WINDOW_PX), bool)
    centres = binary_erosion(images.covered, window)
    if images.data_range == 0 or not centres.any():
        return float("nan")
    _, similarity = structural_similarity(images.target, images.prediction, data_range=images.data_range, full=True)
    return float(np.mean(similarity[centres]))


@register("ms_ssim")
def ms_ssim(images: Images) -> float:
    """Return the multi-scale structural similarity, 0 to 1; NaN for no data range or under 11 x 11 px.

    Notes
    -----
    Z. Wang, E. P. Simoncelli, A. C. Bovik, 37th Asilomar Conf., 1398 (2003), eq. 7, and its five weights.
    Between scales images are averaged over 2 x 2 pixels. Only scales at least as large as the 11-pixel window
    are used, their weights renormalised to sum 1. Negative terms, which have no real power, are clamped to 0. Local
    means weight each pixel by the mask, and at coarser scales by the share of it that lies within the mask; where the
    mask holds all pixels, these are the published formulas.
    """
    n_scales = (min(images.target.shape) // MS_SSIM_WINDOW_PX).bit_length()  # the side is halved between scales
    if n_scales == 0 or images.data_range == 0:
        return float("nan")
    weight: FloatArray = images.covered.astype(np.float64)
    target: FloatArray = images.target
    prediction: FloatArray = images.prediction
    powers = np.array(MS_SSIM_WEIGHTS[:n_scales])
    terms = []
    for scale in range(len(powers)):
        if scale:
            target, prediction, weight = _halved(target, weight), _halved(prediction, weight), _blocks(weight)
        similarity, contrast_structure = _similarity(target, prediction, weight, images.data_range)
        terms.append(contrast_structure)
    terms[-1] = similarity  # luminance enters at the coarsest scale alone
    return float(np.prod(np.maximum(terms, 0) ** (powers / powers.sum())))


def _similarity(
    target: FloatArray, prediction: FloatArray, weight: FloatArray, data_range: float
) -> tuple[float, float]:
    """Return the weighted means of the SSIM map and of its contrast-structure factor (Wang 2003, eq. 2 to 5)."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    radius = MS_SSIM_WINDOW_PX // 2

    def blurred(image: FloatArray) -> FloatArray:
        """Return the Gaussian mean around each pixel where the window fits."""
        return gaussian_filter(image, 1.5, radius=radius, mode="constant")[radius:-radius, radius:-radius]

    counted = weight[radius:-radius, radius:-radius]
    light = blurred(weight)
    light = np.where(light > 0, light, 1)

    def mean(image: FloatArray) -> FloatArray:
        """Return the mean weighted by the mask around each pixel."""
        return blurred(weight * image) / light

    mean_t, mean_p = mean(target), mean(prediction)
    variances = mean(target**2) - mean_t**2 + mean(prediction**2) - mean_p**2
    covariance = mean(target * prediction) - mean_t * mean_p
    contrast_structure = (2 * covariance + c2) / (variances + c2)
    luminance = (2 * mean_t * mean_p + c1) / (mean_t**2 + mean_p**2 + c1)
    if not counted.any():
        return float("nan"), float("nan")
    averages = (np.average(image, weights=counted) for image in (luminance * contrast_structure, contrast_structure))
    similarity, structure = averages
    return float(similarity), float(structure)


def _blocks(image: FloatArray) -> FloatArray:
    """Return the means over 2 x 2 pixels; an odd last row or column is dropped."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    return image[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))


def _halved(image: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the weighted means over 2 x 2 pixels, 0 where the weights are 0."""
    total = _blocks(weight)
    return np.divide(_blocks(weight * image), total, out=np.zeros_like(total), where=total > 0)


# Fourier ring correlation --------------------------------------------------------------------------------


@register("frc50")
def frc50(images: Images) -> float:
    """Return the ring (px) where the smoothed Fourier ring correlation falls below 0.5; see :func:`resolution`."""
    return resolution(images.frc, images.window_px).value


@register("frc50_first")
def frc50_first(images: Images) -> float:
    """Return the first fall of the unsmoothed curve below 0.5: to compare with published figures only."""
    return crossing(images.frc, 0.5).value


@register("frc1over7")
def frc1over7(images: Images) -> float:
    """Return the same for 1/7, the threshold of half-data maps: to compare with published figures only."""
    return crossing(images.frc, 1 / 7).value
