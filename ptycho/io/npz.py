"""Arrays, reconstructions and datasets in npz files.

Reading never runs code: pickles and object arrays are refused. Files are written beside their target and moved into
place when complete.
"""

import itertools
import math
import struct
import tokenize
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.data.lazy import LazyArray, map_chunks
from ptycho.data.metadata import Metadata, parse_metadata
from ptycho.errors import InputError
from ptycho.io.conventions import Arrays, plain_array, require_even, require_numbers
from ptycho.io.files import ZIP_ERRORS, error_context, replacing, require_file, require_memory
from ptycho.io.signatures import what_instead
from ptycho.io.text import metadata_json

FORMAT = "ptycho dataset 1"  # in the metadata of datasets in the study's format
HEADER_ERRORS = (ValueError, SyntaxError, tokenize.TokenError, MemoryError, struct.error)  # of numpy, on wrong headers


def read_npz(path: Path | str, required: Sequence[str] = (), optional: Sequence[str] | None = None) -> Arrays:
    """Read the arrays of an npz file.

    Parameters
    ----------
    required : keys that must be present
    optional : keys that are read where present; None reads all

    Raises
    ------
    InputError : no file, not an npz, damaged, a key is missing, an array needs a pickle or more memory than there is,
        or see :func:`_require_plain_names`
    """
    path = require_file(path)
    try:
        with path.open("rb") as stream, np.lib.npyio.NpzFile(stream, allow_pickle=False) as archive:
            unpacked = zipfile.ZipFile(stream)
            _require_plain_names(path, unpacked)
            held = [info.filename.removesuffix(".npy") for info in _arrays(unpacked)]
            missing = [key for key in required if key not in held]
            if missing:
                raise InputError(f"{path}: {', '.join(missing)} missing; the file holds {', '.join(sorted(held))}")
            wanted = [key for key in held if optional is None or key in {*required, *optional}]
            _require_sizes(path, unpacked, wanted, stream)
            return {key: _member(path, archive, key) for key in wanted}
    except ZIP_ERRORS as error:
        raise InputError(
            f"{path}: damaged, or not an npz file ({what_instead(path, error)}); expected a zip of arrays as "
            "numpy.savez writes it"
        ) from error


@dataclass(frozen=True)
class Member:
    """An array of an npz file as its header describes it; ``offset`` of its first byte, None where compressed."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    offset: int | None


def npz_members(path: Path | str) -> dict[str, Member]:
    """Return the shapes and types of the arrays of an npz file from their headers: fast, whatever the size.

    Raises
    ------
    InputError : no file, not an npz, or damaged; see :func:`_require_plain_names`
    """
    path = require_file(path)
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            _require_plain_names(path, archive)
            return {info.filename.removesuffix(".npy"): _header(archive, info, stream) for info in _arrays(archive)}
    except (*ZIP_ERRORS, *HEADER_ERRORS) as error:
        raise InputError(
            f"{path}: damaged, or not an npz file ({what_instead(path, error)}); expected a zip of arrays as "
            "numpy.savez writes it"
        ) from error


def _arrays(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the members that are arrays; others, such as a README.txt, are not read."""
    return [info for info in archive.infolist() if info.filename.endswith(".npy")]


def _require_plain_names(path: Path, archive: zipfile.ZipFile) -> None:
    """Raise InputError for names that would be paths where the file is unpacked, and for a name that stands twice."""
    names = [info.filename for info in archive.infolist()]
    for name in names:
        if not name or name.startswith("/") or "\\" in name or ".." in name.split("/") or not name.isprintable():
            raise InputError(f"{path}: {name!r} is a path, expected the name of an array: make the file again")
    twice = {name for name, count in Counter(name.removesuffix(".npy") for name in names).items() if count > 1}
    if twice:
        raise InputError(f"{path}: holds {min(twice)} twice: make the file again")


def _require_sizes(path: Path, archive: zipfile.ZipFile, keys: Sequence[str], stream: IO[bytes]) -> None:
    """Raise InputError where arrays would not fit into memory, or a member is not as large as its array."""
    found = {info.filename: info for info in archive.infolist()}
    infos = [found.get(f"{key}.npy") or found[key] for key in keys]
    require_memory(path, ", ".join(keys), sum(info.file_size for info in infos))
    for key, info in zip(keys, infos, strict=True):
        try:
            _header(archive, info, stream)
        except HEADER_ERRORS as error:
            if info.filename.endswith(".npy"):  # others are no arrays, and read as bytes
                raise InputError(f"{path}: {key} cannot be read ({error}); make the file again") from error
        require_memory(path, key, info.file_size, info.compress_size)


def _header(archive: zipfile.ZipFile, info: zipfile.ZipInfo, stream: IO[bytes]) -> Member:
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(member)
        header_bytes = member.tell()
    stated = math.prod(shape) * dtype.itemsize
    if header_bytes + stated != info.file_size and not dtype.hasobject:
        raise InputError(
            f"{archive.filename or stream.name}: {info.filename} is {dtype} {shape}, which takes {stated} bytes, but "
            f"holds {info.file_size - header_bytes}: damaged; make or copy the file again"
        )
    if info.compress_type != zipfile.ZIP_STORED:
        return Member(shape, dtype, fortran_order, None)
    stream.seek(info.header_offset + 26)  # the lengths of name and extra field, which come before the content
    name, extra = struct.unpack("<HH", stream.read(4))
    return Member(shape, dtype, fortran_order, info.header_offset + 30 + name + extra + header_bytes)


def npz_rows(path: Path | str, key: str) -> npt.NDArray[Any] | LazyArray:
    """Return an array of an npz file whose rows are read when they are indexed; in memory where it is compressed.

    Raises
    ------
    InputError : no such file, or damaged; also later, when rows are read
    """
    path = Path(path)
    member = npz_members(path)[key]
    if member.offset is None or member.fortran_order or member.dtype.hasobject or not member.shape:
        return read_npz(path, (key,), ())[key]
    offset, row_shape, dtype = member.offset, member.shape[1:], member.dtype
    row_bytes = dtype.itemsize * math.prod(row_shape)
    if offset + row_bytes * member.shape[0] > path.stat().st_size:
        raise InputError(f"{path}: {key} ends before its {member.shape[0]} rows do: copy or make the file again")

    def read(numbers: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        rows = np.empty((numbers.size, *row_shape), dtype)
        starts = np.flatnonzero(np.diff(numbers, prepend=-2) != 1)  # of runs of consecutive rows
        with path.open("rb") as stream:
            for first, last in itertools.pairwise([*starts, numbers.size]):
                stream.seek(offset + int(numbers[first]) * row_bytes)
                wanted = rows[first:last]
                if stream.readinto(wanted.data) != wanted.nbytes:
                    raise InputError(f"{path}: {key} ends early: the file changed while it was read")
        return rows

    return LazyArray(member.shape, dtype, read)


def _member(path: Path, archive: Any, key: str) -> npt.NDArray[Any]:
    try:
        return plain_array(np.asarray(archive[key]))
    except HEADER_ERRORS as error:
        if "pickle" in str(error):
            raise InputError(
                f"{path}: {key} is a pickled object array, which could run code and is never loaded; "
                "save it again as a plain numeric array"
            ) from error
        raise InputError(f"{path}: {key} cannot be read ({error}); make the file again") from error


def read_npy(path: Path | str) -> npt.NDArray[Any]:
    """Read one array from a npy file; InputError where there is none, or an object array."""
    path = require_file(path)
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, EOFError, *HEADER_ERRORS) as error:
        raise InputError(f"{path}: not a npy file of numbers ({error}); make it again") from error


def write_npz(path: Path | str, arrays: Mapping[str, Any]) -> None:
    """Write arrays to an npz file, complete or not at all, uncompressed so that rows can be read on their own.

    Lazy arrays are computed and written in chunks.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for key, value in arrays.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as stream:
                if isinstance(value, LazyArray):
                    _write_rows(stream, value, f"{Path(path).name}: {key}")
                else:
                    np.lib.format.write_array(stream, np.asarray(value), allow_pickle=False)


def _write_rows(stream: IO[bytes], rows: LazyArray, what: str) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False, "shape": rows.shape}
    np.lib.format.write_array_header_1_0(stream, header)
    for part in map_chunks(rows.__getitem__, len(rows), what):
        stream.write(np.ascontiguousarray(part, rows.dtype).data)


def cast_array(array: Any, key: str, kinds: str, dtype: Any) -> Any:
    """Return an array, lazily where it is lazy, as ``dtype``; InputError where its kind is not one of ``kinds``."""
    require_numbers(array, key, kinds)
    if array.dtype == dtype:
        return array
    if isinstance(array, LazyArray):
        return LazyArray(array.shape, np.dtype(dtype), lambda numbers: array[numbers].astype(dtype))
    return array.astype(dtype)


def _checked(path: Path | str, array: Any, key: str, kinds: str, dtype: Any) -> LazyArray:
    """Return a lazy array of ``dtype`` whose rows are checked when read: finite and, if real, not negative."""
    typed = cast_array(array, key, kinds, dtype)

    def rows(numbers: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        part = typed[numbers]
        if not np.isfinite(part).all():
            raise InputError(f"{path}: {key} holds NaN or infinite values: make the file again")
        if kinds != "c" and part.size and part.min() < 0:
            raise InputError(f"{path}: {key} holds negative values: amplitudes are expected")
        return part

    return LazyArray(typed.shape, np.dtype(dtype), rows)


def verify_checksums(path: Path | str) -> None:
    """Read an npz file completely and verify its checksums; InputError where one does not match."""
    try:
        with zipfile.ZipFile(require_file(path)) as archive:
            wrong = archive.testzip()
    except ZIP_ERRORS as error:
        raise InputError(f"{path}: damaged, or not an npz file ({error}); make or copy it again") from error
    if wrong is not None:
        raise InputError(f"{path}: {wrong} is damaged: its checksum does not match; make or copy the file again")


def as_complex(arrays: Arrays, key: str) -> Any:
    """Return a complex array as complex64; InputError where it is not complex."""
    return cast_array(arrays[key], key, "c", np.complex64)


def as_positions(arrays: Arrays) -> dict[str, Any]:
    """Return ``xcoords`` and ``ycoords`` as float64; InputError where they are not real numbers."""
    return {key: cast_array(arrays[key], key, "biuf", np.float64) for key in ("xcoords", "ycoords")}


def write_reconstruction(path: Path | str, reconstruction: Reconstruction) -> None:
    """Write a reconstruction under the names that :func:`ptycho.preparation.load.read_reconstruction` reads."""
    write_npz(
        path,
        {
            "objectGuess": reconstruction.object,
            "probeGuess": reconstruction.probe,
            "xcoords": reconstruction.xcoords,
            "ycoords": reconstruction.ycoords,
            "metadata": metadata_json(reconstruction.metadata),
        },
    )


def read_metadata(path: Path | str) -> Metadata:
    """Return the metadata of a dataset or reconstruction alone; InputError where the file is none, or damaged."""
    with error_context(path):
        return parse_metadata(read_npz(path, (), ("metadata",)))


def is_dataset(path: Path | str) -> bool:
    """Tell whether a file is a dataset in the study's format, as :func:`write_dataset` notes in its metadata."""
    if not zipfile.is_zipfile(require_file(path)) or "metadata" not in npz_members(path):
        return False
    return read_metadata(path).format == FORMAT


def read_dataset(path: Path | str) -> Dataset:
    """Read a dataset npz in the study's format as it is; patterns and patches are read when they are indexed.

    For scans of any origin use :func:`ptycho.preparation.load.load_scan`. ``objectGuess``, ``Y``, ``scan_index``,
    ``bad_pixels`` and ``metadata`` may be missing.

    Raises
    ------
    InputError : as :func:`read_npz`; shapes, types or positions that do not fit each other; patterns of an odd side
    """
    small = ("xcoords", "ycoords", "probeGuess", "objectGuess", "scan_index", "bad_pixels", "metadata")
    present = npz_members(path)
    if "diffraction" not in present:
        raise InputError(f"{path}: diffraction missing; the file holds {', '.join(sorted(present))}")
    arrays = read_npz(path, ("xcoords", "ycoords", "probeGuess"), small)
    with error_context(path):
        dataset = Dataset(
            diffraction=_checked(path, npz_rows(path, "diffraction"), "diffraction", "biuf", np.float32),
            **as_positions(arrays),
            probe=as_complex(arrays, "probeGuess"),
            object=as_complex(arrays, "objectGuess") if "objectGuess" in arrays else None,
            patches=_checked(path, npz_rows(path, "Y"), "Y", "c", np.complex64) if "Y" in present else None,
            scan_index=cast_array(
                arrays.get("scan_index", np.arange(arrays["xcoords"].size)), "scan_index", "iu", np.int64
            ),
            metadata=replace(parse_metadata(arrays), format=None),  # a property of the file, not of the data
            bad_pixels=arrays.get("bad_pixels"),
        )
        require_even(dataset.window_px)
        return dataset


def write_dataset(path: Path | str, dataset: Dataset) -> None:
    """Write a dataset under the names that :func:`read_dataset` reads; lazy arrays are computed in chunks."""
    arrays: dict[str, Any] = {
        "diffraction": dataset.diffraction,
        "xcoords": dataset.xcoords,
        "ycoords": dataset.ycoords,
        "probeGuess": dataset.probe,
        "objectGuess": dataset.object,
        "Y": dataset.patches,
        "scan_index": dataset.scan_index,
        "bad_pixels": dataset.bad_pixels,
        "metadata": metadata_json(replace(dataset.metadata, format=FORMAT)),
    }
    write_npz(path, {key: value for key, value in arrays.items() if value is not None})
