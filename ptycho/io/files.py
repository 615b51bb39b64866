"""Complete files: atomic replacement, checksums, zip archives."""

import contextlib
import glob
import hashlib
import os
import platform
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ptycho.errors import InputError


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it on success and is removed on failure.

    Directories that were created for it are removed too.
    """
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
        temporary.chmod(0o666 & ~umask)  # mkstemp creates private files; these are the user's results
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
    """Remove temporary files of ``path`` whose writers, on this machine, were killed."""
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


NUMERIC = "biufc"  # kinds of numpy dtypes
ZIP_ERRORS = (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, zlib.error)


@contextlib.contextmanager
def error_context(path: Path | str) -> Iterator[None]:
    """Put the file's name before the message of an :class:`InputError` raised within."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_bytes(path: Path | str) -> bytes:
    """Return the content of a file; InputError where there is none."""
    return require_file(path).read_bytes()


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write a file, complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


MAX_MEMBER_BYTES = 4 << 30  # a zip member or HDF5 dataset whose header states more is not unpacked


def read_zip(path: Path | str, members: Sequence[str]) -> dict[str, bytes]:
    """Read the members of a zip file.

    Raises
    ------
    InputError : no zip file, damaged, a member too large, or other members than ``members``
    """
    path = require_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            found = sorted(info.filename for info in archive.infolist())
            if found != sorted(members):
                raise InputError(f"{path}: holds {', '.join(found)}, expected {', '.join(sorted(members))}")
            if any(info.file_size > MAX_MEMBER_BYTES for info in archive.infolist()):
                raise InputError(f"{path}: a member is larger than {MAX_MEMBER_BYTES >> 30} GiB; it is not read")
            return {name: archive.read(name) for name in members}
    except ZIP_ERRORS as error:
        raise InputError(f"{path}: not a zip file, or damaged ({error}); make it again") from error


def write_zip(path: Path | str, members: Mapping[str, bytes]) -> None:
    """Write a zip file, complete or not at all, with the same bytes for the same content."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
