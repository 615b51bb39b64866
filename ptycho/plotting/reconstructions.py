"""Figures of reconstructed objects: the ground truth, where it is known, and the models side by side.

Objects come aligned to the ground truth: cropped to the evaluated region, amplitude scaled, phase plane removed.
Without a ground truth the models are shown without errors.
"""

import itertools
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
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from ptycho.config.schema import PlotsConfig
from ptycho.errors import InputError
from ptycho.plotting.frc import draw_small
from ptycho.plotting.style import UNTRAINED, style
from ptycho.results import layout
from ptycho.results.schema import FAILURES, PART_COLUMNS, TRUTH, describe, model_label, model_type, ordered_models

PANEL_IN = 1.9  # width of a panel, inches
CYCLIC_FROM = 0.9 * 2 * np.pi  # phase range, radians, from which the two ends of the scale must meet
WARNING_COLOR = "#b2182b"
SCAN_COLORS = {"training": "#ee9944", "test": "#4477aa"}
NO_TRUTH_NOTE = "no ground truth: no error metrics"
Image = npt.NDArray[np.floating[Any]]
Object = npt.NDArray[Any]  # (h, w) complex


@dataclass(frozen=True)
class Scale:
    """Colour scale of one quantity, shared by all its panels: label, colour map, lowest and highest value."""

    label: str
    cmap: str
    low: float
    high: float

    def show(self, axes: Axes, image: Image) -> None:
        """Draw an image, (h, w), in these colours."""
        axes.imshow(image, cmap=self.cmap, vmin=self.low, vmax=self.high, interpolation="nearest")

    def bar(self, figure: Figure, axes: npt.NDArray[Any]) -> None:
        """Add one colour bar to the right of a block of panels."""
        mappable = ScalarMappable(Normalize(self.low, self.high), self.cmap)
        bar = figure.colorbar(mappable, ax=axes, fraction=0.05, pad=0.015, aspect=16 * np.atleast_2d(axes).shape[0])
        bar.set_label(self.label)
        bar.outline.set_visible(False)
        bar.locator = MaxNLocator(5)
        bar.update_ticks()


def phase_error(prediction: Object, truth: Object) -> Image:
    """Return the angle of prediction times conjugate truth, (h, w), radians in (-pi, pi]."""
    return np.angle(prediction * np.conj(truth))


def shown_phase(prediction: Object, truth: Object | None) -> Image:
    """Return the true phase plus the error of the prediction, (h, w), radians: no wraps that the truth lacks.

    Where the true phase itself spans nearly 2 pi, the sum is wrapped again; without a truth it is the phase itself.
    """
    if truth is None:
        return np.angle(prediction)
    angle = np.angle(truth)
    total = angle + phase_error(prediction, truth)
    return np.angle(np.exp(1j * total)) if _span([angle]) > CYCLIC_FROM else total


def _range(images: list[Image], low: float, high: float) -> tuple[float, float]:
    """Return two percentiles of the finite pixels, slightly apart where the images are flat."""
    values = np.concatenate([np.empty(0), *(image[np.isfinite(image)] for image in images)])
    start, stop = np.percentile(values, (low, high)) if values.size else (0.0, 1.0)
    return (float(start), float(stop)) if stop - start > 1e-6 else (float(start) - 0.05, float(start) + 0.05)


def _span(images: list[Image]) -> float:
    """Return the range of the values without a few outliers."""
    low, high = _range(images, 0.1, 99.9)
    return high - low


def phase_scale(*references: Object) -> Scale:
    """Return the colour scale of phases, rad: cyclic only where those of the references span nearly 2 pi."""
    angles = [np.angle(image) for image in references]
    if _span(angles) > CYCLIC_FROM:
        return Scale("phase (rad)", "twilight", -np.pi, np.pi)
    return Scale("phase (rad)", "viridis", *_range(angles, 0.1, 99.9))


def _amplitude_scale(references: Sequence[Object]) -> Scale:
    """Return the colour scale of amplitudes."""
    return Scale("amplitude", "gray", *_range([np.abs(image) for image in references], 0.1, 99.9))


def _error_scale(label: str, errors: list[Image]) -> Scale:
    """Return the colour scale of absolute errors, from 0."""
    return Scale(label, "magma", 0.0, _range(errors, 0, 99.5)[1])


def _named(objects: Mapping[str, Object]) -> dict[str, Object]:
    """Return the objects by ``ground_truth`` and model type, checked: complex, of one shape, truth finite."""
    if not objects:
        raise InputError("no object to show: the reconstructions are missing; run the comparison again")
    named = {model_type(name): array for name, array in objects.items()}
    for name, array in named.items():
        if array.ndim != 2 or array.shape != _shape(named) or not np.iscomplexobj(array):
            raise InputError(f"object {name} is {array.dtype} {array.shape}, expected complex {_shape(named)}")
    if TRUTH in named and not np.isfinite(named[TRUTH]).all():
        raise InputError(f"object {TRUTH} holds NaN or infinite values")
    return {name: array if name == TRUTH else _covered(array) for name, array in named.items()}


def _covered(array: Object) -> Object:
    """Return a reconstruction with NaN, which is drawn blank, where it is 0: the scan does not cover these pixels."""
    return np.where(array == 0, np.nan, array) if array.any() else array


def _shape(named: Mapping[str, Object]) -> tuple[int, ...]:
    """Return the shape of the ground truth, or without one of the first object."""
    return named.get(TRUTH, next(iter(named.values()))).shape


def _references(named: Mapping[str, Object], metrics: pd.DataFrame) -> list[Object]:
    """Return the objects that set the scales: the truth, or where it is unknown the models that did not fail."""
    names = [TRUTH] if TRUTH in named else [kind for kind in named if not _failure(metrics, kind)]
    return [named[name] for name in names]


def _models(named: Mapping[str, Object], metrics: pd.DataFrame) -> list[str]:
    """Return every model with an object or metrics, so that one that failed keeps its panel."""
    return ordered_models([*(set(named) - {TRUTH}), *metrics["model"].map(model_type)])


def _rows_of(metrics: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return the rows of a tidy table that are about a model."""
    return metrics[metrics["model"].map(model_type) == kind]


def _scores(metrics: pd.DataFrame, kind: str, part: str, names: Sequence[str]) -> str:
    """Return e.g. ``RMSE 0.041 rad, SSIM 0.951`` from a tidy table, without what it lacks."""
    rows = _rows_of(metrics, kind).set_index("metric")[PART_COLUMNS[part]]
    words = []
    for name in (name for name in names if np.isfinite(rows.get(name, np.nan))):
        bound = "≥ " if name == "frc50" and rows.get("frc50_at_nyquist", 0) == 1 else ""  # Nyquist
        words.append(f"{describe(name).label} {bound}{describe(name).value(rows[name], part)}")
    return ", ".join(words)


def _failure(metrics: pd.DataFrame, kind: str) -> str:
    """Return the status of a model's rows where it is a failure, else nothing."""
    return next((status for status in _rows_of(metrics, kind)["status"] if status in FAILURES), "")


def _panel(axes: Axes, image: Image | None, scale: Scale, shape: tuple[int, ...]) -> None:
    """Draw an image, or say that there is none."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if image is not None and np.isfinite(image).any():
        scale.show(axes, image)
    else:
        axes.set(facecolor="0.93", box_aspect=shape[0] / shape[1])
        axes.text(0.5, 0.5, "no reconstruction", transform=axes.transAxes, ha="center", color=WARNING_COLOR)


def _scale_bar(row: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    """Draw a bar of a round number of pixels, about a quarter of a panel's width, on the first that shows an image."""
    height, width = shape
    length = max(n * 10**power for power in range(5) for n in (1, 2, 5) if n * 10**power <= max(width / 3, 1))
    look: dict[str, Any] = {"color": "white", "path_effects": [withStroke(linewidth=3.5, foreground="black")]}
    x, y = 0.05 * width, 0.94 * height
    for axes in [panel for panel in row if panel.images][:1]:
        axes.plot([x, x + length], [y, y], linewidth=2, **look)
        axes.text(x + length / 2, y - 0.03 * height, f"{length} px", ha="center", va="bottom", fontsize=8, **look)


def _grid(shape: tuple[int, ...], rows: int, columns: int, width_in: float) -> tuple[Figure, npt.NDArray[Any]]:
    """Return a figure and its axes, panels of the area of a square of ``width_in`` whatever their aspect."""
    aspect = float(np.clip(np.sqrt(shape[0] / shape[1]), 0.5, 2))
    size = (columns * width_in / aspect + 0.9, rows * (width_in * aspect + 0.2) + 0.6)
    engine = ConstrainedLayoutEngine(compress=True, w_pad=0.03, h_pad=0.04, wspace=0.01, hspace=0.01)
    figure = Figure(figsize=size, layout=engine)
    return figure, figure.subplots(rows, columns, squeeze=False)


def comparison_figure(
    objects: Mapping[str, Object],
    metrics: pd.DataFrame,
    title: str,
    plots: PlotsConfig,
    region_px: tuple[int, int, int, int] | None = None,
    *,
    frc_curves: pd.DataFrame | None = None,
    scan_px: Mapping[str, npt.NDArray[np.float64]] | None = None,
) -> Figure:
    """Show phase and amplitude of the ground truth, and of each model with the absolute errors of both.

    Below the ground truth, which has no error, follow the FRC curves and a map of the scan. Without a ground truth only
    the models are shown.

    Parameters
    ----------
    objects : ``ground_truth``, if known, and the models by name (``pinn`` or ``PtychoPINN``): complex (h, w), aligned
    metrics : tidy, of this trial: model, metric, amplitude, phase, value, status. A model without an object has an
        empty column of panels that says so
    title : above the panels
    region_px : first and last row, first and last column of the region in the whole object, to be stated
    frc_curves : as :func:`frc_figure` takes them
    scan_px : scan positions (n, 2), (x, y) in pixels of the object, of the sets ``test`` and ``training``

    Raises
    ------
    InputError : no object, or objects that do not match each other
    """
    named = _named(objects)
    truth, kinds, shape = named.get(TRUTH), _models(named, metrics), _shape(named)
    images = {kind: _images(named.get(kind), truth) for kind in kinds}
    shown = [image for image in images.values() if image is not None]
    references = _references(named, metrics) or list(named.values())
    scales = [phase_scale(*references), _amplitude_scale(references)]
    if truth is not None:
        scales.append(_error_scale("|phase error| (rad)", [image[2] for image in shown]))
        scales.append(_error_scale("|amplitude error|", [image[3] for image in shown]))
    with style(plots):
        first = 0 if truth is None else 1
        figure, axes = _grid(shape, len(scales), first + len(kinds), PANEL_IN)
        for column, kind in zip(axes.T[first:], kinds, strict=True):
            _draw_column(column, images[kind], scales, shape)
            _head_column(column, metrics, kind)
        if truth is None:
            _note_missing_truth(figure)
        else:
            _draw_column(axes[:2, 0], [np.angle(truth), np.abs(truth)], scales[:2], shape)
            axes[0, 0].set_title("Ground truth", fontweight="bold")
            draw_small(axes[2, 0], frc_curves, plots, shape)
            _map(axes[3, 0], scan_px, region_px, shape)
        _scale_bar(axes[0], shape)
        for row, scale in zip(axes, scales, strict=True):
            scale.bar(figure, row)
        _state_region(axes[:2, 0], shape, region_px)
        figure.suptitle(title, fontsize="medium")
    return figure


def _images(prediction: Object | None, truth: Object | None) -> list[Image] | None:
    """Return phase, amplitude and, where the truth is known, the absolute errors of both, each (h, w)."""
    if prediction is None:
        return None
    errors = () if truth is None else (phase_error(prediction, truth), np.abs(prediction) - np.abs(truth))
    return [shown_phase(prediction, truth), np.abs(prediction), *map(np.abs, errors)]


def _note_missing_truth(figure: Figure) -> None:
    """Write below the panels that there is no ground truth."""
    figure.supxlabel(NO_TRUTH_NOTE, fontsize=8, color=WARNING_COLOR)


def _draw_column(
    axes: npt.NDArray[Any], images: list[Image] | None, scales: list[Scale], shape: tuple[int, ...]
) -> None:
    """Draw the images of a model, each on its scale."""
    for row, scale in enumerate(scales):
        _panel(axes[row], None if images is None else images[row], scale, shape)


def _head_column(axes: npt.NDArray[Any], metrics: pd.DataFrame, kind: str) -> None:
    """Write name, failure and scores of a model to its column of panels."""
    failure = _failure(metrics, kind)
    color = WARNING_COLOR if failure else "black"
    heading = model_label(kind) + (f" ({failure})" if failure else "")
    axes[0].set_title(heading, fontweight="bold", color=color)
    for row, part in enumerate(("phase", "amp")):
        axes[row].set_xlabel(_scores(metrics, kind, part, ("rmse", "ssim")), fontsize=8)
        if len(axes) > row + 2:
            axes[row + 2].set_xlabel(_scores(metrics, kind, part, ("psnr", "frc50")), fontsize=8)


def _state_region(axes: npt.NDArray[Any], shape: tuple[int, ...], region_px: tuple[int, ...] | None) -> None:
    """Write size and place of the evaluated region below the panels."""
    axes[0].set_xlabel(f"region of {shape[0]} × {shape[1]} px", fontsize=8, color="0.35")
    if region_px is not None:
        axes[1].set_xlabel("rows {} to {}, columns {} to {}".format(*region_px), fontsize=8, color="0.35")


def _map(
    axes: Axes,
    scan_px: Mapping[str, npt.NDArray[np.float64]] | None,
    region_px: tuple[int, ...] | None,
    shape: tuple[int, ...],
) -> None:
    """Draw the scan positions and the evaluated region on the object; nothing without positions."""
    if not scan_px:
        axes.set_axis_off()
        return
    words = []
    for name, color in SCAN_COLORS.items():
        if name in scan_px:
            x, y = scan_px[name].T
            axes.scatter(x, y, s=np.clip(2000 / len(x), 0.5, 6), color=color, linewidths=0, rasterized=True, label=name)
            words.append(name)
    if region_px is not None:
        top, bottom, left, right = region_px
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color="black", linewidth=1))
    axes.set(xticks=[], yticks=[], box_aspect=shape[0] / shape[1])
    axes.set_aspect("equal", adjustable="datalim")
    axes.invert_yaxis()
    axes.set_title("Positions", fontsize=8, pad=2)
    axes.set_xlabel("box: evaluated region", fontsize=7, labelpad=2)
    axes.legend(fontsize=5.5, loc="upper right", handletextpad=0, borderpad=0.2, labelspacing=0.15, markerscale=2)


def size_overview_figure(
    objects_by_trial: Mapping[int, Mapping[str, Object]],
    metrics: pd.DataFrame,
    title: str,
    plots: PlotsConfig,
) -> Figure:
    """Show the phase of the ground truth, where it is known, and of each model, a row for each trial.

    Parameters
    ----------
    objects_by_trial : for each trial, objects as :func:`comparison_figure` takes them
    metrics : tidy with a column ``trial``: the ``comparison_metrics.csv`` of the size
    title : above the panels

    Raises
    ------
    InputError : no trial, or objects of a trial that do not match each other
    """
    named = {trial: _named(objects) for trial, objects in sorted(objects_by_trial.items())}
    if not named:
        raise InputError("no trial to show: the size has no reconstructions; run its comparisons first")
    kinds = ordered_models(kind for objects in named.values() for kind in _models(objects, metrics))
    rows = {trial: metrics[metrics["trial"] == trial] for trial in named}
    references = [image for trial, objects in named.items() for image in _references(objects, rows[trial])]
    scale = phase_scale(*(references or [image for objects in named.values() for image in objects.values()]))
    truthful, shape = any(TRUTH in objects for objects in named.values()), _shape(next(iter(named.values())))
    names = [TRUTH, *kinds] if truthful else kinds
    with style(plots):
        figure, axes = _grid(shape, len(named), len(names), 0.85 * PANEL_IN)
        for row, (trial, objects) in zip(axes, named.items(), strict=True):
            _draw_row(row, objects, names, rows[trial], scale)
            row[0].set_ylabel(f"Trial {trial}")
        for panel, name in zip(axes[0], names, strict=True):
            panel.set_title("Ground truth" if name == TRUTH else model_label(name), fontweight="bold")
        _scale_bar(axes[0], shape)
        scale.bar(figure, axes)
        if not truthful:
            _note_missing_truth(figure)
        figure.suptitle(title, fontsize="medium")
    return figure


def _draw_row(
    axes: npt.NDArray[Any],
    objects: Mapping[str, Object],
    names: list[str],
    metrics: pd.DataFrame,
    scale: Scale,
) -> None:
    """Draw the phases of a trial in a row, with scores and failures below."""
    truth, shape = objects.get(TRUTH), _shape(objects)
    for panel, kind in zip(axes, names, strict=True):
        _panel(panel, shown_phase(objects[kind], truth) if kind in objects else None, scale, shape)
        failure = _failure(metrics, kind)
        words = [_scores(metrics, kind, "phase", ("rmse",)), failure]
        panel.set_xlabel(", ".join(filter(None, words)), fontsize=8, color=WARNING_COLOR if failure else "black")


def strip_figure(
    objects_by_size: Mapping[int, Mapping[str, Object]],
    metrics: pd.DataFrame,
    title: str,
    plots: PlotsConfig,
) -> Figure:
    """Show how the phases change with the training images: a row for each model, a column for each size.

    Parameters
    ----------
    objects_by_size : of one trial of each size, as :func:`comparison_figure` takes them
    metrics : tidy with a column ``train_size``, of these trials
    title : above the panels

    Raises
    ------
    InputError : no size, or objects that do not match each other
    """
    named = {size: _named(objects) for size, objects in sorted(objects_by_size.items())}
    if not named:
        raise InputError(f"nothing to show: no {layout.RECONSTRUCTIONS} of any size; run the comparisons first")
    found = ordered_models(kind for objects in named.values() for kind in _models(objects, metrics))
    kinds = [kind for kind in found if kind not in UNTRAINED] or found
    rows = {size: metrics[metrics["train_size"] == size] for size in named}
    references = [image for size, objects in named.items() for image in _references(objects, rows[size])]
    scale = phase_scale(*(references or [image for objects in named.values() for image in objects.values()]))
    truths = [objects[TRUTH] for objects in named.values() if TRUTH in objects]
    shape = _shape(next(iter(named.values())))
    with style(plots):
        untrained = [kind for kind in found if kind not in kinds]  # below the truth: the same for every size
        figure, axes = _grid(shape, max(len(kinds), 1 + len(untrained)), len(named) + bool(truths), 0.85 * PANEL_IN)
        for line, kind in zip(axes, kinds, strict=True):
            for panel, (size, objects) in zip(line, named.items(), strict=False):
                _panel(panel, shown_phase(objects[kind], objects.get(TRUTH)) if kind in objects else None, scale, shape)
                failure = _failure(rows[size], kind)
                words = filter(None, [_scores(rows[size], kind, "phase", ("rmse",)), failure])
                panel.set_xlabel(", ".join(words), fontsize=8, color=WARNING_COLOR if failure else "black")
            line[0].set_ylabel(model_label(kind), fontweight="bold")
        for panel, size in zip(axes[0], named, strict=False):
            panel.set_title(f"{size} images", fontsize="medium")
        if truths:
            _panel(axes[0, -1], np.angle(truths[-1]), scale, shape)
            axes[0, -1].set_title("Ground truth", fontsize="medium", fontweight="bold")
            last = max(named)
            for panel, kind in itertools.zip_longest(axes[1:, -1], untrained):
                if kind is None or kind not in named[last]:
                    panel.set_axis_off()
                    continue
                _panel(panel, shown_phase(named[last][kind], truths[-1]), scale, shape)
                panel.set_title(model_label(kind), fontsize="medium", fontweight="bold")
                panel.set_xlabel(_scores(rows[last], kind, "phase", ("rmse",)), fontsize=8)
        else:
            _note_missing_truth(figure)
        _scale_bar(axes[0], shape)
        scale.bar(figure, axes)
        figure.suptitle(title, fontsize="medium")
    return figure
