"""Snakemake and the commands of the workflow, run without their imports each time."""

import atexit
import functools
import io
import json
import logging
import os
import runpy
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from ptycho.commands import cli

WORKFLOW = Path(__file__).parents[2] / "workflow"
SNAKEFILE, SCRIPTS = WORKFLOW / "Snakefile", WORKFLOW / "scripts"


@functools.cache
def server() -> subprocess.Popen[str]:
    """Return the process that runs Snakemake for this one; it ends with it."""
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("snakemake_server.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    atexit.register(process.communicate)  # closes its standard input, and waits
    return process


def snakemake(*words, directory, snakefile=SNAKEFILE, **variables) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in ``directory`` in a process of its own, with ``variables`` added to the environment.

    Parameters
    ----------
    words : of the command line
    snakefile : None to give none
    """
    command = [*map(str, words), *(() if snakefile is None else ("--snakefile", str(snakefile)))]
    with tempfile.TemporaryDirectory() as place:
        outputs = {name: Path(place, name) for name in ("stdout", "stderr")}
        for path in outputs.values():
            path.touch()
        given = {name: str(path) for name, path in outputs.items()}
        given |= {"directory": str(directory), "words": command, "environment": os.environ | variables}
        process = server()
        process.stdin.write(json.dumps(given) + "\n")
        process.stdin.flush()
        status = int(process.stdout.readline())
        return subprocess.CompletedProcess(command, status, *(path.read_text() for path in outputs.values()))


def run_here(script, *words, directory) -> subprocess.CompletedProcess[str]:
    """Run a script of the workflow in this process, as ``python script words`` in ``directory``.

    Not for trainings, which redirect the standard error of their process for good.
    """
    command = [str(SCRIPTS / script), *map(str, words)]
    out, err = io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(err)
    handler.setFormatter(logging.Formatter(cli.FORMAT))
    root = logging.getLogger()
    status: object = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(directory)
        patch.syspath_prepend(SCRIPTS)
        patch.setattr(sys, "argv", command)
        patch.setattr(root, "handlers", [handler])
        level = root.level
        root.setLevel(logging.INFO)
        try:
            runpy.run_path(command[0], run_name="__main__")
        except SystemExit as stop:
            status = stop.code or 0
        finally:
            root.setLevel(level)
    if isinstance(status, str):
        err.write(f"{status}\n")
        status = 1
    return subprocess.CompletedProcess(command, int(str(status)), out.getvalue(), err.getvalue())
