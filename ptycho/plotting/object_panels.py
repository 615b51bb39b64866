"""Panels of reconstructed objects, which the figures of a trial, of a size and of a study share.

Objects come aligned to the ground truth: cropped to the evaluated region, amplitude scaled, phase plane removed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke

from ptycho.errors import InputError
from ptycho.plotting.scales import Image, Object, Scale
from ptycho.results.schema import FAILURES, PART_COLUMNS, TRUTH, describe, model_type, ordered_models

PANEL_IN = 1.9  # width of a panel, inches
WARNING_COLOR = "#b2182b"
NO_TRUTH_NOTE = "not compared with a ground truth: no error metrics"


def checked_objects(objects: Mapping[str, Object]) -> dict[str, Object]:
    """Return the objects, complex (h, w), by ``ground_truth`` and model type; NaN where the scan does not cover.

    Raises
    ------
    InputError : none at all, not complex, of several shapes, or a truth that is not finite
    """
    if not objects:
        raise InputError("no object to show: the reconstructions are missing; run the comparison again")
    named = {model_type(name): array for name, array in objects.items()}
    for name, array in named.items():
        if array.ndim != 2 or array.shape != shape_of(named) or not np.iscomplexobj(array):
            raise InputError(f"object {name} is {array.dtype} {array.shape}, expected complex {shape_of(named)}")
    if TRUTH in named and not np.isfinite(named[TRUTH]).all():
        raise InputError(f"object {TRUTH} holds NaN or infinite values")
    return {name: array if name == TRUTH else _covered(array) for name, array in named.items()}


def _covered(array: Object) -> Object:
    """Return a reconstruction with NaN, which is drawn blank, where it is 0: the scan does not cover these pixels."""
    return np.where(array == 0, np.nan, array) if array.any() else array


def shape_of(named: Mapping[str, Object]) -> tuple[int, ...]:
    """Return the shape of the ground truth, or without one of the first object."""
    return named.get(TRUTH, next(iter(named.values()))).shape


def scale_references(named: Mapping[str, Object], metrics: pd.DataFrame) -> list[Object]:
    """Return the objects that set the scales: the truth, or where it is unknown the models that did not fail."""
    names = [TRUTH] if TRUTH in named else [kind for kind in named if not failure_of(metrics, kind)]
    return [named[name] for name in names]


def models_shown(named: Mapping[str, Object], metrics: pd.DataFrame) -> list[str]:
    """Return every model with an object or metrics, so that one that failed keeps its panel."""
    return ordered_models([*(set(named) - {TRUTH}), *metrics["model"].map(model_type)])


def _rows_of(metrics: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return the rows of a tidy table that are about a model."""
    return metrics[metrics["model"].map(model_type) == kind]


def scores(metrics: pd.DataFrame, kind: str, part: str, names: Sequence[str]) -> str:
    """Return e.g. ``RMSE 0.041 rad, SSIM 0.951`` from a tidy table, without what it lacks.

    ``kind`` is a model type, ``part`` amp or phase, ``names`` are metrics.
    """
    rows = _rows_of(metrics, kind).set_index("metric")[PART_COLUMNS[part]]
    words = []
    for name in (name for name in names if np.isfinite(rows.get(name, np.nan))):
        bound = "≥ " if name == "frc50" and rows.get("frc50_at_nyquist", 0) == 1 else ""  # Nyquist
        words.append(f"{describe(name).label} {bound}{describe(name).value(rows[name], part)}")
    return ", ".join(words)


def failure_of(metrics: pd.DataFrame, kind: str) -> str:
    """Return the status of a model's rows where it is a failure, else nothing."""
    return next((status for status in _rows_of(metrics, kind)["status"] if status in FAILURES), "")


def draw_panel(axes: Axes, image: Image | None, scale: Scale, shape: tuple[int, ...]) -> None:
    """Draw an image, (h, w); or where it is None or not finite, write in a panel of ``shape`` that there is none."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if image is not None and np.isfinite(image).any():
        scale.show(axes, image)
    else:
        axes.set(facecolor="0.93", box_aspect=shape[0] / shape[1])
        axes.text(0.5, 0.5, "no reconstruction", transform=axes.transAxes, ha="center", color=WARNING_COLOR)


def draw_scale_bar(row: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    """Draw a bar of a round number of pixels, about a quarter of a panel's width, on the first that shows an image."""
    height, width = shape
    length = max(n * 10**power for power in range(5) for n in (1, 2, 5) if n * 10**power <= max(width / 3, 1))
    look: dict[str, Any] = {"color": "white", "path_effects": [withStroke(linewidth=3.5, foreground="black")]}
    x, y = 0.05 * width, 0.94 * height
    for axes in [panel for panel in row if panel.images][:1]:
        axes.plot([x, x + length], [y, y], linewidth=2, **look)
        axes.text(x + length / 2, y - 0.03 * height, f"{length} px", ha="center", va="bottom", fontsize=8, **look)


def panel_grid(shape: tuple[int, ...], rows: int, columns: int, width_in: float) -> tuple[Figure, npt.NDArray[Any]]:
    """Return a figure and its axes, (rows, columns), for images of ``shape``.

    Each panel has the area of a square of ``width_in`` inches, whatever its aspect.
    """
    aspect = float(np.clip(np.sqrt(shape[0] / shape[1]), 0.5, 2))
    size = (columns * width_in / aspect + 0.9, rows * (width_in * aspect + 0.2) + 0.6)
    engine = ConstrainedLayoutEngine(compress=True, w_pad=0.03, h_pad=0.04, wspace=0.01, hspace=0.01)
    figure = Figure(figsize=size, layout=engine)
    return figure, figure.subplots(rows, columns, squeeze=False)


def note_missing_truth(figure: Figure) -> None:
    """Write below the panels that there is no ground truth."""
    figure.supxlabel(NO_TRUTH_NOTE, fontsize=8, color=WARNING_COLOR)
