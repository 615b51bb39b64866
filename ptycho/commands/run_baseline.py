"""Train the supervised baseline on diffraction patterns and the true patches.

Writes baseline_model.h5, history.dill, params.dill, recon.dill (the object stitched from the test patterns; each
dill also as JSON) and training.log.
"""

import argparse
from pathlib import Path

from ptycho.commands.cli import entry_point
from ptycho.commands.inference import stitched
from ptycho.commands.training import add_common_flags, train_and_save
from ptycho.config.flags import add_flags, from_flags
from ptycho.config.schema import BaselineConfig, EvaluationConfig
from ptycho.io import text
from ptycho.results import layout


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train_data", type=Path, required=True, help="training dataset npz with Y")
    parser.add_argument(
        "--test_data", type=Path, help=f"test dataset npz; {layout.RECON_DILL} is reconstructed from it"
    )
    add_common_flags(parser, "--epochs", BaselineConfig)
    add_flags(parser, EvaluationConfig, skip=("registration_max_px", "n_test_images"))
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Train the baseline, and reconstruct the test data where given."""
    evaluation = from_flags(EvaluationConfig, arguments)
    trained, test = train_and_save(arguments, BaselineConfig, arguments.train_data, arguments.test_data)
    if test is None:
        return
    from ptycho.models.inference import reconstruct_patches

    patches = reconstruct_patches(trained.model, test)
    result = stitched(patches, test, evaluation)
    text.write_dill(
        arguments.output_dir / layout.RECON_DILL,
        {"object": result.object, "weight": result.weight, "test_data": str(arguments.test_data)},
    )


entry = entry_point(main, build_parser)
