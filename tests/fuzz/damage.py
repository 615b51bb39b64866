"""Damaged files: how they are made, and what reading one of them must not do. Used by the tests and by fuzz_readers.py.

A damaged file may be refused in one line (InputError), be read as the undamaged one is (an unused byte was hit), or be
read as something else with a warning. It must not be read as something else in silence, end in another exception, or
run code.
"""

import contextlib
import hashlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptycho.data.lazy import LazyArray
from ptycho.errors import InputError

Read = Callable[[Path], Any]
EXTREMES = (
    b"\x00" * 8, b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\xff" * 7 + b"\x7f", b"\x00" * 7 + b"\x80",
    b"\x01" + b"\x00" * 7,
)  # fmt: skip


# damage -------------------------------------------------------------------------------------------------


def flip_bit(content: bytearray, rng: np.random.Generator) -> None:
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))


def cut(content: bytearray, rng: np.random.Generator) -> None:
    del content[rng.integers(1, len(content)) :]


def drop(content: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(content)))
    del content[start : start + int(rng.integers(1, 40))]


def repeat(content: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(content)))
    content[start:start] = content[start : start + int(rng.integers(1, 40))]


def blank(content: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(content)))
    length = min(int(rng.integers(1, 200)), len(content) - start)
    content[start : start + length] = bytes([int(rng.choice([0, 255]))]) * length


def extreme(content: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(content)))
    width = int(rng.choice([2, 4, 8]))
    content[start : start + width] = EXTREMES[rng.integers(len(EXTREMES))][:width]


def garbage(content: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(content)))
    content[start : start + 3] = rng.bytes(3)


def swap(content: bytearray, rng: np.random.Generator) -> None:
    width = min(64, len(content) // 3)
    one, other = sorted(int(place) for place in rng.integers(len(content) - width, size=2))
    content[one : one + width], content[other : other + width] = (
        content[other : other + width],
        content[one : one + width],
    )


KINDS = (flip_bit, cut, drop, repeat, blank, extreme, garbage, swap)


def damaged(content: bytes, seed: int, part: slice = slice(None)) -> bytes:
    """Return a file that differs from ``content`` within ``part``; the same for the same seed."""
    rng = np.random.default_rng(seed)
    start, stop, _ = part.indices(len(content))
    while True:
        changed = bytearray(content[start:stop])
        KINDS[seed % len(KINDS)](changed, rng)
        result = content[:start] + bytes(changed) + content[stop:]
        if result != content:
            return result


def replaced(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Return JSON content with another value at a place, a sequence of keys and indices."""
    if not place:
        return value
    copy = dict(content) if isinstance(content, dict) else list(content)
    copy[place[0]] = replaced(copy[place[0]], place[1:], value)
    return copy


def places(content: Any, depth: int = 3) -> Iterator[tuple[Any, ...]]:
    """Yield every place in JSON content, to a depth."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in pairs if depth else ():
        yield (key,)
        yield from ((key, *rest) for rest in places(value, depth - 1))


# what is read -------------------------------------------------------------------------------------------


def content_of(value: Any) -> Any:
    """Return what an object holds as builtin types that can be compared: arrays by type, shape and hash."""
    if isinstance(value, LazyArray):
        value = value[:]
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.ascontiguousarray(value)
        return array.dtype.str.lstrip("<>|="), array.shape, hashlib.sha256(array.tobytes()).hexdigest()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: content_of(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): content_of(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [content_of(item) for item in value]
    return repr(value)


class Warned(logging.Handler):
    """Notes whether a warning was logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


FORBIDDEN = (
    "pickle.find_class", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "socket.connect",
)  # fmt: skip
_watching = False
_ran: list[str] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and (event in FORBIDDEN or (event == "exec" and _of_text(arguments[0]))):
        _ran.append(event)


def _of_text(code: Any) -> bool:
    """Tell whether code was compiled from a text, and not from a module that is imported for the first time."""
    return getattr(code, "co_filename", "").startswith("<") and not code.co_filename.startswith("<frozen")


sys.addaudithook(_audit)


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """Yield the list of forbidden events (running code, processes, connections) while a file is read."""
    global _watching
    _ran.clear()
    _watching = True
    try:
        yield _ran
    finally:
        _watching = False


def outcome(read: Read, path: Path, expected: Any = None) -> str:
    """Return what became of reading a file: ``refused``, ``same``, ``warned`` or ``other``.

    Parameters
    ----------
    read : returns the content, or raises InputError
    expected : :func:`content_of` the undamaged file

    Raises
    ------
    AssertionError : a message of several lines, or code that ran
    Exception : any but InputError
    """
    handler, root = Warned(), logging.getLogger()
    root.addHandler(handler)
    try:
        with watched() as ran, warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of overflows: what is infinite then is refused
            try:
                found = content_of(read(path))
            except InputError as error:
                if "\n" in str(error):
                    raise AssertionError(f"a message of several lines: {error}") from error
                return "refused"
            finally:
                assert not ran, f"ran code: {ran}"
    finally:
        root.removeHandler(handler)
    if found == expected:
        return "same"
    return "warned" if handler.messages else "other"
