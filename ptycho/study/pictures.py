"""Finished objects to figures: the truth and the models side by side.

Objects arrive aligned with the truth: cropped to the evaluated region, amplitude scaled, phase plane removed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from ptycho.config import PlotsConfig
from ptycho.errors import InputError
from ptycho.study.aggregation import PARTS, describe, model_label, model_type, ordered_models
from ptycho.study.figures import style

TRUTH = "ground_truth"
PANEL_IN = 1.9  # width of a panel, inches
CYCLIC_FROM = 0.9 * 2 * np.pi  # phase range, radians, from which the two ends of the scale must meet
WARNING_COLOR = "#b2182b"

Image = npt.NDArray[np.floating[Any]]
Object = npt.NDArray[Any]  # (h, w) complex


@dataclass(frozen=True)
class Scale:
    """Colours of one quantity, shared by all its panels."""

    label: str
    cmap: str
    low: float
    high: float

    def show(self, axes: Axes, image: Image) -> None:
        axes.imshow(image, cmap=self.cmap, vmin=self.low, vmax=self.high, interpolation="nearest")

    def bar(self, figure: Figure, axes: npt.NDArray[Any]) -> None:
        """Add one colour bar to the right of a block of panels; its ends say where values are cut off."""
        mappable = ScalarMappable(Normalize(self.low, self.high), self.cmap)
        bar = figure.colorbar(mappable, ax=axes, fraction=0.05, pad=0.015, aspect=16 * np.atleast_2d(axes).shape[0])
        bar.set_label(self.label)
        bar.outline.set_visible(False)
        bar.locator = MaxNLocator(5)
        bar.update_ticks()


def phase_error(prediction: Object, truth: Object) -> Image:
    """Return the angle of prediction times conjugate truth, (h, w), radians in (-pi, pi]."""
    return np.angle(prediction * np.conj(truth))


def shown_phase(prediction: Object, truth: Object) -> Image:
    """Return the truth's phase plus the prediction's error, (h, w), radians: no wraps that the truth lacks.

    Where the truth itself fills the circle, the sum is wrapped into it again.
    """
    angle = np.angle(truth)
    total = angle + phase_error(prediction, truth)
    return np.angle(np.exp(1j * total)) if np.ptp(angle) > CYCLIC_FROM else total


def _range(images: list[Image], low: float, high: float) -> tuple[float, float]:
    """Return two percentiles of the finite pixels, parted by a little where the images are flat."""
    values = np.concatenate([image[np.isfinite(image)].ravel() for image in images])
    start, stop = np.percentile(values, (low, high)) if values.size else (0.0, 1.0)
    return (float(start), float(stop)) if stop - start > 1e-6 else (float(start) - 0.05, float(start) + 0.05)


def phase_scale(truth: Object) -> Scale:
    """Return the scale of the phase row: cyclic only where the truth nearly fills the circle."""
    angle = np.angle(truth)
    if np.ptp(angle) > CYCLIC_FROM:
        return Scale("phase (rad)", "twilight", -np.pi, np.pi)
    return Scale("phase (rad)", "viridis", *_range([angle], 0.1, 99.9))


def _error_scale(label: str, errors: list[Image]) -> Scale:
    return Scale(label, "magma", 0.0, _range(errors, 0, 99.5)[1])


def _named(objects: Mapping[str, Object]) -> dict[str, Object]:
    """Return the objects by ``ground_truth`` and model type, checked: complex, of one shape, truth finite."""
    named = {model_type(name): array for name, array in objects.items()}
    if TRUTH not in named:
        raise InputError(f"objects {', '.join(objects) or 'none'}: {TRUTH} is missing, which the others are shown with")
    for name, array in named.items():
        if array.ndim != 2 or array.shape != named[TRUTH].shape or not np.iscomplexobj(array):
            raise InputError(f"object {name} is {array.dtype} {array.shape}, expected complex {named[TRUTH].shape}")
    if not np.isfinite(named[TRUTH]).all():
        raise InputError(f"object {TRUTH} holds NaN or infinite values")
    return named


def _models(named: Mapping[str, Object], metrics: pd.DataFrame) -> list[str]:
    """Return every model with an object or a row of metrics: one that failed keeps its column."""
    return ordered_models([*(set(named) - {TRUTH}), *metrics["model"].map(model_type)])


def _rows_of(metrics: pd.DataFrame, kind: str) -> pd.DataFrame:
    return metrics[metrics["model"].map(model_type) == kind]


def _scores(metrics: pd.DataFrame, kind: str, part: str, names: Sequence[str]) -> str:
    """Return e.g. ``RMSE 0.041 rad, SSIM 0.951`` from a tidy table, leaving out what it lacks."""
    rows = _rows_of(metrics, kind).set_index("metric")[{"amp": "amplitude", "phase": "phase"}[part]]
    words = []
    for name in names:
        if np.isfinite(rows.get(name, np.nan)):
            words.append(f"{describe(name).label} {describe(name).value(rows[name], part)}")
    return ", ".join(words)


def _failure(metrics: pd.DataFrame, kind: str) -> str:
    """Return the status of a model's rows where it is not ok, else nothing."""
    return next((status for status in _rows_of(metrics, kind)["status"] if status != "ok"), "")


def _panel(axes: Axes, image: Image | None, scale: Scale, shape: tuple[int, ...]) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if image is not None and np.isfinite(image).any():
        scale.show(axes, image)
    else:
        axes.set(facecolor="0.93", box_aspect=shape[0] / shape[1])
        axes.text(0.5, 0.5, "no reconstruction", transform=axes.transAxes, ha="center", color=WARNING_COLOR)


def _scale_bar(axes: Axes, shape: tuple[int, ...]) -> None:
    """Draw a bar of a round number of pixels, about a quarter of the panel's width."""
    height, width = shape
    length = max(n * 10**power for power in range(5) for n in (1, 2, 5) if n * 10**power <= max(width / 3, 1))
    look: dict[str, Any] = {"color": "white", "path_effects": [withStroke(linewidth=3.5, foreground="black")]}
    x, y = 0.05 * width, 0.94 * height
    axes.plot([x, x + length], [y, y], linewidth=2, **look)
    axes.text(x + length / 2, y - 0.03 * height, f"{length} px", ha="center", va="bottom", fontsize=8, **look)


def _grid(shape: tuple[int, ...], rows: int, columns: int, width_in: float) -> tuple[Figure, npt.NDArray[Any]]:
    """Return a figure and its axes, panels of the area of a square of ``width_in`` whatever their aspect."""
    aspect = float(np.clip(np.sqrt(shape[0] / shape[1]), 0.5, 2))
    size = (columns * width_in / aspect + 0.9, rows * (width_in * aspect + 0.2) + 0.6)
    engine = ConstrainedLayoutEngine(compress=True, w_pad=0.03, h_pad=0.04, wspace=0.01, hspace=0.01)
    figure = Figure(figsize=size, layout=engine)
    return figure, figure.subplots(rows, columns, squeeze=False)


# one trial -------------------------------------------------------------------------------------------------


def comparison_figure(
    objects: Mapping[str, Object],
    metrics: pd.DataFrame,
    title: str,
    plots: PlotsConfig,
    region_px: tuple[int, int, int, int] | None = None,
) -> Figure:
    """Show the truth and each model: phase, amplitude, and the size of both errors.

    Parameters
    ----------
    objects : ``ground_truth`` and the models by name (``pinn`` or ``PtychoPINN``): complex (h, w), aligned
    metrics : tidy, of this trial: model, metric, amplitude, phase, value, status. A model that is here and
        not among the objects keeps its column, which says so
    region_px : first and last row, first and last column of the region in the whole object, to be stated

    Raises
    ------
    InputError : no truth, or objects that do not match it
    """
    named = _named(objects)
    truth, kinds = named[TRUTH], _models(named, metrics)
    images = {kind: _images(named.get(kind), truth) for kind in kinds}
    shown = [image for image in images.values() if image is not None]
    scales = [
        phase_scale(truth),
        Scale("amplitude", "gray", *_range([np.abs(truth)], 0.1, 99.9)),
        _error_scale("|phase error| (rad)", [image[2] for image in shown]),
        _error_scale("|amplitude error|", [image[3] for image in shown]),
    ]
    with style(plots):
        figure, axes = _grid(truth.shape, 4, 1 + len(kinds), PANEL_IN)
        for row, image in enumerate((np.angle(truth), np.abs(truth))):
            _panel(axes[row, 0], image, scales[row], truth.shape)
        axes[0, 0].set_title("Ground truth", fontweight="bold")
        _scale_bar(axes[0, 0], truth.shape)
        for column, kind in enumerate(kinds, start=1):
            _draw_column(axes[:, column], images[kind], scales, truth.shape)
            _head_column(axes[:, column], metrics, kind)
        for row, scale in enumerate(scales):
            scale.bar(figure, axes[row])
        _state_region(axes[:2, 0], truth.shape, region_px)
        _write_scores(axes[2, 0], metrics, kinds, "phase")
        _write_scores(axes[3, 0], metrics, kinds, "amp")
        figure.suptitle(title, fontsize="medium")
    return figure


def _images(prediction: Object | None, truth: Object) -> list[Image] | None:
    """Return phase, amplitude, and the absolute errors of both, each (h, w)."""
    if prediction is None:
        return None
    amplitude_error = np.abs(np.abs(prediction) - np.abs(truth))
    return [
        shown_phase(prediction, truth),
        np.abs(prediction),
        np.abs(phase_error(prediction, truth)),
        amplitude_error,
    ]


def _draw_column(
    axes: npt.NDArray[Any], images: list[Image] | None, scales: list[Scale], shape: tuple[int, ...]
) -> None:
    for row, scale in enumerate(scales):
        _panel(axes[row], None if images is None else images[row], scale, shape)


def _head_column(axes: npt.NDArray[Any], metrics: pd.DataFrame, kind: str) -> None:
    failure = _failure(metrics, kind)
    color = WARNING_COLOR if failure else "black"
    heading = model_label(kind) + (f" ({failure})" if failure else "")
    axes[0].set_title(heading, fontweight="bold", color=color)
    for row, part in ((0, "phase"), (1, "amp")):
        axes[row].set_xlabel(_scores(metrics, kind, part, ("rmse", "ssim")), fontsize=8)


def _state_region(axes: npt.NDArray[Any], shape: tuple[int, ...], region_px: tuple[int, ...] | None) -> None:
    axes[0].set_xlabel(f"{shape[0]} × {shape[1]} px evaluated", fontsize=8, color="0.35")
    if region_px is not None:
        axes[1].set_xlabel("rows {} to {}, columns {} to {}".format(*region_px), fontsize=8, color="0.35")


def _write_scores(axes: Axes, metrics: pd.DataFrame, kinds: list[str], part: str) -> None:
    """Fill the cell that the truth, having no error, leaves empty."""
    scores = {model_label(kind): _scores(metrics, kind, part, ("psnr", "frc50")) for kind in kinds}
    lines = [PARTS[part], *(f"{name}\n{words}" for name, words in scores.items() if words)]
    axes.text(
        0, 0.5, "\n".join(lines), transform=axes.transAxes, va="center", fontsize=7.5, linespacing=1.5
    ).set_in_layout(False)
    axes.set_axis_off()


# one size --------------------------------------------------------------------------------------------------


def size_overview_figure(
    objects_by_trial: Mapping[int, Mapping[str, Object]],
    metrics: pd.DataFrame,
    title: str,
    plots: PlotsConfig,
) -> Figure:
    """Show the phase of the truth and of each model, a row a trial.

    Parameters
    ----------
    objects_by_trial : for each trial, objects as :func:`comparison_figure` takes them
    metrics : tidy with a column ``trial``: that size's ``comparison_metrics.csv``

    Raises
    ------
    InputError : no trial, or objects that do not match their truth
    """
    named = {trial: _named(objects) for trial, objects in sorted(objects_by_trial.items())}
    if not named:
        raise InputError("no trial to show: the size has no reconstructions; run its comparisons first")
    kinds = ordered_models(kind for objects in named.values() for kind in _models(objects, metrics))
    first = next(iter(named.values()))[TRUTH]
    scale = phase_scale(first)
    with style(plots):
        figure, axes = _grid(first.shape, len(named), 1 + len(kinds), 0.85 * PANEL_IN)
        for row, (trial, objects) in zip(axes, named.items(), strict=True):
            _draw_row(row, objects, kinds, metrics[metrics["trial"] == trial], scale)
            row[0].set_ylabel(f"Trial {trial}")
        for column, name in enumerate(["Ground truth", *map(model_label, kinds)]):
            axes[0, column].set_title(name, fontweight="bold")
        _scale_bar(axes[0, 0], first.shape)
        scale.bar(figure, axes)
        figure.suptitle(title, fontsize="medium")
    return figure


def _draw_row(
    axes: npt.NDArray[Any],
    objects: Mapping[str, Object],
    kinds: list[str],
    metrics: pd.DataFrame,
    scale: Scale,
) -> None:
    truth = objects[TRUTH]
    _panel(axes[0], np.angle(truth), scale, truth.shape)
    for panel, kind in zip(axes[1:], kinds, strict=True):
        _panel(panel, shown_phase(objects[kind], truth) if kind in objects else None, scale, truth.shape)
        failure = _failure(metrics, kind)
        words = [_scores(metrics, kind, "phase", ("rmse",)), failure]
        panel.set_xlabel(", ".join(filter(None, words)), fontsize=8, color=WARNING_COLOR if failure else "black")
