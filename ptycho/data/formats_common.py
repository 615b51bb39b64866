"""What the formats share: checks of what is read, and what is written told in photons and metres."""

import json
import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data import formats_files, store
from ptycho.data.dataset import Dataset, FloatArray, Reconstruction
from ptycho.data.formats_files import Fields
from ptycho.data.rows import Index
from ptycho.errors import InputError

logger = logging.getLogger(__name__)

Content = Dataset | Reconstruction
SQUARE = 1e-3  # relative difference of two sides of a square pixel


# reading -------------------------------------------------------------------------------------------------


def square_patterns(fields: Fields, name: str) -> npt.NDArray[Any]:
    """Return patterns (n, N, N), N even."""
    patterns = fields.real(name, (None, None, None))
    count, rows, columns = patterns.shape
    if not count or rows != columns or rows % 2 or not rows:
        raise fields.error(
            f"{name} has shape {patterns.shape}, expected (n, N, N), N even: crop it to a square about the beam"
        )
    return patterns


def strongest_mode(fields: Fields, name: str) -> npt.NDArray[Any]:
    """Return the mode of most power of a probe (..., modes, H, W); what is left out is logged."""
    probe = fields.need(name)
    if probe.ndim < 2 or not probe.size or probe.dtype.kind != "c":
        raise fields.error(f"{name} has shape {probe.shape} and type {probe.dtype}, expected (..., H, W) complex")
    if max(probe.shape[:-3], default=1) > 1:
        logger.warning("%s: %s has shape %s: the first of its variations is taken", fields.path, name, probe.shape)
    modes = probe.reshape(-1, *probe.shape[-3:])[0] if probe.ndim > 2 else probe[None]
    power = np.square(np.abs(modes)).sum(axis=(-2, -1), dtype=np.float64)
    if not np.isfinite(power).all() or not power.any():
        raise fields.error(f"{name} is zero everywhere, or holds NaN or infinite values")
    best = int(power.argmax())
    if len(modes) > 1:
        logger.warning(
            "%s: of %d incoherent modes of %s, number %d is taken; the others, left out, carry %.1f %% of the power",
            fields.path, len(modes), name, best + 1, 100 * (1 - power[best] / power.sum()),
        )  # fmt: skip
    return modes[best]


def single_layer(fields: Fields, name: str) -> npt.NDArray[Any]:
    """Return an object (H, W) of one layer."""
    image = fields.need(name)
    if image.ndim == 3 and len(image) > 1:
        raise fields.error(f"{name} has {len(image)} layers, expected one: thick specimens are outside of this study")
    return fields.image(name)


def object_pixels(
    fields: Fields, centre: tuple[str, ...], metres: FloatArray, side: int, pixel_m: float | None
) -> FloatArray:
    """Return positions along one axis in pixels of the object, whose middle, ``side / 2``, is at ``centre`` metres."""
    middle_m = fields.number(*centre)
    if middle_m is None or pixel_m is None:
        missing = centre[0] if middle_m is None else "the size of an object pixel"
        raise fields.error(f"{missing} missing; the file holds {formats_files.listed({*fields.names, *fields.arrays})}")
    return (metres.astype(np.float64) - middle_m) / pixel_m + side / 2


def whole(fields: Fields, name: str, count: int) -> npt.NDArray[np.int64]:
    """Return ``count`` whole numbers, each once."""
    index = fields.real(name, (count,))
    if not (index == np.rint(index)).all() or not np.isfinite(index).all():
        raise fields.error(f"{name} holds fractions or NaN, expected whole numbers")
    result = index.astype(np.int64)
    values, counts = np.unique(result, return_counts=True)
    if values.size < count:
        raise fields.error(f"{name} holds {values[counts > 1][0]} twice, expected each number once: average them first")
    return result


def square_pixel(fields: Fields, name: str, width: float | None, height: float | None) -> float | None:
    """Return the side of a pixel, or None where neither side is known."""
    if width is None or height is None:
        return height if width is None else width
    if abs(width - height) > SQUARE * width:
        raise fields.error(f"{name} is {width:g} m wide and {height:g} m high, expected square pixels: resample first")
    return width


def metadata_of(fields: Fields, name: str = "metadata") -> dict[str, Any]:
    """Return the metadata that we wrote, but for what says how our own npz keeps amplitudes."""
    text = fields.text(name)
    content = store.parse_json(text, fields.path) if text else {}
    if not isinstance(content, dict):
        raise fields.error(f"{name} is a JSON {type(content).__name__}, expected an object")
    return {key: value for key, value in content.items() if key not in ("counts_scale", "format")}


# writing -------------------------------------------------------------------------------------------------


def metres(content: Content) -> tuple[FloatArray, FloatArray, float]:
    """Return positions in metres from the middle of the object, and the side of its pixels."""
    pixel = known(content, "pixel_size_m")
    if not pixel:
        raise InputError("the data do not say how large a pixel of the object is, in metres: give --pixel_size_m")
    rows, columns = object_shape(content)
    return (content.xcoords - columns / 2) * pixel, (content.ycoords - rows / 2) * pixel, pixel


def object_shape(content: Content) -> tuple[int, int]:
    """Return (H, W) of the object's grid."""
    return content.object_shape if isinstance(content, Dataset) else content.object.shape


def probe_in_photons(content: Content) -> npt.NDArray[np.complex64]:
    """Return the probe whose summed square is the photons of a pattern; a reconstruction's is as it came."""
    scale = content.counts_scale if isinstance(content, Dataset) else 1.0
    return (content.probe * scale).astype(np.complex64)


def counts(dataset: Dataset, part: Index) -> npt.NDArray[np.float32]:
    """Return the counts of some patterns."""
    return np.square(dataset.diffraction[part].astype(np.float64) * dataset.counts_scale).astype(np.float32)


def scan_index(content: Content) -> npt.NDArray[np.int64]:
    """Return the number of each position in its scan."""
    if isinstance(content, Dataset):
        return content.scan_index
    noted = content.metadata.get("scan_index", [])
    usable = isinstance(noted, list) and len(noted) == content.xcoords.size and all(type(n) is int for n in noted)
    return np.array(noted if usable else range(content.xcoords.size), np.int64)


def known(content: Content, key: str) -> float:
    """Return a positive number of the metadata; 0 where it is unknown."""
    value = content.metadata.get(key)
    return float(value) if isinstance(value, (int, float)) and 0 < value < np.inf else 0.0


def metadata_text(content: Content) -> str:
    """Return the metadata as :func:`metadata_of` reads them."""
    return json.dumps(store.plain(content.metadata))
