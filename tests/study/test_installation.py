import json
import os
import re
import shutil
import sys
import tomllib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import SimpleNamespace

import pytest

from ptycho.errors import InputError
from ptycho.study import installation, job_code

ROOT = Path(__file__).parents[2]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


@pytest.fixture
def copied(tmp_path):
    """Return a folder with a copy of the package."""
    shutil.copytree(ROOT / "ptycho", tmp_path / "ptycho", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_every_command_is_a_console_script():
    assert sorted(DECLARED.values()) == [f"{module}:entry" for module in installation.commands()]


@pytest.mark.parametrize("name", DECLARED)
def test_a_console_script_and_a_script_of_the_guide_are_one_command(name):
    stem = name.removeprefix("ptycho-").replace("-", "_")
    (script,) = [path for path in (ROOT / "workflow/scripts").glob("*.py") if path.stem.removesuffix("_tool") == stem]
    module = DECLARED[name].removesuffix(":entry")
    assert f"from {module} import build_parser, main\n" in script.read_text()


def test_there_is_no_script_without_a_console_script():
    assert len(DECLARED) == len(list((ROOT / "workflow/scripts").glob("*.py")))


def test_the_rules_call_no_other_commands():
    files = [ROOT / "workflow/Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
    called = {name for path in files for name in re.findall(r"ptycho-[a-z-]+", path.read_text())}
    assert called <= set(DECLARED)
    assert len(called) > 15


# before a run --------------------------------------------------------------------------------------------


def test_this_installation_is_that_of_this_project():
    installation.check(ROOT)


def test_a_copy_of_the_same_code_may_be_installed(copied):
    (copied / "ptycho/.#lock.py").symlink_to("nobody@nowhere")  # as an editor makes it
    installation.check(copied)


@pytest.mark.parametrize("edit", ["changed", "added", "removed", "renamed"])
def test_other_code_beside_the_workflow_is_refused(copied, edit):
    path = copied / "ptycho/study/installation.py"
    if edit == "changed":
        path.write_text(path.read_text() + "\n# changed\n")
    elif edit == "added":
        path.with_name("more.py").write_text("")
    elif edit == "removed":
        path.unlink()
    else:
        path.rename(path.with_name("installed.py"))
    with pytest.raises(InputError, match="Python imports other code") as caught:
        installation.check(copied)
    assert str(caught.value).endswith(f"install it: python -m pip install --editable {copied}")


def test_a_remote_workflow_has_no_package_to_compare(tmp_path):
    installation.check(tmp_path / "github.com")
    with pytest.raises(InputError, match=r"pip install 'ptycho @ git\+ADDRESS@COMMIT', of the workflow"):
        installation.check(tmp_path / "github.com", search=str(tmp_path))


def test_commands_must_be_where_jobs_look_for_them(tmp_path):
    with pytest.raises(InputError, match="is not installed where jobs look for it"):
        installation.check(ROOT, search=str(tmp_path))
    for name in DECLARED:
        (tmp_path / name).symlink_to(sys.executable)
    installation.check(ROOT, search=os.pathsep.join(["nowhere", str(tmp_path)]))
    (tmp_path / "ptycho-train").unlink()
    with pytest.raises(InputError, match=r"the command of ptycho\.commands\.train is not installed"):
        installation.check(ROOT, search=str(tmp_path))


def test_an_installation_from_before_a_command_is_refused(monkeypatch):
    known: list[EntryPoint] = [point for point in entry_points(group="console_scripts") if point.name != "ptycho-train"]
    monkeypatch.setattr(installation, "entry_points", lambda group: known)
    with pytest.raises(InputError, match="was installed before it had this command"):
        installation.check(ROOT)


def test_a_package_of_the_working_directory_alone_is_refused(copied, monkeypatch):
    (copied / "ptycho/errors.py").write_text("class InputError(Exception): ...\n")
    monkeypatch.setattr(installation, "imported_by_commands", lambda: copied / "ptycho")
    with pytest.raises(InputError, match="jobs would import the package from"):
        installation.check(ROOT)


def test_commands_do_not_import_from_the_working_directory(copied, monkeypatch):
    monkeypatch.chdir(copied)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert installation.imported_by_commands() != copied / "ptycho"
    monkeypatch.setenv("PYTHONPATH", str(copied))
    assert installation.imported_by_commands() == copied / "ptycho"


# in a job ------------------------------------------------------------------------------------------------


def test_a_command_by_hand_is_not_compared():
    job_code.check_job({"CONDA_PREFIX": "/anywhere"})


def test_a_job_has_the_code_of_the_run():
    run = installation.variables()
    job_code.check_job(run | {"CONDA_PREFIX": run["PTYCHO_OUTER_ENVIRONMENT"]})
    with pytest.raises(InputError, match="is not that with which this run began"):
        job_code.check_job(run | {"PTYCHO_CODE": "0" * 64, "CONDA_PREFIX": run["PTYCHO_OUTER_ENVIRONMENT"]})


def test_a_command_of_the_outer_environment_is_not_that_of_a_job(tmp_path):
    run = installation.variables()
    job_code.check_job(run | {"CONDA_PREFIX": sys.prefix})
    with pytest.raises(InputError, match="has no such command"):
        job_code.check_job(run | {"CONDA_PREFIX": str(tmp_path)})


GIT = {"url": "https://example.org/r", "vcs_info": {"vcs": "git", "commit_id": "abc"}}


@pytest.mark.parametrize(
    ("origin", "word"),
    [
        (GIT, "ptycho @ git+https://example.org/r@abc"),
        (GIT | {"subdirectory": "sub"}, "ptycho @ git+https://example.org/r@abc#subdirectory=sub"),
        ({"url": "file:///a/ptycho-1.whl", "archive_info": {}}, "ptycho @ file:///a/ptycho-1.whl"),
        ({}, ""),
        (None, ""),
    ],
)
def test_what_pip_installs_is_what_was_installed(tmp_path, monkeypatch, origin, word):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n')  # of another project
    text = None if origin is None else json.dumps(origin)
    monkeypatch.setattr(installation, "PACKAGE", tmp_path / "ptycho")
    monkeypatch.setattr(installation, "distribution", lambda name: SimpleNamespace(read_text=lambda file: text))
    assert installation.requirement() == word


def test_a_clone_is_used_in_place(tmp_path, monkeypatch):
    project = tmp_path / "a user's [1]"
    project.mkdir()
    shutil.copy(ROOT / "pyproject.toml", project)
    monkeypatch.setattr(installation, "PACKAGE", project / "ptycho")
    assert installation.requirement() == f"--editable={project.as_uri()}"
    assert "%5B1%5D" in installation.requirement()
