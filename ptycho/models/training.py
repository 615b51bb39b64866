"""Training: batches, schedule, best weights, and an honest account of how it ended."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from ptycho.config import TrainingConfig
from ptycho.data.dataset import Dataset
from ptycho.data.sampling import derive_seed
from ptycho.errors import InputError
from ptycho.models.progress import Progress

logger = logging.getLogger(__name__)

WARMUP = 0.05  # share of the steps in which the learning rate rises
FINAL_RATE = 0.01  # of the peak learning rate, at the last step
REACH = 0.75  # windows further apart than this share of their side are no neighbours: the probe hardly overlaps

Batch = tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[np.float32]]]


class Batches(keras.utils.PyDataset):
    """Batches of a dataset, drawn anew each epoch from (seed, epoch).

    All are of one size, so that an epoch leaves some patterns out; ``whole`` adds a smaller one that holds them.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int, *, whole: bool = False) -> None:
        super().__init__()
        self.dataset, self.seed, self.whole = dataset, seed, whole
        self.batch_size = min(batch_size, len(dataset))
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.dataset))

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size) if self.whole else len(self.dataset) // self.batch_size

    def members(self, index: int) -> npt.NDArray[np.int64]:
        return self.order[index * self.batch_size : (index + 1) * self.batch_size]


class TruthBatches(Batches):
    """Patterns with the amplitude and phase of the true patches, at random."""

    def __getitem__(self, index: int) -> Batch:
        members = self.members(index)
        assert self.dataset.patches is not None
        patches = self.dataset.patches[members]
        return self.dataset.diffraction[members], {"amplitude": np.abs(patches), "phase": np.angle(patches)}


class NeighbourBatches(Batches):
    """Each batch is a pattern drawn at random from the whole training area, and its nearest neighbours.

    A pattern with too few neighbours within reach gets some of them twice. Positions are relative to the pattern
    that was drawn.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int) -> None:
        super().__init__(dataset, batch_size, seed)
        positions = np.stack([dataset.xcoords, dataset.ycoords], axis=1)
        reach = REACH * dataset.window_px
        _, nearest = cKDTree(positions).query(
            positions, self.batch_size, p=np.inf, distance_upper_bound=reach, workers=-1
        )
        nearest = np.reshape(nearest, (len(dataset), self.batch_size))
        found = (nearest < len(dataset)).sum(axis=1)
        again = np.arange(self.batch_size)[None] % found[:, None]
        self.groups = np.take_along_axis(nearest, again, axis=1)
        self.offsets = (positions[self.groups] - positions[:, None]).astype(np.float32)

    @property
    def canvas_px(self) -> int:
        """Side of a canvas that holds every group."""
        return self.dataset.window_px + 2 * (math.ceil(float(np.abs(self.offsets).max())) + 1)

    def __getitem__(self, index: int) -> Batch:
        centre = self.members(index)[0]
        patterns = self.dataset.diffraction[self.groups[centre]]
        return patterns, {"diffraction": patterns, "positions_px": self.offsets[centre]}


class PatternBatches(Batches):
    """Patterns alone, in a fixed order: what PtychoPINN validates on."""

    def start_epoch(self, epoch: int) -> None:
        self.order = np.arange(len(self.dataset))

    def __getitem__(self, index: int) -> Batch:
        patterns = self.dataset.diffraction[self.members(index)]
        return patterns, {"diffraction": patterns, "positions_px": np.zeros((len(patterns), 2), np.float32)}


def validation_split(n_images: int, fraction: float, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return indices of the images to learn from and of those held out; none where one image would be all."""
    order = np.random.default_rng(derive_seed(seed, "validation")).permutation(n_images)
    held_out = min(math.ceil(fraction * n_images), n_images - 1)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def fit(
    model: keras.Model,
    batches: Batches,
    validation: Batches | None,
    config: TrainingConfig,
    checkpoint: Path | None = None,
) -> dict[str, Any]:
    """Train with Adam, warm-up and cosine decay; keep the weights of the best validation.

    Parameters
    ----------
    checkpoint : file that is written after every epoch, and where it is there already, taken up

    Returns
    -------
    dict : ``loss``, ``val_loss`` (one value an epoch), ``epoch_seconds``, ``best_epoch`` (from 1), ``status``:
        ``ok``, or ``diverged`` where a loss became NaN or infinite or none ever fell below its first value
    """
    steps = len(batches) * config.epochs
    warmup = max(1, round(WARMUP * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        config.learning_rate * FINAL_RATE, max(1, steps - warmup), alpha=FINAL_RATE,
        warmup_target=config.learning_rate, warmup_steps=warmup,
    )  # fmt: skip
    model.compile(optimizer=keras.optimizers.Adam(rate), jit_compile=False)
    model.optimizer.build(model.trainable_variables)  # or the first step would be traced twice
    progress = Progress(batches, config, "val_loss" if validation is not None else "loss", checkpoint)
    done = progress.resume(model)
    if done < config.epochs:
        model.fit(
            batches, validation_data=validation, epochs=config.epochs, initial_epoch=done, shuffle=False, verbose=0,
            callbacks=[progress, keras.callbacks.TerminateOnNaN()],
        )  # fmt: skip
    progress.finish(model)
    history = progress.history
    status = _status(history)
    if status != "ok":
        logger.warning("the training %s: losses %s", status, history["loss"])
    return {**history, "epoch_seconds": progress.seconds, "best_epoch": progress.best_epoch, "status": status}


def _status(history: Mapping[str, list[float]]) -> str:
    if not all(math.isfinite(loss) for losses in history.values() for loss in losses):
        return "diverged"
    never_fell = [len(losses) > 1 and min(losses[1:]) > losses[0] for losses in history.values()]
    return "diverged" if all(never_fell) else "ok"


def supervised_batches(dataset: Dataset, batch_size: int, seed: int) -> TruthBatches:
    """Return batches with the truth; InputError where the dataset has none."""
    if dataset.patches is None:
        raise InputError(
            "the training data holds neither Y nor objectGuess: a supervised network has nothing to learn from"
        )
    return TruthBatches(dataset, batch_size, seed)
