"""The factor that object and probe share: ptychography leaves it free; the networks start at amplitude 1, phase 0.

An object ``c * O`` under the probe ``P / c`` diffracts as ``O`` under ``P``. Whatever ``c`` a file comes with, the
object is divided by its own level where the scan lights it, and the probe is multiplied by it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import ComplexArray, Dataset, FloatArray
from ptycho.data.rows import Rows
from ptycho.data.stitching import illumination
from ptycho.errors import InputError

DARK = 1e-6  # of the object's bright pixels: an amplitude below it is rounding
BRIGHT = 0.99  # share of the light below the amplitude that brighter pixels are counted as
UNCHANGED = 1e-6  # a factor this near to 1 is rounding, and is not divided out again
SAMPLE = 256  # patches that tell the level where the object itself is unknown
NOTE = "lit_factor"  # in the metadata of a dataset: its own factor when it was written, [amplitude, phase in rad]
REMOVED = "removed_factor"  # in the metadata: what was divided out of the first object, likewise

Arrays = dict[str, npt.NDArray[Any]]


def lit_factor(image: ComplexArray, probe: ComplexArray, xcoords: FloatArray, ycoords: FloatArray) -> complex:
    """Return the level of an object where a scan lights it: root mean square amplitude, with the mean phase.

    Both are weighted by the probe's intensity on each pixel, so that an object of level 1 keeps the energy of the
    probe; a few bright pixels do not move them.

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
            f"no position lights a pixel of objectGuess {image.shape}: are xcoords and ycoords pixels of this object?"
        )
    return _mean_level("objectGuess", image[lit], light[lit], float(np.percentile(np.abs(image), 99)))


def _mean_level(name: str, values: ComplexArray, weights: FloatArray, bright: float) -> complex:
    """Return the weighted level of pixels, (n,), where they are not dark beside ``bright``."""
    amplitude = np.abs(values).astype(np.float64)
    order = np.argsort(amplitude)
    summed = np.cumsum(weights[order])
    most = float(amplitude[order][np.searchsorted(summed, BRIGHT * summed[-1])])
    clipped = np.minimum(amplitude, most)
    level = float(np.sqrt(np.average(clipped**2, weights=weights)))
    if not level > DARK * bright:
        raise InputError(
            f"{name} is dark wherever the scan lights it (amplitude {level:.3g}, elsewhere up to {bright:.3g}): "
            "are xcoords and ycoords pixels of this object, x along columns?"
        )
    direction = np.divide(values, amplitude, out=np.zeros(amplitude.shape, np.complex128), where=amplitude > 0)
    mean = complex(np.average(direction * clipped, weights=weights))
    if abs(mean) < DARK * level:  # phases that cancel have no mean
        mean = complex(direction[np.argmax(clipped * weights)])
    return complex(level * np.exp(1j * np.angle(mean)))


def normalized(arrays: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, Any]) -> tuple[Arrays, dict[str, Any]]:
    """Return a file's arrays with the object at level 1 and mean phase 0, and metadata that says what was divided out.

    Values are divided in double precision, so that the same object at another level gives the same numbers. Without
    an object ``Y`` gives the level; without either the level is unknown, and stays. Where there are no patterns,
    nothing fixes the probe's own level: it is brought to a mean square of 1 and mean phase 0, too.

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
    metadata = dict(metadata)
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
    """Return the root mean square of a probe with its mean phase, or where that is undefined, its brightest pixel's."""
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


def _with_removed(metadata: Mapping[str, Any], factor: complex) -> dict[str, Any]:
    total = _complex(metadata.get(REMOVED, (1.0, 0.0))) * factor
    return {**metadata, REMOVED: [abs(total), float(np.angle(total))]}


def _complex(pair: Any) -> complex:
    amplitude, phase = pair
    return complex(amplitude * np.exp(1j * phase))


# datasets of the study -----------------------------------------------------------------------------------


def with_note(dataset: Dataset) -> Dataset:
    """Return a dataset whose metadata says what its factor is, so that a reader can tell whether it was changed.

    Halves of one scan share their level, and each differs from 1 by a little.
    """
    if dataset.object is None:
        return dataset
    factor = lit_factor(dataset.object, dataset.probe, dataset.xcoords, dataset.ycoords)
    return replace(dataset, metadata={**dataset.metadata, NOTE: [abs(factor), float(np.angle(factor))]})


def normalized_dataset(dataset: Dataset) -> Dataset:
    """Return a dataset at the level that it was written with, or where it does not say, at 1 and mean phase 0.

    Its patches are divided as they are read. One without an object is taken to be as it should.
    """
    if dataset.object is None:
        return dataset
    found = lit_factor(dataset.object, dataset.probe, dataset.xcoords, dataset.ycoords)
    factor = np.complex128(found / _complex(dataset.metadata.get(NOTE, (1.0, 0.0))))
    if abs(factor - 1) < UNCHANGED:
        return dataset
    patches = dataset.patches
    if patches is not None:
        given = patches
        patches = Rows(given.shape, np.dtype(np.complex64), lambda rows: (given[rows] / factor).astype(np.complex64))
    return replace(
        dataset,
        object=(dataset.object / factor).astype(np.complex64),
        patches=patches,
        probe=(dataset.probe * factor).astype(np.complex64),
        metadata=_with_removed(dataset.metadata, complex(factor)),
    )
