"""Training: batches, schedule, best weights, and an honest account of how it ended."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from ptycho.config.schema import TrainingConfig
from ptycho.data.seeds import derive_seed
from ptycho.models.checkpoints import CheckpointCallback
from ptycho.models.loaders import Loader

logger = logging.getLogger(__name__)

WARMUP = 0.05  # share of the steps in which the learning rate rises
FINAL_RATE = 0.01  # of the peak learning rate, at the last step
CONSTANT = 0.01  # spread of the patches over their mean modulus: what varies less is one constant


def validation_split(n_images: int, fraction: float, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return indices of the images to learn from and of those held out; none where one image would be all."""
    order = np.random.default_rng(derive_seed(seed, "validation")).permutation(n_images)
    held_out = min(math.ceil(fraction * n_images), n_images - 1)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def fit(
    model: keras.Model,
    batches: Loader,
    validation: Loader | None,
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
        ``ok``, ``diverged`` where a loss became NaN or infinite or none ever fell below its first value, or
        ``collapsed`` where the patches of the images held out are all one constant
    """
    steps = len(batches) * config.epochs
    warmup = max(1, round(WARMUP * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        config.learning_rate * FINAL_RATE, max(1, steps - warmup), alpha=FINAL_RATE,
        warmup_target=config.learning_rate, warmup_steps=warmup,
    )  # fmt: skip
    model.compile(optimizer=keras.optimizers.Adam(rate), jit_compile=False)
    model.optimizer.build(model.trainable_variables)  # or the first step would be traced twice
    progress = CheckpointCallback(batches, config, "val_loss" if validation is not None else "loss", checkpoint)
    done = progress.resume(model)
    if done < config.epochs:
        model.fit(
            batches, validation_data=validation, epochs=config.epochs, initial_epoch=done, shuffle=False, verbose=0,
            callbacks=[progress, keras.callbacks.TerminateOnNaN()],
        )  # fmt: skip
    progress.finish(model)
    history = progress.history
    status = _status(history)
    if status == "ok" and validation is not None and _collapsed(model, validation):
        status = "collapsed"
    if status != "ok":
        logger.warning("the training %s: losses %s", status, history["loss"])
    return {**history, "epoch_seconds": progress.seconds, "best_epoch": progress.best_epoch, "status": status}


def _status(history: Mapping[str, list[float]]) -> str:
    if not all(math.isfinite(loss) for losses in history.values() for loss in losses):
        return "diverged"
    never_fell = [len(losses) > 1 and min(losses[1:]) > losses[0] for losses in history.values()]
    return "diverged" if all(never_fell) else "ok"


def _collapsed(model: keras.Model, validation: Loader) -> bool:
    """Return whether the lit parts of all patches vary by less than CONSTANT."""
    predicted = [model(validation[i][0]) for i in range(len(validation))]
    amplitude, phase = (np.concatenate([part[name] for part in predicted]) for name in ("amplitude", "phase"))
    patches, light = amplitude * np.exp(1j * phase), np.abs(validation.dataset.probe) ** 2
    weight = np.broadcast_to(light / light.sum() / len(patches), patches.shape)
    mean = np.sum(weight * patches)
    return bool(np.sqrt(np.sum(weight * np.abs(patches - mean) ** 2)) < CONSTANT * np.sum(weight * amplitude))
