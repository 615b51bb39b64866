"""Conversion of foreign scans: which patterns are refused, and that a converted file is read as it was converted."""

import numpy as np
import pytest

from ptycho.config.schema import MeasuredConfig
from ptycho.data.metadata import Metadata
from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.preparation.convert import dataset_from, require_trainable
from ptycho.preparation.load import load_scan

N, COUNT = 16, 30
CONFIG = MeasuredConfig(quantity="counts", dc="corner")


@pytest.fixture
def arrays():
    """A scan of counts with DC in the corner, whose object is not at level 1."""
    rng = np.random.default_rng(0)
    y, x = np.indices((N, N)) - N / 2
    return {
        "diffraction": np.fft.ifftshift(rng.poisson(50 * np.exp(-(x**2 + y**2) / 8), (COUNT, N, N)), axes=(1, 2)),
        "xcoords": rng.uniform(10, 50, COUNT), "ycoords": rng.uniform(10, 30, COUNT),
        "probeGuess": np.exp(-(x**2 + y**2) / 20 + 0.05j * x * y), "objectGuess": 0.3 * np.exp(1j * np.ones((40, 60))),
    }  # fmt: skip


def converted(arrays, config=CONFIG):
    with pytest.raises(InputError) as error:
        dataset_from(arrays, Metadata(), config, "scan.npz")
    return str(error.value)


def test_unusable_patterns_are_named_by_index(arrays):
    values = arrays["diffraction"].astype(float)
    values[4, 1, 2] = values[4, 3, 2] = np.nan
    values[9, 0, 0] = np.inf
    values[[7, 29], 5, 5] = -3
    message = converted({**arrays, "diffraction": values})
    assert "NaN or infinite in 2 of 30 patterns (index from 0: 4, 9)" in message
    assert "negative in 2 of 30 patterns (index from 0: 7, 29)" in message
    assert "\n" not in message


def test_of_many_unusable_patterns_the_first_are_named(arrays):
    message = converted({**arrays, "diffraction": arrays["diffraction"] - 1000})
    assert message.endswith("negative in 30 of 30 patterns (index from 0: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...)")


@pytest.mark.parametrize("with_windows", [False, True])
@pytest.mark.parametrize("with_object", [False, True])
def test_a_converted_file_is_read_as_it_was_converted(arrays, tmp_path, with_windows, with_object):
    arrays = arrays if with_object else {key: array for key, array in arrays.items() if key != "objectGuess"}
    if with_windows:
        arrays["Y"] = 0.3 * np.exp(1j * np.random.default_rng(1).normal(size=(COUNT, N, N)))
    mask = np.zeros((N, N), bool)
    mask[2, 3] = True
    np.save(tmp_path / "mask.npy", mask)
    config = MeasuredConfig(quantity="counts", dc="corner", bad_pixels=str(tmp_path / "mask.npy"))
    first = dataset_from(arrays, Metadata(pixel_size_m=1e-8), config, "scan.npz")
    npz.write_dataset(tmp_path / "imported.npz", first)
    for again in (load_scan(tmp_path / "imported.npz"), load_scan(tmp_path / "imported.npz", config)):
        for key in ("diffraction", "xcoords", "ycoords", "probe", "object", "patches", "scan_index", "bad_pixels"):
            before, after = getattr(first, key), getattr(again, key)
            assert (before is None) == (after is None)
            if before is not None:
                np.testing.assert_array_equal(after[:], before[:])
        assert again.metadata == first.metadata
        # the mask is oriented as the original patterns: it is not applied to the shifted ones again
        assert np.argwhere(again.bad_pixels).tolist() == [[10, 11]]


def test_patterns_without_counts_cannot_be_trained_on(arrays):
    arrays["diffraction"][[3, 20]] = 0
    dataset = dataset_from(arrays, Metadata(), CONFIG, "scan.npz")
    with pytest.raises(InputError, match=r"zero everywhere in 2 of 30 patterns \(index from 0: 3, 20\)"):
        require_trainable(dataset)
    require_trainable(dataset.take(np.arange(4, 20)))
