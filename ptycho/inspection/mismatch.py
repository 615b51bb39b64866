"""How well probe times object explains the patterns, as they are and under other conventions."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Dataset, FloatArray
from ptycho.data.lazy import map_chunks
from ptycho.errors import InputError
from ptycho.inspection.measure import spread
from ptycho.physics.diffraction import diffraction_amplitude
from ptycho.physics.misfit import Agreement
from ptycho.preparation.normalize import with_patches
from ptycho.preparation.resample import mirrored

COMPARED = 256  # patterns at most that are compared with probe times object
TRIED = 32  # patterns at most on which other conventions are tried


@dataclass(frozen=True)
class Mismatch:
    """How well ``|FFT(probe * Y)| / N`` explains the amplitudes: ``||expected - measured|| / ||measured||``.

    Parameters
    ----------
    relative : with the probe of the file
    factor : on the probe that minimizes the mismatch
    fitted : with this factor
    noise : of one realization of photon noise on the model's own patterns; NaN where photons are unknown
    n_patterns : number of compared patterns
    """

    relative: float
    factor: float
    fitted: float
    noise: float
    n_patterns: int


def mismatch(dataset: Dataset, photons: bool, at_most: int = COMPARED) -> Mismatch | None:
    """Compare up to ``at_most`` patterns with the model; None where the object is unknown, or all is dark.

    See :class:`ptycho.physics.misfit.Agreement`.
    """
    some = with_patches(dataset.select(spread(len(dataset), at_most)))
    patches = some.patches
    if patches is None:
        return None
    good = 1.0 if some.bad_pixels is None else ~some.bad_pixels

    def products(part: slice) -> npt.NDArray[np.float64]:
        found = _clean(some.diffraction[part])
        expected = (diffraction_amplitude(some.probe, patches[part]) * good).astype(np.float64)
        return np.array([np.vdot(expected, found), np.vdot(expected, expected), np.vdot(found, found)])

    agreement = Agreement(*sum(map_chunks(products, len(some)), np.zeros(3)))
    if not (agreement.expected_energy > 0 and agreement.measured_energy > 0):
        return None
    return Mismatch(
        relative=agreement.relative_misfit,
        factor=agreement.best_factor,
        fitted=agreement.fitted_misfit,
        noise=_noise(some, good) if photons else float("nan"),
        n_patterns=len(some),
    )


def _clean(rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.nan_to_num(rows.astype(np.float64), nan=0, posinf=0, neginf=0)


def _noise(dataset: Dataset, good: npt.NDArray[np.bool_] | float) -> float:
    """Return the mismatch due to Poisson noise on the model's own patterns, on up to ``TRIED`` of them."""
    if dataset.patches is None:
        return float("nan")
    patches = dataset.patches[spread(len(dataset), TRIED)]
    expected = diffraction_amplitude(dataset.probe, patches) * good * dataset.counts_scale
    drawn = np.sqrt(np.random.default_rng(0).poisson(np.minimum(np.square(expected), 1e15)))
    return float(np.linalg.norm(drawn - expected) / np.linalg.norm(drawn)) if drawn.any() else float("nan")


PATTERN_CONVENTIONS: dict[str, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    "the patterns transposed": lambda rows: rows.transpose(0, 2, 1),
    "the patterns mirrored along x": lambda rows: mirrored(rows, -1),
    "the patterns mirrored along y": lambda rows: mirrored(rows, -2),
    "the patterns rotated by 180 degrees": lambda rows: mirrored(mirrored(rows, -1), -2),
    "the patterns rotated by 90 degrees": lambda rows: mirrored(rows.transpose(0, 2, 1), -2),
    "the patterns rotated by -90 degrees": lambda rows: mirrored(rows.transpose(0, 2, 1), -1),
    "DC moved from the corner to the centre (--dc corner)": lambda rows: np.fft.fftshift(rows, (-2, -1)),
    "the square root of the patterns (--quantity intensity)": np.sqrt,
    "the square of the patterns (--quantity amplitude)": np.square,
}
POSITION_CONVENTIONS: dict[str, Callable[[FloatArray, FloatArray, int, int], tuple[FloatArray, FloatArray]]] = {
    "xcoords and ycoords swapped": lambda x, y, width, height: (y, x),
    "xcoords mirrored (W - x)": lambda x, y, width, height: (width - x, y),
    "ycoords mirrored (H - y)": lambda x, y, width, height: (x, height - y),
    "xcoords and ycoords mirrored": lambda x, y, width, height: (width - x, height - y),
}


def conventions(dataset: Dataset) -> dict[str, float]:
    """Return the mismatch, probe fitted, under other conventions, by their description, on up to ``TRIED`` patterns."""
    if dataset.object is None:
        return {}
    some = dataset.select(spread(len(dataset), TRIED))
    rows = _clean(some.diffraction[:]).clip(0)
    fits = {name: _fit(replace(some, diffraction=other(rows))) for name, other in PATTERN_CONVENTIONS.items()}
    height, width = dataset.object.shape
    some = replace(some, patches=None, diffraction=rows)
    for name, moved in POSITION_CONVENTIONS.items():
        x, y = moved(some.xcoords, some.ycoords, width, height)
        try:
            fits[name] = _fit(replace(some, xcoords=x, ycoords=y))
        except InputError:  # windows outside of the object: not the right convention
            continue
    return {name: value for name, value in fits.items() if value is not None}


def _fit(dataset: Dataset) -> float | None:
    found = mismatch(dataset, photons=False)
    return None if found is None else found.fitted
