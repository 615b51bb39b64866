from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import xlogy

from ptycho.config.schema import BaselineConfig, TrainingConfig
from ptycho.errors import InputError
from ptycho.models import baseline, training
from ptycho.models.loaders import supervised_loader
from ptycho.models.losses import DARK
from ptycho.models.run import train
from ptycho.physics.diffraction import diffraction_intensity
from ptycho.preparation.scan import simulate
from ptycho.preparation.specimen import specimen

SMALL = BaselineConfig(n_filters_scale=0.25, projections=0)


@pytest.fixture(scope="module")
def data():
    return simulate(specimen(64, 16, 2.5, 0.3, seed=3), 24, 1e6, seed=4).loaded()


@pytest.fixture(scope="module")
def model(data):
    return baseline.build(data.probe, SMALL)


def truth(data):
    return {"amplitude": np.abs(data.patches), "phase": np.angle(data.patches)}


def l1(predicted, expected):
    return sum(np.abs(np.asarray(predicted[name]) - expected[name]).mean() for name in ("amplitude", "phase"))


def test_the_loss_is_the_mean_absolute_error_of_both_parts(data, model):
    predicted = {name: tf.constant(0.9 * value + 0.05) for name, value in truth(data).items()}
    expected = l1(predicted, truth(data))  # phases of 0 to 2.5 do not wrap
    for training_phase in (True, False):
        loss = model.compute_loss(y=truth(data), y_pred=predicted, training=training_phase)
        assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(model.compute_loss(y=truth(data), y_pred=truth(data))) == 0


def test_the_pattern_weight_adds_the_likelihood_of_the_patches(data):
    model = baseline.build(data.probe, replace(SMALL, pattern_weight=0.25))
    predicted = {name: tf.constant(0.9 * value + 0.05) for name, value in truth(data).items()}
    patches = predicted["amplitude"].numpy() * np.exp(1j * predicted["phase"].numpy())
    counts, rates = data.diffraction.astype(float) ** 2 + DARK, diffraction_intensity(data.probe, patches) + DARK
    deviance = (rates - counts - xlogy(counts, rates / counts)).sum() / (data.diffraction.astype(float) ** 2).sum()
    loss = model.compute_loss(x=data.diffraction, y=truth(data), y_pred=predicted)
    assert float(loss) == pytest.approx(l1(predicted, truth(data)) + 0.25 * deviance, rel=1e-4)


def test_the_pattern_weight_leaves_masked_pixels_out(data):
    bad = np.zeros(data.probe.shape, bool)
    bad[3, 4:9] = True
    model = baseline.build(data.probe, replace(SMALL, pattern_weight=0.25), bad_pixels=bad)
    spoilt = np.where(bad, 7, data.diffraction).astype(np.float32)
    losses = [
        float(model.compute_loss(x=patterns, y=truth(data), y_pred=truth(data)))
        for patterns in (np.where(bad, 0, data.diffraction).astype(np.float32), spoilt)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_the_probe_is_all_that_is_frozen(model):
    assert [weight.path for weight in model.non_trainable_weights] == ["estimate/probe"]


def test_it_learns_more_than_any_constant_could(data):
    # the best constant under the mean absolute error is the median
    constant = {name: np.median(value) for name, value in truth(data).items()}
    best_constant = l1(constant, truth(data))
    batches = supervised_loader(data, 8, seed=1)
    model = baseline.build(data.probe, SMALL, seed=1)
    assert l1(model(data.diffraction), truth(data)) > best_constant
    history = training.fit(model, batches, None, TrainingConfig(epochs=120, learning_rate=5e-3))
    assert history["status"] == "ok"
    assert history["loss"][-1] < 0.75 * best_constant
    assert l1(model(data.diffraction), truth(data)) < 0.75 * best_constant


def test_data_without_truth_is_refused(data):
    bare = replace(data, patches=None, object=None)
    with pytest.raises(InputError, match="a supervised network has nothing to learn from") as caught:
        train(bare, SMALL, TrainingConfig(epochs=1), n_images=8, seed=0, trial=1)
    assert "\n" not in str(caught.value)
