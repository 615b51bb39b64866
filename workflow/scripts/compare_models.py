#!/usr/bin/env python
"""Reconstruct the test data with the models, align with the truth, and score."""

from ptycho.commands.cli import run
from ptycho.commands.compare import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
