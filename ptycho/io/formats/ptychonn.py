"""npz of PtychoNN: patterns and patches, and positions where they were added."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ptycho.data.metadata import Metadata
from ptycho.io.conventions import Arrays
from ptycho.io.formats import shared
from ptycho.io.formats.tike import corner_positions


def read(path: Path | str) -> tuple[Arrays, Metadata]:
    """Read ``reciprocal``, ``real`` and ``scan``; PtychoNN stores no probe and, for training, no positions.

    Returns
    -------
    arrays, file_metadata : as :func:`ptycho.preparation.load.dataset_from` takes them

    Raises
    ------
    InputError : damaged, keys missing, or shapes that do not fit each other
    """
    fields = shared.read(path, ("reciprocal", "real", "scan", "xcoords", "ycoords", "probeGuess"))
    patterns = shared.square_patterns(fields, "reciprocal")
    count, side = patterns.shape[:2]
    arrays: Arrays = {"diffraction": patterns}
    if fields.find("real") is not None:
        arrays["Y"] = _patches(fields, count, side)
    if fields.find("probeGuess") is not None:
        arrays["probeGuess"] = fields.image("probeGuess")
    if fields.find("scan") is not None:
        return {**arrays, **corner_positions(fields, count, side)}, Metadata(dc="centre", positions="pixels")
    if fields.find("xcoords") is None or fields.find("ycoords") is None:
        raise fields.error(
            f"PtychoNN patterns without positions; the file holds {shared.listed(fields.names)}: add scan "
            "(n, 2), first row and column of each window in pixels, or xcoords and ycoords (n,), to the npz"
        )
    return {**arrays, **{key: fields.real(key, (count,)) for key in ("xcoords", "ycoords")}}, Metadata(dc="centre")


def _patches(fields: shared.Fields, count: int, side: int) -> npt.NDArray[np.complex64]:
    """Return the patches of ``real``, (n, N, N): complex, or phase and amplitude along the second axis."""
    real = fields.need("real")
    if real.dtype.kind == "c" and real.shape == (count, side, side):
        return real.astype(np.complex64)
    phase, amplitude = np.moveaxis(fields.real("real", (count, 2, side, side)), 1, 0)
    return (amplitude * np.exp(1j * phase)).astype(np.complex64)
