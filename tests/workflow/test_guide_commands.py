"""Every command of the study guide, called as in the guide, on small files."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from running import SCRIPTS, run_forked, run_here

REAL_INPUT = os.environ.get("PTYCHO_REAL_INPUT")

pytestmark = pytest.mark.workflow


def run(script, *words, directory, succeeds=True):
    result = run_here(script, *words, directory=directory)
    assert (result.returncode == 0) is succeeds, result.stderr[-2000:]
    return result


def run_alone(script, *words, directory):
    """Run a training in a process of its own, which it must have."""
    result = run_forked(script, *words, directory=directory)
    assert result.returncode == 0, result.stderr[-2000:]


def run_apart(script, *words, directory):
    """Run a command as a user does."""
    result = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *map(str, words)],
        cwd=directory, capture_output=True, text=True, check=False, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]


def prepare(directory, source, n_images):
    """Run the six commands of the manual preparation in the guide."""
    run("pad_to_even_tool.py", source, "padded.npz", directory=directory)
    run("transpose_rename_convert_tool.py", "padded.npz", "transposed.npz", directory=directory)
    run(
        "prepare_data_tool.py", "transposed.npz", "interpolated.npz", "--interpolate", "--zoom-factor", "2.0",
        directory=directory,
    )  # fmt: skip
    run(
        "simulate_and_save.py", "--input-file", "interpolated.npz", "--output-file", "simulated.npz",
        "--n-images", n_images, "--n-photons", "1e9", directory=directory,
    )  # fmt: skip
    run(
        "downsample_data_tool.py", "simulated.npz", "downsampled.npz", "--crop-factor", "2", "--bin-factor", "2",
        directory=directory,
    )  # fmt: skip
    run("split_dataset_tool.py", "downsampled.npz", "final", "--split-fraction", "0.5", directory=directory)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("guide")
    run("make_specimen.py", "input.npz", "--size_px", "112", "--window_px", "32", directory=directory)
    prepare(directory, "input.npz", 160)
    return directory


def train(directory, output, epochs, runner=run_alone):
    """Run the individual trainings of the guide, with few epochs."""
    runner(
        "train.py", "--train_data_file", "final/downsampled_train.npz",
        "--test_data_file", "final/downsampled_test.npz",
        "--n_images", "48", "--output_dir", f"{output}/pinn_run", "--nepochs", epochs, "--learning_rate", "0.0001",
        directory=directory,
    )  # fmt: skip
    runner(
        "run_baseline.py", "--train_data", "final/downsampled_train.npz", "--test_data", "final/downsampled_test.npz",
        "--n_images", "48", "--output_dir", f"{output}/baseline_run", "--epochs", epochs, directory=directory,
    )  # fmt: skip


def compare(directory, output, runner=run):
    """Run the comparison of the guide, and return its metrics."""
    runner(
        "compare_models.py", "--pinn_dir", f"{output}/pinn_run", "--baseline_dir", f"{output}/baseline_run",
        "--test_data", "final/downsampled_test.npz", "--output_dir", output, directory=directory,
    )  # fmt: skip
    return pd.read_csv(directory / output / "comparison_metrics.csv")


@pytest.fixture(scope="module")
def trained(data):
    train(data, "study/train_48", 2, run_apart)
    return data


@pytest.fixture(scope="module")
def compared(trained):
    compare(trained, "study/train_48", run_apart)
    return trained


def test_preparation_by_hand(data):
    with np.load(data / "final/downsampled_train.npz") as train, np.load(data / "final/downsampled_test.npz") as test:
        assert train["diffraction"].shape == test["diffraction"].shape == (80, 32, 32)
        assert train["ycoords"].max() <= test["ycoords"].min()
        energy = np.mean([np.sum(half["diffraction"] ** 2, axis=(1, 2)).mean() for half in (train, test)])
        assert energy == pytest.approx(16**2, rel=1e-5)


def test_training_and_comparison_by_hand_in_the_flat_layout(compared):
    table = pd.read_csv(compared / "study/train_48/comparison_metrics.csv")
    assert set(table["model"]) == {"PtychoPINN", "Baseline"}
    assert (compared / "study/train_48/comparison_plot.png").stat().st_size > 10_000
    for words, name in (
        (("--metric", "psnr", "--part", "phase", "--output", "psnr_phase_generalization.png"), "psnr_phase"),
        (("--metric", "frc50", "--part", "amp", "--output", "frc50_amp_generalization.png"), "frc50_amp"),
        (("--metric", "mae", "--part", "amp", "--output", "mae_amp_generalization.png"), "mae_amp"),
    ):
        run("aggregate_and_plot_results.py", "study/", *words, directory=compared)
        assert (compared / f"study/{name}_generalization.png").stat().st_size > 10_000
    run("aggregate_and_plot_results.py", "study/", directory=compared)
    results = pd.read_csv(compared / "study/results.csv")
    assert list(results["train_size"]) == [48, 48]


def test_more_training_images_than_available_are_refused(trained):
    result = run(
        "train.py", "--train_data_file", "final/downsampled_train.npz", "--n_images", "81", "--output_dir", "no",
        directory=trained, succeeds=False,
    )  # fmt: skip
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert "Not enough training images: requested 81, but final/downsampled_train.npz holds 80" in lines[0]
    assert not (trained / "no").exists()


@pytest.mark.parametrize(("output", "reason"), [("input.npz/below.npz", "is a file"), (".", "is a directory")])
def test_an_output_that_cannot_be_written_is_reported_in_one_line(data, output, reason):
    result = run("pad_to_even_tool.py", "input.npz", output, directory=data, succeeds=False)
    (line,) = result.stderr.strip().splitlines()
    assert reason in line
    result = run("make_specimen.py", "new.npz", "--seed", "-1", directory=data, succeeds=False)
    assert result.stderr.strip().endswith("--seed is -1, expected 0 or more")


def test_comparison_with_a_directory_without_a_model_is_refused(trained):
    result = run(
        "compare_models.py", "--pinn_dir", "final", "--test_data", "final/downsampled_test.npz", "--output_dir", "no",
        directory=trained, succeeds=False,
    )  # fmt: skip
    assert "final: no wts.h5.zip there" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (trained / "no").exists()


@pytest.mark.parametrize("kind", ["pinn", "baseline"])
def test_a_trained_model_reconstructs_other_data(compared, kind):
    words = ["--model_dir", f"study/train_48/{kind}_run", "--data", "final/downsampled_test.npz"]
    run("reconstruct.py", *words, "--output", f"new/{kind}.npz", directory=compared)
    with np.load(compared / f"new/{kind}.npz") as found:
        image, region = found["reconstructed_object"], found["region"]
        steps = json.loads(str(found["metadata"]))["steps"]
    with np.load(compared / "study/train_48/reconstructions.npz") as shown:
        first, last, left, right = shown["region"]
        np.testing.assert_allclose(image[first:last, left:right], shown[f"{kind}_raw"], atol=1e-5)
        assert (region[::2] < shown["region"][::2]).all()  # of the same scan; the comparison excludes a border
    assert np.abs(image[first:last, left:right]).std() > 0
    assert steps[-1]["step"] == "reconstruct"
    assert (compared / f"new/{kind}.png").stat().st_size > 10_000


def test_the_same_training_again_gives_the_same_metrics(compared):
    """Augmented patterns, the order of batches and initial weights depend on the seed alone."""
    tables = [pd.read_csv(compared / "study/train_48/comparison_metrics.csv")]
    for name, epochs in (("second", 2), ("third", 8)):
        train(compared, name, epochs)
        tables.append(compare(compared, name))
    first, second, third = (
        table[table["metric"] != "computation_time_s"].drop(columns="status").set_index(["model", "metric"])
        for table in tables
    )
    pd.testing.assert_frame_equal(first, second, rtol=1e-6, atol=1e-6)
    changed = (first - third).abs().loc[(slice(None), "rmse"), ["amplitude", "phase"]]
    assert (changed > 1e-5).all(axis=None), changed.to_string(float_format="%.3g")


def test_a_model_whose_training_failed_causes_a_warning(trained):
    history = json.loads((trained / "study/train_48/pinn_run/history.json").read_text())
    for name in ("wts.h5.zip", "params.json"):
        source = trained / "study/train_48/pinn_run" / name
        (trained / "bad").mkdir(exist_ok=True)
        (trained / "bad" / name).write_bytes(source.read_bytes())
    words = ["--model_dir", "bad", "--data", "final/downsampled_test.npz", "--output", "bad/object.npz"]
    alone = run("reconstruct.py", *words, directory=trained)  # a model without its history
    assert "do not trust" not in alone.stderr
    (trained / "bad/history.json").write_text(json.dumps(history | {"status": "collapsed"}))
    result = run("reconstruct.py", *words, directory=trained)
    assert "bad: its training ended collapsed: do not trust the model" in result.stderr


def test_reconstruction_with_a_directory_without_a_model_is_refused(trained):
    words = ["--model_dir", "final", "--data", "final/downsampled_train.npz", "--output", "none.npz"]
    result = run("reconstruct.py", *words, directory=trained, succeeds=False)
    assert "final: neither wts.h5.zip nor baseline_model.h5 there" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (trained / "none.npz").exists()


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("[a-z]*.py")))
def test_help(script, tmp_path):
    result = run(script, "--help", directory=tmp_path)
    assert result.stdout.startswith("usage: ")
    assert len(result.stdout.splitlines()) > 5


@pytest.mark.skipif(not REAL_INPUT, reason="PTYCHO_REAL_INPUT is not set: no real reconstruction at hand")
def test_preparation_of_the_real_input(tmp_path):
    prepare(tmp_path, REAL_INPUT, 60)
    with np.load(tmp_path / "final/downsampled_test.npz") as test:
        assert test["diffraction"].shape == (30, 64, 64)
        assert test["objectGuess"].shape == (228, 226)  # 227 rows, padded
        expected = np.abs(np.fft.fftshift(np.fft.fft2(test["probeGuess"] * test["Y"]), axes=(1, 2))) / 64
        mismatch = np.linalg.norm(expected - test["diffraction"]) / np.linalg.norm(test["diffraction"])
        assert mismatch < 0.06  # averaging of pixels is not band-limited: 5 % for this input
