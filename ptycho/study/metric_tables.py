"""Reading single tables: the metrics of a trial, also those of other tools, and the tables of a whole study."""

import logging
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ptycho.errors import InputError
from ptycho.io import text
from ptycho.results import layout
from ptycho.results.schema import COLUMNS, IDENTITY, KEYS, NUMBERS, PARTS, STATUSES, Model, text_column
from ptycho.study.image_counts import ENOUGH
from ptycho.study.statistics import NO_MODEL

logger = logging.getLogger(__name__)

STATEMENTS = ("train_size", "metric", "part", "quantity", "estimate", "ci_low", "ci_high", "p_value", "n", "verdict")
SCALING = ("metric", "part", "model_type", "quantity", "train_size", "target")
REQUIRED = {  # columns of the tables of a study, beside model_type and identity
    layout.RESULTS: ("train_size", "model_type", "n_trials", "n_failed"),
    layout.ALL_TRIALS: ("train_size", "trial", "model_type", "status"),
    layout.STATISTICS: STATEMENTS,
    layout.TIMES: ("train_size", "model_type", "training_s", "reconstruction_s", "break_even_scans"),
    layout.SCALING_LAW: (*SCALING, *STATEMENTS[4:7], "measured", *STATEMENTS[8:]),
}
FORMER = {"answer_s": "reconstruction_s", "scans_to_pay": "break_even_scans"}  # columns of times.csv
NOT_OF_A_SIZE = (layout.STATISTICS, layout.SCALING_LAW)  # tables with rows on all sizes
# columns of text; the others hold numbers
WORDS = ("model_type", "quantity", "metric", "part", "interval", "verdict", "status", *IDENTITY)
COUNTS = ("train_size", "trial", "n_trials")
QUANTITIES = ("_median", f"_{ENOUGH}")  # of one model, behind its model type
MOST = 10**9  # training images, or trials
SUFFIXES = {"_amplitude": "amplitude", "_amp": "amplitude", "_phase": "phase"}  # of the columns of a wide table


def read_metrics(path: Path) -> pd.DataFrame:
    """Return a table of metrics, tidy: ``trial`` (1 where the file has none), then the columns of a trial's file.

    A file without ``status`` (of other tools) is taken as ok throughout.

    Raises
    ------
    InputError : not such a table
    """
    table = text.read_csv(path)
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
        trials = pd.to_numeric(table["trial"])
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: amplitude, phase, value and trial must be numbers ({error})") from error
    table["trial"] = _whole_numbers(path, "trial", trials).astype(np.int64)
    table["model"] = table["model"].astype(str)
    table["metric"] = [_metric_name(name) for name in table["metric"]]
    return table[["trial", *COLUMNS]]


def _whole_numbers(path: Path, name: str, numbers: pd.Series) -> pd.Series:
    """Return a column of numbers; InputError where one is given that is not a whole number from 1 to MOST."""
    known = numbers.dropna()
    wrong = known[(known != np.floor(known)) | ~known.between(1, MOST)]
    if len(wrong):
        raise InputError(f"{path}: {name} is {wrong.iloc[0]:g}, expected a whole number of 1 or more: correct the file")
    return numbers


def _metric_name(name: Any) -> Any:
    """Return a name that tables, files and commands can bear: letters, digits and underscores; no name of a column."""
    if not isinstance(name, str):
        return name
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    plain = plain if plain[:1].isalpha() else f"metric_{plain}"
    return f"metric_{plain}" if plain in (*KEYS, *IDENTITY, "status", "model") else plain


def _from_wide(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a wide table, a row a model (and trial), as a tidy one; columns of text are ignored, with a warning."""
    keys = [name for name in ("model", "trial", "status") if name in table]
    twice = table[table.duplicated([name for name in keys if name != "status"])]
    if len(twice):
        raise InputError(
            f"{path}: {twice.iloc[0]['model']} appears twice: number repetitions in a column trial, or remove one"
        )
    numbers = table.drop(columns=keys).select_dtypes("number")
    left = [str(name) for name in table if name not in keys and name not in numbers]
    if left:
        logger.warning("%s: columns %s hold no numbers and are ignored", path, ", ".join(left))
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


def read_wide(path: Path) -> pd.DataFrame | None:
    """Return a wide table with every number as it was written; None where it is not one of this version."""
    fixed = ["train_size", "trial", "model_type", *IDENTITY, "status"]
    try:
        text.require_whole_rows(path)
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if list(table.columns[: len(fixed)]) != fixed or not set(table["status"]) <= set(STATUSES):
            return None
        for name in ("train_size", "trial"):
            numbers = pd.Series([int(word) for word in table[name]])
            table[name] = _whole_numbers(path, name, numbers).astype(np.int64)
        for name in table.columns[len(fixed) :]:
            table[name] = [float(word) if word else np.nan for word in table[name]]
    except (ValueError, OverflowError, InputError) as error:  # ValueError: also pandas' own
        logger.warning("%s: not a table of results (%s): the trials are read instead", path, error)
        return None
    return table


def read_study_table(path: Path, variants: Collection[str]) -> pd.DataFrame:
    """Read one of the tables of a study that :data:`REQUIRED` names, also of earlier versions.

    Parameters
    ----------
    variants : names of the variants of the study, by which model types are understood where the table lacks the
        columns ``variant`` and ``arm``

    Returns
    -------
    DataFrame : with the columns ``variant`` and ``arm``, as text

    Raises
    ------
    InputError : not a csv table, or one of something else, or of text where numbers are expected
    """
    table: pd.DataFrame = text.read_csv(path, WORDS).rename(columns=FORMER)
    kinds = [name for name in ("model_type", "quantity") if name in table]
    missing = [name for name in REQUIRED.get(path.name, ()) if name not in table] if kinds else ["model_type"]
    if missing:
        raise InputError(
            f"{path}: column {', '.join(missing)} missing, found {','.join(map(str, table))}: make the tables again"
        )
    table = _with_numbers(path, table)
    if not set(IDENTITY) <= set(table):
        of = _model_of_quantity if kinds[0] == "quantity" else Model.of_type
        found = [of(str(kind), variants) for kind in table[kinds[0]]]
        table = table.assign(variant=[model.variant for model in found], arm=[model.arm for model in found])
    return table.assign(**{name: text_column(table[name]) for name in IDENTITY})


def _with_numbers(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of a study with its columns of numbers as such; InputError where a value does not belong there."""
    table = table.copy()
    for name in table:
        if name in WORDS:
            table[name] = text_column(table[name])
            continue
        try:
            numbers = pd.to_numeric(table[name])
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(f"{path}: {name} holds text, expected numbers ({error}): make the tables again") from error
        table[name] = _whole_numbers(path, str(name), numbers) if name in COUNTS else numbers
        if name in COUNTS and name in REQUIRED.get(path.name, ()) and path.name not in NOT_OF_A_SIZE:
            if numbers.isna().any():
                raise InputError(f"{path}: {name} is empty in a row: make the tables again")
            table[name] = numbers.astype(np.int64)
    for name, known in (("status", STATUSES), ("part", tuple(PARTS))):
        odd = sorted(set(table[name]) - set(known)) if name in table else []
        if odd:
            raise InputError(f"{path}: {name} is {odd[0]!r}, expected one of {', '.join(known)}: make the tables again")
    return table


def require_same_trials(path: Path, results: pd.DataFrame, wide: pd.DataFrame) -> None:
    """Check that ``results.csv`` summarizes the trials of ``results_all_trials.csv``, all of them and no others.

    Parameters
    ----------
    path : of ``results``, named in errors
    results, wide : as :func:`read_study_table` returns them

    Raises
    ------
    InputError : rows or columns are missing, as in a file that was cut, or the tables are of different runs
    """
    trials = wide.groupby(["train_size", "model_type"]).size().to_dict()
    rows = results[["train_size", "model_type", "n_trials"]].itertuples(index=False, name=None)
    summarized = {(size, kind): count for size, kind, count in rows}
    scores = [name for name in wide if str(name).endswith(("_amp", "_phase"))]
    lost = [f"{name}_{key}" for name in scores for key in ("mean", "median", "p25", "p75", "n_valid")]
    missing = [name for name in lost if name not in results]
    if trials != summarized or len(summarized) < len(results) or missing:
        what = f"column {missing[0]} is missing" if missing else f"it has {len(results)} rows for {len(trials)}"
        raise InputError(
            f"{path}: not the summary of the trials in {layout.ALL_TRIALS} ({what}, or other numbers of trials): make "
            "both tables again"
        )


def _model_of_quantity(quantity: str, variants: Collection[str]) -> Model:
    """Return the model that a quantity such as ``pinn_median`` is about; none where it is about two."""
    suffix = next((end for end in QUANTITIES if quantity.endswith(end)), None)
    return Model.of_type(quantity.removesuffix(suffix), variants) if suffix else NO_MODEL
