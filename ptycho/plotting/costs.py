"""Figure of the time and memory that the jobs of a study took."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ptycho.config.schema import PlotsConfig
from ptycho.errors import InputError
from ptycho.plotting.style import style


def costs_figure(costs: pd.DataFrame, plots: PlotsConfig) -> Figure:
    """Plot wall time and memory of the jobs of the trials against the training images, a point for each job.

    Parameters
    ----------
    costs : as the table of :class:`ptycho.study.costs.Costs`

    Raises
    ------
    InputError : no job belongs to a trial
    """
    table = costs[costs["trial"].notna()]
    if table.empty:
        raise InputError("no benchmark of a trial: run the study by Snakemake first")
    sizes = sorted(set(table["train_size"]))
    jobs = list(dict.fromkeys(table["job"]))
    colors = dict(zip(jobs, sns.color_palette(plots.palette, len(jobs)), strict=True))
    with style(plots):
        figure = Figure(figsize=(8.4, 3.4), layout="constrained")
        for axes, (column, label) in zip(
            figure.subplots(1, 2), {"seconds": "Wall time (s)", "memory_mb": "Memory (MB)"}.items(), strict=True
        ):
            for job, rows in table.groupby("job", sort=False):
                x = rows["train_size"].to_numpy(float)
                axes.plot(x, rows[column].to_numpy(float), "o", color=colors[job], markersize=4)
                medians = rows.groupby("train_size")[column].median()
                axes.plot(np.array(medians.index, float), medians, color=colors[job], linewidth=1.4, label=job)
            axes.set_xscale("log", base=2)
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set(xlabel="Training images", ylabel=label)
            axes.set_ylim(0, 1.08 * max(1.0, float(table[column].fillna(0).max())))
            axes.spines[["top", "right"]].set_visible(False)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return figure
