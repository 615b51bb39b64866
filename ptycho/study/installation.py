"""Whether jobs find the commands of the package, and run the code that this process imports.

Jobs are processes of their own, perhaps in an environment that Snakemake made earlier. The first process of a run
states in their environment variables what it imports (:func:`variables`), and each command compares that with itself
(:mod:`ptycho.study.job_code`).
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import distribution, entry_points
from pathlib import Path

from ptycho.errors import InputError
from ptycho.study.job_code import PACKAGE, digest


def variables() -> dict[str, str]:
    """Return the environment variables for jobs, and for ``workflow/envs/ptycho.post-deploy.sh``."""
    return {
        "PTYCHO_CODE": digest(PACKAGE),
        "PTYCHO_PACKAGE": requirement(),
        "PTYCHO_OUTER_ENVIRONMENT": os.environ.get("CONDA_PREFIX", ""),
    }


def check(project: Path, search: str | None = None) -> None:
    """Raise InputError where jobs would not find a command, or would run code that is not the workflow's.

    Parameters
    ----------
    project : folder of the workflow; where it has no package, as that of a remote workflow, nothing is compared with it
    search : folders where jobs look for commands, as in PATH: by default that of this Python, then those of PATH
    """
    own = project / "ptycho"
    source = f"--editable {project}" if own.is_dir() else "'ptycho @ git+ADDRESS@COMMIT', of the workflow"
    advice = f"install it: python -m pip install {source}"
    if own.is_dir() and not _same(own, PACKAGE):
        raise InputError(f"this workflow belongs to {own}, but Python imports other code, from {PACKAGE}: {advice}")
    if search is None:
        search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    installed = {point.module: point.name for point in entry_points(group="console_scripts")}
    for module in commands():
        name = installed.get(module)
        if name is None or shutil.which(name, path=search) is None:
            raise InputError(
                f"the command of {module} is not installed where jobs look for it (PATH: {search}): the package is "
                f"only imported, or was installed before it had this command; {advice}"
            )
    there = imported_by_commands()
    if not _same(there, PACKAGE):
        raise InputError(f"jobs would import the package from {there}, but this process has {PACKAGE}: {advice}")


def imported_by_commands() -> Path:
    """Return the package that commands import, whose path does not begin with the working directory."""
    called = [sys.executable, "-P", "-c", "import ptycho; print(ptycho.__file__)"]
    found = subprocess.run(called, cwd="/", capture_output=True, text=True, check=False)
    if found.returncode:
        raise InputError(f"{sys.executable} cannot import the package outside of this folder: install it there")
    return Path(found.stdout.strip()).parent


def commands() -> list[str]:
    """Return the names of the modules that are commands."""
    files = sorted((PACKAGE / "commands").glob("*.py"))
    return [f"ptycho.commands.{path.stem}" for path in files if "\nentry = " in path.read_text(encoding="utf-8")]


def requirement() -> str:
    """Return the word with which pip installs the imported package: its folder, repository or file; or nothing."""
    project = PACKAGE.parent / "pyproject.toml"
    if project.is_file() and '\nname = "ptycho"\n' in project.read_text(encoding="utf-8"):
        return f"--editable={PACKAGE.parent.as_uri()}"
    origin = json.loads(distribution("ptycho").read_text("direct_url.json") or "{}")
    if "url" not in origin:
        return ""
    source, subdirectory = origin["url"], origin.get("subdirectory")
    if "vcs_info" in origin:
        source = f"{origin['vcs_info']['vcs']}+{source}@{origin['vcs_info']['commit_id']}"
    return f"ptycho @ {source}" + (f"#subdirectory={subdirectory}" if subdirectory else "")


def _same(one: Path, other: Path) -> bool:
    """Return whether two packages are one folder, or have the same modules."""
    return one.resolve() == other.resolve() or digest(one) == digest(other)
