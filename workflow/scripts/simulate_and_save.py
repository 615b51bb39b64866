#!/usr/bin/env python
"""Simulate a scan of a reconstruction: random positions, far-field patterns, Poisson noise."""

from ptycho.commands.cli import run
from ptycho.commands.simulate_and_save import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
