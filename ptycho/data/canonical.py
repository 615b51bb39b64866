"""The raw arrays of a file, brought to the names, axis order, types and even sides of :mod:`ptycho.data.dataset`."""

import json
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Reconstruction, with_step
from ptycho.data.level import normalized
from ptycho.errors import InputError

logger = logging.getLogger(__name__)

Arrays = dict[str, npt.NDArray[Any]]
LEGACY_NAMES = {"diff3d": "diffraction"}
COMPLEX_KEYS = ("objectGuess", "probeGuess", "Y")
NUMBERS = "biuf"
MAX_SCALE = 1e30  # of a number in the metadata: its square is still finite


def metadata_of(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Return the dictionary that ``metadata``, one JSON string, holds, its steps and scales checked.

    It is empty where there is none.

    Raises
    ------
    InputError : something else is there
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
        raise InputError("steps in the metadata is no list of steps, each with step, parameters and version")
    for key in ("lit_factor", "removed_factor"):  # see ptycho.data.level
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


def _after(arrays: Arrays, step: str, parameters: Mapping[str, Any]) -> Arrays:
    return {**arrays, "metadata": np.asarray(json.dumps(with_step(metadata_of(arrays), step, parameters)))}


def pad_to_even(arrays: Arrays, sha256: str | None = None) -> Arrays:
    """Make the sides of object and probe even.

    The object gains its last row or column again at the far edge, so positions stay; the probe gains a row or
    column of zeros before the first, so its centre stays on index N/2. Other arrays pass through.

    Parameters
    ----------
    sha256 : of the file they came from, noted with the step

    Raises
    ------
    InputError : an image is not two-dimensional, or there are patterns of an odd size
    """
    result = dict(arrays)
    added = {}
    for key, far in (("objectGuess", True), ("probeGuess", False)):
        if key not in arrays:
            continue
        if arrays[key].ndim != 2:
            raise InputError(f"{key} has shape {arrays[key].shape}, expected two dimensions (rows, columns)")
        odd = [size % 2 for size in arrays[key].shape]
        widths = [(0, extra) if far else (extra, 0) for extra in odd]
        result[key] = np.pad(arrays[key], widths, mode="edge" if far else "constant")
        added[key] = odd
    pattern = arrays.get("diffraction", arrays.get("diff3d"))
    if pattern is not None and "probeGuess" in added and any(added["probeGuess"]):
        raise InputError(
            f"patterns of an odd size {pattern.shape} cannot be padded without moving their centre: crop them"
        )
    return _after(result, "pad_to_even", {"rows_columns_added": added, "input_sha256": sha256})


def canonicalize(arrays: Arrays) -> Arrays:
    """Bring names, axis order and types to the format of :mod:`ptycho.data.dataset`.

    ``diff3d`` becomes ``diffraction``; patterns stored (N, N, n) become (n, N, N); a trailing axis of ``Y``
    goes; complex arrays become complex64, positions float64 and one-dimensional. Values stay as they are: counts
    stay counts. Other arrays pass through.

    Raises
    ------
    InputError : shapes that do not fit each other, or types that are not numbers
    """
    return _typed(_arranged(arrays))


def _arranged(arrays: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """Return arrays under their newer names, the pattern's axis first, positions one-dimensional."""
    for old, new in LEGACY_NAMES.items():
        if old in arrays and new in arrays:
            raise InputError(f"holds both {old} and {new}, its newer name: leave one out")
    result = {LEGACY_NAMES.get(key, key): value for key, value in arrays.items()}
    for key in ("xcoords", "ycoords"):
        require_numbers(result[key], key, NUMBERS)
        result[key] = result[key].astype(np.float64).reshape(-1)
    if result["xcoords"].size != result["ycoords"].size:
        raise InputError(
            f"xcoords holds {result['xcoords'].size} positions and ycoords {result['ycoords'].size}: make them equal"
        )
    if "Y" in result and result["Y"].ndim == 4 and result["Y"].shape[-1] == 1:
        result["Y"] = result["Y"][..., 0]
    for key in result.keys() & {"diffraction", "Y"}:
        result[key] = _pattern_axis_first(result[key], result["xcoords"].size, key)
    return result


def _typed(arrays: Arrays) -> Arrays:
    """Return arrays in the types that datasets have; InputError where they are no such numbers."""
    result = dict(arrays)
    for key in result.keys() & set(COMPLEX_KEYS):
        require_numbers(result[key], key, "c")
        result[key] = result[key].astype(np.complex64, copy=False)
    if "scan_index" in result:
        require_numbers(result["scan_index"], "scan_index", "iu")
        result["scan_index"] = result["scan_index"].astype(np.int64, copy=False)
    if "diffraction" in result:
        require_numbers(result["diffraction"], "diffraction", NUMBERS)
        if result["diffraction"].dtype.kind == "f":
            result["diffraction"] = result["diffraction"].astype(np.float32, copy=False)
    return result


def require_numbers(array: Any, key: str, kinds: str) -> None:
    """Raise InputError where an array is of none of the ``kinds`` of numpy's dtypes."""
    if array.dtype.kind not in kinds:
        expected = {"c": "complex: amplitude times exp(i phase)", "iu": "whole numbers"}.get(kinds, "real numbers")
        raise InputError(f"{key} is {array.dtype}, expected {expected}")


def require_light(patterns: npt.NDArray[Any]) -> None:
    """Raise InputError where patterns are not finite, or negative."""
    if patterns.dtype.kind == "f" and not np.isfinite(patterns).all():
        raise InputError("diffraction holds NaN or infinite values: mark these pixels in bad_pixels and set them to 0")
    if patterns.dtype.kind != "b" and (patterns < 0).any():
        raise InputError(
            f"diffraction holds negative values (down to {patterns.min():.4g}): counts, intensities and amplitudes "
            "are 0 or more; mark bad pixels in bad_pixels and set them to 0"
        )


def _pattern_axis_first(stack: npt.NDArray[Any], count: int, key: str) -> npt.NDArray[Any]:
    if stack.ndim == 3 and stack.shape[0] == count and stack.shape[1] == stack.shape[2]:
        if count == stack.shape[1]:
            logger.warning("%s %s: as many patterns as pixels; read as (patterns, rows, columns)", key, stack.shape)
        return stack
    if stack.ndim == 3 and stack.shape[2] == count and stack.shape[0] == stack.shape[1]:
        return np.ascontiguousarray(np.moveaxis(stack, 2, 0))
    raise InputError(f"{key} has shape {stack.shape}, expected ({count}, N, N) or (N, N, {count}): one a position")


def mirrored(patterns: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    """Mirror patterns, (..., N, N), about their centre pixel N/2 along an axis."""
    return np.roll(np.flip(patterns, axis), 1, axis)


def flip(arrays: Arrays, axis: str) -> Arrays:
    """Mirror a canonical scan along ``x`` (columns) or ``y`` (rows): object, probe, windows, patterns, positions.

    A window that covers first pixel f to f + N - 1 of a side of W pixels covers W - f - N on after it, so a
    position goes to W - x. Patterns are mirrored about their centre pixel N/2, as a mirrored wave diffracts.

    Raises
    ------
    InputError : no object, whose side says where positions go
    """
    if "objectGuess" not in arrays:
        raise InputError("objectGuess missing: positions are mirrored within it")
    result = dict(arrays)
    last = -1 if axis == "x" else -2
    for key in result.keys() & {"objectGuess", "probeGuess", "Y"}:
        result[key] = np.flip(result[key], last)
    for key in result.keys() & {"diffraction", "bad_pixels"}:
        result[key] = mirrored(result[key], last)
    coordinate = f"{axis}coords"
    result[coordinate] = result["objectGuess"].shape[last] - result[coordinate]
    return result


def transpose_rename_convert(arrays: Arrays, *, flipx: bool = False, flipy: bool = False) -> Arrays:
    """Return :func:`canonicalize` of a file's arrays at level 1 and mean phase 0, mirrored where asked, and noted."""
    arranged = _arranged(arrays)
    result = _typed(arranged)
    Reconstruction(result["objectGuess"], result["probeGuess"], result["xcoords"], result["ycoords"])  # checks them
    require_light(result.get("diffraction", np.zeros(1)))
    leveled, metadata = normalized(arranged, metadata_of(arrays))
    result = _typed({**leveled, "metadata": np.asarray(json.dumps(metadata))})
    for axis, wanted in (("x", flipx), ("y", flipy)):
        if wanted:
            result = flip(result, axis)
    return _after(result, "transpose_rename_convert", {"flipx": flipx, "flipy": flipy})
