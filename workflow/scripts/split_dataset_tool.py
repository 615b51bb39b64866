#!/usr/bin/env python
"""Split a dataset by position into OUTPUT_DIR/STEM_train.npz (low coordinates) and OUTPUT_DIR/STEM_test.npz."""

from ptycho.commands.cli import run
from ptycho.commands.split_dataset import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
