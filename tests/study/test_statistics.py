import numpy as np
import pandas as pd
import pytest

from ptycho.study import resampling, statistics, tables
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
    # the interval of 95 % is that of the smallest and the largest: it misses with probability 2 / 2**6
    assert (difference.ci_low, difference.ci_high, difference.interval) == (1, 6, "exact signed rank")
    assert difference.p_holm == 4 * 2 / 2**6  # PSNR and MAE, amplitude and phase
    assert difference.verdict == "PtychoPINN ahead in every trial"
    assert line(table, "pinn_median").estimate == 32.5
    constant = line(table, "baseline_median")
    assert (constant.estimate, constant.ci_low, constant.ci_high) == (29, 29, 29)
    assert line(table, "pinn_minus_baseline", "mae").verdict == "PtychoPINN ahead in every trial"  # less, so negative
    assert line(table, "pinn_minus_baseline", "mae").estimate < 0


def test_five_trials_cannot_reach_the_level_and_say_so(write_study):
    wide = wide_of(write_study, [20, 20, 20, 20, 20], [21, 22, 23, 24, 25])
    difference = line(statistics.study_statistics(wide, seed=1), "pinn_minus_baseline")
    assert difference.p_value == 0.0625
    assert np.isnan([difference.ci_low, difference.ci_high]).all()  # the range would be one of 93.75 %
    assert difference.interval == "fewer than 6 pairs"
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
    # of 10, inf and, where both are perfect, 0: means of two are 0, 5, 10 and three times inf
    assert line(table, "pinn_minus_baseline").estimate == np.inf


def test_the_seed_alone_decides_and_other_sizes_change_nothing(write_study):
    pinn = list(np.random.default_rng(3).normal(30, 2, 9))
    wide = wide_of(write_study, pinn, [29.0] * 9)
    first, again = statistics.study_statistics(wide, 5), statistics.study_statistics(wide, 5)
    assert first.equals(again)
    both = statistics.study_statistics(pd.concat([wide.assign(train_size=32), wide]), 5)
    family = ["p_holm", "verdict"]  # corrected for the comparisons of both sizes
    found = both[both["train_size"] == 64].reset_index(drop=True)
    assert found.drop(columns=family).equals(first[first["train_size"] == 64].drop(columns=family))


def test_one_model_alone_has_no_difference(write_study):
    wide = wide_of(write_study, [30, 31, 32], [1, 2, 3])
    table = statistics.study_statistics(wide[wide["model_type"] == "pinn"], 0)
    assert set(table["quantity"]) == {"pinn_median"}


def test_a_trial_that_failed_does_not_protect_the_other_model(write_study):
    nan = float("nan")
    trials = {(64, n): {"PtychoPINN": 23.0 + n / 10, "Baseline": 20.0} for n in range(1, 10)}
    trials[64, 10] = {"PtychoPINN": 23.0, "Baseline": (nan, "failed")}
    wide = tables.results_all_trials(read_trials(write_study(trials)))
    row = line(statistics.study_statistics(wide, 0), "pinn_minus_baseline")
    assert (row["n"], row["verdict"]) == (10, "PtychoPINN better")
    assert row["p_value"] < 0.01


def test_a_study_of_six_sizes_takes_few_calls_of_quantiles(write_study, monkeypatch):
    trials = {(2**k, n): {"PtychoPINN": 20.0 + k + n, "Baseline": 19.0 + k + n} for k in range(6, 12) for n in range(5)}
    wide = tables.results_all_trials(read_trials(write_study(trials)))
    calls = []
    true = tables.quantiles
    for module in (tables, resampling):
        monkeypatch.setattr(module, "quantiles", lambda *given: calls.append(1) or true(*given))
    statistics.study_statistics(wide, 0)
    assert len(calls) < 1000


def test_all_sizes_together_resolve_what_one_size_cannot(write_study):
    gains = {64: [1.0, 2, 3, 4, 5, 6], 128: [2.0, 3, 4, 5, 6, 7], 256: [1.0, 1, 1, 1, 1, 1], 512: [0.1] * 6}
    trials = {
        (size, n): {"PtychoPINN": 20 + gain, "Baseline": 20.0}
        for size in gains
        for n, gain in enumerate(gains[size], 1)
    }
    table = statistics.study_statistics(tables.results_all_trials(read_trials(write_study(trials))), 0)
    overall = line(table, "pinn_minus_baseline_all_sizes")
    assert pd.isna(overall.train_size)
    assert overall.estimate == pytest.approx((3.5 + 4.5 + 1 + 0.1) / 4)
    assert (overall.n, overall.p_value) == (24, 2 / 2**24)  # all of one sign
    assert overall.p_holm == 4 * 2 / 2**24
    assert overall.verdict == "PtychoPINN better"
    assert overall.interval == "BCa bootstrap"
    assert overall.ci_low < overall.estimate < overall.ci_high
    at_one_size = table[table["quantity"] == "pinn_minus_baseline"]
    assert set(at_one_size["verdict"]) == {"PtychoPINN ahead in every trial"}
    assert at_one_size["p_holm"].tolist() == pytest.approx([16 * 2 / 2**6] * 16)


def test_one_trial_of_each_size_is_no_replicate_and_has_no_test(write_study):
    trials = {(2**k, 1): {"PtychoPINN": 21.0, "Baseline": 20.0} for k in range(4, 12)}
    table = statistics.study_statistics(tables.results_all_trials(read_trials(write_study(trials))), 0)
    assert "pinn_minus_baseline_all_sizes" not in set(table["quantity"])
    assert table["p_value"].isna().all()
    assert set(table.loc[table["quantity"] == "pinn_minus_baseline", "verdict"]) == {"not resolved"}
