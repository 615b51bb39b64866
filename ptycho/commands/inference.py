"""Shared by all commands that apply a trained model: test data, models on disk, and stitched reconstructions."""

import argparse
import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from ptycho.config.flags import add_flags, from_flags
from ptycho.config.schema import MeasuredConfig, StudyConfig
from ptycho.data.dataset import Dataset
from ptycho.data.seeds import derive_seed
from ptycho.errors import InputError
from ptycho.io import files, text
from ptycho.physics import stitching
from ptycho.preparation import normalize
from ptycho.preparation.load import load_scan
from ptycho.results.layout import HISTORY, MODEL_FILES
from ptycho.results.schema import MODEL_NAMES, TRAINING_STATUSES

logger = logging.getLogger(__name__)

NAMES = {kind: MODEL_NAMES[kind] for kind in MODEL_FILES}  # of the trained models, in tables and figures
EVALUATION_ALIASES = {
    "stitch_crop_px": "--stitch-crop-size", "n_test_images": "--n-test-images", "custom_metrics": "--custom-metrics",
}  # fmt: skip


def add_test_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the test data, and of the seed by which a sample of it is drawn."""
    parser.add_argument("--test_data", type=Path, required=True, help="test dataset npz; objectGuess is the truth")
    parser.add_argument("--seed", type=int, default=StudyConfig().seed, help="draws --n_test_images")
    add_flags(parser.add_argument_group("measured data"), MeasuredConfig)


def read_test_data(arguments: argparse.Namespace, n_test_images: int | None) -> Dataset:
    """Return the test patterns in memory, without ``patches``.

    Parameters
    ----------
    arguments : parsed flags of :func:`add_test_flags`
    n_test_images : size of a random sample; None for all

    Raises
    ------
    InputError : the data cannot be used
    """
    test = load_scan(arguments.test_data, from_flags(MeasuredConfig, arguments))
    rng = np.random.default_rng(derive_seed(arguments.seed, "test"))
    sample = np.sort(rng.permutation(len(test))[:n_test_images])
    with files.error_context(arguments.test_data):
        return replace(test, patches=None).select(sample).loaded()


def model_kind(directory: Path) -> str:
    """Return ``pinn`` or ``baseline``, the model in a directory; InputError where there is none."""
    for kind, file in MODEL_FILES.items():
        if (directory / file).is_file():
            return kind
    raise InputError(f"{directory}: neither {' nor '.join(MODEL_FILES.values())} there: train a model")


def training_status(directory: Path) -> str:
    """Return how a training ended: ``ok``, ``diverged`` or ``collapsed``.

    Parameters
    ----------
    directory : of the trained model

    Raises
    ------
    InputError : its history is missing, or is not that of a training
    """
    path = directory / HISTORY
    history = text.read_json(path)
    status: object = history.get("status", "ok") if isinstance(history, dict) else None
    if not isinstance(status, str) or status not in TRAINING_STATUSES:
        raise InputError(
            f"{path}: not the history of a training: expected an object whose status is one of "
            f"{', '.join(TRAINING_STATUSES)}; copy it again or train again"
        )
    return status


def reconstruct(directory: Path, kind: str, data: Dataset, crop_px: int) -> tuple[stitching.Stitched, float]:
    """Reconstruct patterns by a trained model, and stitch the patches.

    Parameters
    ----------
    directory : of the trained model
    kind : ``pinn`` or ``baseline``
    data : patterns and positions
    crop_px : side of the centre of each patch that is stitched

    Returns
    -------
    stitched : the object on the grid of ``data.object_shape``
    seconds : wall time of inference and stitching

    Raises
    ------
    InputError : there is no such model, it was trained on patterns of another size, or memory ran out
    """
    from ptycho.models import serialization
    from ptycho.models.inference import reconstruct_patches

    model, params = serialization.load(directory, kind)  # type: ignore[arg-type]
    if params["window_px"] != data.window_px:
        raise InputError(
            f"{directory}: trained on patterns of {params['window_px']} pixels, but the data has "
            f"{data.window_px}: use data of the same preparation"
        )
    scaled = normalize.match_counts_scale(data, params.get("counts_scale", data.counts_scale))
    started = time.perf_counter()
    patches = reconstruct_patches(model, scaled)
    stitched = stitching.stitch(patches, scaled.xcoords, scaled.ycoords, scaled.probe, scaled.object_shape, crop_px)
    seconds = time.perf_counter() - started
    logger.info("%s: %d patterns in %.2f s", NAMES[kind], len(data), seconds)
    return stitched, seconds
