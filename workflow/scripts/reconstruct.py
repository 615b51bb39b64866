#!/usr/bin/env python
"""Reconstruct a scan with a trained model."""

from ptycho.commands.cli import run
from ptycho.commands.reconstruct import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
