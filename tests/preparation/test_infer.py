"""Conventions of foreign scans: what is stated, and what is inferred from the values."""

import numpy as np
import pytest

from ptycho.config.schema import MeasuredConfig
from ptycho.preparation import infer

N, SHAPE = 16, (48, 64)  # of the fixture scan


UNITS = {
    "counts": lambda c: c.astype(np.uint16),
    "intensity": lambda c: 1e-3 * c,
    "amplitude": lambda c: 0.1 * np.sqrt(c),
}


@pytest.mark.parametrize("how", ["config", "metadata"])
@pytest.mark.parametrize("quantity", UNITS)
def test_every_quantity_gives_the_same_amplitudes(scan, tmp_path, quantity, how, counts, raw, read):
    arrays = raw(scan, diffraction=UNITS[quantity](counts(scan)))
    config = MeasuredConfig(quantity=quantity) if how == "config" else None
    facts = {"quantity": quantity} if how == "metadata" else {}
    found = read(tmp_path, arrays, config, **facts)
    # the energy of the format, (N/2)^2 a pattern on average, whatever the unit
    assert np.square(found.diffraction.astype(float)).sum(axis=(1, 2)).mean() == pytest.approx((N / 2) ** 2, rel=1e-5)
    np.testing.assert_allclose(found.diffraction, scan.diffraction, rtol=2e-3, atol=2e-3)
    assert found.metadata.steps[-1].parameters["quantity"] == quantity


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, np.float32])
def test_whole_numbers_are_counts_unless_stated_otherwise(scan, tmp_path, caplog, dtype, counts, raw, read):
    found = read(tmp_path, raw(scan, diffraction=counts(scan).astype(dtype)))
    np.testing.assert_allclose(found.diffraction, scan.diffraction, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(counts(found), counts(scan), rtol=1e-3, atol=0.51)
    assert "the quantity of the patterns is not stated; whole values are read as counts" in caplog.text


def test_fractions_are_amplitudes_unless_stated_otherwise(scan, tmp_path, caplog, raw, read):
    found = read(tmp_path, raw(scan, diffraction=0.3 * scan.diffraction))
    np.testing.assert_allclose(found.diffraction, scan.diffraction, rtol=1e-3, atol=1e-5)
    assert "fractional values are read as amplitude" in caplog.text


def test_what_is_stated_is_not_inferred(scan, tmp_path, caplog, raw, read):
    read(tmp_path, raw(scan), quantity="counts", dc="centre")
    assert "not stated" not in caplog.text


@pytest.mark.parametrize("stated", [True, False])
def test_dc_in_the_corner_goes_to_the_centre(scan, tmp_path, caplog, stated, counts, raw, read):
    shifted = np.fft.ifftshift(counts(scan).astype(np.uint32), axes=(1, 2))
    mask = np.zeros((N, N), bool)
    mask[0, 1] = True  # beside DC, which is in the corner
    found = read(
        tmp_path, raw(scan, diffraction=shifted, bad_pixels=mask), MeasuredConfig(dc="corner" if stated else "auto")
    )
    assert np.argwhere(found.bad_pixels).tolist() == [[8, 9]]
    good = ~found.bad_pixels
    ratio = found.diffraction[:, good] / np.maximum(scan.diffraction[:, good], 1e-9)
    assert np.ptp(ratio[scan.diffraction[:, good] > 0.5]) < 0.01
    assert ("most intensity is in the corner" in caplog.text) != stated


@pytest.mark.parametrize("part", [slice(None), slice(0, 12), slice(12, 30)])
def test_metres_count_from_the_middle_of_the_object_in_every_part_of_a_scan(
    scan, tmp_path, part, caplog, counts, raw, read
):
    caplog.set_level("INFO")
    pixel = 20e-9
    arrays = raw(
        scan,
        diffraction=counts(scan)[part],
        xcoords=(scan.xcoords[part] - SHAPE[1] / 2) * pixel,
        ycoords=(scan.ycoords[part] - SHAPE[0] / 2) * pixel,
    )
    found = read(tmp_path, arrays, MeasuredConfig(positions="metres", pixel_size_m=pixel))
    assert "32 px were added to xcoords" in caplog.text
    np.testing.assert_allclose(found.xcoords, scan.xcoords[part], atol=1e-9)
    np.testing.assert_allclose(found.ycoords, scan.ycoords[part], atol=1e-9)
    assert found.metadata.pixel_size_m == pixel


def test_without_an_object_all_windows_lie_at_positive_pixels(scan, tmp_path, raw, read):
    arrays = raw(scan, xcoords=scan.xcoords * 1e-8, ycoords=scan.ycoords * 1e-8, objectGuess=None)
    found = read(tmp_path, arrays, positions="metres", pixel_size_m=1e-8)
    assert found.xcoords.min() >= N / 2
    assert found.ycoords.min() >= N / 2
    assert found.object_shape[1] >= found.xcoords.max() + N / 2


def test_positions_of_any_origin_are_taken_where_no_object_says_one(scan, tmp_path, raw, read):
    found = read(tmp_path, raw(scan, xcoords=scan.xcoords - 5000, ycoords=scan.ycoords + 70, objectGuess=None))
    np.testing.assert_allclose(found.xcoords - found.xcoords[0], scan.xcoords - scan.xcoords[0], atol=1e-9)
    assert (found.xcoords.min(), found.ycoords.min()) == (N / 2 + 1, N / 2 + 1)


def test_positions_that_look_like_metres_are_asked_about(scan, tmp_path, raw, refusal):
    arrays = raw(scan, xcoords=scan.xcoords * 1e-8, ycoords=scan.ycoords * 1e-8)
    assert "metres? State positions metres and pixel_size_m" in refusal(tmp_path, arrays)
    stated = refusal(tmp_path, arrays, MeasuredConfig(positions="metres"))
    assert "the pixel size of the object is not stated: give pixel_size_m" in stated


@pytest.mark.parametrize(
    ("facts", "part"),
    [
        ({"quantity": "Amplitude"}, "metadata: quantity is 'Amplitude'"),
        ({"quantity": ["counts"]}, "metadata: quantity is"),
        ({"positions": "meters"}, "metadata: positions is 'meters'"),
        ({"dc": {}}, "metadata: dc is"),
        ({"pixel_size_m": "1e-8"}, "pixel_size_m in the metadata is '1e-8'"),
        ({"counts_scale": 0}, "counts_scale in the metadata is 0"),
        ({"steps": 5}, "steps in the metadata is not a list"),
    ],
)
def test_what_the_metadata_state_is_checked(scan, tmp_path, facts, part, raw, refusal):
    assert part in refusal(tmp_path, raw(scan), **facts)


# robust against single pixels ------------------------------------------------------------------------------


@pytest.mark.parametrize("corner", [True, False])
@pytest.mark.parametrize("rows", [(5, 3, 3), (slice(None), 3, 3), (slice(None), slice(None), 2)])
def test_bright_pixels_do_not_move_dc(scan, corner, rows):
    amplitude = np.fft.ifftshift(scan.diffraction, axes=(1, 2)) if corner else scan.diffraction.copy()
    amplitude[rows] = np.sqrt(4e9) / scan.counts_scale
    assert infer.infer_dc(amplitude, "x") == ("corner" if corner else "centre")


def test_a_few_other_values_do_not_change_the_quantity(scan, counts):
    found = counts(scan).astype(np.float32)
    found[3, 2, 2], found[4, 1, 1] = 0.5, np.nan
    assert infer.infer_quantity(found, "x") == "counts"
    assert infer.infer_quantity(np.sqrt(found), "x") == "amplitude"
    assert infer.infer_quantity(1.3 * found, "x") == "amplitude"
    assert infer.infer_quantity(np.minimum(counts(scan), 1), "x") == "counts"  # or amplitude: the same


def test_the_maximum_of_an_integer_type_is_a_bad_pixel(scan, counts, caplog):
    found = counts(scan).astype(np.uint32)
    assert infer.type_maximum_pixels(found, "x") is None
    found[3, 2, 5] = 2**32 - 1
    assert np.argwhere(infer.type_maximum_pixels(found, "x")).tolist() == [[2, 5]]
    assert "x: 1 pixels hold 4294967295, the maximum of uint32: bad" in caplog.text
    assert infer.type_maximum_pixels(found.astype(float), "x") is None


def test_an_odd_side_is_refused(scan, tmp_path, raw, counts, refusal):
    odd = raw(scan, diffraction=counts(scan)[:, 1:, 1:].astype(np.uint32), probeGuess=scan.probe[1:, 1:])
    assert "patterns of 15 x 15 pixels: an even side is expected" in refusal(tmp_path, odd)


def test_positions_in_another_unit_are_questioned(scan, tmp_path, caplog, raw, read):
    read(tmp_path, raw(scan, xcoords=scan.xcoords * 0.01, ycoords=scan.ycoords * 0.01, objectGuess=None))
    assert "are they in another unit, such as micrometres?" in caplog.text
