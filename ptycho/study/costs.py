"""What each job of a study took, read from Snakemake's benchmarks."""

import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ptycho.results import layout

logger = logging.getLogger(__name__)

COLUMNS = ["job", "variant", "arm", "train_size", "trial", "seconds", "cpu_seconds", "memory_mb"]
MEASURED = {"seconds": "s", "cpu_seconds": "cpu_time", "memory_mb": "max_rss"}  # Snakemake's names
ARMS = {"train_pinn": "pinn", "train_baseline": "baseline", "iterative": "iterative", "refined": "refined"}
KINDS = {  # beginning of the names of benchmarks that stand for one kind of job: their ends are names, no sizes
    "plot_": "plot", "iterative_test_": "iterative_test_set", "import_test_set_": "import_test_set",
    "prepare_": "prepare_data",
}  # fmt: skip
UNREADABLE = (OSError, ValueError, KeyError, IndexError)  # also pandas' own
OF_A_SIZE = re.compile(r"(.+?)_(\d+)(?:_(\d+))?")  # train_pinn_512_1, compare_512


class Costs(NamedTuple):
    """What the jobs of a study took.

    Parameters
    ----------
    table : job (``train_pinn``, ``plot``, ...), variant (empty for the study itself), arm (empty where a job is not of
        one), train_size and trial (empty where a job has none), seconds (wall), cpu_seconds, memory_mb (most that was
        resident)
    skipped : a sentence for each benchmark that could not be read
    """

    table: pd.DataFrame
    skipped: list[str]


def read_costs(study_dir: Path | str) -> Costs:
    """Read ``benchmarks/*.tsv`` of a study and its variants.

    A benchmark that holds no measurement, as of a job that is still running or failed, is logged and skipped.
    """
    rows: list[list[Any]] = []
    skipped: list[str] = []
    for variant, directory in layout.branches(study_dir).items():
        for path in sorted(directory.glob(f"{layout.BENCHMARKS_DIR}/*.tsv")):
            try:
                row = measured(path)
            except UNREADABLE as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                skipped.append(f"{path.relative_to(study_dir)}: no measurement ({reason}): missing from the costs.")
                logger.warning("%s: no measurement (%s): missing from the costs", path, reason)
                continue
            job, size, trial = job_of(path.stem)
            rows.append([job, variant, ARMS.get(job, ""), size, trial, *row])
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"train_size": "Int64", "trial": "Int64"})
    return Costs(table, skipped)


def measured(path: Path) -> list[float]:
    """Return what a benchmark measured last, in the order of MEASURED; NaN where Snakemake could not measure it.

    It raises one of UNREADABLE for a file without a measurement.
    """
    table = pd.read_csv(path, sep="\t")
    if table.empty:
        raise ValueError("no row")
    row = table.iloc[-1]
    return [float(pd.to_numeric(row[key], errors="coerce")) for key in MEASURED.values()]


def job_of(name: str) -> tuple[str, Any, Any]:
    """Return job, size and trial of the name of a benchmark; empty where it has none."""
    kind = next((job for start, job in KINDS.items() if name.startswith(start)), None)
    if kind is not None:
        return kind, pd.NA, pd.NA
    match = OF_A_SIZE.fullmatch(name)
    if match is None:
        return name, pd.NA, pd.NA
    return match[1], int(match[2]), pd.NA if match[3] is None else int(match[3])
