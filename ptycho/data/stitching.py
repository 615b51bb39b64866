"""Patches -> object in one pass, weighted by the probe.

Axis order is (row, column) = (y, x). A position ``(x, y)`` is the pixel of the object on which the centre
index ``N // 2`` of a patch falls.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import ComplexArray, FloatArray
from ptycho.errors import InputError

WEIGHT_FLOOR = 1e-3  # of the probe's peak intensity: a pixel that stays dark still divides by something
CHUNK_BYTES = 2e8  # memory of one pass over the patches
BYTES_PER_PIXEL = 64  # of a pass: index, weight, value and their temporaries


@dataclass(frozen=True, eq=False)
class Stitched:
    """An object assembled from patches.

    Parameters
    ----------
    object : (H, W) complex64, 0 where ``weight`` is 0
    weight : (H, W) float32, summed probe intensity, in units of its peak
    """

    object: npt.NDArray[np.complex64]
    weight: npt.NDArray[np.float32]


@np.errstate(invalid="ignore")  # infinite pixels of a diverged model become NaN, and its arm a failed one
def stitch(
    patches: ComplexArray,
    xcoords: FloatArray,
    ycoords: FloatArray,
    probe: ComplexArray,
    shape: tuple[int, int],
    crop_px: int,
    *,
    align_phases: bool = False,
) -> Stitched:
    """Average the centres of overlapping patches on the object's grid, weighted by the probe's intensity.

    Parameters
    ----------
    patches : (n, N, N) complex, the object seen through each window
    xcoords, ycoords : (n,) float64, pixels of the object, fractions allowed
    probe : (N, N) complex
    shape : (H, W) of the object; what falls outside is dropped
    crop_px : side of the central square of each patch that is used, 1 to N
    align_phases : first turn each patch by a global phase, so that neighbours agree

    Raises
    ------
    InputError : shapes that do not fit each other, or a crop larger than the patches

    Notes
    -----
    object = sum_i S_i(w p_i) / sum_i S_i(w), where S_i spreads a pixel over the four it lies between, with
    bilinear weights: the adjoint of bilinear interpolation at the position of patch i.
    """
    _check(patches, xcoords, ycoords, probe, crop_px)
    start = patches.shape[-1] // 2 - crop_px // 2
    centre = slice(start, start + crop_px)
    intensity = np.abs(probe[centre, centre]).astype(np.float64) ** 2
    weight = intensity / (np.abs(probe).max() ** 2) + WEIGHT_FLOOR
    left, top = np.asarray(xcoords) - crop_px // 2, np.asarray(ycoords) - crop_px // 2
    cropped = patches[:, centre, centre]
    if align_phases:
        cropped = _with_agreeing_phases(cropped, left, top, weight, shape)
    return _merge(cropped, left, top, weight, shape)


def _check(patches: ComplexArray, xcoords: FloatArray, ycoords: FloatArray, probe: ComplexArray, crop_px: int) -> None:
    expected = (np.size(xcoords), *probe.shape)
    if patches.shape != expected or np.shape(ycoords) != np.shape(xcoords):
        raise InputError(
            f"patches have shape {patches.shape}, xcoords {np.shape(xcoords)}, ycoords {np.shape(ycoords)}, "
            f"the probe {probe.shape}: expected (n, N, N), (n,), (n,), (N, N) of the same n and N"
        )
    if not 1 <= crop_px <= probe.shape[0]:
        raise InputError(f"stitch_crop_px is {crop_px}, expected 1 to {probe.shape[0]}, the side of a patch")
    if not np.abs(probe).any():
        raise InputError("probeGuess is zero everywhere: patches cannot be weighted by it")


def _merge(
    patches: ComplexArray, left: FloatArray, top: FloatArray, weight: FloatArray, shape: tuple[int, int]
) -> Stitched:
    """Splat ``weight * patches`` and ``weight``, (n, c, c) with corners ``left``, ``top``, and divide."""
    total = np.zeros((3, shape[0] * shape[1]))
    step = max(1, int(CHUNK_BYTES / BYTES_PER_PIXEL / weight.size))
    for first in range(0, len(patches), step):
        part = slice(first, first + step)
        total += _splat(patches[part], left[part], top[part], weight, shape)
    real, imaginary, summed = total
    lit = summed > 0
    merged = np.divide(real + 1j * imaginary, summed, out=np.zeros(summed.size, complex), where=lit)
    return Stitched(merged.astype(np.complex64).reshape(shape), summed.astype(np.float32).reshape(shape))


def _splat(
    patches: ComplexArray, left: FloatArray, top: FloatArray, weight: FloatArray, shape: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Return (3, H * W): the real and imaginary parts of the weighted patches, and the weights, spread."""
    column, row = np.floor(left).astype(int), np.floor(top).astype(int)
    fx, fy = left - column, top - row
    pixels = np.arange(len(weight))
    outside = shape[0] * shape[1]  # one bin more, thrown away
    total = np.zeros((3, outside + 1))
    for dy, dx in product((0, 1), (0, 1)):
        rows = (row + dy)[:, None, None] + pixels[:, None]
        columns = (column + dx)[:, None, None] + pixels
        inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        index = np.where(inside, rows * shape[1] + columns, outside).ravel()
        share = np.abs(1 - dy - fy) * np.abs(1 - dx - fx)
        spread = share[:, None, None] * weight
        parts = spread * patches.real, spread * patches.imag, spread
        for line, part in zip(total, parts, strict=True):
            line += np.bincount(index, part.ravel(), outside + 1)
    return total[:, :outside]


def _with_agreeing_phases(
    patches: ComplexArray, left: FloatArray, top: FloatArray, weight: FloatArray, shape: tuple[int, int]
) -> npt.NDArray[np.complex64]:
    """Turn each patch (n, c, c) by the phase that fits it best to its neighbours, at whole pixels.

    The field first grows by the nearest patch, each turned to what already lies there: an average of phases
    that are still random has nothing to turn to. Three rounds against the stitched whole follow. One phase,
    common to all patches that overlap, stays free.
    """
    side = len(weight)
    high = np.add(shape, side)  # corners on a canvas with a margin of one patch
    row = np.clip(np.rint(top).astype(int) + side, 0, high[0])
    column = np.clip(np.rint(left).astype(int) + side, 0, high[1])
    turned = patches.astype(np.complex64)
    canvas = np.zeros(high + side, np.complex64)
    for i in _growing_order(left, top):
        window = canvas[row[i] : row[i] + side, column[i] : column[i] + side]
        turned[i] *= _rotation(window, turned[i], weight)
        window += weight * turned[i]
    for _ in range(3):
        whole = np.pad(_merge(turned, left, top, weight, shape).object, side)
        windows = np.lib.stride_tricks.sliding_window_view(whole, (side, side))[row, column]
        turned *= _rotation(windows, turned, weight)[:, None, None]
    return turned


def _growing_order(left: FloatArray, top: FloatArray) -> Iterator[int]:
    """Yield the middle patch, then always the one nearest to any before it (Prim's algorithm, n^2 steps)."""
    waiting = np.ones(len(left), bool)
    nearest = np.full(len(left), np.inf)
    i = int(np.argmin((left - np.median(left)) ** 2 + (top - np.median(top)) ** 2))
    for _ in left:
        waiting[i] = False
        yield i
        nearest = np.minimum(nearest, (left - left[i]) ** 2 + (top - top[i]) ** 2)
        i = int(np.argmin(np.where(waiting, nearest, np.inf)))


def _rotation(reference: ComplexArray, patches: ComplexArray, weight: FloatArray) -> Any:
    """Return exp(i angle) that turns ``patches`` (..., c, c) to ``reference``; 1 where they share nothing."""
    return np.exp(1j * np.angle(np.einsum("...ij,...ij,ij->...", reference, patches.conj(), weight)))
