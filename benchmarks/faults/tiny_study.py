"""A tiny study that can be started, disturbed and compared: what the cases of run.py are made of."""

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).parents[2]
CONFIG = {
    "output_dir": "out",
    "train_sizes": [16, 32],
    "num_trials": 1,
    "arms": ["pinn", "baseline", "iterative"],
    "specimen": {"size_px": 96, "window_px": 32},
    "simulation": {"n_images": 80},
    "training": {"epochs": 2, "batch_size": 8},
    "pinn": {"n_filters_scale": 0.25, "projections": 1},
    "baseline": {"n_filters_scale": 0.25, "projections": 1},
    "iterative": {"iterations": 2},
    "plots": {"dpi": 50, "formats": ["png"]},
}
TIMED_FILES = ("times.csv", "costs.csv")  # nothing but times and memory
TIMED_COLUMNS = re.compile("seconds|time_s|memory")
PHASES = {  # by the commands that run; others prepare
    "training": ("train", "run-baseline"),
    "comparison": ("run-iterative", "compare-models"),
    "analysis": ("aggregate-and-plot-results", "summarize-study", "collect-logs"),
}
COMMAND = re.compile(r"/bin/ptycho-([a-z-]+)\0")


class Study:
    """A study in a directory of its own, with the tiny configuration and changes to it.

    Parameters
    ----------
    directory : working directory of Snakemake, created
    targets : target files or rules; the whole study by default
    changes : keys of the configuration
    """

    def __init__(self, directory: Path, *targets: str, **changes: Any) -> None:
        self.directory, self.targets = directory, targets
        directory.mkdir(parents=True, exist_ok=True)
        config = CONFIG | changes
        self.out = directory / config["output_dir"]
        (directory / "study.yaml").write_text(yaml.safe_dump(config))

    def start(self, log: str, *words: str, shell: str = "", targets: bool = True) -> "Run":
        """Start Snakemake in a session of its own; ``shell`` are commands that precede it, as ``ulimit``."""
        command = [sys.executable, "-m", "snakemake", *(self.targets if targets else ())]
        command += ["--snakefile", str(ROOT / "workflow/Snakefile"), "--cores", "2", "--resources", "gpu=2"]
        command += [*words, "--configfile", "study.yaml"]
        if shell:
            command = ["bash", "-c", f'{shell}; exec "$@"', "bash", *command]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        path = self.directory / f"{log}.log"
        with path.open("w") as stream:
            process = subprocess.Popen(
                command, cwd=self.directory, env=environment, stdout=stream, stderr=stream, start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
            )  # fmt: skip
        return Run(process, path)

    def unlock(self) -> None:
        """Remove the lock that a killed Snakemake left, if there is one."""
        if any(self.directory.glob(".snakemake/locks/*")):
            self.start("unlock", "--unlock", targets=False).wait()

    def rerun(self, log: str) -> int:
        """Run as documented after an interruption, the same command again, and return its status."""
        self.unlock()
        return self.start(log).wait()


class Run:
    """A running Snakemake and the processes of its session."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log, self.started = process, log, time.monotonic()

    def wait(self, timeout_s: float = 3600) -> int:
        """Wait until Snakemake ends, and return its status."""
        return self.process.wait(timeout_s)

    def text(self) -> str:
        """Return what the run has printed."""
        return self.log.read_text(errors="replace")

    def errors(self) -> list[str]:
        """Return the lines of the run that report an error in one line."""
        return re.findall(r"^error: .*$", self.text(), re.MULTILINE)

    def planned(self) -> int:
        """Return the number of jobs of the run, once it has printed them."""
        return int((re.findall(r"^total +(\d+)$", self.text(), re.MULTILINE) or [0])[0])

    def finished(self) -> int:
        """Return the number of finished jobs."""
        return len(re.findall(r"^Finished jobid: ", self.text(), re.MULTILINE))

    def phases(self) -> set[str]:
        """Return the phases of the jobs that run now; ``start or end`` if there is none."""
        found = set()
        for pid in self.processes():
            with contextlib.suppress(OSError):  # it has ended
                for command in COMMAND.findall(Path(f"/proc/{pid}/cmdline").read_text()):
                    found.add(next((phase for phase, names in PHASES.items() if command in names), "preparation"))
        return found or {"start or end"}

    def wait_for_training(self) -> None:
        """Wait until a training runs; SystemExit if the run ends before."""
        while "training" not in self.phases():
            if self.process.poll() is not None:
                raise SystemExit(f"error: {self.log}: the run ended without a training")
            time.sleep(0.05)

    def wait_for(self, pattern: str, timeout_s: float = 1800) -> bool:
        """Wait until the run has printed something, and return whether it did so before it ended."""
        end = time.monotonic() + timeout_s
        while not re.search(pattern, self.text(), re.MULTILINE):
            if self.process.poll() is not None or time.monotonic() > end:
                return bool(re.search(pattern, self.text(), re.MULTILINE))
            time.sleep(0.05)
        return True

    def processes(self) -> list[int]:
        """Return the processes of the run's session that are alive."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid and fields[0] != "Z":
                found.append(int(path.parent.name))
        return found

    def kill(self) -> None:
        """Kill Snakemake and all its jobs at once."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


def content(out: Path) -> dict[str, str]:
    """Return a digest of every result that does not depend on time.

    These are the tables without their columns and rows of times, the arrays of all npz files but those of temporary
    stages, the losses of the trainings, and the weights of the models.
    """
    found = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.suffix == ".csv" and path.name not in TIMED_FILES:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            table = table[[column for column in table if not TIMED_COLUMNS.search(column)]]
            if "metric" in table:
                table = table[~table["metric"].str.contains(TIMED_COLUMNS)]
            found[name] = _digest(table.to_csv().encode())
        elif path.suffix == ".npz" and "/stages/" not in f"/{name}":
            with np.load(path) as arrays:
                keys = [key for key in arrays.files if key != "metadata" and not TIMED_COLUMNS.search(key)]
                found |= {f"{name}:{key}": _digest(arrays[key].tobytes()) for key in keys}
        elif path.name == "wts.h5.zip":
            with zipfile.ZipFile(path) as archive:
                weights = [member for member in archive.namelist() if member.endswith(".h5")]
                found |= {f"{name}:{member}": _digest(archive.read(member)) for member in weights}
        elif path.name == "baseline_model.h5":
            found[name] = _digest(path.read_bytes())
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def differences(out: Path, expected: dict[str, str]) -> list[str]:
    """Return the names of results that differ from those of an undisturbed run, or that only one of them has."""
    found = content(out)
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
