"""Conversion of foreign scans to the study's conventions, those of :class:`ptycho.data.dataset.Dataset`."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.config.schema import MeasuredConfig
from ptycho.data.dataset import Dataset, Reconstruction, dark_patterns
from ptycho.data.metadata import Metadata
from ptycho.errors import InputError
from ptycho.io.conventions import canonicalize, require_light
from ptycho.physics.diffraction import diffraction_amplitude
from ptycho.physics.misfit import OrderTest, pattern_residuals, usual_energy
from ptycho.physics.photon_noise import noise_misfit
from ptycho.preparation import infer, masks
from ptycho.preparation.normalize import (
    normalize_and_fit_probe,
    normalize_object_arrays,
    note_lit_factor,
    with_patches,
)

logger = logging.getLogger(__name__)

PATTERNS_SHOWN = 10  # indices of unusable patterns in an error
COMPARED = (8, 64)  # fewest and most patterns by which the model is judged


def dataset_from(
    arrays: Mapping[str, npt.NDArray[Any]],
    file_metadata: Metadata,
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
    file_metadata : what the file states: ``quantity``, ``dc``, ``positions``, ``pixel_size_m``, and more that is kept
    config : what the user states; it overrides ``file_metadata``. A mask is oriented as the patterns of the file;
        values at bad pixels are ignored, and so are pixels at the largest value of an integer type
    source : the file, named in the log and in errors

    Raises
    ------
    InputError : values that are not finite or negative, with the indices of the patterns; shapes that do not fit; or
        positions outside the object
    """
    ready = canonicalize(dict(arrays))
    conventions = infer.resolve_conventions(file_metadata, config)
    mask: str | None = infer.user_setting("bad_pixels", config)
    bad_pixels = masks.stated_bad_pixels(ready, mask, source)
    at_maximum = infer.type_maximum_pixels(ready["diffraction"], source)
    if at_maximum is not None:
        bad_pixels = at_maximum if bad_pixels is None else bad_pixels | at_maximum
    patterns = ready["diffraction"] if bad_pixels is None else np.where(bad_pixels, 0, ready["diffraction"])
    quantity = conventions["quantity"] or infer.infer_quantity(patterns, source)
    amplitude = _amplitude(patterns, quantity)
    if (conventions["dc"] or infer.infer_dc(amplitude, source)) == "corner":
        amplitude = np.fft.fftshift(amplitude, axes=(-2, -1))
        bad_pixels = None if bad_pixels is None else np.fft.fftshift(bad_pixels)
    xcoords, ycoords = infer.positions_in_pixels(ready, conventions, amplitude.shape[-1], source)
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
        metadata=_converted_metadata(file_metadata, conventions, quantity, mask, source),
        bad_pixels=bad_pixels,
    )
    scaled = normalize_and_fit_probe(_at_level_1(raw))
    _log_model_mismatch(scaled, source)
    return note_lit_factor(scaled.loaded())


def require_trainable(content: Dataset | Reconstruction) -> None:
    """Check that a file holds a scan, each of whose patterns can be trained on.

    Raises
    ------
    InputError : no patterns, or some hold no counts at all, as when the beam is lost; it names their indices
    """
    if isinstance(content, Reconstruction):
        raise InputError(
            "a reconstruction without patterns: expected a scan; patterns in another file are given by --patterns"
        )
    dark = dark_patterns(content)
    if dark.any():
        raise InputError(
            f"diffraction is zero everywhere in {_listed(dark)}: nothing can be learned from them (beam lost?); remove "
            "these patterns and their positions"
        )


def _listed(rows: npt.NDArray[np.bool_]) -> str:
    """Return the marked ones of (n,) patterns in words, with at most ``PATTERNS_SHOWN`` indices."""
    indices = np.flatnonzero(rows)
    more = ", ..." if indices.size > PATTERNS_SHOWN else ""
    shown = ", ".join(map(str, indices[:PATTERNS_SHOWN]))
    return f"{indices.size} of {rows.size} patterns (index from 0: {shown}{more})"


def _require_light(patterns: npt.NDArray[Any]) -> None:
    """Raise InputError where patterns hold values that are not finite, or negative; it names their indices."""
    try:
        require_light(patterns)
    except InputError as error:
        found = {
            "NaN or infinite": ~np.isfinite(patterns).all(axis=(1, 2)),
            "negative": (patterns < 0).any(axis=(1, 2)),
        }
        where = "; ".join(f"{what} in {_listed(rows)}" for what, rows in found.items() if rows.any())
        raise InputError(f"{error}; {where}") from None


def _amplitude(patterns: npt.NDArray[Any], quantity: str) -> npt.NDArray[np.float32]:
    _require_light(patterns)
    values = patterns.astype(np.float32)  # a copy: the caller's array stays as it is
    return values if quantity == "amplitude" else np.sqrt(values, out=values)


def _brightness(probe: npt.NDArray[np.complex64], amplitude: npt.NDArray[np.float32]) -> np.float32:
    """Return the factor that gives the probe the mean energy of the patterns: right where the object absorbs little.

    Patterns whose energy is unusual are excluded, see :func:`ptycho.physics.misfit.usual_energy`.
    """
    energy = np.einsum("nij,nij->", amplitude, amplitude, dtype=np.float64) / len(amplitude)
    each = np.einsum("nij,nij->n", amplitude, amplitude, dtype=np.float64)
    usual = usual_energy(each)
    energy = energy if usual.all() else each[usual].mean()
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
    file_metadata: Metadata, conventions: Mapping[str, Any], quantity: str, mask: str | None, source: str
) -> Metadata:
    """Return what stays true of the converted data, and the step that converted it."""
    counts_scale = file_metadata.counts_scale if quantity == "amplitude" else None
    parameters = {**{key: conventions[key] for key in ("dc", "positions")}, "quantity": quantity}
    parameters |= {} if mask is None else {"bad_pixels": masks.mask_record(mask)}
    kept = replace(
        without_conventions(file_metadata, source),
        pixel_size_m=conventions["pixel_size_m"],
        counts_scale=counts_scale,
        counts_known=quantity == "counts" or counts_scale is not None,
    )
    return kept.with_step("read", parameters)


def without_conventions(file_metadata: Metadata, source: str) -> Metadata:
    """Return the metadata of a file without the conventions that are outdated once its data are converted.

    Parameters
    ----------
    source : noted as the origin of the data where the file states none
    """
    origin = source if file_metadata.source is None else file_metadata.source
    return replace(file_metadata, source=origin, quantity=None, dc=None, positions=None)


def _log_model_mismatch(dataset: Dataset, source: str) -> None:
    """Log how well probe times object explains the patterns, compared with photon noise and with other orders."""
    mismatch, patches = dataset.metadata.model_mismatch, with_patches(dataset).patches
    if mismatch is None or patches is None:
        logger.info("%s: the object is unknown: the probe is scaled to the energy of the patterns", source)
        return
    fewest, most = COMPARED
    rows = np.unique(np.rint(np.linspace(0, len(dataset) - 1, most)).astype(int))
    expected, measured = diffraction_amplitude(dataset.probe, patches[rows]), dataset.diffraction[rows]
    expected = expected if dataset.bad_pixels is None else expected * ~dataset.bad_pixels
    usual = usual_energy(*(np.einsum("nij,nij->n", a, a, dtype=np.float64) for a in (measured, expected)))
    expected, measured = expected[usual], measured[usual]
    noise = noise_misfit(expected * dataset.counts_scale) if dataset.metadata.counts_known else 0.0
    of_noise = f" (photon noise alone: {100 * noise:.2g} %)" if noise > 0 else ""
    found = pattern_residuals(expected, measured) if len(measured) >= fewest else None
    verdict = None
    if found is not None:
        factor, residuals = found
        verdict = OrderTest.of(expected, measured, factor).verdict(float(np.sqrt(residuals.sum())), noise)
    if verdict is not None:
        logger.warning(
            "%s: probe times object misses the patterns by %.1f %%%s, hardly less than in another order: wrong "
            "quantity, DC, axes or positions? inspect_dataset.py finds the convention that fits",
            source, 100 * mismatch, of_noise,
        )  # fmt: skip
    else:
        logger.info("%s: probe times object misses the patterns by %.1f %%%s", source, 100 * mismatch, of_noise)
