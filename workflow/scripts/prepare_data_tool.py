#!/usr/bin/env python
"""Interpolate or smooth a reconstruction."""

import argparse
from pathlib import Path

from _command import run

from ptycho.config import PreparationConfig
from ptycho.data import preparation, store
from ptycho.errors import InputError


def build_parser() -> argparse.ArgumentParser:
    defaults = PreparationConfig()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path, help="reconstruction npz")
    parser.add_argument("output", type=Path, help="prepared npz")
    parser.add_argument("--interpolate", action="store_true", help="resample object and probe on finer pixels")
    parser.add_argument(
        "--zoom-factor",
        type=float,
        default=defaults.zoom_factor,
        help="of --interpolate (default: %(default)s)",
    )
    parser.add_argument("--smooth", action="store_true", help="blur with a Gaussian")
    parser.add_argument(
        "--target", choices=("object", "probe"), default="object", help="of --smooth (default: %(default)s)"
    )
    parser.add_argument(
        "--sigma",
        type=float,
        default=defaults.smooth_object_sigma,
        help="of --smooth, pixels (default: %(default)s)",
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    if not arguments.interpolate and not arguments.smooth:
        raise InputError("nothing to do: give --interpolate, --smooth or both")
    if not 0 <= arguments.sigma < float("inf"):
        raise InputError(f"--sigma is {arguments.sigma:g}, expected 0 or more pixels")
    result = store.read_reconstruction(arguments.input)
    if arguments.interpolate:
        result = preparation.interpolate(result, arguments.zoom_factor)
    if arguments.smooth:
        result = preparation.smooth(result, arguments.target, arguments.sigma)
    store.write_reconstruction(arguments.output, result)


if __name__ == "__main__":
    run(main, build_parser())
