import re
import shutil
import sys
import tomllib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from ptycho.errors import InputError
from ptycho.study import installation

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


def test_this_installation_is_that_of_this_project():
    installation.check(ROOT)


def test_a_copy_of_the_same_code_may_be_installed(copied):
    installation.check(copied)


@pytest.mark.parametrize("edit", ["changed", "added", "removed"])
def test_other_code_beside_the_workflow_is_refused(copied, edit):
    path = copied / "ptycho/study/installation.py"
    if edit == "changed":
        path.write_text(path.read_text() + "\n# changed\n")
    elif edit == "added":
        path.with_name("more.py").write_text("")
    else:
        path.unlink()
    with pytest.raises(InputError, match="Python imports other code") as caught:
        installation.check(copied)
    assert str(caught.value).endswith(f"install it: python -m pip install --editable {copied}")


def test_a_remote_workflow_has_no_package_to_compare(tmp_path):
    installation.check(tmp_path / "github.com")


def test_commands_must_be_where_jobs_look_for_them(tmp_path):
    with pytest.raises(InputError, match=r"is not installed in .*, where jobs look for it"):
        installation.check(ROOT, scripts=tmp_path)
    for name in DECLARED:
        (tmp_path / name).symlink_to(sys.executable)
    installation.check(ROOT, scripts=tmp_path)
    (tmp_path / "ptycho-train").unlink()
    with pytest.raises(InputError, match=r"the command of ptycho\.commands\.train is not installed"):
        installation.check(ROOT, scripts=tmp_path)


def test_an_installation_from_before_a_command_is_refused(monkeypatch):
    known: list[EntryPoint] = [point for point in entry_points(group="console_scripts") if point.name != "ptycho-train"]
    monkeypatch.setattr(installation, "entry_points", lambda group: known)
    with pytest.raises(InputError, match="was installed before it had this command"):
        installation.check(ROOT)
