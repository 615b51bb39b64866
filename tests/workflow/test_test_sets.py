"""What Snakemake plans for further test sets, and refuses, without running a job; and their analysis afterwards."""

import os

import numpy as np
import pandas as pd
import pytest
import yaml
from jobs import jobs_of
from running import snakemake

SETS = {
    "other_object": {"specimen": {"object": "lines"}},
    "low_dose": {"simulation": {"n_photons": 1.0e5}},
    "shifted": {"probe_error": {"shift_px": 1}},
}
BASE = {"output_dir": "out", "train_sizes": [16, 32], "num_trials": 2, "specimen": {"size_px": 112, "window_px": 32},
        "simulation": {"n_images": 240}}  # fmt: skip

pytestmark = pytest.mark.workflow


def run(directory, config, *words):
    (directory / "study.yaml").write_text(yaml.safe_dump(config))
    return snakemake(*words, "--cores", "1", "--configfile", "study.yaml", directory=directory)


def plan(directory, sets, *words, **keys):
    """Return the number of jobs per rule of a study with test sets, and what is written to the error stream."""
    result = run(directory, BASE | {"test_sets": sets} | keys, *words, "--dry-run", "--quiet", "rules")
    assert result.returncode == 0, result.stderr[-2000:]
    jobs = jobs_of(result.stdout + result.stderr)
    jobs.pop("total", None)
    return jobs, result.stderr


def test_a_study_plans_one_job_for_all_sets_of_a_trial(tmp_path):
    without, _ = plan(tmp_path, {})
    jobs, said = plan(tmp_path, SETS)
    added = {rule: count - without.get(rule, 0) for rule, count in jobs.items() if count != without.get(rule)}
    assert added == {"prepare_test_data": 2, "compare_test_sets": 4, "tabulate_test_sets": 1}
    assert "4 test sets" in said  # with the twin of the shift
    assert "720 images to simulate" in said


def test_the_iterative_arm_reconstructs_each_set_once(tmp_path):
    jobs, _ = plan(tmp_path, SETS | {"none": {"probe_error": {"shift_px": [0, 2]}}}, arms=["pinn", "iterative"])
    # other object, dose and two shifts; a shift of 0 is the study's own reconstruction
    assert (jobs["iterative"], jobs["iterative_test_set"], jobs["compare_test_sets"]) == (1, 4, 4)


def test_equal_data_are_prepared_once(tmp_path):
    sets = {"a": SETS["low_dose"], "b": SETS["low_dose"] | {"probe_error": {"defocus_rad": [1, 2]}}}
    assert plan(tmp_path, sets)[0]["prepare_test_data"] == 1


def test_variants_are_scored_too(tmp_path):
    jobs, _ = plan(tmp_path, SETS, variants={"slim": {"baseline": {"n_filters_scale": 0.25}}})
    assert jobs["compare_test_sets"] == 8
    assert jobs["prepare_test_data"] == 2


@pytest.mark.parametrize(
    ("target", "rules"),
    [
        ("prepare", {"prepare_test_data": 2, "split": 1}),
        ("compare", {"compare_test_sets": 4, "compare_trial": 4, "train_pinn": 4}),
        ("test_sets", {"compare_test_sets": 4, "tabulate_test_sets": 1, "test_sets": 1, "train_pinn": 4}),
        ("plots", {"compare_test_sets": 4, "tabulate_test_sets": 1, "generalization_plot": 1}),
        ("out/generalization_matrix.png", {"compare_test_sets": 4, "tabulate_test_sets": 1}),
        ("out/train_16/trial_1/test_low_dose/comparison_metrics.csv", {"compare_test_sets": 1, "train_pinn": 1}),
    ],
)
def test_targets_know_the_sets(tmp_path, target, rules):
    jobs, _ = plan(tmp_path, SETS, target)
    assert {rule: jobs.get(rule) for rule in rules} == rules


def scan(path, side=32, **arrays):
    """Write a scan of another program: counts of a known number of positions."""
    rng = np.random.default_rng(0)
    count = 30
    np.savez(
        path,
        diffraction=rng.poisson(3, (count, side, side)).astype(np.float32), probeGuess=np.ones((side, side), complex),
        xcoords=rng.uniform(20, 60, count), ycoords=rng.uniform(20, 60, count), **arrays,
    )  # fmt: skip


def test_a_measured_scan_is_imported_and_nothing_prepared(tmp_path):
    scan(tmp_path / "scan.npz")
    jobs, _ = plan(tmp_path, {"beamline": {"test_data": "scan.npz"}})
    assert jobs["import_test_set"] == 1
    assert "prepare_test_data" not in jobs


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            {"a": {"specimen": {"window_px": 64, "size_px": 128}}},
            "test_sets.a: it prepares patterns of 64 px, but the models are trained on 32 px",
        ),
        ({"a": {"specimen": {"size_px": 64, "window_px": 40}}}, "test_sets.a: specimen.size_px is 64"),
        (
            {"a": {"test_data": "small.npz"}},
            "test_sets.a: small.npz patterns of 16 px, but the models are trained on 32",
        ),
        ({"a": {"test_data": "nowhere.npz"}}, "nowhere.npz: no such file"),
        ({"a": {"specimen": {"objekt": "lines"}}}, "did you mean test_sets.a.specimen.object?"),
        ({"a": {"probe_error": {"position_jitter_px": -1}}}, "test_sets.a.probe_error.position_jitter_px is -1"),
    ],
)
def test_an_unusable_set_is_one_line_before_any_job(tmp_path, sets, message):
    scan(tmp_path / "small.npz", side=16)
    result = run(tmp_path, BASE | {"test_sets": sets}, "--dry-run")
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert message in line


def test_a_finished_study_keeps_its_jobs_when_it_is_extended(tmp_path):
    """The rules of preparation and training are given the same files, parameters and commands."""

    def commands(sets):
        result = run(tmp_path, BASE | {"test_sets": sets}, "--dry-run", "--printshellcmds")
        lines = (result.stdout + result.stderr).splitlines()
        return {line for line in lines if "ptycho-" in line}

    before, after = commands({}), commands(SETS)
    own = {line for line in before if "summarize-study" not in line}
    assert len(own) > 20
    assert own <= after


# variants that change data, and sweeps ---------------------------------------------------------------------


def test_a_variant_with_data_of_its_own_prepares_them_and_runs_every_arm_again(tmp_path):
    arms = ["pinn", "baseline", "iterative"]
    without, _ = plan(tmp_path, {}, arms=arms)
    jobs, _ = plan(tmp_path, {}, arms=arms, variants={"low": {"simulation": {"n_photons": 1e3}}})
    added = {rule: count - without.get(rule, 0) for rule, count in jobs.items() if count != without.get(rule)}
    assert added == {"prepare_data": 1, "iterative_variant": 1, "train_pinn": 4, "train_baseline": 4,
                     "compare_trial": 4, "compare_size": 2}  # fmt: skip


def test_a_sweep_is_a_variant_for_each_other_value_and_one_figure(tmp_path):
    jobs, _ = plan(
        tmp_path, {}, sweep={"simulation.n_photons": [1e3, 1e5, 1e9], "training.learning_rate": [1e-3, 2e-3]}
    )
    # two doses of data of their own, and one learning rate on the data of the study: the other value is the study's
    assert (jobs["prepare_data"], jobs["plot_sweep"], jobs["train_pinn"]) == (2, 2, 16)


def test_a_sweep_and_a_test_set_of_one_dose_share_their_data(tmp_path):
    jobs, _ = plan(tmp_path, {"low": {"simulation": {"n_photons": 1e3}}}, sweep={"simulation.n_photons": [1e3, 1e9]})
    assert jobs["prepare_data"] == 1
    assert "prepare_test_data" not in jobs
    assert jobs["compare_test_sets"] == 8


def test_the_target_of_sweeps_draws_them(tmp_path):
    jobs, _ = plan(tmp_path, {}, "sweeps", sweep={"training.learning_rate": [1e-3, 2e-3]})
    assert (jobs["plot_sweep"], jobs["compare_trial"], jobs["sweeps"]) == (1, 8, 1)
    assert "summary" not in jobs


def test_a_variant_with_too_few_images_is_one_line_before_any_job(tmp_path):
    config = BASE | {"variants": {"few": {"simulation": {"n_images": 40}}}}
    result = run(tmp_path, config, "--dry-run")
    assert result.returncode != 0
    assert "error: variants.few: Not enough training images: requested 32" in result.stderr


# the analysis ----------------------------------------------------------------------------------------------

METRICS = "model,metric,amplitude,phase,value,status\nPtychoPINN,rmse,{0},{0},,ok\nBaseline,rmse,{1},{1},,ok\n"


@pytest.fixture
def finished(tmp_path):
    """A finished study with two test sets, one of a list of strengths."""
    study = tmp_path / "study"
    for trial in (1, 2):
        place = study / "train_16" / f"trial_{trial}"
        for name, numbers in {".": (0.1, 0.2), "test_d_1": (0.2, 0.3), "test_d_2": (0.4, 0.3)}.items():
            (place / name).mkdir(parents=True, exist_ok=True)
            (place / name / "comparison_metrics.csv").write_text(METRICS.format(*numbers))
    config = BASE | {"test_sets": {"d": {"probe_error": {"defocus_rad": [1, 2]}}}}
    (study / "study_config.txt").write_text(yaml.safe_dump(config))
    return study


def report(directory, config, *words):
    """Make the report of a study and expect the words on its page."""
    result = run(directory, config, "--report", "report.html")
    assert result.returncode == 0, result.stderr[-3000:]
    page = (directory / "report.html").read_text(encoding="utf-8")
    assert [word for word in words if word not in page] == []


def test_the_analysis_of_an_existing_study_knows_its_test_sets(tmp_path, finished):
    config = {"existing": "study", "plots": {"dpi": 60, "formats": ["png"]}}
    result = run(tmp_path, config)
    assert result.returncode == 0, result.stderr[-3000:]
    out = finished / "analysis"
    assert {"generalization_matrix.png", "rmse_phase_test_sets.png", "probe_error_d.png"} <= {
        path.name for path in out.iterdir()
    }
    losses = pd.read_csv(out / "generalization_matrix.csv").set_index(["test_set", "arm", "part"])["loss"]
    assert losses["d_2", "pinn", "phase"] == pytest.approx(0.3)
    wide = pd.read_csv(out / "results_all_trials.csv")  # the held-out half alone, as ever
    assert len(wide) == 4
    assert "test_set" not in wide
    assert "## Other test sets" in (out / "STUDY_SUMMARY.md").read_text()
    report(tmp_path, config, "generalization_matrix.png", "probe_error_d.png", "test set against model")


def test_the_analysis_of_an_existing_study_draws_its_sweeps(tmp_path):
    study = tmp_path / "study"
    for branch, phase in {"": 0.1, "variants/n_photons_1000": 0.4}.items():
        place = study / branch / "train_16" / "trial_1"
        place.mkdir(parents=True)
        (place / "comparison_metrics.csv").write_text(METRICS.format(phase, phase + 0.1))
    config = BASE | {"sweep": {"simulation.n_photons": [1e3, 1e9]}}
    (study / "study_config.txt").write_text(yaml.safe_dump(config))
    config = {"existing": "study", "plots": {"dpi": 60, "formats": ["png"]}}
    result = run(tmp_path, config)
    assert result.returncode == 0, result.stderr[-3000:]
    table = pd.read_csv(study / "analysis" / "sweep_simulation_n_photons.csv")
    assert table.groupby(["arm", "value"])["rmse_phase"].first().to_dict() == pytest.approx(
        {("pinn", 1e3): 0.4, ("pinn", 1e9): 0.1, ("baseline", 1e3): 0.5, ("baseline", 1e9): 0.2}
    )
    assert (study / "analysis" / "sweep_simulation_n_photons.png").stat().st_size > 5000
    report(tmp_path, config, "sweep_simulation_n_photons.png", "against the value of simulation.n_photons")


def test_a_replaced_mask_of_a_variant_prepares_its_data_alone(tmp_path):
    def mask(pixel):
        bad = np.zeros((64, 64), bool)  # of the finer grid of the simulation
        bad[pixel, pixel] = True
        np.save(tmp_path / "mask.npy", bad)
        os.utime(tmp_path / "mask.npy", (1e9, 1e9 + pixel))  # older than every output

    mask(3)
    config = BASE | {
        "variants": {"masked": {"simulation": {"bad_pixels": "mask.npy"}}, "noisy": {"simulation": {"n_photons": 1e4}}}
    }
    done = run(tmp_path, config, "prepare")
    assert done.returncode == 0, done.stderr[-2000:]
    again = run(tmp_path, config, "prepare", "--dry-run", "--quiet", "rules")
    assert "prepare_data" not in jobs_of(again.stdout + again.stderr)
    mask(5)
    again = run(tmp_path, config, "prepare", "--dry-run", "--quiet", "rules")
    assert jobs_of(again.stdout + again.stderr)["prepare_data"] == 1
