"""Crop to the scan, bounded sub-pixel registration, amplitude scale, phase plane.

What ptychography leaves free is taken out before two objects are compared: a shift, a scale, a phase plane.
"""

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.ndimage import fourier_shift, gaussian_filter
from skimage.registration import phase_cross_correlation

from ptycho.data.dataset import ComplexArray, FloatArray
from ptycho.errors import InputError

logger = logging.getLogger(__name__)

Region = tuple[slice, slice]

UPSAMPLING = 20  # registration resolves 1/20 px
DETAIL_PX = 5.0  # sigma of the blur that registration subtracts
MIRROR_PX = 16  # mirrored rim that keeps what a Fourier shift wraps around out of the region


@dataclass(frozen=True, eq=False)
class Aligned:
    """A prediction brought onto the truth, both cropped to the evaluated region.

    Parameters
    ----------
    prediction : (h, w) complex64, shifted, scaled, its phase plane divided out
    truth : (h, w) complex64
    offset_dy, offset_dx : the shift applied to the prediction, pixels
    registered : False where no shift was sought or found, or the best one was refused; the offset is 0 then
    amplitude_scale : factor applied to the prediction; 1 where the prediction is 0
    phase_offset_rad, phase_slope_y, phase_slope_x : the plane taken off the prediction: offset at the centre
        of the region, slopes in rad/px
    phase_difference : (h, w) float64, rad, phase of prediction times conjugate truth, its mean and
        least-squares plane removed. A pixel where the prediction is 0 counts with phase 0.
    """

    prediction: npt.NDArray[np.complex64]
    truth: npt.NDArray[np.complex64]
    offset_dy: float
    offset_dx: float
    registered: bool
    amplitude_scale: float
    phase_offset_rad: float
    phase_slope_y: float
    phase_slope_x: float
    phase_difference: npt.NDArray[np.float64]


def evaluated_region(
    xcoords: FloatArray, ycoords: FloatArray, crop_px: int, shape: tuple[int, int], border_px: int = 8
) -> Region:
    """Return (rows, columns): the box that the stitched patches cover, less a border, clipped to the object.

    Parameters
    ----------
    xcoords, ycoords : (n,) positions, pixels of the object
    crop_px : side of the centre of a patch that is stitched
    shape : (H, W) of the object
    border_px : left out on each side, where few patches overlap

    Raises
    ------
    InputError : nothing is left
    """

    def whole_pixels(positions: FloatArray, length: int) -> slice:
        first = np.ceil(np.min(positions) - crop_px / 2 + border_px)
        last = np.floor(np.max(positions) + crop_px / 2 - 1 - border_px)
        return slice(max(int(first), 0), min(int(last) + 1, length))

    if not len(xcoords):
        raise InputError("there are no test positions, so no region to evaluate: check the test data")
    region = whole_pixels(ycoords, shape[0]), whole_pixels(xcoords, shape[1])
    if any(part.start >= part.stop for part in region):
        raise InputError(
            f"the test positions span {np.ptp(xcoords):.1f} x {np.ptp(ycoords):.1f} px: with a stitched crop "
            f"of {crop_px} px less a border of {border_px} px nothing of the object {shape} is left; "
            "use test positions over a larger area inside the object, or raise evaluation.stitch_crop_px"
        )
    return region


def align(prediction: ComplexArray, truth: ComplexArray, region: Region, max_shift_px: float) -> Aligned:
    """Bring a prediction onto the truth: shift, amplitude scale and phase plane.

    Parameters
    ----------
    prediction, truth : (H, W) complex
    region : rows and columns to compare, see :func:`evaluated_region`
    max_shift_px : the shift may be this large in each direction at most; 0 seeks none. A better match farther
        away is never applied: the prediction stays where it is, and a warning says so.

    Raises
    ------
    InputError : shapes differ

    Notes
    -----
    A shift is kept only where it makes the mean squared difference smaller. Values that are not finite within
    the region give NaN everywhere.
    """
    if prediction.shape != truth.shape:
        raise InputError(f"prediction {prediction.shape} and truth {truth.shape} must have the same shape")
    target = truth[region].astype(np.complex64)
    unmoved = _fit(prediction[region], target)
    if max_shift_px == 0 or not np.isfinite(prediction[region]).all():
        return unmoved
    flat = np.nan_to_num(prediction, posinf=0, neginf=0) / _plane_wave(unmoved, truth.shape, region)
    offset = _find_offset(flat, target, region, max_shift_px)
    if offset is None:
        return unmoved
    moved = _fit(_shifted(flat, region, offset), target)
    if not offset.any() or _mean_square(moved) >= _mean_square(unmoved):
        return replace(unmoved, registered=True)
    return replace(
        moved,
        offset_dy=float(offset[0]),
        offset_dx=float(offset[1]),
        registered=True,
        phase_offset_rad=float(_wrapped(moved.phase_offset_rad + unmoved.phase_offset_rad)),
        phase_slope_y=moved.phase_slope_y + unmoved.phase_slope_y,
        phase_slope_x=moved.phase_slope_x + unmoved.phase_slope_x,
    )


def _fit(prediction: ComplexArray, truth: ComplexArray) -> Aligned:
    """Fit amplitude scale and phase plane of a prediction, (h, w), to the truth where it lies."""
    prediction = np.where(np.isfinite(prediction).all(), prediction, np.nan)
    amplitude, goal = np.abs(prediction).mean(dtype=float), np.abs(truth).mean(dtype=float)
    scale = goal / amplitude if amplitude != 0 else 1.0
    difference, plane = without_plane(np.angle(prediction).astype(float) - np.angle(truth))
    aligned = prediction * scale * np.exp(-1j * _on_grid(plane, *_centred(truth.shape)))
    return Aligned(
        prediction=aligned.astype(np.complex64),
        truth=truth,
        offset_dy=0.0,
        offset_dx=0.0,
        registered=False,
        amplitude_scale=float(scale),
        phase_offset_rad=float(plane[0]),
        phase_slope_y=float(plane[1]),
        phase_slope_x=float(plane[2]),
        phase_difference=difference,
    )


def _mean_square(aligned: Aligned) -> float:
    return float(np.mean(np.abs(aligned.prediction - aligned.truth) ** 2))


# phase plane ---------------------------------------------------------------------------------------------


def without_plane(phase: FloatArray) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Remove the mean and the least-squares plane from a phase, wrapped or not.

    Parameters
    ----------
    phase : (h, w) rad

    Returns
    -------
    (h, w) rad, and (3,): offset at the centre (rad), slope along y, slope along x (rad/px)

    Notes
    -----
    The peak of the Fourier transform of exp(i phase) gives a plane that may wrap many times: the periodogram
    estimate of D. C. Rife, R. R. Boorstyn, IEEE Trans. Inf. Theory 20, 591 (1974). Least squares on what is
    left, wrapped to -pi ... pi, refine it. All pixels weigh the same.
    """
    if not np.isfinite(phase).all():
        return np.full(phase.shape, np.nan), np.full(3, np.nan)
    plane = _spectral_plane(phase)
    for _ in range(2):
        plane = plane + _least_squares(_wrapped(phase - _on_grid(plane, *_centred(phase.shape))))
    residual = _wrapped(phase - _on_grid(plane, *_centred(phase.shape)))
    rest = _least_squares(residual)
    plane = plane + rest
    plane[0] = _wrapped(plane[0])
    return residual - _on_grid(rest, *_centred(phase.shape)), plane


def _spectral_plane(phase: FloatArray) -> npt.NDArray[np.float64]:
    shape = [scipy.fft.next_fast_len(2 * side) for side in phase.shape]  # to half a wrap over the field
    spectrum = np.abs(scipy.fft.fft2(np.exp(1j * phase).astype(np.complex64), shape))
    peak = np.unravel_index(np.argmax(spectrum), spectrum.shape)
    slopes = [2 * np.pi * scipy.fft.fftfreq(n)[k] for n, k in zip(shape, peak, strict=True)]
    plane = np.array([0.0, *slopes])
    plane[0] = np.angle(np.exp(1j * (phase - _on_grid(plane, *_centred(phase.shape)))).sum())
    return plane


def _least_squares(phase: FloatArray) -> npt.NDArray[np.float64]:
    """Return the least-squares plane; centred coordinates make its three parts independent of each other."""
    y, x = _centred(phase.shape)
    slope_y = phase.mean(axis=1) @ y / max(y @ y, 1)
    slope_x = phase.mean(axis=0) @ x / max(x @ x, 1)
    return np.array([phase.mean(), slope_y, slope_x])


def _centred(shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    height, width = shape
    return np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2


def _on_grid(plane: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
    return plane[0] + plane[1] * y[:, None] + plane[2] * x


def _wrapped(phase: Any) -> Any:
    return (phase + np.pi) % (2 * np.pi) - np.pi


def _plane_wave(aligned: Aligned, shape: tuple[int, ...], region: Region) -> ComplexArray:
    """Return exp(i plane) of what was taken off within ``region``, carried on over the whole object."""
    y, x = (np.arange(n) - (part.start + part.stop - 1) / 2 for n, part in zip(shape, region, strict=True))
    plane = np.array([aligned.phase_offset_rad, aligned.phase_slope_y, aligned.phase_slope_x])
    return np.exp(1j * _on_grid(plane, y, x))


# registration --------------------------------------------------------------------------------------------


def _find_offset(
    prediction: ComplexArray, target: ComplexArray, region: Region, max_shift_px: float
) -> npt.NDArray[np.float64] | None:
    """Return the shift (dy, dx) that brings the prediction onto the target; None where it is out of bounds.

    Every round searches the whole region. Two rounds more correct the first, which both images' common window
    draws towards 0. A constant has no shift: None.
    """
    offset = np.zeros(2)
    for _ in range(3):
        moved = _fit(_shifted(prediction, region, offset), target).prediction
        offset = offset + _correlation_peak(moved, target)
        if np.isnan(offset).any():
            return None
        if np.abs(offset).max() > max_shift_px:
            logger.warning(
                "registration refused: the best match lies at (dy, dx) = (%.2f, %.2f) px, beyond the bound "
                "of %g px; the prediction stays where it is",
                *offset,
                max_shift_px,
            )
            return None
    return offset


def _correlation_peak(prediction: ComplexArray, target: ComplexArray) -> npt.NDArray[np.float64]:
    """Return the shift (dy, dx) of largest |cross-correlation|; NaN where an image is constant.

    Only detail counts: slow errors of the phase, which few photons or patterns fix, would move the peak.

    Notes
    -----
    M. Guizar-Sicairos, S. T. Thurman, J. R. Fienup, Opt. Lett. 33, 156 (2008), by scikit-image.
    """
    window = np.hanning(target.shape[0])[:, None] * np.hanning(target.shape[1])
    images = [(image - gaussian_filter(image, DETAIL_PX)) * window for image in (target, prediction)]
    if any(np.abs(image).max() <= 1e-6 * np.abs(target).max() for image in images):
        return np.full(2, np.nan)
    return phase_cross_correlation(*images, upsample_factor=UPSAMPLING, normalization=None)[0]


def _shifted(image: ComplexArray, region: Region, offset: FloatArray) -> ComplexArray:
    """Return ``image`` moved by ``offset`` (dy, dx) px, cropped to ``region``.

    A Fourier shift keeps the noise as it is; an interpolation would smooth it and so feign a better match.
    """
    margin = int(np.ceil(np.abs(offset).max())) + 1
    starts = [max(part.start - margin, 0) for part in region]
    stops = [min(part.stop + margin, n) for part, n in zip(region, image.shape, strict=True)]
    cut = image[starts[0] : stops[0], starts[1] : stops[1]]
    moved = scipy.fft.ifft2(fourier_shift(scipy.fft.fft2(np.pad(cut, MIRROR_PX, mode="symmetric")), offset))
    inner = [
        slice(part.start - start + MIRROR_PX, part.stop - start + MIRROR_PX)
        for part, start in zip(region, starts, strict=True)
    ]
    return moved[inner[0], inner[1]]
