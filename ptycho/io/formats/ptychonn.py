"""npz of PtychoNN: patterns and patches, and positions where they were added."""

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ptycho.data.metadata import Metadata
from ptycho.io.conventions import Arrays
from ptycho.io.formats import shared
from ptycho.io.formats.tike import corner_positions

logger = logging.getLogger(__name__)

KEYS = (
    "reciprocal", "real", "scan", "position", "pixelsize", "xcoords", "ycoords", "probeGuess", "objectGuess",
    "bad_pixels",
)  # fmt: skip


def read(path: Path | str) -> tuple[Arrays, Metadata]:
    """Read ``reciprocal``, ``real`` and the positions; PtychoNN stores no probe and, for training, no positions.

    Returns
    -------
    arrays, file_metadata : as :func:`ptycho.preparation.load.dataset_from` takes them

    Raises
    ------
    InputError : damaged, keys missing, or shapes that do not fit each other
    """
    fields = shared.read(path, KEYS)
    patterns = shared.square_patterns(fields, "reciprocal")
    count, side = patterns.shape[:2]
    arrays: Arrays = {"diffraction": patterns}
    patches = _patches(fields, count, side)
    arrays |= {} if patches is None else {"Y": patches}
    arrays |= {key: fields.image(key) for key in ("probeGuess", "objectGuess") if fields.find(key) is not None}
    if fields.find("bad_pixels") is not None:
        arrays["bad_pixels"] = fields.real("bad_pixels", (side, side)) != 0
    if fields.find("scan") is not None:
        return {**arrays, **corner_positions(fields, count, side)}, Metadata(dc="centre", positions="pixels")
    if fields.find("position") is not None:
        y_m, x_m = fields.real("position", (count, 2)).astype(np.float64).T
        pixel = fields.positive("pixelsize")
        return {**arrays, "xcoords": x_m, "ycoords": y_m}, Metadata(dc="centre", positions="metres", pixel_size_m=pixel)
    if fields.find("xcoords") is None or fields.find("ycoords") is None:
        raise fields.error(
            f"PtychoNN patterns without positions; the file holds {shared.listed(fields.names)}: add scan "
            "(n, 2), first row and column of each window in pixels, position (n, 2), y and x in metres, or xcoords and "
            "ycoords (n,), to the npz"
        )
    return {**arrays, **{key: fields.real(key, (count,)) for key in ("xcoords", "ycoords")}}, Metadata(dc="centre")


def _patches(fields: shared.Fields, count: int, side: int) -> npt.NDArray[np.complex64] | None:
    """Return the patches of ``real``, (n, N, N): complex, or phase and amplitude along the second axis.

    None where they cannot be used, which is logged: phases alone, or patches of another size than the patterns.
    """
    real = fields.find("real")
    if real is None:
        return None
    phases = real.shape == (count, 1, side, side)
    other_size = real.ndim >= 3 and real.shape[0] == count and real.shape[-1] == real.shape[-2] != side
    if phases or other_size:
        logger.warning(
            "%s: real has shape %s, %s: ignored", fields.path, real.shape,
            "phases without amplitudes" if phases else f"and not {side} x {side} pixels as the patterns",
        )  # fmt: skip
        return None
    if real.dtype.kind == "c" and real.shape == (count, side, side):
        return real.astype(np.complex64)
    phase, amplitude = np.moveaxis(fields.real("real", (count, 2, side, side)), 1, 0)
    return (amplitude * np.exp(1j * phase)).astype(np.complex64)
