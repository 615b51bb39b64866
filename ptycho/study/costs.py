"""What a study cost: wall time and memory of every job, from Snakemake's benchmarks."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ptycho.config import PlotsConfig
from ptycho.errors import InputError
from ptycho.study import layouts
from ptycho.study.figures import style

COLUMNS = ["job", "variant", "train_size", "trial", "seconds", "cpu_seconds", "memory_mb"]
OF_A_SIZE = re.compile(r"(.+?)_(\d+)(?:_(\d+))?")  # train_pinn_512_1, compare_512


def read_costs(study_dir: Path | str) -> pd.DataFrame:
    """Read ``benchmarks/*.tsv`` of a study and its variants; files that a job has just begun are left out.

    Returns
    -------
    DataFrame : job (``train_pinn``, ``plot``, ...), variant (empty for the study itself), train_size and trial (empty
        where a job has none), seconds (wall), cpu_seconds, memory_mb (most that was resident)
    """
    rows: list[list[Any]] = []
    for variant, directory in layouts.branches(study_dir).items():
        for path in sorted(directory.glob("benchmarks/*.tsv")):
            measured = _measured(path)
            if measured is not None:
                rows.append([*_job(path.stem)[:1], variant, *_job(path.stem)[1:], *measured])
    return pd.DataFrame(rows, columns=COLUMNS).astype({"train_size": "Int64", "trial": "Int64"})


def _measured(path: Path) -> list[float] | None:
    try:
        row = pd.read_csv(path, sep="\t").iloc[-1]
        return [float(pd.to_numeric(row[key], errors="coerce")) for key in ("s", "cpu_time", "max_rss")]
    except (ValueError, KeyError, IndexError, pd.errors.ParserError):
        return None


def _job(name: str) -> tuple[str, Any, Any]:
    if name.startswith("plot_"):
        return "plot", pd.NA, pd.NA
    match = OF_A_SIZE.fullmatch(name)
    if match is None:
        return name, pd.NA, pd.NA
    return match[1], int(match[2]), pd.NA if match[3] is None else int(match[3])


def costs_figure(costs: pd.DataFrame, plots: PlotsConfig) -> Figure:
    """Plot wall time and memory of the jobs of a trial against the training images, a point a job.

    Raises
    ------
    InputError : no job of a trial
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
