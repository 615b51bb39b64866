"""export_mlflow.py: what a study holds, in an experiment."""

import fcntl
import json
import sys

import pytest

from ptycho.commands.export_mlflow import read_runs

HISTORY = {"loss": [3.0, 2.0, None], "val_loss": [4.0, 2.5, 2.25], "epoch_seconds": [1.0, 1.0, 1.0], "best_epoch": 3}
PARAMS = {
    "window_px": 64, "precision": "float32", "n_images": 64, "seed": 42, "config": {"projections": 4},
    "training": {"epochs": 3}, "scan_index": [1, 2],
}  # fmt: skip


@pytest.fixture
def study(known):
    run = known / "train_64/trial_1/pinn_run"
    run.mkdir(exist_ok=True)
    (run / "history.json").write_text(json.dumps(HISTORY))
    (run / "params.json").write_text(json.dumps(PARAMS))
    return known


def test_a_run_for_each_model_size_and_trial(study):
    runs = {run.name: run for run in read_runs(study)}
    assert len(runs) == 8
    assert next(iter(runs)) == "pinn 64 images trial 1"
    run = runs["pinn 64 images trial 1"]
    assert run.params == {
        "model": "pinn", "train_size": 64, "trial": 1, "window_px": 64, "precision": "float32", "n_images": 64,
        "seed": 42, "pinn.projections": 4, "training.epochs": 3,
    }  # fmt: skip
    assert {m for m in run.metrics if "loss" in m[0]} == {
        ("loss", 3.0, 1), ("loss", 2.0, 2), ("val_loss", 4.0, 1), ("val_loss", 2.5, 2), ("val_loss", 2.25, 3),
    }  # fmt: skip
    assert ("psnr_phase", 30.0, 0) in run.metrics
    failed = runs["baseline 64 images trial 3"]
    assert (failed.tags["status"], failed.metrics) == ("failed", [("computation_time_s", 1.5, 0)])
    assert failed.params == {"model": "baseline", "train_size": 64, "trial": 3}


@pytest.mark.parametrize("content", ["[1]", '{"config": 3}'])
def test_parameters_of_something_else_are_left_out_and_named(study, content, caplog):
    (study / "train_64/trial_1/pinn_run/params.json").write_text(content)
    assert next(iter(read_runs(study))).params == {"model": "pinn", "train_size": 64, "trial": 1}
    assert "not the parameters of a training" in caplog.text


def test_what_is_missing_is_named_and_nothing_written(study, tmp_path, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    target = tmp_path / "runs"
    assert "install the extra mlflow" in command("export_mlflow")(study, target)
    (tmp_path / "empty").mkdir()
    assert "no results; looked for" in command("export_mlflow")(tmp_path / "empty", target)
    for unclear in ("", "localhost:5000"):
        assert "expected a folder, or an address" in command("export_mlflow")(study, unclear)
    with (study / ".study.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "a run is writing there" in command("export_mlflow")(study, target)
    assert not target.exists()


@pytest.mark.extras
def test_an_experiment_has_the_numbers_of_the_study(study, tmp_path, command, monkeypatch):
    for name in ("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "true")
    import mlflow

    target = tmp_path / "runs"
    with monkeypatch.context() as patch:  # a failure midway leaves the name free
        patch.setattr(mlflow.MlflowClient, "set_terminated", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            command("export_mlflow")(study, target, "--experiment", "mine")
    assert command("export_mlflow")(study, target, "--experiment", "mine") is None
    client = mlflow.MlflowClient(tracking_uri=target.as_uri())
    found = {run.info.run_name: run for run in client.search_runs(client.get_experiment_by_name("mine").experiment_id)}
    expected = {run.name: run for run in read_runs(study)}
    assert found.keys() == expected.keys()
    for name, run in expected.items():
        assert found[name].data.params == {key: str(value) for key, value in run.params.items()}
        assert found[name].data.metrics == {key: value for key, value, _ in run.metrics}  # of the last epoch
    assert found["baseline 64 images trial 3"].info.status == "FAILED"
    losses = client.get_metric_history(found["pinn 64 images trial 1"].info.run_id, "val_loss")
    assert [(loss.step, loss.value) for loss in losses] == [(1, 4.0), (2, 2.5), (3, 2.25)]
    assert "there is an experiment 'mine'" in command("export_mlflow")(study, target, "--experiment", "mine")
    assert "holds other files: name a new folder" in command("export_mlflow")(study, study)
    assert "is a file, expected a folder" in command("export_mlflow")(study, next(study.rglob("*.csv")))
    assert "MLflow cannot use it" in command("export_mlflow")(study, "nonsense://x")
