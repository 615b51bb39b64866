"""Measurements of patterns, positions, probe and object, which :mod:`ptycho.inspection.report` puts into words.

Patterns are examined in chunks, at most ``EXAMINED`` of them, spread evenly over the file.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import ComplexArray, Dataset, FloatArray, Reconstruction
from ptycho.data.lazy import map_chunks
from ptycho.data.metadata import Metadata
from ptycho.inspection.pixels import at_type_maximum, hot_pixels, narrowest_spot
from ptycho.physics.diffraction import far_field

EXAMINED = 1000  # patterns at most, whose values represent the rest
BRIGHTEST = 64  # pixels of a pattern kept to detect saturation
ENERGY_SHARE = 0.9  # of the probe, within its diameter
LIT_COUNTS = 500  # around a pixel, over all patterns, above which a pixel at 0 counts as dead
ALIKE = 0.6  # correlation above which the mean pattern and the probe's far field show the same beam
SAME_PX = 0.01  # positions closer than this are repetitions of one position
GRID_CELLS = 4e6  # of the grid on which the area is measured
WHOLE_BELOW = 1e4  # counts up to which float32 amplitudes distinguish whole numbers from others


def spread(count: int, at_most: int) -> npt.NDArray[np.int64]:
    """Return up to ``at_most`` of ``count`` row numbers, (k,) int64, evenly spread, first and last included."""
    return np.unique(np.rint(np.linspace(0, count - 1, min(count, at_most))).astype(np.int64))


def number(value: float) -> str:
    """Return a number with four digits, large and small ones in scientific notation: ``9.974e8``."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.0f}" if abs(value) >= 9999.5 else f"{value:.4g}"
    mantissa, power = f"{value:.3e}".split("e")
    return f"{mantissa}e{int(power)}"


@dataclass(frozen=True, eq=False)
class Patterns:
    """Values of some patterns, in counts where the file states ``counts_scale``; bad pixels excluded.

    Parameters
    ----------
    index : (k,) int64, row numbers of the examined patterns
    counts : (k,) float64, summed over each pattern
    mean : (N, N) float64, mean counts of each pixel
    brightest : (k, b) float64, the highest counts of each pattern
    amplitude : smallest and largest finite value of ``diffraction``
    dark_share : fraction of good pixels that are 0
    not_finite, negative : number of patterns with NaN or infinite values, and with negative ones; both count as 0
    hot : (N, N) int64, number of patterns in which a pixel is hot, see :mod:`ptycho.inspection.pixels`
    whole : whether nearly all counts are whole numbers, as photons are; None where too few are small enough to decide
    """

    index: npt.NDArray[np.int64]
    counts: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    brightest: npt.NDArray[np.float64]
    amplitude: tuple[float, float]
    dark_share: float
    not_finite: int
    negative: int
    hot: npt.NDArray[np.int64]
    whole: bool | None

    @property
    def suspects(self) -> npt.NDArray[np.bool_]:
        """Pixels, (N, N), that are hot in a pattern, or always at the largest value of an integer type."""
        return (self.hot > 0) | at_type_maximum(self.mean)[0]

    @property
    def largest(self) -> float:
        """The highest count of a pixel."""
        return float(self.brightest.max())


def survey_patterns(dataset: Dataset, at_most: int = EXAMINED) -> Patterns:
    """Examine the values of up to ``at_most`` patterns, evenly spread over the dataset."""
    index = spread(len(dataset), at_most)
    good = np.ones((dataset.window_px,) * 2, bool) if dataset.bad_pixels is None else ~dataset.bad_pixels
    spot = narrowest_spot(dataset.probe)

    def examine(part: slice) -> Patterns:
        return _examine(index[part], dataset.diffraction[index[part]], good, dataset.counts_scale, spot)

    found = list(map_chunks(examine, index.size))
    weights = [part.index.size / index.size for part in found]
    decided = [part.whole for part in found if part.whole is not None]
    return Patterns(
        index=index,
        counts=np.concatenate([part.counts for part in found]),
        mean=sum((w * part.mean for w, part in zip(weights, found, strict=True)), np.zeros(good.shape)),
        brightest=np.concatenate([part.brightest for part in found]),
        amplitude=(min(part.amplitude[0] for part in found), max(part.amplitude[1] for part in found)),
        dark_share=sum(w * part.dark_share for w, part in zip(weights, found, strict=True)),
        not_finite=sum(part.not_finite for part in found),
        negative=sum(part.negative for part in found),
        hot=sum((part.hot for part in found), np.zeros(good.shape, np.int64)),
        whole=all(decided) if decided else None,
    )


def _examine(
    index: npt.NDArray[np.int64], rows: npt.NDArray[Any], good: npt.NDArray[np.bool_], scale: float, spot: float
) -> Patterns:
    finite = np.isfinite(rows)
    clean = np.where(finite, rows, 0).astype(np.float64)
    counts = np.square(np.maximum(clean, 0) * scale) * good
    flat = counts[:, good]
    top = min(BRIGHTEST, flat.shape[1])
    return Patterns(
        index=index,
        counts=flat.sum(axis=1),
        mean=counts.mean(axis=0),
        brightest=np.partition(flat, -top, axis=1)[:, -top:],
        amplitude=(float(clean[:, good].min()), float(clean[:, good].max())),
        dark_share=float((flat == 0).mean()),
        not_finite=int((~finite).any(axis=(1, 2)).sum()),
        negative=int((clean < 0).any(axis=(1, 2)).sum()),
        hot=hot_pixels(counts, spot).sum(axis=0),
        whole=_whole(flat),
    )


def _whole(counts: npt.NDArray[np.float64]) -> bool | None:
    """Tell whether counts are whole numbers; of uniform fractions only 2 % are within 0.01 of one."""
    some = counts[(counts > 0.5) & (counts < WHOLE_BELOW)]
    return float((np.abs(some - np.rint(some)) < 0.01).mean()) > 0.9 if some.size >= 16 else None


def in_photons(metadata: Metadata, whole: bool | None) -> bool:
    """Tell whether counts are photons: simulated, read as counts, stated by ``counts_scale``, or whole numbers."""
    read = metadata.last_step("read")
    if read is None:
        return bool(whole) or metadata.last_step("simulate") is not None or metadata.counts_scale is not None
    return bool(whole) or read.parameters.get("quantity") == "counts"


def saturated_share(brightest: npt.NDArray[np.float64]) -> float:
    """Return the fraction of patterns whose brightest pixel is at the saturation value; 0 where there is none.

    In the tail of true counts fewer pixels have the largest value than the next lower ones; a saturated detector
    accumulates all higher counts at the largest value.

    Parameters
    ----------
    brightest : (k, b) the highest counts of each pattern
    """
    levels: list[int] = []
    rest = brightest.ravel()
    while rest.size and len(levels) < 3:
        top = rest > rest.max() * (1 - 1e-5)  # float32 amplitudes resolve counts to 1e-7
        levels.append(int(top.sum()))
        rest = rest[~top]
    most = brightest.max()
    if most <= 0 or levels[0] < 5 or levels[0] <= 2 * max(levels[1:], default=0):
        return 0.0
    return float((brightest > most * (1 - 1e-5)).any(axis=1).mean())


def dead_pixels(patterns: Patterns, bad_pixels: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
    """Return the pixels, (N, N) bool, that are always 0 although their neighbours are not, and are not marked as bad.

    The neighbours need more than ``LIT_COUNTS`` counts over all patterns, so that neither chance nor the edge of the
    light explains a pixel at 0.
    """
    from scipy import ndimage

    around = ndimage.median_filter(patterns.mean, size=5, mode="nearest")  # 5: finds two adjacent dead columns, too
    dead = (patterns.mean == 0) & (around * patterns.index.size > LIT_COUNTS)
    return dead if bad_pixels is None else dead & ~bad_pixels


def beam_shift(mean: FloatArray, probe: ComplexArray) -> tuple[int, int]:
    """Return the shift of the mean pattern from the probe's far field, (rows, columns) in pixels.

    It maximizes the circular cross-correlation of the two amplitudes; N/2 along both axes is DC in the corner. (0, 0)
    where the correlation is too weak to be conclusive.

    Parameters
    ----------
    mean : (N, N) mean counts
    probe : (N, N) complex
    """
    expected, found = np.abs(far_field(probe)), np.sqrt(mean)
    expected, found = expected - expected.mean(), found - found.mean()
    correlation = np.fft.ifft2(np.fft.fft2(found) * np.conj(np.fft.fft2(expected))).real
    if correlation.max() <= ALIKE * np.linalg.norm(expected) * np.linalg.norm(found):
        return 0, 0
    row, column = np.unravel_index(correlation.argmax(), mean.shape)
    half = mean.shape[0] // 2
    return (int(row) + half) % (2 * half) - half, (int(column) + half) % (2 * half) - half


def distinct(xcoords: FloatArray, ycoords: FloatArray) -> FloatArray:
    """Return the distinct positions, (m, 2) as (x, y); those within ``SAME_PX`` count as one."""
    points = np.stack([xcoords, ycoords], axis=1)
    _, first = np.unique(np.rint(points / SAME_PX), axis=0, return_index=True)
    return points[np.sort(first)]


def spacing_px(points: FloatArray) -> float:
    """Return the mean distance of each point (m, 2) to its nearest neighbour; NaN for a single one."""
    from scipy.spatial import cKDTree

    if len(points) < 2:
        return float("nan")
    return float(cKDTree(points).query(points, k=2)[0][:, 1].mean())


def probe_diameter_px(probe: ComplexArray, share: float = ENERGY_SHARE) -> float:
    """Return the diameter of the circle around the probe's centre of mass that contains ``share`` of its energy."""
    intensity = np.square(np.abs(probe), dtype=np.float64)
    rows, columns = np.indices(probe.shape)
    row, column = ((axis * intensity).sum() / intensity.sum() for axis in (rows, columns))
    radius = np.hypot(rows - row, columns - column).ravel()
    order = np.argsort(radius)
    within = np.cumsum(intensity.ravel()[order]) / intensity.sum()
    return 2 * float(np.interp(share, within, radius[order]))


def central_share(probe: ComplexArray, side: float) -> float:
    """Return the fraction of the probe's energy in the central square of ``side`` (0 to 1) times the window."""
    intensity = np.square(np.abs(probe), dtype=np.float64)
    cut = round(probe.shape[0] * (1 - side) / 2)
    inner = slice(cut, probe.shape[0] - cut)
    return float(intensity[inner, inner].sum() / intensity.sum())


def lit_area_px(points: FloatArray, diameter_px: float) -> float:
    """Return the area, square pixels, of the union of discs of ``diameter_px`` around the points (m, 2).

    It is measured on a grid of pixels; above ``GRID_CELLS`` cells are larger than a pixel.
    """
    from scipy import ndimage

    low, high = points.min(axis=0) - diameter_px / 2 - 2, points.max(axis=0) + diameter_px / 2 + 2
    cell = max(1.0, float(np.sqrt(np.prod(high - low) / GRID_CELLS)))
    columns, rows = np.ceil((high - low) / cell).astype(int) + 1
    empty = np.ones((rows, columns), bool)
    column, row = np.rint((points - low) / cell).astype(int).T
    empty[row, column] = False
    return float((ndimage.distance_transform_edt(empty) <= diameter_px / 2 / cell).sum() * cell**2)


@dataclass(frozen=True, eq=False)
class Scan:
    """Geometry of a scan.

    Parameters
    ----------
    n_positions, n_distinct : number of positions, and of distinct ones
    spacing_px : mean distance to the nearest neighbour; NaN for a single position
    diameter_px : of the circle that contains ``ENERGY_SHARE`` of the probe's energy
    lit_px : illuminated area, square pixels
    outside : number of windows that extend beyond the object by more than a pixel
    span_px : the larger one of the ranges of x and y
    """

    n_positions: int
    n_distinct: int
    spacing_px: float
    diameter_px: float
    lit_px: float
    outside: int
    span_px: float

    @property
    def overlap(self) -> float:
        """Linear overlap of neighbouring positions: 1 - spacing / diameter."""
        return 1 - self.spacing_px / self.diameter_px


def scan_of(content: Dataset | Reconstruction) -> Scan:
    """Return the geometry of a scan, or of the scan of a reconstruction."""
    points, diameter = distinct(content.xcoords, content.ycoords), probe_diameter_px(content.probe)
    outside = np.zeros(content.xcoords.size, bool)
    if content.object is not None:
        half = content.probe.shape[0] / 2
        for values, side in ((content.xcoords, content.object.shape[1]), (content.ycoords, content.object.shape[0])):
            outside |= (values < half - 1) | (values > side - half + 1)
    return Scan(
        n_positions=content.xcoords.size,
        n_distinct=len(points),
        spacing_px=spacing_px(points),
        diameter_px=diameter,
        lit_px=lit_area_px(points, diameter),
        outside=int(outside.sum()),
        span_px=float(max(np.ptp(content.xcoords), np.ptp(content.ycoords))),
    )
