"""What the commands that use a trained model share: the test data, and the way from a model to a stitched object."""

import argparse
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ptycho.config.flags import add_flags, from_flags
from ptycho.config.schema import MeasuredConfig, StudyConfig
from ptycho.data.dataset import Dataset
from ptycho.data.seeds import derive_seed
from ptycho.errors import InputError
from ptycho.evaluation import comparison
from ptycho.io import files, text
from ptycho.preparation import normalize
from ptycho.preparation.load import load_scan

logger = logging.getLogger(__name__)

NAMES = {"pinn": "PtychoPINN", "baseline": "Baseline"}
MODEL_FILES = {"pinn": "wts.h5.zip", "baseline": "baseline_model.h5"}
EVALUATION_ALIASES = {
    "stitch_crop_px": "--stitch-crop-size", "n_test_images": "--n-test-images", "custom_metrics": "--custom-metrics",
}  # fmt: skip


def add_test_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that name the test data and the seed of its sample."""
    parser.add_argument("--test_data", type=Path, required=True, help="test dataset npz; objectGuess is the truth")
    parser.add_argument("--seed", type=int, default=StudyConfig().seed, help="draws --n_test_images")
    add_flags(parser.add_argument_group("measured data"), MeasuredConfig)


def read_test_data(arguments: argparse.Namespace, n_test_images: int | None) -> Dataset:
    """Return the test patterns, or a sample of them, in memory and so checked; without Y, which nothing here needs."""
    test = load_scan(arguments.test_data, from_flags(MeasuredConfig, arguments))
    rng = np.random.default_rng(derive_seed(arguments.seed, "test"))
    sample = np.sort(rng.permutation(len(test))[:n_test_images])
    with files.error_context(arguments.test_data):
        return replace(test, patches=None).select(sample).loaded()


def model_kind(directory: Path) -> str:
    """Return which model a directory holds; InputError where it holds none."""
    kind = next((kind for kind, file in MODEL_FILES.items() if (directory / file).is_file()), None)
    if kind is None:
        raise InputError(f"{directory}: neither {' nor '.join(MODEL_FILES.values())} there: train a model")
    return kind


def training_status(directory: Path) -> str:
    """Return how the training of a model's directory ended.

    Raises
    ------
    InputError : no history there, or not one of a training
    """
    path = directory / "history.json"
    history = text.read_json(path)
    status = history.get("status", "ok") if isinstance(history, dict) else None
    if status not in comparison.TRAINED:
        raise InputError(
            f"{path}: not the history of a training: expected an object whose status is one of "
            f"{', '.join(comparison.TRAINED)}; copy it again or train again"
        )
    return status


def reconstruct(directory: Path, kind: str, data: Dataset, crop_px: int) -> tuple[Any, float]:
    """Return the patterns of ``data`` reconstructed by the model of a directory, stitched, and the seconds it took.

    Raises
    ------
    InputError : no such model, or patterns of another size
    """
    from ptycho.models import serialization
    from ptycho.models.inference import reconstruct_patches
    from ptycho.physics.stitching import stitch

    model, params = serialization.load(directory, kind)  # type: ignore[arg-type]
    if params["window_px"] != data.window_px:
        raise InputError(
            f"{directory}: trained on patterns of {params['window_px']} pixels, but the data has "
            f"{data.window_px}: use data of the same preparation"
        )
    seen = normalize.match_counts_scale(data, params.get("counts_scale", data.counts_scale))
    started = time.perf_counter()
    patches = reconstruct_patches(model, seen)
    stitched = stitch(patches, seen.xcoords, seen.ycoords, seen.probe, seen.object_shape, crop_px)
    seconds = time.perf_counter() - started
    logger.info("%s: %d patterns in %.2f s", NAMES[kind], len(data), seconds)
    return stitched, seconds
