"""How far a training is: told each epoch, kept on disk, and taken up again after an interruption."""

import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping
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
CODE = ("config", "data", "physics", "preparation", "models")  # folders of the package that a training depends on


def checkpoint_path(directory: Path, identity: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Path:
    """Return where the checkpoint of a training is kept: one file for each set of data, configuration and code.

    Parameters
    ----------
    identity : builtin types that say how the training is done
    arrays : what it is done with
    """
    digest = hashlib.sha256(json.dumps(text.to_jsonable(dict(identity)), sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    package = Path(ptycho.__file__).parent  # its figures and tables have no say in a training
    for path in sorted(path for folder in CODE for path in package.glob(f"{folder}/*.py")):
        digest.update(path.read_bytes() if path.exists() else b"")
    return directory / f"{PREFIX}{digest.hexdigest()[:16]}.h5"


def remove_checkpoints(directory: Path, keep: Path | None = None) -> None:
    """Remove the checkpoints of a directory, but for the one to ``keep``."""
    for path in directory.glob(f"{PREFIX}*.h5"):
        if path != keep:
            path.unlink(missing_ok=True)


class CheckpointCallback(keras.callbacks.Callback):
    """Follows a training: a line an epoch, the best weights, and a checkpoint where one is wanted.

    Parameters
    ----------
    batches : told which epoch begins
    monitor : the loss that tells the best epoch, ``val_loss`` or ``loss``
    checkpoint : file written after every epoch, or None
    """

    def __init__(self, batches: Any, config: TrainingConfig, monitor: str, checkpoint: Path | None) -> None:
        super().__init__()
        self.batches, self.config, self.monitor, self.checkpoint = batches, config, monitor, checkpoint
        self.history: dict[str, list[float]] = {}
        self.seconds: list[float] = []
        self.best_weights: list[npt.NDArray[Any]] = []

    @property
    def best_epoch(self) -> int:
        """From 1; the first where none is finite."""
        followed = self.history[self.monitor]
        return 1 + min(range(len(followed)), key=lambda i: followed[i] if math.isfinite(followed[i]) else math.inf)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.batches.start_epoch(epoch)
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.seconds.append(time.perf_counter() - self.started)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        logger.info("%s", self._line(epoch))
        since_best = epoch + 1 - self.best_epoch
        if since_best == 0:
            self.best_weights = self.model.get_weights()
        patience = self.config.patience_epochs
        if patience is not None and since_best >= patience:
            logger.info("no better %s in %d epochs: the training ends", self.monitor, patience)
            self.model.stop_training = True
        if self.checkpoint is not None and math.isfinite(self.history[self.monitor][-1]):
            self._write(self.checkpoint)

    def _line(self, epoch: int) -> str:
        values = ", ".join(f"{name} {losses[epoch]:.5f}" for name, losses in self.history.items())
        return f"epoch {epoch + 1} of {self.config.epochs}: {values} ({self.seconds[epoch]:.1f} s)"

    def _state(self) -> list[Any]:
        return [*self.model.weights, *self.model.optimizer.variables]

    def _write(self, path: Path) -> None:
        arrays = {f"state/{i:04d}": np.asarray(variable) for i, variable in enumerate(self._state())}
        arrays |= {f"best/{i:04d}": array for i, array in enumerate(self.best_weights)}
        told = text.as_json({"history": self.history, "seconds": self.seconds, "ended": self.model.stop_training})
        files.write_bytes(path, hdf5.pack_h5(arrays, {"progress": told}))

    def resume(self, model: keras.Model) -> int:
        """Bring a built and compiled model to where its checkpoint stands, and return the epochs done.

        A checkpoint that cannot be read is told of and left aside.
        """
        if self.checkpoint is None or not self.checkpoint.exists():
            return 0
        self.set_model(model)
        variables = self._state()
        try:
            arrays, attributes = hdf5.unpack_h5(files.read_bytes(self.checkpoint), self.checkpoint)
            told = text.parse_json(attributes["progress"], self.checkpoint)
            history, seconds, ended = told["history"], told["seconds"], told["ended"]
            state = [arrays[f"state/{i:04d}"] for i in range(len(variables))]
            best = [arrays[f"best/{i:04d}"] for i in range(len(model.weights))]
            fits = all(array.shape == tuple(variable.shape) for array, variable in zip(state, variables, strict=True))
            if not fits:
                raise InputError("its weights are those of another model")
        except (InputError, KeyError, TypeError) as error:
            logger.warning("%s cannot be used (%s): the training starts anew", self.checkpoint, error)
            return 0
        for variable, array in zip(variables, state, strict=True):
            variable.assign(array)
        self.history, self.seconds, self.best_weights = history, seconds, best
        done = len(self.seconds)
        for epoch in range(done):  # the log may be a new one
            logger.info("before: %s", self._line(epoch))
        logger.info("going on after epoch %d of %d, from %s", done, self.config.epochs, self.checkpoint.name)
        return self.config.epochs if ended else done

    def finish(self, model: keras.Model) -> None:
        """Give the model its best weights."""
        if self.best_weights:
            model.set_weights(self.best_weights)
