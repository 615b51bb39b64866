from dataclasses import replace

import numpy as np
import pytest

from ptycho.errors import InputError
from ptycho.preparation.split import split


def at(scan, **coordinates):
    return replace(scan, **{key: np.asarray(values, float) for key, values in coordinates.items()})


def test_a_line_scan_is_split_along_itself_only(scan):
    line = at(scan, ycoords=np.full(30, 20.0))
    with pytest.raises(InputError, match="the scan is a line along x; split along it \\(split_axis x\\)"):
        split(line, 0.5, "y")
    train, test = split(line, 0.5, "x")
    assert train.xcoords.max() < test.xcoords.min()


def test_a_line_of_a_raster_is_not_shared_by_both_halves(scan):
    raster = at(scan, xcoords=np.tile(np.arange(10.0, 50.0, 4.0), 3), ycoords=np.repeat([12.0, 20.0, 28.0], 10))
    with pytest.raises(InputError) as error:
        split(raster, 0.5, "y")
    assert "5 test patterns are at y = 20 px, as training patterns are" in str(error.value)
    assert "split_fraction 0.333333 or 0.666667, exclude these with split_gap_px 1, or split along x" in str(
        error.value
    )
    for fraction, lines in ((0.333333, 1), (0.666667, 2)):
        train, _ = split(raster, fraction, "y")
        assert np.unique(train.ycoords).size == lines
    train, test = split(raster, 0.5, "y", gap_px=1)
    assert (len(train), set(test.ycoords)) == (15, {28.0})
