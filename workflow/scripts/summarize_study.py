#!/usr/bin/env python
"""Write STUDY_SUMMARY.md and results_table.tex from the tables, benchmarks and configuration of a study."""

import argparse
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from _command import run
from scipy.spatial import cKDTree

from ptycho import __version__
from ptycho.data import store
from ptycho.data.canonical import metadata_of
from ptycho.errors import InputError
from ptycho.study import summary


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study_dir", type=Path, help="directory with study_config.txt, results.csv and statistics.csv")
    parser.add_argument("--test_data", type=Path, help="test dataset npz, whose history is stated")
    parser.add_argument(
        "--train_data", type=Path, help="training dataset npz: how far its windows reach into the test's"
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    study = arguments.study_dir
    written = study / "study_config.txt"
    config = yaml.safe_load(store.read_bytes(written)) if written.exists() else {}
    if not isinstance(config, dict):
        raise InputError(f"{written}: not the configuration of a study: expected keys and values")
    tables = {name: store.read_csv(study / f"{name}.csv") for name in ("results", "statistics", "results_all_trials")}
    times = study / "times.csv"
    text = summary.study_summary(
        config,
        tables["results"],
        tables["statistics"].astype({"train_size": "Int64"}),
        tables["results_all_trials"],
        _expected(config),
        {**_hardware(), **_versions(study), **_times(study), **_data(arguments.test_data)},
        _overlap(arguments.train_data, arguments.test_data),
        store.read_csv(times) if times.exists() else None,
    )
    store.write_text(study / "results_table.tex", summary.results_tex(tables["results"], tables["results_all_trials"]))
    store.write_text(study / "STUDY_SUMMARY.md", text)


def _expected(config: dict[str, Any]) -> list[tuple[int, int]]:
    trials = range(1, config.get("num_trials", 0) + 1)
    return [(size, trial) for size in config.get("train_sizes", ()) for trial in trials]


def _overlap(train_data: Path | None, test_data: Path | None) -> list[str]:
    """Return a warning where test windows share pixels with training windows: what is tested was partly seen."""
    if train_data is None or test_data is None:
        return []
    train, test = (store.read_npz(path, ("xcoords", "ycoords", "probeGuess")) for path in (train_data, test_data))
    window = test["probeGuess"].shape[-1]
    points = [np.stack([data["xcoords"], data["ycoords"]], axis=1) for data in (train, test)]
    nearest, _ = cKDTree(points[0]).query(points[1], p=np.inf)
    share = float(np.mean(nearest < window))
    if not share:
        return []
    return [
        f"{share:.0%} of the test windows share pixels with a training window (the nearest centres are "
        f"{nearest.min():.1f} px apart, windows are {window} px wide): a larger preparation.split_gap_px parts them."
    ]


def _hardware() -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"Processor": f"{os.cpu_count()} cores, {platform.machine()}, {memory:.0f} GiB of memory"}


def _versions(study: Path) -> dict[str, str]:
    facts = {"ptycho": __version__}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if commit.returncode == 0:
        facts["Commit"] = commit.stdout.strip()
    params = sorted(study.glob("train_*/trial_*/*_run/params.json"))
    versions = store.read_json(params[0])["versions"] if params else {}
    return facts | {name: version for name, version in versions.items() if name != "ptycho"}


def _times(study: Path) -> dict[str, str]:
    """Return wall time and peak memory by kind of job, from Snakemake's benchmarks."""
    rows = [pd.read_csv(path, sep="\t").assign(job=_kind(path.stem)) for path in study.glob("benchmarks/*.tsv")]
    if not rows:
        return {}
    jobs = pd.concat(rows).groupby("job")
    return {
        f"Time of {job}": f"{len(group)} jobs, {group['s'].median():.1f} s each (median), "
        f"{group['s'].sum():.0f} s in all, {pd.to_numeric(group['max_rss'], errors='coerce').max():.0f} MB at most"
        for job, group in jobs
    }


def _kind(job: str) -> str:
    return "plot" if job.startswith("plot_") else job.rstrip("_0123456789")


def _data(test_data: Path | None) -> dict[str, str]:
    if test_data is None:
        return {}
    arrays = store.read_npz(test_data, (), ("metadata",))
    with store.naming(test_data):
        metadata = metadata_of(arrays)
    facts = {"Test data": str(test_data)}
    if "model_mismatch" in metadata:
        facts["Mismatch of model and data"] = f"{metadata['model_mismatch']:.2%} of the amplitude, before any training"
    return facts


if __name__ == "__main__":
    run(main, build_parser())
