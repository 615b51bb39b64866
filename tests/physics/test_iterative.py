from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ptycho.data.dataset import Dataset
from ptycho.physics import diffraction, misfit, phase_retrieval
from ptycho.physics.objects import specimen_object
from ptycho.physics.patches import extract_patches

SIDE, SIZE, COUNT = 16, 80, 250
TRUTH = specimen_object(SIZE, 1.5, 0.3, np.random.default_rng(3)).astype(np.complex64)
WELL_LIT = slice(SIDE, SIZE - SIDE)  # where many windows overlap, on both axes


def structured_probe():
    """Return a round probe of random phase: light that tells most, so that few iterations do."""
    phase = gaussian_filter(np.random.default_rng(5).normal(size=(SIDE, SIDE)), 1.0, mode="wrap")
    hann = np.hanning(SIDE + 2)[1:-1]
    probe = np.sqrt(np.outer(hann, hann)) * np.exp(1.5j * phase / phase.std())
    return (probe * (SIDE / 2) / np.linalg.norm(probe)).astype(np.complex64)


def made(x, y, truth=TRUTH):
    """Return noise-free patterns at (x, y)."""
    probe = structured_probe()
    patterns = diffraction.diffraction_amplitude(probe, extract_patches(truth, x, y, SIDE)).astype(np.float32)
    return Dataset(patterns, x, y, probe, truth, None, np.arange(len(x)))


@pytest.fixture(scope="module")
def scan():
    return made(*np.random.default_rng(0).uniform(SIDE / 2, SIZE - SIDE / 2, (2, COUNT)))


def retrieve(data, iterations, seed=0, alpha=0.3, start=None):
    return phase_retrieval.reconstruct(data, iterations, alpha, np.random.default_rng(seed), start)


def error(image):
    """Return the relative error where light is plenty, but for the phase of the whole, which no pattern shows."""
    found, truth = image[WELL_LIT, WELL_LIT], TRUTH[WELL_LIT, WELL_LIT]
    turned = found * np.exp(1j * np.angle((found.conj() * truth).sum()))
    return np.linalg.norm(turned - truth) / np.linalg.norm(truth)


# the object ----------------------------------------------------------------------------------------------


def test_from_nothing_the_object_is_found_but_for_a_global_phase(scan):
    assert error(np.ones_like(TRUTH)) > 0.3
    found = retrieve(scan, 40)
    assert found.object.shape == (SIZE, SIZE)
    assert found.object.dtype == np.complex64
    assert error(found.object) < 0.02
    factors = found.convergence["r_factor"]
    assert factors[0] > 0.15
    assert factors.iloc[-1] < 0.01
    assert (factors[1:5].to_numpy() < factors[0:4].to_numpy()).all()


def test_a_start_from_the_truth_stays(scan):
    found = retrieve(scan, 2, start=TRUTH)
    np.testing.assert_allclose(found.object, TRUTH, atol=1e-5)
    assert (found.convergence["r_factor"] < 1e-5).all()


def test_the_start_is_where_it_begins_and_is_left_as_it_was(scan):
    start = (0.9 * TRUTH + 0.1).astype(np.complex128)
    before = start.copy()
    found = retrieve(scan, 1, start=start)
    np.testing.assert_array_equal(start, before)
    assert found.object.dtype == np.complex64
    assert found.convergence["r_factor"][0] == pytest.approx(misfit.r_factor(start.astype(np.complex64), scan))
    assert found.convergence["r_factor"][1] < 0.7 * retrieve(scan, 1).convergence["r_factor"][1]


def test_what_no_window_holds_is_as_it_was_at_the_start():
    corner = made(np.array([10.0, 12.0]), np.array([9.0, 10.0]))
    start = np.full((SIZE, SIZE), 2j, np.complex64)
    for found, expected in ((retrieve(corner, 1), 1), (retrieve(corner, 1, start=start), 2j)):
        assert (found.object[:, 22:] == expected).all()
        assert (found.object[20:] == expected).all()
        assert np.abs(found.object[4:14, 6:16] - expected).min() > 0


def test_the_truth_is_not_looked_at(scan):
    nonsense = replace(scan, object=np.full_like(TRUTH, 3j), patches=np.full((COUNT, SIDE, SIDE), 7 + 0j))
    found, expected = retrieve(nonsense, 2), retrieve(scan, 2)
    np.testing.assert_array_equal(found.object, expected.object)
    np.testing.assert_array_equal(found.convergence["r_factor"], expected.convergence["r_factor"])


def test_where_the_truth_is_unknown_the_object_holds_every_window(scan):
    found = retrieve(replace(scan, object=None), 1)
    assert found.object.shape == replace(scan, object=None).object_shape


def test_bad_pixels_count_nowhere(scan):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[SIDE // 2 + 1, SIDE // 2] = mask[6, 9] = mask[2, 12] = True  # not symmetric: seen wherever it is shifted
    masked = replace(scan, bad_pixels=mask)
    garbage = replace(masked, diffraction=np.where(mask, np.float32(9), scan.diffraction))
    found, expected = retrieve(garbage, 3), retrieve(masked, 3)
    np.testing.assert_array_equal(found.object, expected.object)
    np.testing.assert_array_equal(found.convergence["r_factor"], expected.convergence["r_factor"])
    assert misfit.r_factor(TRUTH, garbage) < 1e-5
    assert misfit.r_factor(TRUTH, replace(garbage, bad_pixels=None)) > 0.1


def test_the_same_generator_makes_the_same_object(scan):
    np.testing.assert_array_equal(retrieve(scan, 2, seed=4).object, retrieve(scan, 2, seed=4).object)
    assert np.abs(retrieve(scan, 2, seed=4).object - retrieve(scan, 2, seed=5).object).max() > 1e-3


def test_alpha_regularizes_the_steps(scan):
    assert np.abs(retrieve(scan, 1, alpha=1).object - retrieve(scan, 1, alpha=0.1).object).max() > 0.1


# convergence ---------------------------------------------------------------------------------------------


def test_the_convergence_has_a_row_for_the_start_and_each_iteration(scan):
    found = retrieve(scan, 3)
    table = found.convergence
    assert list(table.columns) == ["iteration", "r_factor", "seconds"]
    assert table["iteration"].tolist() == [0, 1, 2, 3]
    assert table["seconds"][0] == 0
    assert (table["seconds"].diff()[1:] > 0).all()
    assert found.seconds == table["seconds"][3]
    assert table["r_factor"][3] == pytest.approx(misfit.r_factor(found.object, scan))


# the start from a network --------------------------------------------------------------------------------


def test_gaps_are_filled_with_the_weighted_mean_and_the_rest_is_left():
    image = np.array([[1 + 1j, 3], [0, 0]], np.complex64)
    weight = np.array([[1, 3], [0, 0]], np.float32)
    found = phase_retrieval.fill_uncovered(image, weight)
    assert found.dtype == np.complex64
    mean = (1 * (1 + 1j) + 3 * 3) / 4
    np.testing.assert_allclose(found, [[1 + 1j, 3], [mean, mean]])


def test_an_object_without_gaps_is_left_as_it_is():
    np.testing.assert_array_equal(phase_retrieval.fill_uncovered(TRUTH, np.full(TRUTH.shape, 0.5, np.float32)), TRUTH)


def test_where_nothing_was_stitched_the_object_is_empty():
    np.testing.assert_array_equal(
        phase_retrieval.fill_uncovered(np.zeros((3, 4), np.complex64), np.zeros((3, 4))), np.ones((3, 4))
    )
