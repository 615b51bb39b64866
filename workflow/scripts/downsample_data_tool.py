#!/usr/bin/env python
"""Crop the detector and bin the object plane by the same factor: fewer, larger pixels of the same field."""

import argparse
from pathlib import Path

from _command import run

from ptycho.config import PreparationConfig
from ptycho.data import preparation, store


def build_parser() -> argparse.ArgumentParser:
    defaults = PreparationConfig()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path, help="dataset npz")
    parser.add_argument("output", type=Path, help="downsampled dataset npz")
    parser.add_argument(
        "--crop-factor", type=int, default=defaults.crop_factor, help="of the detector (default: %(default)s)"
    )
    parser.add_argument(
        "--bin-factor",
        type=int,
        default=defaults.bin_factor,
        help="of the object plane (default: %(default)s)",
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    dataset = store.read_dataset(arguments.input)
    store.write_dataset(arguments.output, preparation.downsample(dataset, arguments.crop_factor, arguments.bin_factor))


if __name__ == "__main__":
    run(main, build_parser())
