"""Containers of models: HDF5 for arrays, zip for several files. Neither can make a reader run code."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ptycho.data.store import NUMERIC, ZIP_ERRORS, Arrays, replacing, require_file
from ptycho.errors import InputError

MAX_MEMBER_BYTES = 4 << 30  # a zip member or HDF5 dataset that claims to be larger is not unpacked


def unpack_h5(content: bytes, path: Path | str) -> tuple[Arrays, dict[str, str]]:
    """Return the numeric datasets (by name) and the text attributes of an HDF5 file, links never followed.

    Parameters
    ----------
    path : named in errors
    """
    import h5py

    arrays: Arrays = {}

    def collect(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            if node.dtype.kind not in NUMERIC or node.external or node.is_virtual:
                raise InputError(f"{path}: {name} is not a plain numeric dataset; it is not read")
            if node.nbytes > MAX_MEMBER_BYTES:
                raise InputError(f"{path}: {name} is larger than {MAX_MEMBER_BYTES >> 30} GiB; it is not read")
            arrays[name] = node[()]

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            file.visititems(collect)  # visits no soft or external link
            return arrays, {key: str(value) for key, value in file.attrs.items()}
    except InputError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: not an HDF5 file, or damaged ({error}); make it again") from error


def pack_h5(arrays: Mapping[str, npt.NDArray[Any]], attributes: Mapping[str, str]) -> bytes:
    """Return an HDF5 file of arrays under their names, and text attributes on its root."""
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
        file.attrs.update(attributes)
    return stream.getvalue()


def read_zip(path: Path | str, members: Sequence[str]) -> dict[str, bytes]:
    """Read the named members of a zip file; any other member, or one missing, is an error."""
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
    """Write a zip file, whole or not at all, with the same bytes for the same content."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
