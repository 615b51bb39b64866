"""Crop the detector and bin the object plane by the same factor: fewer, larger pixels of the same field of view."""

import argparse
import logging
from pathlib import Path

from ptycho.commands.cli import check_output, entry_point
from ptycho.io import files, npz
from ptycho.preparation import resample
from ptycho.preparation.load import load_scan

logger = logging.getLogger("downsample")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path, help="dataset npz")
    parser.add_argument("output", type=Path, help="downsampled dataset npz")
    parser.add_argument("--crop-factor", type=int, default=2, help="of the detector (default: %(default)s)")
    parser.add_argument(
        "--bin-factor",
        type=int,
        default=2,
        help="of the object plane (default: %(default)s)",
    )
    parser.add_argument(
        "--method", choices=("bin", "fourier"), default="bin",
        help="how the probe is resampled: pixels averaged, or its spectrum cropped (default: %(default)s)",
    )  # fmt: skip
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Downsample the dataset and write it."""
    check_output(arguments.output, arguments.input)
    npz.verify_checksums(arguments.input)
    dataset = load_scan(arguments.input)
    with files.error_context(arguments.input):
        small = resample.downsample(dataset, arguments.crop_factor, arguments.bin_factor, arguments.method)
    npz.write_dataset(arguments.output, small)
    if small.metadata.model_mismatch is not None:
        logger.info("probe times object misses the patterns by %.2f %%", 100 * small.metadata.model_mismatch)


entry = entry_point(main, build_parser)
