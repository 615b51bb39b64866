"""Import and export of the field's files. docs/formats.md describes each.

A reader returns the arrays of a file under the study's names, values unchanged, and its metadata;
:func:`ptycho.preparation.load.dataset_from` converts both to the study's conventions.
"""

from pathlib import Path
from typing import Any, Literal, get_args

import numpy.typing as npt

from ptycho.data.dataset import Dataset
from ptycho.data.metadata import Metadata
from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.io.conventions import Arrays
from ptycho.io.formats import cxi, cxi_geometry, ptychodus, ptychonn, shared, study, tike
from ptycho.io.formats.shared import Content

Target = Literal["study", "ptychodus", "cxi"]
TITLES = {
    "study": "study npz",
    "ptychodus": "ptychodus product",
    "patterns": "ptychodus patterns",
    "training": "ptychodus training data",
    "cxi": "CXI",
    "tike": "tike npz",
    "ptychonn": "PtychoNN npz",
}
EXTENSIONS: dict[Target, tuple[str, ...]] = {
    "study": (".npz",),
    "ptychodus": (".h5", ".hdf5", ".npz"),
    "cxi": (".cxi", ".h5", ".hdf5"),
}


SIGNS: tuple[tuple[tuple[str, ...], str], ...] = (  # names, any of which tells the format; the first that fits
    (("cxi_version", *cxi_geometry.DATA), "cxi"),
    (ptychodus.POSITIONS, "ptychodus"),
    (ptychodus.TRAINING_POSITIONS, "training"),
    (("diffraction", "diff3d"), "study"),
    (("reciprocal",), "ptychonn"),  # to which a probe or an object may have been added
    (("objectGuess", "probeGuess"), "study"),
    (("data",), "tike"),
    (("patterns",), "patterns"),
)


def detect(path: Path | str) -> str:
    """Return the format of a file, a key of ``TITLES``, by the names of its arrays.

    Raises
    ------
    InputError : no file, damaged, neither npz nor HDF5, or names of no known format
    """
    found = shared.held(path, {name for names, _ in SIGNS for name in names} | {"scan"})
    for names, form in SIGNS:
        if any(name in found for name in names) and (form != "tike" or "scan" in found):
            return form
    everything = shared.names(path)
    raise InputError(
        f"{path}: holds {shared.listed(everything)}, which is none of the known formats "
        f"({', '.join(TITLES.values())}); docs/formats.md lists their names"
    )


def read_probe(path: Path | str) -> npt.NDArray[Any]:
    """Return the probe, (N, N) complex, of a file of any known format.

    Raises
    ------
    InputError : the file cannot be read, or holds no probe
    """
    form = detect(path)
    if form == "patterns":
        raise InputError(f"{path}: {TITLES[form]}, which hold no probe; expected a study npz, ptychodus product or CXI")
    arrays, _ = READERS[form](path)
    if "probeGuess" not in arrays:
        raise InputError(f"{path}: {TITLES[form]} without a probe; expected probeGuess, or the probe of a product")
    return arrays["probeGuess"]


def read_patterns(path: Path | str) -> tuple[Arrays, Metadata]:
    """Return the patterns that belong to a product in another file, and what their file states of the measurement.

    Returns
    -------
    arrays, file_metadata : ``diffraction`` (n, N, N), ``scan_index`` (n,) and, where present, ``bad_pixels`` (N, N)

    Raises
    ------
    InputError : the file cannot be read, or holds no patterns
    """
    is_cxi = shared.held(path, ("cxi_version", *cxi_geometry.DATA))
    return cxi.read_patterns(path) if is_cxi else ptychodus.read_patterns(path)


READERS = {
    "study": study.read_study,
    "ptychodus": ptychodus.read_product,
    "cxi": cxi.read,
    "tike": tike.read,
    "ptychonn": ptychonn.read,
    "training": ptychodus.read_training,
}


def target(path: Path | str, wanted: str | None = None) -> Target:
    """Return the format in which ``path`` is written: ``wanted``, or that of its extension.

    Raises
    ------
    InputError : an extension of no known format, or of another one than ``wanted``
    """
    extension = Path(path).suffix.lower()
    of_extension: dict[str, Target] = {".npz": "study", ".cxi": "cxi", ".h5": "ptychodus", ".hdf5": "ptychodus"}
    form = of_extension.get(extension) if wanted is None else next((t for t in get_args(Target) if t == wanted), None)
    if form is None or extension not in EXTENSIONS[form]:
        expected = EXTENSIONS[form] if form else tuple(of_extension)
        raise InputError(
            f"{path}: extension {extension or '(none)'} is none of {form or 'the formats that are written'}: expected "
            f"{', '.join(expected)}"
        )
    return form


def outputs(path: Path | str, form: Target) -> list[Path]:
    """Return the files that :func:`save` writes, the patterns of a product included."""
    return [Path(path), *([ptychodus.patterns_path(path)] if form == "ptychodus" else [])]


def save(path: Path | str, content: Content, format: str | None = None) -> list[Path]:
    """Write a dataset or a reconstruction; return the files written.

    Parameters
    ----------
    format : study, ptychodus or cxi; None takes it from the extension

    Raises
    ------
    InputError : no such format, or positions are written in metres and the pixel size is unknown
    """
    form = target(path, format)
    if form == "ptychodus":
        return ptychodus.write(path, content)
    if form == "cxi":
        cxi.write(path, content)
    elif isinstance(content, Dataset):
        npz.write_dataset(path, content)
    else:
        npz.write_reconstruction(path, content)
    return [Path(path)]
