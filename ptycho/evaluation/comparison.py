"""The arms of a trial, aligned to the ground truth and scored, where it is known, and tabulated."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.ndimage import gaussian_filter

from ptycho.data.dataset import ComplexArray
from ptycho.errors import InputError
from ptycho.evaluation.alignment import Aligned, Target, align
from ptycho.evaluation.frc import resolution
from ptycho.evaluation.metrics import METRICS, Images, Metric
from ptycho.evaluation.phase_plane import without_plane
from ptycho.physics.stitching import Region
from ptycho.results.schema import (
    COLUMNS,
    COVERED_ENOUGH,
    FRC_COLUMNS,
    MARKS,
    NO_TRUTH,
    NUMBERS,
    TRUTH,
)

logger = logging.getLogger(__name__)

COLLAPSED_CONTRAST = 0.05  # of the truth's: structure this faint says nothing about the specimen
NOISE_PX = 5.0  # sigma of the neighbourhood over which the phase error of an image is averaged
NOISE_COHERENCE = 0.2  # mean of |mean exp(i phase error)| over neighbourhoods: a spread of 1.8 rad within each
FAR_SCALE = 3.0  # amplitude scale, either way, of a reconstruction under a known probe
FAR_MISFIT = 1.5  # R-factor over that of an empty object


@dataclass(frozen=True, eq=False)
class Arm:
    """What one model reconstructed from the test data.

    Parameters
    ----------
    model : its name in every table: ``PtychoPINN``, ``Baseline``, ``Iterative``, ...
    object : (H, W) complex, stitched
    computation_time_s : CPU or wall time, as the caller measures it
    status : one of :data:`ptycho.results.schema.TRAINING_STATUSES`, as far as the training knows
    r_factor : misfit between the test patterns and those that the object gives with their probe; NaN where unknown
    known_probe : whether it was reconstructed with that probe, so that its amplitude and R-factor are meaningful
    """

    model: str
    object: ComplexArray
    computation_time_s: float
    status: str = "ok"
    r_factor: float = float("nan")
    known_probe: bool = True


@dataclass(frozen=True, eq=False)
class Comparison:
    """The scores and aligned objects of all arms of a trial.

    Parameters
    ----------
    metrics : tidy table, columns ``model, metric, amplitude, phase, value, status``
    frc_curves : columns :data:`ptycho.results.schema.FRC_COLUMNS`, a row for each ring; ``error_power`` and
        ``truth_power`` are the shares of the ring in the mean square of the error and of the ground truth. No rows for
        an arm that is not finite, or without a ground truth
    objects : (h, w) complex by model, aligned and cropped to the region, 0 where the scan does not cover; the ground
        truth, where known, as ``ground_truth``, without its own mean phase and phase plane
    region : rows and columns of the object that were evaluated
    """

    metrics: pd.DataFrame
    frc_curves: pd.DataFrame
    objects: dict[str, ComplexArray]
    region: Region


def compare(
    arms: Sequence[Arm],
    truth: ComplexArray | None,
    region: Region,
    *,
    registration_max_px: float,
    pixel_size_m: float | None = None,
    custom: Mapping[str, Metric] = MappingProxyType({}),
    covered: npt.NDArray[np.bool_] | None = None,
    window_px: int | None = None,
    empty_r_factor: float = float("nan"),
) -> Comparison:
    """Align every arm to the ground truth and compute all metrics.

    Parameters
    ----------
    truth : (H, W) complex, or None where it is unknown: arms are flattened instead of aligned, and not scored
    region : rows and columns to evaluate, see :func:`ptycho.physics.stitching.evaluated_region`
    registration_max_px : see :func:`ptycho.evaluation.alignment.align`
    pixel_size_m : of the object, metres; None leaves ``half_period_nm`` empty
    custom : further metrics, by name, see :mod:`ptycho.evaluation.custom_metrics`
    covered : (H, W) bool, the pixels that the scan covers, the same for all arms; None for all. The others are
        excluded from everything
    window_px : N, the side of a pattern: see :func:`ptycho.evaluation.frc.resolution`
    empty_r_factor : R-factor of an empty object, 1 everywhere, on the same patterns

    Raises
    ------
    InputError : an arm's object has another shape than the truth, two arms one name, or nothing is covered

    Notes
    -----
    Amplitudes are compared after scaling. Metrics of the phase compare the true phase, unwrapped and without its mean
    and plane, with the same plus the aligned difference, so that what ptychography leaves undetermined changes no
    metric. Pixels where the ground truth is dark have no phase and are excluded from its metrics. An arm that is not
    finite on a covered pixel is ``failed`` and its metrics are NaN; one that is ``ok`` but nearly constant is
    ``collapsed``, and one that is noise, far off in amplitude, or explains the patterns far worse than an empty object,
    is ``failed``. Without a ground truth all metrics are NaN, and an arm that would be ``ok`` is ``no_truth``.
    ``frc50_at_nyquist`` is 1 where the curve never fell below 0.5, ``registration_refused`` where the best match lay
    out of bounds or there was none.
    """
    names = [arm.model for arm in arms]
    if len({*names, TRUTH}) <= len(names):
        raise InputError(f"arms are named {names}: each name once only, and none {TRUTH}")
    covered = np.ones(arms[0].object.shape, bool) if covered is None else covered
    share = float(covered[region].mean())
    if share < COVERED_ENOUGH:
        logger.warning(
            "the test scan covers %.1f %% of the evaluated region; the rest is excluded from all metrics. More test "
            "patterns, or a larger evaluation.stitch_crop_px, would cover it",
            100 * share,
        )
    if truth is None:
        return _unscored(arms, region, covered, custom, empty_r_factor)
    target = Target.of(truth[region], covered[region])
    metrics = {**METRICS, **custom}
    rows: list[dict[str, Any]] = []
    curves: list[pd.DataFrame] = []
    objects: dict[str, ComplexArray] = {}
    for arm in arms:
        aligned = align(arm.object, truth, region, registration_max_px, covered, target)
        finite = bool(np.isfinite(aligned.phase_difference).all())
        status = _status(arm, aligned, empty_r_factor, finite=finite)
        parts = _parts(aligned, window_px) if finite else {}
        refused = finite and registration_max_px > 0 and not aligned.registered
        scores = [*_scores(parts, metrics, pixel_size_m), *_values(aligned, arm, refused=refused)]
        rows += [{"model": arm.model, **score, "status": status} for score in scores]
        curves += [_curve(arm.model, part, images, pixel_size_m) for part, images in parts.items()]
        objects[TRUTH] = aligned.truth
        objects[arm.model] = aligned.prediction if finite else arm.object[region]
    frc_curves = pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=FRC_COLUMNS)
    return Comparison(_table(rows), frc_curves, objects, region)


def _unscored(
    arms: Sequence[Arm],
    region: Region,
    covered: npt.NDArray[np.bool_],
    custom: Mapping[str, Metric],
    empty_r_factor: float,
) -> Comparison:
    """Return the arms without a ground truth: neither aligned nor scored, without the plane of their phase."""
    rows: list[dict[str, Any]] = []
    objects: dict[str, ComplexArray] = {}
    seen = covered[region]
    for arm in arms:
        image = np.where(seen, arm.object[region], 0)
        finite = bool(np.isfinite(image).all())
        status = _unscored_status(arm, empty_r_factor, finite=finite)
        values = {
            "computation_time_s": arm.computation_time_s, "covered_share": float(seen.mean()), "r_factor": arm.r_factor
        }  # fmt: skip
        scores = [*_scores({}, {**METRICS, **custom}, None), *_as_rows(values)]
        rows += [{"model": arm.model, **score, "status": status} for score in scores]
        objects[arm.model] = flattened(image, seen).astype(np.complex64) if finite else image
    return Comparison(_table(rows), pd.DataFrame(columns=FRC_COLUMNS), objects, region)


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as a tidy table with float columns."""
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(NUMBERS, float))


def _parts(aligned: Aligned, window_px: int | None) -> dict[str, Images]:
    """Return target and prediction of amplitude and phase (rad)."""
    amplitudes, phase = (np.abs(aligned.truth), np.abs(aligned.prediction)), aligned.truth_phase
    return {
        "amplitude": Images.of(*amplitudes, aligned.covered, window_px),
        "phase": Images.of(phase, phase + aligned.phase_difference, aligned.lit, window_px),
    }


def _scores(
    parts: Mapping[str, Images], metrics: Mapping[str, Metric], pixel_size_m: float | None
) -> list[dict[str, Any]]:
    """Return a row for each metric, with NaN where there are no images, and the rows that explain frc50.

    Half-periods are omitted where the pixel size is unknown.
    """
    rows = [
        {"metric": name, **{part: metric(images) for part, images in parts.items()}} for name, metric in metrics.items()
    ]
    known = MARKS if pixel_size_m is not None else MARKS[:-1]
    marks: dict[str, dict[str, Any]] = {name: {"metric": name} for name in known}
    for part, images in parts.items():
        found, side = resolution(images.frc, images.window_px), min(images.target.shape)
        frequency = found.value / side
        marks["frc50_at_nyquist"][part] = float(not found.crossed)
        marks["frc50_cycles_per_px"][part] = frequency
        if pixel_size_m is not None:
            marks["frc50_half_period_nm"][part] = 1e9 * pixel_size_m / (2 * frequency) if frequency > 0 else np.inf
    return [*rows, *marks.values()]


def _values(aligned: Aligned, arm: Arm, *, refused: bool) -> list[dict[str, Any]]:
    """Return a row for each quantity that has one value for the whole object."""
    return _as_rows(
        {
            "registration_offset_dy": aligned.offset_dy,
            "registration_offset_dx": aligned.offset_dx,
            "computation_time_s": arm.computation_time_s,
            "amplitude_scale": aligned.amplitude_scale,
            "phase_offset_rad": aligned.phase_offset_rad,
            "phase_slope_y": aligned.phase_slope_y,
            "phase_slope_x": aligned.phase_slope_x,
            "registration_refused": float(refused),
            "covered_share": float(aligned.covered.mean()),
            "r_factor": arm.r_factor,
        }
    )


def _as_rows(values: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return a row of the tidy table for each value."""
    return [{"metric": name, "value": value} for name, value in values.items()]


def _curve(model: str, part: str, images: Images, pixel_size_m: float | None) -> pd.DataFrame:
    """Return the FRC curve of a model as rows of the table of curves."""
    curve = images.frc
    pixel_nm = np.nan if pixel_size_m is None else pixel_size_m * 1e9
    return pd.DataFrame(
        {
            "model": model,
            "part": part,
            "ring_px": curve.rings_px,
            "cycles_per_px": curve.cycles_per_px,
            "half_period_nm": pixel_nm / (2 * curve.cycles_per_px),
            "correlation": curve.correlation,
            "error_power": curve.error_power,
            "truth_power": curve.target_power,
        }
    )


def _status(arm: Arm, aligned: Aligned, empty_r_factor: float, *, finite: bool) -> str:
    """Return the status of an arm: that of its training, or where it is ok, that of its reconstruction."""
    if arm.status != "ok":
        return arm.status
    if not finite:
        logger.warning("%s: NaN or infinite values within the evaluated region: failed", arm.model)
        return "failed"
    found, expected = (contrast(image, aligned.covered) for image in (aligned.prediction, aligned.truth))
    if found < COLLAPSED_CONTRAST * expected:
        logger.warning("%s: contrast %.2g, that of the ground truth is %.2g: collapsed", arm.model, found, expected)
        return "collapsed"
    coherence = _local_coherence(aligned)
    if coherence < NOISE_COHERENCE:
        logger.warning(
            "%s: its phase error is random (local coherence %.2g of 1): noise, failed",
            arm.model,
            coherence,
        )
        return "failed"
    if arm.known_probe and not 1 / FAR_SCALE <= aligned.amplitude_scale <= FAR_SCALE:
        logger.warning(
            "%s: its amplitude must be scaled by %.3g to match the ground truth, though the probe is known: failed",
            arm.model,
            aligned.amplitude_scale,
        )
        return "failed"
    return "failed" if _misses_patterns(arm, empty_r_factor) else "ok"


def _local_coherence(aligned: Aligned) -> float:
    """Return the mean of |mean exp(i phase error)| over neighbourhoods: 1 for a smooth error, 0 for noise."""
    wave = np.where(aligned.lit, np.exp(1j * aligned.phase_difference), 0)
    weight = gaussian_filter(aligned.lit.astype(np.float64), NOISE_PX)
    return float(np.mean((np.abs(gaussian_filter(wave, NOISE_PX)) / np.maximum(weight, 1e-6))[aligned.lit]))


def _unscored_status(arm: Arm, empty_r_factor: float, *, finite: bool) -> str:
    """Return the status of an arm without a ground truth."""
    if arm.status != "ok":
        return arm.status
    return NO_TRUTH if finite and not _misses_patterns(arm, empty_r_factor) else "failed"


def _misses_patterns(arm: Arm, empty_r_factor: float) -> bool:
    """Return whether an object explains the test patterns far worse than an empty one."""
    misses = arm.known_probe and arm.r_factor > FAR_MISFIT * empty_r_factor
    if misses:
        logger.warning(
            "%s: its R-factor with the test patterns is %.3g, that of an empty object %.3g: failed",
            arm.model,
            arm.r_factor,
            empty_r_factor,
        )
    return misses


def flattened(image: ComplexArray, covered: npt.NDArray[np.bool_] | None = None) -> ComplexArray:
    """Return a complex image, (h, w), finite where covered, without its mean phase and phase plane."""
    residual, _ = without_plane(np.angle(image), covered)
    return np.abs(image) * np.exp(1j * residual)


def contrast(image: ComplexArray, covered: npt.NDArray[np.bool_] | None = None) -> float:
    """Return how much a complex image, (h, w), varies once its phase plane is removed: 0 (constant) to 1.

    For weak contrast its square is the relative variance of the amplitude plus the variance of the phase.
    """
    flat = flattened(image, covered)
    flat = flat if covered is None else flat[covered]
    power = np.mean(np.abs(flat) ** 2)
    return float(np.std(flat) / np.sqrt(power)) if power > 0 else 0.0
