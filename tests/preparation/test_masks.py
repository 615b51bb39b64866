"""Masks of bad pixels, of the file and of the user."""

import numpy as np
import pytest

from ptycho.config.schema import MeasuredConfig
from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.preparation.load import load_scan

N = 16  # of the fixture scan


def test_a_mask_that_marks_most_pixels_is_asked_about(scan, tmp_path, caplog, raw, read):
    mask = np.ones((N, N), bool)
    mask[6:11, 6:11] = False
    read(tmp_path, raw(scan, bad_pixels=mask))
    assert "more bad pixels than good ones: is the mask inverted?" in caplog.text


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("own", [True, False])
def test_a_mask_may_come_from_a_file(scan, tmp_path, suffix, own, raw, read):
    mask = np.zeros((N, N), np.uint8)
    mask[8, 8] = mask[2, 3] = 1
    path = tmp_path / f"mask{suffix}"
    np.save(path, mask) if suffix == ".npy" else np.savez(path, bad_pixels=mask)
    config = MeasuredConfig(bad_pixels=str(path))
    if own:
        npz.write_dataset(tmp_path / "scan.npz", scan)
        found = load_scan(tmp_path / "scan.npz", config)
    else:
        found = read(tmp_path, raw(scan), config)
    assert np.argwhere(found.bad_pixels).tolist() == [[2, 3], [8, 8]]
    assert not found.diffraction[:][:, mask == 1].any()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((8, 8), bool), "bad_pixels has shape (8, 8) and type bool, expected (16, 16) bool, as a pattern"),
        (np.ones((N, N), bool), "bad_pixels marks every pixel: is the mask inverted?"),
        (np.ones(N, bool), "a mask of shape (16,) and type bool, expected (N, N) bool"),
        (np.ones((N, N)), "a mask of shape (16, 16) and type float64, expected (N, N) bool"),
    ],
)
def test_masks_that_do_not_fit_are_refused(scan, tmp_path, mask, message, raw, read):
    np.save(tmp_path / "mask.npy", mask)
    with pytest.raises(InputError) as error:
        read(tmp_path, raw(scan), MeasuredConfig(bad_pixels=str(tmp_path / "mask.npy")))
    assert message in str(error.value)


@pytest.mark.parametrize("noted", [np.nan, -1.0, 1e30])
def test_what_a_bad_pixel_says_does_not_matter(scan, tmp_path, noted, counts, raw, read):
    values, mask = counts(scan), np.zeros((N, N), bool)
    mask[4, 9] = True
    blank = read(tmp_path, raw(scan, diffraction=values * ~mask, bad_pixels=mask), quantity="counts", dc="centre")
    values[:, mask] = noted
    found = read(tmp_path, raw(scan, diffraction=values, bad_pixels=mask), quantity="counts", dc="centre")
    np.testing.assert_array_equal(found.diffraction, blank.diffraction)
