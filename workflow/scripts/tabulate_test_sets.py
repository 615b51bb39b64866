#!/usr/bin/env python
"""Gather the metrics of further test sets into tables and figures."""

from ptycho.commands.cli import run
from ptycho.commands.tabulate_test_sets import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
