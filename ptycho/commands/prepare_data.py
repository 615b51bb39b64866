"""Interpolate, smooth or apodize a reconstruction, in this order where several are given."""

import argparse
from pathlib import Path

from ptycho.commands.cli import check_output, entry_point
from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.preparation import resample
from ptycho.preparation.load import read_reconstruction


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path, help="reconstruction npz")
    parser.add_argument("output", type=Path, help="prepared npz")
    parser.add_argument("--interpolate", action="store_true", help="resample object and probe on finer pixels")
    parser.add_argument(
        "--zoom-factor",
        type=float,
        default=2.0,
        help="of --interpolate (default: %(default)s)",
    )
    parser.add_argument("--smooth", action="store_true", help="blur with a Gaussian")
    parser.add_argument(
        "--sigma",
        type=float,
        default=0.5,
        help="of --smooth, pixels (default: %(default)s)",
    )
    parser.add_argument("--apodize", action="store_true", help="multiply by a Tukey window, which is 0 at the border")
    parser.add_argument(
        "--alpha", type=float, default=0.2, help="of --apodize, fraction of a side that tapers (default: %(default)s)"
    )
    parser.add_argument(
        "--target",
        choices=("object", "probe"),
        default="object",
        help="of --smooth and --apodize (default: %(default)s)",
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Apply the steps to the reconstruction and write it."""
    check_output(arguments.output, arguments.input)
    if not (arguments.interpolate or arguments.smooth or arguments.apodize):
        raise InputError("nothing to do: give --interpolate, --smooth, --apodize or several")
    if not 0 <= arguments.sigma < float("inf"):
        raise InputError(f"--sigma is {arguments.sigma:g}, expected 0 or more pixels")
    result = read_reconstruction(arguments.input)
    if arguments.interpolate:
        result = resample.interpolate(result, arguments.zoom_factor)
    if arguments.smooth:
        result = resample.smooth(result, arguments.target, arguments.sigma)
    if arguments.apodize:
        result = resample.apodize(result, arguments.target, arguments.alpha)
    npz.write_reconstruction(arguments.output, result)


entry = entry_point(main, build_parser)
