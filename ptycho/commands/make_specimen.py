"""Draw the procedural specimen: an object, a probe and positions, in the form of a reconstruction."""

import argparse
import dataclasses
from pathlib import Path

from ptycho.commands.cli import check_output, entry_point
from ptycho.config.flags import add_flags, from_flags
from ptycho.config.schema import SpecimenConfig, StudyConfig
from ptycho.io import npz
from ptycho.preparation import specimen


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="reconstruction npz")
    parser.add_argument("--seed", type=int, default=StudyConfig().seed, help="default: %(default)s")
    add_flags(parser, SpecimenConfig)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Draw the specimen and write it."""
    check_output(arguments.output)
    config = from_flags(SpecimenConfig, arguments)
    drawn = specimen.specimen(**dataclasses.asdict(config), seed=arguments.seed)
    npz.write_reconstruction(arguments.output, drawn)


entry = entry_point(main, build_parser)
