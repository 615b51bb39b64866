"""One training of one trial: the same steps for both models."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from ptycho.config.schema import BaselineConfig, PinnConfig, TrainingConfig, require_a_loss
from ptycho.data.dataset import Dataset
from ptycho.data.sampling import training_subset
from ptycho.data.seeds import derive_seed
from ptycho.errors import InputError
from ptycho.models import augmentation, baseline, checkpoints, devices, loaders, pinn, serialization, training
from ptycho.models.networks import FILTERS, STEM, PatchModel
from ptycho.preparation.normalize import with_patches

logger = logging.getLogger(__name__)

VALIDATION_BATCH = 256
COARSEST = STEM * 2 ** (len(FILTERS) - 1)  # pixels of a pattern that make one of the deepest level


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """A trained model, what it was made with, and how the training went."""

    model: keras.Model
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
) -> TrainingResult:
    """Train on the subset of a trial.

    Parameters
    ----------
    dataset : the whole training data; the subset is drawn from it
    config : its type says which model is trained
    seed : of the study; seeds of subset, weights and order derive from it
    checkpoint_dir : where an interrupted training of the same data, configuration and code goes on; the
        checkpoints of others there are removed
    micro_batches : parts that a batch passes through the network in, to save memory; the training stays the same

    Raises
    ------
    InputError : too few images, or a size of patterns that the network cannot halve
    """
    kind: serialization.Kind = "pinn" if isinstance(config, PinnConfig) else "baseline"
    _check(dataset, config, training_config)
    subset = training_subset(len(dataset), n_images, seed, trial)
    # no ground truth in reach of PtychoPINN
    seen = replace(dataset, patches=None, object=None) if kind == "pinn" else with_patches(dataset)
    images = seen.take(subset)  # only these are read
    seeds = {
        "validation": derive_seed(seed, "validation", n_images, trial),
        "made": derive_seed(seed, "made", n_images, trial),
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
    unseen = images.select(held_out) if held_out.size else None
    sources = augmentation.augmentation_sources(learned, training_config, config.gridsize, seeds["made"], unseen)
    steps = _batches(kind, learned, training_config.batch_size, seeds["order"], config.gridsize, sources)
    validation = _held_out(kind, images, held_out, config.gridsize) if held_out.size else None
    model = _untrained(config, dataset, policy, seeds["weights"], steps)
    model.micro_batches = micro_batches
    logger.info(
        "%s: %d images (%d held out), %d weights, %s", kind, n_images, held_out.size, model.count_params(), policy
    )
    history = training.fit(model, steps, validation, training_config, checkpoint)
    return TrainingResult(model, params, history)


def _check(dataset: Dataset, config: PinnConfig | BaselineConfig, training_config: TrainingConfig) -> None:
    if dataset.window_px % COARSEST:
        raise InputError(f"patterns of {dataset.window_px} pixels: the network needs a multiple of {COARSEST}")
    if isinstance(config, PinnConfig):
        require_a_loss(config, training_config)


def _untrained(
    config: PinnConfig | BaselineConfig, dataset: Dataset, policy: str, seed: int, steps: loaders.Loader
) -> PatchModel:
    if isinstance(config, BaselineConfig):
        return baseline.build(dataset.probe, config, policy=policy, seed=seed)
    assert isinstance(steps, loaders.NeighbourLoader)
    return pinn.build(
        dataset.probe, config, policy=policy, seed=seed, canvas_px=steps.canvas_px, bad_pixels=dataset.bad_pixels
    )


def _checkpoint(directory: Path, params: dict[str, Any], images: Dataset) -> Path:
    """Return the checkpoint of this training, and remove those of others: they cannot be gone on with."""
    arrays = {
        "diffraction": images.diffraction, "xcoords": images.xcoords, "ycoords": images.ycoords,
        "probe": images.probe, "patches": images.patches, "bad_pixels": images.bad_pixels,
    }  # fmt: skip
    known = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
    path = checkpoints.checkpoint_path(directory, {**params, "threads": devices.threads()}, known)
    checkpoints.remove_checkpoints(directory, keep=path)
    return path


def _batches(
    kind: serialization.Kind,
    images: Dataset,
    batch_size: int,
    seed: int,
    gridsize: int,
    sources: list[tuple[float, augmentation.AugmentedPatterns]],
) -> loaders.Loader:
    make = loaders.NeighbourLoader if kind == "pinn" else loaders.supervised_loader
    return make(images, batch_size, seed, gridsize=gridsize, made=sources)


def _held_out(
    kind: serialization.Kind, images: Dataset, numbers: npt.NDArray[np.int64], gridsize: int
) -> loaders.Loader:
    """Return batches of the images held out, all of them; as neighbours they have the others, too."""
    make = loaders.PatternLoader if kind == "pinn" else loaders.TruthLoader
    size = loaders.scaled_batch_size(VALIDATION_BATCH, images.window_px, gridsize)
    return make(images, size, seed=0, numbers=numbers, gridsize=gridsize, whole=True)


def history_summary(history: Mapping[str, Any]) -> str:
    """Return one line on how a training ended."""
    seconds = sum(history["epoch_seconds"])
    return f"{history['status']} after {len(history['loss'])} epochs, best {history['best_epoch']}, {seconds:.1f} s"
