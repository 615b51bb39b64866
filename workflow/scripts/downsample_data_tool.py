#!/usr/bin/env python
"""Crop the detector and bin the object plane by the same factor: fewer, larger pixels of the same field of view."""

from ptycho.commands.cli import run
from ptycho.commands.downsample_data import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
