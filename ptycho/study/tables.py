"""Trials to results tables: what :mod:`ptycho.study.trials` read, side by side and summarized.

Three tables carry a study. *Tidy*: a row per trial, model and metric, as ``comparison_metrics.csv`` has it, with
``train_size``, ``trial``, ``variant`` and ``arm`` in front. *Wide* (``results_all_trials.csv``): a row per trial and
model, a column per metric and part. *Results* (``results.csv``): a row per size and model, the trials summarized.
In all of them ``variant`` (empty for the study itself) and ``arm`` say which model a row is about; ``model_type`` is
both in one word. Metrics have no unit unless :data:`ptycho.results.schema.METRICS` gives one; sizes count training
images (diffraction patterns).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ptycho.errors import InputError
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
    VALUES,
    Model,
    describe,
    models,
    with_identity,
)
from ptycho.study.artifacts import read_histories, read_history

FIGURES = ("overview", "training_curves", "reconstructions_by_size")


def results_all_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """Put the metrics of each trial and model side by side.

    Parameters
    ----------
    trials : as :func:`ptycho.study.trials.read_trials` returns it

    Returns
    -------
    DataFrame : train_size, trial, model_type, variant, arm, status (the worst of its rows), then ``{metric}_amp`` and
        ``{metric}_phase``, then the metrics that are one number (``computation_time_s``), under their names

    Raises
    ------
    InputError : a trial holds a metric of a model twice, or two models have one model type
    """
    found = {Model(arm, variant) for arm, variant in zip(trials["arm"], trials["variant"], strict=True)}
    _require_distinct(found)
    kinds = [Model(arm, variant).model_type for arm, variant in zip(trials["arm"], trials["variant"], strict=True)]
    table = trials.assign(model_type=kinds)
    twice = table[table.duplicated([*KEYS, "metric"])]
    if len(twice):
        size, trial, kind, metric = twice[[*KEYS, "metric"]].iloc[0]
        raise InputError(f"train_{size}, trial {trial}: {metric} of {kind} appears twice; remove one")
    status = table.groupby(KEYS)["status"].agg(lambda values: max(values, key=STATUSES.index))
    columns = [status]
    scored = table[table["metric"].notna()]
    for metric, column, name in _wide_columns(scored):
        rows = scored[scored["metric"] == metric]
        columns.append(rows.set_index(KEYS)[column].rename(name))
    wide = pd.concat(columns, axis=1).reset_index()
    return _sorted(_identified(wide, {model.model_type: model for model in found}))


def _require_distinct(found: Iterable[Model]) -> None:
    """Raise InputError where two models would share the rows of one model type."""
    known: dict[str, Model] = {}
    for model in sorted(found):
        other = known.setdefault(model.model_type, model)
        if other != model:
            raise InputError(
                f"{model.model_type} would be both {other.label} and {model.label}: rename the model or the variant"
            )


def _identified(table: pd.DataFrame, known: dict[str, Model]) -> pd.DataFrame:
    """Return a table with variant and arm of each model type."""
    of = [known[kind] for kind in table["model_type"]]
    return with_identity(table.assign(variant=[m.variant for m in of], arm=[m.arm for m in of]))


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
    """Return a table by size, trial and model, models in the order of :func:`ptycho.results.schema.ordered`."""
    order = list(models(table))
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
    DataFrame : train_size, model_type, variant, arm, n_trials, n_failed (status in
        :data:`ptycho.results.schema.FAILURES`) and, for each metric and part, ``_mean``, ``_median``, ``_p25``,
        ``_p75`` (linear interpolation) and ``_n_valid``. Every value but NaN is valid, so an infinite PSNR (a perfect
        match) counts: the mean is then infinite, the quantiles as they fall. In the quantiles a failed trial without
        a value counts as the worst there is (see :func:`ranked`), so that they are infinite where half of the trials
        have none; the mean is of the valid ones. Without either the figures are NaN.
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
    return _sorted(_identified(pd.DataFrame(rows), models(wide)))


def summarize(values: npt.NDArray[np.float64], ranks: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return the mean of the values that are not NaN, median, p25, p75 of ``ranks`` likewise, and n_valid."""
    valid, counted = values[~np.isnan(values)], ranks[~np.isnan(ranks)]
    mean = float(np.mean(valid)) if valid.size else float("nan")
    quantiles = {key: quantile(counted, q) for key, q in (("median", 0.5), ("p25", 0.25), ("p75", 0.75))}
    return {"mean": mean, **quantiles, "n_valid": int(valid.size)}


def quantile(values: npt.NDArray[np.float64], q: float) -> float:
    """Return a quantile by linear interpolation, as numpy's, of values that may be infinite; NaN of none."""
    return float(quantiles(values, q)) if values.size else float("nan")


def quantiles(samples: npt.NDArray[np.float64], q: float) -> npt.NDArray[np.float64]:
    """Return the quantile of each sample along the last axis, see :func:`quantile`.

    Parameters
    ----------
    samples : (..., n), n > 0

    Returns
    -------
    (...,) : NaN where a sample holds NaN
    """
    place = (samples.shape[-1] - 1) * q
    ordered = np.sort(samples, axis=-1)
    low, high = ordered[..., int(np.floor(place))], ordered[..., int(np.ceil(place))]
    with np.errstate(invalid="ignore"):  # infinities of both signs
        between = (1 - place % 1) * low + place % 1 * high
    return np.where(np.isnan(ordered[..., -1]), np.nan, np.where(low == high, low, between))


def per_size(trials: pd.DataFrame, size: int) -> pd.DataFrame:
    """Return the tidy table of one size over its trials: trial, then the columns of a trial's file."""
    rows = trials[trials["train_size"] == size]
    if rows.empty:
        sizes = ", ".join(str(s) for s in sorted(set(trials["train_size"])))
        raise InputError(f"no results for {size} training images; there are some for {sizes}")
    return rows[["trial", *COLUMNS]].reset_index(drop=True)


def times(study_dir: Path | str, wide: pd.DataFrame) -> pd.DataFrame:
    """Return the time to reconstruction: medians over the trials of each size and model.

    Parameters
    ----------
    wide : as :func:`results_all_trials` makes it

    Returns
    -------
    DataFrame : train_size, model_type, variant, arm, training_s (wall time of all epochs, seconds; of the refined arm
        those of PtychoPINN; NaN where none is known), reconstruction_s (seconds from test patterns to object),
        break_even_scans (from so many scans of this size on, training and reconstructing took less time than the
        iterative reference; inf where never)
    """
    if "computation_time_s" not in wide:
        wide = wide.assign(computation_time_s=np.nan)
    trained = wide.assign(training_s=list(_training_seconds(study_dir, wide)))
    medians = trained.groupby(["train_size", "model_type"])[["training_s", "computation_time_s"]].median()
    named = medians.reset_index().rename(columns={"computation_time_s": "reconstruction_s"})
    table = _sorted(_identified(named, models(wide)))
    known = table[table["arm"] == "iterative"].set_index(["variant", "train_size"])["reconstruction_s"].to_dict()
    places = zip(table["variant"], table["train_size"], strict=True)  # a variant with data of its own has its own
    reference = [known.get((variant, size), known.get(("", size), np.nan)) for variant, size in places]
    saved = pd.Series(reference, table.index, dtype=np.float64) - table["reconstruction_s"]
    pays = (table["training_s"] / saved).where(saved > 0, np.inf)
    return table.assign(break_even_scans=pays.where(saved.notna() & table["training_s"].notna()))


def _training_seconds(study_dir: Path | str, wide: pd.DataFrame) -> Iterable[float]:
    """Yield the training time of each row, seconds, from the history beside its model; NaN where none is known."""
    known = models(wide)
    for size, trial, kind in zip(wide["train_size"], wide["trial"], wide["model_type"], strict=True):
        arm = "pinn" if known[kind].arm == "refined" else known[kind].arm  # refined starts from PtychoPINN's object
        history = read_history(study_dir, size, trial, Model(arm, known[kind].variant))
        seconds = history.get("epoch_seconds", [])
        yield float(np.sum(seconds)) if seconds else float("nan")


def plotted(wide: pd.DataFrame) -> list[tuple[str, str]]:
    """Return every (metric, part) of a wide table that has a generalization plot."""
    return [(metric, part) for metric, part in metric_parts(wide) if metric not in MARKS]


def overview_metrics(wide: pd.DataFrame) -> list[str]:
    """Return the metrics of a wide table that the overview figure shows: those of which both parts are there."""
    return [metric for metric in OVERVIEW if {(metric, part) for part in PARTS} <= set(metric_parts(wide))]


def possible_figures(study_dir: Path | str, wide: pd.DataFrame) -> list[str]:
    """Return those of :data:`FIGURES` that a study has the data for."""
    has = (
        not unscored(wide) and overview_metrics(wide),
        read_histories(study_dir, wide),
        layout.reconstruction_files(study_dir),
    )
    return [name for name, there in zip(FIGURES, has, strict=True) if there]


def models_without_result(wide: pd.DataFrame) -> list[tuple[int, int, Model]]:
    """Return (size, trial, model) where a trial lacks a model that other trials of the study have."""
    present = set(wide[KEYS].itertuples(index=False, name=None))
    trials = sorted({(size, trial) for size, trial, _ in present})
    known = models(wide).items()
    return [(s, t, model) for s, t in trials for kind, model in known if (s, t, kind) not in present]
