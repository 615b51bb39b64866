"""Every command of the study guide, called as in the guide, on small files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
REAL_INPUT = os.environ.get("PTYCHO_REAL_INPUT")

pytestmark = pytest.mark.workflow


def run(script, *words, directory, succeeds=True):
    result = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *map(str, words)],
        cwd=directory, capture_output=True, text=True, check=False, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert (result.returncode == 0) is succeeds, result.stderr[-2000:]
    return result


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


@pytest.fixture(scope="module")
def trained(data):
    """Run the individual trainings of the guide, with few epochs."""
    run(
        "train.py", "--train_data_file", "final/downsampled_train.npz",
        "--test_data_file", "final/downsampled_test.npz",
        "--n_images", "48", "--output_dir", "study/train_48/pinn_run", "--nepochs", "2", "--learning_rate", "0.0001",
        directory=data,
    )  # fmt: skip
    run(
        "run_baseline.py", "--train_data", "final/downsampled_train.npz", "--test_data", "final/downsampled_test.npz",
        "--n_images", "48", "--output_dir", "study/train_48/baseline_run", "--epochs", "2", directory=data,
    )  # fmt: skip
    return data


def test_preparation_by_hand(data):
    with np.load(data / "final/downsampled_train.npz") as train, np.load(data / "final/downsampled_test.npz") as test:
        assert train["diffraction"].shape == test["diffraction"].shape == (80, 32, 32)
        assert train["ycoords"].max() <= test["ycoords"].min()
        energy = np.mean([np.sum(half["diffraction"] ** 2, axis=(1, 2)).mean() for half in (train, test)])
        assert energy == pytest.approx(16**2, rel=1e-5)


def test_training_and_comparison_by_hand_in_the_flat_layout(trained):
    run(
        "compare_models.py", "--pinn_dir", "study/train_48/pinn_run", "--baseline_dir", "study/train_48/baseline_run",
        "--test_data", "final/downsampled_test.npz", "--output_dir", "study/train_48", directory=trained,
    )  # fmt: skip
    table = pd.read_csv(trained / "study/train_48/comparison_metrics.csv")
    assert set(table["model"]) == {"PtychoPINN", "Baseline"}
    assert (trained / "study/train_48/comparison_plot.png").stat().st_size > 10_000
    for words, name in (
        (("--metric", "psnr", "--part", "phase", "--output", "psnr_phase_generalization.png"), "psnr_phase"),
        (("--metric", "frc50", "--part", "amp", "--output", "frc50_amp_generalization.png"), "frc50_amp"),
        (("--metric", "mae", "--part", "amp", "--output", "mae_amp_generalization.png"), "mae_amp"),
    ):
        run("aggregate_and_plot_results.py", "study/", *words, directory=trained)
        assert (trained / f"study/{name}_generalization.png").stat().st_size > 10_000
    run("aggregate_and_plot_results.py", "study/", directory=trained)
    results = pd.read_csv(trained / "study/results.csv")
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


@pytest.mark.parametrize("output", ["input.npz/below.npz", "."])
def test_an_output_that_cannot_be_written_is_reported_in_one_line(data, output):
    result = run("pad_to_even_tool.py", "input.npz", output, directory=data, succeeds=False)
    assert len(result.stderr.strip().splitlines()) == 1
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
def test_a_trained_model_reconstructs_other_data(trained, kind):
    words = [f"study/train_48/{kind}_run", "final/downsampled_test.npz"]
    run("reconstruct.py", "--model_dir", words[0], "--data", words[1], "--output", f"new/{kind}.npz", directory=trained)
    run(
        "compare_models.py", f"--{kind}_dir", words[0], "--test_data", words[1], "--output_dir", f"new/{kind}",
        directory=trained,
    )  # fmt: skip
    with np.load(trained / f"new/{kind}.npz") as found:
        image, region = found["reconstructed_object"], found["region"]
        steps = json.loads(str(found["metadata"]))["steps"]
    with np.load(trained / f"new/{kind}/reconstructions.npz") as compared:
        first, last, left, right = compared["region"]
        np.testing.assert_allclose(image[first:last, left:right], compared[f"{kind}_raw"], atol=1e-5)
        assert (region[::2] < compared["region"][::2]).all()  # of the same scan; the comparison excludes a border
    assert np.abs(image[first:last, left:right]).std() > 0
    assert steps[-1]["step"] == "reconstruct"
    assert (trained / f"new/{kind}.png").stat().st_size > 10_000


def test_the_same_training_again_gives_the_same_metrics(trained):
    """Augmented patterns, the order of batches and initial weights depend on the seed alone."""
    words = ["--n_images", "48", "--trial", "1", "--batch_size", "4"]
    train, test = "final/downsampled_train.npz", "final/downsampled_test.npz"
    tables = []
    for name, epochs in (("first", 2), ("second", 2), ("third", 3)):
        run(
            "train.py", "--train_data_file", train, *words, "--nepochs", epochs, "--output_dir", f"{name}/pinn",
            directory=trained,
        )  # fmt: skip
        run(
            "run_baseline.py", "--train_data", train, *words, "--epochs", epochs, "--output_dir", f"{name}/baseline",
            directory=trained,
        )  # fmt: skip
        run(
            "compare_models.py", "--pinn_dir", f"{name}/pinn", "--baseline_dir", f"{name}/baseline",
            "--test_data", test, "--output_dir", name, directory=trained,
        )  # fmt: skip
        table = pd.read_csv(trained / name / "comparison_metrics.csv")
        tables.append(
            table[table["metric"] != "computation_time_s"].drop(columns="status").set_index(["model", "metric"])
        )
    first, second, third = tables
    pd.testing.assert_frame_equal(first, second, rtol=1e-6, atol=1e-6)
    changed = (first - third).abs().loc[(slice(None), "rmse"), ["amplitude", "phase"]]
    assert (changed > 1e-5).all(axis=None)


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
    assert "bad: its training ended collapsed: do not trust the reconstruction" in result.stderr


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
