import itertools
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptycho.config import TrainingConfig
from ptycho.data.dataset import Dataset
from ptycho.errors import InputError
from ptycho.models import training
from ptycho.models.layers import hat_matrices
from ptycho.models.training import NeighbourBatches, PatternBatches, TruthBatches, fit, validation_split

SIDE = 8

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")


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


def numbers(patterns):
    return np.asarray(patterns)[:, 0, 0].astype(int).tolist()


def epoch_of(batches, epoch):
    batches.start_epoch(epoch)
    return [numbers(batches[i][0]) for i in range(len(batches))]


# batches -------------------------------------------------------------------------------------------------


def brute_force_neighbours(data, centre, batch_size):
    distance = np.maximum(np.abs(data.xcoords - data.xcoords[centre]), np.abs(data.ycoords - data.ycoords[centre]))
    nearest = np.argsort(distance)[:batch_size]
    return nearest[distance[nearest] < training.REACH * data.window_px].tolist()


@pytest.mark.parametrize(("n", "spread_px"), [(60, 10.0), (60, 40.0), (25, 80.0)])
def test_groups_are_the_nearest_neighbours_within_reach(n, spread_px):
    data = dataset(n, spread_px)
    batches = NeighbourBatches(data, 6, seed=1)
    sizes = set()
    for epoch in range(40):
        batches.start_epoch(epoch)
        for i in range(len(batches)):
            patterns, target = batches[i]
            members, offsets = numbers(patterns), target["positions_px"]
            centre = members[0]
            expected = brute_force_neighbours(data, centre, 6)
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
    batches = NeighbourBatches(dataset(4, spread_px=5000), 4, seed=0)
    patterns, target = batches[0]
    assert len(set(numbers(patterns))) == 1
    assert len(patterns) == 4
    assert not target["positions_px"].any()


@pytest.mark.parametrize("batch_size", [1, 3])
def test_positions_that_coincide_are_neighbours(batch_size):
    data = dataset(3, spread_px=0)
    batches = NeighbourBatches(data, batch_size, seed=0)
    assert len(set(numbers(batches[0][0]))) == batch_size


@pytest.mark.parametrize("spread_px", [2.0, 40.0, 5000.0])
def test_the_canvas_holds_every_window_of_every_group(spread_px):
    batches = NeighbourBatches(dataset(50, spread_px), 8, seed=0)
    corner = (batches.canvas_px - SIDE) // 2
    first = tf.constant(batches.offsets.ravel() + corner)
    np.testing.assert_allclose(
        tf.reduce_sum(hat_matrices(first, SIDE, batches.canvas_px), axis=1), 1, atol=1e-5
    )  # all of every window lands on it
    assert batches.canvas_px <= SIDE * (1 + 2 * training.REACH) + 4  # and it is no larger than the reach asks for


@pytest.mark.parametrize("kind", [NeighbourBatches, TruthBatches])
def test_batches_differ_by_epoch_and_seed_and_repeat_for_both(kind):
    data = dataset(40)
    first, second = kind(data, 4, seed=7), kind(data, 4, seed=7)
    epochs = [epoch_of(first, epoch) for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert [epoch_of(second, epoch) for epoch in (2, 0, 1)] == [epochs[2], epochs[0], epochs[1]]
    assert epoch_of(kind(data, 4, seed=8), 0) != epochs[0]


def test_every_pattern_is_the_middle_of_a_group_in_time():
    # 5 of 22 are drawn an epoch, without repetition: a given one is missed 80 times with p = 1e-9
    batches = NeighbourBatches(dataset(22, 100), 4, seed=3)
    middles = [[group[0] for group in epoch_of(batches, epoch)] for epoch in range(80)]
    assert all(len(set(epoch)) == 5 for epoch in middles)
    assert set(np.ravel(middles)) == set(range(22))


def test_truth_batches_pair_patterns_with_their_truth_once_an_epoch():
    data = dataset(22)
    batches = TruthBatches(data, 4, seed=3)
    seen = set()
    for epoch in range(20):
        members = np.ravel(epoch_of(batches, epoch)).tolist()
        assert len(members) == len(set(members)) == 20  # 5 whole batches; two are left out
        seen |= set(members)
    assert seen == set(range(22))
    patterns, truth = batches[1]
    patches = truth["amplitude"] * np.exp(1j * truth["phase"])
    np.testing.assert_allclose(patches, data.patches[numbers(patterns)], atol=1e-5)
    assert truth["amplitude"].dtype == truth["phase"].dtype == np.float32


@pytest.mark.parametrize("kind", [PatternBatches, TruthBatches])
@pytest.mark.parametrize("n", [3, 8, 10])
def test_whole_batches_leave_nothing_out(kind, n):
    batches = kind(dataset(n), 4, seed=0, whole=True)
    assert sorted(itertools.chain.from_iterable(epoch_of(batches, 0))) == list(range(n))


def test_validation_patterns_keep_their_order_and_stand_alone():
    batches = PatternBatches(dataset(8), 4, seed=0)
    assert epoch_of(batches, 0) == epoch_of(batches, 5) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert not batches[1][1]["positions_px"].any()


def test_a_batch_is_never_larger_than_the_data():
    for kind in (NeighbourBatches, TruthBatches):
        batches = kind(dataset(3), 16, seed=0)
        assert len(batches) == 1
        assert len(batches[0][0]) == 3


def test_supervised_batches_need_the_truth():
    data = dataset(4)
    assert isinstance(training.supervised_batches(data, 2, 0), TruthBatches)
    blind = Dataset(data.diffraction, data.xcoords, data.ycoords, data.probe, None, None, data.scan_index)
    with pytest.raises(InputError, match=r"neither Y nor objectGuess") as caught:
        training.supervised_batches(blind, 2, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("n_images", "fraction", "held_out"), [(100, 0.05, 5), (101, 0.05, 6), (2, 0.05, 1), (1, 0.05, 0), (50, 0, 0)]
)
def test_validation_split(n_images, fraction, held_out):
    learn, validate = validation_split(n_images, fraction, seed=5)
    assert (learn.size, validate.size) == (n_images - held_out, held_out)
    assert sorted([*learn, *validate]) == list(range(n_images))
    again = validation_split(n_images, fraction, seed=5)
    np.testing.assert_array_equal(again[1], validate)


def test_another_seed_holds_out_other_images():
    assert not np.array_equal(validation_split(100, 0.1, 1)[1], validation_split(100, 0.1, 2)[1])


# fit -----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def eager():
    """A few steps do not pay for compiling them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


class Stub(keras.Model):
    """One number, trained by a function (number, patterns, training) -> loss."""

    def __init__(self, loss_of):
        super().__init__()
        self.number = self.add_weight(shape=(), name="number", initializer="zeros")
        self.loss_of = loss_of

    def call(self, patterns, training=False):
        return patterns

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.loss_of(self.number, x, training)


def run(loss_of, epochs=10, rate=0.3, n=8, validation=3):
    model = Stub(loss_of)
    held_out = PatternBatches(dataset(validation), 2, seed=0, whole=True) if validation else None
    history = fit(
        model, TruthBatches(dataset(n), 4, seed=0), held_out, TrainingConfig(epochs=epochs, learning_rate=rate)
    )
    return model, history


def test_history_has_a_value_an_epoch():
    _, history = run(lambda number, x, training: (number - 3) ** 2)
    assert sorted(history) == ["best_epoch", "epoch_seconds", "loss", "status", "val_loss"]
    assert len(history["loss"]) == len(history["val_loss"]) == len(history["epoch_seconds"]) == 10
    assert all(type(value) is float for name in ("loss", "val_loss", "epoch_seconds") for value in history[name])
    assert all(seconds > 0 for seconds in history["epoch_seconds"])
    assert history["status"] == "ok"
    assert history["loss"][-1] < history["loss"][0]


def test_the_weights_of_the_best_validation_are_kept():
    # training pulls to 3, validation is best at 1: somewhere in between the number passes
    model, history = run(lambda number, x, training: (number - (3.0 if training else 1.0)) ** 2)
    best = min(history["val_loss"])
    assert 1 < history["best_epoch"] < 10
    assert history["val_loss"][history["best_epoch"] - 1] == best < history["val_loss"][-1]
    assert (float(model.number) - 1) ** 2 == pytest.approx(best, rel=1e-5)


def test_without_validation_the_best_training_loss_decides():
    model, history = run(lambda number, x, training: (number - 3) ** 2, validation=0)
    assert "val_loss" not in history
    assert history["best_epoch"] == 1 + int(np.argmin(history["loss"]))
    assert abs(float(model.number) - 3) < 0.5


def test_validation_weighs_every_image_the_same():
    # patterns 0, 1 | 2: means of batches 0.5 and 2, mean of images 1
    _, history = run(lambda number, x, training: tf.reduce_mean(x) + 0 * number, epochs=1)
    assert history["val_loss"] == [pytest.approx(1)]


def test_the_rate_warms_up_and_decays():
    # Under a constant gradient Adam moves by the rate itself: 20 steps an epoch, 3 epochs, so 3 of warm-up.
    model, _ = run(lambda number, x, training: -number, epochs=3, rate=0.5, n=80, validation=0)
    schedule = model.optimizer._learning_rate
    rates = np.array([float(schedule(step)) for step in range(61)])
    assert rates[0] == pytest.approx(0.005)
    assert rates.argmax() == 3
    assert rates.max() == pytest.approx(0.5)
    assert (np.diff(rates[3:]) < 0).all()
    assert rates[60] == pytest.approx(0.005, rel=1e-3)
    np.testing.assert_allclose(
        rates[3:61], 0.5 * (0.01 + 0.99 * (1 + np.cos(np.pi * np.arange(58) / 57)) / 2), rtol=1e-4
    )
    assert float(model.number) == pytest.approx(rates[:60].sum(), rel=1e-3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_training_as_diverged(bad, caplog):
    # the number grows by up to 0.3 a step, and the loss breaks once it is past 1
    def loss_of(number, x, training):
        return tf.where(number > 1.0, bad, 5.0 - number)

    with caplog.at_level(logging.WARNING):
        model, history = run(loss_of)
    assert history["status"] == "diverged"
    assert "diverged" in caplog.text
    assert len(history["loss"]) == len(history["val_loss"]) == len(history["epoch_seconds"]) < 10
    assert not np.isfinite(history["loss"][-1])
    assert np.isfinite(history["loss"][:-1]).all()
    assert len(history["loss"]) > 1
    assert np.isfinite(float(model.number))
    assert np.isfinite(history["val_loss"][history["best_epoch"] - 1])


def test_a_loss_that_is_nan_from_the_start_is_diverged_too():
    _, history = run(lambda number, x, training: number * float("nan"))
    assert (history["status"], len(history["loss"]), history["best_epoch"]) == ("diverged", 1, 1)


def test_a_rate_out_of_all_bounds_is_diverged():
    _, history = run(lambda number, x, training: (number - 3) ** 2, rate=1e30)
    assert history["status"] == "diverged"


def test_a_loss_that_only_rises_is_diverged():
    _, history = run(lambda number, x, training: 2 * tf.stop_gradient(number) - number + 1)
    assert history["status"] == "diverged"
    assert all(b > a for a, b in zip(history["loss"], history["loss"][1:], strict=False))


def test_one_epoch_can_not_rise():
    _, history = run(lambda number, x, training: 2 * tf.stop_gradient(number) - number + 1, epochs=1)
    assert history["status"] == "ok"


def test_keras_trains_on_the_batches_of_the_epoch(caplog):
    seen = []

    def loss_of(number, x, training):
        seen.append(numbers(x))
        return number**2

    with caplog.at_level(logging.INFO, logger="ptycho.models.progress"):
        run(loss_of, epochs=3, n=12, validation=0)
    reference = TruthBatches(dataset(12), 4, seed=0)
    assert seen == [batch for epoch in range(3) for batch in epoch_of(reference, epoch)]
    assert "epoch 3 of 3: loss" in caplog.text
