"""Figures of the spread over trials: maps beside the error of the mean, and how well the one predicts the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from ptycho.config.schema import PlotsConfig
from ptycho.plotting.object_panels import PANEL_IN, draw_panel, draw_scale_bar, panel_grid
from ptycho.plotting.scales import Object, Scale, amplitude_scale, error_scale, phase_scale
from ptycho.plotting.style import model_looks, style
from ptycho.results.schema import PART_COLUMNS, PARTS, Model, describe, models, ordered_models

MOST_PIXELS = 600  # of a side of a map; larger ones are thinned
PANEL_SIDE_IN = 2.7  # of a calibration curve
GREY = "0.45"
NOTHING = "no spread to show: it takes a ground truth,\nand three trials of a model that are ok"
Map = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _RootScale(Scale):
    """Colour scale from 0 whose colours follow the square root, so that small values are told apart, too."""

    @property
    def norm(self) -> PowerNorm:
        """The colours of the values."""
        return PowerNorm(0.5, self.low, self.high)

    def show(self, axes: Axes, image: npt.NDArray[Any]) -> None:
        """Draw an image, (h, w), in these colours."""
        axes.imshow(image, cmap=self.cmap, norm=self.norm, interpolation="nearest")

    def bar(self, figure: Figure, axes: npt.NDArray[Any]) -> None:
        """Add one colour bar to the right of a row of panels, for the panels of spread and error."""
        bar = figure.colorbar(ScalarMappable(self.norm, self.cmap), ax=axes, fraction=0.05, pad=0.015, aspect=16)
        bar.set_label(self.label, fontsize="small")
        bar.outline.set_visible(False)
        bar.locator = MaxNLocator(4)
        bar.update_ticks()
        bar.ax.tick_params(labelsize="small")


class _Part(Protocol):
    """Error of the mean and spread, (h, w) float64, and the pixels that count, (h, w) bool."""

    error: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]
    used: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Maps:
    """What is shown of a model of one size: thinned to a side of at most :data:`MOST_PIXELS`, (h, w).

    Parameters
    ----------
    mean : complex64, the mean object; NaN where the scan does not cover
    spread, error : float32 by ``amplitude`` and ``phase``: standard deviation over the trials, and absolute error of
        the mean; NaN in pixels that do not count
    """

    mean: Object
    spread: dict[str, Map]
    error: dict[str, Map]

    @classmethod
    def of(cls, mean: Object, parts: Mapping[str, Any]) -> "Maps":
        """Return the maps of a mean object, complex (h, w), and of the parts of its trials."""
        step = -(-max(mean.shape) // MOST_PIXELS)

        def thinned(part: _Part, image: npt.NDArray[np.float64]) -> Map:
            return np.where(part.used, image, np.nan)[::step, ::step].astype(np.float32)

        covered = parts["amplitude"].used
        return cls(
            np.where(covered, mean, np.nan)[::step, ::step].astype(np.complex64),
            {name: thinned(part, part.spread) for name, part in parts.items()},
            {name: thinned(part, np.abs(part.error)) for name, part in parts.items()},
        )


def maps_figure(maps: Mapping[int, Mapping[str, Maps]], table: pd.DataFrame, part: str, plots: PlotsConfig) -> Figure:
    """Show the mean over the trials, their spread and the error of the mean: a row for each size, of each model.

    Parameters
    ----------
    maps : by number of training images and arm; without any, the figure says so
    table : ``uncertainty.csv``, for the values below the panels
    part : ``amp`` or ``phase``

    Spread and error of a size share one colour scale, whose colours follow the square root.
    """
    arms = ordered_models(arm for found in maps.values() for arm in found)
    with style(plots):
        if not arms:
            return _empty_figure(plots)
        shape = next(iter(next(iter(maps.values())).values())).mean.shape
        figure, axes = panel_grid(shape, len(maps), 3 * len(arms), PANEL_IN)
        column, means = PART_COLUMNS[part], [one.mean for found in maps.values() for one in found.values()]
        scale = phase_scale(*means) if part == "phase" else amplitude_scale(means)
        for row, size in zip(axes, sorted(maps), strict=True):
            found = maps[size]
            images = [image for one in found.values() for image in (one.spread[column], one.error[column])]
            linear = error_scale("rad" if part == "phase" else "", images)  # the titles name what is shown
            errors = _RootScale(linear.label, linear.cmap, linear.low, linear.high)
            for index, arm in enumerate(arms):
                panels = row[3 * index : 3 * index + 3]
                one = found.get(arm)
                if one is None:
                    _draw_missing(panels, shape)
                    continue
                draw_panel(panels[0], np.angle(one.mean) if part == "phase" else np.abs(one.mean), scale, shape)
                draw_panel(panels[1], one.spread[column], errors, shape)
                draw_panel(panels[2], one.error[column], errors, shape)
                _label(panels, _rows(table, "all", column, size, arm), part)
            row[0].set_ylabel(f"{size} images")
            errors.bar(figure, row)
        colors = ScalarMappable(Normalize(scale.low, scale.high), scale.cmap)
        bar = figure.colorbar(colors, ax=axes, location="bottom", shrink=0.3, fraction=0.03, pad=0.01, aspect=30)
        bar.set_label(f"mean {scale.label}", fontsize="small")
        bar.outline.set_visible(False)
        _title(axes[0], arms)
        draw_scale_bar(axes[0], shape)
        figure.suptitle(
            f"{PARTS[part]}: mean over the trials, their spread, and the error of the mean", fontsize="medium"
        )
    return figure


def _draw_missing(panels: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    """Write in the first of some panels that the model has no spread; leave the others empty."""
    for panel in panels:
        panel.set(xticks=[], yticks=[], facecolor="0.95", box_aspect=shape[0] / shape[1])
        panel.spines[:].set_visible(False)
    panels[1].text(0.5, 0.5, "too few trials", transform=panels[1].transAxes, ha="center", fontsize=8, color=GREY)


def _label(panels: npt.NDArray[Any], rows: pd.DataFrame, part: str) -> None:
    """Write the number of trials and the root mean squares below the panels of a model."""
    total, rmse = rows.iloc[0], describe("rmse")
    words = [f"{total['trials']} trials", *(f"rms {rmse.value(total[key], part)}" for key in ("spread", "rmse_mean"))]
    for panel, word in zip(panels, words, strict=True):
        panel.set_xlabel(word, fontsize=8)


def _title(panels: npt.NDArray[Any], arms: Sequence[str]) -> None:
    """Write the names of the models and of what is shown above the first row of panels."""
    for index, arm in enumerate(arms):
        for panel, word in zip(panels[3 * index :], ("mean", "spread", "error of the mean"), strict=False):
            name = Model(arm).label if word == "mean" else ""
            panel.set_title(f"{name}\n{word}", fontsize="small", fontweight="bold" if name else "normal")


def calibration_figure(table: pd.DataFrame, plots: PlotsConfig) -> Figure:
    """Plot the error of the mean and of single trials against the spread, and the coverage against the images.

    Parameters
    ----------
    table : ``uncertainty.csv``; without any numbers, the figure says so

    A row each for amplitude and phase, a column for each model, one curve for each size, and the coverage at the right.
    """
    shown = table[table["row"] != "all"]
    known = models(shown) if len(shown) else {}
    with style(plots):
        if not known:
            return _empty_figure(plots)
        columns = len(known) + 1
        figure = Figure(figsize=(PANEL_SIDE_IN * columns, PANEL_SIDE_IN * 2 + 0.5), layout="constrained")
        axes = figure.subplots(len(PARTS), columns, squeeze=False)
        sizes = sorted(set(shown["train_size"]))
        colors = dict(zip(sizes, sns.color_palette("viridis_r", len(sizes) + 1)[1:], strict=True))
        for row, part in zip(axes, PARTS, strict=True):
            limits = _limits(_rows(shown, "bin", PART_COLUMNS[part]))
            for panel, (kind, model) in zip(row, known.items(), strict=False):
                curves = _rows(shown[shown["model_type"] == kind], "bin", PART_COLUMNS[part])
                _draw_calibration(panel, curves, colors, limits, part)
                name = model.label.replace(" (", "\n(")  # a variant below its model
                panel.set_title(f"{name}, {PARTS[part].lower()}", fontsize="small", fontweight="bold")
            row[0].set_ylabel(describe("rmse").axis_label(part), fontsize="small")
            _draw_coverage(row[-1], _rows(shown, "coverage", PART_COLUMNS[part]), known, plots)
            row[-1].set_title(f"Coverage, {PARTS[part].lower()}", fontsize="small", fontweight="bold")
        _legend(figure, colors, known, plots)
    return figure


def _rows(table: pd.DataFrame, row: str, part: str, size: int | None = None, arm: str | None = None) -> pd.DataFrame:
    """Return the rows of one kind and part, with a size and an arm those of the study itself of them."""
    found = table[(table["row"] == row) & (table["part"] == part)]
    if size is not None:
        found = found[(found["train_size"] == size) & (found["arm"] == arm) & (found["variant"] == "")]
    return found


def _limits(curves: pd.DataFrame) -> tuple[float, float]:
    """Return the common range of spread and errors, for axes that are both logarithmic."""
    values = curves[["spread", "rmse_mean", "rmse_trial"]].to_numpy(float)
    values = values[values > 0]
    return (0.8 * float(values.min()), 1.25 * float(values.max())) if values.size else (0.1, 1.0)


def _draw_calibration(
    axes: Axes, curves: pd.DataFrame, colors: Mapping[int, Any], limits: tuple[float, float], part: str
) -> None:
    """Draw a curve of each size: the error of the mean against the spread, and dotted that of single trials."""
    for size, rows in curves.groupby("train_size"):
        look = {"color": colors[int(str(size))], "linewidth": 1.3}
        axes.plot(rows["spread"], rows["rmse_mean"], marker="o", markersize=3.5, **look)
        axes.plot(rows["spread"], rows["rmse_trial"], linestyle=":", **look)
    for trials in sorted(set(curves["trials"].astype(int))):
        ends = np.array(limits)
        axes.plot(ends, ends * np.sqrt(1 + 1 / trials), color=GREY, linewidth=0.9, linestyle="--", zorder=0)
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits, box_aspect=1)
    axes.set_xlabel("spread of the trials" + (" (rad)" if part == "phase" else ""), fontsize="small")
    axes.tick_params(labelsize="x-small")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_coverage(axes: Axes, rows: pd.DataFrame, known: Mapping[str, Model], plots: PlotsConfig) -> None:
    """Draw the shares within 1 (circles) and 2 (squares) sigma against the training images, and those expected."""
    looks = model_looks(list(known), plots)
    for (kind, sigmas), line in rows.groupby(["model_type", "sigmas"]):
        marker = "o" if sigmas == 1 else "s"
        color = looks[str(kind)]["color"]
        axes.plot(line["train_size"], line["coverage"], color=color, marker=marker, markersize=4, linewidth=1.3)
        axes.plot(line["train_size"], line["expected_coverage"], color=GREY, linewidth=0.9, linestyle="--", zorder=0)
    sizes = sorted(set(rows["train_size"]))
    axes.set(xscale="log", ylim=(0, 1.02), box_aspect=1)
    axes.set_xlim(sizes[0] / 1.3, sizes[-1] * 1.3)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("training images", fontsize="small")
    axes.set_ylabel("share of pixels", fontsize="small")
    axes.tick_params(labelsize="x-small")
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, colors: Mapping[int, Any], known: Mapping[str, Model], plots: PlotsConfig) -> None:
    """Add a legend of the sizes, the models and the kinds of lines below the panels."""
    looks = model_looks(list(known), plots)
    handles = [
        *(Line2D([], [], color=color, label=f"{size} images") for size, color in colors.items()),
        Line2D([], [], color="0.2", marker="o", markersize=3.5, label="error of the mean"),
        Line2D([], [], color="0.2", linestyle=":", label="error of a single trial"),
        Line2D([], [], color=GREY, linestyle="--", label="expected if calibrated"),
        *(Line2D([], [], color=looks[kind]["color"], label=model.label) for kind, model in known.items()),
        Line2D([], [], color="0.2", marker="o", linestyle="", markersize=4, label="within 1 sigma"),
        Line2D([], [], color="0.2", marker="s", linestyle="", markersize=4, label="within 2 sigma"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize="x-small")


def _empty_figure(plots: PlotsConfig) -> Figure:
    """Return a figure that says that there is no spread."""
    figure = Figure(figsize=(plots.width_in, plots.height_in), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.text(0.5, 0.5, NOTHING, transform=axes.transAxes, ha="center", va="center", color=GREY)
    return figure
