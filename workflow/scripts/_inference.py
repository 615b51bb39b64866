"""What compare_models.py and reconstruct.py share: from a model's directory and patterns to a stitched object."""

import logging
import time
from pathlib import Path
from typing import Any

from ptycho.data import preparation, store
from ptycho.data.dataset import Dataset
from ptycho.errors import InputError
from ptycho.evaluation import comparison

logger = logging.getLogger("inference")

NAMES = {"pinn": "PtychoPINN", "baseline": "Baseline"}


def training_status(directory: Path) -> str:
    """Return how the training of a model's directory ended.

    Raises
    ------
    InputError : no history there, or not one of a training
    """
    path = directory / "history.json"
    history = store.read_json(path)
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
    from ptycho.data.stitching import stitch
    from ptycho.models import archive
    from ptycho.models.inference import reconstruct_patches

    model, params = archive.load(directory, kind)  # type: ignore[arg-type]
    if params["window_px"] != data.window_px:
        raise InputError(
            f"{directory}: trained on patterns of {params['window_px']} pixels, but the data has "
            f"{data.window_px}: use data of the same preparation"
        )
    seen = preparation.in_unit_of(data, params.get("counts_scale", data.counts_scale))
    started = time.perf_counter()
    patches = reconstruct_patches(model, seen)
    stitched = stitch(patches, seen.xcoords, seen.ycoords, seen.probe, seen.object_shape, crop_px)
    seconds = time.perf_counter() - started
    logger.info("%s: %d patterns in %.2f s", NAMES[kind], len(data), seconds)
    return stitched, seconds
