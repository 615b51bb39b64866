"""How many trainings a run starts at once, with trainings that only record when and how they ran."""

import json
import shutil

import numpy as np
import pytest
import yaml
from running import WORKFLOW, snakemake

from ptycho.io import npz
from ptycho.models import serialization
from ptycho.preparation.scan import simulate
from ptycho.preparation.specimen import specimen
from ptycho.preparation.split import split
from ptycho.results import layout

pytestmark = pytest.mark.workflow

RECORDER = """
import json, os, sys, time
from pathlib import Path
place = Path(sys.argv[sys.argv.index("--output_dir") + 1])
began = time.monotonic()
time.sleep(1.5)
for name in {files}:
    (place / name).touch()
record = {{"began": began, "ended": time.monotonic(), "threads": os.environ["OMP_NUM_THREADS"]}}
(place / "record.json").write_text(json.dumps(record))
"""


def record_trainings(project):
    common = [file for name in ("history", "params") for file in (f"{name}.json", f"{name}.dill")]
    (project / "record.py").write_text(RECORDER.format(files=[layout.MODEL_FILES["pinn"], *common]))
    rule = project / "workflow/rules/train.smk"
    assert rule.read_text().count('command="ptycho-train"') == 1
    rule.write_text(rule.read_text().replace('"ptycho-train"', f'"python {project}/record.py"'))


@pytest.fixture
def study(tmp_path):
    """A copy of the workflow whose trainings record themselves, with data for four of them and no GPU."""
    shutil.copytree(WORKFLOW, tmp_path / "workflow")
    record_trainings(tmp_path)
    for name in ("config", "ptycho"):
        (tmp_path / name).symlink_to(WORKFLOW.parent / name)
    rules = tmp_path / "workflow/rules/common.smk"
    text = rules.read_text()
    assert text.count('visible_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))') == 1
    rules.write_text(text.replace('os.environ.get("CUDA_VISIBLE_DEVICES")', 'None, Path("devices")'))
    (tmp_path / "devices").mkdir()
    for half, data in zip(
        ("train", "test"), split(simulate(specimen(64, 16, 1.5, 0.3, seed=3), 40, 1e6, seed=4), 0.5), strict=True
    ):
        npz.write_dataset(tmp_path / f"{half}.npz", data)
    config = {"output_dir": "out", "train_data": "train.npz", "test_data": "test.npz", "arms": ["pinn"],
              "train_sizes": [8], "num_trials": 4}  # fmt: skip
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def trainings(study, *words):
    """Return how many trainings ran at once, the threads of each, and the error stream."""
    words = ["train", *words, "--configfile", "study.yaml"]
    result = snakemake(*words, directory=study, snakefile=study / "workflow" / "Snakefile")
    assert result.returncode == 0, result.stderr[-3000:]
    records = [json.loads(path.read_text()) for path in sorted(study.glob("out/train_8/trial_*/pinn_run/record.json"))]
    assert len(records) == 4
    at_once = max(sum(one["began"] <= other["began"] < one["ended"] for one in records) for other in records)
    return at_once, {one["threads"] for one in records}, result.stderr


def test_without_a_gpu_each_core_has_a_training_of_one_thread(study):
    at_once, threads, told = trainings(study, "--cores", "4")
    assert (at_once, threads) == (4, {"1"})
    assert "trainings: 4 at a time, one core each, no GPU" in told


def test_with_gpus_each_has_a_training_and_they_share_the_cores(study):
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (study / "devices" / name).touch()
    at_once, threads, told = trainings(study, "--cores", "4")
    assert (at_once, threads) == (2, {"2"})
    assert "trainings: 2 at a time, one on each of 2 GPUs" in told


def test_a_limit_of_the_user_is_kept(study):
    at_once, threads, told = trainings(study, "--cores", "4", "--resources", "gpu=1")
    assert (at_once, threads) == (1, {"4"})
    assert "at a time" not in told


def test_weights_do_not_depend_on_what_ran_beside(study):
    shutil.copy(WORKFLOW / "rules/train.smk", study / "workflow/rules/train.smk")
    config = yaml.safe_load((study / "study.yaml").read_text()) | {"num_trials": 2}
    config |= {"training": {"epochs": 2, "batch_size": 4}, "pinn": {"n_filters_scale": 0.125}}
    (study / "study.yaml").write_text(yaml.safe_dump(config))
    run = study / "out/train_8/trial_1/pinn_run"

    def weights(*words):
        words = ["train", *words, "--configfile", "study.yaml"]
        result = snakemake(*words, directory=study, snakefile=study / "workflow" / "Snakefile")
        assert result.returncode == 0, result.stderr[-3000:]
        model, _ = serialization.load(run, "pinn")
        return [weight.numpy() for weight in model.weights]

    beside = weights("--cores", "2")
    shutil.rmtree(run)
    for one, other in zip(beside, weights("--cores", "1"), strict=True):
        np.testing.assert_array_equal(one, other)
