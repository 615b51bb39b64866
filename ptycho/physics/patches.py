"""An object seen through windows at sub-pixel positions: bilinear extraction and its adjoint, the scatter.

A window at a fraction of a pixel is the weighted sum of the four windows at whole pixels around it; the weights are
the same for every pixel of the window. The scatter adds a patch to these four windows with the same weights, so that
``<extract(object), patches> == <object, scatter(patches)>``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import ComplexArray, FloatArray
from ptycho.data.lazy import LazyArray

Pixels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class BilinearCorners:
    """The first pixels of windows on a grid, split into whole pixels and fractions.

    Parameters
    ----------
    row, column : (n,) int64, the whole pixel at or before the first pixel of each window
    fy, fx : (n,) float64, 0 to below 1, how far the first pixel lies beyond it
    """

    row: Pixels
    column: Pixels
    fy: FloatArray
    fx: FloatArray

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """Weights (n, 4) of the whole-pixel windows at the upper left, upper right, lower left and lower right."""
        fy, fx = self.fy, self.fx
        return np.stack([(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx], axis=1)

    def each(self) -> Iterator[tuple[Pixels, Pixels, npt.NDArray[np.float64]]]:
        """Yield row, column and weight, (n,) each, of the four whole-pixel windows, in the order of ``weights``."""
        for number, weight in enumerate(self.weights.T):
            down, right = divmod(number, 2)
            yield self.row + down, self.column + right, weight


def bilinear_corners(left: FloatArray, top: FloatArray) -> BilinearCorners:
    """Return the whole pixels and fractions of windows whose first pixels are at ``left``, ``top``, (n,) pixels."""
    column, row = np.floor(left).astype(int), np.floor(top).astype(int)
    return BilinearCorners(row, column, top - row, left - column)


def extract_patches(
    array: ComplexArray, xcoords: FloatArray, ycoords: FloatArray, window_px: int
) -> npt.NDArray[np.complex64]:
    """Extract windows at sub-pixel positions from an object, by bilinear interpolation.

    Parameters
    ----------
    array : (H, W) complex
    xcoords, ycoords : (n,) pixels; windows may extend beyond the object by a pixel, where its edge pixels are repeated
    window_px : N

    Returns
    -------
    (n, N, N) complex64
    """
    return extract_from_padded(pad_edges(array), xcoords, ycoords, window_px)


def pad_edges(array: ComplexArray) -> npt.NDArray[np.complex64]:
    """Return an object (H, W) with its edges repeated, (H + 3, W + 3): 1 pixel before and 2 after."""
    return np.pad(array.astype(np.complex64, copy=False), ((1, 2), (1, 2)), mode="edge")


def extract_from_padded(
    array: npt.NDArray[np.complex64], xcoords: FloatArray, ycoords: FloatArray, window_px: int
) -> npt.NDArray[np.complex64]:
    """Return :func:`extract_patches` of an object that was padded once, by :func:`pad_edges`, for many calls.

    Notes
    -----
    Rows are interpolated before columns, in float32 on strided views: two products for each pixel instead of four.
    """
    left, top = np.asarray(xcoords) - window_px / 2 + 1, np.asarray(ycoords) - window_px / 2 + 1  # of the padded one
    corners = bilinear_corners(left, top)
    fx, fy = (fraction.astype(np.float32)[:, None, None] for fraction in (corners.fx, corners.fy))
    views = np.lib.stride_tricks.sliding_window_view(array, (window_px + 1, window_px + 1))
    parts = views[corners.row, corners.column].view(np.float32)  # real and imaginary parts in turn: weights are real
    rows = parts[:, :-1] * (1 - fy)
    rows += parts[:, 1:] * fy
    patches = rows[:, :, :-2] * (1 - fx)
    patches += rows[:, :, 2:] * fx
    return patches.view(np.complex64)


def lazy_patches(image: ComplexArray, xcoords: FloatArray, ycoords: FloatArray, window_px: int) -> LazyArray:
    """Return :func:`extract_patches` as a lazy array, (n, N, N) complex64: patches are extracted when indexed."""

    def extract(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.complex64]:
        return extract_patches(image, xcoords[numbers], ycoords[numbers], window_px)

    return LazyArray((xcoords.size, window_px, window_px), np.dtype(np.complex64), extract)


def scatter_patches(
    patches: ComplexArray, xcoords: FloatArray, ycoords: FloatArray, weight: FloatArray, shape: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Add weighted patches to an empty object at sub-pixel positions: the adjoint of :func:`extract_patches`.

    Parameters
    ----------
    patches : (n, c, c) complex
    xcoords, ycoords : (n,) pixels of the object on which index ``c // 2`` of each patch falls
    weight : (c, c) real, of the pixels of every patch
    shape : (H, W) of the object; what falls outside is dropped

    Returns
    -------
    (3, H, W) float64: the real and the imaginary part of the summed ``weight * patches``, and the summed weight

    Notes
    -----
    For windows inside the object, ``<weight * extract(object), patches> == <object, scatter(patches)>``.
    """
    side = len(weight)
    corners = bilinear_corners(np.asarray(xcoords) - side // 2, np.asarray(ycoords) - side // 2)
    pixels = np.arange(side)
    outside = shape[0] * shape[1]  # one bin more, dropped
    total = np.zeros((3, outside + 1))
    for row, column, share in corners.each():
        rows, columns = row[:, None, None] + pixels[:, None], column[:, None, None] + pixels
        inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        index = np.where(inside, rows * shape[1] + columns, outside).ravel()
        spread = share[:, None, None] * weight
        parts = spread * patches.real, spread * patches.imag, spread
        for line, part in zip(total, parts, strict=True):
            line += np.bincount(index, part.ravel(), outside + 1)
    return total[:, :outside].reshape(3, *shape)


def extract_window(area: npt.NDArray[np.complex64], weights: npt.NDArray[np.float32]) -> npt.NDArray[np.complex64]:
    """Return one patch, (N, N) complex64, of the area it lies on.

    Parameters
    ----------
    area : (N + 1, N + 1) complex64, the pixels of the four whole-pixel windows
    weights : (4,) float32, one row of :attr:`BilinearCorners.weights`
    """
    patch = sum(weight * window for weight, window in zip(weights, _whole_pixel_windows(area), strict=True))
    return np.asarray(patch)


def scatter_window(
    area: npt.NDArray[np.complex64], weights: npt.NDArray[np.float32], patch: npt.NDArray[np.complex64]
) -> None:
    """Add one patch, (N, N), to the area it lies on, in place: the adjoint of :func:`extract_window`."""
    for weight, window in zip(weights, _whole_pixel_windows(area), strict=True):
        window += weight * patch


def _whole_pixel_windows(area: npt.NDArray[np.complex64]) -> tuple[npt.NDArray[np.complex64], ...]:
    return area[:-1, :-1], area[:-1, 1:], area[1:, :-1], area[1:, 1:]
