"""The files for the hosting platform, for pre-commit and for contributors agree with what they refer to."""

import ast
import importlib.metadata
import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from snakemake.common.configfile import load_configfile

from ptycho.config.schema import StudyConfig
from ptycho.study import preflight

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github/workflows/tests.yml"
CHOOSER = ROOT / ".github/ISSUE_TEMPLATE/config.yml"
FORMS = sorted(set(CHOOSER.parent.glob("*.yml")) - {CHOOSER})
RELEASE_NOTES = ROOT / ".github/release_notes.py"
PRE_COMMIT = ROOT / ".pre-commit-config.yaml"
TEST_CONFIG = ROOT / ".test/config/config.yaml"
TEXTS = [WORKFLOW, CHOOSER, *FORMS, PRE_COMMIT, ROOT / "SECURITY.md", TEST_CONFIG, ROOT / ".test/README.md"]
HOOKS = {"ruff-pre-commit": "ruff", "snakefmt": "snakefmt", "black": "black", "mirrors-mypy": "mypy"}  # by repository


def read(path):
    return yaml.safe_load(path.read_text())


def name(path):
    return str(path.relative_to(ROOT))


# issue forms ---------------------------------------------------------------------------------------------

NEEDED = {  # attributes of each type of element, as the platform requires them
    "markdown": {"value"},
    "input": {"label"},
    "textarea": {"label"},
    "dropdown": {"label", "options"},
    "checkboxes": {"label", "options"},
}


def form_problems(form):
    """Return what the platform would reject in an issue form."""
    problems = [f"no {key}" for key in ("name", "description") if not _is_text(form.get(key))]
    body = form.get("body") or []
    for index, element in enumerate(body):
        kind, attributes = element.get("type"), element.get("attributes") or {}
        lacking = NEEDED.get(kind, {f"type {kind}"}) - {key for key, value in attributes.items() if value}
        problems += [f"{index}: no {key}" for key in sorted(lacking)]
        problems += [
            f"{index}: {key} is no text" for key in ("label", "description", "value") if _wrong(attributes, key)
        ]
        options = attributes.get("options", [])
        if kind == "dropdown" and not (all(map(_is_text, options)) and len(set(options)) == len(options)):
            problems.append(f"{index}: options are not different texts")
        if kind == "checkboxes" and not all(_is_text(option.get("label")) for option in options):
            problems.append(f"{index}: an option has no label")
        if "id" in element and not re.fullmatch(r"[A-Za-z0-9_-]+", str(element["id"])):
            problems.append(f"{index}: id {element['id']}")
    ids = [element["id"] for element in body if "id" in element]
    labels = [element["attributes"]["label"] for element in body if "label" in (element.get("attributes") or {})]
    problems += [
        f"{what} not unique" for what, values in (("id", ids), ("label", labels)) if len(set(values)) < len(values)
    ]
    return problems if labels else [*problems, "nothing to fill in"]


def _is_text(value):
    return isinstance(value, str) and bool(value.strip())


def _wrong(attributes, key):
    return key in attributes and not _is_text(attributes[key])


def form(*body):
    return {"name": "Name", "description": "Text", "body": list(body)}


FIELD = {"type": "input", "id": "field", "attributes": {"label": "Field"}}


def test_a_sound_form_has_no_problem():
    assert form_problems(form(FIELD)) == []


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (form(FIELD) | {"name": " "}, "no name"),
        (form(FIELD) | {"description": None}, "no description"),
        (form(), "nothing to fill in"),
        (form({"type": "markdown", "attributes": {"value": "Text"}}), "nothing to fill in"),
        (form(FIELD, FIELD), "id not unique"),
        (form(FIELD, FIELD | {"id": "other"}), "label not unique"),
        (form(FIELD | {"id": "a b"}), "0: id a b"),
        (form(FIELD | {"type": "text"}), "0: no type text"),
        (form(FIELD | {"type": "dropdown"}), "0: no options"),
        (form(FIELD, {"type": "textarea", "id": "text"}), "1: no label"),
        (form({"type": "dropdown", "attributes": {"label": "Field", "options": [True, "No"]}}), "0: options are not"),
        (form({"type": "dropdown", "attributes": {"label": "Field", "options": ["No", "No"]}}), "0: options are not"),
        (form({"type": "checkboxes", "attributes": {"label": "Field", "options": [{}]}}), "0: an option has no label"),
        (form({"type": "input", "attributes": {"label": "Field", "description": True}}), "0: description is no text"),
    ],
)
def test_wrong_forms_are_seen(wrong, problem):
    assert any(found.startswith(problem) for found in form_problems(wrong))


@pytest.mark.parametrize("path", FORMS, ids=name)
def test_each_issue_form_is_valid(path):
    assert form_problems(read(path)) == []


def required(path):
    """Return the ids of the fields of a form that must be filled in."""
    return {e["id"] for e in read(path)["body"] if e.get("validations", {}).get("required")}


def test_the_forms_ask_for_what_is_needed():
    by_name = {path.stem: required(path) for path in FORMS}
    assert set(by_name) == {"data_file", "wrong_number"}
    assert by_name["data_file"] >= {"program", "report", "command", "version"}
    assert by_name["wrong_number"] >= {"version", "command", "configuration", "row", "reason"}
    assert len({read(path)["name"] for path in FORMS}) == len(FORMS)


def test_the_links_of_the_chooser_lead_to_documents_of_this_repository():
    links = read(CHOOSER)["contact_links"]
    assert links
    for link in links:
        assert set(link) == {"name", "url", "about"}
        assert all(map(_is_text, link.values()))
        found = re.fullmatch(r"https://github\.com/[^/]+/[^/]+/blob/main/(.+)", link["url"])
        assert found, link["url"]
        assert (ROOT / found[1]).is_file(), link["url"]


# workflow of the platform --------------------------------------------------------------------------------


def steps():
    return [step for job in read(WORKFLOW)["jobs"].values() for step in job["steps"]]


def make_targets(text):
    """Return the targets of make that the lines of a script call."""
    return set(re.findall(r"^\s*make ([\w./-]+)", text, re.MULTILINE))


def test_the_workflow_has_what_the_platform_requires():
    workflow = read(WORKFLOW)
    assert workflow[True]  # the key "on", as YAML 1.1 reads it
    for job in workflow["jobs"].values():
        assert job["runs-on"] == "ubuntu-latest"
        assert job["steps"]
        assert job["strategy"]["matrix"]["python-version"]
    for step in steps():
        assert ("uses" in step) != ("run" in step), step
    assert "secrets." not in WORKFLOW.read_text()
    assert workflow["permissions"] == {"contents": "read"}


def test_actions_are_official_with_a_major_version():
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"actions/[a-z-]+@v\d+", action)] == []


def test_the_workflow_runs_each_python_that_the_package_supports():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = SpecifierSet(project["requires-python"])
    wanted = [f"3.{minor}" for minor in range(40) if f"3.{minor}" in supported]
    assert len(wanted) > 1
    for job in read(WORKFLOW)["jobs"].values():
        assert job["strategy"]["matrix"]["python-version"] == wanted  # texts: 3.10 would be the number 3.1
    (setup,) = (step for step in steps() if step.get("uses", "").startswith("actions/setup-python@"))
    assert setup["with"]["python-version"] == "${{ matrix.python-version }}"
    assert (ROOT / setup["with"]["cache-dependency-path"]).is_file()


def test_the_commands_of_the_workflow_are_those_of_the_local_ci():
    makefile, local = (ROOT / "Makefile").read_text(), (ROOT / ".ci/run").read_text()
    rules = set(re.findall(r"^([\w./-]+):(?!=)", makefile, re.MULTILINE))
    lines = [line.strip() for step in steps() for line in step.get("run", "").splitlines()]
    assert lines
    known = {line.strip() for line in local.splitlines()}
    assert [line for line in lines if line not in known and line.removeprefix("make ") not in rules] == []
    assert make_targets("\n".join(lines)) >= make_targets(local) - {"test-slurm"}  # which needs root
    assert {"style", "test"} <= make_targets(local)


# releases ------------------------------------------------------------------------------------------------


@pytest.fixture
def released(tmp_path):
    """Return a project with a changelog of two versions, and the function that makes notes of a tag."""
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "0.2.0"\n')
    (tmp_path / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 0.2.0\n")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 0.2.0\n\n- New.\n  More.\n\n## 0.1.0\n\n- Old.\n")
    function = runpy.run_path(str(RELEASE_NOTES))["notes"]
    return tmp_path, lambda tag: function(tag, tmp_path)


def test_the_notes_of_a_release_are_its_part_of_the_changelog(released):
    assert released[1]("v0.2.0") == "- New.\n  More.\n"


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [("pyproject.toml", "0.2.0", "0.3.0"), ("CITATION.cff", "0.2.0", "0.1.0"), ("CHANGELOG.md", "## 0.2.0", "## 0.2")],
)
def test_a_release_whose_files_state_another_version_is_refused(released, file, old, new):
    directory, notes = released
    path = directory / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SystemExit, match=f"the tag is v0.2.0, but {file} states version"):
        notes("v0.2.0")


def test_the_present_version_can_be_released():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert runpy.run_path(str(RELEASE_NOTES))["notes"](f"v{version}").startswith("- ")
    workflow = (ROOT / ".github/workflows/release.yml").read_text()
    assert ".github/release_notes.py" in workflow
    assert re.findall(r"uses: (\S+)", workflow) == ["actions/checkout@v6"]


# pre-commit ----------------------------------------------------------------------------------------------


def locked():
    requirements = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines()]
    return {r.name: next(iter(r.specifier)).version for r in requirements}


def hook_problems(config, lock):
    """Return the hooks whose tool has another version than in the lock, or one that the lock does not give."""
    problems = []
    for repository in config["repos"]:
        tool = HOOKS.get(repository["repo"].rsplit("/", 1)[-1])
        if tool and repository["rev"].removeprefix("v") != lock[tool]:
            problems.append(f"{tool} {repository['rev']}")
        for hook in repository["hooks"]:
            for line in hook.get("additional_dependencies", []):
                pin = Requirement(line)
                if pin.name in lock and str(pin.specifier) != f"=={lock[pin.name]}":
                    problems.append(line)
            local = repository["repo"] == "local" and hook["language"] == "system"
            command = re.match(r"\.venv/bin/(\S+)", hook.get("entry", ""))
            if local and not (command and command[1] in lock):
                problems.append(hook["entry"])
    return problems


def local_hook(**keys):
    return {"repos": [{"repo": "local", "hooks": [{"id": "a", "name": "a", **keys}]}]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"repos": [{"repo": "https://github.com/astral-sh/ruff-pre-commit", "rev": "v0.1.0", "hooks": []}]},
        local_hook(language="python", entry="ruff", additional_dependencies=["ruff==0.1.0"]),
        local_hook(language="python", entry="ruff", additional_dependencies=["ruff"]),
        local_hook(language="system", entry="ruff check"),
        local_hook(language="system", entry=".venv/bin/flake8"),
    ],
)
def test_other_versions_of_tools_are_seen(wrong):
    assert len(hook_problems(wrong, {"ruff": "0.2.0"})) == 1


def test_pre_commit_uses_the_locked_tools():
    config, lock = read(PRE_COMMIT), locked()
    assert hook_problems(config, lock) == []
    hooks = {hook["id"]: hook for repository in config["repos"] for hook in repository["hooks"]}
    assert set(hooks) == {"ruff-check", "ruff-format", "snakefmt", "end-of-file-fixer", "check-added-large-files"}
    for repository in config["repos"]:
        assert repository["repo"] == "local" or re.fullmatch(r"v?\d+(\.\d+)*", repository["rev"])
    style = (ROOT / "Makefile").read_text()
    for hook in ("ruff-check", "ruff-format", "snakefmt"):
        command = hooks[hook]["entry"].removeprefix(".venv/bin/").removesuffix(" --force-exclude")
        assert f"$(BIN)/{command} " in style  # the same tool as in make style


@pytest.mark.parametrize("tool", ["ruff", "snakefmt"])
def test_the_installed_tools_are_the_locked_ones(tool):
    assert Version(importlib.metadata.version(tool)) == Version(locked()[tool])


def test_the_hook_of_snakefmt_checks_every_file_of_the_workflow():
    (hook,) = (h for r in read(PRE_COMMIT)["repos"] for h in r["hooks"] if h["id"] == "snakefmt")
    files = [path for path in (ROOT / "workflow").rglob("*") if path.suffix == ".smk" or path.name == "Snakefile"]
    assert len(files) > 1
    assert [name(path) for path in files if not re.search(hook["files"], name(path))] == []
    assert not re.search(hook["files"], "workflow/scripts/train.py")


# the tiny study ------------------------------------------------------------------------------------------


def merged(default, changes):
    """Return a configuration as Snakemake merges a user's file into config.yaml."""
    both = {key: merged(default[key], value) for key, value in changes.items() if isinstance(default.get(key), dict)}
    return {**default, **changes, **both}


def test_the_test_configuration_is_a_small_study():
    study = StudyConfig.from_mapping(merged(read(ROOT / "config/config.yaml"), read(TEST_CONFIG)))
    assert study.training.epochs * sum(study.train_sizes) * study.num_trials <= 200  # minutes on two cores
    assert study.simulation.n_photons == StudyConfig().simulation.n_photons  # merged by key, not by section
    assert "4 trainings" in preflight.check_and_estimate(study)  # enough images for the sizes
    assert study.output_dir == "results/test"  # ignored by git, and named in .test/README.md
    assert "/results/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_test_configuration_is_that_of_the_faults_whose_time_is_documented():
    tree = ast.parse((ROOT / "benchmarks/faults/tiny_study.py").read_text())
    (tiny,) = (
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CONFIG"
    )
    assert ast.literal_eval(tiny) | {"output_dir": "results/test"} == read(TEST_CONFIG)
    (seconds,) = re.findall(r"took (\d+) s", (ROOT / ".test/README.md").read_text())
    assert f"An undisturbed run of the tiny study took {seconds} s." in (ROOT / "docs/reliability.md").read_text()


# what SECURITY.md states ---------------------------------------------------------------------------------

EXECUTING = {"exec", "eval", "run_path", "run_module", "exec_module", "execfile", "__import__"}


def executing(source):
    """Return the lines of a module that could execute text or a file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func
            word = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            found += [node.lineno] if word in EXECUTING else []
    return found


@pytest.mark.parametrize(
    "source", ["eval(text)", "exec(text)", "import runpy\nrunpy.run_path(path)", "spec.loader.exec_module(module)"]
)
def test_every_way_of_executing_is_seen(source):
    assert len(executing(source)) == 1


def test_only_custom_metrics_are_executed():
    files = [*(ROOT / "ptycho").rglob("*.py"), *(ROOT / "workflow/scripts").rglob("*.py")]
    assert [name(path) for path in files if executing(path.read_text())] == ["ptycho/evaluation/custom_metrics.py"]


@pytest.mark.parametrize(("switch", "value"), [("__use_yte__: true\n", 2), ("", "?1 + 1")])
def test_snakemake_evaluates_a_configuration_only_if_it_asks_for_it(tmp_path, switch, value):
    (tmp_path / "config.yaml").write_text(f"{switch}seed: ?1 + 1\n")
    assert load_configfile(tmp_path / "config.yaml")["seed"] == value


# paths ---------------------------------------------------------------------------------------------------

PATH = re.compile(r"(?<![\w./-])(?:docs|workflow|config|ptycho|tests|benchmarks|\.test|\.ci)/[\w./-]*\w")


def lost_paths(text):
    """Return the paths of the repository that a text names and that do not exist."""
    return sorted(path for path in set(PATH.findall(text.replace("../", ""))) if not (ROOT / path).exists())


def test_lost_paths_are_seen():
    assert lost_paths("see `docs/formats.md`, [here](../docs/nothing.md) and `.test/config/nothing.yaml`.") == [
        ".test/config/nothing.yaml",
        "docs/nothing.md",
    ]


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_paths_that_are_named_exist(path):
    assert lost_paths(path.read_text()) == []


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_files_end_with_one_newline_and_lines_are_short(path):
    text = path.read_text()
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    long = [line for line in text.splitlines() if len(line) > 128 and not line.startswith("|")]
    assert long == []
