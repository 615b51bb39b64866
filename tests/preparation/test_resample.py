import dataclasses
import os

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal.windows import tukey

import ptycho
from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.data.metadata import Metadata, Step
from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.physics.patches import extract_patches
from ptycho.physics.probes import defocused_probe
from ptycho.preparation import normalize, resample
from ptycho.preparation import split as split_module
from ptycho.preparation.load import read_reconstruction
from ptycho.preparation.normalize import match_counts_scale
from ptycho.preparation.resample import apodize, bin_pixels, fourier_crop, interpolate, pad_to_even, smooth
from ptycho.preparation.scan import simulate

SIDE, SHAPE = 16, (52, 60)


def downsample(*arguments, **options):
    """Return a downsampled dataset with every pattern in memory."""
    return resample.downsample(*arguments, **options).loaded()


def split(*arguments, **options):
    """Return both halves with every pattern in memory."""
    return tuple(part.loaded() for part in split_module.split(*arguments, **options))


def analytic(y, x):
    """Return a smooth transmission at any place, in original pixels: waves of 15 to 25 px."""
    phase = 0.6 * np.sin(2 * np.pi * (x / 19 + y / 25)) + 0.4 * np.cos(2 * np.pi * (y / 15 - x / 40))
    return (1 - 0.2 * np.sin(2 * np.pi * (x - 0.5 * y) / 21)) * np.exp(1j * phase)


def reconstruction(**changes):
    y, x = np.indices(SHAPE)
    arguments = {
        "object": analytic(y, x).astype(np.complex64),
        "probe": defocused_probe(SIDE, np.random.default_rng(0)),
        "xcoords": np.array([14.0, 30.0, 41.25, 22.5]),
        "ycoords": np.array([20.0, 13.0, 30.5, 33.75]),
    }
    return Reconstruction(**{**arguments, **changes})


def dataset(n=40, **changes):
    """Return random patterns whose position, index and content belong together: x is 100 + index, y its mirror."""
    rng = np.random.default_rng(1)
    coordinates = rng.permutation(n).astype(float)
    diffraction = np.zeros((n, SIDE, SIDE), np.float32) + coordinates.astype(np.float32)[:, None, None]
    arguments = {
        "diffraction": diffraction,
        "xcoords": 100 + coordinates,
        "ycoords": 200 - coordinates,
        "probe": np.ones((SIDE, SIDE), np.complex64),
        "object": None,
        "patches": diffraction * 1j,
        "scan_index": np.arange(n),
    }
    return Dataset(**{**arguments, **changes})


# interpolate ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zoom", [1.0, 1.5, 2.0, 2.5, 3.0])
def test_zoomed_pixels_show_the_place_they_lie_at(zoom):
    # pixel q of the zoomed object lies at p with q = (p + 1/2) z - 1/2, also for the probe
    zoomed = interpolate(reconstruction(), zoom)
    shape = tuple(int(size * zoom) for size in SHAPE)
    assert zoomed.object.shape == shape
    assert zoomed.object.dtype == zoomed.probe.dtype == np.complex64
    y, x = (np.indices(shape) + 0.5) / zoom - 0.5
    inside = np.s_[int(5 * zoom) : -int(5 * zoom), int(5 * zoom) : -int(5 * zoom)]  # the spline's edge fades in 5 px
    np.testing.assert_allclose(zoomed.object[inside], analytic(y, x)[inside], atol=2e-3)
    np.testing.assert_allclose(zoomed.xcoords, zoom * reconstruction().xcoords)
    np.testing.assert_allclose(zoomed.ycoords, zoom * reconstruction().ycoords)


def test_the_probe_is_zoomed_by_the_same_map():
    y, x = np.indices((SIDE, SIDE)) - SIDE / 2

    def beam(y, x):
        return np.exp(-((x - 0.7) ** 2 + 1.3 * y**2) / 30 + 0.02j * x * y)

    zoomed = interpolate(reconstruction(probe=beam(y, x)), 2.0)
    fine_y, fine_x = (np.indices((32, 32)) + 0.5) / 2 - 0.5 - SIDE / 2
    np.testing.assert_allclose(zoomed.probe[8:-8, 8:-8], beam(fine_y, fine_x)[8:-8, 8:-8], atol=3e-3)


@pytest.mark.parametrize("zoom", [2, 3])
def test_binning_undoes_the_zoom(zoom):
    before = reconstruction()
    back = bin_pixels(interpolate(before, zoom).object, zoom)
    assert back.shape == SHAPE
    # averaging over a pixel takes (2 pi / 15)^2 / 24 = 0.7 % off the finest wave
    np.testing.assert_allclose(back[3:-3, 3:-3], before.object[3:-3, 3:-3], atol=0.015)
    np.testing.assert_allclose(back, before.object, atol=0.1)


@pytest.mark.parametrize("zoom", [2, 3])
def test_windows_of_the_zoomed_object_are_the_zoomed_windows(zoom):
    before = reconstruction()
    zoomed = interpolate(before, zoom)
    fine = extract_patches(zoomed.object, zoomed.xcoords, zoomed.ycoords, zoom * SIDE)
    pixels = np.arange(SIDE) - SIDE / 2
    exact = analytic(before.ycoords[:, None, None] + pixels[:, None], before.xcoords[:, None, None] + pixels)
    np.testing.assert_allclose(bin_pixels(fine, zoom), exact, atol=0.02)
    coarse = extract_patches(before.object, before.xcoords, before.ycoords, SIDE)
    np.testing.assert_allclose(bin_pixels(fine, zoom), coarse, atol=0.02)


@pytest.mark.parametrize(
    ("zoom", "side"), [(1.3, "20.8"), (0.5, "8"), (17 / 16, "17"), (np.nan, "nan"), (np.inf, "inf")]
)
def test_a_zoom_that_gives_no_even_probe_is_refused(zoom, side):
    with pytest.raises(InputError) as error:
        interpolate(reconstruction(), zoom)
    assert f"zoom factor {zoom:g} turns a probe of 16 pixels into {side}: choose" in str(error.value)
    assert "\n" not in str(error.value)


# smooth --------------------------------------------------------------------------------------------------


def test_smoothing_blurs_real_and_imaginary_part_of_the_target_alone():
    before = reconstruction(object=np.random.default_rng(0).normal(size=SHAPE) + 1j)
    after = smooth(before, "object", 1.5)
    expected = gaussian_filter(before.object.real, 1.5, mode="nearest")
    np.testing.assert_allclose(after.object.real, expected, atol=1e-12)
    np.testing.assert_allclose(after.object.imag, 1, rtol=1e-12)
    assert after.probe is before.probe
    assert smooth(before, "probe", 1.5).object is before.object
    assert np.abs(smooth(before, "probe", 1.5).probe - before.probe).max() > 0.01


def test_no_smoothing_changes_nothing_but_the_history():
    before = reconstruction()
    after = smooth(before, "object", 0)
    np.testing.assert_array_equal(after.object, before.object)
    assert after.metadata.steps[0].parameters == {"target": "object", "sigma_px": 0}


def test_every_step_is_in_the_history():
    after = smooth(interpolate(reconstruction(), 2), "probe", 0.5)
    assert [step.step for step in after.metadata.steps] == ["interpolate", "smooth"]


# downsample ----------------------------------------------------------------------------------------------


def test_binning_averages_blocks_and_cuts_the_rest():
    image = np.arange(35.0).reshape(5, 7)
    # (0 + 1 + 7 + 8) / 4 = 4, and so on: two columns are 2 apart, two rows 14; the last row and column go
    np.testing.assert_array_equal(bin_pixels(image, 2), [[4, 6, 8], [18, 20, 22]])
    np.testing.assert_array_equal(bin_pixels(np.stack([image, image + 1]), 2)[1], [[5, 7, 9], [19, 21, 23]])
    np.testing.assert_array_equal(bin_pixels(image, 1), image)
    assert bin_pixels(image.astype(np.complex64), 2).dtype == np.complex64


@pytest.fixture(scope="module")
def fine():
    return simulate(interpolate(reconstruction(), 2), 60, 1e6, seed=0).loaded()


@pytest.fixture(scope="module")
def small(fine):
    return downsample(fine, 2, 2)


def test_the_mean_summed_square_is_that_of_the_format(small):
    energy = np.square(small.diffraction.astype(float)).sum(axis=(1, 2)).mean()
    assert energy == pytest.approx((SIDE / 2) ** 2, rel=1e-6)


def test_the_centre_of_the_detector_is_kept_count_by_count(fine, small):
    before = np.square(fine.counts_scale * fine.diffraction.astype(float))[:, 8:24, 8:24]
    after = np.square(small.counts_scale * small.diffraction.astype(float))
    np.testing.assert_allclose(after, before, rtol=1e-5)
    assert small.diffraction.dtype == np.float32


def test_the_direct_beam_stays_on_the_centre():
    # a flat wave of 32 x 32: amplitude 1 x 32 at DC; of 16 x 16 in the format: N/2 = 8, by a probe of 1/2
    diffraction = np.zeros((3, 32, 32), np.float32)
    diffraction[:, 16, 16] = 32
    flat = np.ones((32, 32), np.complex64)
    before = dataset(3, diffraction=diffraction, probe=flat, object=None, patches=np.stack([flat] * 3))
    after = downsample(before, 2, 2)
    assert np.argwhere(after.diffraction).tolist() == [[i, 8, 8] for i in range(3)]
    np.testing.assert_allclose(after.diffraction[:, 8, 8], 8, rtol=1e-6)
    np.testing.assert_allclose(after.probe, 0.5, rtol=1e-6)
    assert after.metadata.model_mismatch == pytest.approx(0, abs=1e-6)
    assert after.counts_scale == pytest.approx(4)


def test_patches_stay_the_object_at_the_positions(fine, small):
    np.testing.assert_allclose(small.xcoords, fine.xcoords / 2)
    np.testing.assert_allclose(small.ycoords, fine.ycoords / 2)
    assert small.object.shape == SHAPE
    # bilinear between pixels of 2: the second difference of the finest wave, (2 pi / 15)^2 / 8 of it, 2 %
    cut = extract_patches(small.object, small.xcoords, small.ycoords, SIDE)
    np.testing.assert_allclose(small.patches, cut, atol=0.03)
    assert np.abs(small.patches - np.roll(cut, 1, axis=2)).mean() > 0.05  # one pixel off would show


def test_the_probe_fits_best_and_the_rest_is_the_mismatch(small):
    waves = small.probe.astype(complex) * small.patches
    expected = np.abs(np.fft.fftshift(np.fft.fft2(waves), axes=(1, 2))) / SIDE
    residual = expected - small.diffraction
    # least squares: the residual is orthogonal to what is scaled
    assert abs((residual * expected).sum()) < 1e-5 * np.square(expected).sum()
    mismatch = np.linalg.norm(residual) / np.linalg.norm(small.diffraction)
    assert small.metadata.model_mismatch == pytest.approx(mismatch, rel=1e-3)
    assert 0.001 < mismatch < 0.1


def test_the_fit_keeps_the_form_of_the_probe(fine, small):
    form = fine.probe.reshape(SIDE, 2, SIDE, 2).sum(axis=(1, 3))
    factor = np.vdot(form, small.probe) / np.vdot(form, form)
    assert abs(factor.imag) < 1e-6 * factor.real
    np.testing.assert_allclose(small.probe, factor * form, atol=1e-5)


def test_without_the_truth_the_probe_follows_from_the_pixels(fine):
    bare = downsample(dataclasses.replace(fine, object=None, patches=None), 2, 2)
    assert bare.object is None
    assert bare.patches is None
    # amplitudes fall by the scale; a wave averaged over 2 x 2 pixels has 1/2 of the central amplitudes
    scale = bare.counts_scale / fine.counts_scale
    np.testing.assert_allclose(bare.probe * scale, fine.probe.reshape(SIDE, 2, SIDE, 2).sum(axis=(1, 3)) / 2, atol=1e-5)
    assert bare.metadata.model_mismatch is None


def test_factor_one_changes_only_the_scale(fine):
    same = downsample(fine, 1, 1)
    scale = same.counts_scale / fine.counts_scale
    np.testing.assert_allclose(same.diffraction * scale, fine.diffraction, rtol=1e-5)
    np.testing.assert_allclose(same.probe * scale, fine.probe, rtol=1e-2)
    np.testing.assert_array_equal(same.patches, fine.patches)


@pytest.mark.parametrize(
    ("factors", "parts"),
    [
        ((2, 1), ["crop factor 2", "bin factor 1", "make them equal"]),
        ((3, 3), ["factor 3", "32 x 32", "divisor of 16"]),
        ((32, 32), ["factor 32", "32 x 32", "divisor of 16"]),
        ((0, 0), ["factor 0", "32 x 32"]),
        ((-2, -2), ["factor -2", "32 x 32"]),
    ],
)
def test_factors_that_do_not_fit_are_refused_in_one_line(fine, factors, parts):
    with pytest.raises(InputError) as error:
        downsample(fine, *factors)
    assert "\n" not in str(error.value)
    assert all(part in str(error.value) for part in parts), str(error.value)


def test_the_scale_of_amplitudes_by_hand():
    # two patterns of summed squares 16 x 1 and 16 x 9: mean 80; N/2 = 2, so that 80 / scale^2 = 4
    patterns = np.stack([np.ones((4, 4)), np.full((4, 4), 3.0)]).astype(np.float32)
    before = dataset(2, diffraction=patterns, probe=np.ones((4, 4), np.complex64), patches=None)
    after = normalize.normalize_and_fit_probe(before).loaded()
    np.testing.assert_allclose(after.diffraction, patterns / 20**0.5, rtol=1e-6)
    assert after.counts_scale == pytest.approx(20**0.5)
    np.testing.assert_allclose(after.probe, 1 / 20**0.5, rtol=1e-6)  # scaled with them


def test_dark_patterns_are_refused():
    with pytest.raises(InputError, match="diffraction is zero everywhere: there is nothing to learn from"):
        downsample(dataset(2, diffraction=np.zeros((2, SIDE, SIDE), np.float32), patches=None), 2, 2)


def test_bad_pixels_are_cropped_and_left_out_of_the_fit(fine):
    mask = np.zeros((2 * SIDE, 2 * SIDE), bool)
    mask[16, 16] = mask[0, 0] = True
    dead = dataclasses.replace(fine, bad_pixels=mask, diffraction=fine.diffraction * ~mask)
    found = downsample(dead, 2, 2)
    assert np.argwhere(found.bad_pixels).tolist() == [[8, 8]]
    whole = downsample(fine, 2, 2)
    ratio = np.abs(found.probe * found.counts_scale).sum() / np.abs(whole.probe * whole.counts_scale).sum()
    assert ratio == pytest.approx(1, abs=0.01)  # the brightest pixel is missing, yet the probe is as bright


# the Fourier method --------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2, 4])
def test_fourier_cropping_keeps_waves_within_the_band_and_drops_the_others(factor):
    size = 32
    y, x = np.indices((size, size))
    kept, dropped = np.exp(2j * np.pi * (2 * x - y) / size), np.exp(2j * np.pi * 13 * y / size)
    found = fourier_crop(kept + dropped, factor)
    # the middle of a block of pixels b q ... b q + b - 1 is b q + (b - 1) / 2
    middle = factor * np.arange(size // factor) + (factor - 1) / 2
    expected = np.exp(2j * np.pi * (2 * middle[None] - middle[:, None]) / size)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.complex64


def test_the_fourier_method_leaves_less_mismatch(fine, small):
    better = downsample(fine, 2, 2, "fourier")
    assert better.metadata.model_mismatch < 0.5 * small.metadata.model_mismatch
    assert better.metadata.steps[-1].parameters["method"] == "fourier"
    np.testing.assert_array_equal(better.patches, small.patches)
    np.testing.assert_array_equal(better.diffraction, small.diffraction)


def test_the_mismatch_on_a_real_reconstruction(tmp_path):
    path = os.environ.get("PTYCHO_REAL_INPUT")
    if not path:
        pytest.skip("PTYCHO_REAL_INPUT names no reconstruction")
    npz.write_npz(tmp_path / "even.npz", pad_to_even(npz.read_npz(path)))
    zoomed = smooth(interpolate(read_reconstruction(tmp_path / "even.npz"), 2.0), "object", 0.5)
    simulated = simulate(zoomed, 100, 1e9, seed=42)
    mismatch = {
        method: resample.downsample(simulated, 2, 2, method).metadata.model_mismatch for method in ("bin", "fourier")
    }
    assert 0.04 < mismatch["bin"] < 0.055
    assert mismatch["fourier"] < 0.025


# apodize -------------------------------------------------------------------------------------------------


def test_apodizing_fades_the_target_by_a_tukey_window():
    before = reconstruction()
    after = apodize(before, "probe", 0.5)
    fade = tukey(SIDE, 0.5)
    np.testing.assert_allclose(after.probe, before.probe * fade[:, None] * fade, atol=1e-6)
    assert after.object is before.object
    np.testing.assert_allclose(apodize(before, "object", 0).object, before.object)
    assert after.metadata.steps[-1] == Step("apodize", {"target": "probe", "alpha": 0.5}, ptycho.__version__)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_a_share_beyond_the_image_is_refused(alpha):
    with pytest.raises(InputError, match="expected 0 to 1"):
        apodize(reconstruction(), "object", alpha)


# units ---------------------------------------------------------------------------------------------------


def test_test_patterns_come_to_the_unit_of_the_training():
    before = dataset(4, metadata=Metadata(counts_scale=10.0))
    after = match_counts_scale(before, 8.0).loaded()
    np.testing.assert_allclose(after.diffraction * 8.0, before.diffraction * 10.0, rtol=1e-6)  # the same counts
    np.testing.assert_allclose(after.probe, before.probe * 1.25)
    assert after.counts_scale == 8.0
    assert match_counts_scale(before, 10.0) is before


def test_scans_under_another_light_keep_their_own_scale(caplog):
    before = dataset(4, metadata=Metadata(counts_scale=100.0))
    assert match_counts_scale(before, 1.0) is before
    assert "1e+04 times the energy" in caplog.text


def test_the_pixel_size_follows_the_grid(fine):
    known = reconstruction(metadata=Metadata(pixel_size_m=12e-9))
    assert interpolate(known, 2).metadata.pixel_size_m == pytest.approx(6e-9)
    finer = dataclasses.replace(fine, metadata=dataclasses.replace(fine.metadata, pixel_size_m=6e-9))
    assert downsample(finer, 2, 2).metadata.pixel_size_m == pytest.approx(12e-9)


# split ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize(("fraction", "n_train"), [(0.5, 20), (0.8, 32), (0.99, 39), (0.001, 1)])
def test_training_lies_below_test_along_the_axis(axis, fraction, n_train):
    whole = dataset()
    train, test = split(whole, fraction, axis)
    assert (len(train), len(test)) == (n_train, 40 - n_train)
    coordinate = {"x": lambda part: part.xcoords, "y": lambda part: part.ycoords}[axis]
    assert coordinate(train).max() < coordinate(test).min()
    assert sorted([*train.scan_index, *test.scan_index]) == list(range(40))
    assert train.metadata.split["boundary_px"] == coordinate(train).max()
    assert (train.metadata.part, test.metadata.part) == ("train", "test")


@pytest.mark.parametrize("axis", ["x", "y"])
def test_patterns_keep_their_order_and_what_belongs_to_them(axis):
    for part in split(dataset(), 0.5, axis, gap_px=3):
        assert (np.diff(part.scan_index) > 0).all()
        np.testing.assert_array_equal(part.xcoords, 100 + part.diffraction[:, 0, 0])
        np.testing.assert_array_equal(part.ycoords, 200 - part.diffraction[:, 5, 3])
        np.testing.assert_array_equal(part.patches, part.diffraction * 1j)


@pytest.mark.parametrize(("gap_px", "n_test", "first"), [(0, 20, 120), (1, 20, 120), (1.5, 19, 121), (7, 14, 126)])
def test_the_gap_is_taken_from_the_test_half(gap_px, n_test, first):
    # x runs from 100 to 139; the training half ends at 119
    train, test = split(dataset(), 0.5, "x", gap_px)
    assert (len(train), train.xcoords.max()) == (20, 119)
    assert (len(test), test.xcoords.min()) == (n_test, first)


@pytest.mark.parametrize(
    ("n", "arguments", "message"),
    [
        (40, (0.0,), "40 patterns cannot be split at 0: expected a fraction between 0 and 1"),
        (40, (1.0,), "cannot be split at 1:"),
        (40, (float("nan"),), "cannot be split at nan:"),
        (1, (0.5,), "1 patterns cannot be split"),
        (40, (0.5, "x", 21.0), "a gap of 21 px leaves no test pattern: lower split_gap_px"),
    ],
)
def test_splits_that_leave_a_half_empty_are_refused_in_one_line(n, arguments, message):
    with pytest.raises(InputError) as error:
        split(dataset(n), *arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
