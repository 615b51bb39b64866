"""Import and export of the field's files: study npz, ptychodus, CXI, PtychoNN, tike. docs/formats.md describes each.

A reader returns the arrays of a file under the study's names, as the file has them, and what the file says of them;
:func:`ptycho.data.measured.dataset_from` brings both to the study's conventions.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ptycho.config import MeasuredConfig
from ptycho.data import formats_common as common
from ptycho.data import formats_cxi, formats_files, formats_ptychodus, measured, store
from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.data.formats_common import Content
from ptycho.data.store import Arrays
from ptycho.errors import InputError

logger = logging.getLogger(__name__)

Target = Literal["study", "ptychodus", "cxi"]
TITLES = {
    "study": "study npz",
    "ptychodus": "ptychodus product",
    "patterns": "ptychodus patterns",
    "cxi": "CXI",
    "tike": "tike npz",
    "ptychonn": "PtychoNN npz",
}
EXTENSIONS: dict[Target, tuple[str, ...]] = {
    "study": (".npz",),
    "ptychodus": (".h5", ".hdf5", ".npz"),
    "cxi": (".cxi", ".h5", ".hdf5"),
}


def detect(path: Path | str) -> str:
    """Return the format of a file, a key of ``TITLES``, by the names of its arrays.

    Raises
    ------
    InputError : no file, damaged, neither npz nor HDF5, or names of no known format
    """
    names = set(formats_files.names(path))
    if names & {"cxi_version", *formats_cxi.DATA}:
        return "cxi"
    if names & set(formats_ptychodus.POSITIONS):
        return "ptychodus"
    if names & {"diffraction", "diff3d", "objectGuess", "probeGuess"}:
        return "study"
    if names >= {"data", "scan"}:
        return "tike"
    if "reciprocal" in names:
        return "ptychonn"
    if "patterns" in names:
        return "patterns"
    raise InputError(
        f"{path}: holds {formats_files.listed(names)}, which is none of the known formats "
        f"({', '.join(TITLES.values())}); docs/formats.md lists their names"
    )


# reading -------------------------------------------------------------------------------------------------


def load(
    path: Path | str,
    config: MeasuredConfig,
    patterns: Path | str | None = None,
    probe: Path | str | None = None,
) -> Content:
    """Read a file of any known format: a dataset where there are patterns, else a reconstruction.

    Parameters
    ----------
    config : what the user says of measured patterns; it wins over what the file says
    patterns : ptychodus patterns that belong to the product ``path``
    probe : file of any known format whose probe is taken instead of the file's own

    Raises
    ------
    InputError : the file cannot be used; one line says what was found, what was expected and what to do
    """
    form = detect(path)
    logger.info("%s: %s", path, TITLES[form])
    if form == "patterns":
        raise InputError(f"{path}: ptychodus patterns without positions; give the product, and this with --patterns")
    if patterns is not None and form != "ptychodus":
        raise InputError(f"{path}: {TITLES[form]}, but --patterns joins patterns to a ptychodus product only")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows becomes infinite, and that is refused
        if form == "study" and probe is None and store.is_dataset(path):
            return _own_dataset(path, config)
        return _converted(path, form, config, patterns, probe)


def _converted(
    path: Path | str, form: str, config: MeasuredConfig, patterns: Path | str | None, probe: Path | str | None
) -> Content:
    arrays, facts = READERS[form](path)
    if patterns is not None:
        arrays = formats_ptychodus.joined(arrays, formats_ptychodus.read_patterns(patterns), str(patterns))
    if probe is not None:
        arrays["probeGuess"] = read_probe(probe)
        logger.info("%s: its probe is taken", probe)
    if "probeGuess" not in arrays:
        raise InputError(
            f"{path}: {TITLES[form]} without a probe; give one with --probe: study npz with probeGuess, ptychodus "
            "product or CXI"
        )
    with store.naming(path):
        missing = [key for key in ("xcoords", "ycoords") if key not in arrays]
        if missing:
            raise InputError(f"{', '.join(missing)} missing; the file holds {', '.join(sorted(arrays))}")
        if "diffraction" not in arrays:
            return _reconstruction(arrays, facts, config, str(path))
        return measured.dataset_from(arrays, facts, config, str(path))


def _own_dataset(path: Path | str, config: MeasuredConfig) -> Dataset:
    """Return a dataset that keeps the study's conventions already; the user may add what it does not say."""
    store.require_sound(path)
    dataset = measured.with_mask(store.open_dataset(path), config.bad_pixels)
    if config.pixel_size_m is None:
        return dataset
    return replace(dataset, metadata={**dataset.metadata, "pixel_size_m": config.pixel_size_m})


def _reconstruction(arrays: Arrays, facts: dict[str, Any], config: MeasuredConfig, source: str) -> Reconstruction:
    if "objectGuess" not in arrays:
        raise InputError("neither patterns nor an object: expected a scan or a reconstruction")
    metadata = {key: value for key, value in facts.items() if key not in ("quantity", "dc", "positions")}
    if config.pixel_size_m is not None:
        metadata["pixel_size_m"] = config.pixel_size_m
    index, counted = arrays.get("scan_index"), np.arange(arrays["xcoords"].size)
    if index is not None and index.shape == counted.shape and (index != counted).any():
        metadata["scan_index"] = index.tolist()  # so that patterns can still be joined by it
    return Reconstruction(
        object=arrays["objectGuess"].astype(np.complex64),
        probe=arrays["probeGuess"].astype(np.complex64),
        xcoords=arrays["xcoords"].astype(np.float64),
        ycoords=arrays["ycoords"].astype(np.float64),
        metadata={"source": source, **metadata},
    )


def read_probe(path: Path | str) -> npt.NDArray[Any]:
    """Return the probe (N, N) of a file of any known format."""
    form = detect(path)
    if form in ("patterns", "ptychonn"):
        raise InputError(f"{path}: {TITLES[form]}, which hold no probe; expected a study npz, ptychodus product or CXI")
    arrays, _ = READERS[form](path)
    if "probeGuess" not in arrays:
        raise InputError(f"{path}: {TITLES[form]} without a probe; expected probeGuess, or the probe of a product")
    return arrays["probeGuess"]


def _read_tike(path: Path | str) -> tuple[Arrays, dict[str, Any]]:
    """Read ``data``, ``scan``, ``probe`` and ``psi``; the scan is the minimum corner of the window, (row, column)."""
    fields = formats_files.read(path, ("data", "scan", "probe", "psi"))
    patterns = common.square_patterns(fields, "data")
    arrays: Arrays = {"diffraction": patterns, **_corners(fields, *patterns.shape[:2])}
    if fields.find("probe") is not None:
        arrays["probeGuess"] = common.strongest_mode(fields, "probe")
    if fields.find("psi") is not None:
        arrays["objectGuess"] = common.single_layer(fields, "psi")
    return arrays, {"quantity": "counts", "dc": "corner", "positions": "pixels"}


def _corners(fields: formats_files.Fields, count: int, side: int) -> Arrays:
    """Return positions from ``scan`` (n, 2), the first row and column of each window."""
    scan = fields.real("scan", (count, 2)).astype(np.float64)
    return {"xcoords": scan[:, 1] + side / 2, "ycoords": scan[:, 0] + side / 2}


def _read_ptychonn(path: Path | str) -> tuple[Arrays, dict[str, Any]]:
    """Read ``reciprocal``, ``real`` and ``scan``; PtychoNN keeps no probe and, for training, no positions."""
    fields = formats_files.read(path, ("reciprocal", "real", "scan", "xcoords", "ycoords", "probeGuess"))
    patterns = common.square_patterns(fields, "reciprocal")
    count, side = patterns.shape[:2]
    arrays: Arrays = {"diffraction": patterns}
    if fields.find("real") is not None:
        arrays["Y"] = _patches(fields, count, side)
    if fields.find("probeGuess") is not None:
        arrays["probeGuess"] = fields.image("probeGuess")
    if fields.find("scan") is not None:
        return {**arrays, **_corners(fields, count, side)}, {"dc": "centre", "positions": "pixels"}
    if fields.find("xcoords") is None or fields.find("ycoords") is None:
        raise fields.error(
            f"PtychoNN patterns without positions; the file holds {formats_files.listed(fields.names)}: add scan "
            "(n, 2), first row and column of each window in pixels, or xcoords and ycoords (n,), to the npz"
        )
    return {**arrays, **{key: fields.real(key, (count,)) for key in ("xcoords", "ycoords")}}, {"dc": "centre"}


def _patches(fields: formats_files.Fields, count: int, side: int) -> npt.NDArray[np.complex64]:
    """Return the windows of ``real``: complex, or phase and amplitude along the second axis."""
    real = fields.need("real")
    if real.dtype.kind == "c" and real.shape == (count, side, side):
        return real.astype(np.complex64)
    phase, amplitude = np.moveaxis(fields.real("real", (count, 2, side, side)), 1, 0)
    return (amplitude * np.exp(1j * phase)).astype(np.complex64)


READERS = {
    "study": measured.read_study,
    "ptychodus": formats_ptychodus.read_product,
    "cxi": formats_cxi.read,
    "tike": _read_tike,
    "ptychonn": _read_ptychonn,
}


# writing -------------------------------------------------------------------------------------------------


def target(path: Path | str, wanted: str | None = None) -> Target:
    """Return the format that ``path`` will have: ``wanted``, or what its extension says.

    Raises
    ------
    InputError : the extension is of no format, or not of the one that is wanted
    """
    extension = Path(path).suffix.lower()
    of_extension: dict[str, Target] = {".npz": "study", ".cxi": "cxi", ".h5": "ptychodus", ".hdf5": "ptychodus"}
    form = of_extension.get(extension) if wanted is None else next((t for t in get_args(Target) if t == wanted), None)
    if form is None or extension not in EXTENSIONS[form]:
        expected = EXTENSIONS[form] if form else tuple(of_extension)
        raise InputError(
            f"{path}: the extension {extension or '(none)'} is not one of {form or 'the formats written'}: expected "
            f"{', '.join(expected)}"
        )
    return form


def outputs(path: Path | str, form: Target) -> list[Path]:
    """Return the files that :func:`save` writes, the patterns of a product included."""
    return [Path(path), *([formats_ptychodus.patterns_path(path)] if form == "ptychodus" else [])]


def save(path: Path | str, content: Content, format: str | None = None) -> list[Path]:
    """Write a dataset or a reconstruction; return the files written.

    Parameters
    ----------
    format : study, ptychodus or cxi; None takes it from the extension

    Raises
    ------
    InputError : no such format, or positions cannot be told in metres
    """
    form = target(path, format)
    if form == "ptychodus":
        return formats_ptychodus.write(path, content)
    if form == "cxi":
        formats_cxi.write(path, content)
    elif isinstance(content, Dataset):
        store.write_dataset(path, content)
    else:
        store.write_reconstruction(path, content)
    return [Path(path)]
