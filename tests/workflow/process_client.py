"""Run Snakemake or a command in a process that process_server.py forks; as a script, stand for Python in a job."""

import json
import os
import socket
import sys
from collections.abc import Iterable


def ask(words: Iterable[str], directory: str, environment: dict[str, str], streams: Iterable[int]) -> int:
    """Have words run, and return the exit status.

    A request is the three descriptors, with one byte, and a line of JSON.

    Parameters
    ----------
    words : ``snakemake`` or the path of a script, and its arguments
    directory, environment : of the process
    streams : descriptors of its standard input, output and error
    """
    given = {"words": [*words], "directory": directory, "environment": environment}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(environment["COMMAND_SERVER"])
        socket.send_fds(server, [b"\0"], [*streams])
        server.sendall(json.dumps(given).encode() + b"\n")
        return int(server.recv(16) or 1)  # nothing of a process that was killed


def stand_for_python() -> int:
    """Have a command of the workflow run by the server, and become Python for all else."""
    words = sys.argv[1:]
    if os.path.dirname(os.path.realpath(words[0])) != os.environ["COMMAND_SCRIPTS"]:
        os.execv(sys.executable, [sys.executable, *words])
    return ask(words, os.getcwd(), dict(os.environ), (0, 1, 2))


if __name__ == "__main__":
    sys.exit(stand_for_python())
