"""Progress of a training: logged after each epoch, kept in a checkpoint file, and resumed after an interruption."""

import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

import ptycho
from ptycho.config.schema import TrainingConfig
from ptycho.errors import InputError
from ptycho.io import files, hdf5, text

logger = logging.getLogger(__name__)

PREFIX = "checkpoint-"
CODE = ("config", "data", "physics", "preparation", "models")  # packages whose code a training depends on


def checkpoint_path(directory: Path, identity: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Path:
    """Return the checkpoint file of a training; its name is a hash of data, configuration and code.

    A training resumes only from a checkpoint of exactly its own data, configuration and code.

    Parameters
    ----------
    directory : where checkpoints are kept
    identity : configuration of the training, builtin types
    arrays : training data by name
    """
    digest = hashlib.sha256(json.dumps(text.to_jsonable(dict(identity)), sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    package = Path(ptycho.__file__).parent  # figures and tables do not change a training
    for path in sorted(path for folder in CODE for path in package.glob(f"{folder}/*.py")):
        digest.update(path.read_bytes() if path.exists() else b"")
    return directory / f"{PREFIX}{digest.hexdigest()[:16]}.h5"


def remove_checkpoints(directory: Path, keep: Path | None = None) -> None:
    """Remove the checkpoints in a directory, except ``keep``."""
    for path in directory.glob(f"{PREFIX}*.h5"):
        if path != keep:
            path.unlink(missing_ok=True)


class CheckpointCallback(keras.callbacks.Callback):
    """Logs one line an epoch, keeps the weights of the best epoch, and writes a checkpoint where one is asked for.

    Parameters
    ----------
    config : epochs and ``patience_epochs``
    monitor : the loss that defines the best epoch, ``val_loss`` or ``loss``
    checkpoint : file written after each epoch whose monitored loss is finite, or None
    first_epoch : first epoch, from 0, whose loss may be the best, as earlier ones are those of another model

    Attributes
    ----------
    history : one value an epoch of each loss
    seconds : wall time of each epoch
    best_weights : of the best epoch so far; empty before the first
    """

    def __init__(self, config: TrainingConfig, monitor: str, checkpoint: Path | None, first_epoch: int = 0) -> None:
        super().__init__()
        self.config, self.monitor, self.checkpoint = config, monitor, checkpoint
        self.first_epoch = first_epoch
        self.history: dict[str, list[float]] = {}
        self.seconds: list[float] = []
        self.best_weights: list[npt.NDArray[Any]] = []

    @property
    def best_epoch(self) -> int:
        """Epoch of the smallest finite monitored loss from ``first_epoch`` on, counted from 1.

        Without one it is the latest epoch of a finite loss, or the first epoch.
        """
        losses = self.history[self.monitor]
        finite = [epoch for epoch, loss in enumerate(losses) if math.isfinite(loss)]
        candidates = [epoch for epoch in finite if epoch >= self.first_epoch]
        return 1 + min(candidates or finite[-1:] or [0], key=lambda epoch: losses[epoch])

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Start the clock of the epoch."""
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Record the losses of the epoch (from 0), keep the best weights, and write the checkpoint."""
        self.seconds.append(time.perf_counter() - self.started)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        logger.info("%s", self._line(epoch))
        since_best = epoch + 1 - self.best_epoch
        if since_best == 0:
            self.best_weights = self.model.get_weights()
        patience = self.config.patience_epochs
        if patience is not None and since_best >= patience:
            logger.info("%s has not improved for %d epochs: the training stops", self.monitor, patience)
            self.model.stop_training = True
        if self.checkpoint is not None and math.isfinite(self.history[self.monitor][-1]):
            self._write(self.checkpoint)

    def _line(self, epoch: int) -> str:
        """Return the log line of an epoch, counted from 0."""
        values = ", ".join(f"{name} {losses[epoch]:.5f}" for name, losses in self.history.items())
        return f"epoch {epoch + 1} of {self.config.epochs}: {values} ({self.seconds[epoch]:.1f} s)"

    def _state(self) -> list[Any]:
        """Return the variables that determine the further training: weights and state of the optimizer."""
        return [*self.model.weights, *self.model.optimizer.variables]

    def _write(self, path: Path) -> None:
        """Write the checkpoint: state, best weights and losses, as arrays of one HDF5 file."""
        arrays = {f"state/{i:04d}": np.asarray(variable) for i, variable in enumerate(self._state())}
        arrays |= {f"best/{i:04d}": array for i, array in enumerate(self.best_weights)}
        # as arrays: JSON has no NaN or infinity, which a loss may be
        arrays |= {f"history/{name}": np.array(losses, np.float64) for name, losses in self.history.items()}
        arrays["seconds"] = np.array(self.seconds, np.float64)
        state_json = text.as_json({"ended": self.model.stop_training})
        files.write_bytes(path, files.with_checksum(hdf5.pack_h5(arrays, {"progress": state_json})))

    def resume(self, model: keras.Model) -> int:
        """Restore a built and compiled model from the checkpoint, and return the number of epochs done.

        That is 0 without a checkpoint. One that cannot be read is logged and ignored.
        """
        if self.checkpoint is None or not self.checkpoint.exists():
            return 0
        self.set_model(model)
        variables = self._state()
        try:
            arrays, ended = _read(self.checkpoint)
            history, seconds = _losses(arrays, self.monitor, self.config.epochs)
            state, best = _fitting(arrays, "state", variables), _fitting(arrays, "best", model.weights)
        except InputError as error:
            logger.warning("%s is ignored (%s): the training starts from the beginning", self.checkpoint, error)
            return 0
        for variable, array in zip(variables, state, strict=True):
            variable.assign(array)
        self.history, self.seconds, self.best_weights = history, seconds, best
        done = len(self.seconds)
        for epoch in range(done):  # the log may be a new one
            logger.info("before the interruption: %s", self._line(epoch))
        logger.info("resumes after epoch %d of %d from %s", done, self.config.epochs, self.checkpoint.name)
        return self.config.epochs if ended else done

    def finish(self, model: keras.Model) -> None:
        """Set the model's weights to those of the best epoch."""
        if self.best_weights:
            model.set_weights(self.best_weights)


def _read(path: Path) -> tuple[dict[str, npt.NDArray[Any]], bool]:
    """Return the arrays of a checkpoint, and whether the training had ended; InputError where it is damaged."""
    content, verified = files.without_checksum(files.read_bytes(path), path)
    if not verified:
        raise InputError("it has no checksum")
    arrays, attributes = hdf5.unpack_h5(content, path)
    progress = text.parse_json(attributes.get("progress", "null"), path)
    if not isinstance(progress, dict) or not isinstance(progress.get("ended"), bool):
        raise InputError("it does not state whether the training had ended")
    return arrays, progress["ended"]


def _losses(
    arrays: Mapping[str, npt.NDArray[Any]], monitor: str, epochs: int
) -> tuple[dict[str, list[float]], list[float]]:
    """Return the losses and seconds of each epoch; InputError where they are not one number an epoch each."""
    start = "history/"
    found = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
    seconds = arrays.get("seconds", np.empty(0))
    fits = [array.shape == seconds.shape and array.dtype == np.float64 for array in (seconds, *found.values())]
    if not all(fits) or monitor not in found or seconds.ndim != 1 or not 1 <= seconds.size <= epochs:
        raise InputError("its losses are not one number for each epoch")
    if not (np.isfinite(seconds) & (seconds >= 0)).all():
        raise InputError("its times are not numbers of seconds")
    return {name: array.tolist() for name, array in found.items()}, seconds.tolist()


def _fitting(arrays: Mapping[str, npt.NDArray[Any]], group: str, variables: Sequence[Any]) -> list[npt.NDArray[Any]]:
    """Return the arrays of a group of a checkpoint in the order of ``variables``; InputError where they do not fit."""
    found = [arrays.get(f"{group}/{i:04d}") for i in range(len(variables))]
    fitting = [
        array
        for array, variable in zip(found, variables, strict=True)
        if array is not None
        and array.shape == tuple(variable.shape)
        and array.dtype.name == keras.backend.standardize_dtype(variable.dtype)
    ]
    if len(fitting) < len(variables):
        raise InputError("its weights are those of another model")
    return fitting
