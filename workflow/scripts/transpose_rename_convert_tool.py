#!/usr/bin/env python
"""Convert names, axis order and types to the study's: diff3d to diffraction, (N, N, n) to (n, N, N), complex64."""

from ptycho.commands.cli import run
from ptycho.commands.transpose_rename_convert import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
