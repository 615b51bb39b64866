"""An object seen through windows at sub-pixel positions: bilinear extraction."""

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import ComplexArray, FloatArray
from ptycho.data.lazy import LazyArray


def extract_patches(
    array: ComplexArray, xcoords: FloatArray, ycoords: FloatArray, window_px: int
) -> npt.NDArray[np.complex64]:
    """Cut windows at sub-pixel positions out of an object, by bilinear interpolation.

    Parameters
    ----------
    array : (H, W) complex
    xcoords, ycoords : (n,) pixels; windows may stand out of the object by a pixel, where its edge goes on
    window_px : N

    Returns
    -------
    (n, N, N) complex64

    Notes
    -----
    The fraction is the same for every pixel of a window, so a patch is the weighted sum of four whole-pixel
    windows, read as strided views.
    """
    return extract_from_padded(pad_edges(array), xcoords, ycoords, window_px)


def pad_edges(array: ComplexArray) -> npt.NDArray[np.complex64]:
    """Return an object with its edges repeated, as :func:`cut_padded` reads it: by 1 pixel before and 2 after."""
    return np.pad(array.astype(np.complex64, copy=False), ((1, 2), (1, 2)), mode="edge")


def extract_from_padded(
    array: npt.NDArray[np.complex64], xcoords: FloatArray, ycoords: FloatArray, window_px: int
) -> npt.NDArray[np.complex64]:
    """Return what :func:`cut_patches` returns, of an object that was padded once for many calls."""
    left, top = np.asarray(xcoords) - window_px / 2 + 1, np.asarray(ycoords) - window_px / 2 + 1  # of the padded one
    column, row = np.floor(left).astype(int), np.floor(top).astype(int)
    fx = (left - column).astype(np.float32)[:, None, None]
    fy = (top - row).astype(np.float32)[:, None, None]
    windows = np.lib.stride_tricks.sliding_window_view(array, (window_px + 1, window_px + 1))[row, column]
    parts = windows.view(np.float32)  # real and imaginary parts side by side: weights are real
    rows = parts[:, :-1] * (1 - fy)
    rows += parts[:, 1:] * fy
    patches = rows[:, :, :-2] * (1 - fx)
    patches += rows[:, :, 2:] * fx
    return patches.view(np.complex64)


def lazy_patches(image: ComplexArray, xcoords: FloatArray, ycoords: FloatArray, window_px: int) -> LazyArray:
    """Return the object seen through each window, (n, N, N) complex64, cut when they are asked for."""

    def cut(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.complex64]:
        return extract_patches(image, xcoords[numbers], ycoords[numbers], window_px)

    return LazyArray((xcoords.size, window_px, window_px), np.dtype(np.complex64), cut)
