"""Further test sets to tables: what each model loses on data that differ from those it was trained on.

``test_sets_all_trials.csv`` is the wide table of :mod:`ptycho.study.tables` with ``test_set`` in front: a row per test
set, trial and model, ``held_out`` being the study's own test half. ``test_sets.csv`` summarizes the trials.
``generalization_matrix.csv`` holds, at the largest size, each test set, model and metric with the loss against the
held-out half. ``results.csv`` and ``results_all_trials.csv`` hold the held-out half alone, as without test sets.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ptycho.config.schema import StudyConfig
from ptycho.config.test_sets import EXACT_IN_NETWORK, HELD_OUT, TestSet, resolved
from ptycho.errors import InputError
from ptycho.io import files, text
from ptycho.results import layout
from ptycho.results.schema import FAILURES, NO_TRUTH, TRIAL_COLUMNS, Model, describe, models, text_column
from ptycho.study.markdown import bullets, table
from ptycho.study.metric_tables import read_metrics
from ptycho.study.tables import metric_parts, ranked, results, results_all_trials
from ptycho.study.trials import models_gone, read_trials, select

MATRIX_METRICS = ("rmse", "psnr", "ssim", "mae", "frc50")
MATRIX_COLUMNS = [
    "test_set", "train_size", "model_type", "variant", "arm", "metric", "part", "n_trials", "n_failed", "value",
    "held_out", "loss", "n_pairs", "status",
]  # fmt: skip
SHOWN = (("rmse", "phase"), ("rmse", "amp"))  # of the matrix, in figure and summary


def read_test_sets(
    study_dir: Path | str,
    variants: Collection[str] | None = None,
    sizes: Collection[int] | None = None,
    num_trials: int | None = None,
    sets: Collection[str] | None = None,
) -> dict[str, pd.DataFrame]:
    """Read the metrics of all test sets of a study.

    Parameters
    ----------
    variants, sizes, num_trials : trials to use, see :mod:`ptycho.study.trials`; None for all
    sets : test sets to use; None for all that are there

    Returns
    -------
    dict : tidy tables as :func:`ptycho.study.trials.read_trials` makes them, by test set, ``held_out`` first; those
        without any metrics are left out

    Raises
    ------
    InputError : no test set, or a file that is not a table of metrics
    """
    held_out = select(read_trials(study_dir, variants), sizes, num_trials)
    parts: dict[str, list[pd.DataFrame]] = {}
    for variant, branch in layout.branches(study_dir).items():
        if variant and variants is not None and variant not in variants:
            continue
        for (size, trial), path in layout.metric_files(branch).items():
            if trial is None:
                continue
            for name, directory in layout.test_set_dirs(path.parent).items():
                if sets is None or name in sets:
                    found = read_metrics(directory / layout.COMPARISON_METRICS)
                    found = found[~found["model"].isin(models_gone(path.parent))]
                    arms = [Model.named(model).arm for model in found["model"]]
                    found = found.assign(train_size=size, trial=trial, variant=variant, arm=arms)
                    parts.setdefault(name, []).append(found[TRIAL_COLUMNS])
    if not parts:
        raise InputError(
            f"{study_dir}: no test sets; looked for train_{{size}}/trial_{{trial}}/test_{{name}}/"
            f"{layout.COMPARISON_METRICS}: configure test_sets, and run the comparisons first"
        )
    order = [name for name in sets or sorted(parts) if name in parts]
    tables = {name: pd.concat(parts[name], ignore_index=True) for name in order}
    kept = {name: _kept(tidy, sizes, num_trials) for name, tidy in tables.items()}
    return {HELD_OUT: held_out} | {name: tidy for name, tidy in kept.items() if len(tidy)}


def _kept(tidy: pd.DataFrame, sizes: Collection[int] | None, num_trials: int | None) -> pd.DataFrame:
    """Return the trials of the given sizes and numbers, maybe none."""
    keep = tidy["train_size"].isin(list(sizes)) if sizes is not None else pd.Series(True, index=tidy.index)
    return tidy[keep & (tidy["trial"] <= num_trials)] if num_trials is not None else tidy[keep]


def configured(study_dir: Path | str, scored: Collection[str]) -> tuple[list[str], dict[str, list[TestSet]]]:
    """Return the test sets of a finished study, in the order of its configuration, and its lists of strengths.

    Parameters
    ----------
    study_dir : with ``study_config.txt``; where it cannot be read, sets are in alphabetical order, without lists
    scored : the metrics of the test sets that are there
    """
    there = sorted({Path(path).parent.name.removeprefix("test_") for path in scored})
    try:
        config = yaml.safe_load(files.read_bytes(Path(study_dir) / layout.STUDY_CONFIG))
        known = resolved(StudyConfig.from_mapping(config)) if there else []
    except (yaml.YAMLError, InputError, ValueError, TypeError, AttributeError, RecursionError):
        known = []
    order = [one.name for one in known if one.name in there]
    lists: dict[str, list[TestSet]] = {}
    for one in known:
        if one.name in there and one.strength and not one.network_is_exact:
            lists.setdefault(one.group, []).append(one)
    return [*order, *(name for name in there if name not in order)], lists


def all_trials(by_set: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the wide table of all test sets: ``test_set``, then the columns of ``results_all_trials.csv``."""
    return _stacked({name: results_all_trials(tidy) for name, tidy in by_set.items()})


def set_results(by_set: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the trials of each test set summarized: ``test_set``, then the columns of ``results.csv``."""
    return _stacked({name: results(tidy) for name, tidy in by_set.items()})


def _stacked(by_set: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return tables one below the other, the name of each in a first column ``test_set``."""
    parts = [found.assign(test_set=name) for name, found in by_set.items()]
    stacked = pd.concat(parts, ignore_index=True)
    return stacked[["test_set", *(name for name in stacked if name != "test_set")]]


def matrix(wide: pd.DataFrame) -> pd.DataFrame:
    """Return what each model loses on each test set, at the largest number of training images.

    Parameters
    ----------
    wide : as :func:`all_trials` makes it

    Returns
    -------
    DataFrame : columns :data:`MATRIX_COLUMNS`. ``value`` and ``held_out`` are medians over the trials, a failed trial
        without a value counting as the worst there is; ``loss`` is the median over the trials of how much worse the
        test set is than the held-out half of the same trial, in the unit of the metric, and n_pairs their number.
        NaN, with status ``no_truth``, where there is no ground truth
    """
    large = wide[wide["train_size"] == wide["train_size"].max()]
    rows: list[dict[str, Any]] = []
    own = large[large["test_set"] == HELD_OUT]
    known = models(large)
    pairs = [(metric, part) for metric, part in metric_parts(wide) if metric in MATRIX_METRICS]
    for name in dict.fromkeys(large["test_set"]):
        for kind, model in known.items():
            found = large[(large["test_set"] == name) & (large["model_type"] == kind)]
            if found.empty:
                continue
            reference = own[own["model_type"] == kind]
            head = {"test_set": name, "train_size": int(large["train_size"].max()), "model_type": kind,
                    "variant": model.variant, "arm": model.arm}  # fmt: skip
            rows += [head | _cell(found, reference, metric, part) for metric, part in pairs]
    return pd.DataFrame(rows, columns=MATRIX_COLUMNS)


def _cell(found: pd.DataFrame, reference: pd.DataFrame, metric: str, part: str) -> dict[str, Any]:
    """Return the figures of one model, metric and part on one test set, from the trials of it and of held-out."""
    name = f"{metric}_{part}"
    sign = -1.0 if describe(metric).higher_is_better else 1.0
    own, theirs = (table.set_index("trial").pipe(ranked, metric, part) for table in (found, reference))
    both = pd.concat([own.rename("own"), theirs.rename("held_out")], axis=1, join="inner").dropna()
    with np.errstate(invalid="ignore"):
        losses = (sign * (both["own"] - both["held_out"])).dropna()
    unscored = (found["status"] == NO_TRUTH).any() and found[name].isna().all()
    failed = int(found["status"].isin(FAILURES).sum())
    return {
        "metric": metric,
        "part": part,
        "n_trials": len(found),
        "n_failed": failed,
        "value": _median(own),
        "held_out": _median(theirs),
        "loss": _median(losses),
        "n_pairs": len(losses),
        "status": NO_TRUTH if unscored else "failed" if failed == len(found) else "ok",
    }


def _median(values: pd.Series) -> float:
    """Return the median of the values that are not NaN, which may be infinite; NaN of none."""
    known = values.dropna()
    return float(known.median()) if len(known) else float("nan")


def read_matrix(path: Path) -> pd.DataFrame:
    """Read ``generalization_matrix.csv``; InputError where it is not such a table."""
    found: pd.DataFrame = text.read_csv(path, ("test_set", "model_type", "variant", "arm", "metric", "part", "status"))
    missing = [name for name in MATRIX_COLUMNS if name not in found]
    if missing:
        raise InputError(f"{path}: column {', '.join(missing)} missing: make the tables again")
    return found.assign(variant=text_column(found["variant"]), arm=text_column(found["arm"]))


def summary_section(losses: pd.DataFrame | None) -> dict[str, str]:
    """Return the section of the summary on further test sets, by title; none without a matrix.

    Parameters
    ----------
    losses : as :func:`matrix` makes it
    """
    if losses is None or losses.empty:
        return {}
    size = losses["train_size"].iloc[0]
    parts = []
    for metric, part in SHOWN:
        rows = losses[(losses["metric"] == metric) & (losses["part"] == part)]
        if len(rows):
            parts.append(f"{describe(metric).axis_label(part)}:\n\n{_matrix_table(rows, metric, part)}")
    body = "\n\n".join(parts)
    return {
        "Other test sets": (
            f"What each model loses on data that it was not trained on, with {size} training images: median over the "
            "trials, and in brackets how much worse it is than on the held-out half, the median of the differences "
            f"within each trial. All metrics: `{layout.MATRIX}`; all sizes: `{layout.TEST_SET_RESULTS}`.\n\n{body}\n\n"
            f"{bullets(_sentences(losses))}"
        )
    }


def _matrix_table(rows: pd.DataFrame, metric: str, part: str) -> str:
    """Return the matrix of one metric in Markdown: a row for each test set, a column for each model."""
    known = models(rows)
    cells = {(row["test_set"], row["model_type"]): row for row in rows.to_dict("records")}
    lines = [
        [name, *(cell_text(cells.get((name, kind)), metric, part) for kind in known)]
        for name in dict.fromkeys(rows["test_set"])
    ]
    return table(["test set", *(model.label for model in known.values())], lines)


def cell_text(row: Mapping[Any, Any] | None, metric: str, part: str) -> str:
    """Return a cell of the matrix: ``0.152 rad (+0.031)``, or why there is no number."""
    if row is None:
        return "–"
    if row["status"] == NO_TRUTH:
        return "no ground truth"
    if not np.isfinite(row["value"]):
        return "failed" if row["n_failed"] else "no value"
    value = describe(metric).value(row["value"], part)
    if row["test_set"] == HELD_OUT or not np.isfinite(row["loss"]):
        return value
    sign = -1.0 if describe(metric).higher_is_better else 1.0
    return f"{value} ({sign * row['loss']:+{_places(row['value'], describe(metric).format)}})"


def _places(value: float, form: str) -> str:
    """Return the format of a difference with the decimal places that ``form`` gives ``value``, e.g. .3f for .3g."""
    if not form.endswith("g") or not 1e-4 <= abs(value) < 1e4:
        return form
    return f".{max(0, int(form[1:-1]) - 1 - math.floor(math.log10(abs(value))))}f"


def drawn(table: pd.DataFrame, swept: Collection[str], strengths: Collection[str]) -> pd.DataFrame:
    """Return the rows that the matrix and the plots by test set show; what has figures of its own is left to these.

    Parameters
    ----------
    table : of :func:`all_trials` or :func:`matrix`
    swept : variants that are values of a sweep
    strengths : test sets of lists of strengths; they and their counterparts are kept where there is no other set
    """
    others = table[~table["variant"].isin(list(swept))]
    listed = {*strengths, *(f"{name}_{EXACT_IN_NETWORK}" for name in strengths)}
    left = others[~others["test_set"].isin(listed)]
    return left if set(left["test_set"]) - {HELD_OUT} else others


def _sentences(losses: pd.DataFrame) -> Iterable[str]:
    """Yield a sentence for each test set: which model has the lowest phase error there, and who loses least."""
    rows = losses[(losses["metric"] == "rmse") & (losses["part"] == "phase") & (losses["test_set"] != HELD_OUT)]
    for name, group in rows.groupby("test_set", sort=False):
        if (group["status"] == NO_TRUTH).all():
            yield f"{name}: no ground truth, so nothing is scored: see the figures in `train_*/trial_*/test_{name}`."
            continue
        good = group[np.isfinite(group["value"])]
        if good.empty:
            yield f"{name}: no model has a value: all trials failed."
            continue
        labels = {row["model_type"]: Model(row["arm"], row["variant"]).label for row in good.to_dict("records")}
        best = good.loc[good["value"].idxmin()]
        words = [
            f"{labels[row['model_type']]} {'gains' if row['loss'] < 0 else 'loses'} {abs(row['loss']):.3g} rad "
            f"({row['held_out']:.3g} to {row['value']:.3g})"
            for row in good[np.isfinite(good["loss"])].to_dict("records")
        ]
        exact = " (the networks keep the exact probe, the stitching alone is told the wrong one)"
        what = f"{name}{exact if str(name).endswith(EXACT_IN_NETWORK) else ''}"
        yield f"{what}: {', '.join(words) or 'no pair'}. Lowest phase RMSE: {labels[best['model_type']]}."
