"""What each job of a study took, read from Snakemake's benchmarks."""

import re
from pathlib import Path
from typing import Any

import pandas as pd

from ptycho.results import layout

COLUMNS = ["job", "variant", "train_size", "trial", "seconds", "cpu_seconds", "memory_mb"]
OF_A_SIZE = re.compile(r"(.+?)_(\d+)(?:_(\d+))?")  # train_pinn_512_1, compare_512


def read_costs(study_dir: Path | str) -> pd.DataFrame:
    """Read ``benchmarks/*.tsv`` of a study and its variants; files that a job has just begun are left out.

    Returns
    -------
    DataFrame : job (``train_pinn``, ``plot``, ...), variant (empty for the study itself), train_size and trial (empty
        where a job has none), seconds (wall), cpu_seconds, memory_mb (most that was resident)
    """
    rows: list[list[Any]] = []
    for variant, directory in layout.branches(study_dir).items():
        for path in sorted(directory.glob("benchmarks/*.tsv")):
            measured = _measured(path)
            if measured is not None:
                rows.append([*_job(path.stem)[:1], variant, *_job(path.stem)[1:], *measured])
    return pd.DataFrame(rows, columns=COLUMNS).astype({"train_size": "Int64", "trial": "Int64"})


def _measured(path: Path) -> list[float] | None:
    try:
        row = pd.read_csv(path, sep="\t").iloc[-1]
        return [float(pd.to_numeric(row[key], errors="coerce")) for key in ("s", "cpu_time", "max_rss")]
    except (ValueError, KeyError, IndexError, pd.errors.ParserError):
        return None


def _job(name: str) -> tuple[str, Any, Any]:
    if name.startswith("plot_"):
        return "plot", pd.NA, pd.NA
    match = OF_A_SIZE.fullmatch(name)
    if match is None:
        return name, pd.NA, pd.NA
    return match[1], int(match[2]), pd.NA if match[3] is None else int(match[3])
