"""Gather the trials of a sweep of a key into a table and a figure: each metric against the value.

Writes OUTPUT (png, and in further formats) and beside it a csv file of the same name, with the trials.
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from ptycho.commands.cli import entry_point
from ptycho.commands.figure_flags import add_appearance_flags, add_selection_flags
from ptycho.config.flags import from_flags
from ptycho.config.schema import PlotsConfig
from ptycho.errors import InputError
from ptycho.io import text
from ptycho.plotting import style
from ptycho.plotting.sweep import sweep_figure
from ptycho.study import sweeps
from ptycho.study.tables import results_all_trials
from ptycho.study.trials import read_trials, select

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Return the flags of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study_dir", type=Path, help="directory that holds train_SIZE/ and variants/")
    parser.add_argument("--key", required=True, help="that was swept, e.g. simulation.n_photons")
    parser.add_argument(
        "--values", required=True, metavar="JSON", help='of each variant, "" for the study: {"n_photons_1000": 1000}'
    )
    parser.add_argument(
        "--data", default="{}", metavar="JSON", help="dataset of each, whose mean spacing of positions is the axis"
    )
    parser.add_argument("--output", type=Path, required=True, help="figure to write, png")
    parser.add_argument("--variants", nargs="*", help="ignored: the variants are those of --values")
    add_selection_flags(parser)
    add_appearance_flags(parser)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Write the table and the figure of a sweep.

    Raises
    ------
    InputError : no trials, or values that are no JSON object
    """
    values, data = (_mapping(flag, getattr(arguments, flag)) for flag in ("values", "data"))
    if data and set(data) != set(values):
        raise InputError(f"--data names {', '.join(data)}, but --values {', '.join(values)}: give both for the same")
    found = read_trials(arguments.study_dir, [name for name in values if name])
    wide = results_all_trials(select(found, arguments.train_sizes, arguments.num_trials))
    spacing = {name: sweeps.mean_spacing_px(path) for name, path in data.items()}
    table = sweeps.sweep_trials(wide, values, spacing)
    plots = from_flags(PlotsConfig, arguments)
    text.write_csv(arguments.output.with_suffix(".csv"), table.drop(columns="x"))
    style.save_figure(sweep_figure(table, arguments.key, plots), arguments.output, plots, also=plots.formats)


def _mapping(flag: str, word: str) -> dict[str, Any]:
    """Return the mapping of a JSON object."""
    try:
        found = json.loads(word)
    except ValueError as error:
        raise InputError(f"--{flag} is {word:.60}: not JSON ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"--{flag} is {word:.60}: expected a JSON object")
    return found


entry = entry_point(main, build_parser)
