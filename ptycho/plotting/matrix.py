"""Figures of further test sets: what each model loses, each metric by test set, and errors against a probe error."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from ptycho.config.schema import PlotsConfig
from ptycho.config.test_sets import EXACT_IN_NETWORK, HELD_OUT
from ptycho.errors import InputError
from ptycho.plotting.generalization import BANDS
from ptycho.plotting.style import UNTRAINED, model_looks, style
from ptycho.results.schema import NO_TRUTH, describe, models
from ptycho.study.tables import quantile, ranked
from ptycho.study.test_sets import SHOWN, cell_text

WORST_FACTOR = 4.0  # of the error on the held-out half, at which the colour of a cell saturates
CELL_IN = (1.9, 0.46)  # width and height of a cell of the matrix
COLUMNS = 4  # panels in a row of the plots by test set
STRENGTHS = {  # axis labels of the strengths of errors
    "defocus_rad": "Defocus (rad at the detector's edge)",
    "amplitude_blur_px": "Blur of the probe's amplitude (px)",
    "phase_noise_rad": "Phase noise of the probe (rad)",
    "shift_px": "Shift of the probe (px)",
    "position_jitter_px": "Jitter of the positions (px)",
}


def matrix_figure(losses: pd.DataFrame, plots: PlotsConfig) -> Figure:
    """Draw the generalization matrix: a row for each test set, a column for each model, a panel for each metric.

    A cell holds the median and the loss against the held-out half; its colour is the ratio of both errors. Cells
    without a ground truth are hatched, those without a value grey.

    Parameters
    ----------
    losses : as :func:`ptycho.study.test_sets.matrix` makes it

    Raises
    ------
    InputError : it holds none of the metrics that are shown
    """
    panels = [(m, p) for m, p in SHOWN if ((losses["metric"] == m) & (losses["part"] == p)).any()]
    if not panels:
        raise InputError("no RMSE among the metrics of the test sets: run the comparisons again")
    names, known = list(dict.fromkeys(losses["test_set"])), models(losses)
    with style(plots):
        width = len(panels) * len(known) * CELL_IN[0] + 0.13 * max(map(len, names)) + 0.4
        figure = Figure(figsize=(width, len(names) * CELL_IN[1] + 1.5), layout="constrained")
        for axes, (metric, part) in zip(
            figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels, strict=True
        ):
            rows = losses[(losses["metric"] == metric) & (losses["part"] == part)].to_dict("records")
            cells = {(row["test_set"], row["model_type"]): row for row in rows}
            for y, name in enumerate(names):
                for x, kind in enumerate(known):
                    _draw_cell(axes, x, y, cells.get((name, kind)), metric, part)
            axes.set(xlim=(0, len(known)), ylim=(len(names), 0), title=describe(metric).axis_label(part))
            labels = [model.label.replace(" (", "\n(") for model in known.values()]  # a variant below its model
            axes.set_xticks(np.arange(len(known)) + 0.5, labels, fontsize="small")
            axes.set_yticks(np.arange(len(names)) + 0.5, names)
            axes.tick_params(length=0, top=False)
            axes.grid(visible=False)
        figure.suptitle(f"{losses['train_size'].iloc[0]} training images", fontsize="medium", fontweight="bold")
        figure.supxlabel(
            "median over the trials (loss against the held-out half); colour: ratio of both, white 1, red "
            f"{WORST_FACTOR:g} or more; hatched: no ground truth",
            fontsize=7,
            color="0.35",
        )
    return figure


def _draw_cell(axes: Axes, x: int, y: int, row: Mapping[Any, Any] | None, metric: str, part: str) -> None:
    """Draw a cell of the matrix, of the unit square at (x, y)."""
    options: dict[str, Any] = {"facecolor": "0.85"}
    if row is not None and row["status"] == NO_TRUTH:
        options = {"facecolor": "white", "hatch": "///"}
    elif row is not None and np.isfinite(row["value"]) and row["held_out"] > 0:
        excess = np.log(row["value"] / row["held_out"]) / np.log(WORST_FACTOR) if row["value"] > 0 else 0.0
        share = float(np.clip(excess, -1, 1))
        tint = (1.0, 1 - 0.65 * share, 1 - 0.65 * share) if share > 0 else (1 + 0.4 * share, 1 + 0.4 * share, 1.0)
        options = {"facecolor": tint}
    axes.add_patch(Rectangle((x, y), 1, 1, edgecolor="0.6", linewidth=0.6, **options))
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1} if "hatch" in options else None
    axes.text(x + 0.5, y + 0.5, cell_text(row, metric, part), ha="center", va="center", fontsize=8, bbox=box)


def by_test_set_figure(wide: pd.DataFrame, metric: str, part: str, plots: PlotsConfig) -> Figure:
    """Plot a metric against the training images, a panel for each test set, on common axes.

    Points are trials, crosses those that are not ok, lines medians over them, with the band of ``plots.band``; the
    iterative arm is a dashed line.

    Parameters
    ----------
    wide : as :func:`ptycho.study.test_sets.all_trials` makes it
    metric, part : what to plot; part is ``amp`` or ``phase``
    """
    names, known = list(dict.fromkeys(wide["test_set"])), models(wide)
    table = wide.assign(y=wide[f"{metric}_{part}"], rank=ranked(wide, metric, part))
    columns = min(COLUMNS, len(names))
    lines = -(-len(names) // columns)
    with style(plots):
        figure = Figure(figsize=(2.5 * columns, 2.2 * lines + 0.6), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        looks = model_looks(list(known), plots)
        for axes, name in zip(grid.flat, names, strict=False):
            _draw_set(axes, table[table["test_set"] == name], looks, plots.band)
            axes.set_title(name, fontsize="small")
        for axes in grid.flat[len(names) :]:
            axes.set_visible(False)
        figure.supxlabel("Training images", fontsize="medium")
        better = describe(metric).higher_is_better
        arrow = {True: "higher is better", False: "lower is better", None: ""}[better]
        figure.supylabel(f"{describe(metric).axis_label(part)}\n{arrow}".strip(), fontsize="medium")
        handles = [
            Line2D([], [], label=model.label, linewidth=1.8, **{**looks[kind], **UNTRAINED.get(model.arm, {})})
            for kind, model in known.items()
        ]
        shown = table[np.isfinite(table["y"]) & ~table["arm"].isin(UNTRAINED)]
        statuses = sorted(set(shown["status"]) - {"ok"})
        if statuses:
            handles.append(Line2D([], [], color="0.4", marker="x", linestyle="", label=" or ".join(statuses)))
        figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
    return figure


def _draw_set(axes: Axes, table: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]], band: str) -> None:
    """Draw the trials, medians and bands of all models on one test set."""
    sizes = sorted(set(table["train_size"]))
    for kind, model in models(table).items():
        rows = table[table["model_type"] == kind]
        x = sorted(set(rows["train_size"]))
        ranks = [rows.loc[rows["train_size"] == size, "rank"].dropna().to_numpy() for size in x]
        medians = [quantile(values, 0.5) for values in ranks]
        if band in BANDS and model.arm not in UNTRAINED:
            edges = np.array([[quantile(values, q) for values in ranks] for q in BANDS[band][:2]])
            lower, upper = np.where(np.isfinite(edges), edges, np.nan)
            axes.fill_between(x, lower, upper, color=looks[kind]["color"], alpha=0.16, linewidth=0, zorder=1)
        levels = np.where(np.isfinite(medians), medians, np.nan)
        line = UNTRAINED.get(model.arm, {}).get("linestyle", "-")
        if len(sizes) == 1 and line == "--":
            axes.axhline(levels[0], color=looks[kind]["color"], linestyle=line)
        axes.plot(x, levels, color=looks[kind]["color"], linestyle=line, linewidth=1.6)
        good = rows[np.isfinite(rows["y"])]
        if model.arm not in UNTRAINED:
            ok = good["status"] == "ok"
            for points, marker in ((good[ok], looks[kind]["marker"]), (good[~ok], "x")):
                axes.scatter(
                    points["train_size"], points["y"], s=12, color=looks[kind]["color"], marker=marker, zorder=3
                )
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(visible=False, axis="x")
    axes.spines[["top", "right"]].set_visible(False)
    if not np.isfinite(table["y"]).any():
        absence = "no ground truth" if (table["status"] == NO_TRUTH).any() else "no finite value"
        axes.text(0.5, 0.5, absence, transform=axes.transAxes, ha="center", va="center", fontsize=9)


def strength_figure(
    wide: pd.DataFrame,
    key: str,
    sets: Mapping[str, float],
    plots: PlotsConfig,
    metric: str = "rmse",
    part: str = "phase",
) -> Figure:
    """Plot a metric against the strength of an error of the probe, a line for each arm, at the largest size.

    Dashed lines: the network keeps the exact probe, and only the stitching is told the wrong one; what lies between
    both lines of a model comes by its network. The held-out half, without an error, is drawn at 0 where the strengths
    do not include it.

    Parameters
    ----------
    wide : as :func:`ptycho.study.test_sets.all_trials` makes it
    key : of the error, e.g. ``defocus_rad``
    sets : strength by test set

    Raises
    ------
    InputError : the table holds none of the sets
    """
    large = wide[wide["train_size"] == wide["train_size"].max()]
    if not set(sets) & set(large["test_set"]):
        raise InputError(f"no results of the test sets {', '.join(sets)}: run the comparisons first")
    table = large.assign(rank=ranked(large, metric, part))
    known = models(large[large["test_set"].isin(sets)])
    with style(plots):
        figure = Figure(figsize=(plots.width_in, plots.height_in), layout="constrained")
        axes = figure.add_subplot()
        looks = model_looks(list(known), plots)
        for kind, model in known.items():
            rows = table[table["model_type"] == kind]
            _draw_strengths(axes, rows, sets, {**looks[kind], "label": model.label}, plots.band)
            exact = {f"{name}_{EXACT_IN_NETWORK}": strength for name, strength in sets.items()}
            if set(exact) & set(rows["test_set"]):
                look = {**looks[kind], "linestyle": "--", "label": f"{model.label}, exact probe in the network"}
                _draw_strengths(axes, rows, exact, look, plots.band)
        axes.set_xlabel(STRENGTHS.get(key, key))
        axes.set_ylabel(describe(metric).axis_label(part))
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize="x-small", handlelength=3.5)
        band = f" and {BANDS[plots.band][2]}" if plots.band in BANDS else ""
        figure.supxlabel(
            f"median{band} of the trials, failed ones as the worst; {large['train_size'].max()} training images",
            fontsize=7,
        )
    return figure


def _draw_strengths(
    axes: Axes, rows: pd.DataFrame, sets: Mapping[str, float], look: Mapping[str, Any], band: str
) -> None:
    """Draw median and band of the trials of one model against the strength; nothing where the median is infinite."""
    low, high, _ = BANDS.get(band, (0.5, 0.5, ""))
    shown = dict(sets)
    if 0 not in shown.values():
        shown[HELD_OUT] = 0.0  # without an error
    points: list[tuple[float, Sequence[float]]] = []
    for name, strength in sorted(shown.items(), key=lambda item: item[1]):
        ranks = rows.loc[rows["test_set"] == name, "rank"].dropna().to_numpy()
        if np.isfinite(quantile(ranks, 0.5)):
            points.append((strength, [quantile(ranks, q) for q in (low, 0.5, high)]))
    if not points:
        return
    x = [strength for strength, _ in points]
    levels = np.array([level for _, level in points])
    lower, middle, upper = np.where(np.isfinite(levels), levels, np.nan).T
    axes.plot(x, middle, markersize=4, linewidth=1.6, **look)
    if band in BANDS:
        axes.fill_between(x, lower, upper, color=look["color"], alpha=0.13, linewidth=0)
