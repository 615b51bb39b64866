"""Convert names, axis order and types to the study's: diff3d to diffraction, (N, N, n) to (n, N, N), complex64."""

import argparse
from pathlib import Path

from ptycho.commands.cli import check_output, entry_point
from ptycho.io import files, npz
from ptycho.preparation import resample


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path, help="npz with objectGuess, probeGuess, xcoords, ycoords")
    parser.add_argument("output", type=Path, help="npz in the study's format")
    parser.add_argument("--flipx", action="store_true", help="mirror the scan left to right: images, patterns, xcoords")
    parser.add_argument("--flipy", action="store_true", help="mirror it top to bottom")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Convert names, axis order and types, and write all arrays."""
    check_output(arguments.output, arguments.input)
    arrays = npz.read_npz(arguments.input, ("objectGuess", "probeGuess", "xcoords", "ycoords"))
    with files.error_context(arguments.input):
        result = resample.transpose_rename_convert(arrays, flipx=arguments.flipx, flipy=arguments.flipy)
    npz.write_npz(arguments.output, result)


entry = entry_point(main, build_parser)
