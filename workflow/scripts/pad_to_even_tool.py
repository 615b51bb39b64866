#!/usr/bin/env python
"""Pad object and probe to even sides; positions keep their meaning."""

import argparse
from pathlib import Path

from _command import run

from ptycho.data import preparation, store


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path, help="npz with objectGuess, probeGuess, xcoords, ycoords")
    parser.add_argument("output", type=Path, help="padded npz")
    return parser


def main(arguments: argparse.Namespace) -> None:
    store.read_reconstruction(arguments.input)  # checks it
    store.write_npz(arguments.output, preparation.pad_to_even(store.read_npz(arguments.input)))


if __name__ == "__main__":
    run(main, build_parser())
