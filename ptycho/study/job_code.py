"""Whether a command is that of the run which called it; imported by every command, so without anything slow."""

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

import ptycho
from ptycho.errors import InputError

PACKAGE = Path(ptycho.__file__).resolve().parent


def check_job(environment: Mapping[str, str]) -> None:
    """Raise InputError where a command is not that of the run which called it; nothing is checked outside of a run.

    Parameters
    ----------
    environment : variables, with those of :func:`ptycho.study.installation.variables` in a job
    """
    expected = environment.get("PTYCHO_CODE")
    if expected is None:
        return
    prefix, outer = environment.get("CONDA_PREFIX", ""), environment.get("PTYCHO_OUTER_ENVIRONMENT", "")
    advice = "start the run again, or delete .snakemake/conda where jobs have environments of their own"
    if prefix != outer and Path(prefix).resolve() != Path(sys.prefix).resolve():
        raise InputError(f"the environment of this job, {prefix}, has no such command; {sys.prefix} has it: {advice}")
    if digest(PACKAGE) != expected:
        raise InputError(f"the code in {PACKAGE} is not that with which this run began: {advice}")


def digest(package: Path) -> str:
    """Return a hash of all modules of a package, by their paths in it."""
    found = hashlib.sha256()
    for path in sorted(path for path in package.rglob("*.py") if not path.name.startswith(".")):
        content = path.read_bytes()
        found.update(f"{path.relative_to(package)} {len(content)}\n".encode() + content)
    return found.hexdigest()
