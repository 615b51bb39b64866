"""Make the sides of object and probe even, as the following steps require."""

import argparse
from pathlib import Path

from ptycho.commands.cli import check_output, entry_point
from ptycho.io import files, npz
from ptycho.preparation import resample
from ptycho.preparation.load import read_arrays


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path, help="npz with objectGuess, probeGuess, xcoords, ycoords")
    parser.add_argument("output", type=Path, help="npz to write; other arrays pass through")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Pad object and probe and write all arrays."""
    check_output(arguments.output, arguments.input)
    arrays = read_arrays(arguments.input)
    with files.error_context(arguments.input):
        padded = resample.pad_to_even(arrays, files.sha256(arguments.input))
    npz.write_npz(arguments.output, padded)


entry = entry_point(main, build_parser)
