"""The arms of a trial, side by side: aligned to the truth and scored, where it is known, and tabulated."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from ptycho.data.dataset import ComplexArray, FloatArray
from ptycho.errors import InputError
from ptycho.evaluation.alignment import Aligned, Region, align, without_plane
from ptycho.evaluation.metrics import METRICS, Metric, crossing, frc_curve

logger = logging.getLogger(__name__)

COLUMNS = ["model", "metric", "amplitude", "phase", "value", "status"]
VALUES = (  # rows of one number for the whole object
    "registration_offset_dy", "registration_offset_dx", "computation_time_s", "amplitude_scale", "phase_offset_rad",
    "phase_slope_y", "phase_slope_x", "registration_refused",
)  # fmt: skip
FRC_COLUMNS = ["model", "part", "ring_px", "cycles_per_px", "half_period_nm", "correlation"]
TRUTH = "ground_truth"
TRAINED = ("ok", "collapsed", "diverged", "failed")  # what may be known of an arm before it is compared
NO_TRUTH = "no_truth"  # status of an arm that nothing was there to score by
COLLAPSED_CONTRAST = 0.05  # of the truth's: structure this faint says nothing about the specimen


@dataclass(frozen=True, eq=False)
class Arm:
    """What one model made of the test data.

    Parameters
    ----------
    model : its name in every table: ``PtychoPINN``, ``Baseline``, ``Iterative``, ...
    object : (H, W) complex, stitched
    computation_time_s : CPU or wall time, as the caller measures it
    status : one of :data:`TRAINED`, as far as the training knows
    """

    model: str
    object: ComplexArray
    computation_time_s: float
    status: str = "ok"


@dataclass(frozen=True, eq=False)
class Comparison:
    """All arms of a trial.

    Parameters
    ----------
    metrics : tidy table, columns ``model, metric, amplitude, phase, value, status``
    frc_curves : columns ``model, part, ring_px, cycles_per_px, half_period_nm, correlation``; none for an arm
        that is not finite, nor without a truth
    objects : (h, w) complex by model, aligned and cropped to the region; the truth, where known, as ``ground_truth``
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
) -> Comparison:
    """Align every arm to the truth and compute all metrics.

    Parameters
    ----------
    truth : (H, W) complex, or None where it is unknown: arms are flattened instead of aligned, and not scored
    region : rows and columns to evaluate, see :func:`ptycho.evaluation.alignment.evaluated_region`
    registration_max_px : see :func:`ptycho.evaluation.alignment.align`
    custom : further metrics, by name, see :mod:`ptycho.evaluation.custom`
    pixel_size_m : of the object, metres; None leaves ``half_period_nm`` empty

    Raises
    ------
    InputError : an arm's object has another shape than the truth, or two arms one name

    Notes
    -----
    Amplitudes are compared as they are after scaling. For the phase, metrics are given the truth's phase and
    the truth's phase plus the aligned difference, so that wraps do not count. An arm that is not finite in
    the region is ``failed`` and its metrics are NaN; one that is ``ok`` but nearly constant is ``collapsed``.
    Without a truth all metrics are NaN, and an arm that would be ``ok`` is ``no_truth``.
    ``frc50_at_nyquist`` is 1 where the curve never fell below 0.5, ``registration_refused`` where the best
    match lay out of bounds or there was none.
    """
    names = [arm.model for arm in arms]
    if len({*names, TRUTH}) <= len(names):
        raise InputError(f"arms are named {names}: each name once only, and none {TRUTH}")
    if truth is None:
        return _unscored(arms, region, custom)
    metrics = {**METRICS, **custom}
    rows: list[dict[str, Any]] = []
    curves: list[pd.DataFrame] = []
    objects: dict[str, ComplexArray] = {TRUTH: truth[region]}
    for arm in arms:
        aligned = align(arm.object, truth, region, registration_max_px)
        status = _status(arm, region, aligned.truth)
        finite = bool(np.isfinite(aligned.prediction).all())
        parts = _parts(aligned) if finite else {}
        refused = finite and registration_max_px > 0 and not aligned.registered
        scores = [*_scores(parts, metrics), *_values(aligned, arm, refused=refused)]
        rows += [{"model": arm.model, **score, "status": status} for score in scores]
        curves += [_curve(arm.model, part, *images, pixel_size_m) for part, images in parts.items()]
        objects[arm.model] = aligned.prediction if finite else arm.object[region]
    frc_curves = pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=FRC_COLUMNS)
    return Comparison(_table(rows), frc_curves, objects, region)


def _unscored(arms: Sequence[Arm], region: Region, custom: Mapping[str, Metric]) -> Comparison:
    """Return the arms as they can be looked at: nothing to align them to, nor to score them by."""
    rows: list[dict[str, Any]] = []
    objects: dict[str, ComplexArray] = {}
    for arm in arms:
        image, status = arm.object[region], _status(arm, region, None)
        scores = [
            *_scores({}, {**METRICS, **custom}),
            {"metric": "computation_time_s", "value": arm.computation_time_s},
        ]
        rows += [{"model": arm.model, **score, "status": status} for score in scores]
        objects[arm.model] = flattened(image).astype(np.complex64) if np.isfinite(image).all() else image
    return Comparison(_table(rows), pd.DataFrame(columns=FRC_COLUMNS), objects, region)


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(("amplitude", "phase", "value"), float))


def _parts(aligned: Aligned) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Return target and prediction, (h, w) float64 each, of amplitude and phase (rad)."""
    amplitude = np.abs(aligned.truth).astype(float), np.abs(aligned.prediction).astype(float)
    phase = np.angle(aligned.truth).astype(float)
    return {"amplitude": amplitude, "phase": (phase, phase + aligned.phase_difference)}


def _scores(parts: dict[str, tuple[FloatArray, FloatArray]], metrics: Mapping[str, Metric]) -> list[dict[str, Any]]:
    """Return a row for each metric, with NaN where there are no images, and one that marks FRC at Nyquist."""
    rows = [
        {"metric": name, **{part: metric(*images) for part, images in parts.items()}}
        for name, metric in metrics.items()
    ]
    uncrossed = {part: float(not crossing(frc_curve(*images), 0.5).crossed) for part, images in parts.items()}
    return [*rows, {"metric": "frc50_at_nyquist", **uncrossed}]


def _values(aligned: Aligned, arm: Arm, *, refused: bool) -> list[dict[str, Any]]:
    """Return a row for each quantity that has one value for the whole object."""
    values = {
        "registration_offset_dy": aligned.offset_dy,
        "registration_offset_dx": aligned.offset_dx,
        "computation_time_s": arm.computation_time_s,
        "amplitude_scale": aligned.amplitude_scale,
        "phase_offset_rad": aligned.phase_offset_rad,
        "phase_slope_y": aligned.phase_slope_y,
        "phase_slope_x": aligned.phase_slope_x,
        "registration_refused": float(refused),
    }
    return [{"metric": name, "value": value} for name, value in values.items()]


def _curve(
    model: str, part: str, target: FloatArray, prediction: FloatArray, pixel_size_m: float | None
) -> pd.DataFrame:
    curve = frc_curve(target, prediction)
    pixel_nm = np.nan if pixel_size_m is None else pixel_size_m * 1e9
    return pd.DataFrame(
        {
            "model": model,
            "part": part,
            "ring_px": curve.rings_px,
            "cycles_per_px": curve.cycles_per_px,
            "half_period_nm": pixel_nm / (2 * curve.cycles_per_px),
            "correlation": curve.correlation,
        }
    )


def _status(arm: Arm, region: Region, target: ComplexArray | None) -> str:
    if arm.status != "ok":
        return arm.status
    prediction = arm.object[region]
    if not np.isfinite(prediction).all():
        logger.warning("%s: NaN or infinite values within the evaluated region: failed", arm.model)
        return "failed"
    if target is None:
        return NO_TRUTH
    found, expected = contrast(prediction), contrast(target)
    if found < COLLAPSED_CONTRAST * expected:
        logger.warning("%s: contrast %.2g where the truth has %.2g: collapsed", arm.model, found, expected)
        return "collapsed"
    return "ok"


def flattened(image: ComplexArray) -> ComplexArray:
    """Return a finite complex image, (h, w), its mean phase and phase plane divided out."""
    residual, _ = without_plane(np.angle(image))
    return np.abs(image) * np.exp(1j * residual)


def contrast(image: ComplexArray) -> float:
    """Return how much a complex image, (h, w), varies once its phase plane is removed: 0 (constant) to 1.

    For weak contrast its square is the relative variance of the amplitude plus the variance of the phase.
    """
    flat = flattened(image)
    power = np.mean(np.abs(flat) ** 2)
    return float(np.std(flat) / np.sqrt(power)) if power > 0 else 0.0
