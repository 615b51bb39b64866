from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from ptycho.config.schema import BaselineConfig, TrainingConfig
from ptycho.errors import InputError
from ptycho.models import baseline, training
from ptycho.models.loaders import supervised_loader
from ptycho.models.run import train
from ptycho.preparation.scan import simulate
from ptycho.preparation.specimen import specimen

SMALL = BaselineConfig(n_filters_scale=0.25)


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
