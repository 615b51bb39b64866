import numpy as np
import pytest

from ptycho.inspection import pixels

SIDE = 16


def light():
    """Poisson counts of a smooth beam, (20, 16, 16)."""
    row, column = np.indices((SIDE, SIDE)) - SIDE / 2
    return np.random.default_rng(0).poisson(50 * np.exp(-(row**2 + column**2) / 30), (20, SIDE, SIDE)).astype(float)


@pytest.mark.parametrize("unit", [1.0, 0.037])
def test_a_pixel_far_above_its_neighbours_is_hot(unit):
    counts = light()
    assert not pixels.hot_pixels(unit * counts, 2.0).any()
    counts[4, 2, 3], counts[5, 0, 15] = 5000, 5000
    assert np.argwhere(pixels.hot_pixels(unit * counts, 2.0)).tolist() == [[4, 2, 3], [5, 0, 15]]
    assert not pixels.hot_pixels(0 * counts, 2.0).any()


def test_a_flat_probe_may_light_a_single_pixel():
    assert pixels.narrowest_spot(np.ones((SIDE, SIDE))) == float("inf")
    counts = light()
    counts[:, 8, 8] = 1e6
    assert not pixels.hot_pixels(counts, float("inf")).any()
    half = np.zeros((SIDE, SIDE))
    half[4:12, 4:12] = 1
    # the ratio of a slit's intensity at DC to that a pixel beside: 64 over |sum of 8 phases, 2 pi / 16 apart|**2
    beside = np.abs(np.exp(2j * np.pi * np.arange(8) / 16).sum()) ** 2
    assert pixels.narrowest_spot(half) == pytest.approx(64 / beside)


def test_the_maximum_of_a_type_is_found_where_it_is_the_largest_value():
    mean = light().mean(axis=0)
    assert not pixels.at_type_maximum(mean)[0].any()
    mean[:, 3] = 65535
    found, value = pixels.at_type_maximum(mean)
    assert value == 65535
    assert np.unique(np.argwhere(found)[:, 1]).tolist() == [3]
    mean[0, 0] = 1e6
    assert not pixels.at_type_maximum(mean)[0].any()
