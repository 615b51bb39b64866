"""A finished study as one archive: a zip that is a Research Object Crate, with the SHA-256 of every file.

Sources: S. Soiland-Reyes et al., Data Science 5, 97 (2022); RO-Crate 1.1, https://w3id.org/ro/crate/1.1; the profile
Process Run Crate 0.5, https://w3id.org/ro/wfrun/process/0.5.
"""

import hashlib
import json
import mimetypes
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

from ptycho import __version__
from ptycho.errors import InputError
from ptycho.io import files, text
from ptycho.results import layout
from ptycho.study import directories

METADATA = "ro-crate-metadata.json"
LEFT_OUT = (  # data, which can be simulated again; files of a running study; pickles, of which there are JSON copies
    "datasets/*", layout.LOCK, "*/.training.lock", "*/checkpoint-*.h5", "*.dill",
)  # fmt: skip
CONFORMS = "https://w3id.org/ro/crate/1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
CONTEXT = [f"{CONFORMS}/context", {"sha256": "https://schema.org/sha256"}]
PACKED = {".png", ".pdf", ".npz", ".zip", ".h5"}  # not compressed once more
CHUNK = 1 << 20
MEANINGS = {
    layout.SUMMARY: "findings, generated from the numbers",
    layout.RESULTS: "median and range of every metric for each model and size",
    layout.ALL_TRIALS: "metrics of every trial",
    layout.STATISTICS: "paired differences between the models with confidence intervals",
    layout.SCALING_LAW: "fits of the error against the number of training images",
    layout.TIMES: "training and inference times",
    layout.COSTS: "time and memory of every job",
    layout.STUDY_CONFIG: "the resolved configuration",
    layout.STUDY_LOG: "all logs in order of time",
    layout.INPUTS: "checksums of the files that the study was computed from",
}


def members(study_dir: Path, left_out: Iterable[str] = LEFT_OUT) -> list[str]:
    """Return the files of a study to archive, relative, sorted; ``left_out`` are patterns of relative names.

    Raises
    ------
    InputError : a link, which an archive cannot hold, or a name that is not UTF-8
    """
    patterns, names = list(left_out), []
    for path in sorted(study_dir.rglob("*")):
        name = path.relative_to(study_dir).as_posix()
        if name == METADATA or any(fnmatch(name, pattern) for pattern in patterns):
            continue
        if path.is_symlink() or not name.isprintable():
            raise InputError(
                f"{study_dir}: {name!r} is a link or has an odd name: put a copy in its place, or leave it out"
            )
        if path.is_file():
            names.append(name)
    return names


def _require_finished(study_dir: Path) -> None:
    """Raise InputError where there is no finished study of this project, or a run is writing to it."""
    for name in (layout.SUMMARY, layout.STUDY_CONFIG):
        if not (study_dir / name).is_file():
            raise InputError(
                f"{study_dir}: no {name} there: name the output_dir of a finished study (of an analysis of an existing "
                "study, the study itself)"
            )
    directories.require_no_run(study_dir)


def write(study_dir: Path, output: Path, license_url: str, left_out: Iterable[str] = LEFT_OUT) -> list[str]:
    """Write a study as an archive, complete or not at all.

    Parameters
    ----------
    study_dir : of a finished study
    output : zip file
    license_url : of the archive, its URL or a sentence
    left_out : see :func:`members`

    Returns
    -------
    list : names of the archived files

    Raises
    ------
    InputError : no finished study there, a run that writes to it, or see :func:`members`
    """
    _require_finished(study_dir)
    names = members(study_dir, left_out)
    entities = []
    with files.replacing(output) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in names:
            entities.append(_added(archive, study_dir / name, name))
        metadata = {"@context": CONTEXT, "@graph": [*_root(study_dir, license_url, names), *entities]}
        archive.writestr(zipfile.ZipInfo(METADATA), json.dumps(metadata, indent=1), zipfile.ZIP_DEFLATED)
    return names


def _added(archive: zipfile.ZipFile, path: Path, name: str) -> dict[str, Any]:
    """Add a file to an archive, read once, and return its entity."""
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_STORED if path.suffix in PACKED else zipfile.ZIP_DEFLATED
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            target.write(chunk)
    entity = {
        "@id": quote(name), "@type": "File", "name": path.name, "contentSize": str(size), "sha256": digest.hexdigest(),
        "encodingFormat": mimetypes.guess_type(name)[0] or "application/octet-stream",
    }  # fmt: skip
    return entity | ({"description": MEANINGS[name]} if name in MEANINGS else {})


def _root(study_dir: Path, license_url: str, names: list[str]) -> list[dict[str, Any]]:
    """Return the entities of the archive itself, of what it was computed from and by which software."""
    ended = datetime.fromtimestamp((study_dir / layout.SUMMARY).stat().st_mtime, UTC).isoformat(timespec="seconds")
    inputs = study_dir / layout.INPUTS
    found = text.read_json(inputs) if inputs.is_file() else {}
    record = found.get("files") if isinstance(found, dict) else None
    record = {name: one for name, one in record.items() if isinstance(one, dict)} if isinstance(record, dict) else {}
    sources = [
        {
            "@id": f"#input-{number}",
            "@type": "CreativeWork",
            "name": Path(name).name,
            "sha256": str(entry.get("sha256")),
        }
        for number, (name, entry) in enumerate(sorted(record.items()), start=1)
    ]
    root = {
        "@id": "./", "@type": "Dataset", "name": f"PtychoPINN generalization study {study_dir.resolve().name}",
        "description": "Comparison of PtychoPINN and a supervised baseline against the number of training images: "
        f"configuration, trained models, metrics of every trial, tables and figures; findings in {layout.SUMMARY}",
        "datePublished": ended, "license": license_url, "conformsTo": {"@id": PROFILE},
        "hasPart": [{"@id": quote(name)} for name in names], "mentions": [{"@id": "#computation"}],
    }  # fmt: skip
    computation = {
        "@id": "#computation", "@type": "CreateAction", "name": "computation of the study", "endTime": ended,
        "instrument": {"@id": "#ptycho"}, "object": [{"@id": source["@id"]} for source in sources],
        "result": [{"@id": name} for name in names if name == layout.SUMMARY],
    }  # fmt: skip
    software = {"@id": "#ptycho", "@type": "SoftwareApplication", "name": "ptycho", "version": __version__}
    descriptor = {
        "@id": METADATA, "@type": "CreativeWork", "conformsTo": {"@id": CONFORMS}, "about": {"@id": "./"},
    }  # fmt: skip
    return [descriptor, root, {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
            computation, software, *sources]  # fmt: skip


def extract(archive_path: Path, directory: Path) -> list[str]:
    """Write the files of an archive below a directory, each after its checksum was verified, and return their names.

    Raises
    ------
    InputError : not such an archive, or damaged: a member that differs from its checksum, is missing, unknown, too
        large, or would be written elsewhere
    """
    path = files.require_file(archive_path)
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(path) as archive:
            known = _checksums(archive, path)
            size, free = sum(info.file_size for info in archive.infolist()), shutil.disk_usage(directory).free
            if size > free:
                raise InputError(f"{path}: {size / 1e9:.1f} GB, but {directory} has {free / 1e9:.1f} GB left")
            for info in archive.infolist():
                if info.filename in known:
                    _write_verified(archive, info, known[info.filename], directory, path)
    except files.ZIP_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of the archive
            raise
        raise InputError(f"{path}: not a zip file, or damaged ({error}); copy it again") from error
    return sorted(known)


def _checksums(archive: zipfile.ZipFile, path: Path) -> dict[str, str]:
    """Return the SHA-256 of each member; InputError where members and metadata do not agree."""
    found = [info.filename for info in archive.infolist()]
    if METADATA not in found:
        raise InputError(f"{path}: no {METADATA} in it: expected an archive by archive_study.py")
    info = archive.getinfo(METADATA)
    files.require_memory(path, METADATA, info.file_size, info.compress_size)
    metadata = text.parse_json(archive.read(METADATA), path)
    graph = metadata.get("@graph") if isinstance(metadata, dict) else None
    known = {unquote(str(name)): str(checksum) for name, checksum in _files(graph)}
    odd = sorted({METADATA, *known} ^ set(found)) + sorted(name for name in set(found) if found.count(name) > 1)
    if odd:
        raise InputError(
            f"{path}: {len(odd)} members and {METADATA} do not agree, e.g. {odd[0]}: the archive was changed; copy "
            "it again"
        )
    return known


def _files(graph: Any) -> Iterator[tuple[Any, Any]]:
    for entity in graph if isinstance(graph, list) else []:
        if isinstance(entity, dict) and entity.get("@type") == "File":
            yield entity.get("@id"), entity.get("sha256")


def _write_verified(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, expected: str, directory: Path, path: Path
) -> None:
    """Write a member below a directory; InputError where it leads elsewhere, is too large or not as its checksum."""
    name = PurePosixPath(info.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in info.filename or info.is_dir():
        raise InputError(f"{path}: member {info.filename!r:.100} is no file of a study: the archive was changed")
    if info.file_size > files.MAX_MEMBER_BYTES:
        raise InputError(f"{path}: {name} is larger than {files.MAX_MEMBER_BYTES >> 30} GiB; it is not unpacked")
    target = directory / name
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with archive.open(info) as source, target.open("wb") as stream:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            stream.write(chunk)
    if digest.hexdigest() != expected:
        raise InputError(f"{path}: {name} does not match its checksum: the archive is damaged; copy it again")
