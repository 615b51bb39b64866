import numpy as np
import pytest

from ptycho.errors import InputError
from ptycho.study.paired import exact_interval
from ptycho.study.trials_needed import plan, trials_for_width

SIX = np.array([-2.0, -1, 0, 0, 1, 2])  # variance 10 / 5, exact interval of 95 % from -2 to 2


def test_steins_second_stage_by_hand():
    # t with 5 degrees of freedom is 2.5706: (2 * 2.5706 * sqrt(2) / 2)**2 = 13.22, times pi / 3 is 13.84
    assert trials_for_width(SIX, 2.0) == 14
    assert trials_for_width(SIX, 4.1) == 6  # narrower already
    assert trials_for_width(SIX, 4.0) == 7  # 3.46 trials by the formula, but 6 were not enough
    # t with 2 degrees of freedom is 4.3027: (2 * 4.3027 * 1 / 10)**2 = 0.74, but three have no interval of 95 %
    assert trials_for_width(np.array([-1.0, 0, 1]), 10.0) == 4


def test_the_planned_number_makes_the_interval_as_narrow_as_wanted():
    """Of 200 made studies the interval is narrow enough in most after the trials that were planned."""
    rng, narrow, width = np.random.default_rng(0), 0, 1.5
    for _ in range(200):
        values = rng.normal(size=8)
        n = trials_for_width(values, width)
        low, high, _ = exact_interval(np.concatenate([values, rng.normal(size=n - 8)]))
        narrow += high - low < width * 1.1
    assert narrow > 150


def test_the_largest_number_of_all_sizes_counts():
    needed, lines = plan({512: SIX, 1024: SIX / 10}, 2.0, 30)
    assert needed == 14
    assert lines == [
        "512 images: interval with 6 trials 4 wide; 14 trials are needed",
        "1024 images: interval with 6 trials 0.4 wide; enough",
    ]
    needed, lines = plan({512: SIX}, 0.1, 20)
    assert needed == 20
    assert lines[-1] == "limited to 20 trials: the intervals will not all be narrower than 0.1"
    needed, lines = plan({512: np.append(SIX, np.inf), 1024: SIX / 10}, 2.0, 30)
    assert needed == 7
    assert "left out" in lines[0]


@pytest.mark.parametrize(
    ("pairs", "width", "at_most", "words"),
    [
        ({512: SIX}, 0.0, 30, "--width is 0, expected a number above 0"),
        ({512: SIX}, np.nan, 30, "--width is nan"),
        ({}, 1.0, 30, "run both arms"),
        ({512: SIX[:2]}, 1.0, 30, "2 paired trials with 512 images, expected 3 or more"),
        ({512: SIX}, 1.0, 5, "--at_most is 5, but there are 6 trials already"),
    ],
)
def test_what_cannot_be_planned(pairs, width, at_most, words):
    with pytest.raises(InputError, match=words):
        plan(pairs, width, at_most)
