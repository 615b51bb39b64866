#!/usr/bin/env python
"""Make the sides of object and probe even, as the following steps require."""

from ptycho.commands.cli import run
from ptycho.commands.pad_to_even import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
