#!/usr/bin/env python
"""Gather the trials of a sweep of a key into a table and a figure."""

from ptycho.commands.cli import run
from ptycho.commands.plot_sweep import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
