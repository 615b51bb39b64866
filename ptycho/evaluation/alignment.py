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
from scipy.ndimage import distance_transform_edt, fourier_shift, gaussian_filter, label, mean
from skimage.registration import phase_cross_correlation
from skimage.restoration import unwrap_phase

from ptycho.data.dataset import ComplexArray, FloatArray
from ptycho.errors import InputError
from ptycho.physics.stitching import Region

logger = logging.getLogger(__name__)

UPSAMPLING = 20  # registration resolves 1/20 px
DETAIL_PX = 5.0  # sigma of the blur that registration subtracts
DARK = 1e-3  # of the mean amplitude: the phase of fainter pixels is meaningless
FILL_PX, FILL_WEIGHT = 1.0, 0.05  # sigma of the mean of neighbours, and the share of them that must be usable
MOST_STEPS = 30  # of the fit of a phase plane; without noise it needs two or three
LEAST_COHERENCE = 0.2  # of a phase: limits the steps of the fit of its plane
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
    flat = _filled(image / _plane_wave(taken_off, image.shape, inner), usable)
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
        phase_offset_rad=float(_wrapped(plane[0])),
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
        phase_offset_rad=float(_wrapped(plane[0])),
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


# phase plane ---------------------------------------------------------------------------------------------


def without_plane(
    phase: FloatArray, covered: npt.NDArray[np.bool_] | None = None, *, unwrap: bool = False
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Remove the mean and the least-squares plane from a phase, wrapped or not.

    Parameters
    ----------
    phase : (h, w) rad
    covered : (h, w) bool, the pixels that are fitted; None for all
    unwrap : unwrap the residual before the last fit, where neighbours differ by more than pi

    Returns
    -------
    (h, w) rad, and (3,): offset at the centre (rad), slope along y, slope along x (rad/px). Adding any plane to the
    phase changes only the latter, by that plane

    Notes
    -----
    The mean phase step between neighbours gives the slopes, however often they wrap (S. M. Kay, IEEE Trans. Acoust.
    Speech Signal Process. 37, 1987 (1989), with equal weights). An iteration towards the plane that maximizes
    sum(cos(phase - plane)) follows, and one least-squares fit of the residual, wrapped to -pi ... pi; with ``unwrap``
    and wraps remaining, of the unwrapped residual instead. All covered pixels have the same weight.
    """
    covered = np.ones(phase.shape, bool) if covered is None else covered
    if not np.isfinite(phase[covered]).all():
        return np.full(phase.shape, np.nan), np.full(3, np.nan)
    phase = np.where(covered, phase, 0.0)
    grid = _grid(phase.shape)
    plane = _mean_steps(phase, covered)
    residual = _wrapped(phase - np.tensordot(plane, grid, 1))
    if unwrap and _has_wraps(residual, covered):
        residual = _unwrapped(residual, covered)
    else:
        plane, residual = _steepest_plane(phase, plane, covered, grid)
    rest = _least_squares(residual, covered, grid)
    plane = plane + rest
    plane[0] = _wrapped(plane[0])
    return residual - np.tensordot(rest, grid, 1), plane


def _steepest_plane(
    phase: FloatArray,
    plane: npt.NDArray[np.float64],
    covered: npt.NDArray[np.bool_],
    grid: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the plane near ``plane`` of largest sum(cos(phase - plane)), and the wrapped phase without it."""
    residual = _wrapped(phase - np.tensordot(plane, grid, 1))
    for _ in range(MOST_STEPS):
        coherence = max(float(np.cos(residual[covered]).mean()), LEAST_COHERENCE)
        step = _least_squares(np.sin(residual), covered, grid) / coherence
        plane = plane + step
        residual = _wrapped(phase - np.tensordot(plane, grid, 1))
        if np.abs(step[1:]).max() * max(phase.shape) + abs(step[0]) < 1e-12:
            break
    return plane, residual


def _mean_steps(phase: FloatArray, covered: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the plane whose slopes are the mean phase steps between covered neighbours."""
    wave = np.where(covered, np.exp(1j * np.where(covered, phase, 0)), 0)
    slope_y = np.angle(np.sum(wave[1:] * wave[:-1].conj()))
    slope_x = np.angle(np.sum(wave[:, 1:] * wave[:, :-1].conj()))
    _, y, x = _grid(phase.shape)
    return np.array([np.angle(np.sum(wave * np.exp(-1j * (slope_y * y + slope_x * x)))), slope_y, slope_x])


def _least_squares(
    phase: FloatArray, covered: npt.NDArray[np.bool_], grid: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the least-squares plane of the covered pixels; the flattest one where they do not determine it."""
    terms = grid[:, covered]
    scale = np.array([1.0, *(1 / max(side, 1) for side in phase.shape)])  # of similar size, so that the rank is found
    scaled = terms * scale[:, None]
    return scale * np.linalg.lstsq(scaled @ scaled.T, scaled @ phase[covered], rcond=1e-10)[0]


def _grid(shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return (3, h, w): 1, and the offsets y and x from the centre, pixels."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    return np.stack(np.broadcast_arrays(1.0, y[:, None], x))


def _wrapped(phase: Any) -> Any:
    """Return a phase, rad, wrapped to -pi ... pi."""
    return (phase + np.pi) % (2 * np.pi) - np.pi


def _has_wraps(phase: FloatArray, covered: npt.NDArray[np.bool_]) -> bool:
    """Return whether covered neighbours differ by more than pi."""
    rows = (np.abs(np.diff(phase, axis=0)) > np.pi) & covered[1:] & covered[:-1]
    columns = (np.abs(np.diff(phase, axis=1)) > np.pi) & covered[:, 1:] & covered[:, :-1]
    return bool(rows.any() or columns.any())


def _unwrapped(phase: FloatArray, covered: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return a phase without its wraps; the mean of each connected area is within 2 pi of 0.

    Notes
    -----
    M. A. Herraez et al., Appl. Opt. 41, 7437 (2002), by scikit-image.
    """
    unwrapped = np.ma.getdata(unwrap_phase(np.ma.masked_array(phase, ~covered), rng=0))
    areas, count = label(covered)
    means = mean(unwrapped, areas, np.arange(1, count + 1))
    turns = np.concatenate([[0.0], np.round(np.asarray(means) / (2 * np.pi))])
    return np.where(covered, unwrapped - 2 * np.pi * turns[areas], phase)


def _plane_wave(plane: npt.NDArray[np.float64], shape: tuple[int, ...], region: Region) -> ComplexArray:
    """Return exp(i plane), (H, W), of a plane whose offset is at the centre of ``region``."""
    y, x = (np.arange(n) - (part.start + part.stop - 1) / 2 for n, part in zip(shape, region, strict=True))
    return np.exp(1j * (plane[0] + plane[1] * y[:, None] + plane[2] * x))


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
