"""One GPU for each process of a machine, held by a file lock that the kernel releases however the process ends.

Snakemake counts GPU slots but assigns no device; a cluster's scheduler does, through ``CUDA_VISIBLE_DEVICES``.
"""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ptycho.errors import InputError

SLOTS = 16  # processes on one device at most; each holds one lock file


def directory() -> Path:
    """Return the directory of this user's lock files, the same for every process of a machine."""
    return Path("/tmp") / f"ptycho-gpu-{os.getuid()}"


def names(count: int, visible: str | None) -> list[str]:
    """Return names of ``count`` devices that are the same in all processes of a machine.

    Parameters
    ----------
    visible : ``CUDA_VISIBLE_DEVICES``, which numbers the devices that a process sees; None where it is unset
    """
    listed = [name.strip() for name in (visible or "").split(",") if name.strip()]
    return listed[:count] if len(listed) >= count else [str(number) for number in range(count)]


def take(devices: Sequence[str], where: Path) -> tuple[int, IO[str]]:
    """Return the index of the device with the fewest processes, and its lock.

    Parameters
    ----------
    devices : names from :func:`names`
    where : directory of the lock files, created where it is missing

    Returns
    -------
    number : index in ``devices``
    lock : open file that holds the device until it is closed

    Raises
    ------
    InputError : the locks cannot be written, or every device is taken :data:`SLOTS` times
    """
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{where}: {error.strerror}: the lock files of GPUs are kept there") from error
    with (where / "guard.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # one process chooses at a time
        free = {number: _free(where, name) for number, name in enumerate(devices)}
        number = min(free, key=lambda number: SLOTS - len(free[number]))
        taken = free[number][0] if free[number] else None
        for lock in (lock for locks in free.values() for lock in locks if lock is not taken):
            lock.close()
    if taken is None:
        raise InputError(f"all {len(devices)} GPUs have {SLOTS} processes: run fewer at a time (--resources gpu)")
    return number, taken


def _free(where: Path, name: str) -> list[IO[str]]:
    """Acquire and return all locks of a device that no process holds; each is held until it is closed."""
    locks = (_locked(where / f"{name.replace('/', '_')}.{slot}.lock") for slot in range(SLOTS))
    return [lock for lock in locks if lock is not None]


def _locked(path: Path) -> IO[str] | None:
    """Return the lock file at ``path``, locked, or None where another process holds it."""
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock
