"""Figure of a trial: the ground truth, where it is known, and the models side by side, with their errors.

Objects come aligned to the ground truth: cropped to the evaluated region, amplitude scaled, phase plane removed.
Without a ground truth the models are shown without errors.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ptycho.config.schema import PlotsConfig
from ptycho.plotting.frc import draw_small
from ptycho.plotting.object_panels import (
    PANEL_IN,
    WARNING_COLOR,
    checked_objects,
    draw_panel,
    draw_scale_bar,
    failure_of,
    models_shown,
    note_missing_truth,
    panel_grid,
    scale_references,
    scores,
    shape_of,
)
from ptycho.plotting.scales import (
    Image,
    Object,
    Scale,
    amplitude_scale,
    error_scale,
    phase_error,
    phase_scale,
    shown_phase,
)
from ptycho.plotting.style import style
from ptycho.results.schema import TRUTH, model_label

SCAN_COLORS = {"training": "#ee9944", "test": "#4477aa"}


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
    named = checked_objects(objects)
    truth, kinds, shape = named.get(TRUTH), models_shown(named, metrics), shape_of(named)
    images = {kind: _images(named.get(kind), truth) for kind in kinds}
    shown = [image for image in images.values() if image is not None]
    references = scale_references(named, metrics) or list(named.values())
    scales = [phase_scale(*references), amplitude_scale(references)]
    if truth is not None:
        scales.append(error_scale("|phase error| (rad)", [image[2] for image in shown]))
        scales.append(error_scale("|amplitude error|", [image[3] for image in shown]))
    with style(plots):
        first = 0 if truth is None else 1
        figure, axes = panel_grid(shape, len(scales), first + len(kinds), PANEL_IN)
        for column, kind in zip(axes.T[first:], kinds, strict=True):
            _draw_column(column, images[kind], scales, shape)
            _head_column(column, metrics, kind)
        if truth is None:
            note_missing_truth(figure)
        else:
            _draw_column(axes[:2, 0], [np.angle(truth), np.abs(truth)], scales[:2], shape)
            axes[0, 0].set_title("Ground truth", fontweight="bold")
            draw_small(axes[2, 0], frc_curves, plots, shape)
            _map(axes[3, 0], scan_px, region_px, shape)
        draw_scale_bar(axes[0], shape)
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


def _draw_column(
    axes: npt.NDArray[Any], images: list[Image] | None, scales: list[Scale], shape: tuple[int, ...]
) -> None:
    """Draw the images of a model, each on its scale."""
    for row, scale in enumerate(scales):
        draw_panel(axes[row], None if images is None else images[row], scale, shape)


def _head_column(axes: npt.NDArray[Any], metrics: pd.DataFrame, kind: str) -> None:
    """Write name, failure and scores of a model to its column of panels."""
    failure = failure_of(metrics, kind)
    color = WARNING_COLOR if failure else "black"
    heading = model_label(kind) + (f" ({failure})" if failure else "")
    axes[0].set_title(heading, fontweight="bold", color=color)
    for row, part in enumerate(("phase", "amp")):
        axes[row].set_xlabel(scores(metrics, kind, part, ("rmse", "ssim")), fontsize=8)
        if len(axes) > row + 2:
            axes[row + 2].set_xlabel(scores(metrics, kind, part, ("psnr", "frc50")), fontsize=8)


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
    axes.spines[:].set_visible(False)  # a scan is not as wide as its panel
    axes.set_title("Positions", fontsize=8, pad=2)
    axes.set_xlabel("box: evaluated region", fontsize=7, labelpad=2)
    axes.legend(
        fontsize=5.5, loc="upper right", frameon=False, handletextpad=0, borderpad=0, labelspacing=0.15, markerscale=2
    )
