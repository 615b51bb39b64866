#!/usr/bin/env python
"""Draw the procedural specimen: an object, a probe and positions, in the form of a reconstruction."""

from ptycho.commands.cli import run
from ptycho.commands.make_specimen import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
