#!/usr/bin/env python
"""Train and score both models on a panel of inputs, by which defaults are chosen; for docs/performance.md.

    python benchmarks/panel.py RECONSTRUCTION.npz [--work results/panel] [--jobs 2] [--only clean] [--write]

The groups of runs are

- ``clean``: the defaults, all sizes and trials;
- ``augmented``: config/studies/augmented.yaml at 512 images;
- ``iterative``: phase retrieval of the test patterns, which needs no training;
- ``choices``: at 512 images, the settings between which the defaults were chosen, the same number for each model;
- ``physics``: one network trained in six ways, on P1 and P5: by pattern likelihood, by overlap too, supervised,
  supervised with the pattern likelihood added, and the second and third with projections, which are the defaults.

Every run uses the commands of this project. Finished runs are kept in --work and not repeated as long as the code of
preparation and training is the same, so that an interrupted panel resumes; scores are computed again when any code
changes. --write adds the rows of these runs, with a hash of that code, to docs/panel.csv, in which they replace those
of the same run, and writes the tables and figures of all its rows to docs/. With --jobs 2 two runs share two cores.
"""

import argparse
import functools
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "workflow" / "scripts"
TRAINING = ("config", "data", "io", "physics", "preparation", "models")  # packages that prepare and train
SIZES = (256, 512, 1024)
SIZE = 512  # of all groups but the first
TRIALS = (1, 2, 3)
LABELS = {"pinn": "PtychoPINN", "baseline": "Baseline"}


@dataclass(frozen=True)
class Member:
    """An input of the panel.

    Parameters
    ----------
    title : in tables and figures
    specimen : flags of make_specimen.py; None for the given reconstruction
    n_images : simulated patterns, training and test together
    method : of downsampling
    gap_px : between the halves
    n_photons : per pattern
    sizes : training images
    """

    title: str
    specimen: tuple[str, ...] | None
    n_images: int = 3000
    method: str = "bin"
    gap_px: int = 32
    n_photons: str = "1e9"
    sizes: tuple[int, ...] = SIZES


def _specimen(kind: str, probe: str, size_px: int = 448, window_px: int = 64) -> tuple[str, ...]:
    return ("--object", kind, "--probe", probe, "--size_px", str(size_px), "--window_px", str(window_px))


MEMBERS = {
    "P1": Member("standard specimen", (), 20000, gap_px=0, sizes=(*SIZES, 2048)),
    "P2": Member("lines, Gaussian probe", _specimen("lines", "gaussian")),
    "P3": Member("cells, disk probe", _specimen("cells", "disk")),
    "P4": Member("stars, zone plate", _specimen("siemens_star", "zone_plate")),
    "P5": Member("real input, bin", None, 2100, gap_px=0),
    "P6": Member("real input, fourier", None, 2100, "fourier", gap_px=0),
    "P7": Member("leaves, N = 128", _specimen("dead_leaves", "zone_plate", 640, 128), 2400, gap_px=64),
    "P8": Member("leaves, 1e4 photons", _specimen("dead_leaves", "zone_plate"), n_photons="1e4"),
}
AUGMENTED = ("--augmentation_ratio", "0.5")
NO_PROJECTIONS = ("--projections", "0")
RELU = ("--convolution_activation", "relu")
CHOICES = {  # label: flags of the training, flags of the comparison
    "ReLU, no projections": ((*NO_PROJECTIONS, *RELU), ()),
    "ReLU, 4 projections from the start": (("--projection_ramp", "0", *RELU), ()),
    "ReLU, 4 projections": (RELU, ()),
    "leaky ReLU, 4 projections": (("--convolution_activation", "leaky_relu"), ()),
    "SiLU, 4 projections": ((), ()),
    "SiLU, 4 projections, beta_2 0.99": (("--adam_beta_2", "0.99"), ()),
    "ReLU, phases not synchronized": (RELU, ("--no-synchronize_phases",)),
    "ReLU, phases synchronized": (RELU, ("--synchronize_phases",)),
}
PHYSICS = {  # label: model, flags
    "pattern likelihood": ("pinn", (*NO_PROJECTIONS, "--overlap_weight", "0")),
    "pattern likelihood, overlap": ("pinn", NO_PROJECTIONS),
    "pattern likelihood, overlap, projections": ("pinn", ()),
    "supervised": ("baseline", NO_PROJECTIONS),
    "supervised, pattern likelihood": ("baseline", (*NO_PROJECTIONS, "--pattern_weight", "1")),
    "supervised, projections": ("baseline", ()),
}


@dataclass(frozen=True)
class Run:
    """One training and its score; ``label`` names the row of a table, ``group`` the table."""

    group: str
    label: str
    member: str
    model: str
    size: int
    trial: int = 1
    flags: tuple[str, ...] = ()
    scored: tuple[str, ...] = ()  # flags of the comparison


def runs() -> Iterator[Run]:
    """Yield every run, the most informative ones first: all members before the next trial."""
    for trial in TRIALS:
        for name, member in MEMBERS.items():
            for size in member.sizes:
                for model in LABELS:
                    yield Run("clean", "", name, model, size, trial)
    for name in MEMBERS:
        yield Run("iterative", "", name, "iterative", 0)
    for name in MEMBERS:
        for model in LABELS:
            yield Run("augmented", "", name, model, SIZE, flags=AUGMENTED)
    for trial in TRIALS:
        for label, (flags, scored) in CHOICES.items():
            for name in MEMBERS:
                for model in LABELS:
                    yield Run("choices", label, name, model, SIZE, trial, flags, scored)
    for label, (model, flags) in PHYSICS.items():
        for name in ("P1", "P5"):
            for size in MEMBERS[name].sizes:
                yield Run("physics", label, name, model, size, flags=flags)


def command(words: list[str], log: Path) -> float:
    """Run one of the project's commands on one thread and return its CPU seconds, user and system."""
    called = [sys.executable, str(SCRIPTS / words[0]), *words[1:]]
    with log.open("a") as stream:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(called, stderr=stream, stdout=stream, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"failed: {' '.join(words)}; see {log}")
    return usage.ru_utime + usage.ru_stime


@functools.cache
def code(packages: tuple[str, ...] = ("",)) -> str:
    """Return a short hash of the code of packages, so that results of other code are not reused."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted((ROOT / "ptycho" / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def prepare(source: Path, name: str, work: Path) -> tuple[Path, Path]:
    """Return training and test data of a member; if they do not exist yet, prepare them with the project's commands."""
    member, folder = MEMBERS[name], work / f"data-{code(TRAINING[:-1])}" / name
    files = folder / f"{name}_train.npz", folder / f"{name}_test.npz"
    if all(file.exists() for file in files):
        return files
    folder.mkdir(parents=True, exist_ok=True)
    log, stages = folder / "prepare.log", [folder / f"stage{i}.npz" for i in range(5)]
    if member.specimen is not None:
        command(["make_specimen.py", str(stages[0]), *member.specimen], log)
    else:
        command(["pad_to_even_tool.py", str(source), str(stages[4])], log)
        command(["transpose_rename_convert_tool.py", str(stages[4]), str(stages[0])], log)
    command(["prepare_data_tool.py", str(stages[0]), str(stages[1]), "--interpolate"], log)
    command(["prepare_data_tool.py", str(stages[1]), str(stages[2]), "--smooth"], log)
    command(["simulate_and_save.py", "--input-file", str(stages[2]), "--output-file", str(stages[3]),
             "--n-images", str(member.n_images), "--n-photons", member.n_photons], log)  # fmt: skip
    command(["downsample_data_tool.py", str(stages[3]), str(folder / f"{name}.npz"), "--method", member.method], log)
    command(["split_dataset_tool.py", str(folder / f"{name}.npz"), str(folder), "--split-gap", str(member.gap_px)], log)
    for path in (*stages, folder / f"{name}.npz"):
        path.unlink(missing_ok=True)
    return files


def folder_of(run: Run, work: Path) -> Path:
    """Return the directory of a run's training; runs that differ only in their scoring share it."""
    words = [run.member, run.model, str(run.size), *(word.strip("-") for word in run.flags), f"trial_{run.trial}"]
    return work / f"runs-{code(TRAINING)}" / "_".join(words)


def row_file(run: Run, work: Path) -> Path:
    """Return the file of a run's scores by the present code."""
    return folder_of(run, work) / f"row-{code()}{''.join(run.scored)}.json"


def train(run: Run, train_data: Path, test_data: Path, folder: Path) -> None:
    """Train a model, or reconstruct the test data, and save the CPU seconds of the command, none where it resumed."""
    folder.mkdir(parents=True, exist_ok=True)
    resumed = any(folder.glob("checkpoint-*"))
    common = ["--n_images", str(run.size), "--output_dir", str(folder), "--trial", str(run.trial), *run.flags]
    words = {
        "pinn": ["train.py", "--train_data_file", str(train_data), *common],
        "baseline": ["run_baseline.py", "--train_data", str(train_data), *common],
        "iterative": ["run_iterative.py", "--test_data", str(test_data), "--output_dir", str(folder)],
    }[run.model]
    seconds = command(words, folder / "log.txt")
    (folder / "cpu.json").write_text(json.dumps({"cpu_s": None if resumed else seconds}))


def result(run: Run, source: Path, work: Path) -> dict[str, object]:
    """Return the row of a run, read from its directory if it has been run before."""
    folder, saved = folder_of(run, work), row_file(run, work)
    if not saved.exists():
        train_data, test_data = prepare(source, run.member, work)
        if not (folder / "cpu.json").exists():
            train(run, train_data, test_data, folder)
        scores = folder / f"scores{''.join(run.scored)}"
        compared = ["--test_data", str(test_data), "--output_dir", str(scores), "--no-save-npz", *run.scored]
        command(["compare_models.py", f"--{run.model}_dir", str(folder), *compared], folder / "log.txt")
        table = pd.read_csv(scores / "comparison_metrics.csv").set_index("metric")
        row = {
            "amplitude": float(table.loc["rmse", "amplitude"]), "phase": float(table.loc["rmse", "phase"]),
            "ssim_phase": float(table.loc["ssim", "phase"]), "status": str(table.loc["rmse", "status"]),
            "frc50_phase": float(table.loc["frc50", "phase"]),
            "seconds": float(table.loc["computation_time_s", "value"]),
            **json.loads((folder / "cpu.json").read_text()),
        }  # fmt: skip
        saved.write_text(json.dumps(row))
        print(f"{run.group} {run.label} {folder.name}: {row}", flush=True)
    row = json.loads(saved.read_text())
    names = {"group": run.group, "label": run.label, "member": run.member, "model": run.model, "size": run.size}
    losses = folder / "history.json"
    history = json.loads(losses.read_text())["val_loss"] if losses.exists() else []
    return {
        **names,
        "trial": run.trial,
        "code": code(TRAINING),
        "val_loss": " ".join(f"{loss:.5g}" for loss in history),
        **row,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="reconstruction npz, the real input")
    parser.add_argument("--work", type=Path, default=Path("results/panel"), help="default: %(default)s")
    groups = ("clean", "augmented", "iterative", "choices", "physics")
    parser.add_argument("--only", nargs="+", choices=groups, default=groups, help="groups of runs; default: all")
    parser.add_argument("--members", nargs="+", choices=tuple(MEMBERS), default=tuple(MEMBERS), help="default: all")
    models = (*LABELS, "iterative")
    parser.add_argument("--models", nargs="+", choices=models, default=models, help="default: all")
    parser.add_argument("--sizes", nargs="+", type=int, help="only these training-set sizes")
    parser.add_argument("--trials", nargs="+", type=int, default=TRIALS, help="default: all three")
    parser.add_argument("--labels", nargs="+", help="only these settings of the group choices or physics")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each (default: 1)")
    parser.add_argument("--finished", action="store_true", help="use only finished runs; run nothing")
    parser.add_argument("--write", action="store_true", help="write tables and figures of the finished runs to docs/")
    arguments = parser.parse_args()
    wanted = [
        run
        for run in runs()
        if run.group in arguments.only
        and run.member in arguments.members
        and run.model in arguments.models
        and run.trial in arguments.trials
        and (arguments.sizes is None or run.size in (0, *arguments.sizes))
        and (arguments.labels is None or run.label in ("", *arguments.labels))
    ]
    if arguments.finished:
        wanted = [run for run in wanted if row_file(run, arguments.work).exists()]
    if not wanted:
        sys.exit("no run matches --only, --members, --sizes, --trials, --labels and --finished")
    for name in dict.fromkeys(run.member for run in wanted):
        if not arguments.finished:
            prepare(arguments.source, name, arguments.work)  # once, before several runs use it
    with ThreadPoolExecutor(arguments.jobs) as pool:
        rows = pd.DataFrame(list(pool.map(lambda run: result(run, arguments.source, arguments.work), wanted)))
    import panel_report  # beside this script

    print(panel_report.summary(rows))
    if arguments.write:
        titles = {name: member.title for name, member in MEMBERS.items()}
        panel_report.write(panel_report.merged(rows, ROOT / "docs" / "panel.csv"), titles, ROOT / "docs")


if __name__ == "__main__":
    main()
