"""Reconstruct the test data by iterative phase retrieval (rPIE), from an empty object or from a model's.

Writes reconstruction.npz (reconstructed_object (H, W) complex64, computation_time_s, metadata) and convergence.csv
(R-factor and time of each iteration). With --model_dir the initial object is that reconstructed by the PtychoPINN
or baseline model there from the same patterns.
"""

import argparse
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ptycho.commands.assumed import assumed
from ptycho.commands.cli import entry_point
from ptycho.commands.inference import EVALUATION_ALIASES, add_test_flags, model_kind, read_test_data, reconstruct
from ptycho.config.flags import add_flags, from_flags
from ptycho.config.schema import EvaluationConfig, IterativeConfig
from ptycho.config.test_sets import ProbeErrorConfig
from ptycho.data.dataset import Dataset
from ptycho.data.seeds import derive_seed
from ptycho.errors import InputError
from ptycho.io import npz, text
from ptycho.physics import phase_retrieval
from ptycho.results import layout

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, required=True, help="where the reconstruction is written")
    parser.add_argument("--model_dir", type=Path, help="trained model whose object is the initial one (default: empty)")
    add_test_flags(parser)
    skip = ("registration_max_px", "custom_metrics")
    add_flags(parser.add_argument_group("evaluation"), EvaluationConfig, skip, aliases=EVALUATION_ALIASES)
    add_flags(parser.add_argument_group("rPIE"), IterativeConfig)
    add_flags(parser.add_argument_group("errors of the probe and positions that rPIE assumes"), ProbeErrorConfig)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Reconstruct the test data, and write the object and the convergence."""
    settings, evaluation = from_flags(IterativeConfig, arguments), from_flags(EvaluationConfig, arguments)
    kind = None if arguments.model_dir is None else model_kind(arguments.model_dir)
    test = read_test_data(arguments, evaluation.n_test_images)
    error = from_flags(ProbeErrorConfig, arguments)
    if kind is not None and not error.is_zero:
        raise InputError("--model_dir: its model assumes the true probe and positions: give errors without --model_dir")
    shape, start, before = test.object_shape, None, 0.0  # without an object the shape follows from the positions
    test = assumed(test, error, arguments.seed)
    if kind is not None:
        start, before = _start(arguments.model_dir, kind, test, evaluation)
    iterations = settings.iterations if start is None else settings.refined_iterations
    rng = np.random.default_rng(derive_seed(arguments.seed, "iterative"))
    if start is None and not error.is_zero:
        start = np.ones(shape, np.complex64)
    retrieved = phase_retrieval.reconstruct(test, iterations, settings.alpha, rng, start)
    parameters = {
        "engine": "rPIE", "iterations": iterations, "alpha": settings.alpha, "patterns": len(test),
        "start": "empty" if kind is None else kind,
    }  # fmt: skip
    parameters |= {name: value for name, value in asdict(error).items() if value}
    text.write_csv(arguments.output_dir / layout.CONVERGENCE, retrieved.convergence)
    npz.write_npz(
        arguments.output_dir / layout.RECONSTRUCTION,
        {
            "reconstructed_object": retrieved.object,
            "computation_time_s": np.float64(before + retrieved.seconds),
            "metadata": text.metadata_json(test.metadata.with_step("iterative", parameters)),
        },
    )


def _start(directory: Path, kind: Any, test: Dataset, evaluation: EvaluationConfig) -> tuple[Any, float]:
    """Return the model's object, uncovered pixels filled, and its computation time, s."""
    from ptycho.models import devices

    devices.configure(use_gpu=False)
    stitched, seconds = reconstruct(directory, kind, test, evaluation)
    return phase_retrieval.fill_uncovered(stitched.object, stitched.weight), seconds


entry = entry_point(main, build_parser)
