#!/usr/bin/env python
"""Time of the commands that a study consists of, beside another checkout of this project; for docs/performance.md.

    python benchmarks/commands.py RECONSTRUCTION.npz [--checkout FOLDER ...] [--repeat 3] [--write]

On 2,000 simulated patterns of the reconstruction, half of them for training: the seven commands of the preparation,
both trainings (512 images, 50 epochs, one thread), the comparison of both models on the 1,000 patterns of the test
half, the reconstruction of these by one model, and a dry run of the extended study with five trials and four arms.
Checkouts take turns, so that all see the same machine; each runs with the Python of its own .venv, if it has one. The
trainings are run once, all else --repeat times; the shortest wall time counts. Nothing else should run meanwhile.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from panel_report import insert, markdown  # beside this script
from preparation import commands as preparation

ROOT = Path(__file__).resolve().parents[1]
GOALS = {  # of this version: column, seconds
    "preparation of 2,000 images, 7 commands": ("wall_s", 3.0),
    "training of PtychoPINN, 512 images": ("cpu_s", 55.0),
    "training of the baseline, 512 images": ("cpu_s", None),
    "comparison of two models, 1,000 patterns": ("wall_s", 6.0),
    "reconstruction of 1,000 patterns, one model": ("wall_s", None),
    "dry run of the extended study, 5 trials, 4 arms": ("wall_s", 3.0),
}


def called(words: list[str], checkout: Path, directory: Path, threads: str | None = None) -> tuple[float, float]:
    """Run a command of a checkout and return its wall and CPU seconds."""
    own = checkout / ".venv/bin/python"
    environment = {**os.environ, "PYTHONPATH": str(checkout), "TF_CPP_MIN_LOG_LEVEL": "3"}
    if own.exists():
        environment["PATH"] = f"{own.parent}:{environment['PATH']}"
    if threads:
        environment["OMP_NUM_THREADS"] = threads
    python = str(own if own.exists() else sys.executable)
    script = (
        [python, "-m", "snakemake"] if words[0] == "snakemake" else [python, f"{checkout}/workflow/scripts/{words[0]}"]
    )
    log = directory / "log.txt"
    started = time.perf_counter()
    with log.open("w") as stream:
        process = subprocess.Popen([*script, *words[1:]], cwd=directory, env=environment, stdout=stream, stderr=stream)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"failed in {checkout}: {' '.join(words)}\n{log.read_text()[-2000:]}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def steps(source: Path) -> dict[str, tuple[list[list[str]], str | None]]:
    """Return the commands of each step, and the number of threads they are limited to."""
    train, test = "final/downsampled_train.npz", "final/downsampled_test.npz"
    names = list(GOALS)
    return {
        names[0]: ([words for _, words in preparation(source, 2000)], None),
        names[1]: ([["train.py", "--train_data_file", train, "--n_images", "512", "--output_dir", "pinn"]], "1"),
        names[2]: ([["run_baseline.py", "--train_data", train, "--n_images", "512", "--output_dir", "baseline"]], "1"),
        names[3]: ([["compare_models.py", "--pinn_dir", "pinn", "--baseline_dir", "baseline", "--test_data", test,
                     "--output_dir", "compared"]], None),
        names[4]: ([["reconstruct.py", "--model_dir", "pinn", "--data", test, "--output", "object.npz"]], None),
        names[5]: ([["snakemake", "-n", "--quiet", "all", "--cores", "2", "--snakefile",
                     "{checkout}/workflow/Snakefile", "--configfile", "{checkout}/config/studies/extended.yaml",
                     "--config", "num_trials=5",
                     "arms=[pinn,baseline,iterative,refined]"]], None),
    }  # fmt: skip


def measure(source: Path, checkouts: dict[str, Path], repeat: int, say: Callable[[str], None] = print) -> pd.DataFrame:
    """Return the shortest wall and CPU seconds of each step and checkout."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name in checkouts:
            Path(place, name).mkdir()
        for step, (commands, threads) in steps(source).items():
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
            for _ in range(1 if step.startswith("training") else repeat):
                for name, checkout in checkouts.items():
                    words = [[word.replace("{checkout}", str(checkout)) for word in line] for line in commands]
                    parts = [called(line, checkout, Path(place, name), threads) for line in words]
                    times[name].append((sum(wall for wall, _ in parts), sum(cpu for _, cpu in parts)))
            for name, found in times.items():
                wall, cpu = min(found)
                rows.append({"step": step, "commit": name, "wall_s": wall, "cpu_s": cpu})
                say(f"{step}, {name}: {wall:.1f} s, CPU {cpu:.1f} s")
    return pd.DataFrame(rows)


def table(rows: pd.DataFrame) -> str:
    """Return seconds of each step and commit in Markdown, in the order of the checkouts, and the goals."""
    lines = []
    for step, (column, goal) in GOALS.items():
        unit = "CPU s" if column == "cpu_s" else "s"
        values = [f"{value:.1f} {unit}" for value in rows.loc[rows["step"] == step, column]]
        lines.append([step, *values, "" if goal is None else f"{goal:g} {unit}"])
    return markdown(["step", *rows["commit"].unique(), "goal"], lines)


def commit(checkout: Path) -> str:
    """Return the short hash of a checkout."""
    found = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], capture_output=True, check=True
    )
    return found.stdout.decode().strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="reconstruction npz")
    parser.add_argument("--checkout", type=Path, nargs="*", default=[], help="other checkouts, measured first")
    parser.add_argument("--repeat", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--write", action="store_true", help="write the table to docs/performance.md")
    arguments = parser.parse_args()
    checkouts = {commit(folder): folder.resolve() for folder in [*arguments.checkout, ROOT]}
    shown = table(measure(arguments.source.resolve(), checkouts, arguments.repeat))
    print(shown)
    if arguments.write:
        insert("commands", shown, ROOT / "docs" / "performance.md")


if __name__ == "__main__":
    main()
