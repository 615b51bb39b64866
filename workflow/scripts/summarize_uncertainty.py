#!/usr/bin/env python
"""Compare the spread over the trials of a study with the error of their mean."""

from ptycho.commands.cli import run
from ptycho.commands.uncertainty import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
