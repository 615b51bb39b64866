#!/usr/bin/env python
"""Interpolate, smooth or apodize a reconstruction, in this order where several are given."""

from ptycho.commands.cli import run
from ptycho.commands.prepare_data import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
