#!/usr/bin/env python
"""Copy the trainings and scores of a study into an MLflow experiment."""

from ptycho.commands.cli import run
from ptycho.commands.export_mlflow import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
