#!/usr/bin/env python
"""Write STUDY_SUMMARY.md, results_table.tex, costs.csv and costs.png from what a study holds."""

from ptycho.commands.cli import run
from ptycho.commands.summarize import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
