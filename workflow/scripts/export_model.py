#!/usr/bin/env python
"""Export a trained model as ONNX, for servers that have neither TensorFlow nor this package."""

from ptycho.commands.cli import run
from ptycho.commands.export_model import build_parser, main

if __name__ == "__main__":
    run(main, build_parser())
