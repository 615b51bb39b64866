#!/usr/bin/env python
"""Convert a data set between the study's npz and the field's formats."""

from ptycho.commands.cli import run
from ptycho.commands.convert_dataset import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
