#!/usr/bin/env python
"""Draw the procedural specimen: an object, a probe and positions, as if they had been reconstructed."""

import argparse
import dataclasses
from pathlib import Path

from _command import run

from ptycho.config import SpecimenConfig, StudyConfig, add_flags, from_flags
from ptycho.data import specimen, store


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="reconstruction npz")
    parser.add_argument("--seed", type=int, default=StudyConfig().seed, help="default: %(default)s")
    add_flags(parser, SpecimenConfig)
    return parser


def main(arguments: argparse.Namespace) -> None:
    config = from_flags(SpecimenConfig, arguments)
    drawn = specimen.specimen(**dataclasses.asdict(config), seed=arguments.seed)
    store.write_reconstruction(arguments.output, drawn)


if __name__ == "__main__":
    run(main, build_parser())
