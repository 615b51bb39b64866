"""CXI, the HDF5 layout of the Coherent X-ray Imaging Data Bank: scans with their detector, probe and object.

Sources of the format: F. R. N. C. Maia, "The CXI File Format for Coherent X-ray Imaging", version 1.6,
https://github.com/cxidb/CXI; NXcxi_ptycho, https://manual.nexusformat.org/classes/contributed_definitions/
NXcxi_ptycho.html; and, for probe and object, https://github.com/AdvancedPhotonSource/ptychodus,
``src/ptychodus/plugins/cxi_file.py``. See docs/formats.md.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Dataset
from ptycho.data.lazy import CHUNK
from ptycho.data.metadata import Metadata
from ptycho.io import hdf5
from ptycho.io.conventions import Arrays
from ptycho.io.formats import shared
from ptycho.io.formats.cxi_geometry import (
    DATA,
    DETECTOR,
    ELECTRON_VOLT_J,
    EXTRA,
    NOT_BAD,
    NOTE,
    OBJECT,
    PLANCK_LIGHT_J_M,
    PROBE,
    SOURCE,
    TRANSLATION,
    VERSION,
    WANTED,
    file_metadata,
    positions,
)
from ptycho.io.formats.shared import Content, Fields
from ptycho.io.text import metadata_json

logger = logging.getLogger(__name__)


def read(path: Path | str) -> tuple[Arrays, Metadata]:
    """Read a scan, its detector and, where present, probe and object.

    Returns
    -------
    arrays, file_metadata : as :func:`ptycho.preparation.load.dataset_from` takes them; positions in pixels where
        there is an object, in metres where there is none

    Raises
    ------
    InputError : damaged, keys missing or in other files, patterns or pixels that are not square, an unknown unit
    """
    fields, data = _fields(path)
    if data is None and OBJECT not in fields.arrays:
        fields.need(OBJECT, *DATA)
    arrays: Arrays = {} if data is None else _patterns(fields, data)
    count, side = arrays["diffraction"].shape[:2] if arrays else (None, None)
    probe = _probe(fields, side)
    arrays |= {} if probe is None else {"probeGuess": probe}
    metadata, pixel = file_metadata(fields, side or (None if probe is None else probe.shape[0]))
    metadata = replace(metadata, dc=_dc(fields, data))
    x_m, y_m = positions(fields, count)
    arrays |= {"scan_index": _scan_index(fields, x_m.size)}
    if fields.find(OBJECT) is not None and fields.find(f"{EXTRA}/object_center_x_m") is None:
        logger.warning("%s: the position of %s in the scan is not stated: it is ignored", fields.path, OBJECT)
    elif fields.find(OBJECT) is not None:
        image = arrays["objectGuess"] = shared.single_layer(fields, OBJECT)
        x_m = shared.object_pixels(fields, (f"{EXTRA}/object_center_x_m",), x_m, image.shape[1], pixel)
        y_m = shared.object_pixels(fields, (f"{EXTRA}/object_center_y_m",), y_m, image.shape[0], pixel)
        metadata = replace(metadata, positions="pixels")
    return {**arrays, "xcoords": x_m, "ycoords": y_m}, metadata


def read_patterns(path: Path | str) -> tuple[Arrays, Metadata]:
    """Read the patterns of a product in another file, as ptychodus writes them: no positions, numbered from 0.

    Returns
    -------
    arrays, file_metadata : ``diffraction``, ``scan_index`` and, where present, ``bad_pixels``; energy, distance, ...

    Raises
    ------
    InputError : see :func:`read`
    """
    fields, data = _fields(path)
    if data is None:
        raise fields.error(f"{' or '.join(DATA)} missing: no patterns; the file holds {shared.listed(fields.names)}")
    arrays = _patterns(fields, data)
    count, side = arrays["diffraction"].shape[:2]
    metadata, _ = file_metadata(fields, side)
    return {**arrays, "scan_index": _scan_index(fields, count)}, replace(metadata, dc=_dc(fields, data))


def _fields(path: Path | str) -> tuple[Fields, str | None]:
    """Return what a file holds, and the name of its patterns or None; of two places one is read."""
    there = shared.held(path, DATA)
    data = next((name for name in there if not there[name]), next(iter(there), None))
    return shared.read(path, [name for name in WANTED if name not in DATA or data in (name, None)]), data


def _patterns(fields: Fields, data: str) -> Arrays:
    arrays: Arrays = {"diffraction": shared.square_patterns(fields, data)}
    if fields.find(f"{DETECTOR}/mask") is not None:
        arrays["bad_pixels"] = _bad_pixels(fields, arrays["diffraction"].shape[1])
    return arrays


def _dc(fields: Fields, data: str | None) -> Literal["centre", "corner"] | None:
    shifted = fields.number(f"{data}@is_fft_shifted")
    return None if shifted is None else "corner" if shifted else "centre"


def _scan_index(fields: Fields, count: int) -> npt.NDArray[np.int64]:
    name = f"{EXTRA}/probe_position_indexes"
    return np.arange(count) if fields.find(name) is None else shared.whole(fields, name, count)


def _bad_pixels(fields: Fields, side: int) -> npt.NDArray[np.bool_]:
    mask = fields.real(f"{DETECTOR}/mask", (side, side))
    return mask != 0 if mask.dtype.kind == "f" else (mask.astype(np.int64) & ~NOT_BAD) != 0


def _probe(fields: Fields, side: int | None) -> npt.NDArray[Any] | None:
    """Return the first complex image of the patterns' size at the places where probes are stored."""
    for name in PROBE:
        found = fields.find(name)
        if found is None:
            continue
        square = found.ndim >= 2 and found.shape[-1] == found.shape[-2] and side in (None, found.shape[-1])
        if found.dtype.kind == "c" and square:
            return shared.strongest_mode(fields, name)
        logger.warning(
            "%s: %s has shape %s and type %s, expected complex of %s pixels: it is no probe, and ignored",
            fields.path, name, found.shape, found.dtype, "N x N" if side is None else f"{side} x {side}",
        )  # fmt: skip
    return None


def write(path: Path | str, content: Content) -> None:
    """Write a scan: patterns as counts, positions in metres, probe, object and what is known of the detector.

    Raises
    ------
    InputError : the pixel size is unknown
    """
    x_m, y_m, pixel = shared.metres(content)
    with hdf5.writing_hdf5(path) as file:
        file["cxi_version"] = VERSION
        file["number_of_entries"] = 1
        file[TRANSLATION[0]] = np.stack([x_m, y_m, np.zeros_like(x_m)], axis=1)
        file[TRANSLATION[1]] = file[TRANSLATION[0]]  # a hard link: the same data under a second name
        if isinstance(content, Dataset):
            _write_patterns(file, content)
        _write_instrument(file, content, pixel)
        _write_images(file, content, pixel)
        _write_process(file, content)


def _write_patterns(file: Any, dataset: Dataset) -> None:
    data = file.create_dataset(DATA[0], dataset.diffraction.shape, np.float32)
    data.attrs["axes"] = np.bytes_("translation:y:x")
    data.attrs["is_fft_shifted"] = 0
    for start in range(0, len(dataset), CHUNK):
        part = slice(start, min(start + CHUNK, len(dataset)))
        data[part] = shared.counts(dataset, part)
    file[DATA[1]] = data
    if dataset.bad_pixels is not None:
        file[f"{DETECTOR}/mask"] = dataset.bad_pixels.astype(np.uint32)  # bit 0: invalid


def _write_instrument(file: Any, content: Content, pixel_m: float) -> None:
    metadata = content.metadata
    energy_j = None if metadata.energy_eV is None else metadata.energy_eV * ELECTRON_VOLT_J
    distance, detector_pixel = metadata.distance_m, metadata.detector_pixel_m
    if energy_j and distance and detector_pixel:
        computed = PLANCK_LIGHT_J_M / energy_j * distance / (content.probe.shape[0] * detector_pixel)
        if abs(computed - pixel_m) > 0.01 * pixel_m:
            logger.warning(
                "the detector pixel of the metadata does not fit an object pixel of %.4g m: it is omitted", pixel_m
            )
            detector_pixel = None
    values = {
        f"{SOURCE}/energy": energy_j,
        f"{DETECTOR}/distance": distance,
        f"{DETECTOR}/x_pixel_size": detector_pixel,
        f"{DETECTOR}/y_pixel_size": detector_pixel,
    }
    for name, value in values.items():
        if value is not None:
            file[name] = float(value)


def _write_images(file: Any, content: Content, pixel_m: float) -> None:
    probe = shared.probe_in_photons(content)
    file[f"{SOURCE}/illumination"] = probe
    images = [("entry_1/image_1", probe[None, None], "coherent:incoherent:y:x")]
    if content.object is not None:
        images.append(("entry_1/image_2", content.object.astype(np.complex64)[None], "layer:y:x"))
    for name, image, axes in images:
        file[f"{name}/data"] = image
        file[f"{name}/data"].attrs["axes"] = np.bytes_(axes)
        file[f"{name}/data_space"] = np.bytes_("real")
        file[f"{name}/image_size"] = np.array([image.shape[-1] * pixel_m, image.shape[-2] * pixel_m, 0.0])
    extra = {
        "probe_position_indexes": shared.scan_index(content),
        "probe_photon_count": float(np.square(np.abs(probe)).sum(dtype=np.float64)),
        "object_center_x_m": 0.0,
        "object_center_y_m": 0.0,
        **{f"{image}_pixel_{side}_m": pixel_m for image in ("object", "probe") for side in ("width", "height")},
    }
    for name, value in extra.items():
        file[f"{EXTRA}/{name}"] = value


def _write_process(file: Any, content: Content) -> None:
    from ptycho import __version__

    file["entry_1/process_1/program"] = np.bytes_("ptycho")
    file["entry_1/process_1/version"] = np.bytes_(__version__)
    file[f"{NOTE}/type"] = np.bytes_("application/json")
    file[f"{NOTE}/description"] = np.bytes_("metadata of the data set")
    file[f"{NOTE}/data"] = np.bytes_(metadata_json(content.metadata).encode())
