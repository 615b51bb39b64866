#!/usr/bin/env python
"""Merge the logs of a study into study_log.txt, in time order, each line under the name of its log."""

from ptycho.commands.cli import run
from ptycho.commands.collect_logs import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
