"""Where a study keeps its metrics, and how: this project's layout, the guide's, and those of others.

Directories of a size are ``train_512`` or ``train_subsample_512_groups_512`` (512 images; the groups are those of a
gridsize). Metrics lie in ``trial_{n}`` within, or in the directory itself. A table is tidy (a row a metric) or wide
(a row a model, columns ``psnr_phase``, ``mae_amplitude``, ...).
"""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ptycho.data import store
from ptycho.errors import InputError

logger = logging.getLogger(__name__)

FILE = "comparison_metrics.csv"
COLUMNS = ["model", "metric", "amplitude", "phase", "value", "status"]
NUMBERS = ["amplitude", "phase", "value"]
NO_TRUTH = "no_truth"  # status of a model that nothing was there to score by: no failure
FAILURES = ("collapsed", "diverged", "failed")
STATUSES = ("ok", NO_TRUTH, *FAILURES)  # from best to worst
SIZE_DIR = re.compile(r"train_(?:subsample_)?(\d+)(?:_groups_\d+)?")
SUFFIXES = {"_amplitude": "amplitude", "_amp": "amplitude", "_phase": "phase"}  # of the columns of a wide table


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


def read_metrics(path: Path) -> pd.DataFrame:
    """Return a table of metrics, tidy: ``trial`` (1 where the file has none), then :data:`COLUMNS`.

    A file without ``status`` (of other tools) is taken as ok throughout.

    Raises
    ------
    InputError : not such a table
    """
    table = store.read_csv(path)
    if "model" in table and "metric" not in table:
        table = _from_wide(table, path)
    defaults = {"trial": 1, "status": "ok", "value": np.nan}
    table = table.assign(**{name: value for name, value in defaults.items() if name not in table})
    missing = [name for name in COLUMNS if name not in table]
    if missing or table.empty:
        lack = f"column {', '.join(missing)} missing" if missing else "no rows"
        raise InputError(
            f"{path}: {lack}, expected {','.join(COLUMNS)} (or a row a model with columns such as psnr_phase); found "
            f"{','.join(map(str, table))}: run the comparison again"
        )
    unknown = set(table["status"].fillna("nothing")) - set(STATUSES)
    if unknown:
        raise InputError(f"{path}: status {sorted(unknown)[0]}, expected one of {', '.join(STATUSES)}")
    if table["model"].isna().any() or table["trial"].isna().any():
        raise InputError(f"{path}: a row without model or trial: run the comparison again")
    try:
        table[NUMBERS] = table[NUMBERS].apply(pd.to_numeric).astype(np.float64)
        table["trial"] = table["trial"].astype(np.int64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: amplitude, phase, value and trial must be numbers ({error})") from error
    table["model"] = table["model"].astype(str)
    table["metric"] = [_metric_name(name) for name in table["metric"]]
    return table[["trial", *COLUMNS]]


def _metric_name(name: Any) -> Any:
    """Return a name that tables, files and commands can bear: letters, digits and underscores; no name of a column."""
    if not isinstance(name, str):
        return name
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    plain = plain if plain[:1].isalpha() else f"metric_{plain}"
    return f"metric_{plain}" if plain in ("train_size", "trial", "model_type", "status", "model") else plain


def _from_wide(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a wide table, a row a model (and trial), as a tidy one; columns of words are left out, with a warning."""
    keys = [name for name in ("model", "trial", "status") if name in table]
    twice = table[table.duplicated([name for name in keys if name != "status"])]
    if len(twice):
        raise InputError(
            f"{path}: {twice.iloc[0]['model']} stands there twice: number repetitions in a column trial, or remove one"
        )
    numbers = table.drop(columns=keys).select_dtypes("number")
    left = [str(name) for name in table if name not in keys and name not in numbers]
    if left:
        logger.warning("%s: columns %s hold no numbers and are left out", path, ", ".join(left))
    parts = []
    for column in numbers:
        suffix = next((end for end in SUFFIXES if str(column).endswith(end)), "")
        name, part = str(column).removesuffix(suffix), SUFFIXES.get(suffix, "value")
        parts.append(table[keys].assign(metric=name, **{part: numbers[column]}))
    if not parts:
        return table
    long = pd.concat(parts, ignore_index=True)
    present = [name for name in NUMBERS if name in long]
    tidy = long.groupby([*keys, "metric"], sort=False, dropna=False)[present].first().reset_index()
    return tidy.reindex(columns=[*keys, "metric", *NUMBERS])
