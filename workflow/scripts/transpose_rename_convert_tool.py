#!/usr/bin/env python
"""Bring names, axis order and types to the study's format: diff3d to diffraction, (N, N, n) to (n, N, N), float32."""

import argparse
from pathlib import Path

from _command import run

from ptycho.data import preparation, store


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path, help="npz with objectGuess, probeGuess, xcoords, ycoords")
    parser.add_argument("output", type=Path, help="npz in the study's format")
    return parser


def main(arguments: argparse.Namespace) -> None:
    arrays = store.read_npz(arguments.input, ("objectGuess", "probeGuess", "xcoords", "ycoords"))
    store.write_npz(arguments.output, preparation.canonicalize(arrays))


if __name__ == "__main__":
    run(main, build_parser())
