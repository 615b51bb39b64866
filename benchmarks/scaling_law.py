#!/usr/bin/env python
"""Coverage of the intervals of the scaling law: in how many of made studies the true value lies in its interval.

    python benchmarks/scaling_law.py [--studies 100]

Each study has 4 sizes, 512 to 4,096 images, and 6 trials. The error of a trial is a + b n**-c times a random factor;
its standard deviation, 4 to 12 %, is that of trials of the same size in docs/panel.csv. Two further kinds of noise are
not what the fit assumes: the same absolute spread at all sizes, and heavy tails (Student's t, 4 degrees of freedom).
For comparison, the percentile bootstrap over the trials of each size, 999 resamples, fitted on a grid of exponents.
"""

import argparse

import numpy as np
import numpy.typing as npt
import pandas as pd

from ptycho.study import scaling
from ptycho.study.scaling import EXPONENTS, GRID, Means

SIZES = np.array([512.0, 1024, 2048, 4096])
TRIALS = 6
RESAMPLES = 999
NOISES = ("relative", "absolute", "heavy tails")
Values = npt.NDArray[np.float64]


def true_law(rng: np.random.Generator) -> tuple[float, float, float]:
    """Return a, b, c: an error of 0.1 to 0.4 at 512 images, of which up to 60 % are the limit a; c from 0.3 to 1."""
    first, share, c = rng.uniform(0.1, 0.4), rng.uniform(0, 0.6), rng.uniform(0.3, 1)
    return first * share, first * (1 - share) * SIZES[0] ** c, c


def trials(law: tuple[float, float, float], noise: str, rng: np.random.Generator) -> tuple[Values, Values]:
    """Return images and errors of all trials of a study."""
    images = np.repeat(SIZES, TRIALS)
    error, spread = law[0] + law[1] * images ** -law[2], rng.uniform(0.04, 0.12)
    draws = rng.normal(size=images.size)
    if noise == "heavy tails":
        draws = rng.standard_t(4, images.size) / np.sqrt(2)  # of unit variance
    scale = np.full(images.size, error.mean()) if noise == "absolute" else error
    return images, np.maximum(error + spread * scale * draws, 1e-3)


def figures(law: tuple[float, float, float]) -> dict[str, float]:
    """Return the true values that the intervals should hold."""
    a, b, c = law
    return {"a": a, "b": b, "c": c, "error at 2,048": a + b * 2048**-c, "forecast, 8,192": a + b * 8192**-c}


def profile_intervals(images: Values, errors: Values) -> dict[str, tuple[float, float]]:
    """Return the intervals that a study reports."""
    law = scaling.fit(images, errors)
    found = {name: (low, high) for name, (_, low, high) in law.parameters().items()}
    band = law.curve(np.array([2048.0, 8192]))
    return found | {name: (band[1, i], band[2, i]) for i, name in enumerate(("error at 2,048", "forecast, 8,192"))}


def bootstrap_intervals(images: Values, errors: Values, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Return percentile bootstrap intervals, all resamples fitted at once."""
    data = Means.of(images, errors)
    by_size = errors.reshape(len(SIZES), TRIALS)
    rows = rng.integers(TRIALS, size=(RESAMPLES, len(SIZES), TRIALS))
    y = np.take_along_axis(by_size[None], rows, axis=2).mean(axis=2)  # (resamples, sizes)
    c = np.geomspace(*EXPONENTS, GRID)[:, None, None]
    g = (data.sizes / data.scale) ** -c  # (exponents, 1, sizes)
    w = TRIALS / y**2
    s1, sg, sgg, sy, sgy = w.sum(-1), (w * g).sum(-1), (w * g**2).sum(-1), (w * y).sum(-1), (w * g * y).sum(-1)
    det = s1 * sgg - sg**2
    a, b = (sgg * sy - sg * sgy) / det, (s1 * sgy - sg * sy) / det
    a, b = np.where(b < 0, sy / s1, np.where(a < 0, 0, a)), np.where(b < 0, 0, np.where(a < 0, sgy / sgg, b))
    squares = (w * (a[..., None] + b[..., None] * g - y) ** 2).sum(-1)
    best = squares.argmin(axis=0)
    a, b = (np.take_along_axis(v, best[None], axis=0)[0] for v in (a, b))
    c = c[best, 0, 0]
    drawn = {"a": a, "b": b * data.scale**c, "c": c}
    for name, size in (("error at 2,048", 2048), ("forecast, 8,192", 8192)):
        drawn[name] = a + b * (size / data.scale) ** -c
    return {name: tuple(np.quantile(values, [0.025, 0.975])) for name, values in drawn.items()}


def main() -> None:
    """Print a table: studies, of those made, whose interval holds the true value."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = []
    for noise in NOISES:
        held: dict[str, list[dict[str, bool]]] = {"profile likelihood": [], "percentile bootstrap": []}
        for study in range(arguments.studies):
            rng = np.random.default_rng([arguments.seed, NOISES.index(noise), study])
            law = true_law(rng)
            data = trials(law, noise, rng)
            found = (profile_intervals(*data), bootstrap_intervals(*data, rng))
            for method, intervals in zip(held, found, strict=True):
                held[method].append(
                    {name: intervals[name][0] <= true <= intervals[name][1] for name, true in figures(law).items()}
                )
        rows += [
            {"noise": noise, "interval": method} | pd.DataFrame(told).sum().to_dict() for method, told in held.items()
        ]
    print(f"true value in its 95 % interval, of {arguments.studies} studies:")
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
