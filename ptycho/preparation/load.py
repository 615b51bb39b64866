"""The one way to open data, whoever wrote it: brought to amplitude, DC in the centre, pixels, level 1."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.config.schema import MeasuredConfig
from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.data.metadata import parse_metadata, with_step
from ptycho.errors import InputError
from ptycho.io import files, npz
from ptycho.io.conventions import Arrays, canonicalize, require_light
from ptycho.io.files import error_context
from ptycho.io.formats import READERS, TITLES, detect, ptychodus, read_probe
from ptycho.io.formats.shared import Content
from ptycho.io.formats.study import read_study
from ptycho.io.npz import as_complex, as_positions, read_npy, read_npz
from ptycho.preparation.normalize import (
    map_rows,
    normalize_and_fit_probe,
    normalize_object,
    normalize_object_arrays,
    note_lit_factor,
)

logger = logging.getLogger(__name__)

STATES = ("quantity", "dc", "positions", "pixel_size_m")
METRES_SPAN = 0.01  # a scan that covers less is hardly one in pixels
SUSPICIOUS_MISMATCH = 0.2  # of the amplitude; a mirrored axis left 24 to 26 % on a real scan, a corner 97 %


def load_scan(path: Path | str, config: "MeasuredConfig | None" = None) -> Dataset:
    """Read the dataset of any npz that holds patterns, positions and a probe.

    A file that keeps the study's conventions is read row by row when it is indexed; any other is read whole and
    brought to them, see :func:`dataset_from`. Its ``metadata`` may state ``quantity``, ``dc``, ``positions`` and
    ``pixel_size_m``.

    Raises
    ------
    InputError : see :func:`ptycho.io.npz.read_npz` and :func:`dataset_from`
    """
    if npz.is_dataset(path):
        stated = [key for key in STATES if user_setting(key, config) is not None]
        if stated:
            logger.warning("%s keeps the study's conventions already: %s not needed", path, ", ".join(stated))
        with files.error_context(path):
            dataset = normalize_object(npz.read_dataset(path))
        return with_mask(dataset, user_setting("bad_pixels", config))
    arrays, facts = read_study(path)
    missing = [key for key in ("diffraction", "xcoords", "ycoords", "probeGuess") if key not in arrays]
    if missing:
        raise InputError(
            f"{path}: {', '.join(missing)} missing; the file holds {', '.join(sorted(npz.npz_members(path)))}"
        )
    with files.error_context(path):
        return dataset_from(arrays, facts, config, str(path))


def read_mask(path: Path | str) -> npt.NDArray[np.bool_]:
    """Read a mask of bad pixels, (N, N) bool, from a npy file or from ``bad_pixels`` of an npz.

    Raises
    ------
    InputError : no such file, or no mask in it
    """
    npz = Path(path).suffix == ".npz"
    array = read_npz(path, ("bad_pixels",), ())["bad_pixels"] if npz else read_npy(path)
    if array.ndim != 2 or array.dtype.kind not in "biu":
        raise InputError(f"{path}: a mask of shape {array.shape} and type {array.dtype}, expected (N, N) bool")
    return array.astype(bool)


def with_mask(dataset: Dataset, path: str | None) -> Dataset:
    """Return the dataset with the bad pixels of a file marked and dark; unchanged where ``path`` is None."""
    if path is None:
        return dataset
    mask, expected = read_mask(path), (dataset.window_px,) * 2
    if mask.shape != expected:
        raise InputError(f"{path}: a mask of shape {mask.shape}, expected that of a pattern, {expected}")
    bad = mask if dataset.bad_pixels is None else mask | dataset.bad_pixels
    _count_bad(bad, path)
    dark = map_rows(dataset.diffraction, lambda part: np.where(bad, np.float32(0), part), dataset.window_px)
    return replace(dataset, bad_pixels=bad, diffraction=dark)


def dataset_from(
    arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any], config: "MeasuredConfig | None", source: str
) -> Dataset:
    """Return a dataset in the study's conventions from the arrays of any file.

    Amplitudes are scaled to a mean summed square of ``(N/2)**2`` and the probe to them. What was found, stated or
    assumed is logged, line by line.

    Parameters
    ----------
    arrays : under the names of the study's npz, or older ones: ``diffraction`` (n, N, N) counts, intensity or
        amplitude, ``xcoords``, ``ycoords`` in pixels or metres, ``probeGuess``, and where known ``objectGuess``,
        ``Y``, ``bad_pixels`` (True: bad), ``scan_index``
    facts : what the file says of itself: ``quantity``, ``dc``, ``positions``, ``pixel_size_m``, and more for the
        metadata
    config : what the user says; it wins over ``facts``. A mask is oriented as the patterns of the file; what the
        detector noted at a bad pixel does not matter
    source : the file, named in the log and in errors

    Raises
    ------
    InputError : values that are not finite, negative counts, shapes that do not fit, or positions outside the object
    """
    ready = canonicalize(dict(arrays))
    stated = resolve_conventions(facts, config)
    bad_pixels = _bad_pixels(ready, config, source)
    patterns = ready["diffraction"] if bad_pixels is None else np.where(bad_pixels, 0, ready["diffraction"])
    quantity = stated["quantity"] or _infer_quantity(patterns, source)
    amplitude = _amplitude(patterns, quantity)
    if (stated["dc"] or _infer_dc(amplitude, source)) == "corner":
        amplitude = np.fft.fftshift(amplitude, axes=(-2, -1))
        bad_pixels = None if bad_pixels is None else np.fft.fftshift(bad_pixels)
    xcoords, ycoords = _in_pixels(ready, stated, amplitude.shape[-1], source)
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
        metadata=_metadata(facts, stated, quantity, source),
        bad_pixels=bad_pixels,
    )
    scaled = normalize_and_fit_probe(_at_level_1(raw))
    log_model_mismatch(scaled, source)
    return note_lit_factor(scaled.loaded())


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


def _complex64(array: npt.NDArray[Any] | None) -> npt.NDArray[np.complex64] | None:
    return None if array is None else array.astype(np.complex64, copy=False)


def user_setting(key: str, config: "MeasuredConfig | None") -> Any:
    """Return what the user says, or None."""
    value = getattr(config, key, None)
    return None if value == "auto" else value


def resolve_conventions(facts: Mapping[str, Any], config: "MeasuredConfig | None") -> dict[str, Any]:
    """Return what is known of the conventions, None where nothing is; the user wins over the file."""
    from ptycho.config.schema import MeasuredConfig, checked

    own = checked(MeasuredConfig, {key: facts[key] for key in STATES if facts.get(key) is not None}, "metadata: ")
    return {
        key: user_setting(key, own) if user_setting(key, config) is None else user_setting(key, config)
        for key in STATES
    }


def _infer_quantity(patterns: npt.NDArray[Any], source: str) -> str:
    """Say what patterns are that nobody stated: whole numbers are counts, others amplitudes. It is logged."""
    some = patterns[:: max(1, len(patterns) // 256)]
    whole = patterns.dtype.kind in "biu" or bool((some == np.rint(some)).all())
    quantity = "counts" if whole else "amplitude"
    logger.warning(
        "%s: nothing states what the patterns are; %s values are read as %s "
        "(measured.quantity or --quantity states it)",
        source,
        "whole" if whole else "fractional",
        quantity,
    )
    return quantity


def _amplitude(patterns: npt.NDArray[Any], quantity: str) -> npt.NDArray[np.float32]:
    require_light(patterns)
    values = patterns.astype(np.float32)  # a copy: the caller's array stays as it is
    return values if quantity == "amplitude" else np.sqrt(values, out=values)


def _infer_dc(amplitude: npt.NDArray[np.float32], source: str) -> str:
    """Say where the undiffracted beam is, by where the light is; it is logged."""
    light = np.square(amplitude[:256], dtype=np.float64).mean(axis=0)
    quarter, half = amplitude.shape[-1] // 4, amplitude.shape[-1] // 2
    inner = light[quarter : quarter + half, quarter : quarter + half].sum()
    outer = np.fft.fftshift(light)[quarter : quarter + half, quarter : quarter + half].sum()
    place = "centre" if inner >= outer else "corner"
    logger.warning(
        "%s: nothing states where DC is; the light is in the %s (measured.dc or --dc states it)", source, place
    )
    return place


def _brightness(probe: npt.NDArray[np.complex64], amplitude: npt.NDArray[np.float32]) -> np.float32:
    """Return the factor that gives the probe the mean energy of the patterns: right where the object absorbs little."""
    energy = np.einsum("nij,nij->", amplitude, amplitude, dtype=np.float64) / len(amplitude)
    own = np.sum(np.abs(probe) ** 2, dtype=np.float64)
    return np.float32(np.sqrt(energy / own) if own > 0 and energy > 0 else 1.0)


def _bad_pixels(
    ready: Mapping[str, npt.NDArray[Any]], config: "MeasuredConfig | None", source: str
) -> npt.NDArray[np.bool_] | None:
    """Return the pixels that the file or the user marks, (N, N), or None."""
    masks = [ready["bad_pixels"]] if "bad_pixels" in ready else []
    path = user_setting("bad_pixels", config)
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
    _count_bad(bad, source)
    return bad


def _count_bad(bad: npt.NDArray[np.bool_], source: str) -> None:
    """Log how many pixels are bad, and ask where most are."""
    logger.info("%s: %d of %d pixels are bad", source, bad.sum(), bad.size)
    if bad.mean() > 0.5:
        logger.warning("%s: more bad pixels than good ones: is the mask inverted? True is bad", source)


def _in_pixels(
    ready: Mapping[str, npt.NDArray[Any]], stated: Mapping[str, Any], window_px: int, source: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return positions in pixels of the object.

    Positions in metres count from the middle of the object, as in ptychodus. Where there is no object, the first
    window begins a pixel from the corner of the grid that will hold the reconstruction. A shift is logged.
    """
    scale = _pixel(ready, stated)
    found = []
    for key, axis in (("xcoords", 1), ("ycoords", 0)):
        values, shift = ready[key] / scale, 0.0
        if "objectGuess" not in ready and values.size:
            shift = window_px / 2 + 1 - float(values.min())
        elif stated["positions"] == "metres":
            shift = ready["objectGuess"].shape[axis] / 2
        if shift:
            logger.info("%s: %.6g px were added to %s", source, shift, key)
        found.append(values + shift)
    return found[0], found[1]


def _pixel(ready: Mapping[str, npt.NDArray[Any]], stated: Mapping[str, Any]) -> float:
    """Return what one pixel is in the unit of the positions."""
    if stated["positions"] == "metres":
        if stated["pixel_size_m"] is None:
            raise InputError(
                "positions are in metres, but the pixel size of the object is not stated: give pixel_size_m"
            )
        return float(stated["pixel_size_m"])
    span = max(float(np.ptp(ready[key])) if ready[key].size else 0.0 for key in ("xcoords", "ycoords"))
    if stated["positions"] is None and 0 < span < METRES_SPAN:
        raise InputError(
            f"positions span {span:.3g} only: metres? State positions metres and pixel_size_m (measured section, "
            "or the flags --positions metres --pixel_size_m)"
        )
    return 1.0


def _metadata(facts: Mapping[str, Any], stated: Mapping[str, Any], quantity: str, source: str) -> dict[str, Any]:
    """Return what stays true of the converted data, and the step that converted it."""
    outdated = {"quantity", "dc", "positions"} | ({"counts_scale"} if quantity != "amplitude" else set())
    kept = {key: value for key, value in facts.items() if key not in outdated}
    pixel = {} if stated["pixel_size_m"] is None else {"pixel_size_m": stated["pixel_size_m"]}
    parameters = {**{key: stated[key] for key in ("dc", "positions")}, "quantity": quantity}
    known = {"counts_known": quantity == "counts" or (quantity == "amplitude" and "counts_scale" in facts)}
    return with_step({"source": source, **kept, **pixel, **known}, "read", parameters)


def log_model_mismatch(dataset: Dataset, source: str) -> None:
    mismatch = dataset.metadata.get("model_mismatch")
    if mismatch is None:
        logger.info("%s: nothing says what the object is: the probe is scaled to the energy of the patterns", source)
    elif mismatch > SUSPICIOUS_MISMATCH:
        logger.warning(
            "%s: probe times object misses the patterns by %.0f %%: wrong quantity, DC, axes or positions? "
            "inspect_dataset.py tells which convention would fit", source, 100 * mismatch,
        )  # fmt: skip
    else:
        logger.info("%s: probe times object misses the patterns by %.1f %%", source, 100 * mismatch)


def load_content(
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
        if form == "study" and probe is None and npz.is_dataset(path):
            return _study_dataset(path, config)
        return _converted(path, form, config, patterns, probe)


def _converted(
    path: Path | str, form: str, config: MeasuredConfig, patterns: Path | str | None, probe: Path | str | None
) -> Content:
    arrays, facts = READERS[form](path)
    if patterns is not None:
        arrays = ptychodus.joined(arrays, ptychodus.read_patterns(patterns), str(patterns))
    if probe is not None:
        arrays["probeGuess"] = read_probe(probe)
        logger.info("%s: its probe is taken", probe)
    if "probeGuess" not in arrays:
        raise InputError(
            f"{path}: {TITLES[form]} without a probe; give one with --probe: study npz with probeGuess, ptychodus "
            "product or CXI"
        )
    with files.error_context(path):
        missing = [key for key in ("xcoords", "ycoords") if key not in arrays]
        if missing:
            raise InputError(f"{', '.join(missing)} missing; the file holds {', '.join(sorted(arrays))}")
        if "diffraction" not in arrays:
            return _as_reconstruction(arrays, facts, config, str(path))
        return dataset_from(arrays, facts, config, str(path))


def _study_dataset(path: Path | str, config: MeasuredConfig) -> Dataset:
    """Return a dataset that keeps the study's conventions already; the user may add what it does not say."""
    npz.verify_checksums(path)
    dataset = with_mask(npz.read_dataset(path), config.bad_pixels)
    if config.pixel_size_m is None:
        return dataset
    return replace(dataset, metadata={**dataset.metadata, "pixel_size_m": config.pixel_size_m})


def _as_reconstruction(arrays: Arrays, facts: dict[str, Any], config: MeasuredConfig, source: str) -> Reconstruction:
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


def read_reconstruction(path: Path | str) -> Reconstruction:
    """Read ``objectGuess``, ``probeGuess``, ``xcoords``, ``ycoords`` (and ``metadata``) as complex64, float64.

    The object is brought to level 1 and mean phase 0, see :mod:`ptycho.preparation.normalize`.
    """
    arrays = read_npz(path, ("objectGuess", "probeGuess", "xcoords", "ycoords"), ("metadata",))
    with error_context(path):
        read = Reconstruction(
            object=as_complex(arrays, "objectGuess"),
            probe=as_complex(arrays, "probeGuess"),
            **as_positions(arrays),
            metadata=parse_metadata(arrays),
        )
        arrays, metadata = normalize_object_arrays({**arrays, **as_positions(arrays)}, read.metadata)
        return replace(
            read, object=as_complex(arrays, "objectGuess"), probe=as_complex(arrays, "probeGuess"), metadata=metadata
        )
