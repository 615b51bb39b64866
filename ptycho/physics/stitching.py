"""Stitching: patches are merged into an object in one pass, weighted by the probe; and what a scan illuminates.

Axis order is (row, column) = (y, x). A position ``(x, y)`` is the pixel of the object on which the centre
index ``N // 2`` of a patch falls.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import ComplexArray, FloatArray
from ptycho.errors import InputError
from ptycho.physics.patches import bilinear_corners, scatter_patches

WEIGHT_FLOOR = 1e-3  # of the probe's peak intensity, added to the weights: pixels the probe leaves dark are defined too
Region = tuple[slice, slice]  # rows and columns
CHUNK_BYTES = 2e8  # memory of one pass over the patches
BYTES_PER_PIXEL = 64  # of a pass: index, weight, value and their temporaries


@dataclass(frozen=True, eq=False)
class Stitched:
    """An object stitched from patches.

    Parameters
    ----------
    object : (H, W) complex64, 0 where ``weight`` is 0
    weight : (H, W) float32, summed probe intensity of the patches on each pixel, in units of its peak
    """

    object: npt.NDArray[np.complex64]
    weight: npt.NDArray[np.float32]


@np.errstate(invalid="ignore")  # infinite pixels of a diverged model become NaN; its arm counts as failed
def stitch(
    patches: ComplexArray,
    xcoords: FloatArray,
    ycoords: FloatArray,
    probe: ComplexArray,
    shape: tuple[int, int],
    crop_px: int,
) -> Stitched:
    """Average the centres of overlapping patches on the object's grid, weighted by the probe's intensity.

    Parameters
    ----------
    patches : (n, N, N) complex, the object in each window
    xcoords, ycoords : (n,) float64, pixels of the object, fractions allowed
    probe : (N, N) complex
    shape : (H, W) of the object; what falls outside is dropped
    crop_px : side of the central square of each patch that is used, 1 to N

    Raises
    ------
    InputError : shapes that do not fit each other, or a crop larger than the patches

    Notes
    -----
    object = sum_i S_i(w p_i) / sum_i S_i(w), where S_i is the adjoint of bilinear interpolation at the position of
    patch i, see :func:`ptycho.physics.patches.scatter_patches`.
    """
    _check(patches, xcoords, ycoords, probe)
    centre, weight = _centre(probe, crop_px)
    return _merge(patches[:, centre, centre], np.asarray(xcoords), np.asarray(ycoords), weight, shape)


def illumination(
    xcoords: FloatArray, ycoords: FloatArray, probe: ComplexArray, shape: tuple[int, int], crop_px: int
) -> npt.NDArray[np.float64]:
    """Return the summed probe intensity of a scan on each pixel, (H, W) float64, in units of the probe's peak.

    Parameters
    ----------
    xcoords, ycoords : (n,) float64, pixels of the object; light that falls outside it is dropped
    probe : (N, N) complex, not zero everywhere
    shape : (H, W) of the object
    crop_px : side of the central square of the probe that counts, 1 to N; N for all of the light

    Notes
    -----
    The probe's intensity, scattered to each position by bilinear weights and summed: the convolution of the intensity
    with the summed weights on whole pixels.
    """
    import scipy.fft  # here, as --help starts faster without it

    _, intensity = _centre(probe, crop_px, floor=0.0)
    side = crop_px + 1  # a margin on each side for windows that begin before the object
    left, top = np.asarray(xcoords) - crop_px // 2 + side, np.asarray(ycoords) - crop_px // 2 + side
    height, width = shape[0] + side, shape[1] + side
    points = np.zeros((height, width))
    for rows, columns, share in bilinear_corners(left, top).each():
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        np.add.at(points, (rows[inside], columns[inside]), share[inside])
    padded = [scipy.fft.next_fast_len(size + crop_px, real=True) for size in points.shape]
    spectrum = scipy.fft.rfft2(points, padded) * scipy.fft.rfft2(intensity, padded)
    light = scipy.fft.irfft2(spectrum, padded)[side:height, side:width]
    return np.maximum(light, 0)


def light_share(
    xcoords: FloatArray, ycoords: FloatArray, probe: ComplexArray, covered: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return the fraction of each pattern's light that falls on the pixels of a mask, positions rounded to pixels.

    Parameters
    ----------
    xcoords, ycoords : (n,) float64, pixels of the object
    probe : (N, N) complex
    covered : (H, W) bool

    Returns
    -------
    (n,) float64, 0 to 1
    """
    import scipy.fft

    window = probe.shape[0]
    light = np.abs(probe).astype(np.float64) ** 2
    padded = np.pad(covered.astype(np.float64), window)
    shape = [scipy.fft.next_fast_len(side + window, real=True) for side in padded.shape]
    sums = scipy.fft.irfft2(scipy.fft.rfft2(padded, shape) * scipy.fft.rfft2(light[::-1, ::-1], shape), shape)
    last = [np.rint(np.asarray(c) - window / 2).astype(int) + 2 * window - 1 for c in (ycoords, xcoords)]
    return sums[last[0], last[1]] / light.sum()


def patterns_per_pixel(xcoords: FloatArray, ycoords: FloatArray, probe: ComplexArray) -> float:
    """Return how many patterns of a scan overlap on a pixel, on average weighted by light: 1 where none overlap.

    Parameters
    ----------
    xcoords, ycoords : (n,) float64, pixels
    probe : (N, N) complex

    Notes
    -----
    sum(L**2) / (n sum(I**2)), I the intensity of the probe and L the summed intensity of all n patterns on a pixel.
    """
    window = probe.shape[0]
    x, y = (np.asarray(values) - np.min(values) + window for values in (xcoords, ycoords))
    shape = int(np.ceil(y.max())) + window, int(np.ceil(x.max())) + window
    light = illumination(x, y, probe, shape, window)
    intensity = np.abs(probe).astype(np.float64) ** 2 / float(np.abs(probe).max()) ** 2
    return float(np.sum(light**2) / (np.size(xcoords) * np.sum(intensity**2)))


def covered_pixels(
    xcoords: FloatArray, ycoords: FloatArray, probe: ComplexArray, shape: tuple[int, int], crop_px: int
) -> npt.NDArray[np.bool_]:
    """Return the pixels of the object, (H, W) bool, that are covered by the stitched centre of at least one patch.

    A pixel at the edge of a patch counts as covered from half a pixel on. Parameters as for :func:`illumination`.
    """
    count = illumination(xcoords, ycoords, np.ones_like(probe), shape, crop_px)
    return count >= 0.5 - 1e-6  # of rounding


def evaluated_region(
    xcoords: FloatArray, ycoords: FloatArray, crop_px: int, shape: tuple[int, int], border_px: int = 8
) -> Region:
    """Return (rows, columns), the bounding box of the stitched patches without a border, clipped to the object.

    Parameters
    ----------
    xcoords, ycoords : (n,) positions, pixels of the object
    crop_px : side of the central square of a patch that is stitched
    shape : (H, W) of the object
    border_px : excluded on each side, where few patches overlap

    Raises
    ------
    InputError : no positions, or an empty region
    """

    def whole_pixels(positions: FloatArray, length: int) -> slice:
        first = np.ceil(np.min(positions) - crop_px / 2 + border_px)
        last = np.floor(np.max(positions) + crop_px / 2 - 1 - border_px)
        return slice(max(int(first), 0), min(int(last) + 1, length))

    if not len(xcoords):
        raise InputError("there are no test positions, so no region to evaluate: check the test data")
    region = whole_pixels(ycoords, shape[0]), whole_pixels(xcoords, shape[1])
    if any(part.start >= part.stop for part in region):
        raise InputError(
            f"the test positions span {np.ptp(xcoords):.1f} x {np.ptp(ycoords):.1f} px: with a stitched crop "
            f"of {crop_px} px and a border of {border_px} px the evaluated region of the object {shape} is empty; "
            "use test positions over a larger area inside the object, or raise evaluation.stitch_crop_px"
        )
    return region


def _centre(probe: ComplexArray, crop_px: int, floor: float = WEIGHT_FLOOR) -> tuple[slice, npt.NDArray[np.float64]]:
    """Return the central ``crop_px`` pixels of a window's side, and the stitching weight of each pixel there."""
    if not 1 <= crop_px <= probe.shape[0]:
        raise InputError(f"stitch_crop_px is {crop_px}, expected 1 to {probe.shape[0]}, the side of a patch")
    start = probe.shape[0] // 2 - crop_px // 2
    centre = slice(start, start + crop_px)
    intensity = np.abs(probe[centre, centre]).astype(np.float64) ** 2
    return centre, intensity / float(np.abs(probe).max()) ** 2 + floor


def _check(patches: ComplexArray, xcoords: FloatArray, ycoords: FloatArray, probe: ComplexArray) -> None:
    expected = (np.size(xcoords), *probe.shape)
    if patches.shape != expected or np.shape(ycoords) != np.shape(xcoords):
        raise InputError(
            f"patches have shape {patches.shape}, xcoords {np.shape(xcoords)}, ycoords {np.shape(ycoords)}, "
            f"the probe {probe.shape}: expected (n, N, N), (n,), (n,), (N, N) of the same n and N"
        )
    if not np.abs(probe).any():
        raise InputError("probeGuess is zero everywhere: patches cannot be weighted by it")


def _merge(
    patches: ComplexArray, xcoords: FloatArray, ycoords: FloatArray, weight: FloatArray, shape: tuple[int, int]
) -> Stitched:
    """Return the weighted average of patches (n, c, c), scattered in chunks that fit into memory."""
    total = np.zeros((3, *shape))
    step = max(1, int(CHUNK_BYTES / BYTES_PER_PIXEL / weight.size))
    for first in range(0, len(patches), step):
        part = slice(first, first + step)
        total += scatter_patches(patches[part], xcoords[part], ycoords[part], weight, shape)
    real, imaginary, summed = total
    lit = summed > 0
    merged = np.divide(real + 1j * imaginary, summed, out=np.zeros(shape, complex), where=lit)
    return Stitched(merged.astype(np.complex64), summed.astype(np.float32))
