"""Figure of a sweep: each metric against the value of a key, for each model and number of training images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ptycho.config.schema import PlotsConfig
from ptycho.errors import InputError
from ptycho.plotting.style import UNTRAINED, model_looks, style
from ptycho.results.schema import FAILURES, NO_TRUTH, PARTS, describe, model_label, ordered_models
from ptycho.study.tables import overview_metrics, quantile, ranked

LABELS = {
    "simulation.n_photons": "Photons per pattern",
    "simulation.n_images": "Mean spacing of the positions (px)",
    "training.learning_rate": "Learning rate",
}
WIDE_RANGE = 30.0  # ratio of the values from which the axis is logarithmic
FAINTEST = 0.35  # opacity of the smallest number of training images


def sweep_figure(table: pd.DataFrame, key: str, plots: PlotsConfig) -> Figure:
    """Plot the main metrics against the swept value: a column for each metric, a row each for amplitude and phase.

    Lines are medians over the trials, points trials; the fewer the training images, the fainter the line. Values that
    are no numbers stand side by side in their order.

    Parameters
    ----------
    table : wide, as :func:`ptycho.study.sweeps.sweep_trials` makes it, with the columns ``value`` and ``x``
    key : that was swept, dotted

    Raises
    ------
    InputError : the table holds no metric of both parts
    """
    shown = overview_metrics(table)
    if not shown:
        raise InputError("no metric to show: run the comparisons of the sweep first")
    sizes = sorted(set(table["train_size"]))
    arms = ordered_models(table["arm"])
    looks = model_looks(arms, plots)
    with style(plots):
        figure = Figure(figsize=(2.6 * len(shown), 5.6), layout="constrained")
        grid = figure.subplots(len(PARTS), len(shown), squeeze=False, sharex=True)
        for row, part in zip(grid, PARTS, strict=True):
            for axes, metric in zip(row, shown, strict=True):
                for arm in arms:
                    for size, opacity in zip(sizes, _opacities(sizes), strict=True):
                        rows = table[(table["arm"] == arm) & (table["train_size"] == size)]
                        _draw(axes, rows, f"{metric}_{part}", {**looks[arm], **UNTRAINED.get(arm, {})}, opacity)
                axes.set_ylabel(describe(metric).axis_label(part), fontsize="small")
                axes.tick_params(labelsize="x-small")
                axes.spines[["top", "right"]].set_visible(False)
        _finish(grid, table, key)
        figure.legend(handles=_handles(arms, looks, sizes), loc="outside upper center", ncols=6, frameon=False)
    return figure


def _opacities(sizes: Sequence[int]) -> list[float]:
    """Return the opacity of the lines of each number of training images."""
    return [float(value) for value in np.linspace(FAINTEST, 1, len(sizes))] if len(sizes) > 1 else [1.0]


def _draw(axes: Axes, rows: pd.DataFrame, name: str, look: Mapping[str, Any], opacity: float) -> None:
    """Draw trials and medians of a model and size; of trials without a value, failed ones count as the worst."""
    finite = rows[np.isfinite(rows[name])]
    if finite.empty:
        return
    metric, _, part = name.rpartition("_")
    ranks = rows.assign(rank=ranked(rows, metric, part)).dropna(subset="rank")
    medians = ranks.groupby("x")["rank"].agg(lambda values: quantile(values.to_numpy(np.float64), 0.5))
    medians = medians.where(np.isfinite(medians))  # a gap where most trials failed
    style_of = {"color": look["color"], "alpha": opacity}
    axes.plot(medians.index, medians, linewidth=1.6, linestyle=look.get("linestyle", "-"), **style_of)
    failed = finite["status"].isin(FAILURES)
    for points, marker in ((finite[~failed], look["marker"] or "_"), (finite[failed], "x")):
        axes.scatter(points["x"], points[name], s=12, marker=marker, zorder=3, **style_of)


def _finish(grid: Any, table: pd.DataFrame, key: str) -> None:
    """Set scale and labels of the common axis."""
    x = table["x"].to_numpy(np.float64)
    places = table.drop_duplicates("x").sort_values("x")
    named = not pd.api.types.is_numeric_dtype(table["value"])
    for axes in grid.flat:
        if named:
            axes.set_xticks(places["x"], places["value"], rotation=30, ha="right")
        elif x.min() > 0 and x.max() / x.min() >= WIDE_RANGE:
            axes.set_xscale("log")
        if (table["status"] == NO_TRUTH).all():
            axes.text(0.5, 0.5, "no ground truth", transform=axes.transAxes, ha="center", va="center", fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel(LABELS.get(key, key), fontsize="small")


def _handles(arms: Sequence[str], looks: Mapping[str, Mapping[str, Any]], sizes: Sequence[int]) -> list[Line2D]:
    """Return an entry of the legend for each model, and for each size."""
    handles = [
        Line2D([], [], label=model_label(arm), linewidth=1.6, **{**looks[arm], **UNTRAINED.get(arm, {})})
        for arm in arms
    ]
    return handles + [
        Line2D([], [], label=f"{size} images", color="black", alpha=opacity)
        for size, opacity in zip(sizes, _opacities(sizes), strict=True)
    ]
