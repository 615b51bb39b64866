import logging
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptycho.config.schema import BaselineConfig, TrainingConfig
from ptycho.data.dataset import Dataset
from ptycho.models import baseline
from ptycho.models.layers import MagnitudeProjection
from ptycho.models.loaders import PatternLoader, TruthLoader
from ptycho.models.training import _collapsed, _patches, fit, validation_split

SIDE = 8

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")


def dataset(n):
    """Every pixel of pattern i is i, so that a batch tells which patterns it holds."""
    x, y = np.random.default_rng(0).uniform(SIDE, SIDE + 30, (2, n))
    return Dataset(
        diffraction=np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None], (n, SIDE, SIDE)),
        xcoords=x,
        ycoords=y,
        probe=np.ones((SIDE, SIDE), np.complex64),
        object=None,
        patches=np.ones((n, SIDE, SIDE), np.complex64),
        scan_index=np.arange(n),
    )


def numbers(patterns):
    return np.asarray(patterns)[:, 0, 0].astype(int).tolist()


def epoch_of(batches, epoch):
    return [numbers(seen) for seen, _ in batches.epochs(epoch, epoch + 1).as_numpy_iterator()]


# who is held out -----------------------------------------------------------------------------------------


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
    """One number, trained by a function (number, patterns, training) -> loss; patches as ``patches_of(patterns)``."""

    def __init__(self, loss_of, patches_of):
        super().__init__()
        self.number = self.add_weight(shape=(), name="number", initializer="zeros")
        self.loss_of, self.patches_of = loss_of, patches_of

    def call(self, patterns, training=False):
        amplitude, phase = self.patches_of(patterns)
        return {"amplitude": amplitude, "phase": phase, "patterns": patterns}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.loss_of(self.number, y_pred["patterns"], training)


def run(
    loss_of,
    epochs=10,
    rate=0.3,
    n=8,
    validation=3,
    patches_of=lambda patterns: (1 + patterns, 0 * patterns),
    **settings,
):
    model = Stub(loss_of, patches_of)
    held_out = PatternLoader(dataset(validation), 2, seed=0, whole=True) if validation else None
    config = TrainingConfig(epochs=epochs, learning_rate=rate, **settings)
    history = fit(model, TruthLoader(dataset(n), 4, seed=0), held_out, config)
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


def test_the_decay_rate_of_the_squared_gradients_is_the_configured_one():
    model, _ = run(lambda number, x, training: -number, epochs=1, adam_beta_2=0.9)
    assert model.optimizer.beta_2 == 0.9


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


def falling(number, x, training):
    return (number - 3) ** 2


@pytest.mark.parametrize("part", ["amplitude", "phase"])
@pytest.mark.parametrize(("spread", "status"), [(0.0, "collapsed"), (0.02, "collapsed"), (0.03, "ok")])
def test_patches_that_are_all_one_constant_have_collapsed(part, spread, status, caplog):
    def patches_of(patterns):  # 0, 1, 2 are held out: their standard deviation is 0.816 spread
        varied = spread * patterns / 2
        return (0.7 + 0.7 * varied, 0 * patterns + 1) if part == "amplitude" else (0 * patterns + 0.7, 1 + varied)

    with caplog.at_level(logging.WARNING):
        _, history = run(falling, patches_of=patches_of)
    assert history["status"] == status
    assert ("collapsed" in caplog.text) == (status == "collapsed")


def test_only_what_the_probe_lights_tells_a_collapse():
    def patches_of(patterns):
        outside = np.ones((1, SIDE, SIDE), np.float32)
        outside[:, 2:, 2:] = 0
        return 1 + patterns * outside, 0 * patterns

    probe = np.zeros((SIDE, SIDE), np.complex64)
    probe[2:, 2:] = 1
    model, held_out = Stub(falling, patches_of), replace(dataset(3), probe=probe)
    history = fit(
        model, TruthLoader(dataset(8), 4, seed=0), PatternLoader(held_out, 2, seed=0), TrainingConfig(epochs=2)
    )
    assert history["status"] == "collapsed"


@pytest.mark.parametrize(("spread", "status"), [(0.0, "collapsed"), (1e-4, "collapsed"), (0.03, "ok")])
def test_a_network_that_ignores_its_patterns_has_collapsed_whatever_its_projections_make_of_them(spread, status):
    rng = np.random.default_rng(0)
    data = replace(dataset(6), diffraction=rng.uniform(0.5, 1.5, (6, SIDE, SIDE)).astype(np.float32))
    model = baseline.build(data.probe, BaselineConfig(n_filters_scale=0.125, projections=2), seed=1)
    for layer in model.network.layers:
        if layer.name == "phase_last":  # a fixed image, and a part that depends on the pattern
            kernel, _ = layer.get_weights()
            layer.set_weights([kernel * (spread / 1e-3), np.array([0.5, -0.5, 0.2, 0.1], np.float32)])
        elif layer.name == "amplitude_last":
            layer.set_weights([0 * part for part in layer.get_weights()])
    batches = PatternLoader(data, 3, seed=0)
    corrected = _patches(model, batches)
    assert np.abs(corrected - corrected.mean(axis=0)).mean() > 0.02
    assert bool(_collapsed(model, batches)) == (status == "collapsed")


def test_without_validation_nothing_tells_a_collapse():
    _, history = run(falling, validation=0, patches_of=lambda patterns: (0 * patterns + 1, 0 * patterns))
    assert history["status"] == "ok"


def test_what_diverged_has_not_collapsed():
    flat = run(
        lambda number, x, training: number * float("nan"), patches_of=lambda patterns: (0 * patterns + 1, 0 * patterns)
    )
    assert flat[1]["status"] == "diverged"


def test_keras_trains_on_the_batches_of_the_epoch(caplog):
    seen = []

    def loss_of(number, x, training):
        seen.append(numbers(x))
        return number**2

    with caplog.at_level(logging.INFO, logger="ptycho.models.checkpoints"):
        run(loss_of, epochs=3, n=12, validation=0)
    reference = TruthLoader(dataset(12), 4, seed=0)
    assert seen == [batch for epoch in range(3) for batch in epoch_of(reference, epoch)]
    assert "epoch 3 of 3: loss" in caplog.text


# projections ---------------------------------------------------------------------------------------------


class Projected(Stub):
    """A stub with projections, which its loss sees the strength of."""

    def __init__(self, loss_of):
        super().__init__(lambda number, x, training: loss_of(number, self.projection.strength), constant)
        self.projection = MagnitudeProjection(np.ones((SIDE, SIDE), np.complex64), 1)

    def build(self, input_shape):
        """The layer is built, and not called."""


def constant(patterns):
    return 1 + patterns, 0 * patterns


def projected_run(loss_of, epochs):
    model = Projected(loss_of)
    held_out = PatternLoader(dataset(3), 2, seed=0, whole=True)
    return model, fit(model, TruthLoader(dataset(8), 4, seed=0), held_out, TrainingConfig(epochs=epochs))


@pytest.mark.parametrize(
    ("epochs", "strengths"), [(1, [1]), (4, [1] * 4), (5, [0.5, 1, 1, 1, 1]), (10, [0.5, 0.75] + [1] * 8)]
)
def test_the_projections_reach_their_strength_in_a_fifth_of_the_epochs(epochs, strengths):
    model, history = projected_run(lambda number, strength: strength + 0 * number, epochs)
    assert history["loss"] == history["val_loss"] == strengths
    assert float(model.projection.strength) == 1


def test_the_best_epoch_is_one_of_full_strength():
    _, history = projected_run(lambda number, strength: strength + 0 * number, 10)  # the loss is least at the start
    assert history["best_epoch"] == 3


def test_a_loss_that_breaks_at_full_strength_leaves_finite_weights():
    model, history = projected_run(lambda number, strength: tf.where(strength < 1, number, float("nan")), 10)
    assert (history["status"], history["best_epoch"], len(history["loss"])) == ("diverged", 2, 3)
    assert np.isfinite(float(model.number))
    assert float(model.projection.strength) == 1


def test_a_network_that_learned_while_the_strength_rose_is_ok():
    _, history = projected_run(
        lambda number, strength: 5 - 3 * strength + 0.01 * tf.stop_gradient(number) - number / 1e9, 10
    )
    assert history["loss"][2] < history["loss"][0]
    assert all(b >= a for a, b in zip(history["loss"][2:], history["loss"][3:], strict=False))
    assert history["status"] == "ok"


def test_a_validation_loss_that_is_not_finite_while_the_strength_rises_is_diverged():
    _, history = projected_run(lambda number, strength: tf.where(strength < 0.6, float("inf"), 1.0) + 0 * number, 10)
    assert history["status"] == "diverged"
