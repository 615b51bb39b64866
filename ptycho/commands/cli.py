"""What every command shares: logging to stderr, and one line instead of a traceback for bad input."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from logging.handlers import MemoryHandler
from pathlib import Path

from ptycho.errors import InputError

FORMAT = "%(asctime)s %(levelname)s %(message)s"


def remember() -> MemoryHandler:
    """Keep what is logged from now on, for a file that is written once the input has been checked."""
    handler = MemoryHandler(capacity=10_000, flushLevel=logging.CRITICAL + 1)
    logging.getLogger().addHandler(handler)
    return handler


def log_to(path: Path, said: MemoryHandler | None = None) -> None:
    """Log to a file beside the terminal, and send there what libraries print below Python (TensorFlow's notes).

    What was ``said`` before comes first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w")
    handler.setFormatter(logging.Formatter(FORMAT))
    sys.stderr.flush()
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    descriptor = handler.stream or handler._open()  # open since the handler was made
    os.dup2(descriptor.fileno(), 2)
    sys.stderr = terminal
    root = logging.getLogger()
    for existing in root.handlers:
        if isinstance(existing, logging.StreamHandler):
            existing.setStream(terminal)
    root.addHandler(handler)
    if said is not None:
        root.removeHandler(said)
        said.setTarget(handler)
        said.close()


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parse the command line, run ``main``, and exit with 1 and one line where the input cannot be used."""
    logging.basicConfig(level=logging.INFO, format=FORMAT, stream=sys.stderr)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that half-written files go
    try:
        if getattr(arguments, "seed", 0) < 0:
            raise InputError(f"--seed is {arguments.seed}, expected 0 or more")
        main(arguments)
    except (InputError, OSError) as error:
        sys.exit(f"{parser.prog}: error: {error}")
    except MemoryError as error:
        sys.exit(f"{parser.prog}: error: not enough memory ({error}): smaller numbers, or a larger machine")


def refuse_overwriting(source: Path, target: Path) -> None:
    """Raise InputError where a command would write over its own input."""
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{source} is both input and output: name another output")


def say(text: str) -> None:
    """Write what a command was asked for to standard output, at once; logs go to standard error."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
