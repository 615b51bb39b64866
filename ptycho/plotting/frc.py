"""Figures over spatial frequency: the resolution of each model, and the spectrum of its phase error."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ptycho.config.schema import PlotsConfig
from ptycho.plotting.style import model_looks, style
from ptycho.results.schema import PART_COLUMNS, PARTS, model_label, model_type, ordered_models


def frc_figure(curves: pd.DataFrame, title: str, plots: PlotsConfig) -> Figure:
    """Plot the Fourier ring correlation of each model with the ground truth, and the spectrum of its phase error.

    Parameters
    ----------
    curves : columns ``model, part, ring_px, cycles_per_px, half_period_nm, correlation``, and for the spectrum
        ``error_power, truth_power``; without rows, the figure says so
    title : above the panels
    """
    with style(plots):
        figure = Figure(figsize=(11.0, 3.3), layout="constrained")
        panels = figure.subplots(1, 3)
        panels[1].sharey(panels[0])
        _draw_spectrum(panels[2], curves, plots)
        for axes, (part, name) in zip(panels, PARTS.items(), strict=False):
            rows = curves[curves["part"] == PART_COLUMNS[part]]
            axes.set_title(f"{name}: correlation with the ground truth", fontsize="medium")
            axes.set(xlabel="spatial frequency (cycles per pixel)", xlim=(0, 0.5), ylim=(-0.15, 1.03))
            if rows.empty:
                axes.text(0.25, 0.5, "no curve: nothing to compare", ha="center")
            else:
                _draw_frc(axes, rows, plots)
                _half_periods(axes, rows)
            axes.spines[["top", "right"]].set_visible(False)
        figure.axes[0].set_ylabel("Fourier ring correlation")
        if not curves.empty:
            handles, labels = zip(*(axes.get_legend_handles_labels() for axes in panels[:2]), strict=True)
            figure.legend(
                handles[0] or handles[1],
                labels[0] or labels[1],
                loc="outside lower center",
                ncols=6,
                frameon=False,
                fontsize="small",
            )
        figure.suptitle(title, fontsize="medium")
    return figure


def _draw_frc(axes: Axes, rows: pd.DataFrame, plots: PlotsConfig) -> None:
    """Draw the correlation of each model over spatial frequency, and the threshold 0.5."""
    kinds = {model_type(name): name for name in dict.fromkeys(rows["model"])}
    looks = model_looks(ordered_models(kinds), plots)
    for kind in ordered_models(kinds):
        curve = rows[rows["model"] == kinds[kind]]
        axes.plot(
            curve["cycles_per_px"], curve["correlation"], color=looks[kind]["color"], label=model_label(kind), lw=1.2
        )
    axes.axhline(0.5, color="0.5", linewidth=0.8, linestyle="--", zorder=0)


def _draw_spectrum(axes: Axes, curves: pd.DataFrame, plots: PlotsConfig) -> None:
    """Draw the mean squared error of the phase in each ring, and the mean square of the true phase."""
    axes.set_title("Phase: spectrum of the error", fontsize="medium")
    axes.set(xlabel="spatial frequency (cycles per pixel)", xlim=(0, 0.5), ylabel="mean square in a ring (rad²)")
    axes.spines[["top", "right"]].set_visible(False)
    rows = curves[curves["part"] == "phase"] if "error_power" in curves else curves.iloc[:0]
    if rows.empty or not (rows[["error_power", "truth_power"]] > 0).any(axis=None):
        axes.text(0.25, 0.5, "no spectrum: nothing to compare", ha="center")
        return
    kinds = {model_type(name): name for name in dict.fromkeys(rows["model"])}
    looks = model_looks(ordered_models(kinds), plots)
    for kind in ordered_models(kinds):
        spectrum = rows[rows["model"] == kinds[kind]]
        axes.plot(spectrum["cycles_per_px"], spectrum["error_power"], color=looks[kind]["color"], lw=1.2)
    truth = rows[rows["model"] == rows["model"].iloc[0]]
    axes.plot(truth["cycles_per_px"], truth["truth_power"], color="0.45", lw=1.2, linestyle=":", label="ground truth")
    axes.set_yscale("log")
    highest = float(rows[["error_power", "truth_power"]].to_numpy().max())
    axes.set_ylim(1e-6 * highest, 2 * highest)
    axes.legend(frameon=False, fontsize="small")


def _half_periods(axes: Axes, rows: pd.DataFrame) -> None:
    """Add an axis of half-periods above, where the pixel size is known."""
    if rows["half_period_nm"].isna().all():
        return
    nm = float((rows["half_period_nm"] * rows["cycles_per_px"]).iloc[0])
    above = axes.secondary_xaxis("top")
    ticks = np.array([0.125, 0.25, 0.375, 0.5])
    above.set_xticks(ticks, [f"{nm / tick:.3g}" for tick in ticks], fontsize=7)
    above.set_xlabel("half-period (nm)", fontsize=7)


def draw_small(axes: Axes, curves: pd.DataFrame | None, plots: PlotsConfig, shape: tuple[int, ...]) -> None:
    """Draw the FRC curves of the phase in a panel of the aspect of an image of ``shape``; nothing without curves."""
    if curves is None or curves.empty:
        axes.set_axis_off()
        return
    _draw_frc(axes, curves[curves["part"] == "phase"], plots)
    axes.set(box_aspect=shape[0] / shape[1], xticks=[0, 0.25, 0.5], yticks=[0, 0.5, 1])
    axes.tick_params(labelsize=6.5, pad=1, length=2)
    axes.set_xlabel("cycles per pixel", fontsize=7, labelpad=1)
    axes.set_title("Phase FRC", fontsize=8, pad=2)
    axes.legend(fontsize=5.5, loc="lower left", handlelength=1, borderpad=0.2, labelspacing=0.15, framealpha=0.7)
