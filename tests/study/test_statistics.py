import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ptycho.study import statistics, tables
from ptycho.study.trials import read_trials


def wide_of(write_study, pinn, baseline):
    trials = {(64, n): {"PtychoPINN": p, "Baseline": b} for n, (p, b) in enumerate(zip(pinn, baseline, strict=True))}
    return tables.results_all_trials(read_trials(write_study(trials)))


def line(table, quantity, metric="psnr", part="phase"):
    rows = table[(table["quantity"] == quantity) & (table["metric"] == metric) & (table["part"] == part)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_medians_differences_and_their_test(write_study):
    wide = wide_of(write_study, [30, 31, 32, 33, 34, 35], [29, 29, 29, 29, 29, 29])
    table = statistics.study_statistics(wide, seed=1)
    assert list(table.columns) == statistics.COLUMNS
    difference = line(table, "pinn_minus_baseline")
    # 1, 2, ..., 6: all positive, so exactly 2 of the 2**6 signed rankings are as extreme
    assert (difference.estimate, difference.n, difference.p_value) == (3.5, 6, 2 / 2**6)
    assert difference.ci_low <= 3.5 <= difference.ci_high
    assert difference.verdict == "PtychoPINN better"
    assert line(table, "pinn_median").estimate == 32.5
    constant = line(table, "baseline_median")
    assert (constant.estimate, constant.ci_low, constant.ci_high) == (29, 29, 29)
    assert line(table, "pinn_minus_baseline", "mae").verdict == "PtychoPINN better"  # less error, so negative
    assert line(table, "pinn_minus_baseline", "mae").estimate < 0


def test_five_trials_cannot_reach_the_level_and_say_so(write_study):
    wide = wide_of(write_study, [20, 20, 20, 20, 20], [21, 22, 23, 24, 25])
    difference = line(statistics.study_statistics(wide, seed=1), "pinn_minus_baseline")
    assert difference.p_value == 0.0625
    assert (difference.ci_low, difference.ci_high) == (-5, -1)  # up to five values the interval is the range
    assert difference.verdict == "Baseline ahead in every trial"


@pytest.mark.parametrize(
    ("pinn", "baseline", "n"),
    [
        ([30, 31, 32, 33], [20, 20, 20, 20], 4),  # too few
        ([30, 31, 32, 33, float("nan")], [20, 20, 20, 20, 20], 4),  # too few pairs
        ([30, 31, 32, 18, 17, 16], [20, 20, 20, 20, 20, 20], 6),  # either way
        ([20, 20, 20, 20, 20], [20, 20, 20, 20, 20], 5),  # equal
    ],
)
def test_what_is_not_resolved_is_called_so(write_study, pinn, baseline, n):
    difference = line(statistics.study_statistics(wide_of(write_study, pinn, baseline), 0), "pinn_minus_baseline")
    assert difference.verdict == "not resolved"
    assert difference.n == n
    assert np.isnan(difference.p_value) == (n < 5)


def test_few_values_have_no_interval_and_infinite_ones_count_by_their_rank(write_study):
    two = line(statistics.study_statistics(wide_of(write_study, [30, 31], [20, 22]), 0), "pinn_median")
    assert (two.estimate, two.n) == (30.5, 2)
    assert np.isnan([two.ci_low, two.ci_high]).all()
    table = statistics.study_statistics(wide_of(write_study, [30.0, np.inf, np.inf], [20.0, 22.0, np.inf]), 0)
    assert line(table, "pinn_median").estimate == np.inf
    assert line(table, "pinn_median")[["ci_low", "ci_high"]].tolist() == [30, np.inf]
    assert line(table, "pinn_minus_baseline").estimate == 10  # of 10, inf and, where both are perfect, 0


def test_the_seed_alone_decides_and_other_sizes_change_nothing(write_study):
    pinn = list(np.random.default_rng(3).normal(30, 2, 9))
    wide = wide_of(write_study, pinn, [29.0] * 9)
    first, again = statistics.study_statistics(wide, 5), statistics.study_statistics(wide, 5)
    assert first.equals(again)
    both = statistics.study_statistics(pd.concat([wide.assign(train_size=32), wide]), 5)
    assert both[both["train_size"] == 64].reset_index(drop=True).equals(first)


def test_p_value_is_the_sign_flip_distribution_of_the_rank_sum():
    differences = np.array([0.3, -0.1, 0.9, 0.4, 0.5, -0.2, 0.8])
    ranks = stats.rankdata(np.abs(differences))
    flips = np.array(np.meshgrid(*[[0, 1]] * 7)).reshape(7, -1).T @ ranks  # all 128 sums of positive ranks
    observed = ranks[differences > 0].sum()
    expected = 2 * np.mean(flips >= observed)
    assert statistics.paired_p_value(differences) == pytest.approx(expected)


def test_one_model_alone_has_no_difference(write_study):
    wide = wide_of(write_study, [30, 31, 32], [1, 2, 3])
    table = statistics.study_statistics(wide[wide["model_type"] == "pinn"], 0)
    assert set(table["quantity"]) == {"pinn_median"}


# how many images ------------------------------------------------------------------------------------------

SIZES = np.array([64.0, 128, 256, 512])


@pytest.mark.parametrize(
    ("target", "images"),
    [(20, 64), (19, 0), (22, 128), (21, 64 * 2**0.5), (25, 256 * 2**0.25), (28, 512), (29, np.inf), (np.nan, np.nan)],
)
def test_images_needed_are_interpolated_over_octaves(target, images):
    medians = np.array([20.0, 22, 24, 28])
    assert statistics.images_needed(SIZES, medians, target, True) == pytest.approx(images, nan_ok=True)
    assert statistics.images_needed(SIZES, -medians, -target, False) == pytest.approx(images, nan_ok=True)


def test_the_first_crossing_counts():
    assert statistics.images_needed(SIZES, np.array([20.0, 24, 21, 28]), 22, True) == pytest.approx(64 * 2**0.5)


@pytest.mark.parametrize(
    ("medians", "size"),
    [
        ([20, 20.4, 20.5, 20.6], 64),
        ([20, 21, 21.2, 21.3], 128),
        ([20, 21, 21.1, 22], np.inf),
        ([20, 19, 20, 20.1], 256),
    ],
)
def test_enough_is_from_where_no_doubling_gains_half_a_decibel(medians, size):
    assert statistics.enough_images(SIZES, np.array(medians, float)) == size


def study_of(pinn, baseline, write_study):
    """Trials with a phase PSNR as given, by size: {64: [20, 21, 22], ...}."""
    trials = {
        (size, n): {"PtychoPINN": p, "Baseline": b}
        for size in pinn
        for n, (p, b) in enumerate(zip(pinn[size], baseline[size], strict=True), 1)
    }
    return tables.results_all_trials(read_trials(write_study(trials)))


def factors(table):
    rows = table[
        (table["quantity"] == statistics.EFFICIENCY) & (table["metric"] == "psnr") & (table["part"] == "phase")
    ]
    return rows.set_index("train_size")


def test_a_baseline_that_needs_twice_the_images(write_study):
    pinn = {64: [22.0, 22, 22], 128: [24.0, 24, 24], 256: [26.0, 26, 26]}
    baseline = {64: [20.0, 20, 20], 128: [22.0, 22, 22], 256: [24.0, 24, 24]}
    found = factors(statistics.study_statistics(study_of(pinn, baseline, write_study), 0))
    assert found.loc[[64, 128], "estimate"].tolist() == [2, 2]
    assert found.loc[64, ["ci_low", "ci_high"]].tolist() == [2, 2]
    assert found.loc[64, "verdict"] == "Baseline needs more images"
    assert found.loc[256, "estimate"] == np.inf
    assert found.loc[256, "verdict"].endswith("not reached with 256 images: more than 1")


def test_a_baseline_that_needs_fewer_and_one_that_is_not_told_apart(write_study):
    pinn = {64: [20.0, 20, 20], 128: [22.0, 22, 22]}
    fewer = factors(statistics.study_statistics(study_of(pinn, {64: [23.0] * 3, 128: [24.0] * 3}, write_study), 0))
    assert fewer.loc[128, "estimate"] == 0
    assert fewer.loc[128, "verdict"] == "PtychoPINN needs more images; reached with 64 images already: less than 0.5"
    noisy = {64: [15.0, 20, 30], 128: [16.0, 22, 31]}
    same = factors(statistics.study_statistics(study_of(pinn, noisy, write_study), 0))
    assert same.loc[64, "verdict"].startswith("not resolved")


def test_two_trials_resolve_nothing(write_study):
    pinn, baseline = {64: [22.0, 22], 128: [24.0, 24]}, {64: [20.0, 20], 128: [22.0, 22]}
    found = factors(statistics.study_statistics(study_of(pinn, baseline, write_study), 0))
    assert found.loc[64, "estimate"] == 2
    assert np.isnan(found.loc[64, "ci_low"])
    assert found.loc[64, "verdict"].startswith("not resolved")


def test_enough_images_of_a_study(write_study):
    pinn = {64: [20.0, 20, 20], 128: [22.0, 22, 22], 256: [22.1, 22.1, 22.1]}
    table = statistics.study_statistics(study_of(pinn, pinn, write_study), 0)
    row = table[(table["quantity"] == "pinn_images_enough") & (table["part"] == "phase")].iloc[0]
    assert (row["estimate"], row["ci_low"], row["ci_high"], row["verdict"]) == (128, 128, 128, "resolved")
    assert pd.isna(row["train_size"])


def test_two_models_that_do_the_same_need_the_same(write_study):
    same = {64: [20.0, 21, 22], 128: [23.0, 24, 25]}
    found = factors(statistics.study_statistics(study_of(same, same, write_study), 0))
    assert found["estimate"].tolist() == [1, 1]
    assert found["verdict"].tolist() == ["not resolved", "not resolved"]


def test_a_trial_that_failed_does_not_protect_the_other_model(write_study):
    nan = float("nan")
    trials = {(64, n): {"PtychoPINN": 23.0 + n / 10, "Baseline": 20.0} for n in range(1, 10)}
    trials[64, 10] = {"PtychoPINN": 23.0, "Baseline": (nan, "failed")}
    wide = tables.results_all_trials(read_trials(write_study(trials)))
    row = line(statistics.study_statistics(wide, 0), "pinn_minus_baseline")
    assert (row["n"], row["verdict"]) == (10, "PtychoPINN better")
    assert row["p_value"] < 0.01


# resampling ----------------------------------------------------------------------------------------------


def one_by_one(values, rng):
    """The interval of a median, a resample after the other."""
    drawn = np.sort([tables.quantile(rng.choice(values, values.size), 0.5) for _ in range(statistics.RESAMPLES)])
    return drawn[25], drawn[973]  # 2.5 and 97.5 % of 998


def median_of(values):
    """The median by hand: the middle value, or the mean of the two in the middle, which may be infinite."""
    low, high = sorted(values)[(len(values) - 1) // 2], sorted(values)[len(values) // 2]
    return low if low == high else 0.5 * low + 0.5 * high


@pytest.mark.parametrize("n", [3, 4, 7, 10])
def test_resamples_are_drawn_at_once_with_the_same_random_numbers(n):
    values = np.random.default_rng(n).normal(size=n)
    values[0] = -np.inf
    expected = one_by_one(values, np.random.default_rng(5))
    assert statistics.median_interval(values, np.random.default_rng(5)) == expected


@pytest.mark.parametrize("counts", [(5, 5, 5), (3, 4, 6)])
def test_resampling_of_all_sizes_is_that_of_one_resample_after_the_other(counts):
    rng = np.random.default_rng(1)
    sizes = np.array([64, 128, 256])
    arrays = {
        int(size): np.stack([rng.normal(20 + 2 * i, 1, n), rng.normal(19 + 2 * i, 1, n)], axis=1)
        for i, (size, n) in enumerate(zip(sizes, counts, strict=True))
    }
    arrays[128][0, 1] = -np.inf  # a trial that failed
    frames = {size: pd.DataFrame(array, columns=["pinn", "baseline"]) for size, array in arrays.items()}

    def figure(medians):
        return statistics.images_needed(sizes, medians["baseline"], medians["pinn"][..., 0], True)

    def by_hand(samples):
        medians = [[median_of(values[:, i]) for values in samples] for i in range(2)]
        return statistics.images_needed(sizes, np.array(medians[1]), medians[0][0], True)

    drawing = np.random.default_rng(9)
    drawn = np.sort(
        [
            by_hand([v[drawing.integers(len(v), size=len(v))] for v in arrays.values()])
            for _ in range(statistics.RESAMPLES)
        ]
    )
    found = statistics._bootstrapped(frames, figure, np.random.default_rng(9))
    np.testing.assert_allclose(found, [by_hand(list(arrays.values())), drawn[25], drawn[973], min(counts)], rtol=1e-12)


def test_figures_of_many_resamples_are_those_of_each():
    medians = np.random.default_rng(2).normal(20, 2, (50, 4))
    medians[3, 1], medians[4, 2], medians[5, 0] = -np.inf, np.inf, np.nan
    target = np.random.default_rng(3).normal(20, 2, 50)
    needed = statistics.images_needed(SIZES, medians, target, True)
    enough = statistics.enough_images(SIZES, medians)
    for i in range(50):
        np.testing.assert_equal(needed[i], statistics.images_needed(SIZES, medians[i], target[i], True))
        np.testing.assert_equal(enough[i], statistics.enough_images(SIZES, medians[i]))


def test_a_study_of_six_sizes_takes_few_calls_of_quantiles(write_study, monkeypatch):
    trials = {(2**k, n): {"PtychoPINN": 20.0 + k + n, "Baseline": 19.0 + k + n} for k in range(6, 12) for n in range(5)}
    wide = tables.results_all_trials(read_trials(write_study(trials)))
    calls = []
    true = tables.quantiles
    for module in (tables, statistics):
        monkeypatch.setattr(module, "quantiles", lambda *given: calls.append(1) or true(*given))
    statistics.study_statistics(wide, 0)
    assert len(calls) < 1000
