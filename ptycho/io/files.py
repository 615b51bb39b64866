"""Complete files: atomic replacement, checksums, zip archives."""

import contextlib
import functools
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

    Raises
    ------
    InputError : see :func:`check_target`
    """
    path = Path(path)
    check_target(path)
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


def check_target(path: Path) -> None:
    """Raise :class:`InputError` where ``path`` is a directory, or below a file: no file can be written there."""
    if path.is_dir():
        raise InputError(f"{path} is a directory: name a file to write")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise InputError(f"{path}: {above.name} is a file, not a directory: name another output")


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
    """Put the file's name before the message of an :class:`InputError` raised within, unless it is there already."""
    try:
        yield
    except InputError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise InputError(f"{path}: {error}") from error


def read_bytes(path: Path | str) -> bytes:
    """Return the content of a file; InputError where there is none."""
    return require_file(path).read_bytes()


CHECKSUM = b"\nsha256 of the above: "  # precedes the checksum at the end of a file, where HDF5 reads nothing


def with_checksum(content: bytes) -> bytes:
    """Return the content of a file followed by its SHA-256, which :func:`without_checksum` verifies."""
    return content + CHECKSUM + hashlib.sha256(content).hexdigest().encode()


def without_checksum(content: bytes, path: Path | str) -> tuple[bytes, bool]:
    """Verify a file that :func:`with_checksum` made.

    Returns
    -------
    content : without the checksum
    verified : False where there is none, as in files of earlier versions

    Raises
    ------
    InputError : the content is not that of the checksum; it names ``path``
    """
    kept, found, stated = content.rpartition(CHECKSUM)
    if not found:
        return content, False
    if hashlib.sha256(kept).hexdigest().encode() != stated:
        raise InputError(f"{path}: damaged: it does not match its checksum; copy or make it again")
    return kept, True


def append_checksum(path: Path) -> None:
    """Append to a complete file the checksum that :func:`with_checksum` appends to its content."""
    digest = sha256(path)
    with path.open("ab") as stream:
        stream.write(CHECKSUM + digest.encode())


def verify_checksum(path: Path) -> bool:
    """Verify a file against the checksum at its end; return False where it has none.

    Raises
    ------
    InputError : the content is not that of the checksum
    """
    status = require_file(path).stat()
    return _verify_checksum(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _verify_checksum(path: Path, size: int, _changed: int) -> bool:
    length = len(CHECKSUM) + 2 * hashlib.sha256().digest_size
    with path.open("rb") as stream:
        stream.seek(max(size - length, 0))
        end = stream.read()
        if not end.startswith(CHECKSUM):
            return False
        stream.seek(0)
        digest, rest = hashlib.sha256(), size - length
        while rest and (part := stream.read(min(rest, 1 << 20))):
            digest.update(part)
            rest -= len(part)
    if CHECKSUM + digest.hexdigest().encode() != end:
        raise InputError(f"{path}: damaged: it does not match its checksum; copy or make it again")
    return True


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write a file, complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


MAX_MEMBER_BYTES = 4 << 30  # a zip member or HDF5 dataset whose header states more is not unpacked
BOMB_BYTES = 1 << 30  # an array that is larger than this
BOMB_RATIO = 200  # and than so many times its compressed size is not unpacked


def available_memory() -> int:
    """Return the bytes of memory that can still be allocated, by the kernel's estimate; elsewhere all that there is."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        total = min(total, int(free) << 10)
    with contextlib.suppress(OSError, ValueError):  # of a container; "max" where it has no limit
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return total


def require_memory(path: Path | str, name: str, size: int, packed: int | None = None) -> None:
    """Check a size that a header states before anything of that size is read.

    Parameters
    ----------
    path, name : of the file and the array, named in errors
    size : bytes of the array in memory
    packed : bytes that it takes in the file; None where it is not compressed

    Raises
    ------
    InputError : more than the memory, or so much more than ``packed`` that the file is a decompression bomb
    """
    memory = available_memory()
    if size > memory:
        raise InputError(
            f"{path}: {name} would take {size / 2**30:.1f} GiB, more than the {memory / 2**30:.1f} GiB of memory that "
            "this machine has free: split the file"
        )
    if packed is not None and size > max(BOMB_BYTES, BOMB_RATIO * packed):
        raise InputError(
            f"{path}: {name} would take {size / 2**30:.1f} GiB, over {BOMB_RATIO} times its {packed} bytes in the "
            "file: it is not unpacked; if it is genuine, save it uncompressed"
        )


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
            for info in archive.infolist():
                if info.file_size > MAX_MEMBER_BYTES:
                    raise InputError(f"{path}: a member is larger than {MAX_MEMBER_BYTES >> 30} GiB; it is not read")
                require_memory(path, info.filename, info.file_size, info.compress_size)
            return {name: archive.read(name) for name in members}
    except ZIP_ERRORS as error:
        raise InputError(f"{path}: not a zip file, or damaged ({error}); make it again") from error


def write_zip(path: Path | str, members: Mapping[str, bytes]) -> None:
    """Write a zip file, complete or not at all, with the same bytes for the same content."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
