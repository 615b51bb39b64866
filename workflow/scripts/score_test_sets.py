#!/usr/bin/env python
"""Reconstruct and score further test sets with the models of a trial."""

from ptycho.commands.cli import run
from ptycho.commands.score_test_sets import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
