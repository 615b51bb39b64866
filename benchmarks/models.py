#!/usr/bin/env python
"""Train and score both models for docs/performance.md: the main table, the ablations, other specimens.

    python benchmarks/models.py RECONSTRUCTION.npz [--work results/benchmark] [--only main specimens] [--write]

Every run uses the commands of this project: preparation, train.py or run_baseline.py, and compare_models.py. Finished
trainings are kept in --work and are not repeated as long as the code of preparation and training is the same; scores
are computed again when any code changes. --write writes tables and figures to docs/. Nothing else should run at the
same time. With --jobs 2 two runs share two cores, one thread each.
"""

import argparse
import functools
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "workflow" / "scripts"
N_IMAGES = 512
TRAINING = ("config", "data", "io", "physics", "preparation", "models")  # packages that prepare and train
TRIALS = {  # number of seeds of each
    "bin": {"pinn": 3, "baseline": 3},
    "bin, augmented": {"pinn": 1, "baseline": 1},
    "fourier": {"pinn": 1, "baseline": 1},
}
STANDARD = "standard specimen"  # of config/config.yaml
STANDARD_SIZES = (512, 2048)
REAL = {"bin": ["--method", "bin"], "fourier": ["--method", "fourier"]}
SPECIMENS = {
    "lines, Gaussian probe": ["--object", "lines", "--probe", "gaussian", "--size_px", "288"],
    "cells, disk probe": ["--object", "cells", "--probe", "disk", "--size_px", "288"],
    "stars, zone plate": ["--object", "siemens_star", "--probe", "zone_plate", "--size_px", "288"],
    "leaves, zone plate, N = 128": ["--object", "dead_leaves", "--window_px", "128", "--size_px", "448"],
}
SPECIMENS_AND_STANDARD = {**SPECIMENS, STANDARD: []}
DATA = "bin"  # the preparation of the real input for the ablations
LABELS = {"pinn": "PtychoPINN", "baseline": "Baseline"}
EXTRAS = ["--augmentation_ratio", "0.5"]
ABLATIONS: dict[str, tuple[str, list[str]]] = {
    "as configured": ("pinn", []),
    "augmented": ("pinn", EXTRAS),
    "no overlap canvas": ("pinn", ["--overlap_weight", "0"]),
    "augmented, no physics on the measured patterns": (
        "pinn",
        [*EXTRAS, "--overlap_weight", "0", "--pattern_weight", "0"],
    ),
    "gridsize 2": ("pinn", ["--gridsize", "2"]),
    "twice the filters": ("pinn", ["--n_filters_scale", "1"]),
    "half the epochs": ("pinn", ["--nepochs", "25"]),
    "half the learning rate": ("pinn", ["--learning_rate", "0.001"]),
    "amplitude error added to the likelihood": ("pinn", ["--amplitude_weight", "0.1"]),
    "sigmoid amplitude": ("pinn", ["--amplitude_activation", "sigmoid"]),
    "trainable probe": ("pinn", ["--trainable_probe"]),
    "float32 convolutions": ("pinn", ["--precision", "float32"]),
    "baseline as configured": ("baseline", []),
    "baseline, augmented": ("baseline", EXTRAS),
    "baseline, half the learning rate": ("baseline", ["--learning_rate", "0.001"]),
}


@dataclass(frozen=True)
class Run:
    """One training and its score; ``label`` names the row of a table, ``group`` the table."""

    group: str
    label: str
    data: str
    model: str
    flags: tuple[str, ...]
    trial: int
    threads: str = ""  # all
    n_images: int = N_IMAGES


def runs() -> Iterator[Run]:
    """Yield every run."""
    for n_images in STANDARD_SIZES:
        for model, label in LABELS.items():
            for words, flags in (("", ()), (", augmented", tuple(EXTRAS))):
                yield Run("standard", f"{label}{words}, {n_images} images", STANDARD, model, flags, 1, "1", n_images)
    for name, trials in TRIALS.items():
        data, comma, extras = name.partition(",")
        for model, label in LABELS.items():
            for trial in range(1, trials[model] + 1):
                yield Run("main", label + comma + extras, data, model, tuple(EXTRAS if extras else ()), trial)
    for specimen in SPECIMENS:
        for model, label in LABELS.items():
            yield Run("specimens", label, specimen, model, (), 1)
    for label, (model, flags) in ABLATIONS.items():
        yield Run("ablation", label, DATA, model, tuple(flags), 1)


def command(words: list[str], log: Path, threads: str = "") -> float:
    """Run one of the project's commands and return its CPU seconds, user and system."""
    called = [sys.executable, str(SCRIPTS / words[0]), *words[1:]]
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    with log.open("a") as stream:
        process = subprocess.Popen(called, stderr=stream, stdout=stream, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"failed: {' '.join(words)}; see {log}")
    return usage.ru_utime + usage.ru_stime


def prepare(source: Path, name: str, work: Path) -> tuple[Path, Path]:
    """Return training and test data; if they do not exist yet, prepare them with the commands of the study guide."""
    stem = "".join(letter if letter.isalnum() else "_" for letter in name)
    folder = work / f"data-{code(TRAINING)}" / stem
    files = folder / f"{stem}_train.npz", folder / f"{stem}_test.npz"
    if all(file.exists() for file in files):
        return files
    folder.mkdir(parents=True, exist_ok=True)
    log, stages = folder / "prepare.log", [folder / f"stage{i}.npz" for i in range(5)]
    if name in SPECIMENS_AND_STANDARD:
        command(["make_specimen.py", str(stages[0]), *SPECIMENS_AND_STANDARD[name]], log)
    else:
        command(["pad_to_even_tool.py", str(source), str(folder / "padded.npz")], log)
        command(["transpose_rename_convert_tool.py", str(folder / "padded.npz"), str(stages[0])], log)
    command(["prepare_data_tool.py", str(stages[0]), str(stages[1]), "--interpolate"], log)
    command(["prepare_data_tool.py", str(stages[1]), str(stages[2]), "--smooth"], log)
    command(["simulate_and_save.py", "--input-file", str(stages[2]), "--output-file", str(stages[3]),
             "--n-images", "20000" if name == STANDARD else "2000"], log)  # fmt: skip
    as_guide = name in REAL or name == STANDARD
    method = REAL["bin"] if name == STANDARD else REAL.get(name, REAL["fourier"])
    gap = [] if as_guide else ["--split-gap", "32"]
    command(["downsample_data_tool.py", str(stages[3]), str(folder / f"{stem}.npz"), *method], log)
    command(["split_dataset_tool.py", str(folder / f"{stem}.npz"), str(folder), *gap], log)
    for path in (*stages, folder / "padded.npz", folder / f"{stem}.npz"):
        path.unlink(missing_ok=True)
    return files


@functools.cache
def code(folders: tuple[str, ...] = ("",)) -> str:
    """Return a short hash of the code in folders of the package, so that results of other code are not reused."""
    digest = hashlib.sha256()
    for folder in folders:
        place = ROOT / "ptycho" / folder
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def folder_of(run: Run, work: Path) -> Path:
    """Return the directory of a run with the present code."""
    key = f"{run.data} {run.model} {' '.join(run.flags)} trial {run.trial}"
    key += f" threads {run.threads}" if run.threads else ""
    key += f" images {run.n_images}" if run.n_images != N_IMAGES else ""
    name = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in key)
    return work / f"runs-{code(TRAINING)}" / name


def train(run: Run, train_data: Path, test_data: Path, folder: Path) -> None:
    """Train a model and save the CPU seconds of the command."""
    common = ["--n_images", str(run.n_images), "--output_dir", str(folder), "--trial", str(run.trial), *run.flags]
    if run.model == "pinn":
        words = ["train.py", "--train_data_file", str(train_data), *common]
    else:
        flags = [flag.replace("--nepochs", "--epochs") for flag in common]
        words = ["run_baseline.py", "--train_data", str(train_data), "--test_data", str(test_data), *flags]
    folder.mkdir(parents=True, exist_ok=True)
    cpu = command(words, folder / "log.txt", run.threads)
    (folder / "cpu.json").write_text(json.dumps({"cpu_s": cpu}))


def result(run: Run, source: Path, work: Path) -> dict[str, object]:
    """Return the row of a run, read from its directory if it has been run before."""
    folder = folder_of(run, work)
    row_file = folder / f"row-{code()}.json"
    if not row_file.exists():
        train_data, test_data = prepare(source, run.data, work)
        if not (folder / "cpu.json").exists():
            train(run, train_data, test_data, folder)
        compared = ["--test_data", str(test_data), "--output_dir", str(folder / "scores")]
        command(["compare_models.py", f"--{run.model}_dir", str(folder), *compared], folder / "log.txt", run.threads)
        row = scores(folder, run.n_images) | json.loads((folder / "cpu.json").read_text())
        row_file.write_text(json.dumps(row))
        print(f"{folder.name}: {row}", flush=True)
    row = json.loads(row_file.read_text())
    return {"group": run.group, "label": run.label, "data": run.data, "trial": run.trial, "folder": str(folder), **row}


def scores(folder: Path, n_images: int) -> dict[str, object]:
    """Return the values of a run from its tables."""
    table = pd.read_csv(folder / "scores" / "comparison_metrics.csv").set_index("metric")
    history = json.loads((folder / "history.json").read_text())
    return {
        "amplitude": float(table.loc["rmse", "amplitude"]), "phase": float(table.loc["rmse", "phase"]),
        "ssim_phase": float(table.loc["ssim", "phase"]), "status": str(table.loc["rmse", "status"]),
        "frc50_amplitude": float(table.loc["frc50", "amplitude"]), "frc50_phase": float(table.loc["frc50", "phase"]),
        "step_ms": 1e3 * float(np.median(history["epoch_seconds"])) / n_images,
        "inference_s": float(table.loc["computation_time_s", "value"]),
    }  # fmt: skip


def summarized(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each data set and label: the median and the range over its runs."""
    kept = rows.groupby(["data", "label"], sort=False)
    figures = ["amplitude", "phase", "ssim_phase", "frc50_amplitude", "frc50_phase", "cpu_s", "step_ms", "inference_s"]
    table = kept[figures].median()
    table["phase_range"] = kept["phase"].agg(lambda column: f"{column.min():.3f} to {column.max():.3f}")
    table["runs"] = kept.size()
    table["ok"] = kept["status"].agg(lambda column: f"{(column == 'ok').sum()} of {len(column)}")
    return table


def as_markdown(table: pd.DataFrame) -> str:
    """Return the table of a group in Markdown, with the column names of the document."""
    head = [
        "data", "model", "amplitude RMSE", "phase RMSE (rad)", "range of phase RMSE", "phase SSIM",
        "FRC50 amplitude / phase", "CPU s", "ms per image", "inference (s)", "trials with status ok",
    ]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for (data, label), row in table.iterrows():  # type: ignore[misc]
        figures = [
            data, label, f"{row.amplitude:.4f}", f"{row.phase:.3f}", row.phase_range, f"{row.ssim_phase:.3f}",
            f"{row.frc50_amplitude:.0f} / {row.frc50_phase:.0f}", f"{row.cpu_s:.0f}", f"{row.step_ms:.1f}",
            f"{row.inference_s:.2f}", row.ok,
        ]  # fmt: skip
        lines.append("| " + " | ".join(figures) + " |")
    return "\n".join(lines)


def draw_learning_curves(rows: pd.DataFrame, path: Path) -> None:
    """Draw the validation loss against the epoch, for every label of the main table."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn as sns

    sns.set_theme(style="whitegrid", palette="colorblind", context="paper")
    chosen = rows[(rows.group == "main") & (rows.data == DATA)]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), constrained_layout=True)
    for axis, kind, unit in zip(axes, ("PtychoPINN", "Baseline"), ("deviance", "mean absolute error"), strict=True):
        for label, part in chosen[chosen.label.str.startswith(kind)].groupby("label", sort=False):
            histories = [json.loads((Path(folder) / "history.json").read_text()) for folder in part.folder]
            losses = pd.DataFrame([history["val_loss"] for history in histories])  # some may have ended early
            epochs = losses.columns + 1
            (line,) = axis.plot(epochs, losses.median(), label=label)
            axis.fill_between(epochs, losses.min(), losses.max(), color=line.get_color(), alpha=0.2, lw=0)
        axis.set(yscale="log", xlabel="epoch", ylabel=f"validation loss ({unit})", title=kind)
        axis.legend()
    figure.savefig(path, dpi=150)


def write(rows: pd.DataFrame, document: Path) -> None:
    """Write the tables between their marks in the document, and the figure to its images."""
    text = document.read_text(encoding="utf-8")
    for group, part in rows.groupby("group", sort=False):
        begin, end = f"<!-- {group}: begin -->\n", f"<!-- {group}: end -->"
        if begin not in text:
            continue  # printed only
        before, rest = text.split(begin)
        text = before + begin + as_markdown(summarized(part)) + "\n" + end + rest.split(end)[1]
    document.write_text(text, encoding="utf-8")
    if (rows.group == "main").any():
        draw_learning_curves(rows, document.parent / "images" / "learning_curves.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="reconstruction npz")
    parser.add_argument("--work", type=Path, default=Path("results/benchmark"), help="default: %(default)s")
    groups = ("standard", "main", "ablation", "specimens")
    parser.add_argument("--only", nargs="+", choices=groups, help="tables; default: all")
    parser.add_argument("--match", default="", help="only runs whose directory name matches this regular expression")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each if above 1 (default: 1)")
    parser.add_argument("--finished", action="store_true", help="use only finished runs; run nothing")
    parser.add_argument("--write", action="store_true", help="write tables and figures to docs/")
    arguments = parser.parse_args()
    wanted = [run for run in runs() if arguments.only is None or run.group in arguments.only]
    wanted = [run for run in wanted if re.search(arguments.match, folder_of(run, arguments.work).name)]
    if arguments.jobs > 1:
        wanted = [replace(run, threads="1") for run in wanted]
    if arguments.finished:
        wanted = [run for run in wanted if (folder_of(run, arguments.work) / f"row-{code()}.json").exists()]
    if not wanted:
        sys.exit("no run matches --only, --match and --finished")
    for data in dict.fromkeys(run.data for run in wanted):
        prepare(arguments.source, data, arguments.work)  # once, before several runs use it
    with ThreadPoolExecutor(arguments.jobs) as pool:
        found = list(pool.map(lambda run: result(run, arguments.source, arguments.work), wanted))
    rows = pd.DataFrame(found)
    print(summarized(rows).to_string())
    if arguments.write:
        write(rows, ROOT / "docs" / "performance.md")


if __name__ == "__main__":
    main()
