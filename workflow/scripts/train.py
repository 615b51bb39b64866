#!/usr/bin/env python
"""Train PtychoPINN on diffraction patterns alone, through the physics that produced them."""

from ptycho.commands.cli import run
from ptycho.commands.train import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
