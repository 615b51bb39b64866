#!/usr/bin/env python
"""Reconstruct the test data by iterative phase retrieval (rPIE), from an empty object or from a model's."""

from ptycho.commands.cli import run
from ptycho.commands.iterative import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
