"""A tiny study, run with Snakemake: the contents of its files, and what Snakemake runs again after a change."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import running
import yaml
from jobs import jobs_of
from PIL import Image

from ptycho.evaluation.metrics import METRICS
from ptycho.evaluation.phase_plane import without_plane

SIZES, EPOCHS = (16, 48), 16
KINDS = ("pinn", "baseline", "baseline_slim", "iterative", "refined")
CONFIG = {
    "train_sizes": list(SIZES),
    "num_trials": 1,
    "specimen": {"size_px": 112, "window_px": 32},
    "simulation": {"n_images": 240},
    "training": {"epochs": EPOCHS, "batch_size": 8, "learning_rate": 0.003},
    "pinn": {"n_filters_scale": 0.5, "projections": 1},  # more of them take longer to compile
    "baseline": {"n_filters_scale": 0.5, "projections": 1},
    "preparation": {"keep_stages": True},
    "plots": {"dpi": 80},
    "arms": ["pinn", "baseline", "iterative", "refined"],
    "variants": {"slim": {"baseline": {"n_filters_scale": 0.25}}},
}

pytestmark = pytest.mark.workflow


def snakemake(*words, directory, **variables):
    return running.snakemake("--cores", "2", *words, directory=directory, TF_CPP_MIN_LOG_LEVEL="3", **variables)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    directory = tmp_path_factory.mktemp("a study")  # a path with a space
    (directory / "tiny.yaml").write_text(yaml.safe_dump(CONFIG | {"output_dir": "out put"}))
    result = snakemake("--configfile", "tiny.yaml", directory=directory)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "6 trainings" in result.stderr
    assert "trainings: 1 of 6 finished, about" in result.stderr
    assert "trainings: 6 of 6 finished\n" in result.stderr
    (directory / "told.txt").write_text(result.stderr)
    return directory


def test_the_terminal_is_spared_the_details_that_a_file_has(study):
    told = (study / "told.txt").read_text()
    assert not re.search(r"^Reason:|^Shell command:|^ptycho-", told, re.MULTILINE)
    path = re.search(r"reason and shell command of each job: (.+\.jobs\.log)", told)[1]
    details = (study / path).read_text()
    assert details.count("shell: ptycho-") >= 20
    assert re.search(r"job_info \d+ train_pinn\n.*?reason: .+?\n +shell: ptycho-train ", details, re.DOTALL)


def dry_run(study, *words):
    result = snakemake("--configfile", "tiny.yaml", "--dry-run", "--quiet", "rules", *words, directory=study)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def test_tables_hold_every_metric_of_both_models(study):
    for size in SIZES:
        table = pd.read_csv(study / f"out put/train_{size}/trial_1/comparison_metrics.csv")
        assert list(table) == ["model", "metric", "amplitude", "phase", "value", "status"]
        assert set(table["model"]) == {"PtychoPINN", "Baseline", "Iterative", "Refined"}
        images = table[table["value"].isna()]
        assert set(METRICS) <= set(images["metric"])
        assert np.isfinite(images[["amplitude", "phase"]].to_numpy()).all()
        wide = images[images["metric"].isin(["mse", "rmse"])].pivot(index="model", columns="metric", values="phase")
        np.testing.assert_allclose(wide["rmse"] ** 2, wide["mse"], rtol=1e-9)
        values = table[table["value"].notna()]
        assert {"registration_offset_dy", "registration_offset_dx", "computation_time_s"} <= set(values["metric"])
        per_size = pd.read_csv(study / f"out put/train_{size}/comparison_metrics.csv")
        assert set(per_size["trial"]) == {1}
        assert len(per_size) == len(table)


def test_results_summarize_the_trials(study):
    results = pd.read_csv(study / "out put/results.csv").set_index(["train_size", "model_type"])
    assert sorted(results.index) == sorted((size, kind) for size in SIZES for kind in KINDS)
    assert (results["n_trials"] == 1).all()
    table = pd.read_csv(study / "out put/train_48/trial_1/comparison_metrics.csv").set_index(["model", "metric"])
    assert results.loc[(48, "pinn"), "psnr_phase_median"] == pytest.approx(table.loc[("PtychoPINN", "psnr"), "phase"])
    assert results.loc[(48, "baseline"), "frc50_amp_mean"] == pytest.approx(
        table.loc[("Baseline", "frc50"), "amplitude"]
    )


def test_metrics_agree_with_the_saved_objects(study):
    directory = study / "out put/train_48/trial_1"
    table = pd.read_csv(directory / "comparison_metrics.csv").set_index(["model", "metric"])
    with np.load(directory / "reconstructions.npz") as arrays:
        truth, found = arrays["ground_truth_complex"], arrays["pinn_complex"]
        rows = slice(*arrays["region"][:2]), slice(*arrays["region"][2:])
    assert np.sqrt(np.mean((abs(found) - abs(truth)) ** 2)) == pytest.approx(
        table.loc[("PtychoPINN", "rmse"), "amplitude"], rel=1e-4
    )
    assert np.sqrt(np.mean(np.angle(found * truth.conj()) ** 2)) == pytest.approx(
        table.loc[("PtychoPINN", "rmse"), "phase"], rel=0.02
    )
    with np.load(study / "out put/datasets/specimen_prepared/specimen_final_downsampled_data_test.npz") as arrays:
        given = arrays["objectGuess"][rows].astype(complex)
    np.testing.assert_allclose(abs(truth), abs(given), rtol=1e-6)
    residual, _ = without_plane(np.angle(truth * given.conj()))  # equal up to a plane in the phase
    assert np.abs(residual).max() < 1e-5


def test_both_models_of_a_trial_use_the_same_images_and_sizes_are_nested(study):
    def images(size, model):
        path = study / f"out put/train_{size}/trial_1/{model}_run/params.json"
        return json.loads(path.read_text())["scan_index"]

    assert images(16, "pinn") == images(16, "baseline")
    assert images(48, "pinn") == images(48, "baseline")
    assert images(48, "pinn")[:16] == images(16, "pinn")
    assert len(set(images(48, "pinn"))) == 48


def test_training_histories_and_logs(study):
    for model in ("pinn", "baseline"):
        directory = study / f"out put/train_48/trial_1/{model}_run"
        history = json.loads((directory / "history.json").read_text())
        assert len(history["loss"]) == len(history["val_loss"]) == EPOCHS
        assert history["status"] == "ok"
        assert min(history["loss"]) < history["loss"][0]
        assert (directory / "training.log").read_text().count("epoch ") >= EPOCHS


def test_the_larger_training_fits_its_own_data_better(study):
    losses = [
        min(json.loads((study / f"out put/train_{size}/trial_1/pinn_run/history.json").read_text())["loss"])
        for size in SIZES
    ]
    assert losses[1] < losses[0]  # three times the steps


def test_figures_are_not_empty(study):
    plots = [f"{metric}_{part}" for metric in ("psnr", "frc50", "mae", "ssim") for part in ("phase", "amp")]
    paths = [study / f"out put/{plot}_generalization.png" for plot in plots]
    paths += [study / "out put/train_48/trial_1/comparison_plot.png", study / "out put/train_48/comparison_plot.png"]
    for path in paths:
        with Image.open(path) as image:
            assert min(image.size) > 100
            assert len(np.unique(np.asarray(image.convert("L")))) > 20  # not blank


def test_summary_configuration_and_log(study):
    out = study / "out put"
    summary = (out / "STUDY_SUMMARY.md").read_text()
    results = pd.read_csv(out / "results.csv").set_index(["train_size", "model_type"])
    assert f"{results.loc[(48, 'pinn'), 'psnr_phase_median']:.2f}" in summary
    assert "@misc{ptychopinn_generalization_study" in summary
    config = yaml.safe_load((out / "study_config.txt").read_text())
    assert config["training"]["epochs"] == EPOCHS
    assert config["simulation"]["n_photons"] == 1e9  # defaults are listed, too
    log = (out / "study_log.txt").read_text().splitlines()
    stamps = [line[:23] for line in log if line[:2] == "20"]
    assert stamps == sorted(stamps)
    assert any("training.log: " in line and f"epoch {EPOCHS} of {EPOCHS}" in line for line in log)


def test_a_second_run_does_nothing(study):
    assert "Nothing to be done" in dry_run(study)


def test_a_lost_comparison_is_redone_without_training(study):
    lost = study / "out put/train_16/trial_1/comparison_metrics.csv"
    aside = lost.rename(study / "aside.csv")
    try:
        plan = dry_run(study)
    finally:
        aside.rename(lost)
    jobs = jobs_of(plan)
    assert jobs["compare_trial"] == 1
    assert jobs["compare_size"] == 1
    assert jobs["generalization_plot"] == 1
    assert not any(rule.startswith("train") for rule in jobs)


@pytest.mark.parametrize(
    ("change", "trainings", "others"),
    [
        ("plots={dpi: 90}", 0, {"generalization_plot": 1, "figure": 3}),
        ("evaluation={n_test_images: 60}", 0, {"compare_trial": 4, "tables": 1}),
        (
            "train_sizes=[16, 48, 32]",
            3,
            {"compare_trial": 2, "compare_size": 2},
        ),  # one of them is the variant of the baseline
        ("num_trials=2", 6, {"compare_trial": 4}),
        ("training={epochs: 7, batch_size: 8, learning_rate: 0.003}", 6, {"compare_trial": 4, "refined": 2}),
        ("pinn={n_filters_scale: 0.25}", 2, {"compare_trial": 2}),
        ("iterative={iterations: 3}", 0, {"iterative": 1, "refined": None, "compare_trial": 2}),
        ("seed=43", 6, {"simulate": 1, "split": 1}),
    ],
)
def test_a_change_reruns_only_what_depends_on_it(study, change, trainings, others):
    jobs = jobs_of(dry_run(study, "--config", change))
    assert jobs.get("train_pinn", 0) + jobs.get("train_baseline", 0) == trainings
    assert {rule: jobs.get(rule) for rule in others} == others
    assert ("simulate" in jobs) == ("simulate" in others)


def test_a_variant_is_listed_with_the_study(study):
    results = pd.read_csv(study / "out put/results.csv")
    assert set(results["model_type"]) == set(KINDS)
    assert "Baseline (slim)" in (study / "out put/STUDY_SUMMARY.md").read_text()
    params = [
        json.loads((study / "out put" / branch / "train_16/trial_1/baseline_run/params.json").read_text())
        for branch in ("", "variants/slim")
    ]
    assert [found["config"]["n_filters_scale"] for found in params] == [0.5, 0.25]
    assert params[0]["scan_index"] == params[1]["scan_index"]


def test_all_trials_share_one_iterative_reconstruction(study):
    trials = pd.read_csv(study / "out put/results_all_trials.csv").set_index("model_type")
    assert trials.loc["iterative", "rmse_phase"].nunique() == 1
    assert trials.loc["iterative", "rmse_phase"].max() < trials.loc[["pinn", "baseline"], "rmse_phase"].min()
    assert trials.loc["refined", "rmse_phase"].max() < trials.loc["pinn", "rmse_phase"].min()


def test_the_report_opens_in_a_browser(study):
    result = snakemake("--report", "report.html", "--configfile", "tiny.yaml", directory=study)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "ERROR" not in result.stderr  # of the page's text
    page = (study / "report.html").read_text(encoding="utf-8")
    for name in ("psnr_phase_generalization.png", "overview.png", "results.csv", "comparison_plot.png"):
        assert name in page
    assert 'src="http' not in page  # readable offline
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000", "--dump-dom"]
    shown = subprocess.run(
        [browser, *words, f"file://{study / 'report.html'}"], capture_output=True, text=True, check=True, timeout=120
    )
    for word in ("Generalization", "Overview", "Sizes", "Tables", "Trials", "How do PtychoPINN", "Who is ahead:"):
        assert word in shown.stdout  # inserted by the script of the page
    assert shown.stdout.count('src="data:image/png,%89%50') == 2  # the overview and the reconstructions


def test_one_plot_is_redrawn_by_one_job(study):
    (study / "out put/psnr_phase_generalization.png").unlink()
    result = snakemake("out put/psnr_phase_generalization.png", "--configfile", "tiny.yaml", directory=study)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "1 of 1 steps" in result.stderr


def test_a_failed_training_is_repeated_and_does_not_stop_the_others(study, tmp_path, tmp_path_factory):
    directory = shutil.copytree(study, tmp_path_factory.mktemp("copy"), dirs_exist_ok=True)
    out = directory / "out put"
    model = out / "train_48/trial_1/pinn_run/wts.h5.zip"
    picture = out / "train_16/comparison_plot.png"
    for lost in (model, picture):
        lost.unlink()
    (tmp_path / "sitecustomize.py").write_text(  # trainings on 48 images fail
        "import os, sys\nif '48' in sys.orig_argv and any(a.endswith('/ptycho-train') for a in sys.orig_argv):\n"
        "    os._exit(1)\n"
    )
    result = snakemake(
        *(path.relative_to(directory) for path in (model, picture)), "--configfile", "tiny.yaml", "--keep-going",
        "--retries", "1", "-p", directory=directory, PYTHONPATH=str(tmp_path), COMMAND_PYTHON=sys.executable,
    )  # fmt: skip
    assert result.returncode != 0
    assert picture.exists()
    assert not model.exists()
    tried = re.findall(r"ptycho-train .* --n_images 48 .*--micro_batches (\d)", result.stderr)
    assert list(dict.fromkeys(tried)) == ["1", "2"]  # the memory may not have sufficed
    result = snakemake("available", "--configfile", "tiny.yaml", "-p", directory=directory)
    assert result.returncode == 0, result.stderr[-2000:]
    assert jobs_of(result.stderr) == {"available": 1, "total": 1}
    # for its warnings on data
    assert re.search("ptycho-summarize-study .* --test_data .* --train_data ", result.stderr)
    assert set(pd.read_csv(out / "results.csv")["train_size"]) == {16, 48}  # the variant of 48 images is complete
    results = pd.read_csv(out / "results.csv").set_index("train_size")
    assert "pinn" not in set(results.loc[48, "model_type"])  # the metrics on disk belong to the model that was deleted
    assert "PtychoPINN, 48 images, trial 1: no result" in (out / "STUDY_SUMMARY.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainsizes": [1]}, "unknown key trainsizes: did you mean train_sizes?"),
        ({"training": {"epoch": 1}}, "unknown key training.epoch: did you mean training.epochs?"),
        ({"train_sizes": [16, 500]}, "requested 500, but the prepared training data will hold 120"),
        ({"input": "missing.npz"}, "missing.npz: no such file"),
        (
            {"input": "objectless.npz"},
            "objectless.npz: objectGuess, xcoords, ycoords missing; the file holds probeGuess",
        ),
    ],
)
def test_invalid_input_is_reported_in_one_line_before_any_job(tmp_path, change, message):
    np.savez(tmp_path / "objectless.npz", probeGuess=np.ones((32, 32), complex))
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(CONFIG | {"output_dir": "out"} | change))
    result = snakemake("--configfile", "bad.yaml", directory=tmp_path)
    assert result.returncode != 0
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()
