#!/usr/bin/env python
"""Gather the metrics of a study into tables and generalization plots.

With --metric, --part and --output one plot is made; with --size, the table and picture of one size; otherwise
results.csv, results_all_trials.csv, statistics.csv and a plot of every metric.
"""

import argparse
import logging
import typing
from pathlib import Path

import pandas as pd
from _command import run

from ptycho.config import PlotsConfig, StudyConfig, add_flags, from_flags
from ptycho.data import store
from ptycho.errors import InputError
from ptycho.study import aggregation, figures, pictures
from ptycho.study.statistics import study_statistics

logger = logging.getLogger("aggregate_and_plot_results")
FORMATS = typing.get_args(typing.get_args(typing.get_type_hints(PlotsConfig)["formats"])[0])


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study_dir", type=Path, help="directory that holds train_SIZE/")
    parser.add_argument("--metric", help="plot this metric alone, e.g. psnr, frc50, mae")
    parser.add_argument("--part", choices=("amp", "phase"), help="of the amplitude or of the phase")
    parser.add_argument(
        "--output",
        help="file of the plot; a bare name goes into STUDY_DIR (default: METRIC_PART_generalization.png)",
    )
    parser.add_argument("--title", help="title above each plot")
    parser.add_argument("--tables-only", action="store_true", help="write the three csv files and no plot")
    parser.add_argument("--size", type=int, help="write the table and picture of this number of training images alone")
    parser.add_argument("--seed", type=int, default=StudyConfig().seed, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--train-sizes", type=int, nargs="+", help="use these sizes only (default: all found)")
    parser.add_argument("--num-trials", type=int, help="use trials up to this number (default: all found)")
    plots = parser.add_argument_group("appearance")
    add_flags(plots, PlotsConfig, skip=("formats",))
    plots.add_argument(
        "--formats",
        nargs="+",
        choices=FORMATS,
        default=["png"],
        help="files written for each figure (default: png)",
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    if (arguments.metric is None) != (arguments.part is None) or (arguments.output and not arguments.metric):
        raise InputError("--metric and --part go together, and --output with both: give --metric M --part amp|phase")
    if arguments.size is not None and (arguments.metric or arguments.tables_only):
        raise InputError("--size makes the files of one size: leave out --metric and --tables-only")
    plots = from_flags(PlotsConfig, arguments)
    trials = aggregation.select(
        aggregation.read_trials(arguments.study_dir), arguments.train_sizes, arguments.num_trials
    )
    if arguments.size is not None:
        write_size(arguments.study_dir, trials, arguments.size, arguments.title, plots)
        return
    wide = aggregation.results_all_trials(trials)
    if arguments.metric is None:
        write_tables(arguments.study_dir, trials, wide, arguments.seed)
    wanted = [(arguments.metric, arguments.part)] if arguments.metric else aggregation.metric_parts(wide)
    for metric, part in [] if arguments.tables_only else wanted:
        path = Path(arguments.output or f"{metric}_{part}_generalization.png")
        path = arguments.study_dir / path if len(path.parts) == 1 else path
        figures.save_figure(figures.generalization_figure(wide, metric, part, plots, arguments.title), path, plots)


def write_tables(study_dir: Path, trials: pd.DataFrame, wide: pd.DataFrame, seed: int) -> None:
    store.write_csv(study_dir / "results.csv", aggregation.results(trials))
    store.write_csv(study_dir / "results_all_trials.csv", wide)
    store.write_csv(study_dir / "statistics.csv", study_statistics(wide, seed))
    logger.info("wrote results.csv, results_all_trials.csv and statistics.csv in %s", study_dir)


def write_size(study_dir: Path, trials: pd.DataFrame, size: int, title: str | None, plots: PlotsConfig) -> None:
    table = aggregation.per_size(trials, size)
    objects = aggregation.read_objects(study_dir, size)
    objects = {trial: images for trial, images in objects.items() if trial in set(table["trial"])}
    directory = study_dir / f"train_{size}"
    store.write_csv(directory / "comparison_metrics.csv", table)
    title = title or f"{size} training images"
    picture = pictures.size_overview_figure(objects, table, title, plots)
    figures.save_figure(picture, directory / "comparison_plot.png", plots)


if __name__ == "__main__":
    run(main, build_parser())
