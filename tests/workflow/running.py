"""Snakemake and the commands of the workflow, run without their imports each time."""

import atexit
import functools
import io
import logging
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from process_client import ask

from ptycho.commands import cli

HERE = Path(__file__).resolve().parent
WORKFLOW = HERE.parents[1] / "workflow"
PREPARATION = {  # a configuration with which the preparation takes seconds
    "output_dir": "out put",
    "train_sizes": [16],
    "num_trials": 1,
    "specimen": {"size_px": 96, "window_px": 32},
    "simulation": {"n_images": 60},
}
SNAKEFILE, SCRIPTS = WORKFLOW / "Snakefile", WORKFLOW / "scripts"


@functools.cache
def server() -> dict[str, str]:
    """Start the process that runs Snakemake and commands for this one, and ends with it; return its variables."""
    place = tempfile.TemporaryDirectory()
    path, python = f"{place.name}/socket", Path(place.name, "python")
    stand_ins = {"python": f'"{sys.executable}"'}
    for name in entry_points(group="console_scripts").names:
        if name.startswith("ptycho-"):
            stand_ins[name] = f'"{sys.executable}" -IS "{HERE / "process_client.py"}" {name}'
    for name, words in stand_ins.items():
        Path(place.name, name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        Path(place.name, name).chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        process = subprocess.Popen(
            [sys.executable, HERE / "process_server.py", str(listener.fileno())],
            stdin=subprocess.PIPE, pass_fds=[listener.fileno()],
            env=os.environ | {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
    atexit.register(lambda: (process.communicate(), place.cleanup()))  # closes its standard input, and waits
    return {"COMMAND_SERVER": path, "COMMAND_PYTHON": str(python)}


def _run(words, directory, variables) -> subprocess.CompletedProcess[str]:
    """Run words in a process of the server, with ``variables`` added to the environment."""
    words = [*map(str, words)]
    with open(os.devnull) as nothing, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        environment = os.environ | server() | variables
        status = ask(words, str(directory), environment, [file.fileno() for file in (nothing, out, err)])
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(words, status, out.read(), err.read())


def snakemake(*words, directory, snakefile=SNAKEFILE, **variables) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in ``directory`` in a process of its own, with ``variables`` added to the environment.

    The commands of its jobs are forked from the same server; ``COMMAND_PYTHON=sys.executable`` has Python start them.

    Parameters
    ----------
    words : of the command line
    snakefile : None to give none
    """
    return _run(["snakemake", *words, *(() if snakefile is None else ("--snakefile", snakefile))], directory, variables)


def run_forked(script, *words, directory, **variables) -> subprocess.CompletedProcess[str]:
    """Run a script of the workflow in a process of its own, with ``variables`` added to the environment."""
    return _run([SCRIPTS / script, *words], directory, variables)


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
