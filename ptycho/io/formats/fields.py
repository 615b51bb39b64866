"""The arrays of an npz or HDF5 file by name, validated on access; no code of the file is run.

A known name that leads out of the file, or is spelt in another way, is refused; what is not read is logged.
"""

import logging
import math
import zipfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.io.files import ZIP_ERRORS, require_file, require_memory
from ptycho.io.hdf5 import hdf5_arrays, is_hdf5, one_line, open_hdf5
from ptycho.io.hdf5_links import hdf5_names, is_dataset, locate, same_data

logger = logging.getLogger(__name__)

NAMES_SHOWN = 20  # in an error that lists what a file holds
SHORT = 2  # names of so many letters may mean something else in other capitals: y beside Y
TELLING = (  # parts of names that change what the patterns mean: said with a warning where they are not read
    "mask", "bad", "dark", "white", "flat", "background", "weight", "energy", "wavelength", "monitor", "eigen", "mode",
    "photon_counts", "entry_2", "detector_2", "diffraction", "pattern", "diff3d", "reciprocal", "data_1/data",
    "detector_1/data",
)  # fmt: skip


@dataclass(frozen=True)
class Fields:
    """The arrays that were read from a file, by name.

    Parameters
    ----------
    path : named in errors
    names : of all arrays of the file, with the reason where one cannot be read
    arrays : those requested and present; texts are (0-d) arrays of ``str``
    problems : of requested names that are there and cannot be read, as in :class:`ptycho.io.hdf5_links.Place`
    """

    path: Path
    names: tuple[str, ...]
    arrays: Mapping[str, npt.NDArray[Any]]
    problems: Mapping[str, str] = field(default_factory=dict)

    def error(self, message: str) -> InputError:
        """Return an error whose message begins with the file."""
        return InputError(f"{self.path}: {message}")

    def first(self, *names: str) -> str | None:
        """Return the first of ``names`` that was read, or None; InputError where the file has one that was not."""
        found = next((name for name in names if name in self.arrays), None)
        problem = next((name for name in names if name in self.problems), None)
        if found is None and problem is not None:
            raise self.error(
                f"{problem} is {self.problems[problem]}: only values in the file itself are read; write them into it"
            )
        return found

    def find(self, *names: str) -> npt.NDArray[Any] | None:
        """Return the array of :meth:`first`, or None."""
        name = self.first(*names)
        return None if name is None else self.arrays[name]

    def having(self, name: str, array: npt.NDArray[Any]) -> "Fields":
        """Return the fields with another array under ``name``."""
        return replace(self, arrays={**self.arrays, name: array})

    def need(self, *names: str) -> npt.NDArray[Any]:
        """Return the first of ``names`` that is present; InputError, listing what is, where none is."""
        found = self.find(*names)
        if found is None:
            raise self.error(f"{' or '.join(names)} missing; the file holds {listed(self.names)}")
        return found

    def real(self, name: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
        """Return real numbers of a shape, in which None is any size; leading axes of length 1 are dropped."""
        return self._shaped(name, shape, "biuf", "real")

    def image(self, name: str) -> npt.NDArray[Any]:
        """Return a complex image (H, W); leading axes of length 1 are dropped."""
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
        """Return the first of ``names`` that is present, one finite number; None where none is.

        Raises
        ------
        InputError : another value
        """
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
        """Return the first of ``names`` that is present as text; an empty one where none is."""
        found = self.find(*names)
        return "" if found is None or found.size != 1 else str(found.reshape(-1)[0])


def listed(names: Iterable[str]) -> str:
    """Return names in one line, at most ``NAMES_SHOWN`` of them."""
    known = sorted(names)
    more = f" and {len(known) - NAMES_SHOWN} more" if len(known) > NAMES_SHOWN else ""
    return (", ".join(known[:NAMES_SHOWN]) or "nothing") + more


def names(path: Path | str) -> tuple[str, ...]:
    """Return the names of the arrays of an npz or HDF5 file, with the reason where one cannot be read.

    Raises
    ------
    InputError : no file, neither npz nor HDF5, or damaged
    """
    path = require_file(path)
    if is_hdf5(path):
        with open_hdf5(path) as file:
            return tuple(place.displayed(name) for name, place in hdf5_names(file).items())
    return tuple(_array_name(member) for member in _npz_members(path))


def held(path: Path | str, known: Iterable[str]) -> dict[str, str]:
    """Return those of the ``known`` names that a file holds, each with the problem of reading it, or an empty text.

    Raises
    ------
    InputError : see :func:`names`
    """
    path = require_file(path)
    if is_hdf5(path):
        with open_hdf5(path) as file:
            places = {name: locate(file, name) for name in known}
            return {
                name: place.problem
                for name, place in places.items()
                if place is not None and (place.problem or is_dataset(file[place.path]))
            }
    there = names(path)
    return {name: "" for name in known if name in there}


def read(path: Path | str, wanted: Iterable[str]) -> Fields:
    """Read the ``wanted`` names that a file holds, and log the other ones.

    Parameters
    ----------
    wanted : names of arrays; in HDF5 ``name@attribute`` is an attribute, ``@attribute`` one of the root

    Raises
    ------
    InputError : no file, neither npz nor HDF5, damaged, pickled, too large, compressed by an unknown filter, or with a
        wanted name in other letters
    """
    path, wanted = require_file(path), list(wanted)
    if is_hdf5(path):
        with open_hdf5(path) as file:
            return _read_hdf5(path, file, wanted)
    return _read_npz(path, wanted)


def _read_hdf5(path: Path, file: Any, wanted: list[str]) -> Fields:
    found = hdf5_names(file)
    _require_spelling(path, found, wanted)
    bases = dict.fromkeys(key.partition("@")[0] for key in wanted)
    places = {name: place for name in bases if name and (place := locate(file, name)) is not None}
    there = {name: place.path for name, place in places.items() if not place.problem and is_dataset(file[place.path])}
    problems = {name: place.problem for name, place in places.items() if place.problem}
    arrays = hdf5_arrays(path, file, there, wanted)
    seen = same_data(file, (place for name, place in places.items() if name in arrays))
    unread = [
        place.displayed(name) for name, place in found.items() if place.problem or file[place.path].id not in seen
    ]
    _log_unread(path, unread, bool(problems))
    displayed = tuple(place.displayed(name) for name, place in found.items())
    return Fields(path, displayed, arrays, problems)


def _read_npz(path: Path, wanted: list[str]) -> Fields:
    sizes = _npz_members(path)
    held = {_array_name(member): member for member in sizes}
    _require_spelling(path, held, wanted)
    there = [name for name in wanted if name in held]
    require_memory(path, ", ".join(there), sum(sizes[held[name]] for name in there))
    _log_unread(path, [name for name in held if name not in there], False)
    return Fields(path, tuple(held), npz.read_npz(path, (), there))


def _array_name(member: str) -> str:
    """Return the name of an array of an npz file; a member that is none is marked."""
    return member.removesuffix(".npy") if member.endswith(".npy") else f"{member} (no array)"


def _npz_members(path: Path) -> dict[str, int]:
    """Return the file names and unpacked bytes of the members; directories are omitted."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {info.filename: info.file_size for info in archive.infolist() if not info.filename.endswith("/")}
    except (*ZIP_ERRORS, ValueError) as error:
        raise InputError(f"{path}: damaged, or not an npz file ({one_line(error)}); make it again") from error


def _require_spelling(path: Path, found: Collection[str], wanted: Iterable[str]) -> None:
    """Raise InputError where a wanted name is there in other capitals or with other underscores only."""
    others: dict[str, str] = {}
    for name in found:
        others.setdefault(_letters(name), name)
    for name in wanted:
        other = None if "@" in name or name in found else others.get(_letters(name))
        if other is not None and other not in wanted and len(name) > SHORT:
            raise InputError(f"{path}: holds {other}, expected {name}: names are read as they are spelt; rename it")


def _letters(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def _log_unread(path: Path, unread: list[str], linked: bool) -> None:
    """Log the arrays that are not read, with a warning where one may change what the patterns mean."""
    telling = linked or any(part in name.lower() for name in unread for part in (*TELLING, "; not read)"))
    if unread:
        logger.log(logging.WARNING if telling else logging.INFO, "%s: ignored: %s", path, listed(unread))
