"""npz of tike: patterns, scan, probe and psi."""

from pathlib import Path

import numpy as np

from ptycho.data.metadata import Metadata
from ptycho.io.conventions import Arrays
from ptycho.io.formats import shared


def read(path: Path | str) -> tuple[Arrays, Metadata]:
    """Read ``data``, ``scan``, ``probe`` and ``psi``; the scan is the minimum corner of the window, (row, column).

    Returns
    -------
    arrays, file_metadata : as :func:`ptycho.preparation.load.dataset_from` takes them

    Raises
    ------
    InputError : damaged, keys missing, or shapes that do not fit each other
    """
    fields = shared.read(path, ("data", "scan", "probe", "psi"))
    patterns = shared.square_patterns(fields, "data")
    arrays: Arrays = {"diffraction": patterns, **corner_positions(fields, *patterns.shape[:2])}
    if fields.find("probe") is not None:
        arrays["probeGuess"] = shared.strongest_mode(fields, "probe")
    if fields.find("psi") is not None:
        arrays["objectGuess"] = shared.single_layer(fields, "psi")
    return arrays, Metadata(quantity="counts", dc="corner", positions="pixels")


def corner_positions(fields: shared.Fields, count: int, side: int) -> Arrays:
    """Return ``xcoords`` and ``ycoords`` from ``scan`` (n, 2), the first row and column of each window."""
    scan = fields.real("scan", (count, 2)).astype(np.float64)
    return {"xcoords": scan[:, 1] + side / 2, "ycoords": scan[:, 0] + side / 2}
