#!/usr/bin/env python
"""Part a dataset by position into OUTPUT_DIR/STEM_train.npz (low coordinates) and OUTPUT_DIR/STEM_test.npz."""

import argparse
from pathlib import Path

from _command import run

from ptycho.data import measured, preparation, store


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path, help="dataset npz")
    parser.add_argument("output_dir", type=Path, help="where both halves go")
    parser.add_argument(
        "--split-fraction",
        type=float,
        default=0.5,
        help="share of training (default: %(default)s)",
    )
    parser.add_argument("--split-axis", choices=("x", "y"), default="y", help="default: %(default)s")
    parser.add_argument(
        "--split-gap", type=float, default=0.0,
        help="test patterns closer than this to the training half are left out, pixels (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--name", help="stem of both files (default: that of the input)")
    return parser


def main(arguments: argparse.Namespace) -> None:
    dataset = measured.open_dataset(arguments.input)
    halves = preparation.split(dataset, arguments.split_fraction, arguments.split_axis, arguments.split_gap)
    stem = arguments.name or arguments.input.stem
    for part, half in zip(("train", "test"), halves, strict=True):
        store.write_dataset(arguments.output_dir / f"{stem}_{part}.npz", half)


if __name__ == "__main__":
    run(main, build_parser())
