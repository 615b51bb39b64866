import weakref
from itertools import permutations

import numpy as np
import pytest

from ptycho.evaluation import spread as numbers
from ptycho.evaluation.alignment import align
from ptycho.evaluation.comparison import Arm, compare

ALL = np.ones((2, 3), bool)
TRUTH = np.full((2, 3), 10 * np.exp(0.4j))


def trial(amplitude_error, phase_error):
    return (10 + amplitude_error) * np.exp(1j * (0.4 + phase_error)) * np.ones((2, 3))


def test_mean_spread_and_error_by_hand():
    # -1, 2, 5: mean 2, deviations -3, 0, 3, so s² = 18 / 2; mean square (1 + 4 + 25) / 3 = 10
    found = numbers.spread([trial(-1, -0.1), trial(2, 0.2), trial(5, 0.5)], TRUTH, ALL)
    assert (found.trials, found.not_finite) == (3, 0)
    for name, unit in (("amplitude", 1), ("phase", 0.1)):
        part = found.parts[name]
        assert part.error == pytest.approx(np.full((2, 3), 2 * unit))
        assert part.spread == pytest.approx(np.full((2, 3), 3 * unit))
        assert part.trial_error == pytest.approx(np.full((2, 3), np.sqrt(10) * unit))
    assert found.mean == pytest.approx(12 * np.exp(0.6j) * np.ones((2, 3)))
    assert numbers.coverage(found.parts["phase"], 0.66) == 0
    assert numbers.coverage(found.parts["phase"], 0.67) == 1


def test_phase_errors_beyond_pi_are_neighbours_of_those_below():
    found = numbers.spread([trial(0, np.pi + error) for error in (-0.1, 0.1, 0.3)], TRUTH, ALL).parts["phase"]
    assert np.exp(1j * found.error) == pytest.approx(np.exp(1j * (np.pi + 0.1)) * np.ones((2, 3)))
    assert np.abs(found.error).max() <= np.pi
    assert found.spread == pytest.approx(np.full((2, 3), 0.2))
    squares = (np.pi - 0.1) ** 2 + (np.pi - 0.1) ** 2 + (np.pi - 0.3) ** 2  # each wrapped, as the metrics have it
    assert found.trial_error == pytest.approx(np.full((2, 3), np.sqrt(squares / 3)))


@pytest.fixture
def noisy():
    """Five trials of 8 x 9 pixels around a truth, with phase errors on both sides of pi in some."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.5, 1, (8, 9)) * np.exp(1j * rng.uniform(-3, 3, (8, 9)))
    trials = truth * rng.normal(1, 0.2, (5, 8, 9)) * np.exp(1j * rng.normal(0, 1, (5, 8, 9)))
    return trials, truth


def same(first, second):
    for name, part in first.parts.items():
        other = second.parts[name]
        bins = [[numbers.overall(one), *numbers.calibration(one)] for one in (part, other)]
        for expected, found in zip(*bins, strict=True):
            assert vars(found) == pytest.approx(vars(expected))
        assert numbers.coverage(other, 1) == numbers.coverage(part, 1)
    assert second.mean == pytest.approx(first.mean)


def test_the_order_of_the_trials_changes_nothing(noisy):
    trials, truth = noisy
    expected = numbers.spread(trials, truth, np.ones(truth.shape, bool))
    for order in list(permutations(range(5)))[::17]:
        same(expected, numbers.spread(trials[list(order)], truth, np.ones(truth.shape, bool)))


def test_pixels_that_are_not_covered_change_nothing(noisy):
    trials, truth = noisy
    covered = np.ones(truth.shape, bool)
    covered[2:4, 1:5] = False
    expected = numbers.spread(trials, truth, covered)
    assert numbers.overall(expected.parts["amplitude"]).pixels == 72 - 8
    changed = np.where(covered, trials, np.nan)
    same(expected, numbers.spread(changed, np.where(covered, truth, 5), covered))
    assert (expected.mean[~covered] == 0).all()


def test_what_ptychography_leaves_undetermined_changes_nothing(truth):
    rng = np.random.default_rng(1)
    region, covered = (slice(10, 60), slice(20, 80)), np.ones(truth.shape, bool)
    y, x = np.mgrid[: truth.shape[0], : truth.shape[1]]
    raw = truth * rng.normal(1, 0.05, (3, *truth.shape)) * np.exp(1j * rng.normal(0, 0.1, (3, *truth.shape)))
    moved = raw * np.array([1, 0.3, 4])[:, None, None]
    moved[0] *= np.exp(2j)
    moved[1] *= np.exp(1j * (0.3 * y - 0.2 * x))
    aligned = [[align(image, truth, region, 0, covered) for image in images] for images in (raw, moved)]
    found = [
        numbers.spread((one.prediction for one in trials), trials[0].truth, trials[0].covered) for trials in aligned
    ]
    same(*found)
    assert numbers.overall(found[0].parts["phase"]).spread == pytest.approx(0.1, rel=0.05)


def test_the_error_of_single_trials_is_that_of_the_metrics(truth):
    rng = np.random.default_rng(2)
    region = slice(10, 60), slice(20, 80)
    covered = rng.random(truth.shape) > 0.1
    raw = truth * rng.normal(1, 0.1, (3, *truth.shape)) * np.exp(1j * rng.normal(0, 0.4, (3, *truth.shape)))
    results = [
        compare([Arm("PtychoPINN", image, 1)], truth, region, registration_max_px=0, covered=covered) for image in raw
    ]
    objects = [result.objects for result in results]
    found = numbers.spread((one["PtychoPINN"] for one in objects), objects[0]["ground_truth"], covered[region])
    tables = [result.metrics.set_index("metric") for result in results]
    for name, part in found.parts.items():
        squares = [table.loc["rmse", name] ** 2 for table in tables]
        assert numbers.overall(part).rmse_trial == pytest.approx(np.sqrt(np.mean(squares)))


def test_dark_pixels_have_no_phase():
    truth = TRUTH.copy()
    truth[0, 0] = 1e-3
    found = numbers.spread([trial(0, error) for error in (-0.1, 0, 0.1)], truth, ALL)
    assert [numbers.overall(found.parts[name]).pixels for name in ("amplitude", "phase")] == [6, 5]


def test_trials_that_are_not_finite_are_counted_and_left_out():
    bad = trial(0, 0)
    bad[1, 1] = np.nan
    good = [trial(error, 0) for error in (-1, 0, 1)]
    found = numbers.spread([good[0], bad, *good[1:]], TRUTH, ALL)
    assert (found.trials, found.not_finite) == (3, 1)
    assert numbers.overall(found.parts["amplitude"]).spread == pytest.approx(1)
    few = numbers.spread([*good[:2], bad], TRUTH, ALL)
    assert (few.trials, few.not_finite, few.parts) == (2, 1, {})


def test_trials_are_held_one_at_a_time():
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def read():
        nonlocal most
        for error in range(6):
            image = trial(error, 0)
            alive.append(weakref.ref(image))
            most = max(most, sum(one() is not None for one in alive))
            yield image
            del image

    assert numbers.spread(read(), TRUTH, ALL).trials == 6
    assert most <= 2  # one is read while the loop still names the last one


def test_one_reconstruction_given_as_several_trials_is_told():
    assert numbers.spread([trial(0.3, 0.7)] * 4, TRUTH, ALL).identical
    assert not numbers.spread([trial(0.3, error) for error in (0.1, 0.2, 0.3)], TRUTH, ALL).identical


# calibration ---------------------------------------------------------------------------------------------


def test_bins_by_hand():
    # spreads 1 ... 6, shuffled, and two that do not count; errors 10 times as large, of single trials 100 times
    spread = np.array([[5.0, 2, 99, 1], [6, 3, 4, 0]])
    used = np.array([[True, True, False, True], [True, True, True, False]])
    part = numbers.Part(-10 * spread, spread, 100 * spread, used)
    roots = [np.sqrt(square) for square in ((1 + 4) / 2, (9 + 16) / 2, (25 + 36) / 2)]
    found = numbers.calibration(part, bins=3)
    for one, root in zip(found, roots, strict=True):
        assert vars(one) == pytest.approx(
            {"spread": root, "rmse_mean": 10 * root, "rmse_trial": 100 * root, "pixels": 2}
        )
    assert numbers.overall(part).rmse_mean == pytest.approx(10 * np.sqrt(91 / 6))
    assert [one.pixels for one in numbers.calibration(part, bins=4)] == [2, 2, 1, 1]
    assert [one.pixels for one in numbers.calibration(part, bins=99)] == [1] * 6


def test_coverage_by_hand():
    part = numbers.Part(np.array([[0.0, 1, -1, 2, -3]]), np.ones((1, 5)), np.ones((1, 5)), np.ones((1, 5), bool))
    assert [numbers.coverage(part, sigmas) for sigmas in (0.5, 1, 2, 3)] == [0.2, 0.6, 0.8, 1]


def test_expected_coverage_in_closed_form():
    # Student's t with two degrees of freedom: P(|t| < x) = x / sqrt(2 + x²), here at k / sqrt(4/3)
    assert numbers.expected_coverage(1, 3) == pytest.approx(np.sqrt(3 / 11))
    assert numbers.expected_coverage(2, 3) == pytest.approx(np.sqrt(3 / 5))
    # one degree of freedom: 2 / pi arctan x
    assert numbers.expected_coverage(1, 2) == pytest.approx(2 / np.pi * np.arctan(1 / np.sqrt(1.5)))
    assert numbers.expected_coverage(1, 10**7) == pytest.approx(0.6826895, abs=1e-6)
    assert numbers.expected_coverage(2, 10**7) == pytest.approx(0.9544997, abs=1e-6)


@pytest.mark.parametrize("trials", [3, 6, 200])
def test_gaussian_trials_are_calibrated(trials):
    """The truth is one more draw; half of the pixels have three times the spread of the others."""
    shape = (200, 100) if trials < 100 else (60, 50)
    rng = np.random.default_rng(trials)
    sigma = np.where(np.arange(shape[1]) % 2, 0.03, 0.01) * np.ones(shape)

    def draw():
        return (1 + sigma * rng.normal(size=shape)) * np.exp(1j * sigma * rng.normal(size=shape))

    truth = draw()
    found = numbers.spread((draw() for _ in range(trials)), truth, np.ones(shape, bool))
    pixels = sigma.size
    for part in found.parts.values():
        for sigmas in numbers.SIGMAS:
            share = numbers.expected_coverage(sigmas, trials)
            error = np.sqrt(share * (1 - share) / pixels)
            assert numbers.coverage(part, sigmas) == pytest.approx(share, abs=4 * error)
        total = numbers.overall(part)
        mean_square = (0.01**2 + 0.03**2) / 2
        assert total.spread**2 == pytest.approx(mean_square, rel=8 / np.sqrt(pixels * (trials - 1)))
        assert total.rmse_mean**2 == pytest.approx(mean_square * (1 + 1 / trials), rel=8 / np.sqrt(pixels))
        if trials == 200:  # few trials mistake pixels of one kind for the other
            for one, level in zip(numbers.calibration(part, 2), (0.01, 0.03), strict=True):
                assert one.spread == pytest.approx(level, rel=0.01)
                assert one.rmse_mean == pytest.approx(level * np.sqrt(1 + 1 / trials), rel=4 / np.sqrt(pixels))
