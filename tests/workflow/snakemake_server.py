"""A process that has imported Snakemake, and forks for each run: the import takes longer than the plan of a study.

It reads one run a line from standard input, JSON with directory, words, environment, stdout and stderr (two paths), and
answers with the exit status.
"""

import json
import os
import sys
import traceback
from typing import Any

import snakemake.cli

import ptycho.study.preflight  # noqa: F401  (what the Snakefile imports is here already)


def run(directory: str, words: list[str], environment: dict[str, str], stdout: str, stderr: str) -> int:
    """Run Snakemake in this process, as ``python -m snakemake`` does, and return its exit status."""
    for descriptor, path, flags in ((0, os.devnull, os.O_RDONLY), (1, stdout, os.O_WRONLY), (2, stderr, os.O_WRONLY)):
        os.dup2(os.open(path, flags), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.argv = ["snakemake", *words]
    try:
        snakemake.cli.main()
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


def serve() -> None:
    snakemake.cli.get_argument_parser()  # imports the plugins
    for line in sys.stdin:
        given: dict[str, Any] = json.loads(line)
        child = os.fork()
        if not child:
            os._exit(run(**given))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
