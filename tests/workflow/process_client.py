"""Run Snakemake or a command in a process that process_server.py forks; as a script, stand for a command in a job."""

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
    words : ``snakemake``, the name of a command or the path of a script, and its arguments
    directory, environment : of the process
    streams : descriptors of its standard input, output and error
    """
    given = {"words": [*words], "directory": directory, "environment": environment}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(environment["COMMAND_SERVER"])
        socket.send_fds(server, [b"\0"], [*streams])
        server.sendall(json.dumps(given).encode() + b"\n")
        return int(server.recv(16) or 1)  # nothing of a process that was killed


if __name__ == "__main__":
    sys.exit(ask(sys.argv[1:], os.getcwd(), dict(os.environ), (0, 1, 2)))
