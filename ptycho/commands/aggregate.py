"""Gather the metrics of a study into tables and generalization plots.

With --metric and --part one plot is made, with --plots several, with --figure one of the others; with --size, the table
and figure of one size; otherwise results.csv, results_all_trials.csv, statistics.csv, times.csv, scaling_law.csv, a
plot of every metric and all figures. With --width nothing is written: the number of trials for an interval of this
width is printed.
"""

import argparse
import functools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ptycho.commands.cli import entry_point, say
from ptycho.commands.figure_flags import add_appearance_flags, add_selection_flags
from ptycho.config.flags import from_flags
from ptycho.config.schema import PlotsConfig, StudyConfig
from ptycho.errors import InputError
from ptycho.io import text
from ptycho.plotting import generalization, style
from ptycho.plotting.reconstruction_overviews import size_overview_figure, strip_figure
from ptycho.results import layout
from ptycho.study import trials as study_trials
from ptycho.study import trials_needed
from ptycho.study.artifacts import read_first_objects, read_histories, read_objects
from ptycho.study.scaling_table import parse_target, scaling_laws
from ptycho.study.statistics import paired_differences, study_statistics
from ptycho.study.tables import (
    FIGURES,
    metric_parts,
    per_size,
    plotted,
    possible_figures,
    ranked,
    results,
    results_all_trials,
    times,
)

logger = logging.getLogger(__name__)
AT_MOST = 30  # trials


def build_parser() -> argparse.ArgumentParser:
    """Return the flags of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study_dir", type=Path, help="directory that holds train_SIZE/")
    parser.add_argument("--metric", help="plot this metric alone, e.g. psnr, frc50, mae")
    parser.add_argument("--part", choices=("amp", "phase"), help="of the amplitude or of the phase")
    parser.add_argument(
        "--output",
        help="file of the plot; a bare name goes into STUDY_DIR (default: METRIC_PART_generalization.png)",
    )
    parser.add_argument(
        "--plots", nargs="+", metavar="METRIC_PART", help="make these plots alone, e.g. psnr_phase mae_amp"
    )
    parser.add_argument("--figure", choices=FIGURES, help="make this figure alone")
    parser.add_argument("--title", help="title above each plot")
    parser.add_argument("--tables-only", action="store_true", help="write the csv files and no plot")
    parser.add_argument("--size", type=int, help="write the table and figure of this number of training images alone")
    parser.add_argument("--output_dir", type=Path, help="where tables and plots go (default: STUDY_DIR)")
    parser.add_argument("--variants", nargs="*", help="use these variants only (default: all found)")
    parser.add_argument("--seed", type=int, default=StudyConfig().seed, help="of the bootstrap (default: %(default)s)")
    add_selection_flags(parser)
    parser.add_argument(
        "--target",
        nargs="+",
        default=[],
        metavar="METRIC_PART=VALUE",
        help="state in scaling_law.csv how many images a value takes, e.g. rmse_phase=0.15",
    )
    stop = parser.add_argument_group("number of trials")
    stop.add_argument(
        "--width",
        type=float,
        help="print the num_trials with which the intervals of the paired difference are narrower than this, in the "
        "unit of the metric (default: of the phase RMSE; --metric and --part name another)",
    )
    stop.add_argument("--at_most", type=int, default=AT_MOST, help="limit of this number (default: %(default)s)")
    add_appearance_flags(parser)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Write the tables and figures that the flags ask for.

    Raises
    ------
    InputError : flags that exclude each other, or nothing to gather
    """
    if (arguments.metric is None) != (arguments.part is None):
        raise InputError("--metric and --part go together: give --metric M --part amp|phase")
    chosen = [arguments.metric, arguments.plots, arguments.figure, arguments.size is not None, arguments.tables_only]
    if sum(map(bool, chosen)) > 1:
        raise InputError(
            "--metric with --part, --plots, --figure, --size and --tables-only choose what is made: give one of them"
        )
    if arguments.output and not (arguments.metric or arguments.figure):
        raise InputError("--output names one plot: give --metric M --part amp|phase, or --figure, with it")
    if arguments.width is not None:
        print_trials_needed(arguments)
        return
    plots = from_flags(PlotsConfig, arguments)
    if arguments.size is not None:
        write_size(arguments, read_trials(arguments), plots)
        return
    if arguments.metric or arguments.plots or arguments.figure:
        trials, wide = None, read_wide(arguments)
    else:
        trials = read_trials(arguments)
        wide = results_all_trials(trials)
        write_tables(arguments, trials, wide)
    for name, draw in () if arguments.tables_only else wanted(arguments, trials, wide, plots):
        path = Path(arguments.output or f"{name}.png")
        path = (arguments.output_dir or arguments.study_dir) / path if len(path.parts) == 1 else path
        style.save_figure(draw(), path, plots, also=plots.formats)


def read_trials(arguments: argparse.Namespace) -> pd.DataFrame:
    """Return the tidy table of the trials to gather; of a size without variants, which have their own directories."""
    trials = study_trials.read_trials(arguments.study_dir, [] if arguments.size is not None else arguments.variants)
    return study_trials.select(trials, arguments.train_sizes, arguments.num_trials)


def read_wide(arguments: argparse.Namespace) -> pd.DataFrame:
    """Return the wide table of the trials to plot, from results_all_trials.csv where it is up to date."""
    places = [arguments.output_dir or arguments.study_dir]
    places += [Path(arguments.output).parent] if arguments.output and len(Path(arguments.output).parts) > 1 else []
    selection = (arguments.variants, arguments.train_sizes, arguments.num_trials)
    for place in places:
        wide = study_trials.read_results_all_trials(place / layout.ALL_TRIALS, arguments.study_dir, *selection)
        if wide is not None:
            return wide
    return results_all_trials(read_trials(arguments))


def wanted(
    arguments: argparse.Namespace, trials: pd.DataFrame | None, wide: pd.DataFrame, plots: PlotsConfig
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Yield the name of each figure asked for, and what draws it; all that the directory has data for by default.

    ``trials`` are read where a figure needs them and they are None.
    """
    study, title = arguments.study_dir, arguments.title
    pairs = plot_names(arguments.plots) if arguments.plots else plotted(wide)
    pairs = [(arguments.metric, arguments.part)] if arguments.metric else pairs
    for metric, part in [] if arguments.figure else pairs:
        draw = functools.partial(generalization.generalization_figure, wide, metric, part, plots, title)
        yield layout.generalization_plot(metric, part), draw
    drawn = {
        "overview": lambda: generalization.overview_figure(wide, plots, title),
        "training_curves": lambda: generalization.training_curves_figure(read_histories(study, wide), plots, title),
        "reconstructions_by_size": lambda: draw_strip(
            read_first_objects(study, wide), read_trials(arguments) if trials is None else trials, title, plots
        ),
    }
    whole = [] if arguments.metric or arguments.plots else possible_figures(study, wide)
    for name in [arguments.figure] if arguments.figure else whole:
        yield name, drawn[name]


def plot_names(words: list[str]) -> list[tuple[str, str]]:
    """Return metric and part of each plot, from words such as ``psnr_phase``.

    Raises
    ------
    InputError : a word of another form
    """
    pairs = [(metric, part) for metric, _, part in (word.rpartition("_") for word in words)]
    for word, (metric, part) in zip(words, pairs, strict=True):
        if not metric or part not in ("amp", "phase"):
            raise InputError(f"--plots names {word}, expected a metric and a part: psnr_phase, mae_amp")
    return pairs


def draw_strip(
    found: dict[int, tuple[int, dict[str, Any]]], trials: pd.DataFrame, title: str | None, plots: PlotsConfig
) -> Figure:
    """Return the figure of one trial of each size, ``found`` being (trial, objects) by size; without variants."""
    chosen = {size: trial for size, (trial, _) in found.items()}
    rows = trials[(trials["trial"] == trials["train_size"].map(chosen)) & (trials["variant"] == "")]
    title = title or f"Phase, trial {', '.join(map(str, sorted(set(chosen.values()))))} of each size"
    return strip_figure({size: objects for size, (_, objects) in found.items()}, rows, title, plots)


def write_tables(arguments: argparse.Namespace, trials: pd.DataFrame, wide: pd.DataFrame) -> None:
    """Write all tables, made before the first is written: all or none."""
    directory = arguments.output_dir or arguments.study_dir
    tables = {
        layout.RESULTS: results(trials),
        layout.ALL_TRIALS: wide,
        layout.STATISTICS: study_statistics(wide, arguments.seed),
        layout.TIMES: times(arguments.study_dir, wide),
        layout.SCALING_LAW: scaling_laws(wide, targets(arguments.target)),
    }
    for name, table in tables.items():
        text.write_csv(directory / name, table)
    logger.info("wrote %s in %s", ", ".join(tables), directory)


def targets(words: list[str]) -> dict[str, float]:
    """Return the values to reach by metric and part, from words such as ``rmse_phase=0.15``.

    Raises
    ------
    InputError : a word of another form
    """
    found = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise InputError(f"--target is {word}, expected a metric, a part and a value: rmse_phase=0.15") from None
        parse_target(name)
    return found


def print_trials_needed(arguments: argparse.Namespace) -> None:
    """Print the number of trials for intervals of a width, a line on each size and at the end ``num_trials=N``."""
    metric, part = arguments.metric or "rmse", arguments.part or "phase"
    wide = read_wide(arguments)
    if (metric, part) not in metric_parts(wide):
        raise InputError(f"--width: {metric} {part} is not among the results: name another with --metric and --part")
    table, name = wide.assign(**{f"{metric}_{part}": ranked(wide, metric, part)}), f"{metric}_{part}"
    found = {int(str(size)): paired_differences(rows, name) for size, rows in table.groupby("train_size")}
    pairs = {size: values for size, values in found.items() if values is not None}
    needed, lines = trials_needed.plan(pairs, arguments.width, arguments.at_most)
    say("\n".join([*lines, f"num_trials={needed}"]))


def write_size(arguments: argparse.Namespace, trials: pd.DataFrame, plots: PlotsConfig) -> None:
    """Write the table and the figure of one size over its trials."""
    size = arguments.size
    directory = arguments.output_dir or layout.size_dir(arguments.study_dir, size)
    table = per_size(trials, size)
    objects = read_objects(arguments.study_dir, size)
    objects = {trial: images for trial, images in objects.items() if trial in set(table["trial"])}
    text.write_csv(directory / layout.COMPARISON_METRICS, table)
    title = arguments.title or f"{size} training images"
    picture = size_overview_figure(objects, table, title, plots)
    style.save_figure(picture, directory / layout.COMPARISON_PLOT, plots)


entry = entry_point(main, build_parser)
