import itertools

import numpy as np
import pytest
from scipy import stats

from ptycho.study import paired

# depression scores of nine patients before and after a therapy: Hollander, Wolfe and Chicken, Nonparametric Statistical
# Methods, table 3.1; wilcox.test of R gives p = 0.03906, 0.46 and the interval 0.010 to 0.786
BEFORE = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
AFTER = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])


def test_a_published_example():
    differences = BEFORE - AFTER
    assert paired.hodges_lehmann(differences) == pytest.approx(0.46)
    assert paired.exact_interval(differences)[:2] == pytest.approx((0.010, 0.786))
    assert paired.paired_p_value(differences) == pytest.approx(0.0390625)


def test_p_value_is_the_sign_flip_distribution_of_the_rank_sum():
    differences = np.array([0.3, -0.1, 0.9, 0.4, 0.5, -0.2, 0.8])
    ranks = stats.rankdata(np.abs(differences))
    flips = np.array(np.meshgrid(*[[0, 1]] * 7)).reshape(7, -1).T @ ranks  # all 128 sums of positive ranks
    observed = ranks[differences > 0].sum()
    expected = 2 * np.mean(flips >= observed)
    assert paired.paired_p_value(differences) == pytest.approx(expected)


def test_the_effect_by_hand_and_of_many_samples_at_once():
    # means of two of 1, 2, 6: 1, 1.5, 3.5, 2, 4, 6, whose median is (2 + 3.5) / 2
    assert paired.hodges_lehmann(np.array([1.0, 2, 6])) == 2.75
    samples = np.random.default_rng(0).normal(size=(5, 7, 4))
    expected = [[np.median([(a + b) / 2 for i, a in enumerate(d) for b in d[i:]]) for d in row] for row in samples]
    np.testing.assert_allclose(paired.hodges_lehmann(samples), expected)


def test_failed_trials_count_by_their_rank():
    one = np.array([1.0, 2, 3, 4, 5, np.inf])
    low, high, _ = paired.exact_interval(one)
    assert (low, high) == (1, np.inf)
    assert np.isfinite(paired.hodges_lehmann(one))
    assert paired.hodges_lehmann(np.array([-np.inf, np.inf])) == 0
    assert paired.stratified_p_value([one, one]) == 2 / 2**12


@pytest.mark.parametrize("n", [6, 7, 10, 15, 25])
def test_the_interval_holds_the_shifts_that_the_test_does_not_reject(n):
    differences = np.random.default_rng(n).normal(0.5, 1, n)
    low, high, _ = paired.exact_interval(differences)
    for bound, outwards in ((low, -1e-9), (high, 1e-9)):
        assert paired.paired_p_value(differences - bound - outwards) < 0.05
        assert paired.paired_p_value(differences - bound + outwards) >= 0.05


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_pairs_have_no_interval(n):
    assert paired.exact_interval(np.arange(n) + 1.0)[2] == "fewer than 6 pairs"
    assert np.isnan(paired.exact_interval(np.arange(n) + 1.0)[:2]).all()


# over all sizes --------------------------------------------------------------------------------------------


def scores(by_size):
    return np.concatenate([np.sign(d) * stats.rankdata(np.abs(d)) / (d.size + 1) for d in by_size])


@pytest.mark.parametrize("counts", [(6, 6), (5, 6), (3, 4, 5), (2, 2, 2), (7,)])
def test_the_test_over_all_sizes_is_that_of_scipy(counts):
    rng = np.random.default_rng(sum(counts))
    by_size = [rng.normal(0.4, 10**i, n) for i, n in enumerate(counts)]
    expected = stats.permutation_test(
        (scores(by_size),),
        lambda values, axis: np.sum(values, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,  # every pattern of signs
        vectorized=True,
    )
    assert paired.stratified_p_value(by_size) == pytest.approx(expected.pvalue)


def test_ties_are_counted_exactly():
    by_size = [np.array([1.0, 1, -1, 2, 2]), np.array([3.0, -3, 3])]
    values = np.abs(scores(by_size))
    sums = [abs(np.dot(values, signs)) for signs in itertools.product([-1, 1], repeat=8)]
    expected = np.mean(np.array(sums) >= abs(scores(by_size).sum()) - 1e-12)
    assert paired.stratified_p_value(by_size) == pytest.approx(expected)


def test_of_one_size_it_is_wilcoxons_test():
    differences = np.random.default_rng(4).normal(0.3, 1, 12)
    assert paired.stratified_p_value([differences]) == pytest.approx(stats.wilcoxon(differences).pvalue)


def test_the_scale_of_a_size_does_not_matter():
    rng = np.random.default_rng(2)
    small, large = rng.normal(0.5, 1, 6), rng.normal(0.5, 1, 6)
    assert paired.stratified_p_value([small, large]) == paired.stratified_p_value([small, 1e6 * large])
    assert paired.stratified_p_value([small, large, np.zeros(4)]) == paired.stratified_p_value([small, large])


def test_it_rejects_no_more_often_than_it_says():
    rng = np.random.default_rng(0)
    p = [paired.stratified_p_value(list(rng.normal(size=(4, 6)) * [[1], [2], [4], [8]])) for _ in range(400)]
    rejected = np.sum(np.array(p) < 0.05)
    assert stats.binomtest(int(rejected), 400, 0.05).pvalue > 0.001


def test_draws_agree_with_the_exact_distribution(monkeypatch):
    rng = np.random.default_rng(1)
    by_size = [rng.normal(0.4, 1, n) for n in (6, 7)]
    exact = paired.stratified_p_value(by_size)
    monkeypatch.setattr(paired, "MOST_STEPS", 0)
    assert paired.stratified_p_value(by_size) == pytest.approx(exact, abs=4 * np.sqrt(exact / paired.DRAWS))
    assert paired.stratified_p_value(by_size) == paired.stratified_p_value(by_size)


def test_what_needs_pairs_has_no_test():
    assert np.isnan(paired.stratified_p_value([np.ones(2), np.ones(2)]))
    assert paired.stratified_p_value([np.zeros(3), np.zeros(3)]) == 1
    assert [d.size for d in paired.counted([np.ones(1), np.ones(2), np.ones(0)])] == [2]


def test_the_mean_effect_and_its_interval():
    rng = np.random.default_rng(3)
    by_size = [rng.normal(1, 1, 6) for _ in range(4)]
    assert paired.mean_effect(*by_size) == np.mean([paired.hodges_lehmann(d) for d in by_size])
    low, high, method = paired.mean_effect_interval(by_size, np.random.default_rng(0))
    assert method == "BCa bootstrap"
    assert low < paired.mean_effect(*by_size) < high
    # as wide as that of Welch and Satterthwaite, within what 999 resamples of 24 values may differ
    error = np.sqrt(sum(d.var(ddof=1) / d.size for d in by_size)) / 4
    assert 3 < (high - low) / error < 5


@pytest.mark.parametrize(
    ("by_size", "why"),
    [
        ([np.arange(6.0)] * 3, "fewer than 20 pairs, or 6 of a size"),
        ([np.arange(20.0), np.arange(5.0)], "fewer than 20 pairs, or 6 of a size"),
        ([np.ones(6), np.full(6, 2.0), np.ones(6), np.ones(6)], "no spread"),
        ([np.append(np.arange(5.0), np.inf)] * 4, "a trial failed"),
    ],
)
def test_a_degenerate_interval_is_empty_and_says_why(by_size, why):
    low, high, method = paired.mean_effect_interval(by_size, np.random.default_rng(0))
    assert np.isnan([low, high]).all()
    assert method == why


# what they show --------------------------------------------------------------------------------------------


def test_holms_correction_by_hand():
    # sorted 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1, none below the one before: 0.02, 0.03, 0.06, 0.06
    found = paired.holm(np.array([0.01, 0.04, 0.03, np.nan, 0.005]))
    assert found == pytest.approx([0.03, 0.06, 0.06, np.nan, 0.02], nan_ok=True)
    assert paired.holm(np.array([0.6, 0.7])) == pytest.approx([1, 1])
    assert paired.holm(np.array([])).size == 0


@pytest.mark.parametrize(
    ("test", "better", "words"),
    [
        ({"p_value": 0.001, "p_holm": 0.04}, True, "PtychoPINN better"),
        ({"p_value": 0.001, "p_holm": 0.04}, False, "Baseline better"),
        ({"p_value": 0.03, "p_holm": 0.4, "unanimous": True}, True, "PtychoPINN ahead in every trial"),
        ({"p_value": 0.03, "p_holm": 0.4}, True, "PtychoPINN ahead (uncorrected)"),
        ({"p_value": 0.06, "p_holm": 0.4}, True, "not resolved"),
        ({"p_value": 0.001, "p_holm": 0.04}, None, "not resolved"),
        ({"p_value": np.nan, "p_holm": np.nan, "n": 4, "unanimous": True}, True, "not resolved"),
    ],
)
def test_verdicts(test, better, words):
    assert paired.verdict({"n": 6, "leader": 1, "unanimous": False} | test, better) == words
