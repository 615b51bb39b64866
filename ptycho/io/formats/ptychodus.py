"""Ptychodus: products (positions, probe, object) in npz and HDF5, and the patterns that go with them.

Source of the format: https://github.com/AdvancedPhotonSource/ptychodus, ``docs/source/initial_guesses.md`` and
``src/ptychodus/api/io.py``; see docs/formats.md.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Dataset
from ptycho.data.lazy import LazyArray
from ptycho.data.metadata import Metadata
from ptycho.errors import InputError
from ptycho.io import hdf5, npz
from ptycho.io.conventions import Arrays
from ptycho.io.formats import shared
from ptycho.io.formats.shared import Content, Fields
from ptycho.io.text import metadata_json

logger = logging.getLogger(__name__)

CENTRED_PX = 0.5  # of positions that ptychodus writes in pixels: its window's middle is (N - 1)/2, ours N/2
TRAINING_POSITIONS = ("probe_position_x_px", "probe_position_y_px")
TRAINING = ("patterns", "bad_pixels", *TRAINING_POSITIONS)
POSITIONS = ("probe_position_x_m", "probe_position_y_m")
NAMES = {  # ours: theirs, since version 1.7 and before
    "energy_eV": ("photon_energy_eV", "probe_energy_eV"),
    "distance_m": ("detector_object_distance_m",),
    "exposure_time_s": ("exposure_time_s",),
}
ARRAYS = (*POSITIONS, "probe_position_indexes", "probe", "object")
SCALARS = (
    *(name for names in NAMES.values() for name in names), "far_field", "name", "comments",
    "metadata", "object_pixel_width_m", "object_pixel_height_m",
    "object_center_x_m", "object_center_y_m",
)  # fmt: skip


def places(name: str) -> tuple[str, ...]:
    """Return the possible places of a scalar of a product: a dataset, an attribute of the root or of its array."""
    array, _, rest = name.partition("_")
    return name, f"@{name}", f"{array}@{rest}"


def read_product(path: Path | str) -> tuple[Arrays, Metadata]:
    """Read a product.

    Returns
    -------
    arrays, file_metadata : as :func:`ptycho.preparation.load.dataset_from` takes them, without ``diffraction``;
        positions in pixels where there is an object, in metres where there is none

    Raises
    ------
    InputError : damaged, keys missing, several layers, pixels that are not square
    """
    fields = shared.read(path, [*ARRAYS, *(place for name in SCALARS for place in places(name))])
    xcoords, ycoords = (fields.real(name, (None,)) for name in POSITIONS)
    if xcoords.size != ycoords.size:
        raise fields.error(f"{xcoords.size} probe_position_x_m and {ycoords.size} probe_position_y_m: one of each")
    pixel = _pixel_size(fields)
    file_metadata = _file_metadata(fields)
    file_metadata = replace(file_metadata, pixel_size_m=file_metadata.pixel_size_m if pixel is None else pixel)
    arrays: Arrays = {"scan_index": _scan_index(fields, xcoords.size)}
    probe, image = fields.find("probe"), fields.find("object")
    if probe is not None and probe.size:
        arrays["probeGuess"] = shared.strongest_mode(fields, "probe")
    if image is not None and image.size:
        arrays["objectGuess"] = shared.single_layer(fields, "object")
        rows, columns = arrays["objectGuess"].shape
        xcoords = shared.object_pixels(fields, places("object_center_x_m"), xcoords, columns, pixel)
        ycoords = shared.object_pixels(fields, places("object_center_y_m"), ycoords, rows, pixel)
    file_metadata = replace(file_metadata, positions="pixels" if "objectGuess" in arrays else "metres")
    return {**arrays, "xcoords": xcoords, "ycoords": ycoords}, file_metadata


def _file_metadata(fields: Fields) -> Metadata:
    """Return what a product states of the measurement, and the study's metadata where it was written by the study."""
    file_metadata = shared.parse_metadata_field(fields)
    if fields.number(*places("far_field")) == 0:
        raise fields.error("far_field is False, a near-field measurement: only the far field is modelled here")
    numbers: dict[str, Any] = {ours: _number(fields, theirs) for ours, theirs in NAMES.items()}
    texts = {name: fields.text(*places(name)) for name in ("name", "comments")}
    return replace(
        file_metadata,
        **{name: value for name, value in numbers.items() if value},  # 0 stands for unknown
        other={**file_metadata.other, **{name: text for name, text in texts.items() if text}},
        quantity="counts",
        dc="centre",
    )


def _number(fields: Fields, theirs: tuple[str, ...]) -> float | None:
    """Return a quantity by its newer or older name, None where it is unknown, 0; InputError where they differ."""
    found = {name: value for name in theirs if (value := fields.number(*places(name)))}
    if len(set(found.values())) > 1:
        differ = " and ".join(f"{name} {value:g}" for name, value in found.items())
        raise fields.error(f"{differ}, expected one value: remove the wrong one")
    return next(iter(found.values()), None)


def _pixel_size(fields: Fields) -> float | None:
    width = fields.positive(*places("object_pixel_width_m"))
    height = fields.positive(*places("object_pixel_height_m"))
    return shared.square_pixel(fields, "object_pixel", width, height)


def _scan_index(fields: Fields, count: int) -> npt.NDArray[np.int64]:
    index = fields.find("probe_position_indexes")
    if index is None:
        return np.arange(count)
    return shared.whole(fields, "probe_position_indexes", count)


def read_patterns(path: Path | str) -> tuple[Arrays, Metadata]:
    """Read ``patterns`` (n, N, N), ``indexes`` (n,) and, where present, ``bad_pixels`` (N, N) from npz or HDF5.

    Returns
    -------
    arrays, file_metadata : ``diffraction``, ``scan_index`` and, where present, ``bad_pixels``; the detector pixel

    Raises
    ------
    InputError : damaged, patterns that are not square, or indexes that are not unique
    """
    sides = [f"patterns@detector_pixel_{side}_m" for side in ("width", "height")]
    fields = shared.read(path, ("patterns", "indexes", "bad_pixels", *sides))
    arrays = _patterns_of(fields)
    count = len(arrays["diffraction"])
    index = shared.whole(fields, "indexes", count) if fields.find("indexes") is not None else np.arange(count)
    pixel = shared.square_pixel(fields, "the detector pixel", *map(fields.positive, sides))
    return {**arrays, "scan_index": index}, Metadata(detector_pixel_m=pixel)


def _patterns_of(fields: Fields) -> Arrays:
    patterns = shared.square_patterns(fields, "patterns")
    if fields.find("bad_pixels") is None:
        return {"diffraction": patterns}
    return {"diffraction": patterns, "bad_pixels": fields.real("bad_pixels", patterns.shape[1:]) != 0}


def read_training(path: Path | str) -> tuple[Arrays, Metadata]:
    """Read training data: patterns, probe modes, object and positions in pixels of the object.

    ptychodus counts positions from the centre of the first pixel to the middle of the window, (N - 1)/2; here they are
    the pixel under the index N/2: half a pixel more.

    Returns
    -------
    arrays, file_metadata : as :func:`ptycho.preparation.load.dataset_from` takes them

    Raises
    ------
    InputError : damaged, keys missing, or pixels that are not square
    """
    fields = shared.read(path, [*TRAINING, *ARRAYS, *(place for name in SCALARS for place in places(name))])
    arrays = _patterns_of(fields)
    count = len(arrays["diffraction"])
    for ours, theirs in zip(("xcoords", "ycoords"), TRAINING_POSITIONS, strict=True):
        arrays[ours] = fields.real(theirs, (count,)) + CENTRED_PX
    arrays["probeGuess"] = shared.strongest_mode(fields, "probe")
    image = fields.find("object")
    if image is not None and image.size:
        arrays["objectGuess"] = shared.single_layer(fields, "object")
    return arrays, replace(_file_metadata(fields), positions="pixels", pixel_size_m=_pixel_size(fields))


def joined(product: Mapping[str, npt.NDArray[Any]], patterns: Arrays, source: str) -> Arrays:
    """Return a product joined with its patterns, matched by ``scan_index``; what has no partner is dropped and logged.

    Parameters
    ----------
    product : arrays of :func:`read_product`
    patterns : arrays of :func:`read_patterns`
    source : the file of the patterns, named in the log and in errors

    Raises
    ------
    InputError : no index in common
    """
    _, at, of = np.intersect1d(product["scan_index"], patterns["scan_index"], return_indices=True)
    if not at.size:
        raise InputError(
            f"{source}: no pattern has the index of a position; the patterns run from {patterns['scan_index'].min()} "
            f"to {patterns['scan_index'].max()}, the positions from {product['scan_index'].min()} to "
            f"{product['scan_index'].max()}: are they of one scan?"
        )
    order = np.argsort(at)
    at, of = at[order], of[order]
    logger.log(
        logging.INFO if at.size == len(patterns["scan_index"]) == len(product["scan_index"]) else logging.WARNING,
        "%s: %d patterns matched to positions by index; ignored: %d patterns, %d positions",
        source, at.size, len(patterns["scan_index"]) - at.size, len(product["scan_index"]) - at.size,
    )  # fmt: skip
    result = {key: product[key][at] for key in ("xcoords", "ycoords", "scan_index")}
    return {**product, **patterns, **result, "diffraction": patterns["diffraction"][of]}


def write(path: Path | str, content: Content) -> list[Path]:
    """Write a product as npz or HDF5, by the extension, and the patterns beside it; return the files.

    Raises
    ------
    InputError : the pixel size is unknown
    """
    path = Path(path)
    product = _product(content, path.stem)
    written = [path]
    if isinstance(content, Dataset):
        written.append(patterns_path(path))
        npz.write_npz(written[-1], _patterns(content))
    if path.suffix.lower() == ".npz":
        npz.write_npz(path, product)
    else:
        _write_hdf5(path, product)
    return written


def patterns_path(path: Path | str) -> Path:
    """Return the file to which the patterns of a product are written."""
    return Path(path).with_name(f"{Path(path).stem}_patterns.npz")


def _product(content: Content, name: str) -> dict[str, Any]:
    x_m, y_m, pixel = shared.metres(content)
    probe = shared.probe_in_photons(content)
    image = np.zeros((0, 0)) if content.object is None else content.object  # empty: Ptychodus notes no object
    metadata = content.metadata
    return {
        "name": str(metadata.other.get("name", name)),
        "comments": str(metadata.other.get("comments", "")),
        **{
            name: float(getattr(metadata, ours) or 0) for ours, theirs in NAMES.items() for name in theirs
        },  # 0: unknown
        "far_field": True,
        "probe_photon_count": float(np.square(np.abs(probe)).sum(dtype=np.float64)),
        "mass_attenuation_m2_kg": 0.0,
        "mass_attenuation_m2_per_kg": 0.0,
        "tomography_angle_deg": 0.0,
        "probe_position_indexes": shared.scan_index(content),
        "probe_position_x_m": x_m,
        "probe_position_y_m": y_m,
        "probe": probe[None, None],
        "probe_pixel_width_m": pixel,
        "probe_pixel_height_m": pixel,
        "object": image.astype(np.complex64)[None],
        "object_center_x_m": 0.0,
        "object_center_y_m": 0.0,
        "object_pixel_width_m": pixel,
        "object_pixel_height_m": pixel,
        "object_layer_spacing_m": np.zeros(0),
        "loss_epochs": np.zeros(0, np.int64),
        "loss_values": np.zeros(0),
        "metadata": metadata_json(metadata),
    }


def _patterns(dataset: Dataset) -> dict[str, Any]:
    side = dataset.window_px
    bad = np.zeros((side, side), bool) if dataset.bad_pixels is None else dataset.bad_pixels
    patterns = LazyArray(dataset.diffraction.shape, np.dtype(np.float32), partial(shared.counts, dataset))
    return {"patterns": patterns, "indexes": dataset.scan_index, "bad_pixels": bad}


def _write_hdf5(path: Path, product: Mapping[str, Any]) -> None:
    """Write arrays as datasets and scalars as attributes of the root, or of the array that they describe."""
    with hdf5.writing_hdf5(path) as file:
        scalars = {}
        for name, value in product.items():
            if isinstance(value, np.ndarray):
                file.create_dataset(name, data=value)
            else:
                scalars[name] = value
        file["metadata"] = np.bytes_(scalars.pop("metadata").encode())  # an attribute holds 64 KiB at most
        for name, value in scalars.items():
            array, _, rest = name.partition("_")
            geometry = array in ("probe", "object") and ("pixel" in rest or "center" in rest)
            (file[array] if geometry else file).attrs[rest if geometry else name] = value
