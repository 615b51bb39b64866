"""One device for each process of a machine: held by a lock that the kernel takes back however the process ends.

Snakemake counts GPU slots but assigns no device; a cluster does, through ``CUDA_VISIBLE_DEVICES``.
"""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ptycho.errors import InputError

SHARES = 16  # processes on one device at most


def directory() -> Path:
    """Return where the locks of this user lie: the same place for every process of a machine."""
    return Path("/tmp") / f"ptycho-gpu-{os.getuid()}"


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
        raise InputError(f"{where}: {error.strerror}: no place for the locks of GPUs") from error
    with (where / "guard.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # one process chooses at a time
        free = {number: _free(where, name) for number, name in enumerate(devices)}
        number = min(free, key=lambda number: SHARES - len(free[number]))
        taken = free[number][0] if free[number] else None
        for lock in (lock for locks in free.values() for lock in locks if lock is not taken):
            lock.close()
    if taken is None:
        raise InputError(f"all {len(devices)} GPUs are taken by {SHARES} processes: fewer at a time (--resources gpu)")
    return number, taken


def _free(where: Path, name: str) -> list[IO[str]]:
    """Return the locks of a device that nobody holds; they are held from now on, until they are closed."""
    locks = (_locked(where / f"{name.replace('/', '_')}.{share}.lock") for share in range(SHARES))
    return [lock for lock in locks if lock is not None]


def _locked(path: Path) -> IO[str] | None:
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock
