"""What trainings and comparisons leave beside their metrics: training histories and reconstructed objects."""

import logging
import sys
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd

from ptycho.errors import InputError
from ptycho.io import npz, text
from ptycho.results import layout
from ptycho.results.schema import KEYS, TRAINED, Model, models

logger = logging.getLogger(__name__)


def read_histories(study_dir: Path | str, wide: pd.DataFrame) -> dict[tuple[int, int, Model], dict[str, Any]]:
    """Return the training histories of the models of a wide table, by (size, trial, model), where there are some."""
    known = models(wide)
    keys = [(size, trial, known[kind]) for size, trial, kind in wide[KEYS].itertuples(index=False, name=None)]
    found = {key: read_history(study_dir, *key) for key in keys if key[2].arm in TRAINED}
    return {key: history for key, history in found.items() if history}


def read_history(study_dir: Path | str, size: int, trial: int, model: Model) -> dict[str, Any]:
    """Return the history of a training; empty where there is none."""
    path = run_dir(study_dir, size, trial, model) / layout.HISTORY
    if not path.is_file():
        return {}
    history = text.read_json(path)
    if not history or not _is_history(history):
        logger.warning("%s: not the history of a training: it is ignored", path)
        return {}
    return history


def run_dir(study_dir: Path | str, size: int, trial: int, model: Model) -> Path:
    """Return the directory of a training, which may not exist."""
    branch = layout.branches(study_dir).get(model.variant, Path(study_dir) / layout.VARIANTS_DIR / model.variant)
    directory = layout.size_dirs(branch).get(size, branch)
    return layout.run_dir(layout.trial_dirs(directory).get(trial, directory), model.arm)


def _is_history(history: Any) -> bool:
    """Tell whether losses and times are lists of numbers (None: not finite) and the best epoch is one."""
    if not isinstance(history, dict):
        return False
    lists = {key: history.get(key, []) for key in ("loss", "val_loss", "epoch_seconds")}
    if not all(isinstance(values, list) for values in lists.values()):
        return False
    losses = [value for key in ("loss", "val_loss") for value in lists[key] if value is not None]
    numbers = [*losses, *lists["epoch_seconds"], history.get("best_epoch", 1)]
    return all(type(value) in (int, float) and abs(value) < sys.float_info.max for value in numbers)


def read_objects(study_dir: Path | str, size: int) -> dict[int, dict[str, npt.NDArray[Any]]]:
    """Read ``train_{size}/trial_*/reconstructions.npz``.

    Returns
    -------
    dict : for each trial, the complex (h, w) objects by name: ``ground_truth`` where it is known, ``pinn``,
        ``baseline``, ...; aligned to the truth and cropped to the evaluated region

    Raises
    ------
    InputError : no such file for this size
    """
    found: dict[int, dict[str, npt.NDArray[Any]]] = {}
    directory = layout.size_dir(study_dir, size)
    for trial, trial_dir in layout.trial_dirs(directory).items():
        path = trial_dir / layout.RECONSTRUCTIONS
        if not path.is_file():
            logger.warning("%s: missing; the figure omits trial %d", path, trial)
            continue
        found[trial] = _objects(path)
    if not found:
        raise InputError(
            f"{directory}: no trial_{{trial}}/{layout.RECONSTRUCTIONS}; run the comparisons of this size first"
        )
    return found


def _objects(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the complex objects of a ``reconstructions.npz`` by name."""
    suffix = "_complex"
    arrays = npz.read_npz(path)
    return {key.removesuffix(suffix): array for key, array in arrays.items() if key.endswith(suffix)}


def read_first_objects(
    study_dir: Path | str, trials: pd.DataFrame
) -> dict[int, tuple[int, dict[str, npt.NDArray[Any]]]]:
    """Return, for each size that has some, the first trial with reconstructions and its objects.

    Parameters
    ----------
    trials : tidy or wide; trials that it does not hold are not read
    """
    present = set(zip(trials["train_size"], trials["trial"], strict=True))
    found: dict[int, tuple[int, dict[str, npt.NDArray[Any]]]] = {}
    for (size, trial), path in layout.reconstruction_files(study_dir).items():
        if size not in found and (size, trial) in present:
            found[size] = trial, _objects(path)
    return found
