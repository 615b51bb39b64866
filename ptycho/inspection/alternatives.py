"""The usual mistakes in scans, undone one by one to find the one without which probe times object fits better."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Dataset
from ptycho.inspection import displacement
from ptycho.inspection.mismatch import Comparison, Sample, clean_patterns, compare
from ptycho.preparation.resample import mirrored

GAIN = 0.2  # of the squared mismatch beyond noise that an alternative must remove
LEAST = 0.01  # of the squared mismatch, noise included, that it must remove in any case
SIGNIFICANT = 5.0  # standard errors by which it must fit better, pattern by pattern
FEWEST = 4  # patterns of a sample
STEPS = 2  # mistakes at most that are found one after the other
Array = npt.NDArray[Any]


def _both(rows: Array) -> Array:
    return mirrored(mirrored(rows, -1), -2)


PATTERNS: dict[str, Callable[[Array], Array]] = {
    "the patterns transposed": lambda rows: rows.swapaxes(-2, -1),
    "the patterns mirrored along x": lambda rows: mirrored(rows, -1),
    "the patterns mirrored along y": lambda rows: mirrored(rows, -2),
    "the patterns rotated by 180 degrees": _both,
    "the patterns rotated by 90 degrees": lambda rows: mirrored(rows.swapaxes(-2, -1), -2),
    "the patterns rotated by -90 degrees": lambda rows: mirrored(rows.swapaxes(-2, -1), -1),
    "the patterns transposed and rotated by 180 degrees": lambda rows: _both(rows.swapaxes(-2, -1)),
    "DC moved from the corner to the centre (--dc corner)": lambda rows: np.fft.fftshift(rows, (-2, -1)),
}
QUANTITIES = {  # exponent of the patterns
    "the square root of the patterns (--quantity intensity)": 0.5,
    "the square of the patterns (--quantity amplitude)": 2.0,
}
IMAGES: dict[str, Callable[[Array], Array]] = {  # of the probe or the object
    "conjugated": np.conj,
    "mirrored along x": lambda image: np.flip(image, -1),
    "mirrored along y": lambda image: np.flip(image, -2),
    "rotated by 180 degrees": lambda image: np.flip(image, (-2, -1)),
    "transposed": lambda image: image.swapaxes(-2, -1),
}
POSITIONS: dict[str, Callable[[Array, Array, int, int], tuple[Array, Array]]] = {  # of x, y, width, height
    "xcoords and ycoords swapped": lambda x, y, width, height: (y, x),
    "xcoords mirrored (W - x)": lambda x, y, width, height: (width - x, y),
    "ycoords mirrored (H - y)": lambda x, y, width, height: (x, height - y),
    "xcoords and ycoords mirrored": lambda x, y, width, height: (width - x, height - y),
    "xcoords and ycoords swapped and mirrored": lambda x, y, width, height: (width - y, height - x),
}


@dataclass(frozen=True, eq=False)
class Alternative:
    """What must be done to a dataset so that probe times object fits better.

    Parameters
    ----------
    name : in words, such as ``the patterns transposed``
    sample : under these conventions
    comparison : of this sample
    """

    name: str
    sample: Sample
    comparison: Comparison


def alternatives(tried: Sample, dataset: Dataset) -> Iterator[tuple[str, Sample]]:
    """Yield the sample without each of the usual mistakes but shifts and scales of positions, with a description.

    Parameters
    ----------
    dataset : of which the sample is, for patterns beside the sampled ones
    """
    for name, change in PATTERNS.items():
        yield name, tried.with_patterns(change(tried.patterns), change(tried.good))
    for dy, dx in _shifts(tried):
        name = f"the patterns moved by {dy} rows and {dx} columns (DC is expected at [N/2, N/2])"
        yield (
            name,
            tried.with_patterns(np.roll(tried.patterns, (dy, dx), (-2, -1)), np.roll(tried.good, (dy, dx), (0, 1))),
        )
    power = _power(tried)
    for name, exponent in QUANTITIES.items():
        if abs(power * exponent - 1) < abs(power - 1):
            yield name, tried.with_patterns(tried.patterns**exponent)
    for name, change in IMAGES.items():
        yield f"probeGuess {name}", replace(tried, probe=change(tried.probe))
    yield "probeGuess moved to the middle of its window (numpy.fft.fftshift)", _with_probe_shifted(tried)
    if tried.object is None:
        if tried.patches is not None:
            for name, change in IMAGES.items():
                yield f"Y {name}", replace(tried, patches=change(tried.patches))
    else:
        image = tried.object
        for name, change in IMAGES.items():
            yield f"objectGuess {name}", replace(tried, object=change(image))
        height, width = image.shape
        for name, moved_to in POSITIONS.items():
            x, y = moved_to(tried.xcoords, tried.ycoords, width, height)
            yield name, replace(tried, xcoords=x, ycoords=y)
    yield from _orders(tried, dataset)


def _shifts(tried: Sample) -> set[tuple[int, int]]:
    """Return shifts of the patterns, (rows, columns): by a pixel, and the one that correlates best with the model."""
    near = {(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    expected, measured = (np.fft.fft2(array.mean(axis=0)) for array in (tried.expected, tried.patterns))
    correlation = np.fft.ifft2(expected * np.conj(measured)).real
    side = len(correlation)
    row, column = np.unravel_index(correlation.argmax(), correlation.shape)
    best = (int(row) + side // 2) % side - side // 2, (int(column) + side // 2) % side - side // 2
    return (near | {best}) - {(0, 0), (-(side // 2), -(side // 2))}  # the latter is DC in the corner


def _power(tried: Sample) -> float:
    """Return the power of the expected amplitudes that the patterns are: 1 for amplitudes, 2 for intensities.

    It is the slope of their logarithms, weighted by the expected light, of root mean squares over the patterns, which
    shot noise does not bias.
    """
    expected, measured = (np.square(array, dtype=np.float64).mean(axis=0) for array in (tried.expected, tried.patterns))
    lit = (expected > 0) & (measured > 0)
    if lit.sum() < 2:
        return 1.0
    weight = expected[lit] / expected[lit].sum()
    a, b = np.log(expected[lit]), np.log(measured[lit])
    a, b = a - weight @ a, b - weight @ b
    return float(weight @ (a * b) / (weight @ (a * a))) if (weight @ (a * a)) > 0 else 1.0


def _with_probe_shifted(tried: Sample) -> Sample:
    return replace(tried, probe=np.fft.fftshift(tried.probe))


def _orders(tried: Sample, dataset: Dataset) -> Iterator[tuple[str, Sample]]:
    """Yield the sample with the patterns of other rows of the dataset."""
    count = len(dataset)
    others = {
        "the patterns moved to the position before theirs": (tried.rows + 1) % count,
        "the patterns moved to the position after theirs": (tried.rows - 1) % count,
        "the order of the patterns reversed": count - 1 - tried.rows,
    }
    for name, rows in others.items():
        yield name, tried.with_patterns(clean_patterns(dataset, rows, tried.good))


def better(dataset: Dataset, tried: Sample, noise: float) -> list[Alternative]:
    """Return the alternatives that fit better, to be applied one after the other, at most ``STEPS``.

    An alternative counts only if it removes ``GAIN`` of the squared mismatch beyond noise, and fits better by
    ``SIGNIFICANT`` standard errors, pattern by pattern.

    Parameters
    ----------
    tried : sample of the dataset
    noise : mismatch that photon noise explains; 0 where it is unknown
    """
    found: list[Alternative] = []
    current = compare(tried)
    while current is not None and len(found) < STEPS and len(tried.rows) >= FEWEST:
        best = _best(tried, current, dataset, noise)
        if best is None:
            break
        found.append(best)
        tried, current = best.sample, best.comparison
    return found


def _best(tried: Sample, current: Comparison, dataset: Dataset, noise: float) -> Alternative | None:
    """Return the alternative that fits best, if it fits better than the sample does."""
    candidates = _that_fit_better(alternatives(tried, dataset), current, noise)
    if candidates:
        return min(candidates, key=lambda one: one.comparison.relative)
    best: Alternative | None = None
    for one in _that_fit_better(displacement.moved(tried), current, noise):  # a shift before a scale that includes it
        if best is None or is_better(one.comparison, best.comparison, noise):
            best = one
    return best


def _that_fit_better(
    alternatives: Iterator[tuple[str, Sample]], current: Comparison, noise: float
) -> list[Alternative]:
    return [
        Alternative(name, other, found)
        for name, other in alternatives
        if other.fits and (found := compare(other)) is not None and is_better(found, current, noise)
    ]


def is_better(other: Comparison, current: Comparison, noise: float) -> bool:
    """Tell whether another comparison has a smaller mismatch, by enough and significantly."""
    difference = current.residuals - other.residuals
    error = float(difference.std(ddof=1)) * np.sqrt(difference.size)
    gain = float(difference.sum())
    least = max(GAIN * (current.relative**2 - noise**2), LEAST * current.relative**2)
    return gain > least and gain > SIGNIFICANT * error
