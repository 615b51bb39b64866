"""The commands of the README and of every page of the documentation: each is one that this project understands.

They are parsed, not run. Those that are run, too: ``tests/workflow/test_tutorial.py``, ``test_guide_commands.py`` and
``test_targets.py``.
"""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import yaml

from ptycho.config.schema import StudyConfig

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / "workflow"
PAGES = [ROOT / "README.md", ROOT / ".test/README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RULES_FILES = [WORKFLOW / "Snakefile", *sorted((WORKFLOW / "rules").glob("*.smk"))]
RULE_NAMES = {
    name
    for path in RULES_FILES
    for name in re.findall(r"^\s*(?:rule|use rule \w+ as) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
}
FLAGS = {"--unlock", "--summary", "--dry-run", "--keep-going", "--touch", "--lint", "-n", "-p"}  # without a value
ONE_VALUE = {"--cores", "--retries", "--snakefile", "--quiet", "--software-deployment-method", "--workflow-profile"}
TARGET = re.compile(
    r"results/(study|mine)/(train_\d+/trial_\d+/(pinn_run/wts\.h5\.zip|comparison_metrics\.csv)|train_\d+/comparison_plot\.png"
    r"|\w+_(amp|phase)_generalization\.png|sweep_\w+\.png)"
)
OF_THE_READER = {"mine.yaml"}
OTHERS = ("git ", "make ", "source ", "tail -f ", "podman ", "apptainer ", "sha256sum ", "python -c ", "pip ", "conda ",
          ".venv/bin/", "cd ", "A=", "S=", "time ", "sbatch ", "squeue", "sacct")  # fmt: skip


def commands(page: str) -> list[str]:
    """Return the commands of a page, of blocks ``bash`` and of inline code, without comments and variables."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`((?:snakemake|python|make) [^`]+)`", page)
    lines = [re.sub(r"^[A-Z_]+=\d ", "", " ".join(line.split(" #")[0].split())) for line in lines]
    return [line for line in lines if line.strip(" .")]


FOUND = sorted({line for path in PAGES for line in commands(path.read_text(encoding="utf-8")) if "..." not in line})
OF_SCRIPTS = [line.replace("$S", "workflow/scripts") for line in FOUND if re.match(r"python \S+\.py\b", line)]
OF_SNAKEMAKE = [line for line in FOUND if line.startswith("snakemake ")]
OF_MAKE = [line for line in FOUND if line.startswith("make ")]


def test_there_are_commands_of_each_kind():
    assert len(OF_SCRIPTS) > 30
    assert len(OF_SNAKEMAKE) > 60
    rest = [line for line in FOUND if line not in OF_SNAKEMAKE and not re.match(r"python \S+\.py\b", line)]
    assert [line for line in rest if not line.startswith(OTHERS)] == []


@pytest.mark.parametrize("line", OF_SCRIPTS)
def test_a_script_knows_the_flags_of_a_command(line, monkeypatch):
    _, script, *words = shlex.split(line)
    assert (ROOT / script).is_file()
    if script.startswith("workflow/"):
        monkeypatch.syspath_prepend(WORKFLOW / "scripts")
        importlib.import_module(Path(script).stem).build_parser().parse_args(words)


@pytest.mark.parametrize("line", OF_SNAKEMAKE)
def test_a_snakemake_command_is_one_of_this_workflow(line):
    _, *words = shlex.split(line)
    options: dict[str, list[str]] = {"": []}
    option = ""
    for word in words:
        option = word if word.startswith("-") else option
        options.setdefault(option, []).extend([] if word == option else [word])
    for target in options.pop(""):
        assert target in RULE_NAMES or TARGET.fullmatch(target), target
    for word in options.pop("--forcerun", []):
        assert word in RULE_NAMES, word
    for word in options.pop("--configfile", []):
        assert (ROOT / word).is_file() or word in OF_THE_READER, word
    for word in options.pop("--resources", []):
        assert re.fullmatch(r"\w+=\d+", word), word
    pairs = [word.partition("=") for word in options.pop("--config", [])]
    assert all(equals for _, equals, _ in pairs), pairs
    StudyConfig.from_mapping({key: yaml.safe_load(value) for key, _, value in pairs})
    for name, values in options.items():
        assert (name in FLAGS and not values) or (name in ONE_VALUE and len(values) <= 1), (name, values)


@pytest.mark.parametrize("line", OF_MAKE)
def test_a_make_command_is_in_the_makefile(line):
    targets = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    words = [word for word in shlex.split(line.split(" && ")[0])[1:] if "=" not in word]
    assert words
    assert set(words) <= targets
