"""Common to the readers and writers of foreign formats: patterns, modes, positions and metadata."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Dataset, FloatArray, Reconstruction
from ptycho.data.lazy import Index
from ptycho.data.metadata import Metadata, parse_metadata_text
from ptycho.errors import InputError
from ptycho.io.files import error_context
from ptycho.io.formats.fields import Fields, held, listed, names, read

__all__ = ["Fields", "held", "listed", "names", "read"]  # for the readers, which take all from here

logger = logging.getLogger(__name__)

Content = Dataset | Reconstruction
SQUARE = 1e-3  # relative difference of two sides of a square pixel


def square_patterns(fields: Fields, name: str) -> npt.NDArray[Any]:
    """Return patterns (n, N, N), N even; InputError where they have another shape."""
    patterns = fields.real(name, (None, None, None))
    count, rows, columns = patterns.shape
    if not count or rows != columns or rows % 2 or not rows:
        raise fields.error(
            f"{name} has shape {patterns.shape}, expected (n, N, N), N even: crop it to a square about the beam"
        )
    return patterns


def strongest_mode(fields: Fields, name: str) -> npt.NDArray[Any]:
    """Return the mode of most power, (H, W), of a probe (..., modes, H, W); the power of the others is logged.

    Raises
    ------
    InputError : not a complex image, or one without energy
    """
    probe = fields.need(name)
    if probe.ndim < 2 or not probe.size or probe.dtype.kind != "c":
        raise fields.error(f"{name} has shape {probe.shape} and type {probe.dtype}, expected (..., H, W) complex")
    if probe.shape[-1] != probe.shape[-2]:
        raise fields.error(f"{name} has shape {probe.shape}, expected (..., N, N): modes before the pixels")
    if max(probe.shape[:-3], default=1) > 1:
        logger.warning("%s: %s has shape %s: the first of its variations is used", fields.path, name, probe.shape)
    modes = probe.reshape(-1, *probe.shape[-3:])[0] if probe.ndim > 2 else probe[None]
    power = np.square(np.abs(modes)).sum(axis=(-2, -1), dtype=np.float64)
    if not np.isfinite(power).all() or not power.any():
        raise fields.error(f"{name} is zero everywhere, or holds NaN or infinite values")
    best = int(power.argmax())
    if len(modes) > 1:
        logger.warning(
            "%s: of %d incoherent modes of %s, number %d is used; the others, ignored, carry %.1f %% of the power",
            fields.path, len(modes), name, best + 1, 100 * (1 - power[best] / power.sum()),
        )  # fmt: skip
    return modes[best]


def single_layer(fields: Fields, name: str) -> npt.NDArray[Any]:
    """Return an object of one layer, (H, W) complex; InputError where there are several."""
    image = fields.need(name)
    if image.ndim == 3 and len(image) > 1:
        raise fields.error(f"{name} has {len(image)} layers, expected one: thick specimens are not supported")
    return fields.image(name)


def object_pixels(
    fields: Fields, centre: tuple[str, ...], metres: FloatArray, side: int, pixel_m: float | None
) -> FloatArray:
    """Return positions along one axis in pixels of the object, whose middle, ``side / 2``, is at ``centre`` metres.

    Parameters
    ----------
    centre : names of the field of the centre, metres
    metres : (n,) positions
    side : of the object along this axis, pixels
    pixel_m : size of a pixel, or None where unknown

    Raises
    ------
    InputError : the centre or the pixel size is unknown
    """
    middle_m = fields.number(*centre)
    if middle_m is None or pixel_m is None:
        missing = centre[0] if middle_m is None else "the size of an object pixel"
        raise fields.error(f"{missing} missing; the file holds {listed({*fields.names, *fields.arrays})}")
    return (metres.astype(np.float64) - middle_m) / pixel_m + side / 2


def whole(fields: Fields, name: str, count: int) -> npt.NDArray[np.int64]:
    """Return ``count`` unique whole numbers, (count,) int64; InputError where they are no such numbers."""
    index = fields.real(name, (count,))
    if not (index == np.rint(index)).all() or not np.isfinite(index).all():
        raise fields.error(f"{name} holds fractions or NaN, expected whole numbers")
    result = index.astype(np.int64)
    values, counts = np.unique(result, return_counts=True)
    if values.size < count:
        raise fields.error(f"{name} holds {values[counts > 1][0]} twice, expected each number once: average them first")
    return result


def square_pixel(fields: Fields, name: str, width: float | None, height: float | None) -> float | None:
    """Return the side of a pixel, or None where neither side is known; InputError where it is not square."""
    if width is None or height is None:
        return height if width is None else width
    if abs(width - height) > SQUARE * width:
        raise fields.error(f"{name} is {width:g} m wide and {height:g} m high, expected square pixels: resample first")
    return width


def parse_metadata_field(fields: Fields, name: str = "metadata") -> Metadata:
    """Return the metadata that the study wrote, without the keys that describe amplitudes of its own npz.

    Raises
    ------
    InputError : see :func:`ptycho.data.metadata.parse_metadata_text`
    """
    text = fields.text(name)
    with error_context(fields.path):
        return replace(parse_metadata_text(text, name) if text else Metadata(), counts_scale=None, format=None)


def metres(content: Content) -> tuple[FloatArray, FloatArray, float]:
    """Return positions, (n,) metres from the middle of the object, and the side of its pixels, metres.

    Raises
    ------
    InputError : the pixel size is unknown
    """
    pixel = content.metadata.pixel_size_m
    if pixel is None:
        raise InputError(
            "the pixel size of the object, in metres, is not stated, nor all of energy, distance and detector pixel, "
            "from which it follows: give --pixel_size_m"
        )
    rows, columns = object_shape(content)
    return (content.xcoords - columns / 2) * pixel, (content.ycoords - rows / 2) * pixel, pixel


def object_shape(content: Content) -> tuple[int, int]:
    """Return (H, W) of the object's grid."""
    return content.object_shape if isinstance(content, Dataset) else content.object.shape


def probe_in_photons(content: Content) -> npt.NDArray[np.complex64]:
    """Return the probe with the photons of a pattern as its summed square; a reconstruction's is unchanged."""
    scale = content.counts_scale if isinstance(content, Dataset) else 1.0
    return (content.probe * scale).astype(np.complex64)


def counts(dataset: Dataset, part: Index) -> npt.NDArray[np.float32]:
    """Return the counts of the patterns of ``part``, (k, N, N) float32."""
    return np.square(dataset.diffraction[part].astype(np.float64) * dataset.counts_scale).astype(np.float32)


def scan_index(content: Content) -> npt.NDArray[np.int64]:
    """Return the number of each position in its scan, (n,) int64."""
    if isinstance(content, Dataset):
        return content.scan_index
    noted = content.metadata.scan_index or ()
    return np.array(noted if len(noted) == content.xcoords.size else range(content.xcoords.size), np.int64)
