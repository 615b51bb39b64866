"""The study's own npz, and that of PtychoPINN-like programs."""

from pathlib import Path
from typing import Any

from ptycho.data.metadata import parse_metadata
from ptycho.io import files, npz
from ptycho.io.conventions import Arrays, canonicalize

KNOWN_KEYS = (
    "diffraction", "diff3d", "xcoords", "ycoords", "probeGuess", "objectGuess", "Y", "scan_index", "bad_pixels",
    "metadata",
)  # fmt: skip


def read_study(path: Path | str) -> tuple[Arrays, dict[str, Any]]:
    """Return the arrays of a study npz, or of one as PtychoPINN-like programs write it, and what it says of itself.

    Names, axis order and types are brought to the study's; values stay.

    Raises
    ------
    InputError : damaged, or shapes and types that do not fit
    """
    from ptycho.io.formats import shared

    fields = shared.read(path, KNOWN_KEYS)
    arrays = {key: value for key, value in fields.arrays.items() if key != "metadata"}
    with files.error_context(path):
        facts = parse_metadata(fields.arrays)
        if {"xcoords", "ycoords"} <= arrays.keys():
            arrays = canonicalize(arrays)
    if facts.pop("format", None) == npz.FORMAT and "diffraction" in arrays:
        facts |= {"quantity": "amplitude", "dc": "centre", "positions": "pixels"}
    if "probeGuess" in arrays:
        arrays["probeGuess"] = fields.image("probeGuess")
    if "bad_pixels" in arrays:
        arrays["bad_pixels"] = fields.real("bad_pixels", (None, None)) != 0
    return arrays, facts
