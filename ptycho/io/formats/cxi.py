"""CXI, the HDF5 layout of the Coherent X-ray Imaging Data Bank: scans with their detector, probe and object.

Sources of the format: F. R. N. C. Maia, "The CXI File Format for Coherent X-ray Imaging", version 1.6,
https://github.com/cxidb/CXI; NXcxi_ptycho, https://manual.nexusformat.org/classes/contributed_definitions/
NXcxi_ptycho.html; and, for probe and object, https://github.com/AdvancedPhotonSource/ptychodus,
``src/ptychodus/plugins/cxi_file.py``. See docs/formats.md.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Dataset, FloatArray
from ptycho.data.lazy import CHUNK
from ptycho.data.metadata import Metadata
from ptycho.errors import InputError
from ptycho.io import hdf5
from ptycho.io.conventions import Arrays
from ptycho.io.formats import shared
from ptycho.io.formats.shared import Content, Fields
from ptycho.io.text import metadata_json

logger = logging.getLogger(__name__)

ELECTRON_VOLT_J = 1.602176634e-19  # exact, SI 2019
PLANCK_LIGHT_J_M = 6.62607015e-34 * 299792458.0  # exact, SI 2019
PHOTON_EV = (1.0, 1e6)  # plausible energies; outside, the unit is probably not joules
VERSION = 160  # of CXI, times 100
NOT_BAD = 0x00001000  # bit of the mask: signal above the background
UNITS = {
    "m": 1.0, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "micron": 1e-6, "nm": 1e-9, "pm": 1e-12,
    "J": 1.0, "eV": ELECTRON_VOLT_J, "keV": 1e3 * ELECTRON_VOLT_J,
}  # fmt: skip
DETECTOR = "entry_1/instrument_1/detector_1"
SOURCE = "entry_1/instrument_1/source_1"
BEAM = "entry_1/instrument_1/beam_1"
EXTRA = "entry_1/ptychodus"  # what CXI does not define, at the place that Ptychodus uses
NOTE = "entry_1/process_1/note_1"
DATA = ("entry_1/data_1/data", f"{DETECTOR}/data")
TRANSLATION = (
    "entry_1/data_1/translation", "entry_1/sample_1/geometry_1/translation", f"{DETECTOR}/translation",
    "entry_1/sample_1/geometry/translation",
)  # fmt: skip
ENERGY = (f"{BEAM}/incident_energy", f"{BEAM}/incident_beam_energy", f"{BEAM}/energy", f"{SOURCE}/energy")
PROBE = ("entry_1/image_1/data", f"{SOURCE}/illumination", f"{SOURCE}/probe", f"{DETECTOR}/probe")
OBJECT = "entry_1/image_2/data"
MEASURES = (f"{DETECTOR}/distance", f"{DETECTOR}/x_pixel_size", f"{DETECTOR}/y_pixel_size", *ENERGY, *TRANSLATION)
WANTED = (
    *DATA, *MEASURES, *PROBE, OBJECT, f"{DETECTOR}/mask", f"{DETECTOR}/basis_vectors", f"{NOTE}/data",
    *(f"{name}@is_fft_shifted" for name in DATA), *(f"{name}@units" for name in MEASURES),
    f"{EXTRA}/probe_position_indexes", f"{EXTRA}/object_pixel_width_m", f"{EXTRA}/object_pixel_height_m",
    f"{EXTRA}/object_center_x_m", f"{EXTRA}/object_center_y_m",
)  # fmt: skip


def read(path: Path | str) -> tuple[Arrays, Metadata]:
    """Read a scan, its detector and, where present, probe and object.

    Returns
    -------
    arrays, file_metadata : as :func:`ptycho.preparation.load.dataset_from` takes them; positions in pixels where
        there is an object, in metres where there is none

    Raises
    ------
    InputError : damaged, keys missing, patterns or pixels that are not square, an unknown unit
    """
    names = shared.names(path)
    data = next((name for name in DATA if name in names), None)
    if data is None and OBJECT not in names:
        raise InputError(f"{path}: {' or '.join(DATA)} missing; the file holds {shared.listed(names)}")
    fields = shared.read(path, [name for name in WANTED if name not in DATA or name == data])  # one of both
    arrays: Arrays = {} if data is None else {"diffraction": shared.square_patterns(fields, data)}
    count, side = arrays["diffraction"].shape[:2] if arrays else (None, None)
    probe = _probe(fields, side)
    arrays |= {} if probe is None else {"probeGuess": probe}
    file_metadata, pixel = _file_metadata(fields, side or (None if probe is None else probe.shape[0]))
    shifted = fields.number(f"{data}@is_fft_shifted")
    if shifted is not None:
        file_metadata = replace(file_metadata, dc="corner" if shifted else "centre")
    x_m, y_m = _positions(fields, count)
    arrays |= {"scan_index": _scan_index(fields, x_m.size)}
    if side is not None and fields.find(f"{DETECTOR}/mask") is not None:
        arrays["bad_pixels"] = _bad_pixels(fields, side)
    if fields.find(OBJECT) is not None and fields.find(f"{EXTRA}/object_center_x_m") is None:
        logger.warning("%s: the position of %s in the scan is not stated: it is ignored", fields.path, OBJECT)
    elif fields.find(OBJECT) is not None:
        image = arrays["objectGuess"] = shared.single_layer(fields, OBJECT)
        x_m = shared.object_pixels(fields, (f"{EXTRA}/object_center_x_m",), x_m, image.shape[1], pixel)
        y_m = shared.object_pixels(fields, (f"{EXTRA}/object_center_y_m",), y_m, image.shape[0], pixel)
        file_metadata = replace(file_metadata, positions="pixels")
    return {**arrays, "xcoords": x_m, "ycoords": y_m}, file_metadata


def _file_metadata(fields: Fields, side: int | None) -> tuple[Metadata, float | None]:
    """Return what the file states of the measurement, and the side of an object pixel in metres."""
    energy_j = _photon_energy(fields)
    distance = _measure(fields, f"{DETECTOR}/distance")
    widths = [_measure(fields, f"{DETECTOR}/{axis}_pixel_size") for axis in "xy"]
    detector_pixel = shared.square_pixel(fields, "the detector pixel", *widths)
    stated = [fields.positive(f"{EXTRA}/object_pixel_{size}_m") for size in ("width", "height")]
    pixel = shared.square_pixel(fields, "object_pixel", *stated)
    if energy_j and distance and detector_pixel and side:
        computed = PLANCK_LIGHT_J_M / energy_j * distance / (side * detector_pixel)
        if pixel is not None and abs(pixel - computed) > 0.01 * computed:
            raise fields.error(
                f"an object pixel of {pixel:.4g} m, but wavelength x distance / (N x detector pixel) is "
                f"{computed:.4g} m: were the patterns cropped or binned without the rest?"
            )
        pixel = pixel or computed
    found = {
        "energy_eV": None if energy_j is None else energy_j / ELECTRON_VOLT_J,
        "distance_m": distance,
        "detector_pixel_m": detector_pixel,
        "pixel_size_m": pixel,
    }
    metadata = shared.parse_metadata_field(fields, f"{NOTE}/data")
    known: dict[str, Any] = {key: value for key, value in found.items() if value is not None}
    return replace(metadata, **known, quantity="counts", positions="metres"), pixel


def _unit(fields: Fields, name: str) -> float:
    unit = fields.text(f"{name}@units")
    if unit and unit not in UNITS:
        raise fields.error(f"{name} is in {unit!r}, expected SI units or one of {', '.join(UNITS)}")
    return UNITS[unit] if unit else 1.0


def _measure(fields: Fields, name: str) -> float | None:
    """Return a positive quantity in SI units; where there is one for each pattern, all must be equal."""
    found = fields.find(name)
    if found is not None and found.size > 1 and (found == found.flat[0]).all():
        fields = fields.having(name, found.reshape(-1)[:1])
    value = fields.positive(name)
    return None if value is None else value * _unit(fields, name)


def _photon_energy(fields: Fields) -> float | None:
    name = next((name for name in ENERGY if name in fields.arrays), None)
    if name is None:
        return None
    energy_j = _measure(fields, name) or 0.0
    low, high = PHOTON_EV
    if not low <= energy_j / ELECTRON_VOLT_J <= high:
        raise fields.error(
            f"{name} is {energy_j:.4g} J, which no X-ray photon has (1 keV is {1e3 * ELECTRON_VOLT_J:.4g} J): state "
            "its unit in the attribute units, or write joules"
        )
    return energy_j


def _positions(fields: Fields, count: int | None) -> tuple[FloatArray, FloatArray]:
    """Return the position of the beam on the sample, metres, along columns and rows of the detector.

    CXI stores the translation of the sample; the beam moves on it in the opposite direction. Rows and columns run along
    the detector's basis vectors, by default (0, -y_pixel_size, 0) and (-x_pixel_size, 0, 0): with them both signs
    cancel, and x and y are the translation's.
    """
    fields.need(*TRANSLATION)
    name = next(name for name in TRANSLATION if name in fields.arrays)
    translation = fields.arrays[name]
    if translation.ndim == 2 and translation.shape[1] == 2:
        translation = np.pad(translation, ((0, 0), (0, 1)))
    moved_m = fields.having(name, translation).real(name, (count, 3)).astype(np.float64) * _unit(fields, name)
    rows, columns = _directions(fields)
    return -moved_m @ columns, -moved_m @ rows


def _directions(fields: Fields) -> tuple[FloatArray, FloatArray]:
    """Return unit vectors along increasing row and column index of the detector."""
    name = f"{DETECTOR}/basis_vectors"
    vectors = fields.find(name)
    if vectors is None:
        return np.array([0.0, -1.0, 0.0]), np.array([-1.0, 0.0, 0.0])
    if vectors.ndim == 3 and len(vectors) and (vectors == vectors[0]).all():  # one for each pattern
        vectors = vectors[:1]
    vectors = fields.having(name, vectors).real(name, (2, 3)).astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise fields.error(f"{name} has lengths {lengths}, expected two vectors in metres")
    return vectors[0] / lengths[0], vectors[1] / lengths[1]


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
        if found is None or found.dtype.kind != "c" or found.ndim < 2 or found.shape[-1] != found.shape[-2]:
            continue
        if side in (None, found.shape[-1]):
            return shared.strongest_mode(fields, name)
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
