"""The workflow as a module, in a path with special characters, after an edit of the code, after a kill."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from jobs import jobs_of
from running import PREPARATION

ROOT = Path(__file__).parents[2]
MODULE = """
configfile: "tiny.yaml"

module generalization:
    snakefile: "{snakefile}"
    config: config

use rule * from generalization as generalization_*

rule all:
    default_target: True
    input: rules.generalization_prepare.input
    output: "mine.txt"
    shell: "wc -c {{input:q}} > {{output}}"
"""

pytestmark = pytest.mark.workflow


def snakemake(*words, directory, environment=()):
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *map(str, words)],
        cwd=directory, capture_output=True, text=True, check=False, env=os.environ | dict(environment),
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project under a path with spaces, brackets and a quote."""
    directory = tmp_path_factory.mktemp("places") / "a user's (new) project"
    for part in ("workflow", "config", "ptycho"):
        shutil.copytree(ROOT / part, directory / part, ignore=shutil.ignore_patterns("__pycache__"))
    return directory


def test_as_a_module_of_another_workflow(project, tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(PREPARATION))
    (tmp_path / "Snakefile").write_text(MODULE.format(snakefile=project / "workflow/Snakefile"))
    result = snakemake(directory=tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "specimen_final_downsampled_data_test.npz" in (tmp_path / "mine.txt").read_text()
    plan = snakemake("-n", directory=tmp_path)
    assert "Nothing to be done" in plan.stdout + plan.stderr
    training = snakemake("-n", "generalization_train", directory=tmp_path)
    jobs = jobs_of(training.stdout + training.stderr)
    assert [jobs[f"generalization_train_{arm}"] for arm in ("pinn", "baseline")] == [1, 1]  # the second is inherited


def test_with_another_working_directory_and_after_an_edit(project, tmp_path):
    elsewhere = tmp_path / "results go here"
    elsewhere.mkdir()
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(PREPARATION))
    words = ["--snakefile", project / "workflow/Snakefile", "--directory", elsewhere]
    words += ["prepare", "--configfile", "tiny.yaml"]
    own = {"PYTHONPATH": str(project)}
    result = snakemake(*words, directory=tmp_path, environment=own)
    assert result.returncode == 0, result.stderr[-3000:]
    assert len(list(elsewhere.glob("out put/datasets/*/*_test.npz"))) == 1
    assert not (tmp_path / "out put").exists()
    for code in ("workflow/rules/prepare.smk", "ptycho/commands/simulate_and_save.py", "ptycho/preparation/scan.py"):
        with (project / code).open("a") as file:
            file.write("\n# a comment\n")
    words[-1] = "tiny.yaml"
    plan = snakemake("-n", *words, directory=tmp_path, environment=own)
    assert "Nothing to be done" in plan.stdout + plan.stderr
    forced = snakemake("-n", *words[:-3], "prepare", "--forcerun", "simulate", "--configfile", "tiny.yaml",
                       directory=tmp_path, environment=own)  # fmt: skip
    assert jobs_of(forced.stdout + forced.stderr)["simulate"] == 1
    refused = snakemake("-n", *words, directory=tmp_path)  # the package that is installed was not edited
    assert refused.returncode != 0
    assert f"error: this workflow belongs to {project / 'ptycho'}, but Python imports other code" in refused.stderr


def test_make_removes_a_lock_only_if_no_snakemake_runs(tmp_path):
    for part in ("workflow", "config", "Makefile"):
        (tmp_path / part).symlink_to(ROOT / part)
    for name in ("requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_text("")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/installed").write_text("")
    (tmp_path / ".venv/bin").symlink_to(Path(sys.executable).parent)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(PREPARATION))
    (tmp_path / "slow.smk").write_text('rule all:\n    output: "done"\n    shell: "sleep 100; touch done"\n')

    def unlock():
        return subprocess.run(
            ["make", "unlock", "CONFIG=tiny.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    running = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--snakefile", "slow.smk"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        for _ in range(200):
            if any(tmp_path.glob(".snakemake/locks/*")):
                break
            time.sleep(0.1)
        refused = unlock()
        assert refused.returncode != 0
        assert "runs here (process" in refused.stderr
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert any(tmp_path.glob(".snakemake/locks/*"))
    (tmp_path / "bin").mkdir()
    for name in ("ptycho-train", "notebook"):
        (tmp_path / "bin" / name).write_text("import time\ntime.sleep(100)\n")
    job = subprocess.Popen([sys.executable, tmp_path / "bin/ptycho-train", "--n_images", "16"], cwd=tmp_path)
    other = subprocess.Popen([sys.executable, tmp_path / "bin/notebook", "in ptycho-study"], cwd=tmp_path)
    try:
        assert f"runs here (process {job.pid})" in unlock().stderr  # a job outlived its Snakemake
        job.kill()
        job.wait()
        freed = unlock()
    finally:
        for process in (job, other):
            process.kill()
            process.wait()
    assert freed.returncode == 0, freed.stderr
    assert not any(tmp_path.glob(".snakemake/locks/*"))
