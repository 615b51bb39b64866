#!/usr/bin/env python
"""Gather the metrics of a study into tables and generalization plots."""

from ptycho.commands.aggregate import build_parser, main
from ptycho.commands.cli import run

if __name__ == "__main__":
    run(main, build_parser())
