"""The study's own npz, and that of PtychoPINN-like programs."""

from dataclasses import replace
from pathlib import Path

from ptycho.data.metadata import Metadata, parse_metadata
from ptycho.io import files, npz
from ptycho.io.conventions import Arrays, canonicalize
from ptycho.io.formats import shared

KNOWN_KEYS = (
    "diffraction", "diff3d", "xcoords", "ycoords", "probeGuess", "objectGuess", "Y", "scan_index", "bad_pixels",
    "metadata",
)  # fmt: skip


def read_study(path: Path | str) -> tuple[Arrays, Metadata]:
    """Return the arrays and the metadata of a study npz, or of one as PtychoPINN-like programs write it.

    Names, axis order and types are brought to the study's; values are unchanged.

    Raises
    ------
    InputError : damaged, or shapes and types that do not fit
    """
    fields = shared.read(path, KNOWN_KEYS)
    arrays = {key: value for key, value in fields.arrays.items() if key != "metadata"}
    with files.error_context(path):
        file_metadata = parse_metadata(fields.arrays)
        if {"xcoords", "ycoords"} <= arrays.keys():
            arrays = canonicalize(arrays)
    if file_metadata.format == npz.FORMAT and "diffraction" in arrays:
        file_metadata = replace(file_metadata, quantity="amplitude", dc="centre", positions="pixels")
    if "probeGuess" in arrays:
        arrays["probeGuess"] = fields.image("probeGuess")
    if "bad_pixels" in arrays:
        arrays["bad_pixels"] = fields.real("bad_pixels", (None, None)) != 0
    return arrays, replace(file_metadata, format=None)
