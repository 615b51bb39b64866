"""Every command of docs/running.md: which jobs it starts. And what Snakemake plans or refuses without running a job."""

import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from jobs import jobs_of
from running import snakemake

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+?) \| `snakemake (.+?)` \|$", DOCUMENT, re.MULTILINE)

pytestmark = pytest.mark.workflow

PREPARED = {"specimen": 1, "pad": 1, "transpose": 1, "interpolate": 1, "smooth": 1, "simulate": 1, "downsample": 1,
            "split": 1}  # fmt: skip


def whole(sizes, trials):
    """Return the number of jobs per rule of a whole study of both models."""
    each = {rule: sizes * trials for rule in ("train_pinn", "train_baseline", "compare_trial")}
    once = dict.fromkeys(("tables", "summary", "study_config", "study_log", "all"), 1)
    return PREPARED | each | once | {"compare_size": sizes, "generalization_plot": 1, "figure": 3}


EXPECTED = {
    "one-command study": whole(4, 6),
    "custom sizes and directory": whole(4, 6),
    "small-scale study": whole(2, 2),
    "standard study": whole(4, 6),
    "extended study": whole(6, 6),
    "prepare data alone": PREPARED | {"prepare": 1},
    "train alone": PREPARED | {"train_pinn": 12, "train_baseline": 12, "train": 1},
    "train and compare, without tables and plots of the whole study": PREPARED
    | {"train_pinn": 24, "train_baseline": 24, "compare_trial": 24, "compare_size": 4, "compare": 1},
    "one plot": PREPARED
    | {"train_pinn": 24, "train_baseline": 24, "compare_trial": 24, "tables": 1, "generalization_plot": 1},
    "one size": PREPARED | {"train_pinn": 6, "train_baseline": 6, "compare_trial": 6, "compare_size": 1},
    "one trial": PREPARED | {"train_pinn": 1, "train_baseline": 1, "compare_trial": 1},
    "one model of one trial": PREPARED | {"train_pinn": 1},
    "existing datasets": {rule: n for rule, n in whole(4, 6).items() if rule not in PREPARED} | {"import_data": 2},
    "resume with larger sizes": whole(4, 6),
    "analysis alone": {"tables": 1, "summary": 1, "generalization_plot": 1, "figure": 1, "all": 1},
    "one training at a time": whole(2, 6),
}


def test_every_command_of_the_document_is_tested():
    assert [name for name, _ in ROWS] == list(EXPECTED)


@pytest.fixture(scope="module")
def patterns(tmp_path_factory):
    """Return a file of 6000 patterns."""
    count, path = 6000, tmp_path_factory.mktemp("patterns") / "patterns.npz"
    np.savez_compressed(
        path,
        diffraction=np.zeros((count, 32, 32), np.float32), probeGuess=np.ones((32, 32), np.complex64),
        xcoords=np.arange(count, dtype=float), ycoords=np.arange(count, dtype=float),
        objectGuess=np.ones((64, 64), np.complex64),
    )  # fmt: skip
    return path


@pytest.fixture
def elsewhere(tmp_path, patterns):
    """Return a directory with the files that the commands of the document refer to."""
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    (tmp_path / "config").symlink_to(ROOT / "config")
    for half in ("train", "test"):
        shutil.copy(patterns, tmp_path / f"{half}.npz")
    found = tmp_path / "existing_study" / "train_512"
    found.mkdir(parents=True)
    (found / "comparison_metrics.csv").write_text("model,metric,amplitude,phase\nPtychoPINN,psnr,30,20\n")
    return tmp_path


@pytest.mark.parametrize(("name", "words"), ROWS, ids=[name for name, _ in ROWS])
def test_the_command_starts_exactly_these_jobs(elsewhere, name, words):
    words = [*shlex.split(words), "--dry-run", "--quiet", "rules"]
    result = snakemake(*words, directory=elsewhere, snakefile=None)
    assert result.returncode == 0, result.stderr[-2000:]
    jobs = jobs_of(result.stdout + result.stderr)
    jobs.pop("total", None)
    assert jobs == EXPECTED[name]


def test_the_analysis_of_an_existing_study_does_not_overwrite_its_files(tmp_path):
    study = tmp_path / "their study"
    (study / "train_512").mkdir(parents=True)
    (study / "train_512" / "comparison_metrics.csv").write_text(
        "model,metric,amplitude,phase\nPtychoPINN,psnr,30,20\nPtychoPINN,x$(touch PWNED),1,2\nTike,psnr,40,31\n"
    )
    (study / "study_config.txt").write_text("Study\nGenerated: Mon: [\n")  # written by another program, not yaml
    (study / "results.csv").write_text("theirs\n")
    result = snakemake("--cores", "2", "--config", f"existing={study}", directory=tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    found = {path.name for path in (study / "analysis").iterdir()}
    assert {
        "results.csv",
        "STUDY_SUMMARY.md",
        "psnr_phase_generalization.png",
        "x_touch_PWNED_amp_generalization.png",
    } <= found
    assert "| 512 | tike |" in (study / "analysis" / "STUDY_SUMMARY.md").read_text()
    assert (study / "results.csv").read_text() == "theirs\n"
    assert not list(tmp_path.rglob("PWNED"))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("existing=nowhere", "existing: nowhere: no results"),
        ("output_dir=a{b}", "output_dir is a{b}: it must not contain { or }"),
        ("variants={a__b: {pinn: {gridsize: 2}}}", "variants"),
        (
            "variants={a: {pinn: {gridsiz: 2}}}",
            "unknown key variants.a.pinn.gridsiz: did you mean variants.a.pinn.gridsize?",
        ),
        (
            "variants={a: {evaluation: {stitch_crop_px: 2}}}",
            "variants.a.evaluation: a variant may change pinn, baseline, training",
        ),
        ("plots={palette: nonsense}", "plots.palette is nonsense: "),
        ("pinn={overlap_weight: 0, pattern_weight: 0, real_space_weight: 0}", "PtychoPINN has nothing to learn from"),
        ("evaluation={custom_metrics: none.py}", "custom_metrics: none.py: No such file"),
    ],
)
def test_an_invalid_configuration_is_reported_in_one_line(tmp_path, config, words):
    result = snakemake("--cores", "1", "-n", "--config", config, directory=tmp_path)
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert words in line


METRIC_FILE = """
from pathlib import Path

Path("executed").touch()


def poor(target, prediction):
    raise ValueError("not a metric")
"""


@pytest.mark.parametrize(
    "words", [["--dry-run", "--printshellcmds", "--cores", "1"], ["--unlock"], ["--unlock", "--cores", "1"], ["--lint"]]
)
def test_a_metric_file_is_not_executed_without_a_run(tmp_path, words):
    (tmp_path / "mine.py").write_text(METRIC_FILE)
    result = snakemake(*words, "--config", "evaluation={custom_metrics: mine.py}", directory=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    if "--dry-run" in words:
        assert "--plots rmse_phase" in result.stdout + result.stderr
        assert " poor_phase poor_amp " in result.stdout + result.stderr  # the name of the metric is known
    assert not (tmp_path / "executed").exists()


def test_a_metric_that_fails_stops_a_run_before_its_first_job(tmp_path):
    (tmp_path / "mine.py").write_text(METRIC_FILE)
    words = ["prepare", "--cores", "1", "--config", "evaluation={custom_metrics: mine.py}", "output_dir=out"]
    result = snakemake(*words, directory=tmp_path)
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "custom_metrics: mine.py: poor(target, prediction)" in line
    assert "ValueError: not a metric" in line
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()
    assert not any(tmp_path.glob(".snakemake/locks/*"))


def test_newer_test_data_repeat_no_training(elsewhere):
    words = [
        "--cores", "1", "--rerun-triggers", "mtime", "--config", "train_data=train.npz", "test_data=test.npz",
        "train_sizes=[512]", "num_trials=1", "arms=[pinn,baseline,iterative,refined]", "output_dir=out",
    ]  # fmt: skip

    def made_at(time, *paths):
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (time, time))

    def plan():
        result = snakemake("--dry-run", *words, directory=elsewhere)
        assert result.returncode == 0, result.stderr[-2000:]
        return jobs_of(result.stdout + result.stderr)

    data = elsewhere / "train.npz", elsewhere / "test.npz"
    summary = snakemake("--summary", *words, directory=elsewhere).stdout.splitlines()
    outputs = [elsewhere / line.split("\t")[0] for line in summary if line.startswith("out/")]
    assert len(outputs) > 60
    made_at(1e9, *data)
    made_at(1e9 + 10, *outputs)
    assert plan() == {}
    made_at(1e9 + 20, data[1])
    jobs = plan()
    assert jobs["import_data"] == 1
    assert not jobs.keys() & {"train_pinn", "train_baseline"}
    assert [jobs[rule] for rule in ("iterative", "refined", "compare_trial")] == [1, 1, 1]
    made_at(1e9 + 20, data[0])
    jobs = plan()
    assert [jobs[rule] for rule in ("train_pinn", "train_baseline")] == [1, 1]
