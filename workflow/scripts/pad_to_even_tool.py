#!/usr/bin/env python
"""Make the sides of object and probe even, as the steps that follow need them."""

import argparse
from pathlib import Path

from _command import refuse_overwriting, run

from ptycho.data import canonical, files, store


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path, help="npz with objectGuess, probeGuess, xcoords, ycoords")
    parser.add_argument("output", type=Path, help="npz to write; other arrays pass through")
    return parser


def main(arguments: argparse.Namespace) -> None:
    refuse_overwriting(arguments.input, arguments.output)
    store.read_reconstruction(arguments.input)  # checks it
    arrays = store.read_npz(arguments.input, ("objectGuess", "probeGuess", "xcoords", "ycoords"))
    with store.naming(arguments.input):
        padded = canonical.pad_to_even(arrays, files.sha256(arguments.input))
    store.write_npz(arguments.output, padded)


if __name__ == "__main__":
    run(main, build_parser())
