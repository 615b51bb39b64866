#!/usr/bin/env python
"""Say what a file of data holds and what may go wrong with it, and draw it."""

from ptycho.commands.cli import run
from ptycho.commands.inspect_data import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
