"""What photon noise does to amplitudes, the square roots of counts: their mean, and the misfit that it leaves."""

import functools

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import FloatArray

MANY = 40.0  # photons, from which the asymptotic series of the mean root is exact to 1e-6
LARGEST = 1e15  # expected photons of a pixel, which numpy's Poisson generator can draw


@functools.cache
def _table() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return roots of few expected photons, and the mean roots of Poisson counts at each."""
    from scipy import stats

    counts, roots = np.arange(200), np.linspace(0, np.sqrt(MANY), 400)
    return roots, stats.poisson.pmf(counts, np.square(roots)[:, None]) @ np.sqrt(counts)


def mean_root(photons: FloatArray) -> npt.NDArray[np.float64]:
    """Return the mean of the square root of Poisson counts: below the root of their mean, as noise is not symmetric.

    Parameters
    ----------
    photons : expected counts, 0 or more, any shape
    """
    roots, few = _table()
    root = np.sqrt(np.asarray(photons, np.float64))
    inverse = 1 / np.maximum(np.square(root), MANY)
    many = root * (1 - inverse / 8 - 7 * inverse**2 / 128)
    return np.where(root < roots[-1], np.interp(root, roots, few), many)


def noise_bias(expected: FloatArray, measured: FloatArray) -> float:
    """Return how many times too small a least-squares fit of amplitudes to noisy ones is: 1 without noise.

    With the factor of :class:`ptycho.physics.misfit.Agreement` times the returned one, noise of the model itself
    would lead to the same least-squares factor. At 1e3 photons in 64 x 64 pixels it is 1.5.

    Parameters
    ----------
    expected, measured : (k, N, N) amplitudes in roots of photons, 0 at bad pixels
    """
    from scipy import optimize

    model = expected.astype(np.float64)
    own, both = float(np.vdot(model, model)), float(np.vdot(model, measured))
    if not (own > 0 and both > 0):
        return 1.0
    fitted = both / own

    def excess(times: float) -> float:
        return float(np.vdot(model, mean_root(np.square(times * fitted * model)))) - both

    above = 2.0
    while excess(above) < 0:
        above *= 2
    return float(optimize.brentq(excess, 1.0, above, rtol=1e-9)) if excess(1.0) < 0 else 1.0


def noise_misfit(expected: FloatArray) -> float:
    """Return the relative l2 misfit due to Poisson noise on amplitudes in roots of photons; NaN where none is drawn."""
    drawn = np.sqrt(np.random.default_rng(0).poisson(np.minimum(np.square(expected, dtype=np.float64), LARGEST)))
    return float(np.linalg.norm(drawn - expected) / np.linalg.norm(drawn)) if drawn.any() else float("nan")
