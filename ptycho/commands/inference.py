"""Shared by all commands that apply a trained model: test data, models on disk, and stitched reconstructions."""

import argparse
import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.config.flags import add_flags, from_flags
from ptycho.config.schema import EvaluationConfig, MeasuredConfig, StudyConfig
from ptycho.data.dataset import Dataset, require_counts
from ptycho.data.seeds import derive_seed
from ptycho.errors import InputError
from ptycho.io import files, npz, text
from ptycho.physics import stitching, synchronization
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


def read_scan(path: Path, as_measured: MeasuredConfig) -> Dataset:
    """Open a scan whose patterns are used: checksums are verified and every pattern is checked, drawn or not.

    Raises
    ------
    InputError : damaged, or see :func:`ptycho.preparation.load.load_scan`; NaN, infinite or negative values, or no
        counts at all
    """
    if npz.is_dataset(path):
        npz.verify_checksums(path)
    scan = load_scan(path, as_measured)
    with files.error_context(path):
        dark = require_counts(scan)
    if scan.metadata.bad_fit:
        logger.warning("%s: %s", path, scan.metadata.bad_fit)
    if dark:
        logger.warning("%s: %d of %d patterns hold no counts: was the beam off?", path, dark, len(scan))
    return scan


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
    return sampled(arguments.test_data, from_flags(MeasuredConfig, arguments), n_test_images, arguments.seed)


def sampled(path: Path, as_measured: MeasuredConfig, n_test_images: int | None, seed: int) -> Dataset:
    """Return test patterns in memory, without ``patches``: a random sample of ``n_test_images``, or all for None.

    Raises
    ------
    InputError : the data cannot be used
    """
    test = read_scan(path, as_measured)
    rng = np.random.default_rng(derive_seed(seed, "test"))
    sample = np.sort(rng.permutation(len(test))[:n_test_images])
    with files.error_context(path):
        return replace(test, patches=None).select(sample).loaded()


def model_kind(directory: Path) -> str:
    """Return ``pinn`` or ``baseline``, the model in a directory; InputError where there is none."""
    for kind, file in MODEL_FILES.items():
        if (directory / file).is_file():
            return kind
    raise InputError(f"{directory}: neither {' nor '.join(MODEL_FILES.values())} there: train a model")


def known_status(directory: Path) -> str:
    """Return how a training ended, with a warning where not well; ``unknown`` of a model copied without its history."""
    status = training_status(directory) if (directory / HISTORY).exists() else "unknown"
    if status not in ("ok", "unknown"):
        logger.warning("%s: its training ended %s: do not trust the model", directory, status)
    return status


def add_model_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag of the directory of a trained model."""
    parser.add_argument(
        "--model_dir", type=Path, required=True, help=f"directory with {' or '.join(MODEL_FILES.values())}"
    )


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
    status: object = history.get("status", "ok" if history.get("loss") else None) if isinstance(history, dict) else None
    if not isinstance(status, str) or status not in TRAINING_STATUSES:
        raise InputError(
            f"{path}: not the history of a training: expected an object whose status is one of "
            f"{', '.join(TRAINING_STATUSES)}; copy it again or train again"
        )
    return status


def reconstruct(
    directory: Path, kind: str, data: Dataset, settings: EvaluationConfig
) -> tuple[stitching.Stitched, float]:
    """Reconstruct patterns by a trained model, and stitch the patches.

    Parameters
    ----------
    directory : of the trained model
    kind : ``pinn`` or ``baseline``
    data : patterns and positions
    settings : how patches are stitched, see :func:`stitched`

    Returns
    -------
    result : the object on the grid of ``data.object_shape``
    seconds : wall time of inference and stitching

    Raises
    ------
    InputError : there is no such model, it was trained on patterns of another size, or memory ran out
    """
    trained = load_trained(directory, kind)
    scaled = trained.in_its_unit(data)
    patches, seconds = trained.patches(scaled)
    started = time.perf_counter()
    result = stitched(patches, scaled, settings)
    seconds += time.perf_counter() - started
    logger.info("%s: %d patterns in %.2f s", NAMES[kind], len(data), seconds)
    warn_if_not_finite(directory, result)
    return result, seconds


def warn_if_not_finite(directory: Path, result: stitching.Stitched) -> None:
    """Log a warning where the object that the model of a directory reconstructed is not finite."""
    if not np.isfinite(result.object).all():
        logger.warning("%s: the reconstruction holds NaN or infinite values: did the training diverge?", directory)


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained model in memory.

    Parameters
    ----------
    directory : that it was loaded from
    model : the Keras model
    window_px : N of the patterns that it was trained on
    counts_scale : unit of their amplitudes; None where it is not known
    """

    directory: Path
    model: Any
    window_px: int
    counts_scale: float | None

    def in_its_unit(self, data: Dataset) -> Dataset:
        """Return patterns in the unit of those that the model was trained on; InputError where N is another one."""
        if self.window_px != data.window_px:
            raise InputError(
                f"{self.directory}: trained on patterns of {self.window_px} pixels, but the data has "
                f"{data.window_px}: use data of the same preparation"
            )
        return normalize.match_counts_scale(data, data.counts_scale if self.counts_scale is None else self.counts_scale)

    def patches(self, scaled: Dataset) -> tuple[npt.NDArray[np.complex64], float]:
        """Return the patches, (n, N, N), of patterns in the model's unit, and the wall time of the inference, s."""
        from ptycho.models.inference import reconstruct_patches

        started = time.perf_counter()
        return reconstruct_patches(self.model, scaled), time.perf_counter() - started


def load_trained(directory: Path, kind: str) -> TrainedModel:
    """Return the trained model, ``pinn`` or ``baseline``, of a directory; InputError where there is none."""
    from ptycho.models import serialization

    model, params = serialization.load(directory, kind)  # type: ignore[arg-type]
    return TrainedModel(directory, model, params["window_px"], params.get("counts_scale"))


def stitched(
    patches: npt.NDArray[np.complex64],
    data: Dataset,
    settings: EvaluationConfig,
    shape: tuple[int, int] | None = None,
) -> stitching.Stitched:
    """Return the object on the grid of ``data.object_shape``, or of ``shape``, stitched from patches (n, N, N).

    Their constant phases are synchronized first where ``settings`` say so, see
    :func:`ptycho.physics.synchronization.phase_offsets`.
    """
    where = data.xcoords, data.ycoords, data.probe
    if settings.synchronize_phases:
        offsets = synchronization.phase_offsets(patches, *where)
        patches = patches * np.exp(1j * offsets).astype(np.complex64)[:, None, None]
    return stitching.stitch(patches, *where, shape or data.object_shape, settings.crop_px(data.window_px))
