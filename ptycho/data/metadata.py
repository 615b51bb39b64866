"""Metadata of a file: one JSON object with validated values, and the history of processing steps."""

import json
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from ptycho.errors import InputError

MAX_SCALE = 1e30  # limit of numbers in the metadata: their squares are finite


def parse_metadata(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Return the content of ``metadata``, one JSON string, with ``steps`` and scales validated; empty where missing.

    Raises
    ------
    InputError : not a JSON object, or values out of range
    """
    if "metadata" not in arrays:
        return {}
    try:
        content = json.loads(str(arrays["metadata"]))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"metadata is not a JSON string ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"metadata is a JSON {type(content).__name__}, expected an object")
    steps = content.get("steps", [])
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise InputError("steps in the metadata is not a list of steps, each with step, parameters and version")
    for key in ("lit_factor", "removed_factor"):  # see ptycho.preparation.normalize
        pair = content.get(key, [1.0, 0.0])
        if not isinstance(pair, list) or [type(x) for x in pair] not in (
            [float, float],
            [float, int],
            [int, float],
            [int, int],
        ):
            raise InputError(f"{key} in the metadata is {pair!r}, expected [amplitude, phase in radians]")
        if not 0 < pair[0] < MAX_SCALE or not abs(pair[1]) < MAX_SCALE:
            raise InputError(f"{key} in the metadata is {pair!r}, expected an amplitude above 0 and a finite phase")
    for key in ("counts_scale", "pixel_size_m"):
        value = content.get(key, 1.0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < MAX_SCALE:
            raise InputError(f"{key} in the metadata is {value!r}, expected a number above 0")
    return content


def with_step(metadata: Mapping[str, Any], step: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``metadata`` with an entry appended to ``steps``: its name, parameters and the software version."""
    from ptycho import __version__

    entry = {"step": step, "parameters": dict(parameters), "version": __version__}
    return {**metadata, "steps": [*metadata.get("steps", []), entry]}
