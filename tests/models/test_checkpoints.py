import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from running import SCRIPTS, run_forked

from ptycho.config.schema import BaselineConfig, PinnConfig, TrainingConfig
from ptycho.io import npz
from ptycho.models import augmentation, checkpoints, run, serialization, training
from ptycho.models.checkpoints import checkpoint_path, remove_checkpoints
from ptycho.models.loaders import PatternLoader
from ptycho.preparation.scan import simulate
from ptycho.preparation.specimen import specimen
from ptycho.preparation.split import split

EPOCHS = 6
CONFIG = TrainingConfig(epochs=EPOCHS, batch_size=4, learning_rate=3e-3, validation_fraction=0.2, augmentation_ratio=0)
MADE = dataclasses.replace(CONFIG, augmentation_ratio=0.5, synthetic_augmentation_ratio=0.5)


@pytest.fixture(scope="module")
def data():
    return simulate(specimen(64, 16, 1.5, 0.3, seed=3), 24, 1e6, seed=4).loaded()


@pytest.fixture(scope="module")
def never_killed(data):
    """Return the weights that a training of ``train``'s defaults ends with."""
    return weights(train(data, None))


@pytest.fixture
def eager():
    """A few steps do not pay for compiling them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


class Killed(Exception):
    pass


@pytest.fixture
def killed_after(monkeypatch):
    """Let trainings die at the end of an epoch, its checkpoint written; None: let them live."""

    def arrange(epoch, patch=monkeypatch):
        write = checkpoints.CheckpointCallback._write

        def dying(self, path):
            write(self, path)
            if len(self.seconds) == epoch:
                raise Killed

        patch.setattr(checkpoints.CheckpointCallback, "_write", dying if epoch else write)

    return arrange


def train(data, directory, config=None, training_config=CONFIG, n_images=20):
    section = config or PinnConfig(n_filters_scale=0.125, projections=1)
    return run.train(
        data, section, training_config, n_images=n_images, seed=7, trial=1, checkpoint_dir=directory
    )  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    """Return the checkpoint of a training with ``train``'s defaults that died after two epochs."""
    directory, write = tmp_path_factory.mktemp("killed"), checkpoints.CheckpointCallback._write

    def dying(self, path):
        write(self, path)
        if len(self.seconds) == 2:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints.CheckpointCallback, "_write", dying)
        with pytest.raises(Killed):
            train(data, directory)
    (path,) = directory.glob("checkpoint-*.h5")
    return path


@pytest.fixture
def interrupted(checkpoint, tmp_path):
    """Return a directory with that checkpoint."""
    shutil.copy(checkpoint, tmp_path)
    return tmp_path


def weights(trained):
    return {variable.path: np.asarray(variable) for variable in trained.model.weights}


def test_a_killed_training_ends_as_one_never_killed(data, tmp_path, killed_after, monkeypatch):
    ends_as_one_never_killed(data, tmp_path, killed_after, monkeypatch)


@pytest.mark.parametrize(
    "section",
    [
        PinnConfig(n_filters_scale=0.125, projections=0, gridsize=2, trainable_probe=True),
        BaselineConfig(n_filters_scale=0.125, projections=1),
    ],
    ids=["pinn", "baseline"],
)
def test_a_killed_training_with_augmentation_ends_as_one_never_killed(
    data, tmp_path, killed_after, monkeypatch, section, eager
):
    monkeypatch.setattr(augmentation, "SYNTHETIC_OBJECTS", 4)
    ends_as_one_never_killed(data, tmp_path, killed_after, monkeypatch, section, MADE, n_images=10)


def ends_as_one_never_killed(data, tmp_path, killed_after, monkeypatch, *settings, **options):
    whole = train(data, None, *settings, **options)
    for epoch in (1, 3, EPOCHS):  # one after the other
        with monkeypatch.context() as patch:
            killed_after(epoch, patch)
            with pytest.raises(Killed):
                train(data, tmp_path, *settings, **options)
    resumed = train(data, tmp_path, *settings, **options)
    for path, array in weights(whole).items():
        np.testing.assert_array_equal(weights(resumed)[path], array)
    for name in ("loss", "val_loss", "best_epoch", "status"):
        assert resumed.history[name] == whole.history[name]
    assert len(resumed.history["epoch_seconds"]) == EPOCHS


@pytest.mark.parametrize(
    "change",
    [
        {"training_config": dataclasses.replace(CONFIG, learning_rate=1e-3)},
        {"training_config": dataclasses.replace(CONFIG, epochs=EPOCHS + 1)},
        {"training_config": dataclasses.replace(CONFIG, augmentation_ratio=0.5)},
        {"config": PinnConfig(n_filters_scale=0.125, projections=1, pattern_weight=0.25)},
        {"n_images": 19},
    ],
)
def test_a_changed_configuration_starts_anew(data, interrupted, checkpoint, killed_after, change, caplog, eager):
    caplog.set_level("INFO")
    killed_after(1)
    with pytest.raises(Killed):
        train(data, interrupted, **change)
    assert "resumes" not in caplog.text
    (path,) = interrupted.glob("checkpoint-*.h5")  # that of the other is gone
    assert path.name != checkpoint.name


def test_other_data_start_anew(data, interrupted, killed_after, caplog, eager):
    caplog.set_level("INFO")
    killed_after(1)
    with pytest.raises(Killed):
        train(dataclasses.replace(data, diffraction=data.diffraction * np.float32(1.01)), interrupted)
    assert "resumes" not in caplog.text


def test_the_same_training_resumes(data, interrupted, killed_after, caplog, eager):
    caplog.set_level("INFO")
    killed_after(3)
    with pytest.raises(Killed):
        train(data, interrupted)
    assert "resumes after epoch 2" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"no HDF5", None])
def test_a_damaged_checkpoint_is_logged_and_ignored(data, never_killed, interrupted, damage, caplog):
    (path,) = interrupted.glob("checkpoint-*.h5")
    path.write_bytes(path.read_bytes()[:2000] if damage is None else damage)
    again = train(data, interrupted)
    assert "is ignored" in caplog.text
    for path, array in weights(again).items():
        np.testing.assert_array_equal(array, never_killed[path])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_training_resumes_after_a_validation_loss_that_is_not_finite(
    data, tmp_path, killed_after, monkeypatch, bad, epoch, eager
):
    """The losses of a checkpoint are those of the training, though JSON holds no such number."""

    def break_epoch(patch):
        record = checkpoints.CheckpointCallback.on_epoch_end

        def broken(self, number, logs=None):
            record(self, number, {**logs, "val_loss": bad} if number + 1 == epoch else logs)

        patch.setattr(checkpoints.CheckpointCallback, "on_epoch_end", broken)

    break_epoch(monkeypatch)
    whole = train(data, None, n_images=10)
    with monkeypatch.context() as patch:
        killed_after(epoch + 1, patch)
        with pytest.raises(Killed):
            train(data, tmp_path, n_images=10)
    resumed = train(data, tmp_path, n_images=10)
    assert len(resumed.history["loss"]) == EPOCHS
    for name in ("loss", "val_loss", "best_epoch", "status"):
        np.testing.assert_array_equal(resumed.history[name], whole.history[name])
    np.testing.assert_equal(resumed.history["val_loss"][epoch - 1], bad)
    assert all(type(value) is float for name in ("loss", "val_loss") for value in resumed.history[name])
    for path, array in weights(whole).items():
        np.testing.assert_array_equal(weights(resumed)[path], array)


def test_the_key_depends_on_all_that_decides_the_result(tmp_path, monkeypatch):
    arrays = {"a": np.arange(6.0)}
    first = checkpoint_path(tmp_path, {"seed": 1}, arrays)
    assert checkpoint_path(tmp_path, {"seed": 1}, {"a": np.arange(6.0)}) == first
    assert checkpoint_path(tmp_path, {"seed": 2}, arrays) != first
    assert checkpoint_path(tmp_path, {"seed": 1}, {"a": np.arange(6.0).reshape(2, 3)}) != first
    assert checkpoint_path(tmp_path, {"seed": 1}, {"b": np.arange(6.0)}) != first
    package = tmp_path / "ptycho"
    monkeypatch.setattr(checkpoints.ptycho, "__file__", str(package / "__init__.py"))
    keys = []
    for part in (None, "models", "data", "study"):
        if part is not None:
            (package / part).mkdir(parents=True)
            (package / part / "code.py").write_text("changed = True")
        keys.append(checkpoint_path(tmp_path, {"seed": 1}, arrays))
    assert len(set(keys[:3])) == 3
    assert keys[3] == keys[2]  # figures and tables do not change a training


def test_checkpoints_are_removed_but_for_the_one_to_keep(tmp_path):
    for name in ("checkpoint-1.h5", "checkpoint-2.h5", "wts.h5.zip"):
        (tmp_path / name).write_text("")
    remove_checkpoints(tmp_path, keep=tmp_path / "checkpoint-2.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-2.h5", "wts.h5.zip"]


def test_patience_ends_a_training_that_gets_no_better(data):
    class Worse(keras.Model):
        """A model whose loss rises with every step."""

        def __init__(self):
            super().__init__()
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
            self.steps = self.add_weight(shape=(), initializer="zeros", name="steps", trainable=False)

        def call(self, x, training=False):
            if training:
                self.steps.assign_add(1.0)
            return x * self.scale

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return keras.ops.abs(self.scale) * 1e-9 + self.steps

    batches = PatternLoader(data, 8, 0)
    history = training.fit(Worse(), batches, None, dataclasses.replace(CONFIG, epochs=50, patience_epochs=3))
    assert len(history["loss"]) == 4
    assert history["best_epoch"] == 1


@pytest.mark.workflow
def test_sigkill_at_three_epochs_changes_nothing(tmp_path):
    """The command itself, killed by the kernel three times, against one that ran through."""
    halves = split(simulate(specimen(64, 16, 1.5, 0.3, seed=3), 48, 1e6, seed=4), 0.5)
    npz.write_dataset(tmp_path / "train.npz", halves[0])
    command = [
        sys.executable, str(SCRIPTS / "train.py"), "--train_data_file", "train.npz", "--nepochs", "12",
        "--batch_size", "4", "--n_filters_scale", "0.125", "--projections", "1",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "2", "TF_CPP_MIN_LOG_LEVEL": "3"}

    def run_through(directory):
        result = run_forked(*command[1:], "--output_dir", directory, directory=tmp_path, OMP_NUM_THREADS="2")
        assert result.returncode == 0, result.stderr[-2000:]
        return result.stderr

    run_through("whole")
    for epoch in (2, 5, 9):
        process = subprocess.Popen(
            [*command, "--output_dir", "killed"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        )
        for line in process.stderr:
            if f"epoch {epoch} of 12" in line:
                break
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
        time.sleep(0.1)
        assert len(list((tmp_path / "killed").glob("checkpoint-*.h5"))) == 1
    assert "resumes after epoch" in run_through("killed")
    histories = [json.loads((tmp_path / name / "history.json").read_text()) for name in ("whole", "killed")]
    assert histories[0]["loss"] == histories[1]["loss"]
    assert histories[0]["val_loss"] == histories[1]["val_loss"]
    (whole, _), (killed, _) = (serialization.load(tmp_path / name, "pinn") for name in ("whole", "killed"))
    for one, other in zip(whole.weights, killed.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not list((tmp_path / "killed").glob("checkpoint-*.h5"))
