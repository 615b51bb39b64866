"""Alignment of a reconstruction to the ground truth: bounded sub-pixel registration, amplitude scale, phase plane.

Ptychography leaves a shift, a scale of the amplitude, a constant phase and a phase plane undetermined; they are removed
before two objects are compared.
"""

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.ndimage import distance_transform_edt, fourier_shift, gaussian_filter
from skimage.registration import phase_cross_correlation

from ptycho.data.dataset import ComplexArray, FloatArray
from ptycho.errors import InputError
from ptycho.evaluation.phase_plane import plane_wave, without_plane, wrapped
from ptycho.physics.stitching import Region

logger = logging.getLogger(__name__)

UPSAMPLING = 20  # registration resolves 1/20 px
DETAIL_PX = 5.0  # sigma of the blur that registration subtracts
DARK = 1e-3  # of the mean amplitude: the phase of fainter pixels is meaningless
FILL_PX, FILL_WEIGHT = 1.0, 0.05  # sigma of the mean of neighbours, and the share of them that must be usable
MIRROR_PX = 16  # mirrored border that keeps the wrap-around of a Fourier shift out of the region


@dataclass(frozen=True, eq=False)
class Aligned:
    """A prediction aligned to the ground truth, both cropped to the evaluated region and without phase plane.

    Parameters
    ----------
    prediction : (h, w) complex128, shifted, scaled, its phase that of the truth plus ``phase_difference``; 0 where
        the scan does not cover
    truth : (h, w) complex128, its phase ``truth_phase``
    covered : (h, w) bool, the pixels that are compared
    lit : (h, w) bool, those of them where the ground truth transmits light, so that its phase is meaningful
    offset_dy, offset_dx : the shift applied to the prediction, pixels
    registered : False where no shift was sought or found, or the best one was refused; the offset is 0 then
    amplitude_scale : factor applied to the prediction; 1 where the prediction is 0
    phase_offset_rad, phase_slope_y, phase_slope_x : the plane removed from the prediction, relative to the unchanged
        truth: offset at the centre of the region, slopes in rad/px
    truth_phase : (h, w) float64, rad, the phase of the ground truth, unwrapped where a wrap remains, its mean and
        least-squares plane removed
    phase_difference : (h, w) float64, rad, phase of prediction times conjugate truth, its mean and
        least-squares plane removed. Where the prediction is 0 its phase without plane is taken as 0.
    """

    prediction: npt.NDArray[np.complex128]
    truth: npt.NDArray[np.complex128]
    covered: npt.NDArray[np.bool_]
    lit: npt.NDArray[np.bool_]
    offset_dy: float
    offset_dx: float
    registered: bool
    amplitude_scale: float
    phase_offset_rad: float
    phase_slope_y: float
    phase_slope_x: float
    truth_phase: npt.NDArray[np.float64]
    phase_difference: npt.NDArray[np.float64]

    @property
    def plane(self) -> npt.NDArray[np.float64]:
        """(3,): offset (rad), slope along y, slope along x (rad/px)."""
        return np.array([self.phase_offset_rad, self.phase_slope_y, self.phase_slope_x])


@dataclass(frozen=True, eq=False)
class Target:
    """The ground truth of a region, prepared once for all predictions.

    Parameters
    ----------
    image : (h, w) complex128 with the phase ``phase``; pixels that are not covered repeat their neighbours
    angle : (h, w) float64, its original phase, wrapped
    phase : (h, w) float64, unwrapped, mean and least-squares plane removed; 0 where the truth is dark
    plane : (3,) float64, the plane that was removed: offset at the centre (rad), slopes along y and x (rad/px)
    covered, lit : (h, w) bool, see :class:`Aligned`
    """

    image: npt.NDArray[np.complex128]
    angle: npt.NDArray[np.float64]
    phase: npt.NDArray[np.float64]
    plane: npt.NDArray[np.float64]
    covered: npt.NDArray[np.bool_]
    lit: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, truth: ComplexArray, covered: npt.NDArray[np.bool_]) -> "Target":
        """Return the ground truth (h, w) without mean and plane of its phase.

        Raises
        ------
        InputError : nothing is covered
        """
        if not covered.any():
            raise InputError("the test scan covers no pixel of the evaluated region: check its positions")
        truth = np.where(covered & np.isfinite(truth), truth, 0).astype(np.complex128)
        amplitude = np.abs(truth)
        lit = covered & (amplitude > DARK * amplitude[covered].mean())
        lit = lit if lit.any() else covered
        angle = np.angle(truth).astype(np.float64)
        phase, plane = without_plane(angle, lit, unwrap=True)
        phase = np.where(lit, phase, 0.0)
        image = _filled(amplitude * np.exp(1j * phase), covered)
        return cls(image, angle, phase, plane, covered, lit)


def align(
    prediction: ComplexArray,
    truth: ComplexArray,
    region: Region,
    max_shift_px: float,
    covered: npt.NDArray[np.bool_] | None = None,
    target: Target | None = None,
) -> Aligned:
    """Align a prediction to the ground truth: shift, amplitude scale and phase plane.

    Parameters
    ----------
    prediction, truth : (H, W) complex
    region : rows and columns to compare, see :func:`ptycho.physics.stitching.evaluated_region`
    max_shift_px : largest shift in each direction; 0 for no registration. A better match farther away is never applied:
        the prediction is not shifted, and a warning is logged
    covered : (H, W) bool, the pixels that the scan covers; None for all. The others may hold anything
    target : the ground truth of the region, where it was prepared before for another prediction

    Raises
    ------
    InputError : shapes differ, or the scan covers no pixel of the region

    Notes
    -----
    A shift is applied only where it reduces the mean squared difference. Values that are not finite on a covered pixel
    of the region give NaN everywhere.
    """
    if prediction.shape != truth.shape:
        raise InputError(f"prediction {prediction.shape} and truth {truth.shape} must have the same shape")
    covered = np.ones(truth.shape, bool) if covered is None else covered
    target = Target.of(truth[region], covered[region]) if target is None else target
    cut, inner = _with_margin(region, truth.shape, int(np.ceil(max_shift_px)) + 1)
    usable = covered[cut] & np.isfinite(prediction[cut])
    if not usable[inner][target.covered].all():
        return _not_finite(target)
    image = np.where(usable, prediction[cut], 0).astype(np.complex128)
    unmoved = _fit(image[inner], target)
    if max_shift_px == 0:
        return unmoved
    return _registered(image, usable, inner, target, unmoved, max_shift_px)


def _registered(
    image: ComplexArray,
    usable: npt.NDArray[np.bool_],
    inner: Region,
    target: Target,
    unmoved: Aligned,
    max_shift_px: float,
) -> Aligned:
    """Return the best match within the bound: ``unmoved``, or the image registered to the target."""
    taken_off = unmoved.plane + target.plane
    flat = _filled(image / plane_wave(taken_off, image.shape, inner), usable)
    offset = _find_offset(flat, target, inner, max_shift_px)
    if offset is None:
        return unmoved
    moved = _fit(_shifted(flat, inner, offset), target)
    if not offset.any() or _mean_square(moved) >= _mean_square(unmoved):
        return replace(unmoved, registered=True)
    plane = moved.plane + taken_off
    return replace(
        moved,
        offset_dy=float(offset[0]),
        offset_dx=float(offset[1]),
        registered=True,
        phase_offset_rad=float(wrapped(plane[0])),
        phase_slope_y=float(plane[1]),
        phase_slope_x=float(plane[2]),
    )


def _fit(prediction: ComplexArray, target: Target) -> Aligned:
    """Fit amplitude scale and phase plane of a prediction, (h, w), to the ground truth, without a shift."""
    amplitude = np.abs(prediction)
    found, goal = (float(image[target.covered].mean()) for image in (amplitude, np.abs(target.image)))
    scale = goal / found if found != 0 else 1.0
    told = target.lit & (amplitude > DARK * found)
    if told.any():
        difference, plane = without_plane(np.angle(prediction) - target.angle, told)
    else:
        difference, plane = np.zeros(amplitude.shape), -target.plane
    difference = np.where(told, difference, np.where(target.lit, -target.phase, 0.0))
    aligned = amplitude * scale * np.exp(1j * (target.phase + difference))
    return Aligned(
        prediction=np.where(target.covered, aligned, 0),
        truth=target.image,
        covered=target.covered,
        lit=target.lit,
        offset_dy=0.0,
        offset_dx=0.0,
        registered=False,
        amplitude_scale=scale,
        phase_offset_rad=float(wrapped(plane[0])),
        phase_slope_y=float(plane[1]),
        phase_slope_x=float(plane[2]),
        truth_phase=target.phase,
        phase_difference=difference,
    )


def _not_finite(target: Target) -> Aligned:
    """Return the alignment of a prediction that is not finite: NaN."""
    nan = np.full(target.phase.shape, np.nan)
    return Aligned(
        nan + 0j, target.image, target.covered, target.lit, 0.0, 0.0, False, *(float("nan"),) * 4, target.phase, nan
    )  # fmt: skip


def _mean_square(aligned: Aligned) -> float:
    """Return the mean squared difference of prediction and ground truth over the covered pixels."""
    return float(np.mean(np.abs(aligned.prediction - aligned.truth)[aligned.covered] ** 2))


def _with_margin(region: Region, shape: tuple[int, ...], margin: int) -> tuple[Region, Region]:
    """Return the region with a margin on each side, within the object, and the region relative to that."""
    starts = [max(part.start - margin, 0) for part in region]
    stops = [min(part.stop + margin, n) for part, n in zip(region, shape, strict=True)]
    inner = [slice(part.start - start, part.stop - start) for part, start in zip(region, starts, strict=True)]
    return (slice(starts[0], stops[0]), slice(starts[1], stops[1])), (inner[0], inner[1])


def _filled(image: npt.NDArray[Any], usable: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Return an image, (h, w), with the mean of its usable neighbours, or the nearest, where a pixel is not usable."""
    if usable.all():
        return image
    known = np.where(usable, image, 0)
    weight = gaussian_filter(usable.astype(np.float64), FILL_PX, mode="nearest")
    smooth = gaussian_filter(known, FILL_PX, mode="nearest") / np.maximum(weight, FILL_WEIGHT)
    nearest = distance_transform_edt(~usable, return_distances=False, return_indices=True)
    return np.where(usable, image, np.where(weight > FILL_WEIGHT, smooth, image[tuple(nearest)]))


# registration --------------------------------------------------------------------------------------------


def _find_offset(
    prediction: ComplexArray, target: Target, region: Region, max_shift_px: float
) -> npt.NDArray[np.float64] | None:
    """Return the shift (dy, dx) that registers the prediction to the target; None where it is out of bounds.

    Each of three iterations searches the whole region. The common window of both images biases the first one towards 0;
    the others correct that. The shift of a constant is undefined: None.
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
                "of %g px; the prediction is not shifted",
                *offset,
                max_shift_px,
            )
            return None
    return offset


def _correlation_peak(prediction: ComplexArray, target: Target) -> npt.NDArray[np.float64]:
    """Return the shift (dy, dx) of largest |cross-correlation|; NaN where an image is constant.

    Low spatial frequencies are removed first: errors of the phase there, which few photons or patterns leave poorly
    determined, would move the peak.

    Notes
    -----
    M. Guizar-Sicairos, S. T. Thurman, J. R. Fienup, Opt. Lett. 33, 156 (2008), by scikit-image.
    """
    truth, covered = target.image, target.covered
    window = np.hanning(truth.shape[0])[:, None] * np.hanning(truth.shape[1]) * covered
    filled = truth, _filled(prediction, covered)
    images = [(image - gaussian_filter(image, DETAIL_PX)) * window for image in filled]
    if any(np.abs(image).max() <= 1e-6 * np.abs(truth).max() for image in images):
        return np.full(2, np.nan)
    return phase_cross_correlation(*images, upsample_factor=UPSAMPLING, normalization=None)[0]


def _shifted(image: ComplexArray, region: Region, offset: FloatArray) -> ComplexArray:
    """Return ``image`` moved by ``offset`` (dy, dx) px, cropped to ``region``.

    A Fourier shift preserves the noise; an interpolation would smooth it and so improve the match artificially.
    """
    moved = scipy.fft.ifft2(fourier_shift(scipy.fft.fft2(np.pad(image, MIRROR_PX, mode="symmetric")), offset))
    rows, columns = (slice(part.start + MIRROR_PX, part.stop + MIRROR_PX) for part in region)
    return moved[rows, columns]
