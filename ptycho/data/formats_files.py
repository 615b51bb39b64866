"""Npz and HDF5 files of other programs: what they hold, by name. Nothing read can run code or reach another file."""

import contextlib
import importlib
import math
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data import store
from ptycho.data.store import NUMERIC, ZIP_ERRORS, Arrays, replacing, require_file
from ptycho.errors import InputError

HDF5_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError)
NAMES_SHOWN = 20  # in an error that lists what a file holds


@dataclass(frozen=True)
class Fields:
    """What was read of a file, by name.

    Parameters
    ----------
    path : named in errors
    names : all that the file holds
    arrays : what was asked for and is there; texts are (0-d) arrays of ``str``
    """

    path: Path
    names: tuple[str, ...]
    arrays: Mapping[str, npt.NDArray[Any]]

    def error(self, message: str) -> InputError:
        return InputError(f"{self.path}: {message}")

    def find(self, *names: str) -> npt.NDArray[Any] | None:
        """Return the first of ``names`` that is there."""
        return next((self.arrays[name] for name in names if name in self.arrays), None)

    def having(self, name: str, array: npt.NDArray[Any]) -> "Fields":
        """Return the fields with another array under ``name``."""
        return replace(self, arrays={**self.arrays, name: array})

    def need(self, *names: str) -> npt.NDArray[Any]:
        """Return the first of ``names`` that is there; raise InputError, saying what is, where none is."""
        found = self.find(*names)
        if found is None:
            raise self.error(f"{' or '.join(names)} missing; the file holds {listed(self.names)}")
        return found

    def real(self, name: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
        """Return real numbers of a shape, in which None is any size; axes of one pixel in front are dropped."""
        return self._shaped(name, shape, "biuf", "real")

    def image(self, name: str) -> npt.NDArray[Any]:
        """Return a complex image (H, W)."""
        return self._shaped(name, (None, None), "c", "complex")

    def _shaped(self, name: str, shape: tuple[int | None, ...], kinds: str, what: str) -> npt.NDArray[Any]:
        array = self.need(name)
        while array.ndim > len(shape) and array.shape[0] == 1:
            array = array[0]
        fits = array.ndim == len(shape) and all(n is None or n == m for n, m in zip(shape, array.shape, strict=True))
        if not fits or array.dtype.kind not in kinds:
            expected = ", ".join("any" if n is None else str(n) for n in shape)
            raise self.error(f"{name} has shape {array.shape} and type {array.dtype}, expected ({expected}) {what}")
        return array

    def number(self, *names: str) -> float | None:
        """Return the first of ``names`` that is there, one finite number; None where none is."""
        found = self.find(*names)
        if found is None:
            return None
        value = float(found.reshape(-1)[0]) if found.size == 1 and found.dtype.kind in "biuf" else math.nan
        if not math.isfinite(value):
            raise self.error(f"{names[0]} has shape {found.shape} and type {found.dtype}, expected one finite number")
        return value

    def positive(self, *names: str) -> float | None:
        """Return :meth:`number`; raise InputError where it is not above 0."""
        value = self.number(*names)
        if value is not None and value <= 0:
            raise self.error(f"{names[0]} is {value:g}, expected more than 0")
        return value

    def text(self, *names: str) -> str:
        """Return the first of ``names`` that is there as text; an empty one where none is."""
        found = self.find(*names)
        return "" if found is None or found.size != 1 else str(found.reshape(-1)[0])


def listed(names: Iterable[str]) -> str:
    """Return names in one line, not all of many."""
    known = sorted(names)
    more = f" and {len(known) - NAMES_SHOWN} more" if len(known) > NAMES_SHOWN else ""
    return (", ".join(known[:NAMES_SHOWN]) or "nothing") + more


def names(path: Path | str) -> tuple[str, ...]:
    """Return the names of the arrays of an npz or HDF5 file; a link of HDF5 is marked as one.

    Raises
    ------
    InputError : no file, neither npz nor HDF5, or damaged
    """
    path = require_file(path)
    if _is_hdf5(path):
        with _hdf5(path) as file:
            return _hdf5_names(file)
    return tuple(_npz_sizes(path))


def read(path: Path | str, wanted: Iterable[str]) -> Fields:
    """Read the ``wanted`` names that a file holds.

    Parameters
    ----------
    wanted : names of arrays; in HDF5 ``name@attribute`` is an attribute, ``@attribute`` one of the root

    Raises
    ------
    InputError : no file, neither npz nor HDF5, damaged, pickled, a link, too large, or compressed by an unknown filter
    """
    path = require_file(path)
    if _is_hdf5(path):
        with _hdf5(path) as file:
            there = _hdf5_names(file)
            return Fields(path, there, _hdf5_arrays(path, file, set(there), wanted))
    sizes = _npz_sizes(path)
    wanted = [name for name in wanted if name in sizes]
    _require_room(path, ", ".join(wanted), sum(sizes[name] for name in wanted))
    return Fields(path, tuple(sizes), store.read_npz(path, (), wanted))


def _is_hdf5(path: Path) -> bool:
    import h5py

    if zipfile.is_zipfile(path):
        return False
    if h5py.is_hdf5(path):
        return True
    with path.open("rb") as stream:
        start = stream.read(8)
    raise InputError(
        f"{path}: damaged, or neither an npz file (a zip of arrays) nor HDF5 (it starts with {start!r}); make it again"
    )


def _require_room(path: Path, name: str, size: int) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise InputError(
            f"{path}: {name} would take {size / 2**30:.1f} GiB, more than the {memory / 2**30:.1f} GiB of this "
            "machine: cut it into parts"
        )


def _npz_sizes(path: Path) -> dict[str, int]:
    """Return the name and unpacked bytes of each array."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {info.filename.removesuffix(".npy"): info.file_size for info in archive.infolist()}
    except (*ZIP_ERRORS, ValueError) as error:
        raise InputError(f"{path}: damaged, or not an npz file ({_one_line(error)}); make it again") from error


# HDF5 ----------------------------------------------------------------------------------------------------


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


@contextlib.contextmanager
def _hdf5(path: Path) -> Iterator[Any]:
    import h5py

    with contextlib.suppress(ImportError):
        importlib.import_module("hdf5plugin")  # brings the filters that detectors compress with
    try:
        with h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except HDF5_ERRORS as error:
        raise InputError(f"{path}: not an HDF5 file, or damaged ({_one_line(error)}); make it again") from error


def _hdf5_names(file: Any) -> tuple[str, ...]:
    """Return the data sets that hard links lead to; links and values kept elsewhere are named as such, never read."""
    import h5py

    visited: list[bytes] = []
    file.id.links.visit(visited.append)  # names alone: an error in a callback of h5py would be lost
    found = []
    for name in (link.decode("utf-8", "replace") for link in visited):
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            found.append(f"{name} (a link, not followed)")
        elif file.get(name, getclass=True) is h5py.Dataset:
            elsewhere = file[name].is_virtual or file[name].external
            found.append(f"{name} (values of another file, not read)" if elsewhere else name)
    return tuple(found)


def _hdf5_arrays(path: Path, file: Any, there: set[str], wanted: Iterable[str]) -> Arrays:
    arrays = {}
    for key in wanted:
        name, _, attribute = key.partition("@")
        if name and name not in there:
            continue
        node = file[name] if name else file
        if not attribute and not _in_heap(node):
            arrays[key] = _decoded(_hdf5_array(path, name, node))
        elif attribute in node.attrs and _is_plain(node.attrs.get_id(attribute), attribute):
            arrays[key] = _decoded(np.asarray(node.attrs[attribute]))
    return arrays


def _in_heap(node: Any) -> bool:
    """Tell whether HDF5 keeps values of varying length, as texts are, in a heap; a damaged heap hangs HDF5 1.14."""
    return node.dtype.kind == "O"


def _is_plain(node: Any, attribute: str) -> bool:
    """Tell whether an attribute is numbers or text of fixed length; units are often text of varying length."""
    import h5py

    if _in_heap(node):
        return attribute == "units" and h5py.check_string_dtype(node.dtype) is not None
    return node.shape is not None and node.dtype.kind in f"{NUMERIC}S"


def _hdf5_array(path: Path, name: str, node: Any) -> npt.NDArray[Any]:
    if node.shape is None:
        raise InputError(f"{path}: {name} is empty; make the file again")
    if node.dtype.kind not in f"{NUMERIC}S":
        raise InputError(f"{path}: {name} is {node.dtype}, expected numbers or text; it is not read")
    _require_room(path, name, node.size * node.dtype.itemsize)
    _require_filters(path, name, node)
    return np.asarray(node[()])


def _decoded(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array


def _require_filters(path: Path, name: str, node: Any) -> None:
    import h5py

    pipeline = node.id.get_create_plist()
    for index in range(pipeline.get_nfilters()):
        code, _, _, label = pipeline.get_filter(index)
        if not h5py.h5z.filter_avail(code):
            raise InputError(
                f"{path}: {name} is compressed by filter {code} ({label.decode('ascii', 'replace')}), which h5py "
                "cannot undo alone: install the extra: pip install .[hdf5]"
            )


@contextlib.contextmanager
def writing_hdf5(path: Path | str) -> Iterator[Any]:
    """Yield an HDF5 file that takes the place of ``path`` when it is complete."""
    import h5py

    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        yield file
