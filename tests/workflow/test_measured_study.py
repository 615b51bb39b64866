"""Studies of measured data, run with Snakemake: foreign array names, counts, no ground truth."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import running
import yaml

from ptycho.io import npz
from ptycho.preparation.scan import simulate
from ptycho.preparation.specimen import specimen
from ptycho.preparation.split import split

SIDE = 32
CONFIG = {
    "train_sizes": [16],
    "num_trials": 1,
    "arms": ["pinn"],
    "train_data": "train.npz",
    "test_data": "test.npz",
    "measured": {"quantity": "counts", "bad_pixels": "mask.npy"},
    "training": {"epochs": 10, "batch_size": 4},
    "pinn": {"n_filters_scale": 0.25, "projections": 1},
    "plots": {"dpi": 80},
    "output_dir": "out",
}

pytestmark = pytest.mark.workflow


def snakemake(directory, *words, cores=2):
    return running.snakemake("--cores", cores, *words, directory=directory, TF_CPP_MIN_LOG_LEVEL="3")


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


def test_both_halves_are_imported_and_nothing_is_prepared(study):
    files = sorted(path.relative_to(study) for path in (study / "out/datasets").rglob("*.npz"))
    assert files == [Path("out/datasets/imported/test.npz"), Path("out/datasets/imported/train.npz")]
    assert all(npz.is_dataset(study / path) for path in files)


def test_the_log_of_the_import_states_the_conventions_of_the_patterns(study):
    for half in ("train", "test"):
        log = (study / f"out/logs/import_{half}.log").read_text()
        assert f"{half}.npz: 60 patterns of 32 pixels, read as counts" in log
        assert f"{half}.npz: the position of DC is not stated; most intensity is in the corner" in log
        assert f"{half}.npz: 1 of 1024 pixels are bad" in log
    for log in ("train_16/trial_1/pinn_run/training.log", "logs/compare_16_1.log", "logs/summary.log"):
        text = (study / "out" / log).read_text()
        assert "not stated" not in text
        assert "in the study's format already" not in text


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
    assert "import_data" in again
    assert "train_pinn" in again
    assert "compare" in again


@pytest.fixture(scope="module")
def scored(tmp_path_factory, halves):
    """A directory with measured data whose object is known, and a mask beside DC, which is in the corner."""
    if not os.environ.get("PTYCHO_LONG_TESTS"):
        pytest.skip("a study and its commands by hand: make test-long")
    directory = tmp_path_factory.mktemp("scored")
    for name, half in zip(("train", "test"), halves, strict=True):
        detector_file(directory / f"{name}.npz", half, truth=True)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[0, 1] = True
    np.save(directory / "mask.npy", mask)
    return directory


def test_imported_data_give_the_results_of_the_original_files(scored):
    """The commands by hand read and convert the original files in each job; the study imports them once."""
    config = CONFIG | {
        "arms": ["pinn", "baseline", "iterative"],
        "baseline": {"n_filters_scale": 0.25, "projections": 1},
    }
    (scored / "scored.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(scored, "out/results_all_trials.csv", "--configfile", "scored.yaml", cores=1)
    assert done.returncode == 0, done.stderr[-3000:]
    trial = "by_hand/train_16/trial_1"
    measured = "--quantity counts --bad_pixels mask.npy"
    training = f"--n_images 16 --trial 1 --batch_size 4 --n_filters_scale 0.25 --projections 1 {measured}"
    for line in (
        f"train.py --train_data_file train.npz --output_dir {trial}/pinn_run --nepochs 2 {training}",
        f"run_baseline.py --train_data train.npz --output_dir {trial}/baseline_run --epochs 2 {training}",
        f"run_iterative.py --test_data test.npz --output_dir by_hand/iterative {measured}",
        f"compare_models.py --pinn_dir {trial}/pinn_run --baseline_dir {trial}/baseline_run "
        f"--iterative_dir by_hand/iterative --test_data test.npz --output_dir {trial} {measured}",
        "aggregate_and_plot_results.py by_hand --tables-only",
    ):
        script, *words = line.split()
        done = running.run_forked(script, *words, directory=scored, OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr[-2000:]
    imported, direct = (pd.read_csv(scored / name / "results_all_trials.csv") for name in ("out", "by_hand"))
    assert list(imported["model_type"]) == ["pinn", "baseline", "iterative"]
    time_column = ["computation_time_s"]
    pd.testing.assert_frame_equal(imported.drop(columns=time_column), direct.drop(columns=time_column), rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(np.nan, "NaN or infinite in 1 of 60 patterns (index from 0: 7)"), (0, "is zero everywhere in 1 of 60 patterns")],
)
def test_unusable_test_patterns_are_reported_before_any_training(scored, value, reason):
    arrays = dict(np.load(scored / "test.npz"))
    arrays["diff3d"] = arrays["diff3d"].astype(float)
    arrays["diff3d"][:, :, 7] = value
    np.savez(scored / "unusable.npz", **arrays)
    config = CONFIG | {"test_data": "unusable.npz", "output_dir": "unusable"}
    (scored / "unusable.yaml").write_text(yaml.safe_dump(config))
    result = snakemake(scored, "--configfile", "unusable.yaml", "--keep-going")
    assert result.returncode != 0
    (line,) = (scored / "unusable/logs/import_test.log").read_text().strip().splitlines()[-1:]
    assert line.startswith("convert_dataset.py: error: unusable.npz: diffraction ")
    assert reason in line
    assert line in result.stderr
    assert not list((scored / "unusable").rglob("training.log"))


def test_only_the_half_of_another_format_is_imported(scored, halves):
    npz.write_dataset(scored / "own.npz", halves[0])
    config = CONFIG | {"train_data": "own.npz", "arms": ["pinn", "baseline"], "output_dir": "mixed"}
    (scored / "mixed.yaml").write_text(yaml.safe_dump(config))
    result = snakemake(scored, "--configfile", "mixed.yaml", "-n")
    assert result.returncode == 0, result.stderr
    commands = {
        line.split("/scripts/")[1].split(".py ")[0]: line
        for line in (result.stdout + result.stderr).splitlines()
        if "/scripts/" in line and "aggregate" not in line
    }
    assert "test.npz mixed/datasets/imported/test.npz" in commands["convert_dataset"]
    assert "--train_data_file own.npz" in commands["train"]
    assert "--train_data own.npz --test_data mixed/datasets/imported/test.npz" in commands["run_baseline"]
    # the mask is part of an imported file; own.npz is masked when it is read
    masked = {name for name, line in commands.items() if "--bad_pixels mask.npy" in line}
    assert masked == {"convert_dataset", "train", "run_baseline"}


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
    result = running.run_forked(
        "run_baseline.py", "--train_data", "train_truth.npz", "--output_dir", "baseline_run", "--epochs", "1",
        "--n_images", "16", "--n_filters_scale", "0.25", "--projections", "1", directory=study,
    )  # fmt: skip
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
