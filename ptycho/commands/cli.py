"""What every command shares: logging to stderr, and one line instead of a traceback for bad input."""

import argparse
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import NoReturn

from ptycho.errors import InputError
from ptycho.io import files
from ptycho.study import job_code

FORMAT = "%(asctime)s %(levelname)s %(message)s"


def buffer_log_records() -> MemoryHandler:
    """Buffer all log records from now on, for a log file that is opened once the input has been checked.

    Returns
    -------
    MemoryHandler : to be passed to :func:`log_to`, which writes its records to the file
    """
    handler = MemoryHandler(capacity=10_000, flushLevel=logging.CRITICAL + 1)
    logging.getLogger().addHandler(handler)
    return handler


def log_to(path: Path, buffered: MemoryHandler | None = None) -> None:
    """Log to a file in addition to the terminal, and redirect the process's stderr to that file.

    The redirection also captures what libraries print from C code (TensorFlow's notes); Python's log and
    ``sys.stderr`` still reach the terminal.

    Parameters
    ----------
    path : overwritten; its directory is created
    buffered : earlier records (:func:`buffer_log_records`), written to the file first
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w")
    handler.setFormatter(logging.Formatter(FORMAT))
    sys.stderr.flush()
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    descriptor = handler.stream or handler._open()  # open since the handler was created
    os.dup2(descriptor.fileno(), 2)
    sys.stderr = terminal
    root = logging.getLogger()
    for existing in root.handlers:
        if isinstance(existing, logging.StreamHandler):
            existing.setStream(terminal)
    root.addHandler(handler)
    if buffered is not None:
        root.removeHandler(buffered)
        buffered.setTarget(handler)
        buffered.close()


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parse the command line and run ``main``.

    Adds the flag ``--debug``. Where the input cannot be used, a file cannot be read or written, or memory runs out,
    exits with status 1 and one line on stderr, with ``--debug`` after the traceback; other exceptions propagate.
    """
    logging.basicConfig(level=logging.INFO, format=FORMAT, stream=sys.stderr)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error in the input, too")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # SystemExit removes half-written files
    try:
        job_code.check_job(os.environ)
        if getattr(arguments, "seed", 0) < 0:
            raise InputError(f"--seed is {arguments.seed}, expected 0 or more")
        main(arguments)
    except (InputError, OSError) as error:
        _fail(f"{parser.prog}: error: {error}", arguments)
    except MemoryError as error:
        _fail(f"{parser.prog}: error: not enough memory ({error}): smaller numbers, or a larger machine", arguments)


def entry_point(
    main: Callable[[argparse.Namespace], None], build_parser: Callable[[], argparse.ArgumentParser]
) -> Callable[[], None]:
    """Return the function without arguments that the console script of a command calls (pyproject.toml)."""
    return lambda: run(main, build_parser())


def _fail(message: str, arguments: argparse.Namespace) -> NoReturn:
    """Exit with status 1 and a line; call it while an exception is handled."""
    if arguments.debug:
        traceback.print_exc()
    sys.exit(message)


def check_output(target: Path, *sources: Path | str | None) -> None:
    """Raise InputError where an output file cannot be written, or would replace one of the inputs."""
    files.check_target(target)
    if target.exists() and any(source and os.path.exists(source) and target.samefile(source) for source in sources):
        raise InputError(f"{target}: would be overwritten; inputs are never changed: write to another file")


def say(text: str) -> None:
    """Write a command's result to standard output, unbuffered; logs go to standard error."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
