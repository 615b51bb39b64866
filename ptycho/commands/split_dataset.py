"""Split a dataset by position into OUTPUT_DIR/STEM_train.npz (low coordinates) and OUTPUT_DIR/STEM_test.npz."""

import argparse
from contextlib import ExitStack
from pathlib import Path

from ptycho.commands.cli import entry_point
from ptycho.data.dataset import require_counts
from ptycho.errors import InputError
from ptycho.io import files, npz
from ptycho.preparation.load import load_scan
from ptycho.preparation.split import split


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path, help="dataset npz")
    parser.add_argument("output_dir", type=Path, help="directory of both halves")
    parser.add_argument(
        "--split-fraction",
        type=float,
        default=0.5,
        help="fraction of training patterns (default: %(default)s)",
    )
    parser.add_argument("--split-axis", choices=("x", "y"), default="y", help="default: %(default)s")
    parser.add_argument(
        "--split-gap", type=float, default=0.0,
        help="test patterns closer than this to the training half are excluded, pixels (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--name", help="stem of both files (default: that of the input)")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Split the dataset and write both parts."""
    npz.verify_checksums(arguments.input)
    dataset = load_scan(arguments.input)
    with files.error_context(arguments.input):
        require_counts(dataset)
    halves = split(dataset, arguments.split_fraction, arguments.split_axis, arguments.split_gap)
    stem = arguments.name or arguments.input.stem
    if Path(stem).name != stem:
        raise InputError(f"--name is {stem}, expected the stem of a file, without a directory")
    with ExitStack() as both_or_none:
        for part, half in zip(("train", "test"), halves, strict=True):
            path = both_or_none.enter_context(files.replacing(arguments.output_dir / f"{stem}_{part}.npz"))
            npz.write_dataset(path, half)


entry = entry_point(main, build_parser)
