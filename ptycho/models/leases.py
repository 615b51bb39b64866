"""One device for each process of a machine: held by a lock that the kernel takes back however the process ends.

Snakemake counts GPU slots but assigns no device; a cluster does, through ``CUDA_VISIBLE_DEVICES``.
"""

import fcntl
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ptycho.errors import InputError

SHARES = 64  # processes on one device at most


def directory() -> Path:
    """Return where the locks of this user lie."""
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"ptycho-gpu-{os.getuid()}"


def names(count: int, visible: str | None) -> list[str]:
    """Return the names of ``count`` devices as all processes of a machine know them.

    Parameters
    ----------
    visible : ``CUDA_VISIBLE_DEVICES``, by which the devices that a process sees are numbered; None where it is unset
    """
    listed = [name.strip() for name in (visible or "").split(",") if name.strip()]
    return listed[:count] if len(listed) >= count else [str(number) for number in range(count)]


def take(devices: Sequence[str], where: Path) -> tuple[int, IO[str]]:
    """Return the number of a device with the fewest processes on it, and the lock that holds it until it is closed.

    Raises
    ------
    InputError : the locks cannot be written, or every device is taken :data:`SHARES` times
    """
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{where}: {error.strerror}: no place for the locks of GPUs; set XDG_RUNTIME_DIR") from error
    for share in range(SHARES):
        for number, name in enumerate(devices):
            lock = _locked(where / f"{name.replace('/', '_')}.{share}.lock")
            if lock is not None:
                return number, lock
    raise InputError(
        f"every one of {len(devices)} GPUs is taken by {SHARES} processes: fewer at a time (--resources gpu)"
    )


def _locked(path: Path) -> IO[str] | None:
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock
