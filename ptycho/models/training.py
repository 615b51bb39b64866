"""The training loop: optimizer, learning rate, best weights, and how the training ended."""

import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from ptycho.config.schema import TrainingConfig
from ptycho.data.seeds import derive_seed
from ptycho.models.checkpoints import CheckpointCallback
from ptycho.models.layers import MagnitudeProjection
from ptycho.models.loaders import Loader
from ptycho.models.networks import PatchModel, without_projections

logger = logging.getLogger(__name__)

INITIAL_STRENGTH = 0.5  # of the projections, in the first epoch
WARMUP = 0.05  # fraction of the steps in which the learning rate rises
FINAL_RATE = 0.01  # learning rate of the first and the last step, as a fraction of its peak
SAME = 1e-3  # deviation of patches over their mean modulus, below which they count as the same for all patterns
CONSTANT = 0.01  # standard deviation of the patches over their mean modulus, below which they count as constant


def validation_split(n_images: int, fraction: float, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split the images of a subset into those to train on and those to validate on.

    Parameters
    ----------
    n_images : size of the subset
    fraction : of the images that are held out, rounded up; one image at least is trained on
    seed : of the random choice

    Returns
    -------
    train, held_out : sorted indices, int64
    """
    order = np.random.default_rng(derive_seed(seed, "validation")).permutation(n_images)
    held_out = min(math.ceil(fraction * n_images), n_images - 1)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


class ProjectionRamp(keras.callbacks.Callback):
    """Raises the strength of a model's projections linearly, from one half in the first epoch to 1 after ``n_epochs``.

    At full strength from the start, any patch comes close to its pattern, and what the network itself adds changes the
    loss so little that some trainings stay where they began.

    Parameters
    ----------
    model : with or without projections
    config : epochs of the whole training, and ``projection_ramp``, the fraction of them

    Attributes
    ----------
    n_epochs : epochs with a strength below 1, rounded down; 0 without projections
    """

    def __init__(self, model: keras.Model, config: TrainingConfig) -> None:
        super().__init__()
        layers = getattr(model, "network", model).layers
        self.projections = [layer for layer in layers if isinstance(layer, MagnitudeProjection)]
        self.n_epochs = int(config.projection_ramp * config.epochs) if self.projections else 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Set the strength of an epoch (from 0)."""
        done = min(1.0, epoch / self.n_epochs) if self.n_epochs else 1.0
        self._set(INITIAL_STRENGTH + (1 - INITIAL_STRENGTH) * done)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Set the full strength."""
        self._set(1.0)

    def _set(self, strength: float) -> None:
        for projection in self.projections:
            projection.strength.assign(strength)


def fit(
    model: keras.Model,
    batches: Loader,
    validation: Loader | None,
    config: TrainingConfig,
    checkpoint: Path | None = None,
    log_dir: Path | None = None,
) -> dict[str, Any]:
    """Train with Adam, linear warm-up and cosine decay, and keep the weights of the best epoch.

    Parameters
    ----------
    model : built; it ends with the weights of the smallest validation loss, or training loss without validation, of the
        epochs with the full strength of the projections (:class:`ProjectionRamp`)
    batches : training data
    validation : held-out images, or None
    config : epochs, learning rate and patience
    checkpoint : file that is written after each epoch, and resumed from if it exists; None for neither
    log_dir : of logs for TensorBoard, which needs its package; None for none

    Returns
    -------
    dict : ``loss``, ``val_loss`` (one value an epoch), ``epoch_seconds``, ``best_epoch`` (from 1), ``status``:
        ``ok``, ``diverged`` where a loss became NaN or infinite or none ever fell below its first value, or
        ``collapsed`` where the patches of the held-out images are all the same constant, or those of the network
        itself, before the projections, are the same for all

    Notes
    -----
    Adam: D. P. Kingma, J. Ba, arXiv:1412.6980. Cosine decay: I. Loshchilov, F. Hutter, arXiv:1608.03983.
    """
    steps = len(batches) * config.epochs
    warmup = max(1, round(WARMUP * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        config.learning_rate * FINAL_RATE, max(1, steps - warmup), alpha=FINAL_RATE,
        warmup_target=config.learning_rate, warmup_steps=warmup,
    )  # fmt: skip
    model.compile(optimizer=keras.optimizers.Adam(rate, beta_2=config.adam_beta_2), jit_compile=False)
    model.optimizer.build(model.trainable_variables)  # otherwise the first step is traced twice
    ramp = ProjectionRamp(model, config)
    monitor = "val_loss" if validation is not None else "loss"
    callback = CheckpointCallback(config, monitor, checkpoint, first_epoch=ramp.n_epochs)
    done = callback.resume(model)
    if log_dir is not None and not done:
        shutil.rmtree(log_dir, ignore_errors=True)  # of an earlier training
    if done < config.epochs:
        model.fit(
            batches.epochs(done, config.epochs), steps_per_epoch=len(batches), epochs=config.epochs, initial_epoch=done,
            validation_data=None if validation is None else validation.epochs(), shuffle=False, verbose=0,
            callbacks=[ramp, callback, keras.callbacks.TerminateOnNaN(), *_tensorboard(log_dir)],
        )  # fmt: skip
    callback.finish(model)
    history = callback.history
    status = _status(history)
    if status != "ok":
        logger.warning("the training %s: losses %s", status, history["loss"])
    elif validation is not None and (reason := _collapsed(model, validation)):
        status = "collapsed"
        logger.warning("the training collapsed after %d epochs: %s", len(history["loss"]), reason)
    return {**history, "epoch_seconds": callback.seconds, "best_epoch": callback.best_epoch, "status": status}


def _tensorboard(log_dir: Path | None) -> list[keras.callbacks.Callback]:
    """Return the callback that logs losses and learning rate of each epoch, without the graph; none without log_dir."""
    return [] if log_dir is None else [keras.callbacks.TensorBoard(log_dir, write_graph=False, profile_batch=0)]


def _status(history: Mapping[str, list[float]]) -> str:
    """Return ``ok`` or ``diverged``."""
    if not all(math.isfinite(loss) for losses in history.values() for loss in losses):
        return "diverged"
    never_fell = [len(losses) > 1 and min(losses[1:]) > losses[0] for losses in history.values()]
    return "diverged" if all(never_fell) else "ok"


def _collapsed(model: keras.Model, validation: Loader) -> str | None:
    """Return in words that all patches are one constant, or the network's own, before projections, all the same.

    Projections correct each patch by its pattern, and so hide that the network itself has learned nothing. None where
    neither is so.
    """
    intensity = np.abs(validation.dataset.probe) ** 2
    patches = _patches(model, validation)
    if (found := _deviation(patches, intensity, axis=None)) < CONSTANT:
        return f"the patches of the held-out images differ from one constant by {found:.2g} of it (limit {CONSTANT:g})"
    own = _patches(without_projections(model.network), validation) if isinstance(model, PatchModel) else patches
    if len(own) > 1 and (found := _deviation(own, intensity, axis=0)) < SAME:
        return (
            f"the network's own patches, before the projections, differ between patterns by {found:.2g} of their "
            f"modulus (limit {SAME:g}): it does not use the patterns yet; more epochs or images?"
        )
    return None


def _patches(model: keras.Model, batches: Loader) -> npt.NDArray[np.complex64]:
    """Return the patches (n, N, N) of all patterns of an epoch."""
    predicted = [model(patterns) for patterns, _ in batches.epochs()]
    amplitude, phase = (np.concatenate([part[name] for part in predicted]) for name in ("amplitude", "phase"))
    return amplitude * np.exp(1j * phase)


def _deviation(patches: npt.NDArray[np.complex64], intensity: npt.NDArray[Any], axis: int | None) -> float:
    """Return the standard deviation of patches over their mean modulus, weighted by the probe's intensity.

    It is about the mean over patterns (``axis`` 0, for each pixel), or over pixels, too (None).
    """
    weight = np.broadcast_to(intensity / intensity.sum() / len(patches), patches.shape)
    mean = np.sum(weight * patches) if axis is None else patches.mean(axis=axis)
    return float(np.sqrt(np.sum(weight * np.abs(patches - mean) ** 2)) / np.sum(weight * np.abs(patches)))
