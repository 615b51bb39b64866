"""The conventions of foreign scans: stated by the user or the file, otherwise inferred from the values and logged."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.config.schema import MeasuredConfig
from ptycho.data.metadata import Metadata
from ptycho.errors import InputError
from ptycho.io.conventions import require_even

logger = logging.getLogger(__name__)

CONVENTIONS = ("quantity", "dc", "positions", "pixel_size_m")  # that a file or the user states
METRES_SPAN = 0.01  # positions that span less are taken for metres: a scan of a hundredth of a pixel is none
NARROW, WIDE = 32, 1000  # times the window; positions that span less or more are questioned
FRACTIONS_BELOW = 1e4  # values of float32 below this have fractions; above 2**24 there are none
WHOLE_SHARE = 0.99  # of the values, from which patterns are counts
CLIPPED = 0.95  # quantile of lit pixels at which amplitudes are clipped to find DC
INFERRED_FROM = 256  # patterns at most, from which missing conventions are inferred


def user_setting(key: str, config: MeasuredConfig | None) -> Any:
    """Return what the user states, or None."""
    value = getattr(config, key, None)
    return None if value == "auto" else value


def resolve_conventions(file_metadata: Metadata, config: MeasuredConfig | None) -> dict[str, Any]:
    """Return the stated conventions by name, None where neither says; the user overrides the file."""
    stated = {key: user_setting(key, config) for key in CONVENTIONS}
    return {key: getattr(file_metadata, key) if value is None else value for key, value in stated.items()}


def infer_quantity(patterns: npt.NDArray[Any], source: str) -> str:
    """Infer the quantity of patterns, (n, N, N), and log it: whole numbers are counts, others amplitudes.

    A few pixels with other values, such as an interpolated or a broken one, do not change the result.
    """
    some = patterns[:: max(1, len(patterns) // INFERRED_FROM)]
    whole = patterns.dtype.kind in "biu" or _mostly_whole(some)
    quantity = "counts" if whole else "amplitude"
    logger.warning(
        "%s: the quantity of the patterns is not stated; %s values are read as %s "
        "(set measured.quantity or --quantity)",
        source,
        "whole" if whole else "fractional",
        quantity,
    )
    return quantity


def _mostly_whole(patterns: npt.NDArray[Any]) -> bool:
    """Tell whether nearly all values are whole numbers, of those that can tell counts from amplitudes.

    0 and 1 are the same as counts and as amplitudes, and float32 holds no fractions of large numbers.
    """
    values = patterns[np.isfinite(patterns) & (patterns != 0) & (patterns != 1)]
    telling = values[np.abs(values) < FRACTIONS_BELOW]
    values = telling if telling.size else values
    return bool(np.mean(values == np.rint(values)) > WHOLE_SHARE) if values.size else True


def infer_dc(amplitude: npt.NDArray[np.float32], source: str) -> str:
    """Infer whether DC, the undiffracted beam, is in the ``centre`` or the ``corner``, and log it.

    The mean over patterns of clipped amplitudes is compared in both halves of the window, after a median filter, so
    that neither a hot pixel in one pattern, nor pixels or columns that are always bright, change the result.

    Parameters
    ----------
    amplitude : (n, N, N)
    """
    from scipy import ndimage

    some = amplitude[:: max(1, len(amplitude) // INFERRED_FROM)]
    mean = np.minimum(some, _quantile_of_lit(some, CLIPPED)).mean(axis=0, dtype=np.float64)
    filtered = ndimage.median_filter(mean, size=5 if mean.shape[0] >= 32 else 3, mode="wrap")
    mean = filtered if filtered.any() else np.minimum(mean, _quantile_of_lit(mean, CLIPPED))
    quarter, half = amplitude.shape[-1] // 4, amplitude.shape[-1] // 2
    inner = mean[quarter : quarter + half, quarter : quarter + half].sum()
    outer = np.fft.fftshift(mean)[quarter : quarter + half, quarter : quarter + half].sum()
    place = "centre" if inner >= outer else "corner"
    logger.warning(
        "%s: the position of DC is not stated; most intensity is in the %s (set measured.dc or --dc)", source, place
    )
    return place


def _quantile_of_lit(values: npt.NDArray[Any], share: float) -> float:
    """Return the quantile of the values above 0; 0 where there is none."""
    lit = values[values > 0]
    return float(np.quantile(lit, share)) if lit.size else 0.0


def type_maximum_pixels(patterns: npt.NDArray[Any], source: str) -> npt.NDArray[np.bool_] | None:
    """Return the pixels, (N, N) bool, that hold the largest value of an integer type in any pattern, and log them.

    Detectors write it where a pixel measured nothing, or more than it can count. None where there is no such pixel.

    Parameters
    ----------
    patterns : (n, N, N); values of floating-point types have no such maximum
    """
    if patterns.dtype.kind not in "iu":
        return None
    largest = np.iinfo(patterns.dtype).max
    found: npt.NDArray[np.bool_] = (patterns == largest).any(axis=0)
    if not found.any():
        return None
    logger.warning("%s: %d pixels hold %d, the maximum of %s: bad", source, found.sum(), largest, patterns.dtype)
    return found


def positions_in_pixels(
    ready: Mapping[str, npt.NDArray[Any]], conventions: Mapping[str, Any], window_px: int, source: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return ``xcoords`` and ``ycoords``, (n,), in pixels of the object.

    Positions in metres count from the middle of the object, as in ptychodus. Where there is no object, the first
    window begins a pixel from the corner of the grid that will hold the reconstruction. A shift is logged.

    Raises
    ------
    InputError : patterns of an odd side, whose centre is not at N/2; positions in metres without a pixel size, or that
        look like metres and are not stated to be
    """
    require_even(window_px)
    scale = _pixel(ready, conventions, window_px, source)
    found = []
    for key, axis in (("xcoords", 1), ("ycoords", 0)):
        values, shift = ready[key] / scale, 0.0
        if "objectGuess" not in ready and values.size:
            shift = window_px / 2 + 1 - float(values.min())
        elif conventions["positions"] == "metres":
            shift = ready["objectGuess"].shape[axis] / 2
        if shift:
            logger.info("%s: %.6g px were added to %s", source, shift, key)
        found.append(values + shift)
    return found[0], found[1]


def _pixel(ready: Mapping[str, npt.NDArray[Any]], conventions: Mapping[str, Any], window_px: int, source: str) -> float:
    """Return the size of a pixel of the object in the unit of the positions."""
    if conventions["positions"] == "metres":
        if conventions["pixel_size_m"] is None:
            raise InputError(
                "positions are in metres, but the pixel size of the object is not stated: give pixel_size_m"
            )
        scale = float(conventions["pixel_size_m"])
    else:
        scale = 1.0
    span = max(float(np.ptp(ready[key])) if ready[key].size else 0.0 for key in ("xcoords", "ycoords")) / scale
    if conventions["positions"] is None and 0 < span < METRES_SPAN:
        raise InputError(
            f"positions span {span:.3g} only: metres? State positions metres and pixel_size_m (measured section, "
            "or the flags --positions metres --pixel_size_m)"
        )
    if 0 < span < window_px / NARROW or span > window_px * WIDE:
        logger.warning(
            "%s: positions span %.3g px with windows of %d px: are they in another unit, such as micrometres? "
            "(set measured.positions and measured.pixel_size_m, or --positions and --pixel_size_m)",
            source, span, window_px,
        )  # fmt: skip
    return scale
