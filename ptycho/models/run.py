"""The training of one trial, by the same steps for both models."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.config.schema import BaselineConfig, PinnConfig, TrainingConfig, check_pinn
from ptycho.data.dataset import Dataset
from ptycho.data.sampling import training_subset
from ptycho.data.seeds import derive_seed
from ptycho.errors import InputError
from ptycho.models import augmentation, baseline, checkpoints, devices, loaders, pinn, serialization, training
from ptycho.models.networks import FILTERS, STEM, PatchModel
from ptycho.preparation.normalize import with_patches

logger = logging.getLogger(__name__)

VALIDATION_BATCH = 256
COARSEST = STEM * 2 ** (len(FILTERS) - 1)  # pixels of a pattern per pixel of the deepest level


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """A trained model.

    Parameters
    ----------
    model : :class:`~ptycho.models.pinn.PtychoPINN` or :class:`~ptycho.models.baseline.Baseline`, with its best weights
    params : builtin types: configuration, training images, seeds and versions
    history : of :func:`ptycho.models.training.fit`
    """

    model: PatchModel
    params: dict[str, Any]
    history: dict[str, Any]


def train(
    dataset: Dataset,
    config: PinnConfig | BaselineConfig,
    training_config: TrainingConfig,
    *,
    n_images: int,
    seed: int,
    trial: int,
    checkpoint_dir: Path | None = None,
    micro_batches: int = 1,
    log_dir: Path | None = None,
) -> TrainingResult:
    """Train a model on the subset of a trial.

    Parameters
    ----------
    dataset : the whole training data; the subset is drawn from it
    config : its type selects the model
    training_config : of both models
    n_images : size of the subset
    seed : of the study; the seeds of subset, weights and order derive from it
    trial : from 1
    checkpoint_dir : where checkpoints are written, and where an interrupted training of the same data, configuration
        and code resumes; checkpoints of other trainings there are removed
    micro_batches : parts in which a batch passes through the network, to save memory; the result is the same
    log_dir : of logs for TensorBoard; None for none

    Raises
    ------
    InputError : too few images, patterns whose N is no multiple of 8, or no ground truth for the baseline
    """
    kind: serialization.Kind = "pinn" if isinstance(config, PinnConfig) else "baseline"
    _check(dataset, config, training_config)
    subset = training_subset(len(dataset), n_images, seed, trial)
    # PtychoPINN gets no ground truth
    visible = replace(dataset, patches=None, object=None) if kind == "pinn" else with_patches(dataset)
    images = visible.take(subset)  # only these rows are read
    seeds = {
        "validation": derive_seed(seed, "validation", n_images, trial),
        "augmentation": derive_seed(seed, "made", n_images, trial),  # the word is kept: another changes results
        "order": derive_seed(seed, "order", n_images, trial, kind),
        "weights": derive_seed(seed, "weights", n_images, trial, kind) % 2**31,
    }
    learn, held_out = training.validation_split(n_images, training_config.validation_fraction, seeds["validation"])
    policy = devices.convolution_policy(training_config.precision)
    params = {
        "model": kind, "window_px": dataset.window_px, "precision": policy, "config": asdict(config),
        "training": asdict(training_config), "n_images": n_images, "seed": seed, "trial": trial, "seeds": seeds,
        "scan_index": images.scan_index.tolist(), "counts_scale": dataset.counts_scale,
        "versions": serialization.versions(),
    }  # fmt: skip
    checkpoint = None if checkpoint_dir is None else _checkpoint(checkpoint_dir, params, images)
    learned = images.select(learn)
    sources = augmentation.augmentation_sources(
        learned, training_config, config.gridsize, seeds["augmentation"],
        unseen=images.select(held_out) if held_out.size else None,
    )  # fmt: skip
    batches = _training_batches(kind, learned, training_config.batch_size, seeds["order"], config.gridsize, sources)
    validation = _validation_batches(kind, images, held_out, config.gridsize) if held_out.size else None
    model = _untrained(config, dataset, policy, seeds["weights"], batches)
    model.micro_batches = micro_batches
    logger.info(
        "%s: %d images (%d held out), %d weights, %s", kind, n_images, held_out.size, model.count_params(), policy
    )
    history = training.fit(model, batches, validation, training_config, checkpoint, log_dir)
    return TrainingResult(model, params, history)


def _check(dataset: Dataset, config: PinnConfig | BaselineConfig, training_config: TrainingConfig) -> None:
    """Raise InputError where a model cannot train on patterns of that size, or with these weights of the loss."""
    if dataset.window_px % COARSEST:
        raise InputError(f"patterns of {dataset.window_px} pixels: the network needs a multiple of {COARSEST}")
    if isinstance(config, PinnConfig):
        check_pinn(config, training_config)


def _untrained(
    config: PinnConfig | BaselineConfig, dataset: Dataset, policy: str, seed: int, batches: loaders.Loader
) -> PatchModel:
    """Return a model with its initial weights."""
    if isinstance(config, BaselineConfig):
        return baseline.build(dataset.probe, config, policy=policy, seed=seed, bad_pixels=dataset.bad_pixels)
    assert isinstance(batches, loaders.NeighbourLoader)
    return pinn.build(
        dataset.probe, config, policy=policy, seed=seed, canvas_px=batches.canvas_px, bad_pixels=dataset.bad_pixels
    )


def _checkpoint(directory: Path, params: dict[str, Any], images: Dataset) -> Path:
    """Return the checkpoint file of this training, and remove those of others, which cannot be resumed."""
    arrays = {
        "diffraction": images.diffraction, "xcoords": images.xcoords, "ycoords": images.ycoords,
        "probe": images.probe, "patches": images.patches, "bad_pixels": images.bad_pixels,
    }  # fmt: skip
    given = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
    path = checkpoints.checkpoint_path(directory, {**params, "threads": devices.threads()}, given)
    checkpoints.remove_checkpoints(directory, keep=path)
    return path


def _training_batches(
    kind: serialization.Kind,
    images: Dataset,
    batch_size: int,
    seed: int,
    gridsize: int,
    sources: list[tuple[float, augmentation.AugmentedPatterns]],
) -> loaders.Loader:
    """Return batches of the training images, with augmented patterns from ``sources``."""
    make = loaders.NeighbourLoader if kind == "pinn" else loaders.supervised_loader
    return make(images, batch_size, seed, gridsize=gridsize, augmented=sources)


def _validation_batches(
    kind: serialization.Kind, images: Dataset, numbers: npt.NDArray[np.int64], gridsize: int
) -> loaders.Loader:
    """Return batches of all held-out images; their neighbours may be training images."""
    if gridsize == 1:  # no neighbours: nothing else has to be in memory
        images, numbers = images.select(numbers), np.arange(numbers.size)
    make = loaders.PatternLoader if kind == "pinn" else loaders.TruthLoader
    size = loaders.scaled_batch_size(VALIDATION_BATCH, images.window_px, gridsize)
    return make(images, size, seed=0, numbers=numbers, gridsize=gridsize, whole=True)


def history_summary(history: Mapping[str, Any]) -> str:
    """Return one line with status, epochs and seconds of a history of :func:`ptycho.models.training.fit`."""
    seconds = sum(history["epoch_seconds"])
    return f"{history['status']} after {len(history['loss'])} epochs, best {history['best_epoch']}, {seconds:.1f} s"
