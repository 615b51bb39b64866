"""The only reader and writer of files: npz, HDF5, csv, JSON, and dill (written, never read).

Nothing that is read can run code: no pickle, no dill, object arrays refused. Everything is written beside its
target and moved into place when complete, so that an interrupted write leaves what was there before.
"""

import base64
import contextlib
import itertools
import json
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ptycho.data.canonical import Arrays, metadata_of, require_numbers
from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.data.files import replacing, require_file
from ptycho.data.level import normalized
from ptycho.data.rows import Rows, in_chunks
from ptycho.errors import InputError

FORMAT = "ptycho dataset 1"  # in the metadata of datasets that keep the study's conventions
NUMERIC = "biufc"  # kinds of numpy dtypes
ZIP_ERRORS = (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, zlib.error)
HEADER_ERRORS = (ValueError, SyntaxError, tokenize.TokenError, MemoryError, struct.error)  # of numpy, on wrong headers


# npz -----------------------------------------------------------------------------------------------------


def read_npz(path: Path | str, required: Sequence[str] = (), optional: Sequence[str] | None = None) -> Arrays:
    """Read the arrays of an npz file.

    Parameters
    ----------
    required : keys that must be there
    optional : keys that are read where they are there; None reads all

    Raises
    ------
    InputError : no file, not an npz, damaged, a key is missing, or an array needs a pickle
    """
    path = require_file(path)
    try:
        with path.open("rb") as stream, np.lib.npyio.NpzFile(stream, allow_pickle=False) as archive:
            missing = [key for key in required if key not in archive.files]
            if missing:
                raise InputError(
                    f"{path}: {', '.join(missing)} missing; the file holds {', '.join(sorted(archive.files))}"
                )
            wanted = archive.files if optional is None else {*required, *optional}
            return {key: _member(path, archive, key) for key in archive.files if key in wanted}
    except ZIP_ERRORS as error:
        raise InputError(
            f"{path}: damaged, or not an npz file ({error}); expected a zip of arrays as numpy.savez writes it"
        ) from error


@dataclass(frozen=True)
class Member:
    """An array of an npz file as its header describes it; ``offset`` of its first byte, None where compressed."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    offset: int | None


def npz_members(path: Path | str) -> dict[str, Member]:
    """Return what the headers of an npz file say of its arrays: fast, whatever the size.

    Raises
    ------
    InputError : no file, not an npz, or damaged
    """
    path = require_file(path)
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            return {info.filename.removesuffix(".npy"): _header(archive, info, stream) for info in archive.infolist()}
    except (*ZIP_ERRORS, *HEADER_ERRORS) as error:
        raise InputError(
            f"{path}: damaged, or not an npz file ({error}); expected a zip of arrays as numpy.savez writes it"
        ) from error


def _header(archive: zipfile.ZipFile, info: zipfile.ZipInfo, stream: IO[bytes]) -> Member:
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(member)
        header_bytes = member.tell()
    if info.compress_type != zipfile.ZIP_STORED:
        return Member(shape, dtype, fortran_order, None)
    stream.seek(info.header_offset + 26)  # the lengths of name and extra field, which come before the content
    name, extra = struct.unpack("<HH", stream.read(4))
    return Member(shape, dtype, fortran_order, info.header_offset + 30 + name + extra + header_bytes)


def npz_rows(path: Path | str, key: str) -> npt.NDArray[Any] | Rows:
    """Return an array of an npz file whose rows are read when they are indexed; in memory where it is compressed."""
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

    return Rows(member.shape, dtype, read)


def _member(path: Path, archive: Any, key: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(archive[key])
    except HEADER_ERRORS as error:
        if "pickle" in str(error):
            raise InputError(
                f"{path}: {key} is a pickled object array, which could run code and is never loaded; "
                "save it again as a plain numeric array"
            ) from error
        raise InputError(f"{path}: {key} cannot be read ({error}); make the file again") from error


def read_npy(path: Path | str) -> npt.NDArray[Any]:
    """Read one array from a npy file; an object array is refused."""
    path = require_file(path)
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, EOFError, *HEADER_ERRORS) as error:
        raise InputError(f"{path}: not a npy file of numbers ({error}); make it again") from error


def write_npz(path: Path | str, arrays: Mapping[str, Any]) -> None:
    """Write arrays to an npz file, whole or not at all; :class:`Rows` are made and written in chunks."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for key, value in arrays.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as stream:
                if isinstance(value, Rows):
                    _write_rows(stream, value, f"{Path(path).name}: {key}")
                else:
                    np.lib.format.write_array(stream, np.asarray(value), allow_pickle=False)


def _write_rows(stream: IO[bytes], rows: Rows, what: str) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False, "shape": rows.shape}
    np.lib.format.write_array_header_1_0(stream, header)
    for part in in_chunks(rows.__getitem__, len(rows), what):
        stream.write(np.ascontiguousarray(part, rows.dtype).data)


@contextlib.contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Put the file's name before the message of an :class:`InputError` raised within."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_reconstruction(path: Path | str) -> Reconstruction:
    """Read ``objectGuess``, ``probeGuess``, ``xcoords``, ``ycoords`` (and ``metadata``) as complex64, float64.

    The object is brought to level 1 and mean phase 0, see :mod:`ptycho.data.level`.
    """
    arrays = read_npz(path, ("objectGuess", "probeGuess", "xcoords", "ycoords"), ("metadata",))
    with naming(path):
        read = Reconstruction(
            object=_complex(arrays, "objectGuess"),
            probe=_complex(arrays, "probeGuess"),
            **_positions(arrays),
            metadata=metadata_of(arrays),
        )
        arrays, metadata = normalized({**arrays, **_positions(arrays)}, read.metadata)
        return replace(
            read, object=_complex(arrays, "objectGuess"), probe=_complex(arrays, "probeGuess"), metadata=metadata
        )


def _cast(array: Any, key: str, kinds: str, dtype: Any) -> Any:
    """Return an array, or the rows of one, as ``dtype``; InputError where it is of no such kind."""
    require_numbers(array, key, kinds)
    if array.dtype == dtype:
        return array
    if isinstance(array, Rows):
        return Rows(array.shape, np.dtype(dtype), lambda numbers: array[numbers].astype(dtype))
    return array.astype(dtype)


def _checked(path: Path | str, array: Any, key: str, kinds: str, dtype: Any) -> Rows:
    """Return the rows of an array as ``dtype``, refused as they are read where they are not finite, or negative."""
    typed = _cast(array, key, kinds, dtype)

    def rows(numbers: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        part = typed[numbers]
        if not np.isfinite(part).all():
            raise InputError(f"{path}: {key} holds NaN or infinite values: make the file again")
        if kinds != "c" and part.size and part.min() < 0:
            raise InputError(f"{path}: {key} holds negative values: amplitudes are expected")
        return part

    return Rows(typed.shape, np.dtype(dtype), rows)


def require_sound(path: Path | str) -> None:
    """Read an npz file through and compare its checksums; InputError where one does not fit."""
    try:
        with zipfile.ZipFile(require_file(path)) as archive:
            wrong = archive.testzip()
    except ZIP_ERRORS as error:
        raise InputError(f"{path}: damaged, or not an npz file ({error}); make or copy it again") from error
    if wrong is not None:
        raise InputError(f"{path}: {wrong} is damaged: its checksum does not fit; make or copy the file again")


def _complex(arrays: Arrays, key: str) -> Any:
    return _cast(arrays[key], key, "c", np.complex64)


def _positions(arrays: Arrays) -> dict[str, Any]:
    return {key: _cast(arrays[key], key, "biuf", np.float64) for key in ("xcoords", "ycoords")}


def write_reconstruction(path: Path | str, reconstruction: Reconstruction) -> None:
    """Write a :class:`Reconstruction` under the names :func:`read_reconstruction` reads."""
    write_npz(
        path,
        {
            "objectGuess": reconstruction.object,
            "probeGuess": reconstruction.probe,
            "xcoords": reconstruction.xcoords,
            "ycoords": reconstruction.ycoords,
            "metadata": json.dumps(plain(reconstruction.metadata)),
        },
    )


def is_dataset(path: Path | str) -> bool:
    """Tell whether a file says of itself that it keeps the study's conventions, as :func:`write_dataset` notes."""
    if not zipfile.is_zipfile(require_file(path)) or "metadata" not in npz_members(path):
        return False
    with naming(path):
        return metadata_of(read_npz(path, ("metadata",), ())).get("format") == FORMAT


def open_dataset(path: Path | str) -> Dataset:
    """Read a dataset npz in the study's conventions; its patterns and windows are read when they are indexed.

    ``objectGuess``, ``Y``, ``scan_index``, ``bad_pixels`` and ``metadata`` may be missing.

    Raises
    ------
    InputError : as :func:`read_npz`; shapes, types or positions that do not fit each other
    """
    small = ("xcoords", "ycoords", "probeGuess", "objectGuess", "scan_index", "bad_pixels", "metadata")
    present = npz_members(path)
    if "diffraction" not in present:
        raise InputError(f"{path}: diffraction missing; the file holds {', '.join(sorted(present))}")
    arrays = read_npz(path, ("xcoords", "ycoords", "probeGuess"), small)
    with naming(path):
        metadata = metadata_of(arrays)
        metadata.pop("format", None)  # of the file, not of what it holds
        return Dataset(
            diffraction=_checked(path, npz_rows(path, "diffraction"), "diffraction", "biuf", np.float32),
            **_positions(arrays),
            probe=_complex(arrays, "probeGuess"),
            object=_complex(arrays, "objectGuess") if "objectGuess" in arrays else None,
            patches=_checked(path, npz_rows(path, "Y"), "Y", "c", np.complex64) if "Y" in present else None,
            scan_index=_cast(arrays.get("scan_index", np.arange(arrays["xcoords"].size)), "scan_index", "iu", np.int64),
            metadata=metadata,
            bad_pixels=arrays.get("bad_pixels"),
        )


def read_dataset(path: Path | str) -> Dataset:
    """Read a dataset npz as :func:`open_dataset`, with every pattern in memory."""
    dataset = open_dataset(path)
    with naming(path):
        return dataset.loaded()


def write_dataset(path: Path | str, dataset: Dataset) -> None:
    """Write a :class:`Dataset` under the names :func:`open_dataset` reads; rows not in memory are made in chunks."""
    arrays: dict[str, Any] = {
        "diffraction": dataset.diffraction,
        "xcoords": dataset.xcoords,
        "ycoords": dataset.ycoords,
        "probeGuess": dataset.probe,
        "objectGuess": dataset.object,
        "Y": dataset.patches,
        "scan_index": dataset.scan_index,
        "bad_pixels": dataset.bad_pixels,
        "metadata": json.dumps(plain({"format": FORMAT, **dataset.metadata})),
    }
    write_npz(path, {key: value for key, value in arrays.items() if value is not None})


# JSON and dill -------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return ``value`` in the types that JSON has.

    Arrays of numbers become ``{"dtype", "shape", "base64"}``; numpy scalars become numbers; NaN and
    infinite become None.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in NUMERIC:
            raise TypeError(f"an array of dtype {value.dtype}: only numbers are written as JSON")
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return {"dtype": value.dtype.str, "shape": list(value.shape), "base64": data}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def _arrays_back(content: dict[str, Any]) -> Any:
    if content.keys() != {"dtype", "shape", "base64"}:
        return content
    try:
        dtype = np.dtype(content["dtype"])
        if dtype.kind in NUMERIC:
            return np.frombuffer(base64.b64decode(content["base64"]), dtype).reshape(content["shape"]).copy()
    except (TypeError, ValueError) as error:
        raise InputError(f"a damaged array in JSON ({error}); make it again") from error
    raise InputError(f"an array of dtype {dtype} in JSON, expected numbers")


def read_json(path: Path | str) -> Any:
    """Read a JSON file written by :func:`write_json`, arrays included."""
    return parse_json(read_bytes(path), path)


def parse_json(content: bytes | str, path: Path | str) -> Any:
    """Return JSON content, arrays included; ``path`` is named in errors."""
    try:
        with naming(path):
            return json.loads(content, object_hook=_arrays_back)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); make it again") from error


def write_json(path: Path | str, content: Any) -> None:
    """Write builtin types and numeric arrays as JSON."""
    write_text(path, as_json(content))


def as_json(content: Any) -> str:
    """Return what :func:`write_json` writes."""
    return json.dumps(plain(content), indent=1) + "\n"


def write_text(path: Path | str, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_dill(path: Path | str, content: Any) -> None:
    """Write ``content`` (builtin types and arrays) as dill for other tools, and as JSON beside it for ours."""
    import dill

    path = Path(path)
    write_json(path.with_suffix(".json"), content)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        dill.dump(content, stream)


# tables --------------------------------------------------------------------------------------------------


def read_csv(path: Path | str) -> Any:
    """Read a csv file as a pandas DataFrame."""
    import pandas as pd

    path = require_file(path)
    try:
        return pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())  # pandas ends its lines
        raise InputError(f"{path}: not a csv table ({reason}); make it again") from error


def write_csv(path: Path | str, table: Any) -> None:
    """Write a pandas DataFrame as csv, without its index; NaN is an empty field."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


# bytes --------------------------------------------------------------------------------------------------


def read_bytes(path: Path | str) -> bytes:
    """Read a file whole."""
    return require_file(path).read_bytes()


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
