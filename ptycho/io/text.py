"""JSON, csv and text; dill is written for other tools, never read."""

import base64
import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ptycho.data.metadata import Metadata
from ptycho.errors import InputError
from ptycho.io.files import NUMERIC, error_context, read_bytes, replacing, require_file, write_bytes


def to_jsonable(value: Any) -> Any:
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
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def _arrays_back(content: dict[str, Any]) -> Any:
    if content.keys() != {"dtype", "shape", "base64"}:
        return content
    try:
        dtype = np.dtype(str(content["dtype"]))
        if dtype.kind in NUMERIC:
            data = base64.b64decode(content["base64"], validate=True)
            return np.frombuffer(data, dtype).reshape(content["shape"]).copy()
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"a damaged array in JSON ({error}); make it again") from error
    raise InputError(f"an array of dtype {dtype} in JSON, expected numbers")


def read_json(path: Path | str) -> Any:
    """Read a JSON file written by :func:`write_json`, arrays included; InputError where it is not valid."""
    return parse_json(read_bytes(path), path)


def parse_json(content: bytes | str, path: Path | str) -> Any:
    """Return JSON content, arrays included; InputError, naming ``path``, where it is not valid."""
    try:
        with error_context(path):
            return json.loads(content, object_hook=_arrays_back)
    except (ValueError, RecursionError) as error:  # ValueError also for an integer of thousands of digits
        raise InputError(f"{path}: not valid JSON ({error}); make it again") from error


def write_json(path: Path | str, content: Any) -> None:
    """Write builtin types and numeric arrays as JSON."""
    write_text(path, as_json(content))


def as_json(content: Any) -> str:
    """Return builtin types and numeric arrays as JSON text, as :func:`write_json` writes it."""
    return json.dumps(to_jsonable(content), indent=1) + "\n"


def metadata_json(metadata: Metadata) -> str:
    """Return metadata as the one JSON string that :func:`ptycho.data.metadata.parse_metadata_text` reads."""
    return json.dumps(to_jsonable(metadata.as_mapping()))


def write_text(path: Path | str, text: str) -> None:
    """Write a text file in UTF-8, complete or not at all."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_dill(path: Path | str, content: Any) -> None:
    """Write ``content`` (builtin types and arrays) as dill for other tools, and as JSON beside it for ours."""
    import dill

    path = Path(path)
    write_json(path.with_suffix(".json"), content)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        dill.dump(content, stream)


def read_csv(path: Path | str, text: Sequence[str] = ()) -> Any:
    """Read a csv file as a pandas DataFrame; InputError where it is not a table, or a row or the last line is cut.

    Parameters
    ----------
    text : columns of words, which are kept as they are: ``nan`` and ``2`` may be names. Only an empty field is missing
        then; without any, the words for a missing value that other tools write are missing, too
    """
    import pandas as pd

    path = require_file(path)
    require_whole_rows(path)
    words: dict[str, Any] = {"dtype": dict.fromkeys(text, str), "keep_default_na": False, "na_values": [""]}
    try:
        return pd.read_csv(path, **(words if text else {}))
    except (ValueError, OverflowError) as error:  # also pandas' own
        reason = " ".join(str(error).split())  # pandas ends its lines
        raise InputError(f"{path}: not a csv table ({reason}); make it again") from error


def require_whole_rows(path: Path) -> None:
    """Check what pandas accepts in silence: rows of fewer or more fields than the header, and a file that was cut.

    Raises
    ------
    InputError : such a file, or one that is not text
    """
    try:
        content = read_bytes(path).decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(content, newline="")) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a csv table ({error}); make it again") from error
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise InputError(
                f"{path}: not a csv table (row {number} has {len(row)} fields, the first one {len(rows[0])}); it may "
                "be cut: make or copy it again"
            )
    if rows and len(set(rows[0])) < len(rows[0]):
        raise InputError(f"{path}: not a csv table (a column name stands twice: {','.join(rows[0])}); make it again")
    if not content.endswith(("\n", "\r")):
        raise InputError(
            f"{path}: the last line does not end, so the file may be cut: make or copy it again, or end that line"
        )


def write_csv(path: Path | str, table: Any) -> None:
    """Write a pandas DataFrame as csv, without its index; NaN is an empty field."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)
