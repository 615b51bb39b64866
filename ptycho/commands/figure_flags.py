"""Flags of the commands that draw figures from the trials of a study."""

import argparse
import typing

from ptycho.config.flags import add_flags
from ptycho.config.schema import PlotsConfig

FORMATS = typing.get_args(typing.get_args(typing.get_type_hints(PlotsConfig)["formats"])[0])


def add_selection_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that select sizes and trials."""
    parser.add_argument("--train-sizes", type=int, nargs="+", help="use these sizes only (default: all found)")
    parser.add_argument("--num-trials", type=int, help="use trials up to this number (default: all found)")


def add_appearance_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the configuration section plots."""
    plots = parser.add_argument_group("appearance")
    add_flags(plots, PlotsConfig, skip=("formats",))
    plots.add_argument(
        "--formats",
        nargs="+",
        choices=FORMATS,
        default=list(PlotsConfig().formats),
        help="files written beside the png (default: %(default)s)",
    )
