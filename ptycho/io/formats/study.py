"""The study's own npz, and that of PtychoPINN-like programs."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ptycho.data.metadata import Metadata, parse_metadata
from ptycho.io import files, npz
from ptycho.io.conventions import Arrays, arrange, canonicalize
from ptycho.io.formats import shared
from ptycho.io.formats.ptychodus import CENTRED_PX

logger = logging.getLogger(__name__)

STACKS = ("diffraction", "diff3d", "Y")  # the large arrays, which a reconstruction has not
KNOWN_KEYS = (
    *STACKS, "xcoords", "ycoords", "probeGuess", "objectGuess", "scan_index", "bad_pixels", "metadata",
)  # fmt: skip
OF_PTYCHODUS = {"xcoords_start", "ycoords_start", "diff3d", "bad_pixels", "objectGuess"}  # together, of version 1.7


def read_study(path: Path | str, keys: Sequence[str] = KNOWN_KEYS, keep_types: bool = False) -> tuple[Arrays, Metadata]:
    """Return the arrays and the metadata of a study npz, or of one as PtychoPINN-like programs write it.

    Names, axis order and types are brought to the study's; values are unchanged, with two exceptions, both logged: a
    ``scan_index`` that is the number of the scan is replaced by that of the pattern, and the positions that ptychodus
    1.7 exports for PtychoPINN are moved by half a pixel (:func:`ptycho.io.formats.ptychodus.read_training`). Of several
    probe modes the strongest is used.

    Parameters
    ----------
    keys : those of ``KNOWN_KEYS`` that are read
    keep_types : keep the types of the file, such as complex128, and do not check them

    Raises
    ------
    InputError : damaged, or shapes and types that do not fit
    """
    fields = shared.read(path, keys)
    arrays = {key: value for key, value in fields.arrays.items() if key != "metadata"}
    with files.error_context(path):
        file_metadata = parse_metadata(fields.arrays)
        if {"xcoords", "ycoords"} <= arrays.keys():
            arrays = arrange(arrays) if keep_types else canonicalize(arrays)
    if file_metadata.format == npz.FORMAT and "diffraction" in arrays:
        file_metadata = replace(file_metadata, quantity="amplitude", dc="centre", positions="pixels")
    if "probeGuess" in arrays and arrays["probeGuess"].ndim > 2:
        arrays["probeGuess"] = shared.strongest_mode(fields, "probeGuess")
    elif "probeGuess" in arrays and not keep_types:
        arrays["probeGuess"] = fields.image("probeGuess")
    if "objectGuess" in arrays and arrays["objectGuess"].ndim > 2:
        arrays["objectGuess"] = shared.single_layer(fields, "objectGuess")
    if "bad_pixels" in arrays:
        arrays["bad_pixels"] = fields.real("bad_pixels", (None, None)) != 0
    if "scan_index" in arrays and arrays["scan_index"].dtype.kind in "iu":
        _number_patterns(arrays, str(path))
    if set(fields.names) >= OF_PTYCHODUS and {"xcoords", "ycoords"} <= arrays.keys():
        logger.warning(
            "%s: written by ptychodus for PtychoPINN, with positions of the middle of a window, (N - 1)/2: %.1f px are "
            "added for its index N/2", path, CENTRED_PX,
        )  # fmt: skip
        arrays |= {key: arrays[key] + CENTRED_PX for key in ("xcoords", "ycoords")}
        file_metadata = replace(file_metadata, quantity="counts", dc="centre", positions="pixels")
    return arrays, replace(file_metadata, format=None)


def _number_patterns(arrays: Arrays, source: str) -> None:
    """Replace a ``scan_index`` that numbers scans, equal for their patterns, by the number of each pattern."""
    index = arrays["scan_index"]
    numbers = np.unique(index)
    if 0 < numbers.size < index.size:
        logger.warning(
            "%s: scan_index has %d values for %d patterns, so it numbers scans: the patterns are numbered from 0",
            source, numbers.size, index.size,
        )  # fmt: skip
        arrays["scan_index"] = np.arange(index.size)
