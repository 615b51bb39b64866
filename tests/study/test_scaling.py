import numpy as np
import pytest
from scipy import optimize, stats

from ptycho.study import scaling

SIZES = np.repeat([512.0, 1024, 2048, 4096], 6)


def law(a, b, c, images=SIZES):
    return a + b * images**-c


def noisy(seed, a=0.05, b=8.0, c=0.7, spread=0.05):
    return law(a, b, c) * (1 + spread * np.random.default_rng(seed).normal(size=SIZES.size))


def test_a_law_without_noise_is_found():
    fitted = scaling.fit(SIZES, law(0.05, 8, 0.7))
    for name, true in (("a", 0.05), ("b", 8), ("c", 0.7)):
        assert fitted.parameters()[name] == pytest.approx((true,) * 3, rel=1e-5)
    assert fitted.curve([8192.0])[:, 0] == pytest.approx([law(0.05, 8, 0.7, 8192)] * 3, rel=1e-6)
    # 0.05 + 8 n**-0.7 = 0.06 at n = 800**(1 / 0.7)
    assert fitted.images_for(0.06) == pytest.approx((800 ** (1 / 0.7),) * 3, rel=1e-4)
    assert fitted.images_for(0.04) == (np.inf,) * 3


def test_the_estimate_is_that_of_curve_fit():
    errors = noisy(1)
    means = np.repeat([errors[size == SIZES].mean() for size in np.unique(SIZES)], 6)
    expected, _ = optimize.curve_fit(lambda n, a, b, c: law(a, b, c, n), SIZES, errors, (0.05, 8, 0.7), sigma=means)
    found = scaling.fit(SIZES, errors).parameters()
    assert [found[name][0] for name in "abc"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_an_end_of_an_interval_has_the_sum_of_squares_of_the_f_test(name):
    errors = noisy(2)
    fitted = scaling.fit(SIZES, errors)
    means = np.repeat([errors[size == SIZES].mean() for size in np.unique(SIZES)], 6)
    start = np.array([fitted.parameters()[key][0] for key in "abc"])
    place = "abc".index(name)

    def least(value=None):
        """The least sum of squares, with one parameter held, by another minimizer."""

        def squares(p):
            a, b, c = np.exp(p) if value is None else np.insert(np.exp(p), place, value)
            return np.sum(((errors - law(a, b, c)) / means) ** 2)

        free = np.log(start if value is None else np.delete(start, place))
        options = {"xatol": 1e-10, "fatol": 1e-14, "maxiter": 20_000, "maxfev": 20_000}
        return optimize.minimize(squares, free, method="Nelder-Mead", options=options).fun

    limit = least() * (1 + stats.f.ppf(0.95, 1, 21) / 21)
    for end in fitted.parameters()[name][1:]:
        assert least(end) == pytest.approx(limit, rel=0.01)


def test_figures_of_the_law_hang_together():
    fitted = scaling.fit(SIZES, noisy(3))
    estimate, low, high = fitted.images_for(fitted.curve([3000.0])[0, 0])
    assert estimate == pytest.approx(3000)
    assert low < 3000 < high
    band = fitted.curve(np.array([512.0, 2048, 8192]))
    assert (band[1] < band[0]).all()
    assert (band[0] < band[2]).all()
    assert fitted.spread == pytest.approx(0.05, rel=0.5)
    assert fitted.lack_of_fit > 0.01


def test_errors_that_do_not_fall_are_flat():
    rising = scaling.fit(SIZES, noisy(4, a=0.1, b=0.0) * SIZES**0.1)
    assert rising.flat
    assert rising.parameters()["b"][:2] == pytest.approx((0, 0), abs=1e-9)
    assert not scaling.fit(SIZES, noisy(4)).flat


def test_no_parameter_is_negative_though_the_data_ask_for_it():
    straight = 0.3 - 0.03 * np.log2(SIZES / 512)  # falls by the same amount with each doubling
    fitted = scaling.fit(SIZES, straight * (1 + 0.01 * np.random.default_rng(0).normal(size=SIZES.size)))
    a, b, c = (fitted.parameters()[name] for name in "abc")
    assert a[1] >= 0
    assert b[1] >= 0
    assert scaling.EXPONENTS[0] <= c[1] <= c[2] <= scaling.EXPONENTS[1]
    assert (fitted.curve([1e6])[1] >= 0).all()


def test_another_shape_lacks_fit():
    step = np.where(SIZES < 2000, 0.2, 0.1) * (1 + 0.01 * np.random.default_rng(0).normal(size=SIZES.size))
    fitted = scaling.fit(SIZES, step)
    # by hand: the means' distances from the law over one degree of freedom, against the trials' over 20
    means = fitted.data.means
    at = fitted.curve(fitted.data.sizes)[0]
    between = np.sum(6 * ((means - at) / means) ** 2)
    groups = zip(np.unique(SIZES), means, strict=True)
    within = sum(np.sum((step[size == SIZES] / mean - 1) ** 2) for size, mean in groups)
    assert fitted.lack_of_fit == pytest.approx(stats.f.sf(between / (within / 20), 1, 20), rel=1e-4)
    assert fitted.lack_of_fit < 1e-6


@pytest.mark.parametrize(
    ("images", "errors", "why"),
    [
        ([512, 1024, 2048], [0.3, 0.2, 0.1], "3 sizes, and 4 are needed"),
        ([], [], "0 sizes, and 4 are needed"),
        ([1, 2, 4, 8], [0.3, 0.2, 0.1, 0.0], "errors of 0 at a size"),
        ([1, 2, 4, 8], [0.3, 0.2, 0.1, 0.1], ""),
    ],
)
def test_what_cannot_be_fitted(images, errors, why):
    assert scaling.unfit(np.array(images, float), np.array(errors, float)) == why


def test_one_trial_of_each_size_is_fitted_and_says_little():
    one = SIZES[::6]
    fitted = scaling.fit(one, law(0.05, 8, 0.7, one) * np.array([1.02, 0.98, 1.01, 0.99]))
    low, high = fitted.curve([8192.0])[1:, 0]
    assert low < law(0.05, 8, 0.7, 8192) < high
    assert np.isnan(fitted.lack_of_fit)
