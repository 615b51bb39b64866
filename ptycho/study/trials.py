"""Reading the trials of a study: what the comparisons wrote, which of them to use, and which are missing."""

import logging
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from ptycho.errors import InputError
from ptycho.results import layout
from ptycho.results.schema import KEYS, MODEL_NAMES, TRAINED, TRIAL_COLUMNS, Model
from ptycho.study.metric_tables import read_metrics, read_wide

logger = logging.getLogger(__name__)

Trial = tuple[int, int]  # (train_size, trial)


def read_trials(study_dir: Path | str, variants: Collection[str] | None = None) -> pd.DataFrame:
    """Read every ``comparison_metrics.csv`` of a study and its variants, see :mod:`ptycho.results.layout`.

    Parameters
    ----------
    variants : those to read; None for all that are there

    Returns
    -------
    DataFrame : train_size (int), trial (int), variant (empty for the study itself), arm, model (as the file names it),
        metric, amplitude, phase, value (float), status

    Raises
    ------
    InputError : nothing found, or a file that is not such a table
    """
    tables = []
    for name, directory in layout.branches(study_dir).items():
        if name and variants is not None and name not in variants:
            continue
        for (size, trial), path in layout.metric_files(directory).items():
            table = read_metrics(path).assign(train_size=size, variant=name)
            unfinished = models_gone(path.parent)
            for model in unfinished:
                logger.warning(
                    "%s: there is no model of %s any more: its metrics are excluded from all tables", path, model
                )
            table = table[~table["model"].isin(unfinished)]
            table = table.assign(arm=[Model.named(model).arm for model in table["model"]])
            tables.append(table if trial is None else table.assign(trial=trial))
    if not tables:
        raise InputError(
            f"{study_dir}: no results; looked for train_{{size}}/trial_{{trial}}/{layout.COMPARISON_METRICS} and "
            f"train_{{size}}/{layout.COMPARISON_METRICS}: check the directory, or run the comparisons first"
        )
    return pd.concat(tables, ignore_index=True)[TRIAL_COLUMNS]


def models_gone(trial_dir: Path) -> list[str]:
    """Return the models of a trial that were trained again in vain, so that the metrics there are of one now gone.

    A failed training leaves logs and checkpoints behind, and nothing else. Without PtychoPINN its
    refinement is gone, too.

    Returns
    -------
    list of str : as tables name them, ``PtychoPINN``
    """
    found = []
    for arm in TRAINED:
        directory = layout.run_dir(trial_dir, arm)
        paths = [path for path in directory.rglob("*") if path.is_file()]
        names = [path.name for path in paths if layout.TENSORBOARD_DIR not in path.relative_to(directory).parts]
        if directory.is_dir() and all(name.startswith(("checkpoint", ".")) or name.endswith(".log") for name in names):
            found.append(arm)
    return [MODEL_NAMES[arm] for arm in [*found, *(["refined"] if "pinn" in found else [])]]


def read_results_all_trials(
    path: Path,
    study_dir: Path | str,
    variants: Collection[str] | None,
    sizes: Collection[int] | None,
    num_trials: int | None,
) -> pd.DataFrame | None:
    """Read a ``results_all_trials.csv`` where it holds just what the trials of a study would give.

    Parameters
    ----------
    variants, sizes, num_trials : what to use of the study, see :func:`read_trials` and :func:`select`

    Returns
    -------
    DataFrame : equal to :func:`ptycho.study.tables.results_all_trials` of these trials. None where the trials must be
        read: the table is missing, older than the metrics of a trial, of other trials, or of another version; or the
        study has another layout, or a model that was trained again in vain
    """
    expected, newest = set(), 0
    for name, directory in layout.branches(study_dir).items():
        if name and variants is not None and name not in variants:
            continue
        for (size, trial), metrics in layout.metric_files(directory).items():
            if trial is None:
                return None
            if (sizes is None or size in sizes) and (num_trials is None or trial <= num_trials):
                if models_gone(metrics.parent):
                    return None
                expected.add((size, trial, name))
                newest = max(newest, metrics.stat().st_mtime_ns, metrics.stat().st_ctime_ns)
    if not expected or not path.is_file() or path.stat().st_mtime_ns <= newest:
        return None
    wide = read_wide(path)
    if (
        wide is None
        or wide.duplicated(KEYS).any()
        or set(wide[["train_size", "trial", "variant"]].itertuples(index=False, name=None)) != expected
    ):
        return None
    return wide


def select(trials: pd.DataFrame, sizes: Collection[int] | None, num_trials: int | None) -> pd.DataFrame:
    """Return the trials (tidy or wide) of the given sizes, numbered up to ``num_trials``; None keeps all.

    Raises
    ------
    InputError : nothing is left
    """
    keep = pd.Series(True, index=trials.index)
    if sizes is not None:
        keep &= trials["train_size"].isin(list(sizes))
    if num_trials is not None:
        keep &= trials["trial"] <= num_trials
    if not keep.any():
        found = sorted(set(trials["train_size"]))
        raise InputError(f"no results for sizes {sizes} and trials up to {num_trials}; found sizes {found}")
    return trials[keep]


def missing_trials(trials: pd.DataFrame, expected: Collection[Trial]) -> list[Trial]:
    """Return the expected (size, trial) of which ``trials`` (tidy or wide) holds nothing."""
    present = set(zip(trials["train_size"], trials["trial"], strict=True))
    return sorted(set(expected) - present)
