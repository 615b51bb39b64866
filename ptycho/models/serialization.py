"""Files of trained models: weights as plain arrays, everything else as JSON.

A model is rebuilt by this package from its parameters, and only numbers are read, so that a file from elsewhere cannot
run code. ``wts.h5.zip`` holds ``weights.h5``, ``params.json`` and ``manifest.json`` (versions, SHA-256);
``baseline_model.h5`` holds the weights, the parameters as an attribute, and behind them the SHA-256 of both.
"""

import hashlib
import logging
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

import ptycho
from ptycho.config.schema import BaselineConfig, PinnConfig
from ptycho.data.metadata import MAX_SCALE
from ptycho.errors import InputError
from ptycho.io import files, hdf5, text
from ptycho.models import baseline, pinn
from ptycho.models.networks import FILTERS, PatchModel

logger = logging.getLogger(__name__)

Kind = Literal["pinn", "baseline"]
FILES: dict[Kind, str] = {"pinn": "wts.h5.zip", "baseline": "baseline_model.h5"}
FORMER = {"projections": 0, "convolution_activation": "relu"}  # of models that were saved before there were these keys
MEMBERS = ("weights.h5", "params.json", "manifest.json")


def versions() -> dict[str, str]:
    """Return the versions of the software that a result depends on, by name."""
    return {
        "ptycho": ptycho.__version__, "tensorflow": tf.__version__, "keras": keras.__version__,
        "numpy": np.__version__, "python": platform.python_version(),
    }  # fmt: skip


def save(directory: Path, model: keras.Model, params: Mapping[str, Any], history: Mapping[str, Any]) -> None:
    """Write a model with its ``params`` and ``history``; the model file last, so that it exists only with all others.

    Parameters
    ----------
    directory : of the model
    model : a trained model
    params : builtin types; ``params["model"]`` is ``pinn`` or ``baseline``, ``params["config"]`` its section
    history : of :func:`ptycho.models.training.fit`
    """
    kind: Kind = params["model"]
    text.write_dill(directory / "history.dill", dict(history))
    text.write_dill(directory / "params.dill", dict(params))
    params_json = text.as_json(params)
    weights = {variable.path: np.asarray(variable) for variable in model.weights}
    if kind == "baseline":
        content = hdf5.pack_h5(weights, {"params": params_json})
        files.write_bytes(directory / FILES[kind], files.with_checksum(content))
        return
    members = {"weights.h5": hdf5.pack_h5(weights, {}), "params.json": params_json.encode()}
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    manifest = {"format": 1, "versions": versions(), "sha256": checksums}
    files.write_zip(directory / FILES[kind], {**members, "manifest.json": text.as_json(manifest).encode()})


def load(directory: Path, kind: Kind, precision: str | None = None) -> tuple[PatchModel, dict[str, Any]]:
    """Rebuild a trained model from its directory.

    Parameters
    ----------
    directory : written by :func:`save`
    kind : which model to load from it
    precision : Keras dtype policy of its convolutions; None for that of its training

    Returns
    -------
    model : with the saved weights
    params : as given to :func:`save`

    Raises
    ------
    InputError : there is no model of that kind, or it is damaged or of another version
    """
    path = directory / FILES[kind]
    if not path.is_file():
        raise InputError(f"{directory}: no {FILES[kind]} there; expected the output directory of a {kind} training")
    if kind == "baseline":
        content, verified = files.without_checksum(files.read_bytes(path), path)
        if not verified:
            logger.warning("%s: without a checksum, as earlier versions wrote it: damage would not be noticed", path)
        weights, attributes = hdf5.unpack_h5(content, path)
        params = text.parse_json(attributes.get("params", "null"), path)
    else:
        members = files.read_zip(path, MEMBERS)
        _check(path, members)
        weights, _ = hdf5.unpack_h5(members["weights.h5"], path)
        params = text.parse_json(members["params.json"], path)
    if not isinstance(params, dict) or params.get("model") != kind:
        raise InputError(f"{path}: not a {kind} model of this project; train one with the study's own command")
    model = _build(kind, params if precision is None else {**params, "precision": precision}, weights, path)
    return model, params


def _check(path: Path, members: Mapping[str, bytes]) -> None:
    """Raise InputError where a member does not match its checksum in the manifest."""
    manifest = text.parse_json(members["manifest.json"], path)
    checksums = manifest.get("sha256") if isinstance(manifest, dict) else None
    for name in ("weights.h5", "params.json"):
        if not isinstance(checksums, dict) or hashlib.sha256(members[name]).hexdigest() != checksums.get(name):
            raise InputError(f"{path}: {name} does not match its checksum: the file is damaged; copy or train it again")


def _build(kind: Kind, params: Mapping[str, Any], weights: Mapping[str, npt.NDArray[Any]], path: Path) -> PatchModel:
    """Return the model that ``params`` describe, with ``weights``; ``path`` is named in errors."""
    model: PatchModel
    try:
        window, policy = params["window_px"], str(params["precision"])
        _check_params(params, sum(array.size for array in weights.values()))
        blank = np.zeros((window, window), np.complex64)
        if kind == "pinn":
            model = pinn.build(blank, PinnConfig(**{**FORMER, **params["config"]}), policy=policy)
        else:
            model = baseline.build(blank, BaselineConfig(**{**FORMER, **params["config"]}), policy=policy)
    except (InputError, KeyError, TypeError, ValueError, OverflowError, MemoryError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".removeprefix("InputError: ").split())  # of several lines
        raise InputError(f"{path}: its parameters do not describe a model of this version ({reason})") from error
    expected = {variable.path: tuple(variable.shape) for variable in model.weights}
    found = {name: array.shape for name, array in weights.items()}
    if expected != found:
        odd = sorted(set(expected.items()) ^ set(found.items()))[0]
        raise InputError(f"{path}: weights do not fit the model its parameters describe, e.g. {odd[0]} {odd[1]}")
    for variable in model.weights:
        kind_found, kind_expected = weights[variable.path].dtype.name, keras.backend.standardize_dtype(variable.dtype)
        if kind_found != kind_expected:
            raise InputError(
                f"{path}: {variable.path} is {kind_found}, expected {kind_expected}: train the model again"
            )
        variable.assign(weights[variable.path])
    return model


def _check_params(params: Mapping[str, Any], size: int) -> None:
    """Check the parameters of a model before memory is taken for it.

    Parameters
    ----------
    params : of a model's file
    size : numbers in its weights, which bound the network that they may describe

    Raises
    ------
    InputError : a parameter of another type or out of range, or a network larger than ``size``
    """
    window, scale, config = params["window_px"], params.get("counts_scale"), params["config"]
    if type(window) is not int or window < 1:
        raise InputError(f"window_px is {window!r:.40}, expected a whole number of pixels")
    if scale is not None and not (type(scale) in (int, float) and 0 < scale < MAX_SCALE):
        raise InputError(f"counts_scale is {scale!r:.40}, expected a number above 0")
    if not isinstance(config, dict):
        raise InputError(f"config is {config!r:.40}, expected keys and values")
    factor = config.get("n_filters_scale", 0)
    if type(factor) not in (int, float) or 9 * (FILTERS[0] * factor) ** 2 > size or window**2 > size:
        raise InputError(
            f"weights do not fit: window_px {window} and n_filters_scale {factor!r:.40} need more than the {size} "
            "numbers in the file"
        )
