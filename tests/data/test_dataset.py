import dataclasses

import numpy as np
import pytest

from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.data.metadata import Metadata
from ptycho.errors import InputError

SIDE = 16
NAN_AT_ONE = np.array([1.0, np.nan, 2.0])


def dataset(**changes):
    rng = np.random.default_rng(0)
    arguments = {
        "diffraction": rng.random((3, SIDE, SIDE), np.float32),
        "xcoords": np.array([10.0, 20.25, 15.0]),
        "ycoords": np.array([9.0, 8.0, 12.5]),
        "probe": np.ones((SIDE, SIDE), np.complex64),
        "object": np.ones((30, 40), np.complex64),
        "patches": rng.random((3, SIDE, SIDE)).astype(np.complex64),
        "scan_index": np.array([7, 3, 5]),
    }
    return Dataset(**{**arguments, **changes})


def reconstruction(**changes):
    arguments = {
        "object": np.ones((30, 40), np.complex64),
        "probe": np.ones((SIDE, SIDE), np.complex64),
        "xcoords": np.array([10.0, 20.0, 15.0]),
        "ycoords": np.array([9.0, 8.0, 12.0]),
    }
    return Reconstruction(**{**arguments, **changes})


COMMON = [
    ({"xcoords": np.zeros(2)}, "xcoords (2,) and ycoords (3,) must be one-dimensional and equally long"),
    ({"xcoords": np.zeros((3, 1))}, "xcoords (3, 1)"),
    ({"xcoords": np.zeros(0), "ycoords": np.zeros(0)}, "empty, expected at least one position"),
    ({"xcoords": NAN_AT_ONE}, "xcoords or ycoords hold NaN or infinite values: remove these positions"),
    ({"ycoords": np.array([1.0, 2.0, -np.inf])}, "NaN or infinite"),
    ({"probe": np.ones((SIDE, 8), complex)}, "probeGuess has shape (16, 8), expected a square"),
    ({"probe": np.ones((1, SIDE, SIDE), complex)}, "probeGuess has shape (1, 16, 16), expected two dimensions"),
    ({"probe": np.ones((SIDE, SIDE))}, "probeGuess is float64, expected complex"),
    ({"probe": np.zeros((SIDE, SIDE), complex)}, "probeGuess is zero everywhere"),
    ({"probe": np.full((SIDE, SIDE), np.nan + 0j)}, "probeGuess holds NaN or infinite values"),
    ({"object": np.ones((30, 40))}, "objectGuess is float64, expected complex"),
    ({"object": np.ones((2, 30, 40), complex)}, "objectGuess has shape (2, 30, 40), expected two dimensions"),
    ({"object": np.full((30, 40), complex(0, np.inf))}, "objectGuess holds NaN or infinite values"),
]
MEASURED = np.ones((3, SIDE, SIDE), np.float32)
OF_DATASETS = [
    ({"diffraction": MEASURED[:2]}, "diffraction has shape (2, 16, 16), expected (3, 16, 16): one N x N pattern"),
    ({"diffraction": MEASURED[:, :8, :8]}, "expected (3, 16, 16): one N x N pattern a position, N = 16 as probeGuess"),
    ({"diffraction": -MEASURED}, "diffraction holds negative values: amplitudes are expected"),
    ({"diffraction": MEASURED * np.nan}, "diffraction holds NaN or infinite values"),
    ({"diffraction": MEASURED * np.inf}, "diffraction holds NaN or infinite values"),
    ({"scan_index": np.arange(2)}, "scan_index has shape (2,), expected (3,)"),
    ({"patches": MEASURED}, "Y has shape (3, 16, 16) and dtype float32, expected (3, 16, 16) complex"),
    ({"patches": MEASURED[:1] + 0j}, "Y has shape (1, 16, 16)"),
]


@pytest.mark.parametrize(
    ("build", "changes", "message"),
    [(reconstruction, *case) for case in COMMON]
    + [(dataset, *case) for case in COMMON + OF_DATASETS]
    + [(reconstruction, {"object": np.ones((30, 12), complex)}, "objectGuess (30, 12) is smaller than probeGuess")],
)
def test_what_does_not_fit_is_refused_in_one_line(build, changes, message):
    with pytest.raises(InputError) as error:
        build(**changes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("build", [dataset, reconstruction])
def test_what_fits_is_accepted_and_frozen(build):
    built = build()
    with pytest.raises(dataclasses.FrozenInstanceError):
        built.xcoords = np.zeros(3)


def test_a_dataset_needs_neither_object_nor_patches():
    bare = dataset(object=None, patches=None)
    assert len(bare) == 3
    assert bare.window_px == SIDE
    assert bare.take(np.array([1])).patches is None


def test_take_keeps_what_belongs_together():
    whole = dataset(metadata=Metadata(n_photons=5))
    part = whole.take(np.array([2, 0]))
    assert len(part) == 2
    assert part.scan_index.tolist() == [5, 7]
    assert part.xcoords.tolist() == [15.0, 10.0]
    assert part.ycoords.tolist() == [12.5, 9.0]
    for name in ("diffraction", "patches"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[[2, 0]])
    assert part.object is whole.object
    assert part.metadata == Metadata(n_photons=5)


def test_the_grid_is_that_of_the_object_or_the_smallest_that_holds_every_window():
    assert dataset().object_shape == (30, 40)
    # rows to 12.5 + 8 - 1, interpolated from row 20: 21 rows; columns to 20.25 + 8 - 1, from column 28: 29
    height, width = dataset(object=None).object_shape
    assert 21 <= height <= 22
    assert 29 <= width <= 30


def test_the_scale_is_one_where_the_file_does_not_say():
    assert dataset().counts_scale == 1
    assert dataset(metadata=Metadata(counts_scale=3)).counts_scale == 3


def test_a_reconstruction_after_a_step_is_another_one():
    first = reconstruction(metadata=Metadata(source="beamline"))
    second = first.after("move", {"by": 1}, xcoords=first.xcoords + 1)
    assert first.metadata == Metadata(source="beamline")
    assert [step.step for step in second.metadata.steps] == ["move"]
    np.testing.assert_array_equal(second.xcoords, [11, 21, 16])
    assert second.object is first.object
    with pytest.raises(InputError, match="NaN"):
        first.after("spoil", {}, xcoords=NAN_AT_ONE)
