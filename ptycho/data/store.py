"""The only reader and writer of files: npz, HDF5, csv, JSON, and dill (written, never read).

Nothing that is read can run code: no pickle, no dill, object arrays refused. Everything is written beside its
target and moved into place when complete, so that an interrupted write leaves what was there before.
"""

import base64
import contextlib
import json
import math
import os
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.errors import InputError

Arrays = dict[str, npt.NDArray[Any]]
NUMERIC = "biufc"  # kinds of numpy dtypes
ZIP_ERRORS = (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, zlib.error)


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place on success and vanishes on failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
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


def require_file(path: Path | str) -> Path:
    """Return ``path``; raise :class:`InputError` where it is not a readable, non-empty file."""
    path = Path(path)
    if not path.is_file():
        found = "a directory" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {found}; check the path")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; make or copy it again")
    return path


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


def npz_shapes(path: Path | str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array of an npz file, from the headers alone: fast, whatever the size."""
    path = require_file(path)
    shapes = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as stream:
                    version = np.lib.format.read_magic(stream)
                    read = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shapes[name.removesuffix(".npy")] = read(stream)[0]
    except (*ZIP_ERRORS, ValueError, SyntaxError, tokenize.TokenError) as error:
        raise InputError(
            f"{path}: damaged, or not an npz file ({error}); expected a zip of arrays as numpy.savez writes it"
        ) from error
    return shapes


def _member(path: Path, archive: Any, key: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(archive[key])
    except (ValueError, MemoryError, SyntaxError, tokenize.TokenError) as error:  # what numpy raises on wrong headers
        if "pickle" in str(error):
            raise InputError(
                f"{path}: {key} is a pickled object array, which could run code and is never loaded; "
                "save it again as a plain numeric array"
            ) from error
        raise InputError(f"{path}: {key} cannot be read ({error}); make the file again") from error


def write_npz(path: Path | str, arrays: Mapping[str, Any], *, compressed: bool = False) -> None:
    """Write arrays to an npz file, whole or not at all."""
    save = np.savez_compressed if compressed else np.savez
    with replacing(path) as temporary, temporary.open("wb") as stream:
        save(stream, allow_pickle=False, **{key: np.asarray(value) for key, value in arrays.items()})


def _metadata(arrays: Mapping[str, npt.NDArray[Any]], path: Path | str) -> dict[str, Any]:
    if "metadata" not in arrays:
        return {}
    try:
        content = json.loads(str(arrays["metadata"]))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: metadata is not a JSON string ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: metadata is a JSON {type(content).__name__}, expected an object")
    return content


@contextlib.contextmanager
def _naming(path: Path | str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _real(arrays: Arrays, key: str, dtype: type[np.floating[Any]]) -> npt.NDArray[Any]:
    if arrays[key].dtype.kind not in "biuf":
        raise InputError(f"{key} is {arrays[key].dtype}, expected real numbers")
    return arrays[key].astype(dtype, copy=False)


def read_reconstruction(path: Path | str) -> Reconstruction:
    """Read ``objectGuess``, ``probeGuess``, ``xcoords``, ``ycoords`` (and ``metadata``) as complex64, float64."""
    arrays = read_npz(path, ("objectGuess", "probeGuess", "xcoords", "ycoords"), ("metadata",))
    metadata = _metadata(arrays, path)
    with _naming(path):
        for key in ("objectGuess", "probeGuess"):
            if not np.iscomplexobj(arrays[key]):
                raise InputError(f"{key} is {arrays[key].dtype}, expected complex: amplitude times exp(i phase)")
        return Reconstruction(
            object=arrays["objectGuess"].astype(np.complex64),
            probe=arrays["probeGuess"].astype(np.complex64),
            xcoords=_real(arrays, "xcoords", np.float64),
            ycoords=_real(arrays, "ycoords", np.float64),
            metadata=metadata,
        )


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


def read_dataset(path: Path | str) -> Dataset:
    """Read a dataset npz as the module :mod:`ptycho.data.dataset` describes it.

    ``objectGuess``, ``Y``, ``scan_index`` and ``metadata`` may be missing.
    """
    required = ("diffraction", "xcoords", "ycoords", "probeGuess")
    arrays = read_npz(path, required, ("objectGuess", "Y", "scan_index", "metadata"))
    metadata = _metadata(arrays, path)
    count = arrays["xcoords"].size
    with _naming(path):
        return Dataset(
            diffraction=_real(arrays, "diffraction", np.float32),
            xcoords=_real(arrays, "xcoords", np.float64),
            ycoords=_real(arrays, "ycoords", np.float64),
            probe=arrays["probeGuess"].astype(np.complex64),
            object=arrays["objectGuess"].astype(np.complex64) if "objectGuess" in arrays else None,
            patches=arrays["Y"].astype(np.complex64, copy=False) if "Y" in arrays else None,
            scan_index=arrays.get("scan_index", np.arange(count)).astype(np.int64),
            metadata=metadata,
        )


def write_dataset(path: Path | str, dataset: Dataset) -> None:
    """Write a :class:`Dataset` under the names :func:`read_dataset` reads."""
    arrays: dict[str, Any] = {
        "diffraction": dataset.diffraction,
        "xcoords": dataset.xcoords,
        "ycoords": dataset.ycoords,
        "probeGuess": dataset.probe,
        "scan_index": dataset.scan_index,
        "metadata": json.dumps(plain(dataset.metadata)),
    }
    if dataset.object is not None:
        arrays["objectGuess"] = dataset.object
    if dataset.patches is not None:
        arrays["Y"] = dataset.patches
    write_npz(path, arrays)


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
        with _naming(path):
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
