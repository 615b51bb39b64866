#!/usr/bin/env python
"""Print ptycho.yaml: what the commands of the workflow depend on, in the versions of requirements.lock.

make environment   # writes it
"""

import sys
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "3.12"
NOT_OF_JOBS = {"snakemake", "setuptools", "pip", "wheel"}
HEADER = f"""\
# Made by make environment from requirements.lock: the environment of the jobs with --software-deployment-method conda.
# ptycho.post-deploy.sh adds the package itself.
channels:
  - conda-forge
dependencies:
  - python ={PYTHON}
  - pip
  - pip:
"""


def needed(package: str) -> set[str]:
    """Return the names of all packages that an installed package depends on, directly or not, without Snakemake."""
    found: set[str] = set()
    todo = [(package, frozenset[str]())]
    while todo:
        name, extras = todo.pop()
        for line in requires(name) or []:
            requirement = Requirement(line)
            one = str(canonicalize_name(requirement.name))
            places = [{"extra": extra, "python_version": PYTHON} for extra in ("", *extras)]
            wanted = requirement.marker is None or any(map(requirement.marker.evaluate, places))
            if wanted and one not in found | NOT_OF_JOBS:
                found.add(one)
                todo.append((one, frozenset(requirement.extras)))
    return found


def pinned() -> str:
    """Return the text of ptycho.yaml."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = {canonicalize_name(Requirement(line).name): line for line in lines if line and not line.startswith("#")}
    return HEADER + "".join(f"      - {locked[canonicalize_name(name)]}\n" for name in sorted(needed("ptycho")))


if __name__ == "__main__":
    sys.stdout.write(pinned())
