"""Warnings of the summary about the trainings of a finished study."""

import dataclasses
import json
from dataclasses import replace

import pytest
import yaml

from ptycho.commands import summarize
from ptycho.config.keys import RENAMED
from ptycho.config.schema import StudyConfig
from ptycho.io import npz
from ptycho.preparation.scan import simulate
from ptycho.preparation.specimen import specimen

FORMER = {present: former for former, present in RENAMED.items()}


def with_former_names(training):
    return {FORMER.get(key, key): value for key, value in training.items()}


@pytest.fixture
def study(tmp_path):
    """Return a study whose configuration and training state the former names of renamed keys."""
    config = json.loads(json.dumps(dataclasses.asdict(StudyConfig(train_sizes=(64,), num_trials=1))))
    config["training"] = with_former_names(config["training"])
    (tmp_path / "study_config.txt").write_text(yaml.safe_dump(config))
    run = tmp_path / "train_64" / "trial_1" / "pinn_run"
    run.mkdir(parents=True)
    params = {"config": config["pinn"], "training": config["training"], "seed": config["seed"]}
    (run / "params.json").write_text(json.dumps(params))
    return tmp_path


def warnings(study):
    mapping = yaml.safe_load((study / "study_config.txt").read_text())
    config = dataclasses.asdict(StudyConfig.from_mapping(mapping))
    return summarize._stale_training_warnings(study, config)


def test_a_training_with_former_key_names_has_the_settings_of_its_study(study):
    assert warnings(study) == []


@pytest.mark.parametrize("change", [{"turned_images": 0.5}, {"epochs": 1}])
def test_a_training_with_other_settings_is_reported(study, change):
    path = study / "train_64" / "trial_1" / "pinn_run" / "params.json"
    params = json.loads(path.read_text())
    params["training"] |= change
    path.write_text(json.dumps(params))
    (message,) = warnings(study)
    assert message.startswith("train_64/trial_1/pinn_run: ")


@pytest.mark.parametrize("training", [None, 3, [1]])
def test_settings_that_are_no_mapping_are_reported(study, training):
    path = study / "train_64" / "trial_1" / "pinn_run" / "params.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"training": training}))
    assert len(warnings(study)) == 1


def dataset(path, mismatch):
    scan = simulate(specimen(64, 16, 1.5, 0.3, seed=3), 24, 1e6, seed=4).loaded()
    metadata = replace(scan.metadata, model_mismatch=mismatch).with_step("read", {"dc": "corner", "quantity": "counts"})
    npz.write_dataset(path, replace(scan, metadata=metadata))
    return path


def test_data_that_their_probe_and_object_do_not_explain_are_among_the_warnings(tmp_path):
    good, bad = dataset(tmp_path / "good.npz", 0.2), dataset(tmp_path / "bad.npz", 0.999)
    (line,) = summarize._fit_warnings({"training": good, "test": bad, "other": None})
    assert line.startswith(f"The test data {bad}: probe times object misses the patterns by 99.9% of their amplitude")


def test_the_conventions_by_which_test_data_were_read_are_stated(tmp_path):
    facts = summarize._data(dataset(tmp_path / "good.npz", 0.2))
    assert facts["Test data read as"] == "dc corner, quantity counts"
