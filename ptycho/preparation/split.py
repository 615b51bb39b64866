"""Training and test data: a scan split by position."""

from dataclasses import replace
from typing import Literal

import numpy as np

from ptycho.data.dataset import Dataset
from ptycho.data.sampling import n_train
from ptycho.errors import InputError
from ptycho.preparation.normalize import note_lit_factor


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
    InputError : no test pattern would remain, or parameters out of range
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
    parameters = {"fraction": fraction, "axis": axis, "gap_px": gap_px, "boundary_px": boundary}
    metadata = replace(dataset.metadata, split=parameters).with_step("split", parameters)
    parts = (dataset.select(train), dataset.select(test))
    names = ("train", "test")
    first, second = (
        note_lit_factor(replace(part, metadata=replace(metadata, part=name)))
        for part, name in zip(parts, names, strict=True)
    )
    return first, second
