import itertools
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from ptycho.data.dataset import Dataset
from ptycho.data.sampling import REACH
from ptycho.errors import InputError
from ptycho.models.augmentation import AugmentationSource, AugmentedPatterns
from ptycho.models.layers import hat_matrices
from ptycho.models.loaders import NeighbourLoader, PatternGroups, PatternLoader, TruthLoader, supervised_loader

SIDE = 8


def dataset(n, spread_px=30.0, seed=0):
    """Every pixel of pattern i is i, so that a batch tells which patterns it holds."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(SIDE, SIDE + spread_px, (2, n))
    return Dataset(
        diffraction=np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None], (n, SIDE, SIDE)),
        xcoords=x,
        ycoords=y,
        probe=np.ones((SIDE, SIDE), np.complex64),
        object=None,
        patches=(rng.normal(size=(n, SIDE, SIDE)) + 1j * rng.normal(size=(n, SIDE, SIDE))).astype(np.complex64),
        scan_index=np.arange(n),
    )


def numbers(seen):
    """Return the number of each pattern; of views, a list for each group."""
    patterns = seen["diffraction"] if isinstance(seen, dict) else seen
    return np.asarray(patterns)[..., 0, 0].astype(int).tolist()


def batches_of(batches, epoch=0, count=1):
    """Return the batches of an epoch, or of more, as arrays."""
    found = list(batches.epochs(epoch, epoch + count).as_numpy_iterator())
    assert len(found) == count * len(batches)
    return found


def epoch_of(batches, epoch):
    return [numbers(seen) for seen, _ in batches_of(batches, epoch)]


def nearest_by_brute_force(data, centre, size):
    distance = np.maximum(np.abs(data.xcoords - data.xcoords[centre]), np.abs(data.ycoords - data.ycoords[centre]))
    nearest = np.argsort(distance)[:size]
    return nearest[distance[nearest] < REACH * data.window_px].tolist()


# neighbours on a canvas ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "spread_px"), [(60, 10.0), (60, 40.0), (25, 80.0)])
def test_groups_are_the_nearest_neighbours_within_reach(n, spread_px):
    data = dataset(n, spread_px)
    batches = NeighbourLoader(data, 6, seed=1)
    sizes = set()
    for patterns, target in batches_of(batches, count=40):
        members, offsets = numbers(patterns), target["positions_px"]
        centre = members[0]
        expected = nearest_by_brute_force(data, centre, 6)
        sizes.add(len(expected))
        assert len(members) == 6
        assert sorted(set(members)) == sorted(expected)
        repeats = np.bincount(members)[expected]
        assert repeats.max() - repeats.min() <= 1  # too few: some come twice, none is favoured
        np.testing.assert_array_equal(target["diffraction"], patterns)
        np.testing.assert_allclose(offsets[:, 0], data.xcoords[members] - data.xcoords[centre], atol=1e-5)
        np.testing.assert_allclose(offsets[:, 1], data.ycoords[members] - data.ycoords[centre], atol=1e-5)
    assert sizes == {6} if spread_px == 10 else min(sizes) < 6


def test_a_pattern_without_neighbours_is_its_own_group():
    batches = NeighbourLoader(dataset(4, spread_px=5000), 4, seed=0)
    patterns, target = batches_of(batches)[0]
    assert len(set(numbers(patterns))) == 1
    assert len(patterns) == 4
    assert not target["positions_px"].any()


@pytest.mark.parametrize("batch_size", [1, 3])
def test_positions_that_coincide_are_neighbours(batch_size):
    batches = NeighbourLoader(dataset(3, spread_px=0), batch_size, seed=0)
    for epoch in range(5):
        assert all(len(set(group)) == batch_size for group in epoch_of(batches, epoch))


@pytest.mark.parametrize("spread_px", [2.0, 40.0, 5000.0])
def test_the_canvas_holds_every_window_of_every_group(spread_px):
    batches = NeighbourLoader(dataset(50, spread_px), 8, seed=0)
    corner = (batches.canvas_px - SIDE) // 2
    first = tf.constant(batches.offsets.ravel() + corner)
    np.testing.assert_allclose(
        tf.reduce_sum(hat_matrices(first, SIDE, batches.canvas_px), axis=1), 1, atol=1e-5
    )  # all of every window lands on it
    assert batches.canvas_px <= SIDE * (1 + 2 * REACH) + 4  # and it is no larger than the reach asks for


def test_every_pattern_is_the_middle_of_a_group_in_time():
    # 5 of 22 are drawn an epoch, without repetition: a given one is missed 80 times with p = 1e-9
    batches = NeighbourLoader(dataset(22, 100), 4, seed=3)
    middles = np.reshape([numbers(seen)[0] for seen, _ in batches_of(batches, count=80)], (80, -1))
    assert all(len(set(epoch)) == 5 for epoch in middles)
    assert set(np.ravel(middles)) == set(range(22))


# epochs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [NeighbourLoader, TruthLoader])
def test_batches_differ_by_epoch_and_seed_and_repeat_for_both(kind):
    data = dataset(40)
    first, second = kind(data, 4, seed=7), kind(data, 4, seed=7)
    epochs = [epoch_of(first, epoch) for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert [epoch_of(second, epoch) for epoch in (2, 0, 1)] == [epochs[2], epochs[0], epochs[1]]
    assert epoch_of(kind(data, 4, seed=8), 0) != epochs[0]


def test_truth_batches_pair_patterns_with_their_truth_once_an_epoch():
    data = dataset(22)
    batches = TruthLoader(data, 4, seed=3)
    seen = set()
    for epoch in range(20):
        members = np.ravel(epoch_of(batches, epoch)).tolist()
        assert len(members) == len(set(members)) == 20  # 5 whole batches; two are left out
        seen |= set(members)
    assert seen == set(range(22))
    patterns, truth = batches_of(batches)[1]
    patches = truth["amplitude"] * np.exp(1j * truth["phase"])
    np.testing.assert_allclose(patches, data.patches[numbers(patterns)], atol=1e-5)
    assert truth["amplitude"].dtype == truth["phase"].dtype == np.float32


@pytest.mark.parametrize("kind", [PatternLoader, TruthLoader])
@pytest.mark.parametrize("n", [3, 8, 10])
def test_whole_batches_leave_nothing_out(kind, n):
    batches = kind(dataset(n), 4, seed=0, whole=True)
    assert sorted(itertools.chain.from_iterable(epoch_of(batches, 0))) == list(range(n))


def test_validation_patterns_keep_their_order_and_stand_alone():
    batches = PatternLoader(dataset(8), 4, seed=0)
    assert epoch_of(batches, 0) == epoch_of(batches, 5) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    patterns, target = batches_of(batches)[1]
    assert list(target) == ["diffraction"]
    np.testing.assert_array_equal(target["diffraction"], patterns)


def test_a_batch_is_never_larger_than_the_data():
    for kind in (NeighbourLoader, TruthLoader):
        batches = kind(dataset(3), 16, seed=0)
        assert len(batches) == 1
        assert len(batches_of(batches)[0][0]) == 3


def test_supervised_batches_need_the_truth():
    data = dataset(4)
    assert isinstance(supervised_loader(data, 2, 0), TruthLoader)
    with pytest.raises(InputError, match=r"neither Y nor objectGuess") as caught:
        supervised_loader(replace(data, patches=None), 2, 0)
    assert "\n" not in str(caught.value)


# views ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gridsize", [2, 3])
@pytest.mark.parametrize("spread_px", [10.0, 60.0])
def test_a_view_holds_a_pattern_and_its_nearest_neighbours(gridsize, spread_px):
    data, members = dataset(30, spread_px), np.array([7, 0, 29, 7])
    views = PatternGroups(data, gridsize)
    assert len(views) == 30
    view = views[members]
    assert view["diffraction"].shape == (4, gridsize**2, SIDE, SIDE)
    found = np.array(numbers(view))
    assert found.tolist() == [
        np.resize(nearest_by_brute_force(data, i, gridsize**2), gridsize**2).tolist() for i in members
    ]
    np.testing.assert_array_equal(found[:, 0], members)
    for part, coordinates in enumerate((data.xcoords, data.ycoords)):
        expected = coordinates[found] - coordinates[members][:, None]
        np.testing.assert_allclose(view["offsets_px"][..., part], expected, atol=1e-5)


def test_a_view_of_a_pattern_alone_is_the_pattern():
    data = dataset(6)
    np.testing.assert_array_equal(PatternGroups(data)[np.array([4, 1])], data.diffraction[[4, 1]])


def test_patterns_that_are_read_when_they_are_needed_are_seen_alike():
    data, members = dataset(12), np.array([5, 2])
    lazy = data.select(np.arange(12))
    assert not isinstance(lazy.diffraction, np.ndarray)
    for gridsize in (1, 2):
        tf.nest.map_structure(
            np.testing.assert_array_equal,
            PatternGroups(lazy, gridsize)[members],
            PatternGroups(data, gridsize)[members],
        )


def test_a_training_batch_of_views_has_its_group_in_the_middle():
    data = dataset(40)
    seen, target = batches_of(NeighbourLoader(data, 5, seed=0, gridsize=2))[0]
    middle = numbers(seen)
    np.testing.assert_array_equal(target["diffraction"], seen["diffraction"][:, 0])
    assert middle == [nearest_by_brute_force(data, group[0], 4) for group in middle]
    assert [group[0] for group in middle] == nearest_by_brute_force(data, middle[0][0], 5)
    seen, truth = batches_of(TruthLoader(data, 5, seed=0, gridsize=2))[0]
    patches = truth["amplitude"] * np.exp(1j * truth["phase"])
    np.testing.assert_allclose(patches, data.patches[[group[0] for group in numbers(seen)]], atol=1e-5)


@pytest.mark.parametrize("kind", [PatternLoader, TruthLoader])
def test_images_held_out_have_all_others_for_neighbours(kind):
    data, held_out = dataset(30, 20), np.array([3, 8, 21, 22, 29])
    batches = kind(data, 2, seed=0, numbers=held_out, gridsize=2, whole=True)
    groups = list(itertools.chain.from_iterable(epoch_of(batches, 0)))
    assert sorted(group[0] for group in groups) == held_out.tolist()
    assert groups == [np.resize(nearest_by_brute_force(data, group[0], 4), 4).tolist() for group in groups]
    assert not {number for group in groups for number in group} <= set(held_out)


@pytest.mark.parametrize("kind", [NeighbourLoader, TruthLoader])
def test_only_the_numbers_given_are_drawn(kind):
    drawn = np.array([2, 3, 5, 7, 11, 13])
    batches = kind(dataset(40, 100), 3, seed=0, numbers=drawn)
    assert len(batches) == 2
    found = {group[0] for epoch in range(20) for group in epoch_of(batches, epoch)}
    assert found == set(drawn)


# augmented patterns ---------------------------------------------------------------------------------------------


class Numbered:
    """Augmented patterns whose every pixel is ``value``, with a note of what was asked for."""

    def __init__(self, value, gridsize=1):
        self.value, self.gridsize, self.asked = value, gridsize, []

    def draw(self, epoch, batch, count):
        self.asked.append((epoch, batch, count))
        shape = (count, self.gridsize**2, SIDE, SIDE)
        offsets_px = np.full((*shape[:2], 2), self.value, np.float32)
        views = {"diffraction": np.full(shape, self.value, np.float32), "offsets_px": offsets_px}
        return views, np.full((count, SIDE, SIDE), 1j * self.value, np.complex64)


@pytest.mark.parametrize("kind", [NeighbourLoader, TruthLoader])
@pytest.mark.parametrize(("shares", "counts"), [((), ()), ((1,), (4,)), ((0.5, 2), (2, 8)), ((0.1, 0.3), (1, 1))])
def test_augmented_patterns_follow_the_measured_ones(kind, shares, counts):
    data = dataset(20)
    sources = [(share, Numbered(100 + i)) for i, share in enumerate(shares)]
    batches, alone = kind(data, 4, seed=0, augmented=sources), kind(data, 4, seed=0)
    (seen, target), (measured, _) = batches_of(batches, 3)[2], batches_of(alone, 3)[2]
    expected = list(itertools.chain.from_iterable([100 + i] * count for i, count in enumerate(counts)))
    assert numbers(seen) == numbers(measured) + expected  # the same measured ones, whatever is added
    assert [source.asked[2] for _, source in sources] == [(3, 2, count) for count in counts]
    if kind is TruthLoader:
        np.testing.assert_array_equal(target["amplitude"][4:, 0, 0], expected)
        np.testing.assert_allclose(target["phase"][4:], np.pi / 2)
        assert len(target["amplitude"]) == len(target["phase"]) == 4 + len(expected)
    else:
        np.testing.assert_array_equal(target["diffraction"], measured)  # augmented ones have no likelihood
        assert len(target["positions_px"]) == 4
        assert target["patches"].shape == (len(expected), SIDE, SIDE)
        assert target["patches"].dtype == np.complex64
        assert target["patches"][:, 0, 0].imag.tolist() == expected


def test_augmented_groups_follow_the_measured_ones():
    batches = NeighbourLoader(dataset(20), 4, seed=0, gridsize=2, augmented=[(0.5, Numbered(100, gridsize=2))])
    seen, target = batches_of(batches)[0]
    assert seen["diffraction"].shape == (6, 4, SIDE, SIDE)
    assert seen["offsets_px"].shape == (6, 4, 2)
    assert numbers(seen)[4:] == [[100] * 4] * 2
    np.testing.assert_array_equal(seen["offsets_px"][4:], 100)
    np.testing.assert_array_equal(target["diffraction"], seen["diffraction"][:4, 0])


@pytest.mark.parametrize("kind", [NeighbourLoader, TruthLoader])
@pytest.mark.parametrize("gridsize", [1, 2])
def test_augmented_patterns_depend_on_seed_epoch_and_batch_alone(kind, gridsize):
    data, rng = dataset(20), np.random.default_rng(0)
    image = (rng.normal(size=(60, 60)) + 1j * rng.normal(size=(60, 60))).astype(np.complex64)

    def batches(seed):
        source = AugmentedPatterns([AugmentationSource(image, np.full((1, 2), 30.0))], data, gridsize, seed)
        return kind(data, 4, seed=0, gridsize=gridsize, augmented=[(1.5, source)])

    def augmented(of, epoch, count=1):
        found = [seen["diffraction"] if gridsize > 1 else seen for seen, _ in batches_of(of, epoch, count)]
        return np.reshape([batch[4:] for batch in found], (count, 5, 6, *found[0].shape[1:]))

    drawn, second = augmented(batches(1), 0, 3), batches(1)
    for epoch in (2, 1, 0):
        np.testing.assert_array_equal(augmented(second, epoch)[0], drawn[epoch])
    assert len({batch.tobytes() for epoch in drawn for batch in epoch}) == 15
    assert not np.array_equal(augmented(batches(2), 0)[0, 0], drawn[0, 0])
