"""Directories that a run writes to: checked before it starts, and locked while it lasts."""

import datetime
import fcntl
import logging
import os
import platform
from collections.abc import Collection
from pathlib import Path
from typing import IO

from ptycho.config.schema import StudyConfig
from ptycho.errors import InputError
from ptycho.results import layout

logger = logging.getLogger(__name__)


def results_dir(study: StudyConfig) -> str:
    """Return the directory of the tables, plots and summary: of the study, or of the analysis of an existing one."""
    if study.existing:
        return (study.analysis_dir or f"{study.existing}/analysis").rstrip("/") or "/"
    return study.output_dir.rstrip("/") or "/"


def check_directories(study: StudyConfig) -> None:
    """Check the directories that a study writes to, as far as it is possible without writing.

    Raises
    ------
    InputError : a directory is, or lies below, a file; or an analysis would overwrite the tables of its study
    """
    for key in ("analysis_dir",) if study.existing else ("output_dir", "datasets_dir"):
        value = getattr(study, key)
        for path in [] if value is None else [Path(value), *Path(value).parents]:
            if path.is_dir():
                break
            if path.exists() or path.is_symlink():
                found = "a file" if path.exists() else "a link to nothing"
                raise InputError(f"{key} is {value}: {path} is {found}, expected a directory: choose another {key}")
    if study.existing and Path(results_dir(study)).resolve() == Path(study.existing).resolve():
        raise InputError(
            f"analysis_dir is {study.analysis_dir}, the existing study itself, whose tables would be overwritten: "
            "choose another directory"
        )


_held: list[IO[str]] = []  # the locks of this process, held until it ends


def lock_results(study: StudyConfig) -> None:
    """Lock the directory that a run writes to until this process ends, however it ends.

    Raises
    ------
    InputError : another run writes to the directory, or it cannot be written to
    """
    directory = results_dir(study)
    key = "analysis_dir" if study.existing else "output_dir"
    lock = _lock(Path(directory), key)
    if isinstance(lock, str):
        raise InputError(
            f"{key} is {directory}: another run writes there ({lock}): wait until it has ended, stop it, or choose "
            f"another {key}"
        )
    _held.append(lock)


def lock_datasets(study: StudyConfig, prepared: Collection[str]) -> None:
    """Lock shared prepared data until this process ends, so that two studies do not prepare them at the same time.

    A study whose data are complete needs no lock, and takes it only if no other run has it.

    Parameters
    ----------
    prepared : files of the prepared data that the study uses, of one directory

    Raises
    ------
    InputError : the data are incomplete, and another run is preparing them or they cannot be written
    """
    if study.datasets_dir is None or not prepared:
        return
    missing = [path for path in sorted(prepared) if not os.path.exists(path)]
    try:
        lock = _lock(Path(min(prepared)).parent, "datasets_dir")
    except InputError:
        if missing:
            raise
        return  # datasets that may only be read
    if not isinstance(lock, str):
        _held.append(lock)
    elif missing:
        raise InputError(
            f"datasets_dir is {study.datasets_dir}: another run prepares these data ({lock}): start this one when "
            f"{missing[0]} exists"
        )


def _lock(directory: Path, key: str) -> IO[str] | str:
    """Return a locked file in ``directory``, which is created, or a description of the process that has the lock.

    The kernel releases the lock when its process ends. Where the file system has no locks, the run is not protected;
    this is logged.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / layout.LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{key} is {directory}: {error.strerror}: it cannot be written to; choose another {key}"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read(200).strip()
        lock.close()
        return holder or "unknown process"
    except OSError as error:
        logger.warning("%s: no lock (%s): do not start a second run there", directory, error.strerror)
        return lock
    try:
        lock.truncate(0)
        started = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
        lock.write(f"process {os.getpid()} on {platform.node()} since {started}\n")
        lock.flush()
    except OSError as error:
        lock.close()
        raise InputError(f"{key} is {directory}: {error.strerror}: it cannot be written to") from error
    return lock


def require_no_run(study_dir: Path) -> None:
    """Raise InputError where a run is writing to a study."""
    lock = study_dir / layout.LOCK
    if lock.exists():
        with lock.open() as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{study_dir}: a run is writing there: wait until it has ended") from None
            except OSError as error:
                logger.warning("%s: no lock (%s): make sure that no run writes there", study_dir, error.strerror)
