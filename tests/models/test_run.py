import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from ptycho.config.schema import BaselineConfig, PinnConfig, TrainingConfig
from ptycho.data.sampling import training_subset
from ptycho.errors import InputError
from ptycho.io import text
from ptycho.models import augmentation, losses, run, serialization, training
from ptycho.models.inference import reconstruct_patches
from ptycho.models.run import _validation_batches, history_summary
from ptycho.physics.probes import defocused_probe
from ptycho.preparation.scan import simulate
from ptycho.preparation.specimen import specimen

PINN, BASELINE = PinnConfig(n_filters_scale=0.125, projections=1), BaselineConfig(n_filters_scale=0.125, projections=1)
BRIEF = TrainingConfig(epochs=2, batch_size=4, validation_fraction=0.25, precision="float32", augmentation_ratio=0.5)

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
    return run.train(data, config, training_config, n_images=n_images, seed=seed, trial=trial_number)


@pytest.fixture(scope="module")
def trained(data):
    return {"pinn": train(data), "baseline": train(data, BASELINE)}


@pytest.fixture
def few_objects(monkeypatch):
    monkeypatch.setattr(augmentation, "SYNTHETIC_OBJECTS", 2)


def same_weights(first, second):
    pairs = zip(first.model.get_weights(), second.model.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture
def untrained(monkeypatch):
    """Leave out the training itself."""
    monkeypatch.setattr(training, "fit", lambda *arguments: {"loss": [1.0]})


# repeatable ----------------------------------------------------------------------------------------------


def test_pinn_repeats_itself_and_never_sees_the_truth(data, trained):
    without_truth = train(replace(data, patches=None, object=None))
    assert same_weights(without_truth, trained["pinn"])
    for name in ("loss", "val_loss"):
        assert without_truth.history[name] == trained["pinn"].history[name]


@pytest.mark.parametrize("gridsize", [1, 2])
def test_pinn_does_not_depend_on_the_ground_truth_in_the_file(data, few_objects, gridsize):
    # the known patches of augmented patterns are not those of the file
    config = replace(BRIEF, epochs=1, augmentation_ratio=1, synthetic_augmentation_ratio=0.5)
    nonsense = np.random.default_rng(0).normal(size=(2, 24, 16, 16))
    patches = (nonsense[0] + 1j * nonsense[1]).astype(np.complex64)
    files = [data, replace(data, object=np.full((90, 80), 3j, np.complex64), patches=patches)]
    section = replace(PINN, gridsize=gridsize)
    first, second = (train(each, section, training_config=config) for each in files)
    assert same_weights(first, second)
    assert first.history["loss"] == second.history["loss"]
    first, second = (train(each, BASELINE, training_config=config) for each in files)
    assert not same_weights(first, second)  # while the baseline does


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
        assert params["versions"] == serialization.versions()
        assert sorted(params["seeds"]) == ["augmentation", "order", "validation", "weights"]
        assert params["training"]["augmentation_ratio"] == BRIEF.augmentation_ratio
        assert json.loads(text.as_json(params)) == params  # builtin types throughout
    assert PinnConfig(**trained["pinn"].params["config"]) == PINN


def test_scan_index_names_the_images_that_were_drawn(data, trained):
    expected = data.scan_index[training_subset(24, 8, 42, 1)].tolist()
    assert trained["pinn"].params["scan_index"] == trained["baseline"].params["scan_index"] == expected


@pytest.fixture
def given(monkeypatch):
    """Leave out the training itself, and keep the batches it would have had of each model."""
    found = {}

    def fit(model, batches, validation, config, *files):
        found[model.name] = batches, validation
        return {"loss": [1.0], "epoch_seconds": [1.0], "best_epoch": 1, "status": "ok"}

    monkeypatch.setattr(training, "fit", fit)
    return found


def test_both_models_learn_and_validate_on_the_same_images(data, given, monkeypatch):
    monkeypatch.setattr(run, "VALIDATION_BATCH", 2)
    results = [train(data, config, n_images=20) for config in (PINN, BASELINE)]
    images = {}
    for model, (batches, validation) in given.items():
        learned = batches.dataset.scan_index[batches.numbers]
        held_out = validation.dataset.scan_index[validation.numbers]
        assert len(validation) * validation.batch_size >= held_out.size  # none is left out
        images[model] = learned.tolist(), held_out.tolist()
    assert images["ptychopinn"] == images["baseline"]
    learned, held_out = images["baseline"]
    assert (len(learned), len(held_out)) == (15, 5)
    assert sorted(learned + held_out) == sorted(results[0].params["scan_index"])


@pytest.mark.parametrize("gridsize", [1, 2])
def test_validation_reaches_every_image_that_is_held_out(gridsize):
    images, held_out = simulate(specimen(32, 16, 1.5, 0.3, seed=0), 330, 1e6, seed=0).loaded(), np.arange(20, 320)
    for kind in ("pinn", "baseline"):
        batches = _validation_batches(kind, images, held_out, gridsize)
        seen = [inputs for inputs, _ in batches.epochs().as_numpy_iterator()]
        middles = [part["diffraction"][:, 0] if gridsize > 1 else part for part in seen]
        order = batches.dataset.scan_index[batches.order(0)]
        assert sorted(order) == images.scan_index[held_out].tolist()
        row = {index: i for i, index in enumerate(images.scan_index)}
        np.testing.assert_array_equal(np.concatenate(middles), images.diffraction[[row[index] for index in order]])


# data augmentation ---------------------------------------------------------------------------------------------


def test_only_training_images_are_augmented(data, given, few_objects, monkeypatch):
    config = replace(BRIEF, augmentation_ratio=0.5, synthetic_augmentation_ratio=1)
    seen, scan_scene = [], augmentation.scan_source
    monkeypatch.setattr(
        augmentation, "scan_source", lambda images, *rest: seen.append(images) or scan_scene(images, *rest)
    )
    results = [train(data, section, n_images=20, training_config=config) for section in (PINN, BASELINE)]
    for images, (batches, validation) in zip(seen, given.values(), strict=True):
        assert images.scan_index.tolist() == batches.dataset.scan_index.tolist()
        assert not set(images.scan_index) & set(validation.dataset.scan_index[validation.numbers])
        assert [share for share, _ in batches.augmented] == [0.5, 1]
        assert len(next(iter(batches.epochs()))[0]) == 4 + 2 + 4
        assert len(next(iter(validation.epochs()))[0]) == 5  # what is held out is measured
    assert (seen[0].patches is None, seen[1].patches is None) == (True, False)
    augmentation_seeds = {result.params["seeds"]["augmentation"] for result in results}
    assert len(augmentation_seeds) == 1
    assert len({result.params["seeds"]["order"] for result in results}) == 2


@pytest.mark.parametrize(("window", "augmentation_ratio"), [(16, 0), (16, 1), (32, 1)])
@pytest.mark.parametrize("section", [PINN, BASELINE], ids=["pinn", "baseline"])
def test_both_models_train_on_groups_and_augmented_patterns(
    data, few_objects, section, augmentation_ratio, window, tmp_path, monkeypatch
):
    if window == 32:
        data = simulate(specimen(96, 32, 1.5, 0.3, seed=3), 12, 1e6, seed=4).loaded()
    config = replace(BRIEF, epochs=1, augmentation_ratio=augmentation_ratio, synthetic_augmentation_ratio=0.5)
    section = replace(section, gridsize=2)
    result = train(data, section, training_config=config)
    assert np.isfinite([*result.history["loss"], *result.history["val_loss"]]).all()
    monkeypatch.setattr(training, "fit", lambda *arguments: {"loss": [1.0]})
    start = train(data, section, training_config=config).model
    trainable = {weight.path for weight in start.trainable_weights}
    for weight, before in zip(result.model.weights, start.get_weights(), strict=True):
        assert np.isfinite(weight.numpy()).all()
        assert np.array_equal(weight, before) == (weight.path not in trainable), weight.path
    serialization.save(tmp_path, result.model, result.params, result.history)
    loaded, _ = serialization.load(tmp_path, result.params["model"])
    np.testing.assert_array_equal(reconstruct_patches(loaded, data), reconstruct_patches(result.model, data))


@pytest.mark.parametrize("changes", [{"augmentation_ratio": 0}, {"synthetic_augmentation_ratio": 1}])
def test_other_augmentation_is_another_training(data, trained, few_objects, changes):
    other = train(data, BASELINE, training_config=replace(BRIEF, **changes))
    assert other.history["loss"][0] != trained["baseline"].history["loss"][0]
    assert not same_weights(other, trained["baseline"])


def test_sizes_are_nested(data, untrained):
    indices = [train(data, BASELINE, n_images=n).params["scan_index"] for n in (4, 8, 24)]
    assert indices[0] == indices[1][:4]
    assert indices[1] == indices[2][:8]
    assert sorted(indices[2]) == sorted(data.scan_index)


# edges ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gridsize", [1, 2])
@pytest.mark.parametrize("config", [PINN, BASELINE], ids=["pinn", "baseline"])
def test_one_image_is_enough(data, few_objects, config, gridsize):
    every_kind = replace(BRIEF, epochs=1, augmentation_ratio=1, synthetic_augmentation_ratio=1)
    result = train(data, replace(config, gridsize=gridsize), n_images=1, training_config=every_kind)
    assert len(result.history["loss"]) == 1
    assert "val_loss" not in result.history
    assert np.isfinite(result.history["loss"]).all()


def test_a_loss_of_nan_is_reported_and_saved(data, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(losses, "poisson_deviance", lambda measured, expected: np.nan * tf.reduce_sum(expected))
    result = train(data)
    assert result.history["status"] == "diverged"
    assert "diverged" in caplog.text
    serialization.save(tmp_path, result.model, result.params, result.history)
    assert text.read_json(tmp_path / "history.json")["loss"] == [None]
    loaded, _ = serialization.load(tmp_path, "pinn")
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


@pytest.mark.parametrize("made_images", [0, 1])
def test_pinn_without_any_loss(data, made_images):
    section = replace(PINN, overlap_weight=0, pattern_weight=0, real_space_weight=0.3 * (1 - made_images))
    with pytest.raises(InputError, match=r"PtychoPINN has nothing to learn from") as caught:
        train(data, section, training_config=replace(BRIEF, augmentation_ratio=made_images))
    assert "\n" not in str(caught.value)


def test_a_training_area_that_is_too_large_to_keep(data):
    far = replace(data, xcoords=data.xcoords * 1e4, ycoords=data.ycoords * 1e4, object=None)
    message = r"the training positions span \d+ x \d+ pixels.*augmentation_ratio: 0"
    with pytest.raises(InputError, match=message) as caught:
        train(far, training_config=replace(BRIEF, augmentation_ratio=1))
    assert "\n" not in str(caught.value)


def test_the_summary_of_a_history():
    history = {"status": "ok", "loss": [2.0, 1.0], "best_epoch": 2, "epoch_seconds": [1.25, 0.5]}
    assert history_summary(history) == "ok after 2 epochs, best 2, 1.8 s"


@pytest.mark.extras
def test_logs_for_tensorboard_have_the_losses_and_change_no_weight(data, trained, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    logged = run.train(data, PINN, BRIEF, n_images=8, seed=42, trial=1, log_dir=tmp_path / "logs")
    assert same_weights(logged, trained["pinn"])
    for part, name in (("train", "loss"), ("validation", "val_loss")):
        events = EventAccumulator(str(tmp_path / "logs" / part)).Reload().Tensors("epoch_loss")
        assert [event.step for event in events] == [0, 1]
        np.testing.assert_allclose(
            [make_ndarray(event.tensor_proto) for event in events], logged.history[name], rtol=1e-5
        )


def test_logs_for_tensorboard_without_its_package_are_refused_before_any_work(command, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PTYCHO_TENSORBOARD", "1")
    error = command("train")("--train_data_file", tmp_path / "none.npz", "--output_dir", tmp_path / "out")
    assert "need the package tensorboard" in error
    assert not (tmp_path / "out").exists()
