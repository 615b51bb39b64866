"""Studies of measured data, run with Snakemake: foreign array names, counts, no ground truth."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from ptycho.io import npz
from ptycho.preparation.scan import simulate
from ptycho.preparation.specimen import specimen
from ptycho.preparation.split import split

ROOT = Path(__file__).parents[2]
SIDE = 32
CONFIG = {
    "train_sizes": [16],
    "num_trials": 1,
    "arms": ["pinn"],
    "train_data": "train.npz",
    "test_data": "test.npz",
    "measured": {"quantity": "counts", "bad_pixels": "mask.npy"},
    "training": {"epochs": 10, "batch_size": 4},
    "pinn": {"n_filters_scale": 0.25},
    "plots": {"dpi": 80},
    "output_dir": "out",
}

pytestmark = pytest.mark.workflow


def snakemake(directory, *words):
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow/Snakefile", "--cores", "2", *words]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [str(word) for word in command], cwd=directory, capture_output=True, text=True, check=False, env=environment
    )


@pytest.fixture(scope="module")
def halves():
    whole = simulate(specimen(112, SIDE, 1.5, 0.3, seed=1), 120, 1e6, seed=2)
    return [part.loaded() for part in split(whole, 0.5)]


def detector_file(path, half, *, truth):
    """Write counts in the conventions of a beamline: uint32, older names, (N, N, n), DC in the corner of a pattern."""
    counts = np.rint(np.square(half.counts_scale * half.diffraction.astype(float)))
    arrays = {
        "diff3d": np.moveaxis(np.fft.ifftshift(counts, axes=(1, 2)), 0, 2).astype(np.uint32),
        "xcoords": half.xcoords, "ycoords": half.ycoords,
        "probeGuess": 3 * half.probe,
    }  # fmt: skip
    truth_arrays = {"objectGuess": half.object} if truth else {}
    np.savez(path, **arrays, **truth_arrays)


@pytest.fixture(scope="module")
def study(tmp_path_factory, halves):
    directory = tmp_path_factory.mktemp("measured")
    for name, half in zip(("train", "test"), halves, strict=True):
        detector_file(directory / f"{name}.npz", half, truth=False)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[3, 4] = True
    np.save(directory / "mask.npy", mask)
    (directory / "measured.yaml").write_text(yaml.safe_dump(CONFIG))
    result = snakemake(directory, "--configfile", "measured.yaml")
    assert result.returncode == 0, result.stderr[-3000:]
    return directory


def test_nothing_is_prepared(study):
    assert not (study / "out/datasets").exists()


def test_the_log_states_the_conventions_of_the_patterns(study):
    training = (study / "out/train_16/trial_1/pinn_run/training.log").read_text()
    comparison = (study / "out/logs/compare_16_1.log").read_text()
    for log, name in ((training, "train"), (comparison, "test")):
        assert f"{name}.npz: 60 patterns of 32 pixels, read as counts" in log
        assert f"{name}.npz: the position of DC is not stated; most intensity is in the corner" in log
        assert f"{name}.npz: 1 of 1024 pixels are bad" in log


def test_without_ground_truth_there_are_figures_and_no_metrics(study):
    trial = study / "out/train_16/trial_1"
    table = pd.read_csv(trial / "comparison_metrics.csv")
    assert set(table["model"]) == {"PtychoPINN"}
    assert set(table["status"]) == {"no_truth"}
    assert table[["amplitude", "phase"]].isna().all(axis=None)
    assert table.set_index("metric")["value"]["computation_time_s"] > 0
    objects = np.load(trial / "reconstructions.npz")
    assert np.isfinite(objects["pinn_complex"]).all()
    assert "ground_truth_complex" not in objects.files
    for name in ("train_16/trial_1/comparison_plot.png", "train_16/comparison_plot.png"):
        assert (study / "out" / name).stat().st_size > 10_000
    results = pd.read_csv(study / "out/results.csv")
    assert results["psnr_phase_n_valid"].tolist() == [0]
    assert results["n_failed"].tolist() == [0]
    summary = (study / "out/STUDY_SUMMARY.md").read_text()
    assert "truth" in summary
    assert "simulated" not in summary.lower()
    assert "| measured data: quantity | counts |" in summary


def test_a_changed_mask_repeats_the_training(study):
    assert "Nothing to be done" in snakemake(study, "--configfile", "measured.yaml", "-n").stdout
    mask = np.load(study / "mask.npy")
    mask[5, 6] = True
    time.sleep(1.1)
    np.save(study / "mask.npy", mask)
    again = snakemake(study, "--configfile", "measured.yaml", "-n").stdout
    assert "train_pinn" in again
    assert "compare" in again


def test_the_baseline_is_refused_without_ground_truth(study):
    result = snakemake(study, "--configfile", "measured.yaml", "--config", "arms=[pinn,baseline]", "output_dir=other")
    assert result.returncode != 0
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [
        "error: train.npz: neither Y nor objectGuess: the baseline has nothing to learn from; train PtychoPINN alone "
        "with arms: [pinn], or add the object to the file"
    ]
    assert not (study / "other").exists()


def test_the_baseline_is_trained_on_patches_of_the_object(study, halves):
    detector_file(study / "train_truth.npz", halves[0], truth=True)
    command = [
        sys.executable, ROOT / "workflow/scripts/run_baseline.py", "--train_data", "train_truth.npz", "--output_dir",
        "baseline_run", "--epochs", "1", "--n_images", "16", "--n_filters_scale", "0.25",
    ]  # fmt: skip
    result = subprocess.run([str(word) for word in command], cwd=study, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "probe times object misses the patterns by" in result.stderr
    params = json.loads((study / "baseline_run/params.json").read_text())
    assert params["counts_scale"] == pytest.approx(halves[0].counts_scale, rel=0.05)


def test_shared_data_prepared_with_other_settings_are_not_changed(tmp_path):
    shared = tmp_path / "shared/specimen_prepared"
    whole = simulate(specimen(112, SIDE, 1.5, 0.3, seed=1), 40, 1e6, seed=42)
    for part, half in zip(("train", "test"), split(whole, 0.5), strict=True):
        npz.write_dataset(shared / f"specimen_final_downsampled_data_{part}.npz", half)
    before = {path: path.read_bytes() for path in shared.iterdir()}
    result = snakemake(tmp_path, "--config", "datasets_dir=shared", "train_sizes=[8]", "simulation={n_images: 40}")
    assert result.returncode != 0
    assert "made with specimen size_px 112, but this study has 896" in result.stderr
    assert "give this study another datasets_dir" in result.stderr
    assert {path: path.read_bytes() for path in shared.iterdir()} == before


def test_another_input_of_the_same_name_is_refused(tmp_path):
    for name, seed in (("first", 1), ("second", 2)):
        npz.write_reconstruction(tmp_path / name / "input.npz", specimen(112, SIDE, 1.5, 0.3, seed=seed))
    keys = ["datasets_dir=shared", "train_sizes=[8]", "simulation={n_images: 40}"]
    prepared = "shared/input_prepared/input_final_downsampled_data_train.npz"
    first = snakemake(tmp_path, prepared, "--config", "input=first/input.npz", *keys)
    assert first.returncode == 0, first.stderr[-2000:]
    assert snakemake(tmp_path, prepared, "-n", "--config", "input=first/input.npz", *keys).returncode == 0
    other = snakemake(tmp_path, prepared, "-n", "--config", "input=second/input.npz", *keys)
    assert other.returncode != 0
    assert "made with pad_to_even input_sha256" in other.stderr


def test_a_mask_of_another_size_is_refused_before_any_job(tmp_path):
    np.save(tmp_path / "mask.npy", np.zeros((64, 64), bool))
    result = snakemake(tmp_path, "-n", "--config", "simulation={bad_pixels: mask.npy}")
    assert result.returncode != 0
    assert "mask.npy is a mask of (64, 64), but the patterns it masks have 128 x 128" in result.stderr
