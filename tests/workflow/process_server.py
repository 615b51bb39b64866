"""A process that forks for each run of Snakemake or of a command, as their imports take longer than a tiny job.

Its argument is the descriptor of a listening socket (process_client.py describes a request). It ends when its standard
input does.
"""

import contextlib
import importlib
import json
import os
import runpy
import select
import socket
import sys
import traceback
from importlib.metadata import entry_points

import snakemake.cli

import ptycho.study.preflight  # noqa: F401  (what the Snakefile imports is here already)

COMMANDS = entry_points(group="console_scripts")
OF_COMMANDS = [
    "ptycho.commands.summarize", "ptycho.evaluation.comparison", "ptycho.models.run", "ptycho.plotting.generalization",
    "ptycho.plotting.reconstructions",
]  # fmt: skip


def run(words: list[str], directory: str, environment: dict[str, str]) -> int:
    """Run Snakemake, a command or the script ``words[0]`` in this process, and return its exit status."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.argv = words
    try:
        if words[0] == "snakemake":
            sys.executable = environment["COMMAND_PYTHON"]  # of the jobs
            snakemake.cli.main()
        elif words[0] in COMMANDS.names:
            COMMANDS[words[0]].load()()
        else:
            sys.path[0] = os.path.dirname(words[0])
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as stop:
        if isinstance(stop.code, str):
            sys.stderr.write(f"{stop.code}\n")
            return 1
        return stop.code or 0
    except BaseException:  # told as Python itself would
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def answer(connection: socket.socket, listener: socket.socket) -> None:
    """Fork a process that runs what a client asks for, and sends its exit status."""
    with connection:
        _, streams, *_ = socket.recv_fds(connection, 1, 3)
        given = json.loads(connection.makefile().readline())
        if given["words"][0] != "snakemake":
            for module in OF_COMMANDS:
                importlib.import_module(module)
        if not os.fork():
            listener.close()
            for number, descriptor in enumerate(streams):
                os.dup2(descriptor, number)
                os.close(descriptor)
            status = run(**given)
            connection.sendall(b"%d" % status)
            os._exit(status)
    for descriptor in streams:
        os.close(descriptor)


def serve(listener: socket.socket) -> None:
    snakemake.cli.get_argument_parser()  # imports the plugins
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        answer(listener.accept()[0], listener)
        with contextlib.suppress(ChildProcessError):  # none is left
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
