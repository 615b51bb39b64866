"""What is stated twice must agree."""

import re
import runpy
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ptycho import __version__
from ptycho.config.schema import json_schema

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(r.name): next(iter(r.specifier)).version for r in requirements}


def test_version():
    assert PROJECT["version"] == __version__


def test_conda_environment_is_in_step_with_the_package():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == "ptycho"
    (from_pip,) = (part["pip"] for part in environment["dependencies"] if isinstance(part, dict))
    assert {str(Requirement(line)) for line in from_pip} == {str(Requirement(d)) for d in PROJECT["dependencies"]}
    assert f"python {PROJECT['requires-python']}" in environment["dependencies"]


def test_the_environment_of_jobs_is_made_from_the_lock():
    environment = runpy.run_path(str(ROOT / "workflow/envs/pinned.py"))["pinned"]()
    assert (ROOT / "workflow/envs/ptycho.yaml").read_text() == environment, "run make environment"
    names = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    pinned = {line.split()[1].split("==")[0].lower() for line in environment.splitlines() if "==" in line}
    assert names - pinned == {"snakemake"}


def test_the_lock_satisfies_the_package_and_names_no_index():
    versions = locked()
    for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), line
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "--" not in text


def test_every_package_of_the_lock_is_installed_by_hashes():
    text = (ROOT / "requirements.txt").read_text()
    entries = re.findall(r"^([^\s#]+) \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, flags=re.MULTILINE)
    assert len(entries) == sum(line.startswith(tuple("abcdefghijklmnopqrstuvwxyz")) for line in text.splitlines())
    requirements = [Requirement(name) for name, _ in entries]
    hashed = {canonicalize_name(r.name): next(iter(r.specifier)).version for r in requirements}
    assert hashed == locked(), "run make lock"
    assert "://" not in text
    assert "--require-hashes --requirement requirements.txt" in (ROOT / "Makefile").read_text()


def test_the_schema_file_is_that_of_the_configuration():
    written = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    assert written == yaml.safe_load(yaml.safe_dump(json_schema()))
