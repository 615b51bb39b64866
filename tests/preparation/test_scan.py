import dataclasses

import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import gaussian_filter, map_coordinates

from ptycho.data.dataset import Reconstruction
from ptycho.data.metadata import Metadata, Step
from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.physics.detector import Detector
from ptycho.preparation import scan
from ptycho.preparation.scan import scan_positions
from ptycho.preparation.specimen import specimen

SIDE, SHAPE = 16, (48, 64)


def simulate(*arguments, **options):
    """Return a simulated dataset with every pattern in memory."""
    return scan.simulate(*arguments, **options).loaded()


@pytest.fixture(scope="module")
def reconstruction():
    rng = np.random.default_rng(0)
    amplitude, phase = (gaussian_filter(rng.normal(size=SHAPE), 2) for _ in range(2))
    y, x = np.indices((SIDE, SIDE)) - SIDE / 2
    return Reconstruction(
        object=((0.8 + amplitude) * np.exp(4j * phase)).astype(np.complex64),
        probe=(3 * np.exp(-(x**2 + y**2) / 20 + 0.05j * (x**2 - y * x))).astype(np.complex64),
        xcoords=np.array([20.0, 31.5, 26.0]),
        ycoords=np.array([12.25, 15.0, 30.0]),
        metadata=Metadata(source="test", steps=(Step("drawn"),)),
    )


def expected_amplitude(dataset):
    """Return |FFT(probe x Y)| / N, by numpy's unscaled transform."""
    waves = dataset.probe.astype(complex) * dataset.patches
    return np.abs(np.fft.fftshift(np.fft.fft2(waves), axes=(1, 2))) / SIDE


def counts(dataset):
    return np.square(dataset.counts_scale * dataset.diffraction.astype(float))


# photons -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_photons", [50.0, 1e4, 1e9])
def test_the_mean_expected_counts_are_the_photons(reconstruction, n_photons):
    dataset = simulate(reconstruction, 40, n_photons, seed=1)
    expected = np.square(dataset.counts_scale * expected_amplitude(dataset)).sum(axis=(1, 2))
    assert expected.mean() == pytest.approx(n_photons, rel=1e-5)
    assert expected.std() > 0.01 * n_photons  # single patterns differ: the object absorbs


@pytest.mark.parametrize("n_photons", [50.0, 1e4, 1e9])
def test_the_mean_summed_square_is_that_of_the_format_within_shot_noise(reconstruction, n_photons):
    dataset = simulate(reconstruction, 40, n_photons, seed=1)
    found = np.square(dataset.diffraction.astype(float)).sum(axis=(1, 2)).mean()
    # the sum of all counts is one Poisson number of mean 40 n_photons; 1e-5 for float32
    assert found == pytest.approx((SIDE / 2) ** 2, rel=4 / np.sqrt(40 * n_photons) + 1e-5)
    assert found != pytest.approx((SIDE / 2) ** 2, rel=1e-3 / np.sqrt(40 * n_photons), abs=0)


def test_the_file_holds_roots_of_whole_counts(reconstruction):
    dataset = simulate(reconstruction, 20, 200.0, seed=1)
    np.testing.assert_allclose(counts(dataset), np.rint(counts(dataset)), atol=1e-3)
    assert counts(dataset).max() > 5
    assert (dataset.diffraction == 0).any()


def test_amplitudes_scatter_about_the_expected_ones_by_half_a_photon(reconstruction):
    # the root of a Poisson number of large mean has the standard deviation 1/2, whatever the mean
    dataset = simulate(reconstruction, 60, 1e6, seed=2)
    expected = dataset.counts_scale * expected_amplitude(dataset)
    residual = (dataset.counts_scale * dataset.diffraction - expected)[expected > 10]
    assert residual.size > 2000
    assert residual.std() == pytest.approx(0.5, rel=4 / np.sqrt(2 * residual.size))
    assert abs(residual.mean()) < 0.03


def test_many_photons_give_the_expected_amplitude(reconstruction):
    dataset = simulate(reconstruction, 10, 1e12, seed=2)
    np.testing.assert_allclose(dataset.diffraction, expected_amplitude(dataset), atol=2e-5)


# positions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("buffer_px", [0.0, 3.5])
@pytest.mark.parametrize("region", ["object", "scan"])
def test_positions_are_uniform_over_the_region(reconstruction, region, buffer_px):
    rng = np.random.default_rng(4)
    found = scan_positions(reconstruction, 4000, region, buffer_px, rng)
    # whole windows fit from N/2 = 8 to 64 - 8 along x and to 48 - 8 along y
    box = {"object": ((8, 56), (8, 40)), "scan": ((20, 31.5), (12.25, 30))}[region]
    for coordinate, (low, high) in zip(found, box, strict=True):
        low, high = low + buffer_px, high - buffer_px
        assert low <= coordinate.min()
        assert coordinate.max() <= high
        assert stats.kstest(coordinate, stats.uniform(low, high - low).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(found)[0, 1]) < 4 / np.sqrt(4000)


def test_a_scan_beyond_the_object_is_cut_to_where_windows_fit(reconstruction):
    wide = dataclasses.replace(reconstruction, xcoords=np.array([0.0, 64]), ycoords=np.array([0.0, 20]))
    x, y = scan_positions(wide, 1000, "scan", 0, np.random.default_rng(0))
    assert (x.min() >= 8, x.max() <= 56, y.min() >= 8, y.max() <= 20) == (True,) * 4


def test_patches_are_the_object_at_the_positions(reconstruction):
    dataset = simulate(reconstruction, 30, 1e4, seed=3)
    pixels = np.arange(SIDE) - SIDE / 2
    rows, columns = np.broadcast_arrays(
        dataset.ycoords[:, None, None] + pixels[:, None], dataset.xcoords[:, None, None] + pixels
    )
    expected = map_coordinates(reconstruction.object.astype(complex), [rows, columns], order=1, mode="nearest")
    np.testing.assert_allclose(dataset.patches, expected, atol=1e-5)


# the dataset ---------------------------------------------------------------------------------------------


def test_the_dataset_has_the_types_of_the_format(reconstruction):
    dataset = simulate(reconstruction, 5, 1e4, seed=3, region="scan")
    types = [getattr(dataset, k).dtype for k in ("diffraction", "xcoords", "ycoords", "probe", "object", "patches")]
    assert types == [np.float32, np.float64, np.float64, np.complex64, np.complex64, np.complex64]
    assert dataset.scan_index.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(dataset.object, reconstruction.object)
    assert (dataset.metadata.n_photons, dataset.metadata.seed) == (1e4, 3)
    assert dataset.metadata.source == "test"
    assert [step.step for step in dataset.metadata.steps] == ["drawn", "simulate"]
    assert dataset.metadata.steps[-1].parameters["region"] == "scan"
    assert len(reconstruction.metadata.steps) == 1


def test_the_seed_decides_everything(reconstruction):
    first, again, other = (simulate(reconstruction, 8, 1e3, seed) for seed in (7, 7, 8))
    for name in ("diffraction", "xcoords", "ycoords", "patches"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert (getattr(first, name) != getattr(other, name)).any()


def test_a_pattern_is_the_same_in_any_order_and_company(reconstruction):
    whole = simulate(reconstruction, 20, 1e3, seed=7)
    lazy = scan.simulate(reconstruction, 20, 1e3, seed=7)
    np.testing.assert_array_equal(lazy.diffraction[np.array([13, 2, 2])], whole.diffraction[[13, 2, 2]])
    np.testing.assert_array_equal(lazy.patches[5:7], whole.patches[5:7])


def test_the_number_of_threads_changes_nothing(reconstruction, tmp_path, monkeypatch):
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        npz.write_dataset(tmp_path / f"{threads}.npz", scan.simulate(reconstruction, 70, 1e3, seed=7))
    one, two = (npz.read_dataset(tmp_path / f"{threads}.npz").loaded() for threads in ("1", "2"))
    np.testing.assert_array_equal(one.diffraction, two.diffraction)
    np.testing.assert_array_equal(one.patches, two.patches)


def test_positions_and_specimen_share_no_random_numbers():
    drawn = specimen(64, 32, 1.5, 0.3, seed=5)
    found = scan.simulate(drawn, drawn.xcoords.size, 1e3, seed=5)
    assert not np.isin(np.round(found.xcoords, 6), np.round(drawn.xcoords, 6)).any()


# the detector --------------------------------------------------------------------------------------------


def test_background_is_poisson_on_top_of_the_pattern(reconstruction):
    found = simulate(reconstruction, 50, 1e4, seed=1, detector=Detector(background_counts=3.0))
    extra = counts(found) - np.square(found.counts_scale * expected_amplitude(found))
    # 50 x 256 pixels of mean 3 and 1e4 photons a pattern: the mean of all is within 4 standard errors
    error = np.sqrt((3.0 + 1e4 / 256) / extra.size)
    assert extra.mean() == pytest.approx(3.0, abs=4 * error)


def test_readout_noise_widens_what_poisson_gives(reconstruction):
    found = simulate(reconstruction, 60, 1e6, seed=2, detector=Detector(readout_noise_counts=20.0))
    expected = np.square(found.counts_scale * expected_amplitude(found))
    bright = expected > 1000  # far from 0, where negative counts are cut
    residual = (counts(found) - expected)[bright]
    assert np.mean(residual**2 / (expected[bright] + 20.0**2)) == pytest.approx(1, abs=5 / np.sqrt(bright.sum() / 2))
    np.testing.assert_allclose(counts(found), np.rint(counts(found)), atol=0.05)


def test_no_pixel_counts_more_than_saturation(reconstruction):
    found = simulate(reconstruction, 20, 1e6, seed=2, detector=Detector(saturation_counts=500.0))
    free = simulate(reconstruction, 20, 1e6, seed=2)
    np.testing.assert_allclose(counts(found), np.minimum(counts(free), 500), rtol=1e-4, atol=1e-3)
    assert (counts(free) > 600).any()


def test_bad_pixels_are_dark_and_noted(reconstruction):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[3, 5] = mask[8, 8] = True
    found = simulate(reconstruction, 10, 1e6, seed=2, detector=Detector(bad_pixels=mask))
    free = simulate(reconstruction, 10, 1e6, seed=2)
    np.testing.assert_array_equal(found.bad_pixels, mask)
    np.testing.assert_array_equal(found.diffraction, free.diffraction * ~mask)
    assert found.metadata.steps[-1].parameters["bad_pixels"]["count"] == 2
    with pytest.raises(InputError, match=r"mask of bad pixels has shape \(8, 8\), the patterns \(16, 16\)"):
        simulate(reconstruction, 4, 1e3, seed=0, detector=Detector(bad_pixels=np.ones((8, 8), bool)))


@pytest.mark.parametrize(
    "wrong", [{"background_counts": -1.0}, {"readout_noise_counts": np.nan}, {"saturation_counts": 0.0}]
)
def test_detectors_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError, match="expected counts of 0 or more"):
        Detector(**wrong)


def test_the_brightness_of_the_probe_given_does_not_matter(reconstruction):
    bright = dataclasses.replace(reconstruction, probe=1000 * reconstruction.probe)
    first, second = simulate(reconstruction, 4, 1e6, seed=1), simulate(bright, 4, 1e6, seed=1)
    np.testing.assert_allclose(second.probe, first.probe, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"n_images": 0}, ["n_images is 0", "positive"]),
        ({"n_photons": 0.0}, ["n_photons is 0", "positive"]),
        ({"n_photons": -5.0}, ["n_photons is -5", "positive"]),
        ({"n_photons": float("nan")}, ["n_photons is nan", "positive"]),
        ({"n_photons": float("inf")}, ["n_photons is inf", "at most 1e+15"]),
        ({"n_photons": 1e30}, ["n_photons is 1e+30", "at most 1e+15"]),
        (
            {"buffer_px": 17.0},
            ["along y", "object of 48 px", "windows of 16 px", "buffer of 17 px", "lower the buffer"],
        ),
        ({"buffer_px": 25.0}, ["along x", "object of 64 px"]),
        ({"buffer_px": 6.0, "region": "scan"}, ["along x", "buffer of 6 px"]),
        ({"buffer_px": -1.0}, ["buffer is -1 px", "0 or more"]),
        ({"buffer_px": float("nan")}, ["buffer is nan px", "0 or more"]),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_one_line(reconstruction, changes, parts):
    arguments = {"n_images": 4, "n_photons": 1e3, "seed": 0}
    with pytest.raises(InputError) as error:
        simulate(reconstruction, **{**arguments, **changes})
    assert "\n" not in str(error.value)
    assert all(part in str(error.value) for part in parts), str(error.value)


def test_an_object_without_light_is_refused(reconstruction):
    with pytest.raises(InputError, match="objectGuess is zero everywhere"):
        dataclasses.replace(reconstruction, object=np.zeros(SHAPE, np.complex64))
