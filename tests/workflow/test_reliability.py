"""What a run refuses before its first job, and inputs that are replaced without a newer time stamp."""

import fcntl
import os
import shutil

import numpy as np
import pytest
import running
import yaml
from jobs import jobs_of

from ptycho.preparation.scan import simulate
from ptycho.preparation.specimen import specimen

CONFIG = {
    "output_dir": "out",
    "input": "scan.npz",
    "train_sizes": [16],
    "num_trials": 1,
    "arms": ["pinn"],
    "simulation": {"n_images": 60},
}

pytestmark = pytest.mark.workflow


def snakemake(directory, *words, **changes):
    (directory / "tiny.yaml").write_text(yaml.safe_dump(CONFIG | changes))
    return running.snakemake(*words, "--cores", "2", "--configfile", "tiny.yaml", directory=directory)


def refusal(result):
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    return line


def plan(directory, *words, **changes):
    result = snakemake(directory, *words, "--dry-run", **changes)
    assert result.returncode == 0, result.stderr[-2000:]
    return jobs_of(result.stdout + result.stderr)


def write_scan(path, seed, modified=None):
    whole = simulate(specimen(112, 32, 1.5, 0.3, seed=seed), 8, 1e6, seed=2).loaded()
    new = path.with_name("new.npz")
    np.savez(new, objectGuess=whole.object, probeGuess=whole.probe, xcoords=whole.xcoords, ycoords=whole.ycoords)
    if modified is not None:
        os.utime(new, (modified, modified))
    new.replace(path)


@pytest.fixture
def place(tmp_path):
    write_scan(tmp_path / "scan.npz", seed=1)
    return tmp_path


@pytest.fixture(scope="module")
def prepared_once(tmp_path_factory):
    directory = tmp_path_factory.mktemp("prepared")
    write_scan(directory / "scan.npz", seed=1)
    result = snakemake(directory, "prepare")
    assert result.returncode == 0, result.stderr[-2000:]
    return directory


@pytest.fixture
def prepared(prepared_once, tmp_path):
    """A directory whose datasets are prepared, with the records of Snakemake, as far from the scripts as the first."""
    return shutil.copytree(prepared_once, tmp_path, dirs_exist_ok=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_dir": "file/out"}, "output_dir is file/out: file is a file, expected a directory"),
        ({"datasets_dir": "file"}, "datasets_dir is file: file is a file, expected a directory"),
        ({"output_dir": "-out"}, "output_dir is -out: it must not start with -"),
        ({"input": "-scan.npz"}, "input is -scan.npz: it must not start with -"),
        ({"input": "scan{1}.npz"}, "input is scan{1}.npz: it must not contain { or }"),
        ({"train_sizes": 16}, 'train_sizes is 16: expected a list: write --config train_sizes="[16]"'),
        ({"train_sizes": "16 20"}, 'expected a list: write --config train_sizes="[16,20]"'),
        ({"arms": "pinn"}, 'expected a list: write --config arms="[pinn]"'),
    ],
)
def test_a_path_or_list_that_cannot_be_right_is_refused_in_one_line(place, changes, message):
    (place / "file").write_text("")
    assert message in refusal(snakemake(place, "--dry-run", **changes))


def test_a_second_run_on_one_output_directory_is_refused_and_a_dry_run_is_not(place):
    (place / "out").mkdir()
    clone = place / "clone"
    clone.mkdir()
    shutil.copy(place / "scan.npz", clone)
    changes = {"output_dir": str(place / "out")}
    with (place / "out/.study.lock").open("w") as lock:
        lock.write("process 1 on another machine\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        message = refusal(snakemake(clone, "prepare", **changes))
        assert f"output_dir is {place / 'out'}: another run writes there (process 1 on another machine)" in message
        assert plan(clone, "prepare", **changes)["split"] == 1
    assert [path.name for path in (place / "out").iterdir()] == [".study.lock"]
    assert not any(clone.glob(".snakemake/locks/*"))
    assert snakemake(clone, "prepare", "--until", "pad", **changes).returncode == 0


def test_an_input_replaced_by_an_older_file_is_noticed(prepared):
    assert plan(prepared, "prepare") == {}
    first = (prepared / "scan.npz").read_bytes()
    write_scan(prepared / "scan.npz", seed=3, modified=1e9)
    assert plan(prepared, "prepare")["pad"] == 1
    assert snakemake(prepared, "prepare").returncode == 0
    assert plan(prepared, "prepare") == {}
    (prepared / "scan.npz").write_bytes(first)
    os.utime(prepared / "scan.npz", (1e9, 1e9))
    assert plan(prepared, "prepare")["pad"] == 1


def test_touch_accepts_an_input_that_was_moved(prepared):
    (prepared / "elsewhere").mkdir()
    (prepared / "scan.npz").rename(prepared / "elsewhere/scan.npz")
    assert plan(prepared, "prepare", input="elsewhere/scan.npz")["pad"] == 1
    assert snakemake(prepared, "prepare", "--touch", input="elsewhere/scan.npz").returncode == 0
    assert plan(prepared, "prepare", input="elsewhere/scan.npz") == {}


def test_an_existing_study_is_analysed_in_another_directory(tmp_path):
    study = tmp_path / "theirs"
    (study / "train_512").mkdir(parents=True)
    (study / "train_512/comparison_metrics.csv").write_text("model,metric,amplitude,phase\nPtychoPINN,psnr,30,20\n")

    def run(further):
        return running.snakemake("--cores", "2", "--config", f"existing={study}", further, directory=tmp_path)

    assert "would be overwritten" in refusal(run("analysis_dir=theirs"))
    result = run("analysis_dir=mine")
    assert result.returncode == 0, result.stderr[-2000:]
    assert {"results.csv", "STUDY_SUMMARY.md", "overview.png"} <= {path.name for path in (tmp_path / "mine").iterdir()}
    assert [str(path.relative_to(study)) for path in study.rglob("*") if path.is_file()] == [
        "train_512/comparison_metrics.csv"
    ]
