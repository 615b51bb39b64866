"""How far the diffraction of an object under a probe is from the measured amplitudes: R-factor and relative l2 norm."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import ComplexArray, Dataset, FloatArray
from ptycho.physics import diffraction
from ptycho.physics.patches import extract_patches
from ptycho.physics.stitching import light_share

R_FACTOR_PATTERNS = 256  # at most, spread evenly over the scan
DARK = 1e-6  # of the largest expected energy; less is rounding
BRIGHT_TIMES = 2.0  # the energy that the model predicts: overexposed, or a hot pixel
BRIGHT_TIMES_ALONE = 4.0  # the median energy, where there is no model: windows of an object absorb differently
DIM = 0.1  # of the usual energy; less is a lost beam
DEVIATIONS = 10.0  # median absolute deviations, more than 6 standard deviations of Gaussian noise
HALF = 0.5  # of what distinguishes the patterns; a model that explains less is not that of these patterns
BY_CHANCE = 4.0  # standard deviations of the slope in other orders
NOTICEABLE = 1.5  # times the mismatch due to photon noise, above which its cause is looked for
LIT_SHARE = 0.99  # of a pattern's light that must fall on covered pixels


def r_factor(image: ComplexArray, dataset: Dataset) -> float:
    """Return the R-factor of an object, as crystallographers define it: 0 where it explains the patterns exactly.

    ``sum | |FFT(probe * patches)| / N - diffraction | / sum diffraction`` over up to ``R_FACTOR_PATTERNS`` patterns,
    bad pixels excluded. Photon noise sets a lower bound. NaN where the patterns are dark.

    Parameters
    ----------
    image : (H, W) complex, on which every window lies
    dataset : diffraction, positions, probe and bad pixels
    """
    sample = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), R_FACTOR_PATTERNS)).astype(int))
    measured: FloatArray = dataset.diffraction[sample]
    patches = extract_patches(image, dataset.xcoords[sample], dataset.ycoords[sample], dataset.window_px)
    difference = np.abs(diffraction.diffraction_amplitude(dataset.probe, patches) - measured)
    if dataset.bad_pixels is not None:
        difference, measured = difference[:, ~dataset.bad_pixels], measured[:, ~dataset.bad_pixels]
    light = float(measured.sum(dtype=float))
    return float(difference.sum(dtype=float)) / light if light else float("nan")


def covered_r_factors(images: Iterable[ComplexArray], dataset: Dataset, covered: npt.NDArray[np.bool_]) -> list[float]:
    """Return :func:`r_factor` of each image, of the patterns whose light falls on covered pixels.

    Parameters
    ----------
    images : (H, W) complex each; pixels that are not covered may hold anything
    covered : (H, W) bool

    Returns
    -------
    list : NaN for an image that is not finite on covered pixels, and for all where there is no such pattern
    """
    share = light_share(dataset.xcoords, dataset.ycoords, dataset.probe, covered)
    inside = np.flatnonzero(share >= LIT_SHARE)
    if not inside.size:
        return [float("nan") for _ in images]
    lit = dataset.select(inside)
    return [
        r_factor(np.where(covered, image, image[covered].mean()), lit)
        if np.isfinite(image[covered]).all()
        else float("nan")
        for image in images
    ]


@dataclass(frozen=True)
class Agreement:
    """Inner products of expected and measured amplitudes, summed over patterns, and the relative l2 misfits.

    Parameters
    ----------
    cross : <expected, measured>
    expected_energy, measured_energy : <expected, expected> and <measured, measured>; above 0 for the properties
    """

    cross: float
    expected_energy: float
    measured_energy: float

    @property
    def best_factor(self) -> float:
        """The factor on the probe that minimizes the misfit."""
        return float(self.cross / self.expected_energy)

    @property
    def relative_misfit(self) -> float:
        """``||expected - measured|| / ||measured||``."""
        squared = self.expected_energy - 2 * self.cross + self.measured_energy
        return float(np.sqrt(max(squared, 0) / self.measured_energy))

    @property
    def fitted_misfit(self) -> float:
        """``||best_factor * expected - measured|| / ||measured||``."""
        return float(np.sqrt(max(1 - self.cross**2 / (self.expected_energy * self.measured_energy), 0)))


def usual_energy(energy: FloatArray, expected: FloatArray | None = None) -> npt.NDArray[np.bool_]:
    """Tell which patterns have a usual energy, (n,) bool; the others are overexposed, nearly dark or hold a hot pixel.

    Where the expected energies are known, their ratio to the measured ones is judged, else the energy itself, which
    also varies with the absorption. Usual is what is within ``BRIGHT_TIMES``, or ``BRIGHT_TIMES_ALONE``, times the
    median, or more than a tenth of it, or within ``DEVIATIONS`` of it, so that photon noise excludes nothing.

    Parameters
    ----------
    energy, expected : (n,) summed squares of the measured and of the expected amplitudes
    """
    lit = np.ones(energy.shape, bool) if expected is None else expected > DARK * expected.max()
    if not (lit.any() and np.median(energy[lit]) > 0):
        return np.ones(energy.shape, bool)
    ratio = np.divide(energy, 1.0 if expected is None else expected, out=np.ones(energy.shape), where=lit)
    median = float(np.median(ratio[lit]))
    spread = DEVIATIONS * float(np.median(np.abs(ratio[lit] - median)))
    times = BRIGHT_TIMES_ALONE if expected is None else BRIGHT_TIMES
    bright = (ratio - median > max((times - 1) * median, spread)) & (energy > times * np.median(energy[lit]))
    dim = median - ratio > max((1 - DIM) * median, spread)
    return ~(lit & (bright | dim))


def pattern_residuals(expected: FloatArray, measured: FloatArray) -> tuple[float, npt.NDArray[np.float64]] | None:
    """Return the factor on the expected amplitudes that fits best, and the misfit of each pattern with it.

    Parameters
    ----------
    expected, measured : (k, N, N) amplitudes

    Returns
    -------
    factor : minimizes the summed misfit
    residuals : (k,) ``||factor * expected - measured||**2`` over the energy of all measured patterns
    None where either is dark, or no positive factor fits
    """
    own, both, light = (
        np.einsum("nij,nij->n", a, b, dtype=np.float64)
        for a, b in ((expected, expected), (expected, measured), (measured, measured))
    )
    if not (own.sum() > 0 and light.sum() > 0 and both.sum() > 0):
        return None
    factor = float(both.sum() / own.sum())
    return factor, np.maximum(factor**2 * own - 2 * factor * both + light, 0) / light.sum()


@dataclass(frozen=True, eq=False)
class OrderTest:
    """Whether patterns belong to their positions: a comparison with the same patterns in other orders.

    Parameters
    ----------
    slope : regression of the differences between measured patterns on those between expected ones: about 1 where the
        model is right, whatever the noise, and 0 where the patterns have nothing to do with their positions; NaN where
        all expected patterns are equal
    other_slopes : (k - 1,) the same in other orders: the distribution of ``slope`` by chance
    other_residual : mean in other orders of the summed residuals of :func:`pattern_residuals`
    """

    slope: float
    other_slopes: npt.NDArray[np.float64]
    other_residual: float

    @classmethod
    def of(cls, expected: FloatArray, measured: FloatArray, factor: float) -> "OrderTest":
        """Compare amplitudes, (k, N, N) both, k at least 2; other orders are cyclic: pattern i at position i + r.

        Parameters
        ----------
        factor : on the expected amplitudes, see :func:`pattern_residuals`
        """
        count = len(measured)
        a, b = (array.reshape(count, -1).astype(np.float64) for array in (expected, measured))
        own, light = factor**2 * np.square(a).sum(), np.square(b).sum()
        products = factor * (a @ b.T)
        orders = np.add.outer(np.arange(count), np.arange(count)) % count  # the given one first
        sums = products[np.arange(count), orders].sum(axis=1)
        mean = factor * a.mean(axis=0)
        spread = own - count * np.square(mean).sum()
        slopes = np.full(count, np.nan)
        if spread > 1e-9 * own:
            slopes = (sums - count * (mean @ b.mean(axis=0))) / spread
        return cls(float(slopes[0]), slopes[1:], float((own - 2 * sums[1:].mean() + light) / light))

    def verdict(self, relative: float, noise: float) -> Literal["unrelated", "poor"] | None:
        """Judge a model: ``unrelated`` to the order of the patterns, ``poor`` if it explains less than half, or None.

        Parameters
        ----------
        relative : ``||expected - measured|| / ||measured||``, the scale fitted
        noise : the same due to photon noise alone, 0 where unknown
        """
        by_chance = BY_CHANCE * float(np.std(self.other_slopes))
        if by_chance < HALF and self.slope < by_chance:
            return "unrelated"
        beyond, others = relative**2 - noise**2, self.other_residual - noise**2
        poor = self.slope + by_chance < HALF or (relative > NOTICEABLE * noise > 0 and beyond > HALF * others)
        return "poor" if poor else None
