"""A tiny study on a real Slurm: two concurrent trainings, each on its own device."""

import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONFIG = {
    "output_dir": "out",
    "train_sizes": [64],
    "num_trials": 1,
    "specimen": {"size_px": 112, "window_px": 32},
    "simulation": {"n_images": 160},
    "training": {"epochs": 40, "batch_size": 8},
    "plots": {"dpi": 60, "formats": ["png"]},
}

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif("PTYCHO_SLURM" not in os.environ, reason="needs a running Slurm: make test-slurm"),
]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    directory = tmp_path_factory.mktemp("slurm")
    (directory / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    words = [
        "out/train_64/comparison_plot.png", "out/psnr_phase_generalization.png", "out/overview.png",
        "--snakefile", ROOT / "workflow/Snakefile", "--workflow-profile", ROOT / "workflow/profiles/slurm",
        "--configfile", "tiny.yaml", "--jobs", "4", "--resources", "gpu=2", "--latency-wait", "10",
        "--default-resources", "slurm_partition=tests", "mem_mb=2000", "runtime=20",
        "--set-resources", "train_pinn:slurm_partition=tests", "train_baseline:slurm_partition=tests",
        "train_pinn:mem_mb=4000", "train_baseline:mem_mb=4000",
        "--set-threads", "train_pinn=1", "train_baseline=1", "simulate=2", "downsample=1", "split=1",
        "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2",
    ]  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-m", "snakemake", *map(str, words)],
        cwd=directory, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]
    (directory / "told.txt").write_text(result.stdout + result.stderr)
    return directory / "out"


def test_short_steps_are_submitted_together(study):
    submitted = re.findall(r"has been submitted with SLURM jobid (\d+)", (study.parent / "told.txt").read_text())
    # the preparation, two trainings, the comparison of the trial, that of the size, tables with plots
    assert len(set(submitted)) == 6


def test_the_files_of_the_size_are_complete(study):
    for name in ("comparison_plot.png", "comparison_metrics.csv"):
        assert (study / "train_64" / name).stat().st_size > 1000


def test_two_concurrent_trainings_use_different_devices(study):
    devices, spans = [], []
    for kind in ("pinn", "baseline"):
        log = (study / f"train_64/trial_1/{kind}_run/training.log").read_text()
        devices.append(re.search(r"CUDA_VISIBLE_DEVICES is (\d+), but TensorFlow finds no GPU", log)[1])
        stamps = re.findall(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d{3} INFO", log, re.MULTILINE)
        times = [datetime.fromisoformat(stamp) for stamp in stamps]
        spans.append((min(times), max(times)))
    assert sorted(devices) == ["0", "1"]
    assert max(start for start, _ in spans) < min(end for _, end in spans)
