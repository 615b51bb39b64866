"""Opening data of any known format in the study's conventions.

:func:`load_scan` opens a scan for the study, whoever wrote it; :func:`load_content` opens a scan or a reconstruction,
as convert_dataset.py and inspect_dataset.py take them; :func:`read_reconstruction` reads the input of a simulation. The
conventions are those of :class:`ptycho.data.dataset.Dataset`: amplitudes, DC in the centre, positions in pixels, object
at level 1. Foreign scans are converted (:mod:`ptycho.preparation.convert`).
"""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from ptycho.config.schema import MeasuredConfig
from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.data.metadata import Metadata
from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.io.conventions import Arrays
from ptycho.io.files import error_context
from ptycho.io.formats import READERS, TITLES, detect, ptychodus, read_patterns, read_probe
from ptycho.io.formats.shared import Content
from ptycho.io.formats.study import KNOWN_KEYS, STACKS, read_study
from ptycho.preparation.convert import dataset_from, without_conventions
from ptycho.preparation.infer import CONVENTIONS, user_setting
from ptycho.preparation.masks import with_mask
from ptycho.preparation.normalize import normalize_object, normalize_object_arrays

logger = logging.getLogger(__name__)

RECONSTRUCTION_KEYS = [key for key in KNOWN_KEYS if key not in STACKS]


def load_scan(path: Path | str, config: MeasuredConfig | None = None) -> Dataset:
    """Read the dataset of an npz that holds patterns, positions and a probe.

    A file in the study's format is read row by row when it is indexed; any other is read into memory and converted,
    see :func:`dataset_from`. Its ``metadata`` may state ``quantity``, ``dc``, ``positions`` and ``pixel_size_m``.

    Parameters
    ----------
    config : what the user states of measured patterns; it overrides the file

    Raises
    ------
    InputError : see :func:`ptycho.io.npz.read_npz` and :func:`dataset_from`
    """
    if npz.is_dataset(path):
        return _own_scan(path, config)
    arrays, file_metadata = read_study(path)
    missing = [key for key in ("diffraction", "xcoords", "ycoords", "probeGuess") if key not in arrays]
    if missing:
        raise InputError(
            f"{path}: {', '.join(missing)} missing; the file holds {', '.join(sorted(npz.npz_members(path)))}"
        )
    with error_context(path):
        return dataset_from(arrays, file_metadata, config, str(path))


def load_content(
    path: Path | str,
    config: MeasuredConfig,
    patterns: Path | str | None = None,
    probe: Path | str | None = None,
) -> Content:
    """Read a file of any known format: a dataset where there are patterns, else a reconstruction.

    Parameters
    ----------
    config : what the user states of measured patterns; it overrides the file
    patterns : patterns, of ptychodus or CXI, that belong to the product ``path``
    probe : file of any known format whose probe replaces the file's own

    Raises
    ------
    InputError : the file cannot be used; one line says what was found, what was expected and what to do
    """
    form = detect(path)
    logger.info("%s: %s", path, TITLES[form])
    if form == "patterns":
        raise InputError(f"{path}: ptychodus patterns without positions; give the product, and this with --patterns")
    if patterns is not None and form not in ("ptychodus", "cxi"):
        raise InputError(f"{path}: {TITLES[form]}, but --patterns joins patterns to a product of ptychodus or CXI only")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows becomes infinite, and that is refused
        if form == "study" and probe is None and npz.is_dataset(path):
            return _own_content(path, config)
        return _foreign_content(path, form, config, patterns, probe)


def read_arrays(path: Path | str) -> Arrays:
    """Return every array of a reconstruction in the types of the file, of several probe modes the strongest.

    Raises
    ------
    InputError : see :func:`read_reconstruction`, which checks it
    """
    arrays, metadata = read_study(path, RECONSTRUCTION_KEYS, keep_types=True)
    _checked(path, arrays, metadata)
    return npz.read_npz(path) | {key: arrays[key] for key in ("objectGuess", "probeGuess")}


def read_reconstruction(path: Path | str) -> Reconstruction:
    """Read ``objectGuess``, ``probeGuess``, ``xcoords``, ``ycoords`` (and ``metadata``) as complex64 and float64.

    The object is brought to level 1 and mean phase 0, see :mod:`ptycho.preparation.normalize`.

    Raises
    ------
    InputError : see :func:`ptycho.io.npz.read_npz`; shapes, types or positions that do not fit each other
    """
    return _checked(path, *read_study(path, RECONSTRUCTION_KEYS, keep_types=True))


def _checked(path: Path | str, arrays: Arrays, metadata: Metadata) -> Reconstruction:
    """Return the reconstruction that a file's arrays make, normalized."""
    missing = [key for key in ("objectGuess", "probeGuess", "xcoords", "ycoords") if key not in arrays]
    if missing:
        raise InputError(
            f"{path}: {', '.join(missing)} missing; the file holds {', '.join(sorted(npz.npz_members(path)))}"
        )
    with error_context(path):
        read = Reconstruction(
            object=npz.as_complex(arrays, "objectGuess"),
            probe=npz.as_complex(arrays, "probeGuess"),
            **npz.as_positions(arrays),
            metadata=metadata,
        )
        arrays, metadata = normalize_object_arrays({**arrays, **npz.as_positions(arrays)}, read.metadata)
        return replace(
            read,
            object=npz.as_complex(arrays, "objectGuess"),
            probe=npz.as_complex(arrays, "probeGuess"),
            metadata=metadata,
        )


# the study's own format ----------------------------------------------------------------------------------------------


def _own_scan(path: Path | str, config: MeasuredConfig | None) -> Dataset:
    """Return a dataset in the study's format at the level that it was written with, masked where the user says."""
    ignored = [key for key in CONVENTIONS if user_setting(key, config) is not None]
    if ignored:
        logger.warning("%s is in the study's format already: %s ignored", path, ", ".join(ignored))
    with error_context(path):
        dataset = normalize_object(npz.read_dataset(path))
    return with_mask(dataset, user_setting("bad_pixels", config))


def _own_content(path: Path | str, config: MeasuredConfig) -> Dataset:
    """Return a dataset in the study's format, checksums verified; the user may add a mask and the pixel size."""
    npz.verify_checksums(path)
    dataset = with_mask(npz.read_dataset(path), config.bad_pixels)
    if config.pixel_size_m is None:
        return dataset
    return replace(dataset, metadata=replace(dataset.metadata, pixel_size_m=config.pixel_size_m))


# foreign formats -----------------------------------------------------------------------------------------------------


def _foreign_content(
    path: Path | str, form: str, config: MeasuredConfig, patterns: Path | str | None, probe: Path | str | None
) -> Content:
    """Return what a file of a known format holds, with the patterns and the probe of other files where given."""
    arrays, file_metadata = READERS[form](path)
    if patterns is not None:
        if "diffraction" in arrays:
            raise InputError(f"{path}: holds patterns itself, so --patterns {patterns} has no use: leave one out")
        found, of_patterns = read_patterns(patterns)
        arrays = ptychodus.joined(arrays, found, str(patterns))
        file_metadata = _completed(file_metadata, of_patterns)
    if probe is not None:
        arrays["probeGuess"] = read_probe(probe)
        logger.info("%s: its probe is used", probe)
    if "probeGuess" not in arrays:
        raise InputError(
            f"{path}: {TITLES[form]} without a probe; give one with --probe: study npz with probeGuess, ptychodus "
            "product or CXI"
        )
    with error_context(path):
        missing = [key for key in ("xcoords", "ycoords") if key not in arrays]
        if missing:
            raise InputError(f"{', '.join(missing)} missing; the file holds {', '.join(sorted(arrays))}")
        if "diffraction" not in arrays:
            return _reconstruction_from(arrays, file_metadata, config, str(path))
        return dataset_from(arrays, file_metadata, config, str(path))


def _completed(product: Metadata, patterns: Metadata) -> Metadata:
    """Return the metadata of a product with what only the file of its patterns states: the detector, and DC."""
    measured = ("energy_eV", "distance_m", "detector_pixel_m", "dc")
    return replace(product, **{key: getattr(product, key) or getattr(patterns, key) for key in measured})


def _reconstruction_from(
    arrays: Arrays, file_metadata: Metadata, config: MeasuredConfig, source: str
) -> Reconstruction:
    """Return a reconstruction from the arrays of any file, its level as it is."""
    if "objectGuess" not in arrays:
        raise InputError("neither patterns nor an object: expected a scan or a reconstruction")
    metadata = without_conventions(file_metadata, source)
    if config.pixel_size_m is not None:
        metadata = replace(metadata, pixel_size_m=config.pixel_size_m)
    index, in_order = arrays.get("scan_index"), np.arange(arrays["xcoords"].size)
    if index is not None and index.shape == in_order.shape and (index != in_order).any():
        metadata = replace(metadata, scan_index=tuple(index.tolist()))  # so that patterns can still be joined by it
    return Reconstruction(
        object=arrays["objectGuess"].astype(np.complex64),
        probe=arrays["probeGuess"].astype(np.complex64),
        xcoords=arrays["xcoords"].astype(np.float64),
        ycoords=arrays["ycoords"].astype(np.float64),
        metadata=metadata,
    )
