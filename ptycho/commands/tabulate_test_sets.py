"""Gather the metrics of further test sets into tables and figures.

Writes test_sets_all_trials.csv, test_sets.csv, generalization_matrix.csv and .png, METRIC_PART_test_sets.png for each
metric, and probe_error_NAME.png for each list of strengths.
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd

from ptycho.commands.cli import entry_point
from ptycho.commands.figure_flags import add_appearance_flags, add_selection_flags
from ptycho.config.flags import from_flags
from ptycho.config.schema import PlotsConfig
from ptycho.errors import InputError
from ptycho.io import text
from ptycho.plotting import matrix as drawing
from ptycho.plotting import style
from ptycho.results import layout
from ptycho.study import test_sets
from ptycho.study.tables import plotted

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Return the flags of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study_dir", type=Path, help="directory that holds train_SIZE/trial_N/test_NAME/")
    parser.add_argument("--output_dir", type=Path, help="where tables and figures go (default: STUDY_DIR)")
    parser.add_argument("--sets", nargs="+", help="use these test sets only, in this order (default: all found)")
    parser.add_argument(
        "--strengths", default="{}", metavar="JSON",
        help='lists of strengths by name: {"defocus": {"key": "defocus_rad", "sets": {"defocus_1": 1}}}',
    )  # fmt: skip
    parser.add_argument("--plots", nargs="*", help="draw these, e.g. rmse_phase (default: every metric and part)")
    parser.add_argument("--variants", nargs="*", help="use these variants only (default: all found)")
    parser.add_argument("--swept", nargs="*", default=[], help="variants of sweeps, which have figures of their own")
    add_selection_flags(parser)
    add_appearance_flags(parser)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Write the tables and figures of the test sets.

    Raises
    ------
    InputError : no test set was scored, or a file is not a table of metrics
    """
    plots = from_flags(PlotsConfig, arguments)
    out = arguments.output_dir or arguments.study_dir
    selection = arguments.variants, arguments.train_sizes, arguments.num_trials
    by_set = test_sets.read_test_sets(arguments.study_dir, *selection, sets=arguments.sets)
    wide = test_sets.all_trials(by_set)
    losses = test_sets.matrix(wide)
    tables = {
        layout.TEST_SET_TRIALS: wide,
        layout.TEST_SET_RESULTS: test_sets.set_results(by_set),
        layout.MATRIX: losses,
    }
    for name, table in tables.items():
        text.write_csv(out / name, table)
    pairs = [pair for pair in plotted(wide) if arguments.plots is None or "_".join(pair) in arguments.plots]
    strengths = _strengths(arguments.strengths)
    left = arguments.swept, {name for entry in strengths.values() for name in entry["sets"]}
    _draw(out, test_sets.drawn(wide, *left), test_sets.drawn(losses, *left), pairs, plots)
    others = wide[~wide["variant"].isin(arguments.swept)]
    for name, entry in strengths.items():
        figure = drawing.strength_figure(others, entry["key"], entry["sets"], plots)
        _save(figure, out / layout.probe_error_plot(name), plots)
    logger.info("wrote %s in %s", ", ".join(tables), out)


def _draw(
    out: Path,
    wide: pd.DataFrame,
    losses: pd.DataFrame,
    pairs: list[tuple[str, str]],
    plots: PlotsConfig,
) -> None:
    """Draw and save the matrix and the plots by test set; ``pairs`` are the metrics and parts that have one each."""
    _save(drawing.matrix_figure(losses, plots), out / layout.MATRIX_PLOT, plots)
    for metric, part in pairs:
        _save(drawing.by_test_set_figure(wide, metric, part, plots), out / layout.test_set_plot(metric, part), plots)


def _save(figure: Any, stem: Path, plots: PlotsConfig) -> None:
    """Save a figure as PNG and in the other formats, under a path without extension."""
    style.save_figure(figure, stem.with_name(f"{stem.name}.png"), plots, also=plots.formats)


def _strengths(word: str) -> dict[str, Any]:
    """Return the lists of strengths of their JSON."""
    try:
        found = json.loads(word)
        checked = {
            str(name): {"key": str(entry["key"]), "sets": {str(k): float(v) for k, v in entry["sets"].items()}}
            for name, entry in found.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"--strengths is {word:.60}: expected JSON of key and sets by name ({error})") from error
    return checked


entry = entry_point(main, build_parser)
