"""Masks of bad detector pixels: read from a file, and applied to patterns."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Dataset
from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.preparation.normalize import map_rows
from ptycho.preparation.scan import mask_sha256

logger = logging.getLogger(__name__)


def read_mask(path: Path | str) -> npt.NDArray[np.bool_]:
    """Read a mask of bad pixels, (N, N) bool, from a npy file or from ``bad_pixels`` of an npz.

    Raises
    ------
    InputError : no such file, or no mask in it
    """
    of_npz = Path(path).suffix == ".npz"
    array = npz.read_npz(path, ("bad_pixels",), ())["bad_pixels"] if of_npz else npz.read_npy(path)
    if array.ndim != 2 or array.dtype.kind not in "biu":
        raise InputError(f"{path}: a mask of shape {array.shape} and type {array.dtype}, expected (N, N) bool")
    return array.astype(bool)


def mask_record(path: Path | str) -> dict[str, Any]:
    """Return what the history of a dataset records of a mask file: ``count`` of bad pixels and ``sha256``."""
    mask = read_mask(path)
    return {"count": int(mask.sum()), "sha256": mask_sha256(mask)}


def with_mask(dataset: Dataset, path: str | None) -> Dataset:
    """Return the dataset with the bad pixels of a file marked and set to 0.

    It is returned unchanged where ``path`` is None, or where the mask was applied when the dataset was converted: a
    mask is oriented as the patterns of the original file.

    Raises
    ------
    InputError : no mask in the file, or not of the shape of a pattern
    """
    if path is None:
        return dataset
    mask, expected = read_mask(path), (dataset.window_px,) * 2
    if mask.shape != expected:
        raise InputError(f"{path}: a mask of shape {mask.shape}, expected that of a pattern, {expected}")
    if _was_applied(dataset, path):
        logger.info("%s: already applied when the dataset was converted", path)
        return dataset
    bad = mask if dataset.bad_pixels is None else mask | dataset.bad_pixels
    _log_bad_pixels(bad, path)
    masked = map_rows(dataset.diffraction, lambda part: np.where(bad, np.float32(0), part), dataset.window_px)
    return replace(dataset, bad_pixels=bad, diffraction=masked)


def _was_applied(dataset: Dataset, path: str) -> bool:
    """Tell whether the history of a dataset records that this mask was applied to the original patterns."""
    return mask_record(path) in [
        step.parameters.get("bad_pixels") for step in dataset.metadata.steps if step.step == "read"
    ]


def stated_bad_pixels(
    ready: Mapping[str, npt.NDArray[Any]], path: str | None, source: str
) -> npt.NDArray[np.bool_] | None:
    """Return the pixels that the file or the user marks, (N, N) bool, or None.

    Parameters
    ----------
    ready : arrays of the file: ``diffraction`` (n, N, N), and ``bad_pixels`` where it holds a mask
    path : mask file of the user, or None
    source : the file of the patterns, named in the log

    Raises
    ------
    InputError : a mask of another shape or type
    """
    masks = [ready["bad_pixels"]] if "bad_pixels" in ready else []
    masks += [] if path is None else [read_mask(path)]
    expected = ready["diffraction"].shape[1:]
    for mask in masks:
        if mask.shape != expected or mask.dtype.kind not in "biu":
            raise InputError(
                f"bad_pixels has shape {mask.shape} and type {mask.dtype}, expected {expected} bool, as a pattern"
            )
    if not masks:
        return None
    bad: npt.NDArray[np.bool_] = np.any(masks, axis=0)
    _log_bad_pixels(bad, source)
    return bad


def _log_bad_pixels(bad: npt.NDArray[np.bool_], source: str) -> None:
    """Log how many pixels are bad, with a warning where most are."""
    logger.info("%s: %d of %d pixels are bad", source, bad.sum(), bad.size)
    if bad.mean() > 0.5:
        logger.warning("%s: more bad pixels than good ones: is the mask inverted? True is bad", source)
