"""The kind of a file that is not what was expected, by its first bytes."""

import contextlib
import zipfile
from pathlib import Path

UNPACK = "unpack it first"
CONVERT = "convert it to npz with numpy.savez"
NO_PICKLE = "it could run code and is never loaded: save its arrays with numpy.savez"
SIGNATURES = (  # first bytes, kind, what to do
    (b"BZh", "a bzip2 archive", UNPACK),
    (b"\x1f\x8b", "a gzip archive", UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"\x93NUMPY", "a npy file, one array without a name", "put all arrays together into an npz with numpy.savez"),
    (b"MATLAB 5.0 MAT-file", "a MATLAB 5 file", "convert it to npz: scipy.io.loadmat, then numpy.savez"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "convert it with convert_dataset.py, or copy it again if it is damaged"),
    (b"II*\x00", "a TIFF image", CONVERT),
    (b"MM\x00*", "a TIFF image", CONVERT),
    (b"\x89PNG", "a PNG image", CONVERT),
    (b"SIMPLE  =", "a FITS file", CONVERT),
    (b"CDF", "a netCDF 3 file", CONVERT),
    *((b"\x80" + bytes([protocol]), "a pickle", NO_PICKLE) for protocol in range(2, 6)),
    (b"PK", "a damaged zip (npz) file", "copy or make it again"),
)
TAR_OFFSET, TAR = 257, b"ustar"


def known_kind(path: Path) -> str | None:
    """Return what a file is and what to do with it, in words, or None where its first bytes tell nothing.

    Raises
    ------
    OSError : the file cannot be read
    """
    with path.open("rb") as stream:
        start = stream.read(TAR_OFFSET + len(TAR))
    if start[TAR_OFFSET:] == TAR:
        return f"a tar archive: {UNPACK}"
    return next((f"{kind}: {remedy}" for magic, kind, remedy in SIGNATURES if start.startswith(magic)), None)


def what_instead(path: Path, error: Exception) -> str:
    """Return what a file is that was not read as npz, or the error of reading where it is one, or unknown."""
    with contextlib.suppress(OSError):
        if not zipfile.is_zipfile(path):
            return known_kind(path) or str(error)
    return str(error)
