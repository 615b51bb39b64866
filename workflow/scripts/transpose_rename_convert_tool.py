#!/usr/bin/env python
"""Bring names, axis order and types to the study's format: diff3d to diffraction, (N, N, n) to (n, N, N), complex64."""

import argparse
from pathlib import Path

from _command import refuse_overwriting, run

from ptycho.data import canonical, store


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path, help="npz with objectGuess, probeGuess, xcoords, ycoords")
    parser.add_argument("output", type=Path, help="npz in the study's format")
    parser.add_argument("--flipx", action="store_true", help="mirror the scan left to right: images, patterns, xcoords")
    parser.add_argument("--flipy", action="store_true", help="mirror it top to bottom")
    return parser


def main(arguments: argparse.Namespace) -> None:
    refuse_overwriting(arguments.input, arguments.output)
    arrays = store.read_npz(arguments.input, ("objectGuess", "probeGuess", "xcoords", "ycoords"))
    with store.naming(arguments.input):
        result = canonical.transpose_rename_convert(arrays, flipx=arguments.flipx, flipy=arguments.flipy)
    store.write_npz(arguments.output, result)


if __name__ == "__main__":
    run(main, build_parser())
