"""Plain arrays in HDF5 files: links to other files are not followed, no code is run."""

import contextlib
import importlib
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.errors import InputError
from ptycho.io.conventions import Arrays, plain_array
from ptycho.io.files import MAX_MEMBER_BYTES, NUMERIC, append_checksum, replacing, verify_checksum
from ptycho.io.files import require_memory as require_memory
from ptycho.io.signatures import known_kind


def unpack_h5(content: bytes, path: Path | str) -> tuple[Arrays, dict[str, str]]:
    """Return the numeric datasets (by name) and the text attributes of an HDF5 file; links are not followed.

    Parameters
    ----------
    content : the bytes of the file
    path : named in errors

    Raises
    ------
    InputError : damaged, too large, or datasets that are not plain numbers
    """
    import h5py

    arrays: Arrays = {}

    def collect(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            if node.dtype.kind not in NUMERIC or node.external or node.is_virtual:
                raise InputError(f"{path}: {name} is not a plain numeric dataset; it is not read")
            if node.nbytes > MAX_MEMBER_BYTES:
                raise InputError(f"{path}: {name} is larger than {MAX_MEMBER_BYTES >> 30} GiB; it is not read")
            require_memory(path, name, node.nbytes, node.id.get_storage_size())
            arrays[name] = node[()]

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            file.visititems(collect)  # visits no soft or external link
            return arrays, {key: str(value) for key, value in file.attrs.items()}
    except InputError:
        raise
    except HDF5_ERRORS as error:
        raise InputError(f"{path}: not an HDF5 file, or damaged ({one_line(error)}); make it again") from error


def pack_h5(arrays: Mapping[str, npt.NDArray[Any]], attributes: Mapping[str, str]) -> bytes:
    """Return an HDF5 file of arrays under their names, and text attributes on its root."""
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
        file.attrs.update(attributes)
    return stream.getvalue()


UNIT_ATTRIBUTES = ("units", "Units", "unit")
OPEN_ELSEWHERE = ("unable to lock file", "already open for write")  # in errors of HDF5
HDF5_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError)


def is_hdf5(path: Path) -> bool:
    """Tell HDF5 from a zip (npz); InputError, which names other kinds of files, where a file is neither."""
    import h5py

    if zipfile.is_zipfile(path):
        return False
    if h5py.is_hdf5(path):
        return True
    found = known_kind(path) or "damaged, or of an unknown kind: make it again"
    raise InputError(f"{path}: expected npz (a zip of arrays) or HDF5, found {found}")


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Yield an open h5py file; errors of h5py within become InputError, as does a file that another program writes."""
    import h5py

    with contextlib.suppress(ImportError):
        importlib.import_module("hdf5plugin")  # registers the compression filters of detectors
    verify_checksum(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except HDF5_ERRORS as error:
        if any(words in str(error) for words in OPEN_ELSEWHERE):
            raise InputError(
                f"{path}: open for writing in another program, or that program did not close it: close it there, or "
                "copy the file and use the copy"
            ) from error
        raise InputError(f"{path}: not an HDF5 file, or damaged ({one_line(error)}); make it again") from error


def hdf5_arrays(path: Path, file: Any, there: Mapping[str, str], wanted: Iterable[str]) -> Arrays:
    """Return the datasets and attributes of an open file that are present, by name.

    Parameters
    ----------
    path : named in errors
    there : paths of datasets, without links, by their names, from :func:`ptycho.io.hdf5_links.locate`
    wanted : names; ``name@attribute`` is an attribute, ``@attribute`` one of the root

    Raises
    ------
    InputError : empty, of another type than numbers or text, too large, or compressed by an unknown filter
    """
    arrays = {}
    for key in wanted:
        name, _, attribute = key.partition("@")
        if name and name not in there:
            continue
        node = file[there[name]] if name else file
        if not attribute and not _in_heap(node):
            arrays[key] = plain_array(decoded(_hdf5_array(path, name, node)))
        elif attribute in node.attrs and _is_plain(node.attrs.get_id(attribute), attribute):
            arrays[key] = decoded(np.asarray(node.attrs[attribute]))
    return arrays


def _in_heap(node: Any) -> bool:
    """Tell whether values are of variable length, stored in a heap, as texts are; a damaged heap hangs HDF5 1.14."""
    return node.dtype.kind == "O"


def _is_plain(node: Any, attribute: str) -> bool:
    """Tell whether an attribute is numbers or text of fixed length; units may be text of variable length."""
    import h5py

    if _in_heap(node):
        return attribute in UNIT_ATTRIBUTES and h5py.check_string_dtype(node.dtype) is not None
    return node.shape is not None and node.dtype.kind in f"{NUMERIC}S"


def _hdf5_array(path: Path, name: str, node: Any) -> npt.NDArray[Any]:
    if node.shape is None:
        raise InputError(f"{path}: {name} is empty; make the file again")
    if node.dtype.kind not in f"{NUMERIC}S":
        raise InputError(f"{path}: {name} is {node.dtype}, expected numbers or text; it is not read")
    require_memory(path, name, node.size * node.dtype.itemsize, node.id.get_storage_size())
    _require_filters(path, name, node)
    return np.asarray(node[()])


def decoded(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array of bytes as text; other arrays unchanged."""
    return np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array


def _require_filters(path: Path, name: str, node: Any) -> None:
    import h5py

    pipeline = node.id.get_create_plist()
    for index in range(pipeline.get_nfilters()):
        code, _, _, label = pipeline.get_filter(index)
        if not h5py.h5z.filter_avail(code):
            raise InputError(
                f"{path}: {name} is compressed by filter {code} ({label.decode('ascii', 'replace')}), which h5py "
                "alone cannot decompress: install the extra: pip install .[hdf5]"
            )


@contextlib.contextmanager
def writing_hdf5(path: Path | str) -> Iterator[Any]:
    """Yield an HDF5 file that replaces ``path`` when it is complete, with a checksum behind it.

    HDF5 has none of its own. Programs that read the file ignore it; those that change the file remove it.
    """
    import h5py

    with replacing(path) as temporary:
        with h5py.File(temporary, "w") as file:
            yield file
        append_checksum(temporary)


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line."""
    return " ".join(str(error).split())
