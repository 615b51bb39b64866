"""Write STUDY_SUMMARY.md, results_table.tex, costs.csv and costs.png from what a study holds."""

import argparse
import dataclasses
import logging
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy.spatial import cKDTree

from ptycho import __version__
from ptycho.commands.cli import entry_point
from ptycho.config.keys import renamed
from ptycho.config.schema import MeasuredConfig, PlotsConfig, StudyConfig
from ptycho.errors import InputError
from ptycho.io import files, npz
from ptycho.io.text import read_json, to_jsonable, write_csv, write_text
from ptycho.plotting import style
from ptycho.plotting.costs import costs_figure
from ptycho.preparation.load import load_scan
from ptycho.results import layout, schema
from ptycho.study import costs, summary, sweeps, test_sets
from ptycho.study.artifacts import read_histories
from ptycho.study.metric_tables import read_study_table, require_same_trials

logger = logging.getLogger(__name__)

BEFORE = {"adam_beta_2": 0.999}  # of trainings from before there was this key: the default of Adam


def build_parser() -> argparse.ArgumentParser:
    """Return the flags of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study_dir", type=Path, help="directory with study_config.txt, results.csv and statistics.csv")
    parser.add_argument("--output_dir", type=Path, help="where tables are, and the summary goes (default: STUDY_DIR)")
    parser.add_argument("--test_data", type=Path, help="test dataset npz, whose history is stated")
    parser.add_argument(
        "--train_data", type=Path, help="training dataset npz: how far its windows reach into the test's"
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Write the summary of a study and what it cost.

    Raises
    ------
    InputError : a table of the study is missing, or a dataset is not one
    """
    study, out = arguments.study_dir, arguments.output_dir or arguments.study_dir
    config, omitted = _configuration(study / layout.STUDY_CONFIG)
    variants = [name for name in layout.branches(study) if name]
    names = (layout.RESULTS, layout.STATISTICS, layout.ALL_TRIALS)
    results, statistics, wide = (read_study_table(out / name, variants) for name in names)
    require_same_trials(out / layout.RESULTS, results, wide)
    times, laws = out / layout.TIMES, out / layout.SCALING_LAW
    spent, skipped = costs.read_costs(study)
    text = summary.study_summary(
        config,
        results,
        statistics.astype({"train_size": "Int64"}),
        wide,
        _expected(config),
        {**_hardware(), **_versions(study), **_times(spent), **_data(arguments.test_data)},
        [
            *omitted,
            *skipped,
            *_overlap(arguments.train_data, arguments.test_data, MeasuredConfig(**config.get("measured", {}))),
            *_fit_warnings({"training": arguments.train_data, "test": arguments.test_data}),
            *_stale_training_warnings(study, config),
            *summary.loss_warnings(read_histories(study, wide)),
        ],
        read_study_table(times, variants) if times.exists() else None,
        read_study_table(laws, variants).astype({"train_size": "Int64"}) if laws.exists() else None,
        _losses(out / layout.MATRIX, study, config),
    )
    write_csv(out / layout.COSTS, spent)
    if spent["trial"].notna().any():
        plots = PlotsConfig(**config.get("plots", {}))
        style.save_figure(costs_figure(spent, plots), out / layout.COSTS_PLOT, plots)
    write_text(out / layout.RESULTS_TEX, summary.results_tex(results, wide))
    write_text(out / layout.SUMMARY, text)


def _losses(path: Path, study: Path, config: dict[str, Any]) -> pd.DataFrame | None:
    """Return what the models lose on further test sets; None where the study has none, or none any more.

    Variants that are values of a sweep are left to its own figure and table.
    """
    if not path.exists() or (config and not config["test_sets"]):
        return None
    swept = {name for values in sweeps.configured(study).values() for name in values if name}
    losses = test_sets.read_matrix(path)
    return losses[~losses["variant"].isin(swept)]


def _configuration(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the resolved configuration of a study, and a sentence where the summary must do without it.

    A study of another tool has its settings in another form, or none.
    """
    if not path.exists():
        return {}, []
    try:
        config = yaml.safe_load(files.read_bytes(path))
        if not isinstance(config, dict):
            raise InputError(f"{type(config).__name__}, expected keys and values")
        return dataclasses.asdict(StudyConfig.from_mapping(config)), []
    except (yaml.YAMLError, InputError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        logger.warning("%s: not a configuration of this version (%s): the summary omits it", path, reason)
        return {}, [f"{path.name} is not a configuration of this version ({reason}): data and methods are omitted."]


def _expected(config: dict[str, Any]) -> list[tuple[int, int]]:
    """Return (size, trial) of every trial that is configured."""
    trials = range(1, config.get("num_trials", 0) + 1)
    return [(size, trial) for size in config.get("train_sizes", ()) for trial in trials]


def _overlap(train_data: Path | None, test_data: Path | None, as_measured: MeasuredConfig) -> list[str]:
    """Return a warning where test patterns share pixels with training patterns: the test set is not fully held out."""
    if train_data is None or test_data is None:
        return []
    train, test = (load_scan(path, None if npz.is_dataset(path) else as_measured) for path in (train_data, test_data))
    if train.object is None or test.object is None:
        return []  # nothing is scored, and positions may count from anywhere
    window = test.window_px
    points = [np.stack([data.xcoords, data.ycoords], axis=1) for data in (train, test)]
    nearest, _ = cKDTree(points[0]).query(points[1], p=np.inf)
    share = float(np.mean(nearest < window))
    if not share:
        return []
    return [
        f"{share:.0%} of the test patterns share pixels with a training pattern (the nearest centres are "
        f"{nearest.min():.1f} px apart, patterns are {window} px wide): a larger "
        "preparation.split_gap_px separates them, for data of your own split_dataset_tool.py --split-gap."
    ]


def _stale_training_warnings(study: Path, config: dict[str, Any]) -> list[str]:
    """Return a warning for each training with other settings than the study's, and for sizes that it does not name."""
    lines = []
    for path in layout.params_files(study):
        params, kind = read_json(path), path.parent.name.removesuffix("_run")
        if not isinstance(params, dict):
            lines.append(f"{path.relative_to(study)}: not the settings of a training: not compared with the study's.")
        elif kind in schema.TRAINED and kind in config:
            wanted = {"config": config[kind], "training": config["training"], "seed": config["seed"]}
            used = {key: params.get(key) for key in wanted}
            if isinstance(used["training"], dict):
                used["training"] = BEFORE | renamed(used["training"])
            if to_jsonable(wanted) != used:
                lines.append(f"{path.parent.relative_to(study)}: trained with other settings than those below.")
    found = {int(match[1]) for path in study.glob("train_*") if (match := re.fullmatch(r"train_(\d+)", path.name))}
    left_out = sorted(found - set(config.get("train_sizes", found)))
    if left_out:
        sizes = ", ".join(map(str, left_out))
        lines.append(f"Results of {sizes} images are there but not in train_sizes: excluded from all tables.")
    return lines


def _hardware() -> dict[str, str]:
    """Return the machine that writes the summary."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"This summary was written on": f"{os.cpu_count()} cores, {platform.machine()}, {memory:.0f} GiB of memory"}


def _versions(study: Path) -> dict[str, str]:
    """Return versions of this software and of what the models were trained with, and the device."""
    facts = {"ptycho": __version__}
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
        if commit.returncode == 0:
            facts["Commit of the summary"] = commit.stdout.strip()
    except OSError:
        logger.info("git is not installed: the summary omits the commit")
    params = layout.params_files(study)
    found = read_json(params[0]) if params else {}
    versions = found.get("versions", {}) if isinstance(found, dict) else {}
    if isinstance(found, dict) and "device" in found:
        facts["Trained on"] = str(found["device"])
    known = versions if isinstance(versions, dict) else {}
    return facts | {name: str(version) for name, version in known.items() if name != "ptycho"}


def _times(table: pd.DataFrame) -> dict[str, str]:
    """Return wall time and peak memory by kind of job."""
    return {
        f"Time of {job}": f"{len(group)} job{'s' * (len(group) > 1)}, {group['seconds'].median():.1f} s each (median), "
        f"{group['seconds'].sum():.0f} s in all, {group['memory_mb'].max():.0f} MB at most"
        for job, group in table.groupby("job")
    }


def _data(test_data: Path | None) -> dict[str, str]:
    """Return what the test dataset says of itself."""
    if test_data is None:
        return {}
    metadata = npz.read_metadata(test_data)
    facts = {"Test data": str(test_data)}
    for step in metadata.steps:
        if step.step == "read":  # conventions of the original file, as stated or inferred
            facts["Test data read as"] = ", ".join(f"{key} {value}" for key, value in step.parameters.items())
    if metadata.model_mismatch is not None:
        facts["Mismatch of model and data"] = f"{metadata.model_mismatch:.2%} of the amplitude, before any training"
    return facts


def _fit_warnings(data: dict[str, Path | None]) -> list[str]:
    """Return a warning for each part of the data whose patterns its probe and object do not explain."""
    return [
        f"The {part} data {path}: {bad_fit}. Do not use the results."
        for part, path in data.items()
        if path is not None and (bad_fit := npz.read_metadata(path).bad_fit) is not None
    ]


entry = entry_point(main, build_parser)
