"""Training and test data: a scan split by position."""

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Dataset, FloatArray
from ptycho.data.sampling import n_train
from ptycho.errors import InputError
from ptycho.preparation.normalize import note_lit_factor

SAME_PX = 1e-6  # coordinates closer than this are the same line of a scan; dense random scans come within 0.001


def split(
    dataset: Dataset, fraction: float, axis: Literal["x", "y"] = "y", gap_px: float = 0.0
) -> tuple[Dataset, Dataset]:
    """Split a dataset by position into training data (low coordinates) and test data (high ones).

    Parameters
    ----------
    fraction : of the patterns that are training data; their number, :func:`ptycho.data.sampling.n_train`, does not
        depend on the gap
    axis : coordinate by which the scan is split
    gap_px : test patterns closer than this to the last training position are excluded, pixels

    Raises
    ------
    InputError : no test pattern would remain, parameters out of range, or training and test patterns at the same
        coordinate, as in a line scan along the other axis
    """
    coordinate = dataset.xcoords if axis == "x" else dataset.ycoords
    if len(dataset) < 2 or not 0 < fraction < 1:
        raise InputError(
            f"{len(dataset)} patterns cannot be split at {fraction:g}: expected a fraction between 0 and 1"
        )
    if not gap_px >= 0:
        raise InputError(f"the gap is {gap_px:g} px, expected 0 or more")
    count = n_train(len(dataset), fraction)
    order = np.argsort(coordinate, kind="stable")
    boundary = float(coordinate[order[count - 1]])
    train = np.sort(order[:count])
    test = np.sort(order[count:])
    test = test[coordinate[test] >= boundary + gap_px] if gap_px > 0 else test
    if test.size == 0:
        raise InputError(f"a gap of {gap_px:g} px leaves no test pattern: lower split_gap_px")
    _require_apart(coordinate, boundary, test, axis)
    parameters = {"fraction": fraction, "axis": axis, "gap_px": gap_px, "boundary_px": boundary}
    metadata = replace(dataset.metadata, split=parameters).with_step("split", parameters)
    parts = (dataset.select(train), dataset.select(test))
    names = ("train", "test")
    first, second = (
        note_lit_factor(replace(part, metadata=replace(metadata, part=name)))
        for part, name in zip(parts, names, strict=True)
    )
    return first, second


def _require_apart(coordinate: FloatArray, boundary: float, test: npt.NDArray[np.intp], axis: str) -> None:
    """Raise InputError where test patterns, indices (k,), are at the last coordinate of the training patterns."""
    shared = int((np.abs(coordinate[test] - boundary) < SAME_PX).sum())
    if not shared:
        return
    other = "y" if axis == "x" else "x"
    start = f"{shared} test patterns are at {axis} = {boundary:.6g} px, as training patterns are"
    if np.ptp(coordinate) < SAME_PX:
        raise InputError(f"{start}: the scan is a line along {other}; split along it (split_axis {other})")
    below, above = (np.mean(coordinate < boundary - SAME_PX), np.mean(coordinate < boundary + SAME_PX))
    ends = " or ".join(f"{share:.6g}" for share in (below, above) if 0 < share < 1)
    raise InputError(
        f"{start}: end the training half between two lines with split_fraction {ends}, exclude these with "
        f"split_gap_px 1, or split along {other} (split_axis {other})"
    )
