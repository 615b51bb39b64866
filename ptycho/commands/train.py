"""Train PtychoPINN on diffraction patterns alone, through the physics that produced them.

Writes wts.h5.zip, history.dill, params.dill (each dill also as JSON) and training.log.
"""

import argparse
from pathlib import Path

from ptycho.commands.cli import entry_point
from ptycho.commands.training import add_common_flags, train_and_save
from ptycho.config.schema import PinnConfig


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train_data_file", type=Path, required=True, help="training dataset npz")
    parser.add_argument("--test_data_file", type=Path, help="test dataset npz; checked, not trained on")
    add_common_flags(parser, "--nepochs", PinnConfig)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Train PtychoPINN and write the model."""
    train_and_save(arguments, PinnConfig, arguments.train_data_file, arguments.test_data_file)


entry = entry_point(main, build_parser)
