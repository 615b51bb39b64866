"""The phase plane that ptychography leaves undetermined: its fit to wrapped phases, and its removal."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label, mean
from skimage.restoration import unwrap_phase

from ptycho.data.dataset import ComplexArray, FloatArray
from ptycho.physics.stitching import Region

MOST_STEPS = 30  # of the fit of a phase plane; without noise it needs two or three
LEAST_COHERENCE = 0.2  # of a phase: limits the steps of the fit of its plane


def without_plane(
    phase: FloatArray, covered: npt.NDArray[np.bool_] | None = None, *, unwrap: bool = False
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Remove the mean and the least-squares plane from a phase, wrapped or not.

    Parameters
    ----------
    phase : (h, w) rad
    covered : (h, w) bool, the pixels that are fitted; None for all
    unwrap : unwrap the residual before the last fit, where neighbours differ by more than pi

    Returns
    -------
    (h, w) rad, and (3,): offset at the centre (rad), slope along y, slope along x (rad/px). Adding any plane to the
    phase changes only the latter, by that plane

    Notes
    -----
    The mean phase step between neighbours gives the slopes, however often they wrap (S. M. Kay, IEEE Trans. Acoust.
    Speech Signal Process. 37, 1987 (1989), with equal weights). An iteration towards the plane that maximizes
    sum(cos(phase - plane)) follows, and one least-squares fit of the residual, wrapped to -pi ... pi; with ``unwrap``
    and wraps remaining, of the unwrapped residual instead. All covered pixels have the same weight.
    """
    covered = np.ones(phase.shape, bool) if covered is None else covered
    if not np.isfinite(phase[covered]).all():
        return np.full(phase.shape, np.nan), np.full(3, np.nan)
    phase = np.where(covered, phase, 0.0)
    grid = _grid(phase.shape)
    plane = _mean_steps(phase, covered)
    residual = wrapped(phase - np.tensordot(plane, grid, 1))
    if unwrap and _has_wraps(residual, covered):
        residual = _unwrapped(residual, covered)
    else:
        plane, residual = _steepest_plane(phase, plane, covered, grid)
    rest = _least_squares(residual, covered, grid)
    plane = plane + rest
    plane[0] = wrapped(plane[0])
    return residual - np.tensordot(rest, grid, 1), plane


def _steepest_plane(
    phase: FloatArray,
    plane: npt.NDArray[np.float64],
    covered: npt.NDArray[np.bool_],
    grid: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the plane near ``plane`` of largest sum(cos(phase - plane)), and the wrapped phase without it."""
    residual = wrapped(phase - np.tensordot(plane, grid, 1))
    for _ in range(MOST_STEPS):
        coherence = max(float(np.cos(residual[covered]).mean()), LEAST_COHERENCE)
        step = _least_squares(np.sin(residual), covered, grid) / coherence
        plane = plane + step
        residual = wrapped(phase - np.tensordot(plane, grid, 1))
        if np.abs(step[1:]).max() * max(phase.shape) + abs(step[0]) < 1e-12:
            break
    return plane, residual


def _mean_steps(phase: FloatArray, covered: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the plane whose slopes are the mean phase steps between covered neighbours."""
    wave = np.where(covered, np.exp(1j * np.where(covered, phase, 0)), 0)
    slope_y = np.angle(np.sum(wave[1:] * wave[:-1].conj()))
    slope_x = np.angle(np.sum(wave[:, 1:] * wave[:, :-1].conj()))
    _, y, x = _grid(phase.shape)
    return np.array([np.angle(np.sum(wave * np.exp(-1j * (slope_y * y + slope_x * x)))), slope_y, slope_x])


def _least_squares(
    phase: FloatArray, covered: npt.NDArray[np.bool_], grid: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the least-squares plane of the covered pixels; the flattest one where they do not determine it."""
    terms = grid[:, covered]
    scale = np.array([1.0, *(1 / max(side, 1) for side in phase.shape)])  # of similar size, so that the rank is found
    scaled = terms * scale[:, None]
    return scale * np.linalg.lstsq(scaled @ scaled.T, scaled @ phase[covered], rcond=1e-10)[0]


def _grid(shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return (3, h, w): 1, and the offsets y and x from the centre, pixels."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    return np.stack(np.broadcast_arrays(1.0, y[:, None], x))


def wrapped(phase: Any) -> Any:
    """Return a phase, rad, wrapped to -pi ... pi."""
    return (phase + np.pi) % (2 * np.pi) - np.pi


def _has_wraps(phase: FloatArray, covered: npt.NDArray[np.bool_]) -> bool:
    """Return whether covered neighbours differ by more than pi."""
    rows = (np.abs(np.diff(phase, axis=0)) > np.pi) & covered[1:] & covered[:-1]
    columns = (np.abs(np.diff(phase, axis=1)) > np.pi) & covered[:, 1:] & covered[:, :-1]
    return bool(rows.any() or columns.any())


def _unwrapped(phase: FloatArray, covered: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return a phase without its wraps; the mean of each connected area is within 2 pi of 0.

    Notes
    -----
    M. A. Herraez et al., Appl. Opt. 41, 7437 (2002), by scikit-image.
    """
    unwrapped = np.ma.getdata(unwrap_phase(np.ma.masked_array(phase, ~covered), rng=0))
    areas, count = label(covered)
    means = mean(unwrapped, areas, np.arange(1, count + 1))
    turns = np.concatenate([[0.0], np.round(np.asarray(means) / (2 * np.pi))])
    return np.where(covered, unwrapped - 2 * np.pi * turns[areas], phase)


def plane_wave(plane: npt.NDArray[np.float64], shape: tuple[int, ...], region: Region) -> ComplexArray:
    """Return exp(i plane), (H, W), of a plane whose offset is at the centre of ``region``."""
    y, x = (np.arange(n) - (part.start + part.stop - 1) / 2 for n, part in zip(shape, region, strict=True))
    return np.exp(1j * (plane[0] + plane[1] * y[:, None] + plane[2] * x))
