"""Checksums of the files that a study is computed from: a file that was replaced is noticed whatever its time stamp.

Snakemake compares time stamps; an input replaced by an older file, or during a run, looks unchanged to it. The record
``inputs.json`` keeps, for each input, the checksum of the content that the study was first computed from.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ptycho.errors import InputError
from ptycho.io import files
from ptycho.io.text import read_json, write_json

FORMAT = 1


def _stat(path: str) -> list[int]:
    """Return size, modification and change time of a file, ns: equal values mean that it was not written since."""
    found = os.stat(path)
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


class InputRecord:
    """The record of a study's inputs: read once, then asked and updated.

    Parameters
    ----------
    path : of ``inputs.json``; it may not exist yet

    Raises
    ------
    InputError : the file is not such a record
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, dict[str, Any]] = {}
        self._known: dict[str, str] = {}  # checksums of this process
        self._used: list[str] = []  # inputs of this run
        if path.exists():
            found = read_json(path)
            entries = found.get("files") if isinstance(found, dict) and found.get("format") == FORMAT else None
            if not isinstance(entries, dict) or not all(map(_is_entry, entries.values())):
                raise InputError(f"{path}: not a record of the inputs of a study: delete it")
            self._files = entries

    def checksum(self, name: str) -> str:
        """Return the SHA-256 of an input; it is computed only where size or times differ from the recorded ones."""
        entry = self._files.get(name)
        if entry is not None and entry["stat"] == _stat(name):
            return str(entry["sha256"])
        if name not in self._known:
            self._known[name] = files.sha256(name)
        return self._known[name]

    def replaced(self, names: Iterable[str | None]) -> list[str]:
        """Return "name checksum" of the inputs whose content differs from that of the study's first run, sorted."""
        known = sorted({name for name in names if name and name in self._files and os.path.isfile(name)})
        return [f"{name} {self.checksum(name)}" for name in known if self.checksum(name) != self._files[name]["first"]]

    def update(self, names: Iterable[str | None]) -> None:
        """Record the inputs of a run that starts now; the checksum of the first content of each is kept."""
        present = sorted({name for name in names if name and os.path.isfile(name)})
        entries = dict(self._files)
        for name in present:
            stat, sha256 = _stat(name), self.checksum(name)
            first = self._files.get(name, {}).get("first", sha256)
            entries[name] = {"first": first, "sha256": sha256, "stat": stat}
        if entries != self._files:
            write_json(self.path, {"format": FORMAT, "files": entries})
        self._files, self._used = entries, present

    def changed_since_update(self) -> list[str]:
        """Return the inputs whose content is no longer that of :meth:`update`, at the start of the run."""
        changed = []
        for name in self._used:
            entry = self._files[name]
            if not os.path.isfile(name) or (_stat(name) != entry["stat"] and files.sha256(name) != entry["sha256"]):
                changed.append(name)
        return changed


def _is_entry(entry: Any) -> bool:
    """Return whether a value is the entry of an input."""
    texts = isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("first", "sha256"))
    return texts and isinstance(entry.get("stat"), list)
