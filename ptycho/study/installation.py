"""Whether jobs find the commands of the package, and those that belong to the workflow."""

import json
import shutil
import sys
from importlib.metadata import distribution, entry_points
from pathlib import Path

import ptycho
from ptycho.errors import InputError

PACKAGE = Path(ptycho.__file__).parent


def check(project: Path, scripts: Path | None = None) -> None:
    """Raise InputError where jobs would not find a command, or would run code that is not the workflow's.

    Parameters
    ----------
    project : folder of the workflow; where it has no package, as that of a remote workflow, nothing is compared
    scripts : folder of the commands; that of the running Python by default
    """
    own, scripts = project / "ptycho", scripts or Path(sys.executable).parent
    advice = f"install it: python -m pip install --editable {project}"
    if own.is_dir() and own.resolve() != PACKAGE.resolve() and _sources(own) != _sources(PACKAGE):
        raise InputError(f"this workflow belongs to {own}, but Python imports other code, from {PACKAGE}: {advice}")
    installed = {point.module: point.name for point in entry_points(group="console_scripts")}
    for module in commands():
        name = installed.get(module)
        if name is None or shutil.which(name, path=str(scripts)) is None:
            raise InputError(
                f"the command of {module} is not installed in {scripts}, where jobs look for it: the package is only "
                f"imported, or was installed before it had this command; {advice}"
            )


def commands() -> list[str]:
    """Return the names of the modules that are commands."""
    files = sorted((PACKAGE / "commands").glob("*.py"))
    return [f"ptycho.commands.{path.stem}" for path in files if "\nentry = " in path.read_text()]


def requirement() -> str:
    """Return the word that has pip install the package that this Python imports: its folder, repository or version."""
    if (PACKAGE.parent / "pyproject.toml").is_file():
        return f"--editable={PACKAGE.parent}"
    origin = json.loads(distribution("ptycho").read_text("direct_url.json") or "{}")
    if "vcs_info" in origin:
        return f"ptycho @ {origin['vcs_info']['vcs']}+{origin['url']}@{origin['vcs_info']['commit_id']}"
    return f"ptycho @ {origin['url']}" if origin else f"ptycho=={ptycho.__version__}"


def _sources(package: Path) -> dict[str, bytes]:
    """Return the content of all modules of a package, by their paths in it."""
    return {str(path.relative_to(package)): path.read_bytes() for path in package.rglob("*.py")}
