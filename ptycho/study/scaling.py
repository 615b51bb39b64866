"""A scaling law of the error, error(n) = a + b n**-c of n training images, with intervals by profile likelihood.

The trials of a size count with the inverse of their mean as weight, as their spread grows with the error. The 95 %
interval of any figure of the law (a parameter, the curve, the images needed) is its range over all parameters whose sum
of squares is within the limit that an F distribution sets. Formulas and references: ``docs/statistics.md``.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from ptycho.study.resampling import Values

MIN_SIZES = 4  # for three parameters and one degree of freedom to contradict them
EXPONENTS = (0.01, 3.0)  # bounds of c: slower or faster decays cannot be told from a line or a step
STARTS = (0.1, 0.3, 1.0)  # of c, beside the best of a grid
LEVEL = 0.95
GRID = 200  # values of c
ANGLES = 72  # directions of (a, b) for each of them
ENOUGH = 60  # accepted values of c from which the grid is fine enough
Estimate = tuple[float, float, float]  # estimate, low, high


@dataclass(frozen=True)
class Means:
    """The means of the trials of each size, and what a weighted fit needs of their spread.

    Parameters
    ----------
    sizes : (s,), training images, ascending
    means : (s,), errors, positive
    counts : (s,), trials
    within : sum over all trials of the squared differences from the mean of their size, over this mean
    """

    sizes: Values
    means: Values
    counts: Values
    within: float

    @classmethod
    def of(cls, images: Values, errors: Values) -> "Means":
        """Return the means of errors (n,), positive, of trials with ``images`` (n,) training images."""
        sizes, place, counts = np.unique(images, return_inverse=True, return_counts=True)
        means = np.bincount(place, errors) / counts
        return cls(sizes.astype(float), means, counts.astype(float), float(np.sum((errors / means[place] - 1) ** 2)))

    @property
    def weights(self) -> Values:
        """Weights of the squared residuals of the means, (s,)."""
        return self.counts / self.means**2

    @property
    def scale(self) -> float:
        """The geometric mean of the sizes, in units of which the images are counted in the fit."""
        return float(np.exp(np.mean(np.log(self.sizes))))

    @property
    def freedom(self) -> int:
        """Degrees of freedom that three parameters leave."""
        return int(self.counts.sum()) - 3


@dataclass(frozen=True)
class _Profile:
    """Best a and b, neither negative, for each of given exponents, and the ellipses of equal sums of squares.

    Parameters
    ----------
    c : (k,)
    a, b : (k,), without bounds; the images count in units of :attr:`Means.scale`
    gram : (3, k), second derivatives of half the sum of squares: by a twice, by a and b, by b twice
    best : (3, k), a, b within the bounds and the sum of squares there
    least : (k,), the sum of squares at (a, b)
    """

    c: Values
    a: Values
    b: Values
    gram: Values
    best: Values
    least: Values

    @classmethod
    def of(cls, data: Means, c: Values) -> "_Profile":
        """Return the profile of exponents c, (k,)."""
        g = (data.sizes / data.scale) ** -c[:, None]
        w, y = data.weights, data.means
        gram = np.stack([np.full(len(c), w.sum()), g @ w, g**2 @ w])
        right = np.stack([np.full(len(c), w @ y), g @ (w * y)])
        det = gram[0] * gram[2] - gram[1] ** 2
        a, b = (gram[2] * right[0] - gram[1] * right[1]) / det, (gram[0] * right[1] - gram[1] * right[0]) / det
        flat, free = right[0] / gram[0], right[1] / gram[2]  # best a without b, best b without a
        held_a, held_b = np.where(b < 0, flat, np.where(a < 0, 0, a)), np.where(b < 0, 0, np.where(a < 0, free, b))

        def squares(a: Values, b: Values) -> Values:
            """Return the sum of squares of all trials."""
            return data.within + ((a[:, None] + b[:, None] * g - y) ** 2) @ w

        return cls(c, a, b, gram, np.stack([held_a, held_b, squares(held_a, held_b)]), squares(a, b))

    def within(self, limit: float) -> Values:
        """Return a, b, c, (3, m), where the sum of squares is ``limit``, or is below it and a or b at its bound."""
        keep = self.best[2] <= limit
        saa, sab, sbb = self.gram[:, keep, None]
        a, b, c = self.a[keep, None], self.b[keep, None], self.c[keep, None]
        radius = np.sqrt(np.maximum(limit - self.least[keep, None], 0))
        angle = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
        across = np.sqrt(sbb - sab**2 / saa)
        db = radius * np.sin(angle) / across
        da = (radius * np.cos(angle) - sab / np.sqrt(saa) * db) / np.sqrt(saa)
        found = [np.stack(np.broadcast_arrays(a + da, b + db, c))]
        for on_axis in (0, 1):  # where the ellipse crosses a = 0, and b = 0
            other, own = ((sbb, saa), (saa, sbb))[on_axis]
            start, offset = ((b, a), (a, b))[on_axis]
            # s (x - start)**2 + 2 sab (x - start) (0 - offset) + own offset**2 = radius**2
            half = sab * -offset / other
            root = half**2 - (own * offset**2 - radius**2) / other
            for sign in (-1, 1):
                x = np.where(root >= 0, start - half + sign * np.sqrt(np.maximum(root, 0)), -1.0)
                found.append(np.stack([0 * x, x, c] if on_axis == 0 else [x, 0 * x, c]))
        points = np.concatenate([part.reshape(3, -1) for part in found], axis=1)
        return points[:, (points[:2] >= 0).all(axis=0)]


@dataclass(frozen=True)
class Law:
    """A fitted scaling law, the images counted in units of ``data.scale``.

    Parameters
    ----------
    data : what it was fitted to
    a, b, c : estimates
    accepted : (3, m), a, b, c on the border of the 95 % region of each single figure; the estimate first
    squares : the sum of squares at the estimate
    flat : whether a constant error, b = 0, is in this region
    """

    data: Means
    a: float
    b: float
    c: float
    accepted: Values
    squares: float
    flat: bool

    def parameters(self) -> dict[str, Estimate]:
        """Return a, b (in the unit of the error) and c, each with its interval."""
        a, b, c = self.accepted
        values = {"a": a, "b": b * self.data.scale**c, "c": c}
        return {name: _with_range(value) for name, value in values.items()}

    def curve(self, images: Values) -> Values:
        """Return the error at numbers of images (k,): (3, k), estimate, low and high."""
        a, b, c = self.accepted[:, :, None]
        drawn = a + b * (np.asarray(images, float) / self.data.scale) ** -c
        return np.stack([drawn[0], drawn.min(axis=0), drawn.max(axis=0)])

    def images_for(self, error: float) -> Estimate:
        """Return the images at which the error falls to a value: infinite where it never does."""
        a, b, c = self.accepted
        with np.errstate(divide="ignore", over="ignore"):
            needed = np.where(error > a, self.data.scale * (b / np.maximum(error - a, 1e-300)) ** (1 / c), np.inf)
        return _with_range(needed)

    @property
    def spread(self) -> float:
        """Standard deviation of a trial over the error, residual of the fit."""
        return float(np.sqrt(self.squares / self.data.freedom))

    @property
    def lack_of_fit(self) -> float:
        """P-value of the means lying on a law, by their distances from it and the spread of the trials (F test)."""
        sizes, trials = len(self.data.sizes), int(self.data.counts.sum())
        if trials == sizes or sizes <= 3 or not self.data.within:
            return float("nan")
        ratio = (self.squares - self.data.within) / (sizes - 3) / (self.data.within / (trials - sizes))
        return float(stats.f.sf(max(ratio, 0.0), sizes - 3, trials - sizes))


def _with_range(values: Values) -> Estimate:
    """Return the first of some values, the smallest and the largest."""
    return float(values[0]), float(values.min()), float(values.max())


def unfit(images: Values, errors: Values, least_sizes: int = MIN_SIZES) -> str:
    """Return why no law can be fitted to trials; empty where one can. Errors must be finite."""
    sizes = np.unique(images)
    if len(sizes) < least_sizes:
        return f"{len(sizes)} size{'s' * (len(sizes) != 1)}, and {least_sizes} are needed"
    if images.size < 4:
        return f"{images.size} trials, and 4 are needed"
    if not all((errors[images == size] > 0).any() for size in sizes) or (errors < 0).any():
        return "errors of 0 at a size"
    return ""


def fit(images: Values, errors: Values) -> Law:
    """Fit the law to trials for which :func:`unfit` has nothing to say.

    Parameters
    ----------
    images, errors : (n,), training images and error of each trial
    """
    data = Means.of(images, errors)
    exponents = np.geomspace(*EXPONENTS, GRID)
    profile = _Profile.of(data, exponents)
    a, b, c = _least_squares(data, profile)
    squares = float(_squares(data, a, b, c))
    limit = squares * (1 + stats.f.ppf(LEVEL, 1, data.freedom) / data.freedom) + 1e-12 * data.within
    for _ in range(8):  # until enough exponents are accepted
        inside = np.flatnonzero(profile.best[2] <= limit)
        if len(inside) >= ENOUGH:
            break
        place = inside if len(inside) else np.array([np.argmin(np.abs(profile.c - c))])
        low, high = profile.c[max(place[0] - 1, 0)], profile.c[min(place[-1] + 1, len(profile.c) - 1)]
        profile = _Profile.of(data, np.geomspace(low, high, GRID))
    accepted = np.concatenate([[[a], [b], [c]], profile.within(limit)], axis=1)
    constant = float(np.average(data.means, weights=data.weights))
    return Law(data, a, b, c, accepted, squares, _squares(data, constant, 0.0, 1.0) <= limit)


def _squares(data: Means, a: float, b: float, c: float) -> float:
    """Return the weighted sum of squares of all trials."""
    return float(data.within + data.weights @ (a + b * (data.sizes / data.scale) ** -c - data.means) ** 2)


def _least_squares(data: Means, profile: _Profile) -> tuple[float, float, float]:
    """Return a, b, c of the least sum of squares of several starts (scipy.optimize.least_squares)."""
    weights, x = np.sqrt(data.weights), data.sizes / data.scale
    places = [int(np.argmin(profile.best[2])), *(int(np.argmin(np.abs(profile.c - start))) for start in STARTS)]
    typical = float(data.means.mean())

    def residuals(p: Values) -> Values:
        """Return the weighted residuals of the means, (s,)."""
        return weights * (p[0] + p[1] * x ** -p[2] - data.means)

    def jacobian(p: Values) -> Values:
        """Return their derivatives, (s, 3)."""
        power = x ** -p[2]
        return weights[:, None] * np.stack([np.ones_like(x), power, -p[1] * np.log(x) * power], axis=1)

    found = [
        optimize.least_squares(
            residuals,
            [profile.best[0, i], profile.best[1, i], profile.c[i]],
            jacobian,
            bounds=([0, 0, EXPONENTS[0]], [np.inf, np.inf, EXPONENTS[1]]),
            x_scale=[typical, typical, 1.0],
            xtol=1e-12,
            ftol=1e-12,
            gtol=1e-12,
        )
        for i in dict.fromkeys(places)
    ]
    a, b, c = min(found, key=lambda result: result.cost).x
    return float(a), float(b), float(c)
