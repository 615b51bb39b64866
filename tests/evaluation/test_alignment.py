import logging

import numpy as np
import pytest

from ptycho.errors import InputError
from ptycho.evaluation.alignment import align
from ptycho.evaluation.phase_plane import without_plane

REGION = slice(12, 108), slice(15, 125)
Y, X = np.mgrid[:120, :140].astype(float)
CENTRE = 59.5, 69.5  # of REGION


def tilted(image, offset, slope_y, slope_x):
    return image * np.exp(1j * (offset + slope_y * (Y - CENTRE[0]) + slope_x * (X - CENTRE[1])))


def test_the_truth_itself_is_a_perfect_prediction(truth):
    aligned = align(truth, truth, REGION, 3.0)
    assert (aligned.offset_dy, aligned.offset_dx, aligned.registered) == (0, 0, True)
    np.testing.assert_array_equal(aligned.prediction, aligned.truth)
    assert not aligned.phase_difference.any()
    assert aligned.amplitude_scale == 1


@pytest.mark.parametrize("slopes", [(0, 0), (0.02, -0.03), (0.4, -0.9)])
@pytest.mark.parametrize("shift", [(1.3, -0.7), (-2.9, 2.05), (0, 0)])
def test_shift_scale_offset_and_tilt_are_undone(specimen, truth, shift, slopes):
    moved = 0.7 * specimen(Y - shift[0], X - shift[1])
    aligned = align(tilted(moved, 0.4, *slopes), truth, REGION, 3.0)
    assert aligned.registered
    # 1/20 px, and half of that again where the search rounds
    assert aligned.offset_dy == pytest.approx(-shift[0], abs=0.08)
    assert aligned.offset_dx == pytest.approx(-shift[1], abs=0.08)
    assert aligned.amplitude_scale == pytest.approx(1 / 0.7, rel=0.005)
    assert aligned.phase_slope_y == pytest.approx(slopes[0], abs=1e-3)
    assert aligned.phase_slope_x == pytest.approx(slopes[1], abs=1e-3)
    assert aligned.phase_offset_rad == pytest.approx(0.4, abs=0.02)
    assert np.std(np.abs(aligned.prediction) - np.abs(aligned.truth)) < 0.01
    assert aligned.phase_difference.std() < 0.04


def test_a_shift_out_of_bounds_is_refused(specimen, truth, caplog):
    with caplog.at_level(logging.WARNING):
        aligned = align(specimen(Y - 20, X + 3), truth, REGION, 3.0)
    assert (aligned.offset_dy, aligned.offset_dx, aligned.registered) == (0, 0, False)
    assert "registration refused" in caplog.text
    np.testing.assert_allclose(  # where it was, with scale and plane alone
        np.abs(aligned.prediction),
        aligned.amplitude_scale * np.abs(specimen(Y - 20, X + 3))[REGION],
        rtol=1e-5,
    )


def test_a_shift_just_out_of_bounds_is_refused_and_just_within_applied(specimen, truth):
    assert not align(specimen(Y, X - 3.3), truth, REGION, 3.0).registered
    assert align(specimen(Y, X - 2.8), truth, REGION, 3.0).registered


def test_registration_can_be_switched_off(specimen, truth, caplog):
    aligned = align(specimen(Y, X - 2), truth, REGION, 0)
    assert (aligned.offset_dx, aligned.registered, caplog.text) == (0, False, "")


def test_noise_moves_nothing_that_lies_well(truth):
    noise = np.random.default_rng(2).normal(size=(2, *truth.shape))
    aligned = align(truth + 0.4 * (noise[0] + 1j * noise[1]), truth, REGION, 3.0)
    assert abs(aligned.offset_dy) + abs(aligned.offset_dx) <= 0.1


def test_slow_errors_of_the_phase_move_nothing_that_lies_well(truth):
    aligned = align(truth * np.exp(1j * np.sin(X / 20) * np.cos(Y / 25)), truth, REGION, 3.0)
    assert abs(aligned.offset_dy) + abs(aligned.offset_dx) <= 0.1


def test_registration_never_makes_the_match_worse(truth):
    rng = np.random.default_rng(4)
    for _ in range(5):
        wrong = truth[::-1, ::-1] + rng.normal(0, 0.3, truth.shape)
        moved, unmoved = (align(wrong, truth, REGION, bound) for bound in (50, 0))
        errors = [np.mean(np.abs(a.prediction - a.truth) ** 2) for a in (moved, unmoved)]
        assert errors[0] <= errors[1]


def test_what_lies_beyond_the_region_does_not_enter_it(specimen, truth):
    moved = specimen(Y - 1.3, X + 0.7)
    rim = np.ones(truth.shape, bool)
    rim[7:113, 10:130] = False
    for outside in (0, 1e3, np.nan):
        aligned = align(np.where(rim, outside, moved), truth, REGION, 3.0)
        assert aligned.offset_dy == pytest.approx(-1.3, abs=0.08)
        assert np.abs(aligned.prediction - aligned.truth).std() < 0.04


@pytest.mark.parametrize("value", [0, 1, 1e-20, 3 - 4j])
def test_a_constant_prediction_passes_unmoved(truth, value):
    aligned = align(np.full(truth.shape, value, complex), truth, REGION, 3.0)
    assert (aligned.offset_dy, aligned.offset_dx, aligned.registered) == (0, 0, False)
    assert np.isfinite(aligned.prediction).all()
    # nothing of the truth's phase is explained, but for its plane
    expected, _ = without_plane(np.angle(truth[REGION]))
    assert aligned.phase_difference.std() == pytest.approx(expected.std(), rel=0.01)


@pytest.mark.parametrize("value", [np.nan, np.inf, complex(np.inf, np.nan)])
def test_values_that_are_not_finite_give_nan(truth, value):
    broken = truth.copy()
    broken[50, 50] = value
    aligned = align(broken, truth, REGION, 3.0)
    assert np.isnan(aligned.prediction).all()
    assert np.isnan(aligned.phase_difference).all()
    assert not aligned.registered


def test_a_truth_of_zeros_does_not_crash(truth):
    aligned = align(truth, np.zeros_like(truth), REGION, 3.0)
    assert not aligned.prediction.any()


def test_shapes_must_agree(truth):
    with pytest.raises(InputError, match="same shape"):
        align(truth[:-1], truth, REGION, 3.0)
