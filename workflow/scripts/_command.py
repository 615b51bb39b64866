"""What every command shares: logging to stderr, and one line instead of a traceback for bad input."""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from ptycho.errors import InputError

FORMAT = "%(asctime)s %(levelname)s %(message)s"


def log_to(path: Path) -> None:
    """Log to a file beside the terminal, and send there what libraries print below Python (TensorFlow's notes)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w")
    handler.setFormatter(logging.Formatter(FORMAT))
    sys.stderr.flush()
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(handler.stream.fileno(), 2)
    sys.stderr = terminal
    root = logging.getLogger()
    for existing in root.handlers:
        if isinstance(existing, logging.StreamHandler):
            existing.setStream(terminal)
    root.addHandler(handler)


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parse the command line, run ``main``, and exit with 1 and one line where the input cannot be used."""
    logging.basicConfig(level=logging.INFO, format=FORMAT, stream=sys.stderr)
    arguments = parser.parse_args()
    try:
        if getattr(arguments, "seed", 0) < 0:
            raise InputError(f"--seed is {arguments.seed}, expected 0 or more")
        main(arguments)
    except (InputError, OSError) as error:
        sys.exit(f"{parser.prog}: error: {error}")
