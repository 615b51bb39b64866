"""Positions that are shifted, scaled or rotated: found by moving each window of a sample over the object."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ptycho.inspection.mismatch import Sample
from ptycho.physics.diffraction import diffraction_amplitude
from ptycho.physics.patches import extract_from_padded

RADIUS_PX = 8  # of the shifts that are tried, along each axis
WORK_PX = 3e7  # pixels of all patterns that are computed
FEWEST = 12  # patterns
SMALLEST_PX = 0.25  # shift, or displacement at the scan's edge, that is worth a word: conventions differ by 0.5 or 1
SCALES = np.linspace(-0.12, 0.12, 49)  # relative, less 1
ANGLES_DEG = np.linspace(-6, 6, 49)


def moved(tried: Sample) -> Iterator[tuple[str, Sample]]:
    """Yield the sample with the positions that fit best: shifted, scaled and shifted, rotated and shifted."""
    if tried.object is None or len(tried.rows) < FEWEST:
        return
    tried = _widened(tried)
    shifts, table, chosen = _table(tried)
    x, y = (values - values.mean() for values in (tried.xcoords, tried.ycoords))
    some = x[chosen], y[chosen]
    zero = np.zeros(chosen.size)
    dx, dy, _ = _best_shift(shifts, table, zero, zero)
    if max(abs(dx), abs(dy)) >= SMALLEST_PX:
        name = f"the positions moved by {dx:+.2f} px in x and {dy:+.2f} px in y"
        yield name, _at(tried, dx, dy)
    scale = min(SCALES, key=lambda s: _best_shift(shifts, table, s * some[0], s * some[1])[2])
    if abs(scale) * max(np.abs(x).max(), np.abs(y).max()) >= 2 * SMALLEST_PX:
        dx, dy, _ = _best_shift(shifts, table, scale * some[0], scale * some[1])
        yield f"the positions multiplied by {1 + scale:.3f}", _at(tried, dx + scale * x, dy + scale * y)
    angle = min(ANGLES_DEG, key=lambda a: _best_shift(shifts, table, *_rotation(a, *some))[2])
    if np.abs(np.deg2rad(angle)) * max(np.abs(x).max(), np.abs(y).max()) >= 2 * SMALLEST_PX:
        dx, dy, _ = _best_shift(shifts, table, *_rotation(angle, *some))
        turned = _rotation(angle, x, y)
        yield f"the positions rotated by {angle:.2f} degrees (x towards y)", _at(tried, dx + turned[0], dy + turned[1])


def _rotation(
    angle_deg: float, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    c, s = np.cos(np.deg2rad(angle_deg)) - 1, np.sin(np.deg2rad(angle_deg))
    return c * x - s * y, s * x + c * y


def _widened(tried: Sample) -> Sample:
    """Return the sample on an object with its edges repeated, so that windows may be moved beyond it."""
    assert tried.object is not None
    margin = 2 * RADIUS_PX + 2
    wide = np.pad(tried.object, margin, mode="edge")
    return replace(tried, object=wide, xcoords=tried.xcoords + margin, ycoords=tried.ycoords + margin)


def _at(tried: Sample, dx: float | npt.NDArray[np.float64], dy: float | npt.NDArray[np.float64]) -> Sample:
    return replace(tried, xcoords=tried.xcoords + dx, ycoords=tried.ycoords + dy)


def _table(tried: Sample) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the residual of some patterns at each whole-pixel shift.

    Returns
    -------
    shifts : (g,) pixels, along x and y
    table : (k, g, g) residuals, rows are shifts in y
    chosen : (k,) numbers of these patterns in the sample
    """
    side = tried.probe.shape[0]
    shifts = np.arange(-RADIUS_PX, RADIUS_PX + 1)
    count = int(np.clip(WORK_PX // (side**2 * shifts.size**2), FEWEST, len(tried.rows)))
    chosen = np.unique(np.rint(np.linspace(0, len(tried.rows) - 1, count)).astype(np.int64))
    x, y = tried.xcoords[chosen], tried.ycoords[chosen]
    measured, probe = tried.patterns[chosen], tried.probe.astype(np.complex64)
    energy = np.square(measured, dtype=np.float64).sum(axis=(1, 2))
    table = np.empty((count, shifts.size, shifts.size))
    for row, dy in enumerate(shifts):
        for column, dx in enumerate(shifts):
            expected = (
                diffraction_amplitude(probe, extract_from_padded(tried.padded, x + dx, y + dy, side)) * tried.good
            )
            own = np.einsum("nij,nij->n", expected, expected, dtype=np.float64)
            both = np.einsum("nij,nij->n", expected, measured, dtype=np.float64)
            table[:, row, column] = own - 2 * both + energy
    return shifts.astype(float), table, chosen


def _best_shift(
    shifts: npt.NDArray[np.float64],
    table: npt.NDArray[np.float64],
    dx: npt.NDArray[np.float64],
    dy: npt.NDArray[np.float64],
) -> tuple[float, float, float]:
    """Return the common shift that fits best on top of displacements (k,), and its summed residual."""
    from scipy import ndimage

    reach = int(np.ceil(max(np.abs(dx).max(), np.abs(dy).max())))
    inner = shifts[reach : shifts.size - reach]
    if inner.size < 3:
        return 0.0, 0.0, float("inf")
    index = np.arange(len(table))[:, None, None]
    rows = dy[:, None, None] + inner[:, None] - shifts[0]
    columns = dx[:, None, None] + inner - shifts[0]
    places = np.broadcast_arrays(index, rows, columns)
    total = ndimage.map_coordinates(table, places, order=1, mode="nearest").sum(axis=0)
    row, column = np.unravel_index(total.argmin(), total.shape)
    return (
        float(inner[column]) + _vertex(total[row], int(column)),
        float(inner[row]) + _vertex(total[:, column], int(row)),
        float(total.min()),
    )


def _vertex(values: npt.NDArray[np.float64], place: int) -> float:
    """Return where the parabola through a minimum and its neighbours is lowest, relative to the minimum."""
    if not 0 < place < values.size - 1:
        return 0.0
    before, least, after = values[place - 1 : place + 2]
    bend = before - 2 * least + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend > 0 else 0.0
