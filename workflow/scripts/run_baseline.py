#!/usr/bin/env python
"""Train the supervised baseline on diffraction patterns and the true patches."""

from ptycho.commands.cli import run
from ptycho.commands.run_baseline import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
