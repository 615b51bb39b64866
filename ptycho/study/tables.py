"""Trials to results tables: read what the comparisons wrote, put it side by side, and summarize it.

Three tables carry a study. *Tidy*: a row per trial, model and metric, as ``comparison_metrics.csv`` has it,
with ``train_size`` and ``trial`` in front. *Wide* (``results_all_trials.csv``): a row per trial and model, a
column per metric and part. *Results* (``results.csv``): a row per size and model, the trials summarized.
Metrics have no unit unless :data:`METRICS` gives one; sizes count training images (diffraction patterns).
"""

import logging
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ptycho.errors import InputError
from ptycho.io import npz, text
from ptycho.results import layout
from ptycho.results.schema import (
    COLUMNS,
    FAILURES,
    KEYS,
    MARKS,
    METRICS,
    NO_TRUTH,
    NUMBERS,
    OVERVIEW,
    PARTS,
    STATUSES,
    TRAINED,
    VALUES,
    describe,
    model_type,
    of_variant,
    ordered_models,
)

logger = logging.getLogger(__name__)

FIGURES = ("overview", "training_curves", "reconstructions_by_size")
Trial = tuple[int, int]  # (train_size, trial)


def read_trials(study_dir: Path | str, variants: Collection[str] | None = None) -> pd.DataFrame:
    """Read every ``comparison_metrics.csv`` of a study and its variants, see :mod:`ptycho.results.layout`.

    Parameters
    ----------
    variants : those to read; None for all that are there

    Returns
    -------
    DataFrame : train_size (int), trial (int), model, metric, amplitude, phase, value (float), status

    Raises
    ------
    InputError : nothing found, or a file that is not such a table
    """
    tables = []
    for name, directory in layout.branches(study_dir).items():
        if name and variants is not None and name not in variants:
            continue
        for (size, trial), path in layout.metric_files(directory).items():
            table = read_metrics(path).assign(train_size=size)
            table = _without_unfinished(table, path)
            if name:
                table["model"] += f" ({name})"
            tables.append(table if trial is None else table.assign(trial=trial))
    if not tables:
        raise InputError(
            f"{study_dir}: no results; looked for train_{{size}}/trial_{{trial}}/comparison_metrics.csv and "
            "train_{size}/comparison_metrics.csv: check the directory, or run the comparisons first"
        )
    return pd.concat(tables, ignore_index=True)[["train_size", "trial", *COLUMNS]]


def _without_unfinished(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Leave out the metrics of a model that was since trained anew in vain, and so of the one before.

    Of a training that failed logs and checkpoints are left, and nothing else.
    """
    for label, run in (("PtychoPINN", "pinn_run"), ("Baseline", "baseline_run")):
        directory = path.parent / run
        names = [found.name for found in directory.rglob("*") if found.is_file()]
        if directory.is_dir() and all(name.startswith(("checkpoint", ".")) or name.endswith(".log") for name in names):
            logger.warning("%s: no model there: the metrics of %s are left out", directory, label)
            table = table[table["model"] != label]
    return table


def select(trials: pd.DataFrame, sizes: Collection[int] | None, num_trials: int | None) -> pd.DataFrame:
    """Return the trials of the given sizes, numbered up to ``num_trials``; None keeps all.

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


def results_all_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """Put the metrics of each trial and model side by side.

    Returns
    -------
    DataFrame : train_size, trial, model_type, status (the worst of its rows), then ``{metric}_amp`` and
        ``{metric}_phase``, then the metrics that are one number (``computation_time_s``), under their names

    Raises
    ------
    InputError : a trial holds a metric of a model twice
    """
    table = trials.assign(model_type=trials["model"].map(model_type))
    twice = table[table.duplicated([*KEYS, "metric"])]
    if len(twice):
        size, trial, kind, metric = twice[[*KEYS, "metric"]].iloc[0]
        raise InputError(f"train_{size}, trial {trial}: {metric} of {kind} stands there twice; remove one")
    status = table.groupby(KEYS)["status"].agg(lambda values: max(values, key=STATUSES.index))
    columns = [status]
    scored = table[table["metric"].notna()]
    for metric, column, name in _wide_columns(scored):
        rows = scored[scored["metric"] == metric]
        columns.append(rows.set_index(KEYS)[column].rename(name))
    return _sorted(pd.concat(columns, axis=1).reset_index())


def _wide_columns(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return (metric, column, wide name) of what the trials hold, the metrics of the study first."""
    found = list(dict.fromkeys(table["metric"]))
    metrics = [name for name in METRICS if name in found] + [name for name in found if name not in METRICS]
    suffixes = {"amplitude": "_amp", "phase": "_phase"}
    parts = [(m, column, m + suffix) for m in metrics for column, suffix in suffixes.items()]
    triples = parts + [(m, "value", m) for m in metrics]
    filled = {(m, c) for c in NUMBERS for m in table.loc[table[c].notna(), "metric"]}
    images = {m for m in metrics if m not in VALUES and (m, "value") not in filled}  # though all of a part be NaN
    return [(m, c, name) for m, c, name in triples if (m, c) in filled or (m in images and c != "value")]


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    order = ordered_models(table["model_type"])
    keys = [key for key in KEYS if key in table]
    return table.sort_values(
        keys, key=lambda column: column.map(order.index) if column.name == "model_type" else column
    ).reset_index(drop=True)


def ranked(wide: pd.DataFrame, metric: str, part: str) -> pd.Series:
    """Return a metric of each row, and where a failed trial has none, the worst there is: -inf or inf.

    So a trial that failed counts in medians, quartiles and paired tests instead of dropping out of them. Of a metric
    of which it is not known whether higher is better it stays NaN, and where no trial at all has a value.
    """
    values, better = wide[f"{metric}_{part}"], describe(metric).higher_is_better
    if better is None or values.isna().all():
        return values
    return values.mask(values.isna() & wide["status"].isin(FAILURES), -np.inf if better else np.inf)


def metric_parts(wide: pd.DataFrame) -> list[tuple[str, str]]:
    """Return every (metric, part) of a wide table, part being ``amp`` or ``phase``, in its order."""
    pairs = (str(column).rpartition("_") for column in wide.columns)
    return [(metric, part) for metric, _, part in pairs if metric and part in PARTS]


def unscored(wide: pd.DataFrame) -> bool:
    """Tell whether a wide table holds no score because the test data holds no truth."""
    scores = wide[[f"{metric}_{part}" for metric, part in metric_parts(wide)]]
    return bool((wide["status"] == NO_TRUTH).any() and scores.isna().all(axis=None))


def results(trials: pd.DataFrame) -> pd.DataFrame:
    """Summarize the trials of each size and model. Every trial counts, whatever its status.

    Returns
    -------
    DataFrame : train_size, model_type, n_trials, n_failed (status in :data:`FAILURES`) and, for each metric and
        part, ``_mean``, ``_median``, ``_p25``, ``_p75`` (linear interpolation) and ``_n_valid``. Every value
        but NaN is valid, so an infinite PSNR (a perfect match) counts: the mean is then infinite, the
        quantiles as they fall. In the quantiles a failed trial without a value counts as the worst there is (see
        :func:`ranked`), so that they are infinite where half of the trials have none; the mean is of the valid ones.
        Without either the figures are NaN.
    """
    wide = results_all_trials(trials)
    ranks = {f"{metric}_{part}": ranked(wide, metric, part) for metric, part in metric_parts(wide)}
    rows = []
    for (size, kind), group in wide.groupby(["train_size", "model_type"]):
        row: dict[str, Any] = {"train_size": size, "model_type": kind, "n_trials": len(group)}
        row["n_failed"] = int(group["status"].isin(FAILURES).sum())
        for metric, part in metric_parts(wide):
            name = f"{metric}_{part}"
            figures = summarize(group[name].to_numpy(), ranks[name].loc[group.index].to_numpy())
            row |= {f"{name}_{key}": value for key, value in figures.items()}
        rows.append(row)
    return _sorted(pd.DataFrame(rows))


def summarize(values: npt.NDArray[np.float64], ranks: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return the mean of the values that are not NaN, median, p25, p75 of ``ranks`` likewise, and n_valid."""
    valid, counted = values[~np.isnan(values)], ranks[~np.isnan(ranks)]
    mean = float(np.mean(valid)) if valid.size else float("nan")
    quantiles = {key: quantile(counted, q) for key, q in (("median", 0.5), ("p25", 0.25), ("p75", 0.75))}
    return {"mean": mean, **quantiles, "n_valid": int(valid.size)}


def quantile(values: npt.NDArray[np.float64], q: float) -> float:
    """Return a quantile by linear interpolation, as numpy's, of values that may be infinite; NaN of none."""
    if not values.size:
        return float("nan")
    low, high = (float(np.quantile(values, q, method=side)) for side in ("lower", "higher"))
    weight = (values.size - 1) * q % 1
    return low if low == high else (1 - weight) * low + weight * high


def per_size(trials: pd.DataFrame, size: int) -> pd.DataFrame:
    """Return the tidy table of one size over its trials: trial, then the columns of a trial's file."""
    rows = trials[trials["train_size"] == size]
    if rows.empty:
        sizes = ", ".join(str(s) for s in sorted(set(trials["train_size"])))
        raise InputError(f"no results for {size} training images; there are some for {sizes}")
    return rows[["trial", *COLUMNS]].reset_index(drop=True)


def times(study_dir: Path | str, wide: pd.DataFrame) -> pd.DataFrame:
    """Return what an answer costs: medians over the trials of each size and model.

    Returns
    -------
    DataFrame : train_size, model_type, training_s (wall time of all epochs; of refined, those of PtychoPINN; NaN where
        none is known), answer_s (from test patterns to object), scans_to_pay: how many scans of this size must be
        reconstructed until training and answering took less time than the iterative reference; inf where never
    """
    if "computation_time_s" not in wide:
        wide = wide.assign(computation_time_s=np.nan)
    trained = wide.assign(training_s=list(_training_seconds(study_dir, wide)))
    medians = trained.groupby(["train_size", "model_type"])[["training_s", "computation_time_s"]].median()
    table = _sorted(medians.reset_index().rename(columns={"computation_time_s": "answer_s"}))
    reference = table[table["model_type"] == "iterative"].set_index("train_size")["answer_s"]
    saved = table["train_size"].map(reference) - table["answer_s"]
    pays = (table["training_s"] / saved).where(saved > 0, np.inf)
    return table.assign(scans_to_pay=pays.where(saved.notna() & table["training_s"].notna()))


def _training_seconds(study_dir: Path | str, wide: pd.DataFrame) -> Iterable[float]:
    """Yield, for each row, what its training took by the history beside its model."""
    for size, trial, kind in zip(wide["train_size"], wide["trial"], wide["model_type"], strict=True):
        history = _history(study_dir, size, trial, kind.replace("refined", "pinn"))
        seconds = history.get("epoch_seconds", [])
        yield float(np.sum(seconds)) if seconds else float("nan")


def read_objects(study_dir: Path | str, size: int) -> dict[int, dict[str, npt.NDArray[Any]]]:
    """Read ``train_{size}/trial_*/reconstructions.npz``.

    Returns
    -------
    dict : for each trial, the complex (h, w) objects by name: ``ground_truth`` where it is known, ``pinn``,
        ``baseline``, ...; aligned to the truth and cropped to the evaluated region

    Raises
    ------
    InputError : no such file for this size
    """
    found: dict[int, dict[str, npt.NDArray[Any]]] = {}
    for trial, directory in layout.trial_dirs(
        layout.size_dirs(study_dir).get(size, Path(study_dir) / f"train_{size}")
    ).items():
        path = directory / "reconstructions.npz"
        if not path.is_file():
            logger.warning("%s: missing; trial %d is left out of the picture", path, trial)
            continue
        arrays = npz.read_npz(path)
        suffix = "_complex"
        found[trial] = {key.removesuffix(suffix): array for key, array in arrays.items() if key.endswith(suffix)}
    if not found:
        raise InputError(
            f"{Path(study_dir) / f'train_{size}'}: no trial_{{trial}}/reconstructions.npz; "
            "run the comparisons of this size first"
        )
    return found


def read_first_objects(
    study_dir: Path | str, trials: pd.DataFrame
) -> dict[int, tuple[int, dict[str, npt.NDArray[Any]]]]:
    """Return, for each size that has some, the first trial with reconstructions and its objects."""
    found = {}
    for size, directory in layout.size_dirs(study_dir).items():
        numbers = set(trials.loc[trials["train_size"] == size, "trial"])
        if any((path / "reconstructions.npz").is_file() for n, path in layout.trial_dirs(directory).items()):
            objects = {n: images for n, images in read_objects(study_dir, size).items() if n in numbers}
            if objects:
                first = min(objects)
                found[size] = first, objects[first]
    return found


def plotted(wide: pd.DataFrame) -> list[tuple[str, str]]:
    """Return every (metric, part) that a plot is made of."""
    return [(metric, part) for metric, part in metric_parts(wide) if metric not in MARKS]


def overview_metrics(wide: pd.DataFrame) -> list[str]:
    """Return the metrics that the overview shows: those of :data:`OVERVIEW` of which both parts are there."""
    return [metric for metric in OVERVIEW if {(metric, part) for part in PARTS} <= set(metric_parts(wide))]


def possible_figures(study_dir: Path | str, wide: pd.DataFrame) -> list[str]:
    """Return those of :data:`FIGURES` that a study has the data for."""
    sizes = layout.size_dirs(study_dir).values()
    drawn = any((path / "reconstructions.npz").is_file() for size in sizes for path in layout.trial_dirs(size).values())
    has = (not unscored(wide) and overview_metrics(wide), read_histories(study_dir, wide), drawn)
    return [name for name, there in zip(FIGURES, has, strict=True) if there]


def read_histories(study_dir: Path | str, wide: pd.DataFrame) -> dict[tuple[int, int, str], dict[str, Any]]:
    """Return the histories that stand beside the models, by (size, trial, model_type)."""
    keys = wide[KEYS].itertuples(index=False, name=None)
    found = {key: _history(study_dir, *key) for key in keys if of_variant(key[2])[0] in TRAINED}
    return {key: history for key, history in found.items() if history}


def _history(study_dir: Path | str, size: int, trial: int, kind: str) -> dict[str, Any]:
    """Return the history of a training; empty where there is none."""
    base, variant = of_variant(kind)
    branch = layout.branches(study_dir).get(variant)
    if branch is None:
        return {}
    directory = layout.size_dirs(branch).get(size, branch)
    path = layout.trial_dirs(directory).get(trial, directory) / f"{base}_run" / "history.json"
    history = text.read_json(path) if path.is_file() else {}
    return history if isinstance(history, dict) else {}


def models_without_result(wide: pd.DataFrame) -> list[tuple[int, int, str]]:
    """Return (size, trial, model_type) where a trial lacks a model that other trials of the study have."""
    kinds: Sequence[str] = ordered_models(wide["model_type"])
    present = set(wide[KEYS].itertuples(index=False, name=None))
    trials = sorted({(size, trial) for size, trial, _ in present})
    return [(s, t, kind) for s, t in trials for kind in kinds if (s, t, kind) not in present]


SUFFIXES = {"_amplitude": "amplitude", "_amp": "amplitude", "_phase": "phase"}  # of the columns of a wide table


def read_metrics(path: Path) -> pd.DataFrame:
    """Return a table of metrics, tidy: ``trial`` (1 where the file has none), then :data:`COLUMNS`.

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
