"""Normalization: level of the object, energy of the patterns, and a common count scale of training and test data.

An object ``c * O`` under the probe ``P / c`` diffracts as ``O`` under ``P``. The object is divided by its own level, a
complex factor, where the scan illuminates it, and the probe is multiplied by it: ``c`` of a file does not matter.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import ComplexArray, Dataset, FloatArray
from ptycho.data.lazy import LazyArray, map_chunks
from ptycho.data.metadata import Factor, Metadata
from ptycho.errors import InputError
from ptycho.physics.diffraction import diffraction_amplitude
from ptycho.physics.misfit import Agreement, usual_energy
from ptycho.physics.patches import lazy_patches
from ptycho.physics.photon_noise import noise_bias
from ptycho.physics.stitching import illumination

logger = logging.getLogger(__name__)

DARK = 1e-6  # of the object's bright pixels; a smaller amplitude is rounding
BRIGHT = 0.99  # of the light falls on darker pixels than the amplitude at which brighter ones are clipped
UNCHANGED = 1e-6  # a factor that differs from 1 by less is rounding, and not divided out
SAME_LIGHT = 2.0  # largest ratio of energies of the halves of one scan
SAMPLE = 256  # patches from which the level is estimated where the object itself is unknown
BIAS = 1e-3  # of the probe's scale, by photon noise; less is not corrected
BIAS_PATTERNS = 32  # of which it is estimated
SHOWN = 10  # indices of patterns in a log line
UNIT: Factor = (1.0, 0.0)  # the factor that changes nothing
Arrays = dict[str, npt.NDArray[Any]]


def lit_factor(image: ComplexArray, probe: ComplexArray, xcoords: FloatArray, ycoords: FloatArray) -> complex:
    """Return the level of an object where a scan illuminates it: root mean square amplitude, with the mean phase.

    Both are weighted by the probe's intensity on each pixel, so that an object of level 1 preserves the probe's
    energy. The brightest pixels are clipped, so that a few of them do not change the level.

    Parameters
    ----------
    image : (H, W) complex
    probe : (N, N) complex
    xcoords, ycoords : (n,) pixels of ``image``

    Raises
    ------
    InputError : no light falls on the object, or it is dark wherever light falls
    """
    light = illumination(xcoords, ycoords, probe, image.shape, probe.shape[0])
    lit = light > DARK * light.max(initial=0)
    if not lit.any():
        raise InputError(
            f"no position illuminates objectGuess {image.shape}: are xcoords and ycoords pixels of this object?"
        )
    return _mean_level("objectGuess", image[lit], light[lit], float(np.percentile(np.abs(image), 99)))


def _mean_level(name: str, values: ComplexArray, weights: FloatArray, bright: float) -> complex:
    """Return the weighted level of pixels, (n,); InputError where they are dark compared to ``bright``."""
    amplitude = np.abs(values).astype(np.float64)
    order = np.argsort(amplitude)
    summed = np.cumsum(weights[order])
    most = float(amplitude[order][np.searchsorted(summed, BRIGHT * summed[-1])])
    clipped = np.minimum(amplitude, most)
    level = float(np.sqrt(np.average(clipped**2, weights=weights)))
    if not level > DARK * bright:
        raise InputError(
            f"{name} is dark wherever the scan illuminates it (amplitude {level:.3g}, elsewhere up to {bright:.3g}): "
            "are xcoords and ycoords pixels of this object, x along columns?"
        )
    direction = np.divide(values, amplitude, out=np.zeros(amplitude.shape, np.complex128), where=amplitude > 0)
    mean = complex(np.average(direction * clipped, weights=weights))
    if abs(mean) < DARK * level:  # phases that cancel have no mean
        mean = complex(direction[np.argmax(clipped * weights)])
    return complex(level * np.exp(1j * np.angle(mean)))


def normalize_object_arrays(arrays: Mapping[str, npt.NDArray[Any]], metadata: Metadata) -> tuple[Arrays, Metadata]:
    """Return a file's arrays with the object at level 1 and mean phase 0, and metadata with the factor divided out.

    Values are divided in double precision, so that the same object at another level gives the same numbers. Without
    an object the level is that of ``Y``; without either it is unknown, and not changed. Without patterns the probe's
    own level is arbitrary: it is normalized to a mean square of 1 and mean phase 0.

    Parameters
    ----------
    arrays : ``probeGuess`` (N, N), ``xcoords``, ``ycoords`` (n,), and where known ``objectGuess`` (H, W) and
        ``Y`` (n, N, N)

    Raises
    ------
    InputError : see :func:`lit_factor`
    """
    result = dict(arrays)
    probe = arrays["probeGuess"]
    if not np.abs(probe).any():
        raise InputError("probeGuess is zero everywhere")
    if "objectGuess" in arrays:
        factor = lit_factor(arrays["objectGuess"], probe, arrays["xcoords"], arrays["ycoords"])
    elif "Y" in arrays:
        factor = _factor_of_patches(arrays["Y"], probe)
    else:
        factor = 1.0
    if abs(factor - 1) > UNCHANGED:
        for key in arrays.keys() & {"objectGuess", "Y"}:
            result[key] = arrays[key] / np.complex128(factor)
        result["probeGuess"] = probe * np.complex128(factor)
        metadata = _with_removed(metadata, factor)
    if not arrays.keys() & {"diffraction", "diff3d"}:
        level = _probe_level(result["probeGuess"])
        if abs(level - 1) > UNCHANGED:
            result["probeGuess"] = result["probeGuess"] / np.complex128(level)
    return result, metadata


def _probe_level(probe: ComplexArray) -> complex:
    """Return the root mean square of a probe with its mean phase or, where undefined, that of its brightest pixel."""
    energy = float(np.sum(np.abs(probe) ** 2, dtype=np.float64))
    mean = complex(np.sum(probe * np.abs(probe), dtype=np.complex128))
    if abs(mean) < DARK * energy:
        mean = complex(probe.flat[np.argmax(np.abs(probe))])
    return complex(np.sqrt(energy / probe.size) * np.exp(1j * np.angle(mean)))


def _factor_of_patches(patches: Any, probe: ComplexArray) -> complex:
    some = np.asarray(patches[np.unique(np.rint(np.linspace(0, len(patches) - 1, SAMPLE)).astype(int))])
    light = np.broadcast_to(np.abs(probe) ** 2, some.shape)
    lit = light > DARK * light.max()
    return _mean_level("Y", some[lit], light[lit], float(np.percentile(np.abs(some), 99)))


def _with_removed(metadata: Metadata, factor: complex) -> Metadata:
    return replace(metadata, removed_factor=_pair(_complex(metadata.removed_factor or UNIT) * factor))


def _pair(factor: complex) -> Factor:
    return float(abs(factor)), float(np.angle(factor))


def _complex(pair: Factor) -> complex:
    amplitude, phase = pair
    return complex(amplitude * np.exp(1j * phase))


def note_lit_factor(dataset: Dataset) -> Dataset:
    """Return a dataset with its own level in the metadata, by which :func:`normalize_object` detects a change.

    Training and test halves share the level of the whole scan, so that each half's own level is only close to 1.
    """
    if dataset.object is None:
        return dataset
    factor = lit_factor(dataset.object, dataset.probe, dataset.xcoords, dataset.ycoords)
    return replace(dataset, metadata=replace(dataset.metadata, lit_factor=_pair(factor)))


def normalize_object(dataset: Dataset) -> Dataset:
    """Return a dataset at the level noted in its metadata or, where none is, at level 1 and mean phase 0.

    Patches are divided when they are read. A dataset without an object is returned unchanged.
    """
    if dataset.object is None:
        return dataset
    found = lit_factor(dataset.object, dataset.probe, dataset.xcoords, dataset.ycoords)
    factor = np.complex128(found / _complex(dataset.metadata.lit_factor or UNIT))
    if abs(factor - 1) < UNCHANGED:
        return dataset
    patches = dataset.patches
    if patches is not None:
        given = patches
        patches = LazyArray(
            given.shape, np.dtype(np.complex64), lambda rows: (given[rows] / factor).astype(np.complex64)
        )
    return replace(
        dataset,
        object=(dataset.object / factor).astype(np.complex64),
        patches=patches,
        probe=(dataset.probe * factor).astype(np.complex64),
        metadata=_with_removed(dataset.metadata, complex(factor)),
    )


def normalize_and_fit_probe(dataset: Dataset) -> Dataset:
    """Scale amplitudes to a mean summed square of ``(N/2)**2``, and fit the probe's scale to them.

    The fit is corrected for photon noise, whose amplitudes are below those expected on average. Where the truth is
    unknown, the probe is scaled as the amplitudes are. The metadata get ``counts_scale`` and,
    where the truth is known, ``model_mismatch``: the relative l2 misfit of probe times object after the fit. Patterns
    that are overexposed, nearly dark or hold a dominating hot pixel are excluded from all three, and logged; see
    :func:`ptycho.physics.misfit.usual_energy`.

    Raises
    ------
    InputError : the patterns are dark, the probe is dark where the object is, or values are not finite
    """
    patches = with_patches(dataset).patches
    agreement, count = _agreement(dataset, patches)
    scale = float(np.sqrt(agreement.measured_energy / count) / (dataset.window_px / 2))
    metadata = replace(dataset.metadata, counts_scale=dataset.counts_scale * scale)
    factor = 1.0
    if patches is not None:
        # numpy's type: the probe is multiplied in double precision
        factor = np.float64(agreement.best_factor * _noise_bias(dataset, patches))
        metadata = replace(metadata, model_mismatch=agreement.fitted_misfit)
    return replace(
        dataset,
        diffraction=map_rows(dataset.diffraction, lambda part: part / np.float32(scale), dataset.window_px),
        probe=(dataset.probe * (factor / scale)).astype(np.complex64),
        metadata=metadata,
    )


def _agreement(dataset: Dataset, patches: npt.NDArray[Any] | LazyArray | None) -> tuple[Agreement, int]:
    """Return the agreement of the usual patterns with the model, and their number, in one pass.

    Without patches, only the energy of the patterns is known.
    """
    measured = dataset.diffraction
    good = None if dataset.bad_pixels is None else ~dataset.bad_pixels

    def products(part: slice) -> tuple[FloatArray, FloatArray]:
        """Return the products of a chunk, (3,), and those of each of its k patterns, (3, k)."""
        found = measured[part]
        pairs = [(found, found)]
        if patches is not None:
            expected = diffraction_amplitude(dataset.probe, patches[part])
            expected = expected if good is None else expected * good
            pairs = [(expected, found), (expected, expected), (found, found)]
        sums, each = ([np.einsum(f"nij,nij->{to}", a, b, dtype=np.float64) for a, b in pairs] for to in ("", "n"))
        missing = 3 - len(pairs)
        return np.array([0.0] * missing + sums), np.array([np.zeros(len(found))] * missing + each)

    chunks = list(map_chunks(products, len(dataset)))
    cross, expected_energy, measured_energy = sum((total for total, _ in chunks), np.zeros(3))
    if not np.isfinite([cross, expected_energy, measured_energy]).all():
        raise InputError("diffraction, Y or probeGuess hold NaN, infinite or far too large values")
    if not measured_energy > 0:
        raise InputError("diffraction is zero everywhere: there is nothing to learn from")
    if patches is not None and not expected_energy > 0:
        raise InputError("objectGuess is zero wherever the probe falls: it cannot explain the patterns")
    each = np.concatenate([rows for _, rows in chunks], axis=1)
    usual = usual_energy(each[2], None if patches is None else each[1])
    if not usual.all():
        unusual = np.flatnonzero(~usual)
        logger.warning(
            "%d of %d patterns are far brighter or darker than the others (index from 0: %s%s): they are excluded when "
            "the scale of the patterns and the probe is estimated; remove them, or mark hot pixels (--bad_pixels)",
            unusual.size, usual.size, ", ".join(map(str, unusual[:SHOWN])), ", ..." if unusual.size > SHOWN else "",
        )  # fmt: skip
        cross, expected_energy, measured_energy = each[:, usual].sum(axis=1)
    return Agreement(cross, expected_energy, measured_energy), int(usual.sum())


def _noise_bias(dataset: Dataset, patches: npt.NDArray[Any] | LazyArray) -> float:
    """Return how many times photon noise makes the fitted probe too weak; 1 where that is less than ``BIAS``.

    It is estimated on some patterns, of usual energy or not; 1 where the unit of the counts is unknown.
    """
    facts = dataset.metadata
    if not (facts.counts_scale is not None if facts.counts_known is None else facts.counts_known):
        return 1.0
    rows = np.unique(np.rint(np.linspace(0, len(dataset) - 1, BIAS_PATTERNS)).astype(int))
    expected = diffraction_amplitude(dataset.probe, patches[rows])
    expected = expected if dataset.bad_pixels is None else expected * ~dataset.bad_pixels
    scale = dataset.counts_scale
    bias = noise_bias(scale * expected, scale * dataset.diffraction[rows])
    return bias if abs(bias - 1) > BIAS else 1.0


def match_counts_scale(dataset: Dataset, counts_scale: float) -> Dataset:
    """Return a dataset with its amplitudes in the unit of another one, so that equal counts are equal amplitudes.

    The halves of one scan have similar energies. Where these differ by more than ``SAME_LIGHT``, the unit may not be
    counts; a warning is logged and the dataset returned unchanged.

    Parameters
    ----------
    counts_scale : of the other dataset, square root of counts per unit of amplitude
    """
    ratio = dataset.counts_scale / counts_scale
    if not 1 / SAME_LIGHT <= ratio**2 <= SAME_LIGHT:
        logger.warning(
            "the test patterns have %.3g times the energy of the training patterns: each is scaled to its own energy",
            ratio**2,
        )
    if ratio == 1 or not 1 / SAME_LIGHT <= ratio**2 <= SAME_LIGHT:
        return dataset
    scaled = map_rows(dataset.diffraction, lambda part: part * np.float32(ratio), dataset.window_px)
    metadata = replace(dataset.metadata, counts_scale=counts_scale)
    return replace(dataset, diffraction=scaled, probe=dataset.probe * np.float32(ratio), metadata=metadata)


def with_patches(dataset: Dataset) -> Dataset:
    """Return the dataset with ``patches``, lazily extracted from the object where missing and the object is known."""
    if dataset.patches is not None or dataset.object is None:
        return dataset
    return replace(dataset, patches=lazy_patches(dataset.object, dataset.xcoords, dataset.ycoords, dataset.window_px))


def map_rows(array: npt.NDArray[Any] | LazyArray, function: Any, size: int) -> LazyArray:
    """Return a lazy array, (n, size, size), of ``function`` applied to chunks of rows, of the dtype of ``array``."""
    return LazyArray((len(array), size, size), array.dtype, lambda numbers: function(array[numbers]))
