#!/usr/bin/env python
"""Report the content of a data file and its problems, and draw it."""

from ptycho.commands.cli import run
from ptycho.commands.inspect_data import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
