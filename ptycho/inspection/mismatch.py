"""How well probe times object explains the patterns, compared with photon noise and with patterns in another order."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import ComplexArray, Dataset, FloatArray
from ptycho.data.lazy import map_chunks
from ptycho.inspection.measure import spread
from ptycho.physics.diffraction import diffraction_amplitude
from ptycho.physics.misfit import Agreement, pattern_residuals, usual_energy
from ptycho.physics.patches import extract_from_padded, pad_edges
from ptycho.physics.photon_noise import noise_misfit
from ptycho.preparation.normalize import with_patches

COMPARED = 256  # patterns at most that are compared with probe times object
SAMPLED = (12, 64)  # fewest and most patterns of a sample
SAMPLED_PX = 2**20  # pixels of the sampled patterns, between these limits


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
        found = found if some.bad_pixels is None else found * ~some.bad_pixels
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
    """Return the mismatch due to Poisson noise on the model's own patterns, on up to 32 of them."""
    if dataset.patches is None:
        return float("nan")
    patches = dataset.patches[spread(len(dataset), 32)]
    expected = diffraction_amplitude(dataset.probe, patches) * good * dataset.counts_scale
    return noise_misfit(expected)


@dataclass(frozen=True, eq=False)
class Sample:
    """A few patterns of a dataset with what explains them, in memory, under the conventions that are tried.

    Parameters
    ----------
    patterns : (k, N, N) float32, amplitudes, 0 at bad pixels and where they are not finite
    good : (N, N) bool, False for bad pixels
    probe : (N, N) complex
    object : (H, W) complex, or None where only ``patches`` are known
    patches : (k, N, N) complex, used where ``object`` is None
    xcoords, ycoords : (k,) pixels
    rows : (k,) int64, number of each pattern in the dataset
    """

    patterns: npt.NDArray[np.float32]
    good: npt.NDArray[np.bool_]
    probe: ComplexArray
    object: ComplexArray | None
    patches: ComplexArray | None
    xcoords: FloatArray
    ycoords: FloatArray
    rows: npt.NDArray[np.int64]

    @cached_property
    def padded(self) -> npt.NDArray[np.complex64]:
        """The object with its edges repeated, see :func:`ptycho.physics.patches.pad_edges`."""
        assert self.object is not None
        return np.ascontiguousarray(pad_edges(self.object))

    @property
    def fits(self) -> bool:
        """Whether every window lies on the object, or beyond it by at most a pixel."""
        if self.object is None:
            return True
        half = self.probe.shape[0] / 2
        sides = ((self.xcoords, self.object.shape[1]), (self.ycoords, self.object.shape[0]))
        return all(bool(values.min() >= half - 1 and values.max() <= side - half + 1) for values, side in sides)

    @cached_property
    def model(self) -> npt.NDArray[np.float32]:
        """The amplitudes of probe times object, (k, N, N) float32."""
        patches = self.patches
        if self.object is not None:
            patches = extract_from_padded(self.padded, self.xcoords, self.ycoords, self.probe.shape[0])
        assert patches is not None
        return np.asarray(diffraction_amplitude(self.probe.astype(np.complex64), patches))

    @property
    def expected(self) -> npt.NDArray[np.float32]:
        """:attr:`model` with 0 at bad pixels, (k, N, N) float32."""
        return self.model if self.good.all() else self.model * self.good

    def rows_of(self, chosen: npt.NDArray[np.bool_]) -> "Sample":
        """Return the sample with some of its k patterns, (k,) bool."""
        return replace(
            self,
            patterns=self.patterns[chosen],
            patches=None if self.patches is None else self.patches[chosen],
            xcoords=self.xcoords[chosen],
            ycoords=self.ycoords[chosen],
            rows=self.rows[chosen],
        )

    def with_patterns(self, patterns: npt.NDArray[np.float32], good: npt.NDArray[np.bool_] | None = None) -> "Sample":
        """Return the sample with other patterns and, where given, other good pixels; the model is not computed anew."""
        other = replace(self, patterns=patterns, good=self.good if good is None else good)
        other.__dict__["model"] = self.model
        return other


def sample_rows(dataset: Dataset) -> npt.NDArray[np.int64]:
    """Return the numbers of the patterns that are sampled: few where they are large."""
    fewest, most = SAMPLED
    return spread(len(dataset), int(np.clip(SAMPLED_PX // dataset.window_px**2, fewest, most)))


def sample(dataset: Dataset) -> Sample | None:
    """Return a sample of up to ``SAMPLED[1]`` patterns, evenly spread; None where object and patches are unknown.

    Patterns of unusual energy are excluded, see :func:`ptycho.physics.misfit.usual_energy`.
    """
    rows = sample_rows(dataset)
    if dataset.object is None and dataset.patches is None:
        return None
    good = np.ones((dataset.window_px,) * 2, bool) if dataset.bad_pixels is None else ~dataset.bad_pixels
    patches = None if dataset.object is not None or dataset.patches is None else np.asarray(dataset.patches[rows])
    found = Sample(
        patterns=clean_patterns(dataset, rows, good),
        good=good,
        probe=dataset.probe,
        object=dataset.object,
        patches=patches,
        xcoords=dataset.xcoords[rows],
        ycoords=dataset.ycoords[rows],
        rows=rows,
    )
    usual = usual_energy(*(np.einsum("nij,nij->n", a, a, dtype=np.float64) for a in (found.patterns, found.expected)))
    return found if usual.all() else found.rows_of(usual)


def clean_patterns(
    dataset: Dataset, rows: npt.NDArray[np.int64], good: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Return amplitudes, (k, N, N) float32, with 0 for bad pixels, values that are not finite, and negative ones."""
    return (_clean(dataset.diffraction[rows]).clip(0) * good).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Comparison:
    """How well a sample explains its patterns, the probe's scale fitted.

    Parameters
    ----------
    factor : on the probe, fitted
    residuals : (k,) squared mismatch of each pattern; their sum is that of the sample
    """

    factor: float
    residuals: npt.NDArray[np.float64]

    @property
    def relative(self) -> float:
        """``||expected - measured|| / ||measured||``."""
        return float(np.sqrt(self.residuals.sum()))


def compare(tried: Sample) -> Comparison | None:
    """Compare a sample's patterns with those expected; None where either is dark."""
    found = pattern_residuals(tried.expected, tried.patterns * tried.good)
    return None if found is None else Comparison(*found)
