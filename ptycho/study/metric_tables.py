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
from ptycho.results.schema import COLUMNS, IDENTITY, KEYS, NUMBERS, STATUSES, Model, text_column
from ptycho.study.statistics import ENOUGH, NO_MODEL

logger = logging.getLogger(__name__)

QUANTITIES = ("_median", f"_{ENOUGH}")  # of one model, behind its model type
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
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if list(table.columns[: len(fixed)]) != fixed or not set(table["status"]) <= set(STATUSES):
            return None
        for name in ("train_size", "trial"):
            table[name] = [int(word) for word in table[name]]
        for name in table.columns[len(fixed) :]:
            table[name] = [float(word) if word else np.nan for word in table[name]]
    except ValueError as error:  # also pandas' own
        logger.warning("%s: not a table of results (%s): the trials are read instead", path, error)
        return None
    return table


def read_study_table(path: Path, variants: Collection[str]) -> pd.DataFrame:
    """Read ``results.csv``, ``results_all_trials.csv``, ``statistics.csv`` or ``times.csv``, also of earlier versions.

    Parameters
    ----------
    variants : names of the variants of the study, by which model types are understood where the table lacks the
        columns ``variant`` and ``arm``

    Returns
    -------
    DataFrame : with the columns ``variant`` and ``arm``, as text

    Raises
    ------
    InputError : not a csv table, or one of something else
    """
    table: pd.DataFrame = text.read_csv(path, ("model_type", *IDENTITY))
    kinds = [name for name in ("model_type", "quantity") if name in table]
    if not kinds:
        raise InputError(f"{path}: column model_type missing, found {','.join(map(str, table))}: make the tables again")
    if not set(IDENTITY) <= set(table):
        of = _model_of_quantity if kinds[0] == "quantity" else Model.of_type
        found = [of(str(kind), variants) for kind in table[kinds[0]]]
        table = table.assign(variant=[model.variant for model in found], arm=[model.arm for model in found])
    return table.assign(**{name: text_column(table[name]) for name in IDENTITY})


def _model_of_quantity(quantity: str, variants: Collection[str]) -> Model:
    """Return the model that a quantity such as ``pinn_median`` is about; none where it is about two."""
    suffix = next((end for end in QUANTITIES if quantity.endswith(end)), None)
    return Model.of_type(quantity.removesuffix(suffix), variants) if suffix else NO_MODEL
