from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.data.lazy import LazyArray
from ptycho.data.metadata import Metadata, Step
from ptycho.inspection import measure
from ptycho.physics.probes import gaussian_probe
from ptycho.preparation.scan import simulate

SIDE = 32


def scan():
    """60 patterns of a rough object of 80 x 96 pixels under a curved Gaussian beam."""
    rng = np.random.default_rng(3)
    phase, loss = (ndimage.gaussian_filter(rng.normal(size=(80, 96)), 1.5) for _ in range(2))
    image = (0.8 + 0.3 * loss) * np.exp(4j * phase)
    content = Reconstruction(image, gaussian_probe(SIDE, rng), np.array([40.0]), np.array([40.0]))
    return replace(simulate(content, 60, 1e6, seed=5), patches=None).loaded()


def tiny(diffraction, **changes):
    """Patterns as given, under a uniform probe; ``counts_scale`` is 2."""
    count, side = diffraction.shape[:2]
    return Dataset(
        diffraction=LazyArray(
            diffraction.shape, np.dtype(np.float32), lambda rows: diffraction[rows].astype(np.float32)
        ),
        xcoords=np.arange(count) * 3.0,
        ycoords=np.zeros(count),
        probe=np.ones((side, side), np.complex64),
        object=None,
        patches=None,
        scan_index=np.arange(count),
        metadata=Metadata(counts_scale=2.0),
        **changes,
    )


def disk(radius, side=64, centre=(32, 32)):
    rows, columns = np.indices((side, side))
    return (np.hypot(rows - centre[0], columns - centre[1]) <= radius).astype(np.complex64)


def grid(spacing, count=5):
    x, y = np.meshgrid(np.arange(count) * spacing, np.arange(count) * spacing)
    return np.stack([x.ravel(), y.ravel()], axis=1)


# what is examined ---------------------------------------------------------------------------------------


def test_rows_are_spread_evenly_from_first_to_last():
    assert measure.spread(5, 100).tolist() == [0, 1, 2, 3, 4]
    assert measure.spread(1001, 11).tolist() == list(range(0, 1001, 100))
    assert measure.spread(1, 10).tolist() == [0]


def test_large_files_are_not_read_whole():
    asked = []

    def make(rows):
        asked.append(rows)
        return np.ones((rows.size, 8, 8), np.float32)

    dataset = replace(tiny(np.ones((5000, 8, 8))), diffraction=LazyArray((5000, 8, 8), np.dtype(np.float32), make))
    assert measure.survey_patterns(dataset).index.size == 1000
    assert sum(rows.size for rows in asked) == 1000
    assert max(rows.size for rows in asked) <= 16


def test_counts_of_patterns_are_summed_over_good_pixels():
    amplitude = np.zeros((2, 4, 4))
    amplitude[0, 0, 0], amplitude[1, 2, 2], amplitude[1, 3, 3] = 1.5, 1.0, 9.0
    bad = np.zeros((4, 4), bool)
    bad[3, 3] = True
    found = measure.survey_patterns(tiny(amplitude, bad_pixels=bad))
    assert found.counts.tolist() == [9, 4]  # (2 x 1.5)^2 and (2 x 1)^2
    assert found.largest == 9
    assert found.amplitude == (0, 1.5)
    assert found.mean[0, 0] == 4.5
    assert found.mean[3, 3] == 0
    assert found.dark_share == pytest.approx(28 / 30)  # 15 good pixels, one of them lit, twice


def test_the_mean_weighs_every_pattern_alike():
    amplitude = np.sqrt(np.arange(17.0))[:, None, None] * np.ones((1, 4, 4)) / 2  # chunks of 16 and of 1
    assert np.allclose(measure.survey_patterns(tiny(amplitude)).mean, 8)


def test_broken_patterns_are_counted_and_read_as_dark():
    amplitude = np.ones((4, 4, 4))
    amplitude[0, 0, :2], amplitude[1, 0, 0], amplitude[2, 1, 1] = np.nan, np.inf, -3
    found = measure.survey_patterns(tiny(amplitude))
    assert (found.not_finite, found.negative) == (2, 1)
    assert found.counts.tolist() == [14 * 4, 15 * 4, 15 * 4, 16 * 4]
    assert found.amplitude == (-3, 1)


# the unit ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "whole", "expected"),
    [
        (Metadata(), False, False),
        (Metadata(), None, False),
        (Metadata(), True, True),
        (Metadata(counts_scale=3.0), False, True),
        (Metadata(steps=(Step("simulate"),)), False, True),
        (Metadata(steps=(Step("read", {"quantity": "counts"}),)), None, True),
        (Metadata(steps=(Step("read", {"quantity": "intensity"}),), counts_scale=3.0), False, False),
        (Metadata(steps=(Step("read", {"quantity": "amplitude"}),)), True, True),
        (Metadata(steps=(Step("read"),)), False, False),
    ],
)
def test_counts_are_photons_where_something_says_so(metadata, whole, expected):
    assert measure.in_photons(metadata, whole) is expected


def test_whole_numbers_are_seen_in_the_patterns():
    counts = np.random.default_rng(0).poisson(5, (20, 8, 8))
    assert measure.survey_patterns(tiny(np.sqrt(counts) / 2)).whole
    assert measure.survey_patterns(tiny(np.sqrt(1.37 * counts) / 2)).whole is False
    assert measure.survey_patterns(tiny(np.zeros((20, 8, 8)))).whole is None


# flaws of detectors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [0.05, 3, 40, 5000, 1e7])
def test_true_counts_do_not_look_saturated(mean):
    for seed in range(20):
        assert measure.saturated_share(np.random.default_rng(seed).poisson(mean, (100, 64)).astype(float)) == 0


def test_a_few_equal_pixels_are_chance():
    counts = np.arange(64.0)[None]
    assert measure.saturated_share(np.r_[counts, [[70.0] * 4 + [0.0] * 60]]) == 0
    assert measure.saturated_share(np.r_[counts, [[70.0] * 5 + [0.0] * 59]]) == 0.5


@pytest.mark.parametrize("mean", [40, 5000, 1e7])
def test_full_pixels_pile_up_and_the_patterns_that_hold_them_are_told(mean):
    rng = np.random.default_rng(1)
    counts = np.concatenate([rng.poisson(mean, (40, 64)), rng.poisson(mean / 3, (60, 64))]).astype(float)
    limit = np.floor(np.percentile(counts[:40], 90))
    assert measure.saturated_share(np.minimum(counts, limit)) == pytest.approx((counts >= limit).any(axis=1).mean())
    assert 0.3 < (counts >= limit).any(axis=1).mean() < 0.5


def test_pixels_that_never_count_are_dead_unless_the_light_ends_there():
    mean = np.full((16, 16), 5.0)
    mean[:, 9:] = 0  # the beam's edge
    mean[4, 4] = mean[8, 2:4] = 0
    found = replace(measure.survey_patterns(tiny(np.ones((3, 4, 4)))), mean=mean, index=np.arange(200))
    dead = measure.dead_pixels(found, None)
    assert [tuple(place) for place in np.argwhere(dead)] == [(4, 4), (8, 2), (8, 3)]
    known = np.zeros((16, 16), bool)
    known[4, 4] = True
    assert measure.dead_pixels(found, known).sum() == 2
    assert not measure.dead_pixels(replace(found, index=np.arange(20)), None).any()  # 100 counts around: chance


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-5, 7)])
def test_a_beam_beside_the_centre_is_located(shift):
    dataset = scan()
    mean = measure.survey_patterns(dataset).mean
    assert measure.beam_shift(np.roll(mean, shift, (0, 1)), dataset.probe) == shift


def test_dc_in_the_corner_is_half_a_side_away():
    dataset = scan()
    mean = np.fft.fftshift(measure.survey_patterns(dataset).mean)
    assert [abs(part) for part in measure.beam_shift(mean, dataset.probe)] == [SIDE // 2, SIDE // 2]


def test_patterns_that_show_no_beam_have_no_shift():
    noise = np.random.default_rng(0).uniform(1, 2, (SIDE, SIDE))
    assert measure.beam_shift(noise, scan().probe) == (0, 0)
    assert measure.beam_shift(np.zeros((SIDE, SIDE)), scan().probe) == (0, 0)


# positions and probe -------------------------------------------------------------------------------------


def test_spacing_of_a_square_grid_is_its_step():
    assert measure.spacing_px(grid(7.5)) == pytest.approx(7.5)
    assert measure.spacing_px(np.array([[0.0, 0.0], [3.0, 4.0]])) == pytest.approx(5)
    assert np.isnan(measure.spacing_px(np.zeros((1, 2))))


def test_positions_taken_again_are_one():
    x, y = np.array([1.0, 5.0, 1.001, 1.0]), np.array([2.0, 2.0, 2.0, 3.0])
    assert measure.distinct(x, y).tolist() == [[1, 2], [5, 2], [1, 3]]


def test_diameter_of_a_disk_and_of_a_gaussian_wherever_they_lie():
    expected = 2 * 20 * np.sqrt(0.9)  # the share of a disk's area goes with the radius squared
    assert measure.probe_diameter_px(disk(20)) == pytest.approx(expected, abs=0.5)
    assert measure.probe_diameter_px(disk(20, centre=(28, 35))) == pytest.approx(expected, abs=0.5)
    rows, columns = np.indices((64, 64)) - 32
    beam = np.exp(
        -(rows**2 + columns**2) / 10.0**2
    )  # energy outside of r: exp(-2 r^2 / w^2), 10 % at w sqrt(ln 10 / 2)
    assert measure.probe_diameter_px(beam) == pytest.approx(2 * 10 * np.sqrt(np.log(10) / 2), abs=0.4)


def test_overlap_is_one_less_spacing_over_diameter():
    points = grid(10.0)
    content = Reconstruction(np.ones((200, 200), complex), disk(20), points[:, 0] + 80, points[:, 1] + 80)
    found = measure.scan_of(content)
    assert found.overlap == pytest.approx(1 - 10 / (40 * np.sqrt(0.9)), abs=0.01)
    assert (found.n_positions, found.n_distinct, found.outside) == (25, 25, 0)
    moved = replace(content, xcoords=content.xcoords + 50)  # 130 to 170, windows of 64: 168 fits, and a pixel more
    assert measure.scan_of(moved).outside == 5


def test_share_of_a_uniform_probe_is_that_of_the_area():
    assert measure.central_share(np.ones((64, 64)), 0.5) == pytest.approx(1 / 4)
    assert measure.central_share(np.ones((64, 64)), 7 / 8) == pytest.approx(49 / 64)


@pytest.mark.parametrize(("distance", "radius"), [(0.0, 30), (30.0, 30), (500.0, 30), (9000.0, 400)])
def test_area_of_two_discs(distance, radius):
    points = np.array([[0.0, 0.0], [distance, distance]]) / np.sqrt(2)
    half = np.arccos(min(distance / (2 * radius), 1))
    lens = 2 * radius**2 * (half - np.sin(2 * half) / 2)
    assert measure.lit_area_px(points, 2 * radius) == pytest.approx(2 * np.pi * radius**2 - lens, rel=0.03)


# numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (12.3456, "12.35"),
        (99999.4, "99999"),
        (9999.7, "10000"),
        (123456, "1.235e5"),
        (-2.5e-7, "-2.500e-7"),
        (0.001, "0.001"),
    ],
)
def test_numbers_are_short(value, expected):
    assert measure.number(value) == expected
