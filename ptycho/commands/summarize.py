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
from ptycho.config.schema import MeasuredConfig, PlotsConfig, StudyConfig
from ptycho.data.metadata import parse_metadata
from ptycho.errors import InputError
from ptycho.io import files, npz
from ptycho.io.text import read_csv, read_json, to_jsonable, write_csv, write_text
from ptycho.plotting import style
from ptycho.plotting.costs import costs_figure
from ptycho.preparation.load import load_scan
from ptycho.study import costs, summary

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study_dir", type=Path, help="directory with study_config.txt, results.csv and statistics.csv")
    parser.add_argument("--output_dir", type=Path, help="where tables are, and the summary goes (default: STUDY_DIR)")
    parser.add_argument("--test_data", type=Path, help="test dataset npz, whose history is stated")
    parser.add_argument(
        "--train_data", type=Path, help="training dataset npz: how far its windows reach into the test's"
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    study, out = arguments.study_dir, arguments.output_dir or arguments.study_dir
    config = _configuration(study / "study_config.txt")
    tables = {name: read_csv(out / f"{name}.csv") for name in ("results", "statistics", "results_all_trials")}
    times, spent = out / "times.csv", costs.read_costs(study)
    text = summary.study_summary(
        config,
        tables["results"],
        tables["statistics"].astype({"train_size": "Int64"}),
        tables["results_all_trials"],
        _expected(config),
        {**_hardware(), **_versions(study), **_times(spent), **_data(arguments.test_data)},
        [
            *_overlap(arguments.train_data, arguments.test_data, MeasuredConfig(**config.get("measured", {}))),
            *_astray(study, config),
        ],
        read_csv(times) if times.exists() else None,
    )
    write_csv(out / "costs.csv", spent)
    if spent["trial"].notna().any():
        plots = PlotsConfig(**config.get("plots", {}))
        style.save_figure(costs_figure(spent, plots), out / "costs.png", plots)
    write_text(out / "results_table.tex", summary.results_tex(tables["results"], tables["results_all_trials"]))
    write_text(out / "STUDY_SUMMARY.md", text)


def _configuration(path: Path) -> dict[str, Any]:
    """Return the resolved configuration of a study; of one made elsewhere, which says it in its own way, nothing."""
    if not path.exists():
        return {}
    try:
        config = yaml.safe_load(files.read_bytes(path))
        return dataclasses.asdict(StudyConfig.from_mapping(config))
    except (yaml.YAMLError, InputError, TypeError, AttributeError):
        logger.warning("%s: not a configuration of this version: the summary does without", path)
        return {}


def _expected(config: dict[str, Any]) -> list[tuple[int, int]]:
    trials = range(1, config.get("num_trials", 0) + 1)
    return [(size, trial) for size in config.get("train_sizes", ()) for trial in trials]


def _overlap(train_data: Path | None, test_data: Path | None, as_measured: MeasuredConfig) -> list[str]:
    """Return a warning where test windows share pixels with training windows: what is tested was partly seen."""
    if train_data is None or test_data is None:
        return []
    train, test = (load_scan(path, as_measured) for path in (train_data, test_data))
    if train.object is None or test.object is None:
        return []  # nothing is scored, and positions may count from anywhere
    window = test.window_px
    points = [np.stack([data.xcoords, data.ycoords], axis=1) for data in (train, test)]
    nearest, _ = cKDTree(points[0]).query(points[1], p=np.inf)
    share = float(np.mean(nearest < window))
    if not share:
        return []
    return [
        f"{share:.0%} of the test windows share pixels with a training window (the nearest centres are "
        f"{nearest.min():.1f} px apart, windows are {window} px wide): a larger preparation.split_gap_px parts them."
    ]


def _astray(study: Path, config: dict[str, Any]) -> list[str]:
    """Return a warning for each training with other settings than the study's, and for sizes that it does not name."""
    lines = []
    for path in sorted(study.glob("train_*/trial_*/*_run/params.json")):
        params, kind = read_json(path), path.parent.name.removesuffix("_run")
        if kind in config and isinstance(params, dict):
            wanted = {"config": config[kind], "training": config["training"], "seed": config["seed"]}
            if to_jsonable(wanted) != {key: params.get(key) for key in wanted}:
                lines.append(f"{path.parent.relative_to(study)}: trained with other settings than those below.")
    found = {int(match[1]) for path in study.glob("train_*") if (match := re.fullmatch(r"train_(\d+)", path.name))}
    left_out = sorted(found - set(config.get("train_sizes", found)))
    if left_out:
        sizes = ", ".join(map(str, left_out))
        lines.append(f"Results of {sizes} images are there but not in train_sizes: they stand in no table.")
    return lines


def _hardware() -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"This summary was written on": f"{os.cpu_count()} cores, {platform.machine()}, {memory:.0f} GiB of memory"}


def _versions(study: Path) -> dict[str, str]:
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
        logger.info("no git here: the commit is not stated")
    params = sorted(study.glob("train_*/trial_*/*_run/params.json"))
    found = read_json(params[0]) if params else {}
    versions = found.get("versions", {}) if isinstance(found, dict) else {}
    if isinstance(found, dict) and "device" in found:
        facts["Trained on"] = str(found["device"])
    return facts | {name: version for name, version in versions.items() if name != "ptycho"}


def _times(table: pd.DataFrame) -> dict[str, str]:
    """Return wall time and peak memory by kind of job."""
    return {
        f"Time of {job}": f"{len(group)} jobs, {group['seconds'].median():.1f} s each (median), "
        f"{group['seconds'].sum():.0f} s in all, {group['memory_mb'].max():.0f} MB at most"
        for job, group in table.groupby("job")
    }


def _data(test_data: Path | None) -> dict[str, str]:
    if test_data is None:
        return {}
    arrays = npz.read_npz(test_data, (), ("metadata",))
    with files.error_context(test_data):
        metadata = parse_metadata(arrays)
    facts = {"Test data": str(test_data)}
    if "model_mismatch" in metadata:
        facts["Mismatch of model and data"] = f"{metadata['model_mismatch']:.2%} of the amplitude, before any training"
    return facts
