#!/usr/bin/env python
"""Prepare the halves of a simulated scan in one process, for test sets and variants with data of their own."""

from ptycho.commands.cli import run
from ptycho.commands.prepare_dataset import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
