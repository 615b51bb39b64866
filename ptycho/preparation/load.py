"""Opening data of any known format in the study's conventions.

:func:`load_scan` opens a scan for the study, whoever wrote it; :func:`load_content` opens a scan or a reconstruction,
as convert_dataset.py and inspect_dataset.py take them; :func:`read_reconstruction` and :func:`read_mask` read the
inputs of a simulation. The conventions are those of :class:`ptycho.data.dataset.Dataset`: amplitudes, DC in the
centre, positions in pixels, object at level 1. Missing ones are inferred and logged.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.config.keys import checked
from ptycho.config.schema import MeasuredConfig
from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.data.metadata import parse_metadata, with_step
from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.io.conventions import Arrays, canonicalize, require_light
from ptycho.io.files import error_context
from ptycho.io.formats import READERS, TITLES, detect, ptychodus, read_probe
from ptycho.io.formats.shared import Content
from ptycho.io.formats.study import read_study
from ptycho.preparation.normalize import (
    map_rows,
    normalize_and_fit_probe,
    normalize_object,
    normalize_object_arrays,
    note_lit_factor,
)

logger = logging.getLogger(__name__)

CONVENTIONS = ("quantity", "dc", "positions", "pixel_size_m")  # that a file or the user states
OF_THE_FILE = ("quantity", "dc", "positions")  # conventions that are outdated once the data are converted
METRES_SPAN = 0.01  # positions that span less are taken for metres: a scan of a hundredth of a pixel is none
SUSPICIOUS_MISMATCH = 0.2  # of the amplitude; a mirrored axis left 24 to 26 % on a real scan, a corner 97 %
INFERRED_FROM = 256  # patterns at most, from which missing conventions are inferred


# opening -------------------------------------------------------------------------------------------------------------


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
    patterns : ptychodus patterns that belong to the product ``path``
    probe : file of any known format whose probe replaces the file's own

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
        if form == "study" and probe is None and npz.is_dataset(path):
            return _own_content(path, config)
        return _foreign_content(path, form, config, patterns, probe)


def read_reconstruction(path: Path | str) -> Reconstruction:
    """Read ``objectGuess``, ``probeGuess``, ``xcoords``, ``ycoords`` (and ``metadata``) as complex64 and float64.

    The object is brought to level 1 and mean phase 0, see :mod:`ptycho.preparation.normalize`.

    Raises
    ------
    InputError : see :func:`ptycho.io.npz.read_npz`; shapes, types or positions that do not fit each other
    """
    arrays = npz.read_npz(path, ("objectGuess", "probeGuess", "xcoords", "ycoords"), ("metadata",))
    with error_context(path):
        read = Reconstruction(
            object=npz.as_complex(arrays, "objectGuess"),
            probe=npz.as_complex(arrays, "probeGuess"),
            **npz.as_positions(arrays),
            metadata=parse_metadata(arrays),
        )
        arrays, metadata = normalize_object_arrays({**arrays, **npz.as_positions(arrays)}, read.metadata)
        return replace(
            read,
            object=npz.as_complex(arrays, "objectGuess"),
            probe=npz.as_complex(arrays, "probeGuess"),
            metadata=metadata,
        )


def read_mask(path: Path | str) -> npt.NDArray[np.bool_]:
    """Read a mask of bad pixels, (N, N) bool, from a npy file or from ``bad_pixels`` of an npz.

    Raises
    ------
    InputError : no such file, or no mask in it
    """
    of_npz = Path(path).suffix == ".npz"
    array = npz.read_npz(path, ("bad_pixels",), ())["bad_pixels"] if of_npz else npz.read_npy(path)
    if array.ndim != 2 or array.dtype.kind not in "biu":
        raise InputError(f"{path}: a mask of shape {array.shape} and type {array.dtype}, expected (N, N) bool")
    return array.astype(bool)


# the study's own format ----------------------------------------------------------------------------------------------


def _own_scan(path: Path | str, config: MeasuredConfig | None) -> Dataset:
    """Return a dataset in the study's format at the level that it was written with, masked where the user says."""
    ignored = [key for key in CONVENTIONS if _user_setting(key, config) is not None]
    if ignored:
        logger.warning("%s is in the study's format already: %s ignored", path, ", ".join(ignored))
    with error_context(path):
        dataset = normalize_object(npz.read_dataset(path))
    return _with_mask(dataset, _user_setting("bad_pixels", config))


def _own_content(path: Path | str, config: MeasuredConfig) -> Dataset:
    """Return a dataset in the study's format, checksums verified; the user may add a mask and the pixel size."""
    npz.verify_checksums(path)
    dataset = _with_mask(npz.read_dataset(path), config.bad_pixels)
    if config.pixel_size_m is None:
        return dataset
    return replace(dataset, metadata={**dataset.metadata, "pixel_size_m": config.pixel_size_m})


def _with_mask(dataset: Dataset, path: str | None) -> Dataset:
    """Return the dataset with the bad pixels of a file marked and set to 0; unchanged where ``path`` is None."""
    if path is None:
        return dataset
    mask, expected = read_mask(path), (dataset.window_px,) * 2
    if mask.shape != expected:
        raise InputError(f"{path}: a mask of shape {mask.shape}, expected that of a pattern, {expected}")
    bad = mask if dataset.bad_pixels is None else mask | dataset.bad_pixels
    _log_bad_pixels(bad, path)
    masked = map_rows(dataset.diffraction, lambda part: np.where(bad, np.float32(0), part), dataset.window_px)
    return replace(dataset, bad_pixels=bad, diffraction=masked)


# foreign formats -----------------------------------------------------------------------------------------------------


def _foreign_content(
    path: Path | str, form: str, config: MeasuredConfig, patterns: Path | str | None, probe: Path | str | None
) -> Content:
    """Return what a file of a known format holds, with the patterns and the probe of other files where given."""
    arrays, file_metadata = READERS[form](path)
    if patterns is not None:
        arrays = ptychodus.joined(arrays, ptychodus.read_patterns(patterns), str(patterns))
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


def _reconstruction_from(
    arrays: Arrays, file_metadata: Mapping[str, Any], config: MeasuredConfig, source: str
) -> Reconstruction:
    """Return a reconstruction from the arrays of any file, its level as it is."""
    if "objectGuess" not in arrays:
        raise InputError("neither patterns nor an object: expected a scan or a reconstruction")
    metadata = {key: value for key, value in file_metadata.items() if key not in OF_THE_FILE}
    if config.pixel_size_m is not None:
        metadata["pixel_size_m"] = config.pixel_size_m
    index, in_order = arrays.get("scan_index"), np.arange(arrays["xcoords"].size)
    if index is not None and index.shape == in_order.shape and (index != in_order).any():
        metadata["scan_index"] = index.tolist()  # so that patterns can still be joined by it
    return Reconstruction(
        object=arrays["objectGuess"].astype(np.complex64),
        probe=arrays["probeGuess"].astype(np.complex64),
        xcoords=arrays["xcoords"].astype(np.float64),
        ycoords=arrays["ycoords"].astype(np.float64),
        metadata={"source": source, **metadata},
    )


def dataset_from(
    arrays: Mapping[str, npt.NDArray[Any]],
    file_metadata: Mapping[str, Any],
    config: MeasuredConfig | None,
    source: str,
) -> Dataset:
    """Return a dataset in the study's conventions from the arrays of any file.

    Amplitudes are scaled to a mean summed square of ``(N/2)**2``, and the probe's scale is fitted to them. Missing
    conventions are inferred and logged.

    Parameters
    ----------
    arrays : under the names of the study's npz, or older ones: ``diffraction`` (n, N, N) counts, intensity or
        amplitude, ``xcoords``, ``ycoords`` in pixels or metres, ``probeGuess``, and where known ``objectGuess``,
        ``Y``, ``bad_pixels`` (True: bad), ``scan_index``
    file_metadata : what the file states: ``quantity``, ``dc``, ``positions``, ``pixel_size_m``, and more for the
        metadata
    config : what the user states; it overrides ``file_metadata``. A mask is oriented as the patterns of the file;
        values at bad pixels are ignored
    source : the file, named in the log and in errors

    Raises
    ------
    InputError : values that are not finite, negative counts, shapes that do not fit, or positions outside the object
    """
    ready = canonicalize(dict(arrays))
    conventions = _resolve_conventions(file_metadata, config)
    bad_pixels = _bad_pixels(ready, config, source)
    patterns = ready["diffraction"] if bad_pixels is None else np.where(bad_pixels, 0, ready["diffraction"])
    quantity = conventions["quantity"] or _infer_quantity(patterns, source)
    amplitude = _amplitude(patterns, quantity)
    if (conventions["dc"] or _infer_dc(amplitude, source)) == "corner":
        amplitude = np.fft.fftshift(amplitude, axes=(-2, -1))
        bad_pixels = None if bad_pixels is None else np.fft.fftshift(bad_pixels)
    xcoords, ycoords = _in_pixels(ready, conventions, amplitude.shape[-1], source)
    count = xcoords.size
    logger.info("%s: %d patterns of %d pixels, read as %s", source, count, amplitude.shape[-1], quantity)
    raw = Dataset(
        diffraction=amplitude,
        xcoords=xcoords,
        ycoords=ycoords,
        probe=(ready["probeGuess"] * _brightness(ready["probeGuess"], amplitude)).astype(np.complex64),
        object=_complex64(ready.get("objectGuess")),
        patches=_complex64(ready.get("Y")),
        scan_index=ready.get("scan_index", np.arange(count)),
        metadata=_converted_metadata(file_metadata, conventions, quantity, source),
        bad_pixels=bad_pixels,
    )
    scaled = normalize_and_fit_probe(_at_level_1(raw))
    _log_model_mismatch(scaled, source)
    return note_lit_factor(scaled.loaded())


# conventions ---------------------------------------------------------------------------------------------------------


def _user_setting(key: str, config: MeasuredConfig | None) -> Any:
    """Return what the user states, or None."""
    value = getattr(config, key, None)
    return None if value == "auto" else value


def _resolve_conventions(file_metadata: Mapping[str, Any], config: MeasuredConfig | None) -> dict[str, Any]:
    """Return the stated conventions, None where neither says; the user overrides the file."""
    stated = {key: file_metadata[key] for key in CONVENTIONS if file_metadata.get(key) is not None}
    own = checked(MeasuredConfig, stated, "metadata: ")
    return {
        key: _user_setting(key, own) if _user_setting(key, config) is None else _user_setting(key, config)
        for key in CONVENTIONS
    }


def _infer_quantity(patterns: npt.NDArray[Any], source: str) -> str:
    """Infer what the values of patterns are, and log it: whole numbers are counts, others amplitudes."""
    some = patterns[:: max(1, len(patterns) // INFERRED_FROM)]
    whole = patterns.dtype.kind in "biu" or bool((some == np.rint(some)).all())
    quantity = "counts" if whole else "amplitude"
    logger.warning(
        "%s: the quantity of the patterns is not stated; %s values are read as %s "
        "(set measured.quantity or --quantity)",
        source,
        "whole" if whole else "fractional",
        quantity,
    )
    return quantity


def _infer_dc(amplitude: npt.NDArray[np.float32], source: str) -> str:
    """Infer from the intensity whether DC, the undiffracted beam, is in the centre or the corner, and log it."""
    intensity = np.square(amplitude[:INFERRED_FROM], dtype=np.float64).mean(axis=0)
    quarter, half = amplitude.shape[-1] // 4, amplitude.shape[-1] // 2
    inner = intensity[quarter : quarter + half, quarter : quarter + half].sum()
    outer = np.fft.fftshift(intensity)[quarter : quarter + half, quarter : quarter + half].sum()
    place = "centre" if inner >= outer else "corner"
    logger.warning(
        "%s: the position of DC is not stated; most intensity is in the %s (set measured.dc or --dc)", source, place
    )
    return place


def _amplitude(patterns: npt.NDArray[Any], quantity: str) -> npt.NDArray[np.float32]:
    require_light(patterns)
    values = patterns.astype(np.float32)  # a copy: the caller's array stays as it is
    return values if quantity == "amplitude" else np.sqrt(values, out=values)


def _bad_pixels(
    ready: Mapping[str, npt.NDArray[Any]], config: MeasuredConfig | None, source: str
) -> npt.NDArray[np.bool_] | None:
    """Return the pixels that the file or the user marks, (N, N), or None."""
    masks = [ready["bad_pixels"]] if "bad_pixels" in ready else []
    path = _user_setting("bad_pixels", config)
    masks += [] if path is None else [read_mask(path)]
    expected = ready["diffraction"].shape[1:]
    for mask in masks:
        if mask.shape != expected or mask.dtype.kind not in "biu":
            raise InputError(
                f"bad_pixels has shape {mask.shape} and type {mask.dtype}, expected {expected} bool, as a pattern"
            )
    if not masks:
        return None
    bad: npt.NDArray[np.bool_] = np.any(masks, axis=0)
    _log_bad_pixels(bad, source)
    return bad


def _log_bad_pixels(bad: npt.NDArray[np.bool_], source: str) -> None:
    """Log how many pixels are bad, with a warning where most are."""
    logger.info("%s: %d of %d pixels are bad", source, bad.sum(), bad.size)
    if bad.mean() > 0.5:
        logger.warning("%s: more bad pixels than good ones: is the mask inverted? True is bad", source)


def _in_pixels(
    ready: Mapping[str, npt.NDArray[Any]], conventions: Mapping[str, Any], window_px: int, source: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return positions in pixels of the object.

    Positions in metres count from the middle of the object, as in ptychodus. Where there is no object, the first
    window begins a pixel from the corner of the grid that will hold the reconstruction. A shift is logged.
    """
    scale = _pixel(ready, conventions)
    found = []
    for key, axis in (("xcoords", 1), ("ycoords", 0)):
        values, shift = ready[key] / scale, 0.0
        if "objectGuess" not in ready and values.size:
            shift = window_px / 2 + 1 - float(values.min())
        elif conventions["positions"] == "metres":
            shift = ready["objectGuess"].shape[axis] / 2
        if shift:
            logger.info("%s: %.6g px were added to %s", source, shift, key)
        found.append(values + shift)
    return found[0], found[1]


def _pixel(ready: Mapping[str, npt.NDArray[Any]], conventions: Mapping[str, Any]) -> float:
    """Return the size of a pixel of the object in the unit of the positions."""
    if conventions["positions"] == "metres":
        if conventions["pixel_size_m"] is None:
            raise InputError(
                "positions are in metres, but the pixel size of the object is not stated: give pixel_size_m"
            )
        return float(conventions["pixel_size_m"])
    span = max(float(np.ptp(ready[key])) if ready[key].size else 0.0 for key in ("xcoords", "ycoords"))
    if conventions["positions"] is None and 0 < span < METRES_SPAN:
        raise InputError(
            f"positions span {span:.3g} only: metres? State positions metres and pixel_size_m (measured section, "
            "or the flags --positions metres --pixel_size_m)"
        )
    return 1.0


# scales and metadata -------------------------------------------------------------------------------------------------


def _brightness(probe: npt.NDArray[np.complex64], amplitude: npt.NDArray[np.float32]) -> np.float32:
    """Return the factor that gives the probe the mean energy of the patterns: right where the object absorbs little."""
    energy = np.einsum("nij,nij->", amplitude, amplitude, dtype=np.float64) / len(amplitude)
    own = np.sum(np.abs(probe) ** 2, dtype=np.float64)
    return np.float32(np.sqrt(energy / own) if own > 0 and energy > 0 else 1.0)


def _complex64(array: npt.NDArray[Any] | None) -> npt.NDArray[np.complex64] | None:
    return None if array is None else array.astype(np.complex64, copy=False)


def _at_level_1(dataset: Dataset) -> Dataset:
    """Return a checked dataset at level 1 and mean phase 0: of its object, or where that is unknown of its patches."""
    known = {"objectGuess": dataset.object, "Y": dataset.patches, "diffraction": dataset.diffraction}
    places = {"probeGuess": dataset.probe, "xcoords": dataset.xcoords, "ycoords": dataset.ycoords}
    given = {key: np.asarray(array) for key, array in known.items() if array is not None}
    arrays, metadata = normalize_object_arrays({**places, **given}, dataset.metadata)
    return replace(
        dataset,
        object=_complex64(arrays.get("objectGuess")),
        patches=_complex64(arrays.get("Y")),
        probe=arrays["probeGuess"].astype(np.complex64),
        metadata=metadata,
    )


def _converted_metadata(
    file_metadata: Mapping[str, Any], conventions: Mapping[str, Any], quantity: str, source: str
) -> dict[str, Any]:
    """Return what stays true of the converted data, and the step that converted it."""
    outdated = {*OF_THE_FILE} | ({"counts_scale"} if quantity != "amplitude" else set())
    kept = {key: value for key, value in file_metadata.items() if key not in outdated}
    pixel = {} if conventions["pixel_size_m"] is None else {"pixel_size_m": conventions["pixel_size_m"]}
    parameters = {**{key: conventions[key] for key in ("dc", "positions")}, "quantity": quantity}
    counts_known = quantity == "counts" or (quantity == "amplitude" and "counts_scale" in file_metadata)
    return with_step({"source": source, **kept, **pixel, "counts_known": counts_known}, "read", parameters)


def _log_model_mismatch(dataset: Dataset, source: str) -> None:
    mismatch = dataset.metadata.get("model_mismatch")
    if mismatch is None:
        logger.info("%s: the object is unknown: the probe is scaled to the energy of the patterns", source)
    elif mismatch > SUSPICIOUS_MISMATCH:
        logger.warning(
            "%s: probe times object misses the patterns by %.0f %%: wrong quantity, DC, axes or positions? "
            "inspect_dataset.py finds the convention that fits", source, 100 * mismatch,
        )  # fmt: skip
    else:
        logger.info("%s: probe times object misses the patterns by %.1f %%", source, 100 * mismatch)
