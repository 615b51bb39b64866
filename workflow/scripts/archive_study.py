#!/usr/bin/env python
"""Put a finished study into one archive with checksums (RO-Crate), or verify one."""

from ptycho.commands.archive_study import build_parser, main
from ptycho.commands.cli import run

if __name__ == "__main__":
    run(main, build_parser())
