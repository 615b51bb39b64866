"""The workflow from a git repository, and its jobs in an environment that Snakemake makes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jobs import jobs_of
from running import PREPARATION, snakemake

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
MODULE = """
configfile: "tiny.yaml"

module study:
    snakefile: gitfile({repository!r}, path="workflow/Snakefile", ref={commit!r})
    config: config

use rule * from study as study_*
"""

pytestmark = pytest.mark.workflow


def git(*words, directory):
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    return subprocess.run(
        ["git", *identity, *words], cwd=directory, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository with nothing but the workflow and its configuration."""
    directory = tmp_path / "repository"
    for part in ("workflow", "config"):
        shutil.copytree(ROOT / part, directory / part, ignore=shutil.ignore_patterns("__pycache__"))
    git("init", "--quiet", directory=directory)
    git("add", "--all", directory=directory)
    git("commit", "--quiet", "--message", "all", directory=directory)
    return directory


def test_a_module_by_git_reference_runs_with_the_installed_package(repository, tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(PREPARATION))
    commit = git("rev-parse", "HEAD", directory=repository)
    (tmp_path / "Snakefile").write_text(MODULE.format(repository=str(repository), commit=commit))
    shutil.rmtree(repository / "workflow")  # only what was committed is used
    words = {"directory": tmp_path, "snakefile": None, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    result = snakemake("study_prepare", "--cores", "2", **words)
    assert result.returncode == 0, result.stderr[-3000:]
    assert len(list(tmp_path.glob("out put/datasets/*/*_test.npz"))) == 1
    plan = snakemake("study_all", "--cores", "2", "--dry-run", **words)
    assert plan.returncode == 0, plan.stderr[-3000:]
    jobs = jobs_of(plan.stdout + plan.stderr)
    assert [jobs[f"study_train_{arm}"] for arm in ("pinn", "baseline")] == [1, 1]
    assert "study_pad" not in jobs


@pytest.mark.skipif("PTYCHO_CONDA" not in os.environ, reason="installs TensorFlow once more: make test-conda")
def test_the_tiny_study_runs_in_an_environment_that_has_only_what_its_file_names(tmp_path):
    home = tmp_path / "conda"
    (home / "bin").mkdir(parents=True)
    (home / "bin/conda").write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(HERE)!r})\nimport stand_in_conda\n"
        "stand_in_conda.main(sys.argv[1:])\n"
    )
    (home / "bin/conda").chmod(0o755)
    (home / "bin/activate").write_text('export PATH="$1/bin:$PATH" CONDA_PREFIX="$1"\n')
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-m", "snakemake", "--software-deployment-method", "conda", "--cores", "2",
         "--snakefile", ROOT / "workflow/Snakefile", "--configfile", ROOT / ".test/config/config.yaml"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=environment | {"PATH": f"{home / 'bin'}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert (tmp_path / "results/test/STUDY_SUMMARY.md").exists()
    (started,) = tmp_path.glob(".snakemake/conda/*/started.txt")  # one environment for all rules
    (log,) = tmp_path.glob(".snakemake/log/*.jobs.log")
    called = set(re.findall(r"ptycho-[a-z-]+", log.read_text()))
    assert {"ptycho-train", "ptycho-run-baseline", "ptycho-compare-models"} < called <= set(started.read_text().split())
    assert not any(started.parent.glob("lib/python*/site-packages/snakemake"))
