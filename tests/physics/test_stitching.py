import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from ptycho.errors import InputError
from ptycho.physics import stitching
from ptycho.physics.stitching import stitch

SIDE, SHAPE = 32, (120, 140)
PROBE = np.outer(np.hanning(SIDE + 2)[1:-1], np.hanning(SIDE + 2)[1:-1]).astype(complex)


def positions(n, rng, whole=False):
    x, y = rng.uniform(SIDE / 2, SHAPE[1] - SIDE / 2, n), rng.uniform(SIDE / 2, SHAPE[0] - SIDE / 2, n)
    return (np.rint(x), np.rint(y)) if whole else (x, y)


def cut(specimen, x, y):
    pixels = np.arange(SIDE) - SIDE / 2
    return specimen(y[:, None, None] + pixels[:, None], x[:, None, None] + pixels)


@pytest.mark.parametrize("crop_px", [20, 7, SIDE])
def test_object_cut_at_whole_pixels_comes_back_exactly(specimen, truth, crop_px):
    x, y = positions(150, np.random.default_rng(0), whole=True)
    stitched = stitch(cut(specimen, x, y), x, y, PROBE, SHAPE, crop_px)
    assert stitched.object.dtype == np.complex64
    assert stitched.weight.dtype == np.float32
    lit = stitched.weight > 0
    assert lit.mean() > 0.2
    np.testing.assert_allclose(stitched.object[lit], truth[lit], atol=1e-6)
    assert not stitched.object[~lit].any()


def test_object_cut_between_pixels_comes_back_but_for_the_blur_of_bilinear_weights(specimen, truth):
    # Spreading over two pixels at fraction f adds a variance of f (1 - f), 1/6 on average, along each axis:
    # a Gaussian-like blur of 0.4 px, which takes (2 pi / 8)^2 / 12 = 5 % off the finest wave, of 8 px.
    x, y = positions(600, np.random.default_rng(0))
    stitched = stitch(cut(specimen, x, y), x, y, PROBE, SHAPE, 20)
    covered = stitched.weight > 1
    assert covered.mean() > 0.5
    assert np.abs(stitched.object - truth)[covered].max() < 0.08


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), crop_px=st.integers(1, 8))
def test_splatting_is_the_adjoint_of_bilinear_interpolation(seed, crop_px):
    # <S p, a> = <p, S* a>: S by stitch (object x weight), S* by scipy's own bilinear interpolation.
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-5, 25, (2, 4))
    patches = rng.normal(size=(4, 8, 8)) + 1j * rng.normal(size=(4, 8, 8))
    image = rng.normal(size=(20, 20))
    stitched = stitch(patches, x, y, np.ones((8, 8), complex), (20, 20), crop_px)
    start = 4 - crop_px // 2
    used = patches[:, start : start + crop_px, start : start + crop_px]
    pixels = np.arange(crop_px) - crop_px // 2
    rows, columns = np.broadcast_arrays(
        y[:, None, None] + pixels[:, None], x[:, None, None] + pixels
    )  # outside of the image is zero, with an edge of half pixels: pad for map_coordinates' sake
    gathered = map_coordinates(np.pad(image, 12), [rows + 12, columns + 12], order=1)
    weight = 1 + stitching.WEIGHT_FLOOR
    np.testing.assert_allclose(
        (stitched.object * stitched.weight * image).sum(),
        weight * (used * gathered).sum(),
        rtol=1e-4,
        atol=1e-4,
    )


def test_patches_are_averaged_by_probe_intensity():
    probe = np.full((4, 4), 0.2, complex)
    probe[2, 2] = 2.0  # intensity relative to the peak: 1 at the centre, 0.01 elsewhere, both plus the floor
    patches = np.stack([np.full((4, 4), 1 + 0j), np.full((4, 4), 3j)])
    stitched = stitch(patches, np.array([5.0, 6.0]), np.array([5.0, 5.0]), probe, (12, 12), 4)
    floor = stitching.WEIGHT_FLOOR
    bright, dark = 1 + floor, 0.01 + floor
    assert stitched.weight[5, 5] == pytest.approx(bright + dark)
    assert stitched.object[5, 5] == pytest.approx((bright * 1 + dark * 3j) / (bright + dark))
    assert stitched.object[5, 6] == pytest.approx((dark * 1 + bright * 3j) / (bright + dark))
    assert stitched.weight.sum() == pytest.approx(2 * (bright + 15 * dark))


def test_the_crop_is_the_centre_of_the_patch():
    patch = np.zeros((1, 8, 8), complex)
    patch[0, 4, 4] = 1
    stitched = stitch(patch, np.array([10.0]), np.array([7.0]), np.ones((8, 8)), (20, 20), 4)
    assert np.argwhere(stitched.object).tolist() == [[7, 10]]
    rows, columns = np.nonzero(stitched.weight)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 8, 8, 11)


def test_what_falls_outside_is_dropped():
    patches = np.ones((2, 4, 4), complex)
    stitched = stitch(patches, np.array([0.0, -50.0]), np.array([0.0, 300.0]), np.ones((4, 4)), (6, 6), 4)
    expected = np.zeros((6, 6))
    expected[:2, :2] = 1
    np.testing.assert_allclose(stitched.object, expected, atol=1e-7)


def test_chunks_change_nothing(specimen, monkeypatch):
    x, y = positions(20, np.random.default_rng(3))
    whole = stitch(cut(specimen, x, y), x, y, PROBE, SHAPE, 20)
    monkeypatch.setattr(stitching, "CHUNK_BYTES", 3 * stitching.BYTES_PER_PIXEL * 400)
    parts = stitch(cut(specimen, x, y), x, y, PROBE, SHAPE, 20)
    np.testing.assert_allclose(parts.object, whole.object, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, complex(0, -np.inf)])
def test_a_patch_that_is_not_finite_spoils_its_own_pixels_only(bad):
    patches = np.ones((2, 4, 4), complex)
    patches[1] = bad
    stitched = stitch(patches, np.array([4.0, 14.0]), np.array([4.0, 4.0]), np.ones((4, 4)), (8, 20), 4)
    assert np.isfinite(stitched.object[:, :10]).all()
    assert not np.isfinite(stitched.object[3:5, 13:15]).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_px": 10}, "stitch_crop_px is 10, expected 1 to 8"),
        ({"crop_px": 0}, "stitch_crop_px is 0"),
        ({"xcoords": np.zeros(3)}, r"patches have shape \(2, 8, 8\)"),
        ({"ycoords": np.zeros(3)}, r"ycoords \(3,\)"),
        ({"probe": np.ones((6, 6))}, r"the probe \(6, 6\)"),
        ({"probe": np.zeros((8, 8))}, "zero everywhere"),
    ],
)
def test_input_that_does_not_fit_is_refused(changes, message):
    arguments = {
        "patches": np.ones((2, 8, 8), complex),
        "xcoords": np.array([5.0, 6.0]),
        "ycoords": np.array([5.0, 6.0]),
        "probe": np.ones((8, 8)),
        "shape": (12, 12),
        "crop_px": 4,
    }
    with pytest.raises(InputError, match=message):
        stitch(**{**arguments, **changes})


# the evaluated region -------------------------------------------------------------------------------------


def test_region_is_the_box_of_the_stitched_crops_less_the_border():
    # crop 20 at x = 50 covers 40 ... 59; at x = 90, 80 ... 99; so the box is 40 ... 99, less 8: 48 ... 91
    rows, columns = stitching.evaluated_region(np.array([50.0, 90.0]), np.array([60.0, 100.0]), 20, (200, 200))
    assert (rows, columns) == (slice(58, 102), slice(48, 92))


def test_region_holds_whole_pixels_only_and_stays_inside_the_object():
    # 50.5 - 10 + 8 = 48.5 -> 49; 90.5 + 9 - 8 = 91.5 -> 91 included. Rows reach beyond the object.
    rows, columns = stitching.evaluated_region(np.array([50.5, 90.5]), np.array([-3.0, 64.0]), 20, (60, 200))
    assert (rows, columns) == (slice(0, 60), slice(49, 92))


@pytest.mark.parametrize("position", [[30.0], [500.0, 560.0], []])
def test_an_empty_region_says_what_to_do(position):
    with pytest.raises(InputError, match=r"use test positions|check the test data"):
        stitching.evaluated_region(np.array(position), np.array(position), 10, (100, 100))
