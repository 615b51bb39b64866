"""The names, axis order and types of arrays in the study's files."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.errors import InputError

logger = logging.getLogger(__name__)

Arrays = dict[str, npt.NDArray[Any]]
LEGACY_NAMES = {"diff3d": "diffraction"}
COMPLEX_KEYS = ("objectGuess", "probeGuess", "Y")
NUMBERS = "biuf"


def plain_array(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array in native byte order and C order, one text as a scalar; without a copy where it is so already.

    numpy saves what it is given: a transpose is stored in Fortran order, and other machines store big-endian numbers.
    """
    if array.dtype.kind in "US" and array.size == 1:
        array = array.reshape(())
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def require_even(window_px: int) -> None:
    """Raise InputError where the side of the patterns is odd: DC and positions refer to the pixel N/2."""
    if window_px % 2:
        raise InputError(
            f"patterns of {window_px} x {window_px} pixels: an even side is expected, as DC and positions refer to "
            f"pixel N/2; crop the patterns, and the probe, to {window_px - 1} with DC at {window_px // 2}"
        )


def canonicalize(arrays: Arrays) -> Arrays:
    """Bring names, axis order and types to the format of :mod:`ptycho.data.dataset`.

    ``diff3d`` is renamed to ``diffraction``; patterns stored (N, N, n) become (n, N, N); a trailing axis of ``Y``
    is dropped; complex arrays become complex64, positions float64 and one-dimensional. Values are not changed: counts
    remain counts. Other arrays pass through.

    Raises
    ------
    InputError : shapes that do not fit each other, or types that are not numbers
    """
    return cast(arrange(arrays))


def arrange(arrays: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """Return arrays under their newer names, the pattern's axis first, positions one-dimensional.

    Raises
    ------
    InputError : an array under both its names, or shapes that do not fit each other
    """
    for old, new in LEGACY_NAMES.items():
        if old in arrays and new in arrays:
            raise InputError(f"holds both {old} and {new}, its newer name: remove one")
    result = {LEGACY_NAMES.get(key, key): plain_array(value) for key, value in arrays.items()}
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


def cast(arrays: Arrays) -> Arrays:
    """Return arrays in the types of a dataset: complex64, float32 patterns (integers stay), int64 ``scan_index``.

    Raises
    ------
    InputError : an array of another kind of numbers
    """
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
    """Raise InputError unless the dtype of an array is one of ``kinds``, numpy's one-letter codes."""
    if array.dtype.kind not in kinds:
        expected = {"c": "complex: amplitude times exp(i phase)", "iu": "whole numbers"}.get(kinds, "real numbers")
        raise InputError(f"{key} is {array.dtype}, expected {expected}")


def require_light(patterns: npt.NDArray[Any]) -> None:
    """Raise InputError where patterns hold values that are not finite, or negative."""
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
    raise InputError(
        f"{key} has shape {stack.shape}, expected ({count}, N, N) or (N, N, {count}): one pattern per position"
    )
