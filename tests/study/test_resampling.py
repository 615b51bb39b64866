import numpy as np
import pandas as pd
import pytest

from ptycho.study import image_counts, resampling, tables


def one_by_one(values, rng):
    """The interval of a median, a resample after the other."""
    drawn = np.sort([tables.quantile(rng.choice(values, values.size), 0.5) for _ in range(resampling.RESAMPLES)])
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
    assert resampling.median_interval(values, np.random.default_rng(5)) == expected


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
        return image_counts.images_needed(sizes, medians["baseline"], medians["pinn"][..., 0], True)

    def by_hand(samples):
        medians = [[median_of(values[:, i]) for values in samples] for i in range(2)]
        return image_counts.images_needed(sizes, np.array(medians[1]), medians[0][0], True)

    drawing = np.random.default_rng(9)
    drawn = np.sort(
        [
            by_hand([v[drawing.integers(len(v), size=len(v))] for v in arrays.values()])
            for _ in range(resampling.RESAMPLES)
        ]
    )
    found = resampling.bootstrapped(frames, figure, np.random.default_rng(9))
    np.testing.assert_allclose(found, [by_hand(list(arrays.values())), drawn[25], drawn[973], min(counts)], rtol=1e-12)
