"""Files as such: found or refused in one line, written whole or not at all, and told apart by their checksum."""

import contextlib
import glob
import hashlib
import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ptycho.errors import InputError


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place on success and vanishes on failure.

    So do the directories that were made for it."""
    path = Path(path)
    new = next((parent for parent in reversed(path.parents) if not parent.exists()), None)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_orphans(path)
    prefix = f".{path.name}.{platform.node()}-{os.getpid()}-"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files private; these are the user's results
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        if new is not None and not path.exists():
            _remove_empty(path.parent, new)


def _remove_empty(directory: Path, last: Path) -> None:
    """Remove a directory and its parents up to ``last``, as far as they are empty."""
    with contextlib.suppress(OSError):
        while directory != last.parent:
            directory.rmdir()
            directory = directory.parent


def _remove_orphans(path: Path) -> None:
    """Remove what writers of ``path`` on this machine left behind that were killed."""
    prefix = f".{path.name}.{platform.node()}-"
    for left in path.parent.glob(f"{glob.escape(prefix)}*"):
        process = left.name.removeprefix(prefix).partition("-")[0]
        if process.isdigit() and not Path("/proc", process).exists():
            left.unlink(missing_ok=True)


def require_file(path: Path | str) -> Path:
    """Return ``path``; raise :class:`InputError` where it is not a readable, non-empty file."""
    path = Path(path)
    if not path.is_file():
        found = "a directory" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {found}; check the path")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; make or copy it again")
    return path


def sha256(path: Path | str) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with require_file(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
