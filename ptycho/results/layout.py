"""Where a study keeps its files: this project's layout, the guide's, and those of others.

Directories of a size are ``train_512`` or ``train_subsample_512_groups_512`` (512 images; the groups are those of a
gridsize). Metrics lie in ``trial_{n}`` within, or in the directory itself.
"""

import re
from pathlib import Path

from ptycho.errors import InputError

FILE = "comparison_metrics.csv"
SIZE_DIR = re.compile(r"train_(?:subsample_)?(\d+)(?:_groups_\d+)?")


def size_dirs(study_dir: Path | str) -> dict[int, Path]:
    """Return the directories of a study by number of training images, in order.

    Raises
    ------
    InputError : two of them are of one size
    """
    found: dict[int, Path] = {}
    for path in sorted(Path(study_dir).glob("train_*")):
        match = SIZE_DIR.fullmatch(path.name)
        if match and path.is_dir():
            size = int(match[1])
            if size in found:
                raise InputError(
                    f"{study_dir}: {found[size].name} and {path.name} are both of {size} images: move one elsewhere"
                )
            found[size] = path
    return dict(sorted(found.items()))


def branches(study_dir: Path | str) -> dict[str, Path]:
    """Return the directories that hold sizes: of the study itself, under no name, and of its variants."""
    study_dir = Path(study_dir)
    return {"": study_dir} | {path.name: path for path in sorted(study_dir.glob("variants/*")) if path.is_dir()}


def trial_dirs(directory: Path) -> dict[int, Path]:
    """Return the directories ``trial_{trial}`` of a size by trial, in order."""
    found: dict[int, Path] = {}
    for path in sorted(directory.glob("trial_*")):
        match = re.fullmatch(r"trial_(\d+)", path.name)
        if match and path.is_dir():
            number = int(match[1])
            if number in found:
                raise InputError(f"{directory}: {found[number].name} and {path.name} are one trial: move one elsewhere")
            found[number] = path
    return dict(sorted(found.items()))


def metric_files(study_dir: Path | str) -> dict[tuple[int, int | None], Path]:
    """Return every ``comparison_metrics.csv`` by (size, trial); trial None where the file names it, or there is one.

    A size is read from the directories of its trials; where it has none, from its own.
    """
    files: dict[tuple[int, int | None], Path] = {}
    for size, directory in size_dirs(study_dir).items():
        trials = trial_dirs(directory)
        if not trials and (directory / FILE).is_file():
            files[size, None] = directory / FILE
        files |= {(size, n): path / FILE for n, path in trials.items() if (path / FILE).is_file()}
    return files
