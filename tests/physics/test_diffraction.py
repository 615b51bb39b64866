import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import map_coordinates

from ptycho.physics.detector import photon_counts
from ptycho.physics.diffraction import diffraction_amplitude, far_field
from ptycho.physics.patches import extract_patches


def complex_noise(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def dft_by_its_definition(wave):
    """Return sum_xy wave[y, x] exp(-2 pi i (k y + l x) / N) / N for k and l from -N/2 to N/2 - 1."""
    n = len(wave)
    kernel = np.exp(-2j * np.pi * np.outer(np.arange(n) - n // 2, np.arange(n)) / n)
    return kernel @ wave @ kernel.T / n


# far field -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 8, 12])
def test_the_far_field_is_the_fourier_sum(n):
    wave = complex_noise(n, n)
    np.testing.assert_allclose(far_field(wave), dft_by_its_definition(wave), atol=1e-12)


def test_every_wave_of_a_stack_is_transformed_alone():
    waves = complex_noise(2, 3, 8, 8)
    expected = [[dft_by_its_definition(wave) for wave in row] for row in waves]
    np.testing.assert_allclose(far_field(waves), expected, atol=1e-12)


def test_energy_is_kept():
    wave = complex_noise(5, 16, 16)
    before, after = (np.square(np.abs(w)).sum(axis=(1, 2)) for w in (wave, far_field(wave)))
    np.testing.assert_allclose(after, before, rtol=1e-12)


def test_the_direct_beam_falls_on_the_centre():
    # N^2 ones over N: all the light of an even wave is N at [N/2, N/2]
    expected = np.zeros((16, 16))
    expected[8, 8] = 16
    np.testing.assert_allclose(np.abs(far_field(np.ones((16, 16), complex))), expected, atol=1e-12)


def test_a_point_spreads_evenly():
    wave = np.zeros((16, 16), complex)
    wave[3, 11] = 2j
    np.testing.assert_allclose(np.abs(far_field(wave)), 2 / 16, rtol=1e-12)


@pytest.mark.parametrize("shift", [(3, 0), (0, -5), (7, 9)])
def test_moving_the_wave_leaves_the_pattern(shift):
    wave = complex_noise(16, 16)
    moved = np.roll(wave, shift, axis=(0, 1))
    np.testing.assert_allclose(np.abs(far_field(moved)), np.abs(far_field(wave)), atol=1e-12)
    assert np.abs(far_field(moved) - far_field(wave)).max() > 0.1  # what moves is the phase


def test_tilting_the_wave_moves_the_pattern():
    # Fourier shift theorem: rows answer to y, columns to x
    wave, (y, x) = complex_noise(16, 16), np.indices((16, 16))
    tilted = wave * np.exp(2j * np.pi * (2 * y - 3 * x) / 16)
    np.testing.assert_allclose(far_field(tilted), np.roll(far_field(wave), (2, -3), axis=(0, 1)), atol=1e-12)


def test_amplitude_of_probe_times_object():
    probe, patches = complex_noise(8, 8, seed=1), complex_noise(3, 8, 8, seed=2)
    expected = [np.abs(dft_by_its_definition(probe * patch)) for patch in patches]
    np.testing.assert_allclose(diffraction_amplitude(probe, patches), expected, atol=1e-12)
    assert diffraction_amplitude(probe.astype(np.complex64), patches.astype(np.complex64)).dtype == np.float32


# windows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window_px", [2, 8, 20])
def test_windows_at_whole_pixels_are_slices(window_px):
    image, half = complex_noise(20, 31).astype(np.complex64), window_px // 2
    y, x = (grid.ravel() for grid in np.mgrid[half : 20 - half + 1, half : 31 - half + 1])  # all that fit
    patches = extract_patches(image, x.astype(float), y.astype(float), window_px)
    assert patches.dtype == np.complex64
    for patch, column, row in zip(patches, x, y, strict=True):
        np.testing.assert_array_equal(patch, image[row - half : row + half, column - half : column + half])


def test_the_position_is_the_pixel_under_the_centre_index():
    image = np.zeros((20, 31), complex)
    image[7, 12] = 1
    assert np.argwhere(extract_patches(image, np.array([12.0]), np.array([7.0]), 8)).tolist() == [[0, 4, 4]]


@pytest.mark.parametrize("window_px", [2, 8, 16])
def test_windows_between_pixels_are_bilinear(window_px):
    image, half, rng = complex_noise(24, 31), window_px / 2, np.random.default_rng(3)
    x = np.append(rng.uniform(half, 31 - half - 1, 40), [half, 31 - half - 1, half + 1 - 1e-9])
    y = np.append(rng.uniform(half, 24 - half - 1, 40), [24 - half - 1, half, half + 1 - 1e-9])
    pixels = np.arange(window_px) - half
    rows, columns = np.broadcast_arrays(y[:, None, None] + pixels[:, None], x[:, None, None] + pixels)
    expected = map_coordinates(image, [rows, columns], order=1)
    np.testing.assert_allclose(extract_patches(image, x, y, window_px), expected, atol=2e-6)


def test_windows_touch_the_far_edge_without_mixing_in_the_near_one():
    image = np.zeros((16, 16), complex)
    image[0], image[:, 0] = 100, 100
    patch = extract_patches(image, np.array([12.0]), np.array([12.0]), 8)
    assert not patch.any()


# photons -------------------------------------------------------------------------------------------------

N_DRAWS = 40_000


@pytest.mark.parametrize("rate", [0.02, 0.7, 7.3, 400.0])
def test_counts_have_the_mean_and_the_variance_of_poisson(rate):
    counts = photon_counts(np.full(N_DRAWS, rate), np.random.default_rng(1)).astype(float)
    low, high = stats.poisson.interval(1 - 1e-4, N_DRAWS * rate)  # a sum of Poisson numbers is one
    assert low <= counts.sum() <= high
    # Fisher's index of dispersion: sum (k - mean)^2 / mean has variance 2 n (1 + 1 / (2 rate)), about chi2(n - 1)
    dispersion = np.square(counts - counts.mean()).sum() / counts.mean()
    assert abs(dispersion - (N_DRAWS - 1)) < 4 * np.sqrt(2 * N_DRAWS * (1 + 0.5 / rate))


def test_counts_are_distributed_as_poisson():
    counts = photon_counts(np.full(N_DRAWS, 3.0), np.random.default_rng(2)).astype(int)
    observed = np.bincount(np.minimum(counts, 10), minlength=11)
    expected = np.append(stats.poisson.pmf(np.arange(10), 3.0), stats.poisson.sf(9, 3.0)) * N_DRAWS
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_each_pixel_has_its_own_rate():
    rate = np.array([[0.0, 1e6], [1e8, 4e8]])
    counts = photon_counts(rate, np.random.default_rng(0))
    assert counts[0, 0] == 0
    assert (np.abs(counts - rate) <= 5 * np.sqrt(rate)).all()


def test_counts_are_whole_and_follow_from_the_generator():
    first, again, other = (
        photon_counts(np.full((4, 8, 8), 6.25), np.random.default_rng(seed)) for seed in (5, 5, 6)
    )  # fmt: skip
    assert (first == np.rint(first)).all()
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
