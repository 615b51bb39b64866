"""Figures from tables: each metric, and the training losses, for all numbers of training images."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from ptycho.config.schema import PlotsConfig
from ptycho.errors import InputError
from ptycho.plotting.style import UNTRAINED, model_looks, style
from ptycho.results import layout
from ptycho.results.schema import OVERVIEW, PARTS, Model, describe, models, ordered
from ptycho.study.scaling_table import FITTED, FittedModel
from ptycho.study.tables import metric_parts, overview_metrics, quantile, ranked, unscored

DODGE = 0.07  # octaves between neighbouring models, so that equal points are both seen
LEGENDS = ((3, "medium"), (3, "small"), (2, "small"), (2, "x-small"), (1, "x-small"))  # columns and size of letters
NO_METRICS = "no error metrics:\nthe test data holds no ground truth"
BANDS = {"iqr": (0.25, 0.75, "quartiles"), "range": (0.0, 1.0, "range")}
Limits = tuple[float, float]
Looks = dict[Model, dict[str, Any]]  # colour and marker


def generalization_figure(
    trials_wide: pd.DataFrame, metric: str, part: str, plots: PlotsConfig, title: str | None = None
) -> Figure:
    """Plot every trial, the medians and a band over the trials, against the training images (log2).

    Parameters
    ----------
    trials_wide : as :func:`ptycho.study.tables.results_all_trials` makes it
    metric, part : what to plot; part is ``amp`` or ``phase``
    title : above the axes; None for none

    A trial that is not ok is marked by a cross. Values that are not finite are omitted, and those that would compress
    the rest are drawn at the edge (see :func:`_limits`); a note counts both. Where the test data holds no ground truth,
    the plot is empty and says so. With ``plots.scaling_law`` the fitted law of each model is a dotted line with its
    95 % band; a note says why a model has none.

    Raises
    ------
    InputError : the table holds no such metric and part
    """
    if (metric, part) not in metric_parts(trials_wide):
        found = ", ".join(f"{m} {p}" for m, p in metric_parts(trials_wide)) or "none"
        raise InputError(f"metric {metric}, part {part}: not among the results, which hold: {found}")
    with style(plots):
        figure = Figure(figsize=(plots.width_in, plots.height_in), layout="constrained")
        axes = figure.add_subplot()
        looks, crossed, notes = _plot(axes, trials_wide, metric, part, plots)
        if plots.scaling_law:
            notes += _draw_laws(axes, trials_wide, metric, part, looks)
        _add_legend(axes, looks, crossed)
        lines = [line for note in notes if note for line in textwrap.wrap(note, 85)]
        figure.supxlabel("\n".join(lines), fontsize=7, color="0.35")
        if title:
            figure.suptitle(title, fontsize="medium", fontweight="bold")
    return figure


def overview_figure(trials_wide: pd.DataFrame, plots: PlotsConfig, title: str | None = None) -> Figure:
    """Plot the main metrics: a column for each metric, a row each for amplitude and phase.

    Parameters
    ----------
    trials_wide, title : as in :func:`generalization_figure`

    Raises
    ------
    InputError : the table holds no metric of both parts
    """
    shown = overview_metrics(trials_wide)
    if not shown:
        raise InputError(f"no metric to show, expected some of {', '.join(OVERVIEW)}: run the comparisons again")
    with style(plots):
        figure = Figure(figsize=(2.6 * len(shown), 5.4), layout="constrained")
        grid = figure.subplots(len(PARTS), len(shown), squeeze=False, sharex=True)
        crosses: set[str] = set()
        for row, part in zip(grid, PARTS, strict=True):
            for axes, metric in zip(row, shown, strict=True):
                looks, crossed, _ = _plot(axes, trials_wide, metric, part, plots)
                crosses |= set(crossed)
        for axes in grid[0]:
            axes.set_xlabel("")
        for axes in grid.flat:
            axes.tick_params(labelsize="x-small")
        figure.legend(handles=_handles(looks, sorted(crosses)), loc="outside upper center", ncols=6, frameon=False)
        if title:
            figure.suptitle(title, fontsize="medium", fontweight="bold")
    return figure


def _plot(
    axes: Axes, trials_wide: pd.DataFrame, metric: str, part: str, plots: PlotsConfig
) -> tuple[Looks, list[str], list[str]]:
    """Draw a metric, and return the looks of the models, the failures marked by crosses, and the notes to print."""
    values = {"y": trials_wide[f"{metric}_{part}"], "rank": ranked(trials_wide, metric, part)}
    table = trials_wide.assign(**values)
    found = models(table)
    looks, limits = model_looks(list(found), plots), _limits(table)
    for index, (kind, model) in enumerate(found.items()):
        rows = table[table["model_type"] == kind]
        if model.arm in UNTRAINED:
            _draw_line(axes, rows, looks[kind]["color"], limits)
            continue
        dodge = 2 ** (DODGE * (index - (len(found) - 1) / 2))
        _draw_trials(axes, rows, dodge, looks[kind], limits)
        _draw_summary(axes, rows, dodge, looks[kind]["color"], plots.band, limits)
    _finish(axes, table, metric, part, NO_METRICS if unscored(trials_wide) else "no finite value")
    trained = table[~table["model_type"].isin([kind for kind, model in found.items() if model.arm in UNTRAINED])]
    crossed = trained.loc[np.isfinite(trained["y"]) & (trained["status"] != "ok"), "status"]
    notes = [] if unscored(trials_wide) else [describe(metric).detail, *_notes(trained, plots.band, limits)]
    return {model: looks[kind] for kind, model in found.items()}, sorted(set(crossed)), notes


def _draw_line(axes: Axes, rows: pd.DataFrame, color: Any, limits: Limits) -> None:
    """Draw the median of a model that does not depend on the training images as a line across the plot."""
    level = quantile(rows["y"].dropna().to_numpy(), 0.5)
    if np.isfinite(level):
        axes.axhline(np.clip(level, *limits), color=color, linewidth=1.8, linestyle="--", zorder=2)


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Return the range of the successful trials, widened by its own width on both sides; the rest is off scale."""
    good = table.loc[(table["status"] == "ok") & np.isfinite(table["y"]), "y"]
    if good.nunique() < 2:
        return -np.inf, np.inf
    span = float(good.max() - good.min())
    return float(good.min()) - span, float(good.max()) + span


def _draw_trials(axes: Axes, rows: pd.DataFrame, dodge: float, look: Mapping[str, Any], limits: Limits) -> None:
    """Draw a point for each trial, a cross where it is not ok."""
    finite = rows[np.isfinite(rows["y"])]
    ok = finite["status"] == "ok"
    for points, options in (
        (finite[ok], {**look, "s": 20, "edgecolors": "white", "linewidths": 0.4, "gid": "ok"}),
        (finite[~ok], {**look, "s": 36, "marker": "x", "linewidths": 1.6, "gid": "not ok"}),
    ):
        axes.scatter(points["train_size"] * dodge, points["y"].clip(*limits), zorder=3, **options)


def _draw_summary(axes: Axes, rows: pd.DataFrame, dodge: float, color: Any, band: str, limits: Limits) -> None:
    """Draw the medians over the trials, and the band between two quantiles."""
    groups = {size: group["rank"].dropna().to_numpy() for size, group in rows.groupby("train_size")}
    x = np.array(list(groups)) * dodge

    def curve(q: float) -> npt.NDArray[np.float64]:
        """Return a quantile over the trials of each size, clipped to the limits; NaN where it is not finite."""
        numbers = np.array([quantile(values, q) for values in groups.values()])
        return np.where(np.isfinite(numbers), np.clip(numbers, *limits), np.nan)

    axes.plot(x, curve(0.5), color=color, linewidth=1.8, zorder=2)
    if band in BANDS:
        low, high, _ = BANDS[band]
        axes.fill_between(x, curve(low), curve(high), color=color, alpha=0.16, linewidth=0, zorder=1)


def _draw_laws(axes: Axes, trials_wide: pd.DataFrame, metric: str, part: str, looks: Looks) -> list[str]:
    """Draw the scaling law of each model, up to the right end of the axis, and return a note on those without one."""
    if metric not in FITTED:
        return [f"no scaling law of {describe(metric).label}"]
    notes, (bottom, top) = ["dotted: a + b n^-c with its 95 % interval"], axes.get_ylim()
    for kind, model in models(trials_wide).items():
        rows = trials_wide[trials_wide["model_type"] == kind]
        if model.arm in UNTRAINED or rows[f"{metric}_{part}"].isna().all():
            continue
        fitted = FittedModel.of(rows, metric, part)
        if fitted.reason:
            notes.append(f"scaling law of {model.label}: {fitted.reason}")
        if fitted.law is None:
            continue
        images = np.geomspace(fitted.images.min(), axes.get_xlim()[1], 60)
        line, low, high = np.clip(fitted.curve(images), bottom, top)
        axes.plot(images, line, color=looks[model]["color"], linewidth=1.4, linestyle=":", zorder=2, gid="law")
        axes.fill_between(images, low, high, color=looks[model]["color"], alpha=0.1, linewidth=0, zorder=0, gid="law")
    axes.set_ylim(bottom, top)
    return notes


def _finish(axes: Axes, table: pd.DataFrame, metric: str, part: str, absence: str) -> None:
    """Set scales and labels; ``absence`` is written where nothing could be drawn."""
    sizes = sorted(set(table["train_size"]))
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(sizes[0] / 2**0.35, sizes[-1] * 2**0.35)
    axes.margins(y=0.08)
    axes.grid(visible=False, axis="x")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("Training images")
    better = describe(metric).higher_is_better
    arrow = {True: "\nhigher is better", False: "\nlower is better", None: ""}[better]
    axes.set_ylabel(describe(metric).axis_label(part) + arrow)
    if not np.isfinite(table["y"]).any():
        axes.text(0.5, 0.5, absence, transform=axes.transAxes, ha="center", va="center", fontsize=13)
        axes.set_yticks([])


def _add_legend(axes: Axes, looks: Looks, crossed: Sequence[str]) -> None:
    """Add the legend of models and crosses above the axes, as large as leaves the axes their width."""
    handles, most = _handles(looks, crossed), axes.bbox.width  # before layout; a wider legend would narrow the axes
    for columns, size in LEGENDS:
        legend = axes.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, fontsize=size, frameon=False,
            columnspacing=1.2,
        )  # fmt: skip
        if legend.get_window_extent().width <= most:
            break


def _handles(looks: Looks, crossed: Sequence[str]) -> list[Line2D]:
    """Return an entry of the legend for each model, and one for the crosses."""
    looks = {model: {**look, **UNTRAINED.get(model.arm, {})} for model, look in looks.items()}
    handles = [Line2D([], [], label=model.label, linewidth=1.8, **look) for model, look in looks.items()]
    if crossed:
        label = f"{' or '.join(crossed)} trial"
        handles.append(Line2D([], [], label=label, color="0.35", marker="x", linestyle="none"))
    return handles


def _notes(table: pd.DataFrame, band: str, limits: Limits) -> list[str]:
    """Return the notes below the axes: what is drawn, and how many values are not."""
    if table.empty:
        return []
    trials = table.groupby("train_size")["trial"].nunique()
    count = f"{trials.min()}" if trials.min() == trials.max() else f"{trials.min()} to {trials.max()}"
    notes = [
        f"points: trials ({count} for each size), line: median" + (f", band: {BANDS[band][2]}" if band in BANDS else "")
    ]
    finite = np.isfinite(table["y"])
    lost = table[~finite].groupby(["model_type", "train_size"]).size().to_dict()
    if lost:
        found = models(table)
        words = (f"{n} of {found[kind].label} at {size}" for (kind, size), n in lost.items())
        notes.append(f"not shown, not finite: {', '.join(words)}")
    far = int((finite & ~table["y"].between(*limits)).sum())
    return notes + ([f"drawn at the edge, out of range: {far}"] if far else [])


def training_curves_figure(
    histories: Mapping[tuple[int, int, Model], Mapping[str, Any]], plots: PlotsConfig, title: str | None = None
) -> Figure:
    """Plot the validation loss (the training loss where nothing was held out) over the epochs, a panel for each model.

    Parameters
    ----------
    histories : by (train_size, trial, model), as the trainings write them: ``loss``, ``val_loss``, ``best_epoch``
    title : above the panels; None for none

    Raises
    ------
    InputError : no history
    """
    found = ordered(model for _, _, model in histories)
    if not found:
        raise InputError(f"no {layout.HISTORY} beside the models: train first, or omit the training curves")
    sizes = sorted({size for size, _, _ in histories})
    colors = dict(zip(sizes, sns.color_palette("viridis_r", len(sizes)), strict=True))
    with style(plots):
        figure = Figure(figsize=(4.2 * len(found), 3.4), layout="constrained")
        for axes, model in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
            for (size, _, of), history in sorted(histories.items(), key=lambda item: item[0]):
                if of == model:
                    _draw_history(axes, history, colors[size])
            axes.set(xlabel="Epoch", title=model.label, yscale="log")
            axes.spines[["top", "right"]].set_visible(False)
        figure.axes[0].set_ylabel("Validation loss")
        handles = [Line2D([], [], color=color, label=f"{size} images") for size, color in colors.items()]
        handles.append(Line2D([], [], color="0.35", marker="o", linestyle="none", label="weights kept"))
        figure.axes[-1].legend(handles=handles, frameon=False, fontsize="small")
        if title:
            figure.suptitle(title, fontsize="medium", fontweight="bold")
    return figure


def _draw_history(axes: Axes, history: Mapping[str, Any], color: Any) -> None:
    """Draw the losses of a training, and a point at the epoch whose weights were kept."""
    losses = np.array(history.get("val_loss") or history.get("loss") or [np.nan], float)
    losses[~(np.isfinite(losses) & (losses > 0))] = np.nan
    epochs, best = np.arange(1, len(losses) + 1), int(history.get("best_epoch", 1))
    axes.plot(epochs, losses, color=color, linewidth=1.1, alpha=0.85)
    if 1 <= best <= len(losses):
        axes.plot(best, losses[best - 1], "o", color=color, markersize=3.5)
