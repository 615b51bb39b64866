from dataclasses import replace

import numpy as np
import pytest

from ptycho.data.dataset import Dataset
from ptycho.physics import diffraction, misfit
from ptycho.physics.misfit import Agreement, OrderTest, pattern_residuals
from ptycho.physics.patches import extract_patches
from ptycho.physics.probes import gaussian_probe

SIDE, SIZE, COUNT = 16, 60, 250

# R-factor ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scan():
    """Noise-free patterns of a random object."""
    rng = np.random.default_rng(0)
    truth = (rng.uniform(0.5, 1, (SIZE, SIZE)) * np.exp(1j * rng.uniform(0, 1, (SIZE, SIZE)))).astype(np.complex64)
    x, y = rng.uniform(SIDE / 2, SIZE - SIDE / 2, (2, COUNT))
    probe = gaussian_probe(SIDE, rng)
    patterns = diffraction.diffraction_amplitude(probe, extract_patches(truth, x, y, SIDE)).astype(np.float32)
    return Dataset(patterns, x, y, probe, truth, None, np.arange(COUNT))


def test_the_r_factor_by_hand():
    # an empty object in flat light gives all in the centre: 4 pixels / 2
    mask = np.array([[True, False], [False, False]])
    patterns = np.array([[[1, 0], [0, 4]]], np.float32)
    light = np.ones((2, 2), np.complex64)
    pattern = Dataset(patterns, np.array([2.0]), np.array([2.0]), light, None, None, np.arange(1))
    empty = np.ones((4, 4), np.complex64)
    assert misfit.r_factor(empty, pattern) == pytest.approx((1 + 2) / (1 + 4))
    assert misfit.r_factor(empty, replace(pattern, bad_pixels=mask)) == pytest.approx(2 / 4)


def test_the_r_factor_does_not_see_a_global_phase(scan):
    assert misfit.r_factor(scan.object * np.exp(1j), scan) < 1e-5
    assert misfit.r_factor(1.1 * scan.object, scan) == pytest.approx(0.1, rel=1e-4)


def test_the_r_factor_is_of_patterns_spread_over_the_scan(scan, monkeypatch):
    empty = np.ones_like(scan.object)
    monkeypatch.setattr(misfit, "R_FACTOR_PATTERNS", 3)  # 0, 124 and 249
    expected = misfit.r_factor(empty, scan.take([0, 124, 249]))
    assert misfit.r_factor(empty, scan) == pytest.approx(expected)
    monkeypatch.setattr(misfit, "R_FACTOR_PATTERNS", COUNT)
    assert misfit.r_factor(empty, scan) != pytest.approx(expected, rel=1e-6)


def test_only_patterns_on_covered_pixels_count(scan, monkeypatch):
    covered = np.zeros((SIZE, SIZE), bool)
    covered[:, : SIZE // 2 + 4] = True
    garbage = np.where(covered, scan.object, np.nan)
    empty, broken = np.ones_like(scan.object), np.where(covered, np.nan, scan.object)
    calls = []
    share = misfit.light_share
    monkeypatch.setattr(misfit, "light_share", lambda *given: calls.append(given) or share(*given))
    found = misfit.covered_r_factors([garbage, empty, broken], scan, covered)
    assert found[0] < 0.02  # up to a hundredth of the light falls elsewhere
    assert found[1] > 5 * found[0]
    assert np.isnan(found[2])
    assert len(calls) == 1
    assert np.isnan(misfit.covered_r_factors([empty], scan, np.zeros_like(covered))).all()


# relative misfit -----------------------------------------------------------------------------------------


def agreement(expected, measured):
    return Agreement(*(float(np.vdot(a, b)) for a, b in ((expected, measured), (expected, expected), (measured,) * 2)))


def test_the_misfits_are_relative_l2_norms():
    rng = np.random.default_rng(0)
    expected, measured = rng.random((2, 3, 8, 8))
    found, norm = agreement(expected, measured), np.linalg.norm
    assert found.relative_misfit == pytest.approx(norm(expected - measured) / norm(measured))
    (factor,) = np.linalg.lstsq(expected.reshape(-1, 1), measured.ravel(), rcond=None)[0]
    assert found.best_factor == pytest.approx(factor)
    assert found.fitted_misfit == pytest.approx(norm(factor * expected - measured) / norm(measured))
    assert found.fitted_misfit < found.relative_misfit


def test_a_wrong_scale_alone_is_fitted():
    measured = np.random.default_rng(0).random((3, 8, 8))
    found = agreement(0.5 * measured, measured)
    assert (found.best_factor, found.relative_misfit) == (pytest.approx(2), pytest.approx(0.5))
    assert found.fitted_misfit == pytest.approx(0, abs=1e-7)


def test_rounding_below_zero_is_no_misfit():
    assert Agreement(1.0 + 1e-15, 1.0, 1.0).fitted_misfit == 0
    assert Agreement(1.0 + 1e-15, 1.0, 1.0).relative_misfit == 0


# pattern by pattern, and in other orders -----------------------------------------------------------------


def test_residuals_of_patterns_sum_to_the_squared_misfit():
    expected, measured = np.random.default_rng(0).random((2, 5, 8, 8))
    factor, residuals = pattern_residuals(expected, measured)
    whole = agreement(expected, measured)
    assert factor == pytest.approx(whole.best_factor)
    assert residuals.sum() == pytest.approx(whole.fitted_misfit**2)
    alone = np.square(factor * expected[2] - measured[2]).sum() / np.square(measured).sum()
    assert residuals[2] == pytest.approx(alone)
    assert pattern_residuals(0 * expected, measured) is None


def test_the_slope_tells_patterns_of_their_positions_from_others_whatever_the_noise():
    rng = np.random.default_rng(1)
    expected = 1 + rng.random((40, 8, 8))
    measured = 2 * expected + rng.normal(size=expected.shape)
    test = OrderTest.of(expected, measured, 2.0)
    assert test.slope == pytest.approx(1, abs=0.1)
    assert test.other_slopes.size == 39
    assert np.abs(test.other_slopes).max() < 0.3
    assert test.other_residual > pattern_residuals(expected, measured)[1].sum()
    shuffled = OrderTest.of(expected, np.roll(measured, 7, 0), 2.0)
    assert abs(shuffled.slope) < 0.3
    assert shuffled.other_slopes.max() == pytest.approx(test.slope)
    assert np.isnan(OrderTest.of(np.ones((4, 8, 8)), measured[:4], 1.0).slope)
