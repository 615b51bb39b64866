"""Places and quantities of CXI files: energy, distances, pixels and positions in SI units. See docs/formats.md."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from ptycho.data.dataset import FloatArray
from ptycho.data.metadata import Metadata
from ptycho.io.formats import shared
from ptycho.io.formats.fields import Fields
from ptycho.io.hdf5 import UNIT_ATTRIBUTES

logger = logging.getLogger(__name__)

ELECTRON_VOLT_J = 1.602176634e-19  # exact, SI 2019
PLANCK_LIGHT_J_M = 6.62607015e-34 * 299792458.0  # exact, SI 2019
PHOTON_EV = (1.0, 1e6)  # plausible energies; outside, the unit is probably not joules
VERSION = 160  # of CXI, times 100
NOT_BAD = 0x00001000  # bit of the mask: signal above the background
UNITS = {
    "m": 1.0, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "micron": 1e-6, "nm": 1e-9, "pm": 1e-12, "angstrom": 1e-10,
    "Angstrom": 1e-10, "A": 1e-10, "meter": 1.0, "meters": 1.0, "metre": 1.0, "metres": 1.0,
    "J": 1.0, "joule": 1.0, "joules": 1.0, "eV": ELECTRON_VOLT_J, "keV": 1e3 * ELECTRON_VOLT_J,
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
WAVELENGTH = (f"{BEAM}/incident_wavelength", f"{SOURCE}/wavelength")  # read where there is no energy
PROBE = ("entry_1/image_1/data", f"{SOURCE}/illumination", f"{SOURCE}/probe", f"{DETECTOR}/probe")
OBJECT = "entry_1/image_2/data"
MEASURES = (
    f"{DETECTOR}/distance", f"{DETECTOR}/x_pixel_size", f"{DETECTOR}/y_pixel_size", *ENERGY, *WAVELENGTH, *TRANSLATION,
)  # fmt: skip
WANTED = (
    "cxi_version", *DATA, *MEASURES, *PROBE, OBJECT, f"{DETECTOR}/mask", f"{DETECTOR}/basis_vectors", f"{NOTE}/data",
    *(f"{name}@is_fft_shifted" for name in DATA), *(f"{name}@{unit}" for name in MEASURES for unit in UNIT_ATTRIBUTES),
    f"{EXTRA}/probe_position_indexes", f"{EXTRA}/object_pixel_width_m", f"{EXTRA}/object_pixel_height_m",
    f"{EXTRA}/object_center_x_m", f"{EXTRA}/object_center_y_m",
)  # fmt: skip


def file_metadata(fields: Fields, side: int | None) -> tuple[Metadata, float | None]:
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
    unit = fields.text(*(f"{name}@{attribute}" for attribute in UNIT_ATTRIBUTES))
    if unit and unit not in UNITS:
        raise fields.error(f"{name} is in {unit!r}, expected SI units or one of {', '.join(UNITS)}")
    return UNITS[unit] if unit else 1.0


def _measure(fields: Fields, name: str) -> float | None:
    """Return a positive quantity in SI units; where there is one for each pattern, all must be equal.

    ptychodus writes 0 where a quantity is unknown.
    """
    found = fields.find(name)
    if found is not None and found.size > 1 and (found == found.flat[0]).all():
        fields = fields.having(name, found.reshape(-1)[:1])
    if fields.number(name) == 0 and any(entry.startswith(EXTRA) for entry in fields.names):
        return None
    value = fields.positive(name)
    return None if value is None else value * _unit(fields, name)


def _photon_energy(fields: Fields) -> float | None:
    """Return the photon energy in joules: of the beam, else of the source, else by the wavelength."""
    name = fields.first(*ENERGY) or fields.first(*WAVELENGTH)
    if name is None:
        return None
    value = _measure(fields, name)
    if value is None:
        return None
    energy_j = PLANCK_LIGHT_J_M / value if name in WAVELENGTH else value
    low, high = PHOTON_EV
    if not low <= energy_j / ELECTRON_VOLT_J <= high:
        raise fields.error(
            f"{name} is {value:.4g} {'m' if name in WAVELENGTH else 'J'}, which no X-ray photon has (1 keV is "
            f"{1e3 * ELECTRON_VOLT_J:.4g} J or {PLANCK_LIGHT_J_M / (1e3 * ELECTRON_VOLT_J):.4g} m): state its unit in "
            "the attribute units, or write joules or metres"
        )
    _log_others(fields, name, ENERGY)
    return energy_j


def _log_others(fields: Fields, used: str, places: tuple[str, ...]) -> None:
    """Log the places of a quantity that hold other values than the one that is used."""
    value = fields.arrays[used]
    others = [name for name in places if name in fields.arrays and not np.array_equal(fields.arrays[name], value)]
    if others:
        logger.warning("%s: %s is used; ignored, with other values: %s", fields.path, used, ", ".join(others))


def positions(fields: Fields, count: int | None) -> tuple[FloatArray, FloatArray]:
    """Return the position of the beam on the sample, metres, along columns and rows of the detector.

    CXI stores the translation of the sample; the beam moves on it in the opposite direction. Rows and columns run along
    the detector's basis vectors, by default (0, -y_pixel_size, 0) and (-x_pixel_size, 0, 0): with them both signs
    cancel, and x and y are the translation's.
    """
    name = fields.first(*TRANSLATION)
    if name is None:
        raise fields.error(
            f"{' or '.join(TRANSLATION)} missing; the file holds {shared.listed(fields.names)}: where these patterns "
            "belong to a product, give the product, and this file with --patterns"
        )
    _log_others(fields, name, TRANSLATION)
    translation = fields.arrays[name]
    if translation.ndim == 2 and _is_transposed(translation.shape, count):
        translation = translation.T
    if translation.ndim == 2 and translation.shape[1] == 2:
        translation = np.pad(translation, ((0, 0), (0, 1)))
    moved_m = fields.having(name, translation).real(name, (count, 3)).astype(np.float64) * _unit(fields, name)
    rows, columns = _directions(fields)
    return -moved_m @ columns, -moved_m @ rows


def _is_transposed(shape: tuple[int, ...], count: int | None) -> bool:
    """Tell whether translations are stored (3, n), as PyNX does, and not (n, 3); of three positions, they are not."""
    return shape[0] in (2, 3) and shape[1] not in (2, 3) and count in (None, shape[1])


def _directions(fields: Fields) -> tuple[FloatArray, FloatArray]:
    """Return unit vectors along increasing row and column index of the detector."""
    name = f"{DETECTOR}/basis_vectors"
    vectors = fields.find(name)
    if vectors is None:
        return np.array([0.0, -1.0, 0.0]), np.array([-1.0, 0.0, 0.0])
    if vectors.ndim == 3 and len(vectors) and (vectors == vectors[0]).all():  # one for each pattern
        vectors = vectors[:1]
    if vectors.shape == (3, 2):  # as CDTools writes them
        vectors = vectors.T
    vectors = fields.having(name, vectors).real(name, (2, 3)).astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise fields.error(f"{name} has lengths {lengths}, expected two vectors in metres")
    return vectors[0] / lengths[0], vectors[1] / lengths[1]
