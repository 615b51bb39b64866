"""The conventions of foreign scans: stated by the user or the file, otherwise inferred from the values and logged."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.config.schema import MeasuredConfig
from ptycho.data.metadata import Metadata
from ptycho.errors import InputError

logger = logging.getLogger(__name__)

CONVENTIONS = ("quantity", "dc", "positions", "pixel_size_m")  # that a file or the user states
METRES_SPAN = 0.01  # positions that span less are taken for metres: a scan of a hundredth of a pixel is none
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
    """Infer the quantity of patterns, (n, N, N), and log it: whole numbers are counts, others amplitudes."""
    some = patterns[:: max(1, len(patterns) // INFERRED_FROM)]
    whole = patterns.dtype.kind in "biu" or bool((some == np.rint(some)).all())
    quantity = "counts" if whole else "amplitude"
    logger.warning(
        "%s: the quantity of the patterns is not stated; %s values are read as %s "
        "(set measured.quantity or --quantity)",
        source,
        "whole" if whole else "fractional",
        quantity,
    )
    return quantity


def infer_dc(amplitude: npt.NDArray[np.float32], source: str) -> str:
    """Infer whether DC, the undiffracted beam, is in the ``centre`` or the ``corner``, and log it.

    Parameters
    ----------
    amplitude : (n, N, N)
    """
    intensity = np.square(amplitude[:INFERRED_FROM], dtype=np.float64).mean(axis=0)
    quarter, half = amplitude.shape[-1] // 4, amplitude.shape[-1] // 2
    inner = intensity[quarter : quarter + half, quarter : quarter + half].sum()
    outer = np.fft.fftshift(intensity)[quarter : quarter + half, quarter : quarter + half].sum()
    place = "centre" if inner >= outer else "corner"
    logger.warning(
        "%s: the position of DC is not stated; most intensity is in the %s (set measured.dc or --dc)", source, place
    )
    return place


def positions_in_pixels(
    ready: Mapping[str, npt.NDArray[Any]], conventions: Mapping[str, Any], window_px: int, source: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return ``xcoords`` and ``ycoords``, (n,), in pixels of the object.

    Positions in metres count from the middle of the object, as in ptychodus. Where there is no object, the first
    window begins a pixel from the corner of the grid that will hold the reconstruction. A shift is logged.

    Raises
    ------
    InputError : positions in metres without a pixel size, or that look like metres and are not stated to be
    """
    scale = _pixel(ready, conventions)
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


def _pixel(ready: Mapping[str, npt.NDArray[Any]], conventions: Mapping[str, Any]) -> float:
    """Return the size of a pixel of the object in the unit of the positions."""
    if conventions["positions"] == "metres":
        if conventions["pixel_size_m"] is None:
            raise InputError(
                "positions are in metres, but the pixel size of the object is not stated: give pixel_size_m"
            )
        return float(conventions["pixel_size_m"])
    span = max(float(np.ptp(ready[key])) if ready[key].size else 0.0 for key in ("xcoords", "ycoords"))
    if conventions["positions"] is None and 0 < span < METRES_SPAN:
        raise InputError(
            f"positions span {span:.3g} only: metres? State positions metres and pixel_size_m (measured section, "
            "or the flags --positions metres --pixel_size_m)"
        )
    return 1.0
