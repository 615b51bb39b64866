import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from ptycho.config import BaselineConfig, PinnConfig, TrainingConfig
from ptycho.data import store
from ptycho.data.sampling import training_subset
from ptycho.data.simulation import simulate
from ptycho.data.specimen import defocused_probe, specimen
from ptycho.errors import InputError
from ptycho.models import archive, losses, training, trial

PINN, BASELINE = PinnConfig(n_filters_scale=0.125), BaselineConfig(n_filters_scale=0.125)
BRIEF = TrainingConfig(epochs=2, batch_size=4, validation_fraction=0.25, precision="float32")

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")


@pytest.fixture(scope="module", autouse=True)
def eager():
    """A few steps do not pay for compiling them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def data():
    """24 patterns whose numbers in the scan are not their places in the file."""
    simulated = simulate(specimen(64, 16, 1.5, 0.3, seed=3), 24, 1e6, seed=4).loaded()
    return replace(simulated, scan_index=np.random.default_rng(0).permutation(100)[:24])


def train(data, config=PINN, n_images=8, seed=42, trial_number=1, training_config=BRIEF):
    return trial.train(data, config, training_config, n_images=n_images, seed=seed, trial=trial_number)


@pytest.fixture(scope="module")
def trained(data):
    return {"pinn": train(data), "baseline": train(data, BASELINE)}


def same_weights(first, second):
    pairs = zip(first.model.get_weights(), second.model.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture
def untrained(monkeypatch):
    """Leave out the training itself."""
    monkeypatch.setattr(training, "fit", lambda *arguments: {"loss": [1.0]})


# repeatable ----------------------------------------------------------------------------------------------


def test_pinn_repeats_itself_and_never_sees_the_truth(data, trained):
    blind = train(replace(data, patches=None, object=None))
    assert same_weights(blind, trained["pinn"])
    for name in ("loss", "val_loss"):
        assert blind.history[name] == trained["pinn"].history[name]


def test_the_baseline_repeats_itself(data, trained):
    again = train(data, BASELINE)
    assert same_weights(again, trained["baseline"])
    assert again.history["val_loss"] == trained["baseline"].history["val_loss"]


@pytest.mark.parametrize("changes", [{"seed": 43}, {"trial_number": 2}])
def test_another_seed_or_trial_is_another_training(data, trained, changes, untrained):
    other = train(data, **changes)
    assert not same_weights(other, train(data))
    assert set(other.params["scan_index"]) != set(trained["pinn"].params["scan_index"])
    assert not set(other.params["seeds"].values()) & set(trained["pinn"].params["seeds"].values())


# what is recorded, and what both models share ------------------------------------------------------------


def test_params_say_how_it_was_made(data, trained):
    for kind, result in trained.items():
        params = result.params
        assert params["model"] == kind
        assert (params["window_px"], params["n_images"], params["seed"], params["trial"]) == (16, 8, 42, 1)
        assert params["precision"] == "float32"
        assert params["config"]["n_filters_scale"] == 0.125
        assert params["training"]["validation_fraction"] == 0.25
        assert params["counts_scale"] == pytest.approx(1e3 / 8)  # square root of 1e6 photons over N / 2
        assert params["versions"] == archive.versions()
        assert sorted(params["seeds"]) == ["order", "validation", "weights"]
        assert json.loads(store.as_json(params)) == params  # builtin types throughout
    assert PinnConfig(**trained["pinn"].params["config"]) == PINN


def test_scan_index_names_the_images_that_were_drawn(data, trained):
    expected = data.scan_index[training_subset(24, 8, 42, 1)].tolist()
    assert trained["pinn"].params["scan_index"] == trained["baseline"].params["scan_index"] == expected


def test_both_models_learn_and_validate_on_the_same_images(data, monkeypatch):
    given = {}

    def fit(model, batches, validation, config, checkpoint):
        given[model.name] = batches.dataset.scan_index.tolist(), validation.dataset.scan_index.tolist()
        assert len(validation) * validation.batch_size >= len(validation.dataset)  # none is left out
        return {"loss": [1.0], "epoch_seconds": [1.0], "best_epoch": 1, "status": "ok"}

    monkeypatch.setattr(training, "fit", fit)
    monkeypatch.setattr(trial, "VALIDATION_BATCH", 2)
    results = [train(data, config, n_images=20) for config in (PINN, BASELINE)]
    assert given["ptychopinn"] == given["baseline"]
    learned, held_out = given["baseline"]
    assert (len(learned), len(held_out)) == (15, 5)
    assert sorted(learned + held_out) == sorted(results[0].params["scan_index"])


def test_validation_reaches_every_image_that_is_held_out(data):
    for kind in ("pinn", "baseline"):
        batches = trial._held_out(kind, simulate(specimen(32, 16, 1.5, 0.3, seed=0), 300, 1e6, seed=0).loaded())
        assert sum(len(batches[i][0]) for i in range(len(batches))) == 300


def test_sizes_are_nested(data, untrained):
    indices = [train(data, BASELINE, n_images=n).params["scan_index"] for n in (4, 8, 24)]
    assert indices[0] == indices[1][:4]
    assert indices[1] == indices[2][:8]
    assert sorted(indices[2]) == sorted(data.scan_index)


# edges ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [PINN, BASELINE])
def test_one_image_is_enough(data, config):
    result = train(data, config, n_images=1, training_config=replace(BRIEF, epochs=1))
    assert len(result.history["loss"]) == 1
    assert "val_loss" not in result.history
    assert np.isfinite(result.history["loss"]).all()


def test_a_loss_of_nan_is_reported_and_saved(data, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(losses, "poisson_deviance", lambda measured, expected: np.nan * tf.reduce_sum(expected))
    result = train(data)
    assert result.history["status"] == "diverged"
    assert "diverged" in caplog.text
    archive.save(tmp_path, result.model, result.params, result.history)
    assert store.read_json(tmp_path / "history.json")["loss"] == [None]
    loaded, _ = archive.load(tmp_path, "pinn")
    for read, written in zip(loaded.get_weights(), result.model.get_weights(), strict=True):
        np.testing.assert_array_equal(read, written)


@pytest.mark.parametrize("n_images", [0, -1, 25])
def test_images_that_are_not_there(data, n_images):
    with pytest.raises(InputError, match=f"requested {n_images} training images, but the training data holds 24"):
        train(data, n_images=n_images)


@pytest.mark.parametrize("window", [18, 20])
def test_windows_that_the_network_can_not_halve(data, window):
    images = np.zeros((24, window, window), np.float32)
    odd = replace(data, probe=defocused_probe(window, np.random.default_rng(0)), diffraction=images, patches=None)
    with pytest.raises(InputError, match=f"patterns of {window} pixels: the network needs a multiple of 8") as caught:
        train(odd)
    assert "\n" not in str(caught.value)


def test_the_summary_of_a_history():
    history = {"status": "ok", "loss": [2.0, 1.0], "best_epoch": 2, "epoch_seconds": [1.25, 0.5]}
    assert trial.history_summary(history) == "ok after 2 epochs, best 2, 1.8 s"
