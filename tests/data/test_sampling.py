import os
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import spatial, stats

from ptycho.data import lazy
from ptycho.data.sampling import REACH, neighbour_groups, training_subset
from ptycho.data.seeds import derive_seed
from ptycho.errors import InputError


@settings(max_examples=50, deadline=None)
@given(
    n_available=st.integers(1, 300), seed=st.integers(0, 2**40), trial=st.integers(1, 9), data=st.data()
)  # fmt: skip
def test_subsets_are_nested_and_draw_no_image_twice(n_available, seed, trial, data):
    large = data.draw(st.integers(1, n_available))
    small = data.draw(st.integers(1, large))
    subset = training_subset(n_available, large, seed, trial)
    assert subset.shape == (large,)
    assert subset.dtype == np.int64
    assert len(set(subset.tolist())) == large
    assert subset.min() >= 0
    assert subset.max() < n_available
    np.testing.assert_array_equal(training_subset(n_available, small, seed, trial), subset[:small])


def test_all_images_are_a_permutation():
    assert sorted(training_subset(50, 50, 42, 1).tolist()) == list(range(50))


def test_trials_and_studies_draw_other_images():
    subsets = [set(training_subset(1000, 100, seed, trial).tolist()) for seed, trial in product((1, 2), range(1, 6))]
    # two independent draws of 100 out of 1000 share a hypergeometric number, of mean 10: never 30
    assert stats.hypergeom(1000, 100, 100).sf(29) < 1e-6
    assert max(len(a & b) for i, a in enumerate(subsets) for b in subsets[:i]) < 30


def test_images_are_drawn_from_everywhere_alike():
    drawn = np.concatenate([training_subset(1000, 100, 42, trial) for trial in range(1, 101)])
    tenths = np.bincount(drawn // 100, minlength=10)
    assert stats.chisquare(tenths).pvalue > 1e-3
    first = np.array([training_subset(1000, 1, 42, trial)[0] for trial in range(1, 301)])
    assert stats.kstest(first, stats.uniform(0, 1000).cdf).pvalue > 1e-3


@pytest.mark.parametrize("size", [0, -1, 11])
def test_a_size_that_is_not_there_is_refused_in_one_line(size):
    with pytest.raises(InputError) as error:
        training_subset(10, size, 42, 1)
    assert f"requested {size} training images, but the training data holds 10: ask for 1 to 10" in str(error.value)
    assert "simulation.n_images" in str(error.value)
    assert "\n" not in str(error.value)


def test_every_part_makes_another_seed():
    parts = list(product((0, 1, 42), ("weights", "subset"), (64, 512), (1, 2, 11), ("pinn", "baseline")))
    parts += [(42,), (42, "weights"), (42, "weights64"), (42, "weights6", 4), (42, "weights", 6, 4)]
    seeds = [derive_seed(*each) for each in parts]
    assert len(set(seeds)) == len(parts)
    assert all(type(seed) is int and 0 <= seed < 2**32 for seed in seeds)


def test_the_order_of_the_parts_counts():
    assert derive_seed(42, "a", "b") != derive_seed(42, "b", "a")


def test_a_seed_is_the_same_in_every_process():
    code = "from ptycho.data.sampling import derive_seed; print(derive_seed(42, 'weights', 512, 3, 'pinn'))"
    for salt in ("1", "2"):  # what hash() would depend on
        environment = {**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert int(done.stdout) == derive_seed(42, "weights", 512, 3, "pinn")


# neighbours ----------------------------------------------------------------------------------------------

WINDOW = 8


def nearest_by_brute_force(x, y, i, size):
    """Return the nearest positions within reach, itself among them, by distance."""
    distance = np.maximum(np.abs(x - x[i]), np.abs(y - y[i]))
    nearest = np.argsort(distance, kind="stable")[:size]
    return nearest[distance[nearest] < REACH * WINDOW]


@pytest.mark.parametrize("size", [1, 4, 9])
@pytest.mark.parametrize(("n", "spread_px"), [(60, 10.0), (60, 40.0), (25, 80.0), (3, 5.0), (1, 0.0)])
def test_groups_are_the_nearest_within_reach_repeated_where_there_are_too_few(n, spread_px, size):
    x, y = np.random.default_rng(0).uniform(0, spread_px, (2, n))
    groups, offsets_px = neighbour_groups(x, y, size, WINDOW)
    assert (groups.dtype, offsets_px.dtype) == (np.int64, np.float32)
    expected = [nearest_by_brute_force(x, y, i, size) for i in range(n)]
    np.testing.assert_array_equal(groups, [np.resize(nearest, size) for nearest in expected])
    np.testing.assert_array_equal(groups[:, 0], np.arange(n))
    np.testing.assert_allclose(offsets_px[..., 0], x[groups] - x[:, None], atol=1e-5)
    np.testing.assert_allclose(offsets_px[..., 1], y[groups] - y[:, None], atol=1e-5)
    if size > 1 and spread_px > 10:  # both cases are there
        assert len({nearest.size for nearest in expected}) > 1


def test_neighbours_on_a_lattice_are_as_near_as_any():
    # equal distances: which of them is taken is free, how far they are is not
    x, y = (axis.ravel().astype(float) for axis in np.meshgrid(2 * np.arange(7), 2 * np.arange(6)))
    groups, offsets_px = neighbour_groups(x, y, 9, WINDOW)
    assert all(len(set(group)) == 9 for group in groups.tolist())
    distance = np.maximum(np.abs(x[:, None] - x), np.abs(y[:, None] - y))
    np.testing.assert_array_equal(np.abs(offsets_px).max(axis=-1), np.sort(distance, axis=1)[:, :9])


@pytest.mark.parametrize(("gap", "found"), [(REACH * WINDOW - 1e-9, 2), (REACH * WINDOW, 1)])
def test_windows_further_apart_than_the_reach_are_no_neighbours(gap, found):
    groups, _ = neighbour_groups(np.array([3.0, 3.0 + gap]), np.array([5.0, 5.0]), 3, WINDOW)
    assert [len(set(group)) for group in groups.tolist()] == [found, found]


@pytest.mark.parametrize(("n", "size"), [(3, 3), (2, 2), (5, 4), (10, 4), (40, 16)])
def test_positions_that_coincide_are_neighbours_and_each_is_the_first_of_its_group(n, size):
    groups, offsets_px = neighbour_groups(np.full(n, 4.0), np.full(n, 7.0), size, WINDOW)
    np.testing.assert_array_equal(groups[:, 0], np.arange(n))
    assert all(len(set(group)) == size for group in groups.tolist())  # none hides another
    assert not offsets_px.any()


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_search_for_neighbours_uses_the_threads_of_the_job(monkeypatch, threads):
    used = []

    class Tree(spatial.cKDTree):
        def query(self, *arguments, workers, **options):
            used.append(workers)
            return super().query(*arguments, workers=workers, **options)

    positions = np.random.default_rng(0).uniform(0, 50, (2, 100))
    groups, offsets_px = neighbour_groups(*positions, 4, 16)
    monkeypatch.setattr(spatial, "cKDTree", Tree)
    monkeypatch.setattr(lazy.os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    again = neighbour_groups(*positions, 4, 16)
    assert used == [int(threads)]
    np.testing.assert_array_equal(again[0], groups)
    np.testing.assert_array_equal(again[1], offsets_px)
