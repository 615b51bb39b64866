#!/usr/bin/env python
"""Disturb runs of a tiny study, repeat each as documented, and compare its results with those of an undisturbed run.

Results are compared bit by bit: all tables without times, arrays, weights. Finished cases are kept in
WORK/results.jsonl and skipped by the next call. The cases of a full and of a read-only disk need root, since they mount
a small file system in memory; they are skipped without it.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tiny_study import ROOT, Study, content, differences

Result = dict[str, Any]  # tried, survived (both counts), remark
TARGETS = ("compare", "out/results.csv", "out/overview.png", "out/psnr_phase_generalization.png")
SUMMARIES = ("train_*/comparison*", "*.csv", "*.png")
LAST_TRAINING = ("train_32/trial_1/pinn_run", "train_32/trial_1/comparison*", "train_32/comparison*", "*.csv")
DOCUMENT = ROOT / "docs/reliability.md"
BEGIN, END = "<!-- faults: written by make test-faults -->", "<!-- end of faults -->"
PLANNED = r"^\s*total +\d+"


class Skipped(Exception):
    """A case that this machine or user cannot run."""


class Bench:
    """The directories of the cases, and the results of the undisturbed run."""

    def __init__(self, work: Path, seed: int) -> None:
        self.work, self.random = work, random.Random(seed)
        self.kept = work / "reference.json"
        if not self.kept.exists():
            study = self.study("reference")
            start = time.monotonic()
            if study.start("run").wait():
                raise SystemExit(f"error: {study.directory}/run.log: the undisturbed run failed")
            self.kept.write_text(json.dumps({"seconds": time.monotonic() - start, "content": content(study.out)}))
        reference = json.loads(self.kept.read_text())
        self.expected, self.seconds = reference["content"], reference["seconds"]

    def study(self, name: str, *targets: str, **changes: Any) -> Study:
        """Return a study in an empty directory."""
        shutil.rmtree(self.work / name, ignore_errors=True)
        return Study(self.work / name, *(targets or TARGETS), **changes)

    def partial(self, name: str, lacks: Sequence[str]) -> Study:
        """Return a copy of the undisturbed study that lacks files: its run is short."""
        shutil.rmtree(self.work / name, ignore_errors=True)
        shutil.copytree(self.work / "reference", self.work / name)
        study = Study(self.work / name, *TARGETS)
        for path in [path for pattern in lacks for path in study.out.glob(pattern)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return study


def outcome(study: Study, expected: dict[str, str], status: int, remark: str = "", tried: int = 1) -> Result:
    """Return the result of a case from the status of its last run and the comparison."""
    wrong = [f"status {status}"] if status else differences(study.out, expected)
    remark = f"DIFFERS: {', '.join(wrong[:5])}" if wrong else remark
    return {"tried": tried, "survived": 0 if wrong else tried, "remark": remark}


# cases ---------------------------------------------------------------------------------------------------


def kills(bench: Bench, name: str, count: int) -> Result:
    """Kill everything ``count`` times in one study, at random moments, each after the rerun of the one before."""
    study, phases, tried = bench.study(name), Counter(), 0
    for number in range(count):
        study.unlock()
        run = study.start(f"killed_{number}")
        run.wait_for(PLANNED)
        steps = max(1, run.planned() // (count - number))  # to be done before the next kill, on average
        goal, end = bench.random.randrange(0, 2 * steps), bench.random.uniform(0, 4)
        while run.process.poll() is None and run.finished() < goal:
            time.sleep(0.05)
        end += time.monotonic()
        while run.process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        if run.process.poll() is not None:
            break  # the study was complete before
        phases.update(run.phases())
        run.kill()
        tried += 1
    remark = ", ".join(f"{phase} {n}" for phase, n in sorted(phases.items()))
    return outcome(study, bench.expected, study.rerun("rerun"), remark, tried)


def signalled(number: signal.Signals, everyone: bool) -> Callable[[Bench], Result]:
    """Return a case: a signal during a training, to Snakemake or to its whole process group."""

    def case(bench: Bench) -> Result:
        study = bench.partial(f"{number.name}_{'all' if everyone else 'main'}", LAST_TRAINING)
        run = study.start("disturbed")
        run.wait_for_training()
        time.sleep(bench.random.uniform(0, 4))
        if run.process.poll() is not None:
            raise SystemExit(f"error: {run.log}: the run ended before the signal")
        (os.killpg if everyone else os.kill)(run.process.pid, number)
        status = run.wait()
        while run.processes():  # jobs that outlive a killed Snakemake
            time.sleep(0.2)
        if not status:
            raise SystemExit(f"error: {run.log}: the run was not disturbed")
        return outcome(study, bench.expected, study.rerun("rerun"), f"first run: status {status}")

    return case


@contextlib.contextmanager
def small_disk(path: Path, size_kb: int) -> Iterator[None]:
    """Mount a file system of a given size in memory."""
    if os.geteuid():
        raise Skipped("needs root, to mount a file system")
    path.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "none", path], check=False).returncode:
        raise Skipped("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def remount(path: Path, options: str) -> None:
    """Change the size of a file system in memory, or whether it can be written to."""
    subprocess.run(["mount", "-o", f"remount,{options}", path], check=True)


def full_disk(bench: Bench) -> Result:
    """Leave 20 kB on the disk of ``output_dir``."""
    study = bench.partial("full_disk", SUMMARIES)
    study.out.rename(study.directory / "moved")
    with small_disk(study.out, 100_000):
        shutil.copytree(study.directory / "moved", study.out, dirs_exist_ok=True)
        used = os.statvfs(study.out)
        remount(study.out, f"size={(used.f_blocks - used.f_bfree) * used.f_frsize // 1024 + 20}k")
        run = study.start("disturbed")
        failed = run.wait()
        remount(study.out, "size=100m")
        return outcome(study, bench.expected, study.rerun("rerun"), f"first run: status {failed}")


def read_only(bench: Bench) -> Result:
    """Start a run on a read-only ``output_dir`` that holds a part of the study."""
    study = bench.partial("read_only", SUMMARIES)
    study.out.rename(study.directory / "moved")
    with small_disk(study.out, 100_000):
        shutil.copytree(study.directory / "moved", study.out, dirs_exist_ok=True)
        remount(study.out, "ro")
        run = study.start("disturbed")
        run.wait()
        remount(study.out, "rw")
        remark = "; ".join(run.errors()) or "no line in the first run"
        return outcome(study, bench.expected, study.rerun("rerun"), remark)


def replaced(older: bool, during: bool) -> Callable[[Bench], Result]:
    """Return a case: the training data are replaced, by an older file or by a new one, during a run or after it."""

    def case(bench: Bench) -> Result:
        def study(name: str, data: Path) -> Study:
            made = bench.study(name, "compare", train_sizes=[16], arms=["pinn"], **given)
            shutil.copy(data, made.directory / "train.npz")
            return made

        first, other = sorted((bench.work / "reference/out/datasets").rglob("*_downsampled_data_*.npz"), reverse=True)
        given = {"train_data": "train.npz", "test_data": str(other)}
        kept = bench.work / "replaced_expected.json"
        if not kept.exists():
            undisturbed = study("replaced_expected", other)
            undisturbed.start("run").wait()
            kept.write_text(json.dumps(content(undisturbed.out)))
        disturbed = study(f"replaced_{'older' if older else 'newer'}_{'during' if during else 'after'}", first)
        run = disturbed.start("disturbed")
        run.wait_for_training() if during else run.wait()
        time.sleep(6 * during)  # the training has probably read its data
        new = Path(shutil.copy(other, disturbed.directory / "new.npz"))
        if older:
            os.utime(new, (1e9, 1e9))
        new.replace(disturbed.directory / "train.npz")
        run.wait()
        warned = "first run: warned at its end" if "was replaced during the run" in run.text() else ""
        return outcome(disturbed, json.loads(kept.read_text()), disturbed.rerun("rerun"), warned)

    return case


def two_runs(bench: Bench) -> Result:
    """Start a second run on the same ``output_dir`` from another clone, then repeat the refused one."""
    study = bench.partial("two_runs", SUMMARIES)
    targets = [str(study.directory / target) for target in TARGETS[1:]]
    other = bench.study("two_runs_second_clone", *targets, output_dir=str(study.out))
    run = study.start("first")
    run.wait_for(PLANNED)
    second = other.start("second")
    refused = second.wait()
    status = run.wait() or (not refused) or other.rerun("rerun")
    return outcome(study, bench.expected, int(status), "; ".join(second.errors()))


def same_clone(bench: Bench) -> Result:
    """Start the same command twice in one working directory."""
    study = bench.partial("same_clone", SUMMARIES)
    run = study.start("first")
    run.wait_for(PLANNED)
    second = study.start("second")
    refused = second.wait()
    status = run.wait() or (not refused) or study.rerun("rerun")
    remark = "refused by Snakemake" if "cannot be locked" in second.text() else "; ".join(second.errors())
    return outcome(study, bench.expected, int(status), remark)


def shared_datasets(bench: Bench) -> Result:
    """Start two studies with one ``datasets_dir`` at the same moment, then repeat what was refused."""
    place = bench.work / "shared_datasets"
    shutil.rmtree(place, ignore_errors=True)
    made = {"datasets_dir": str(place), "arms": ["iterative"], "train_sizes": [16]}
    target = "out/iterative/reconstruction.npz"
    studies = [bench.study(f"sharing_{n}", target, **made) for n in (1, 2)]
    runs = [study.start("run") for study in studies]
    expected = {name: digest for name, digest in bench.expected.items() if name.startswith("iterative/")}
    remarks = [error for run in runs if run.wait() for error in run.errors()]
    results = [outcome(study, expected, study.rerun("rerun")) for study in studies]
    wrong = [result["remark"] for result in results if result["remark"]]
    return {"tried": 1, "survived": int(not wrong), "remark": "; ".join(wrong or remarks or ["none was refused"])}


def out_of_memory(bench: Bench) -> Result:
    """Limit the address space of all processes, so that every training fails."""
    study = bench.partial("out_of_memory", LAST_TRAINING)
    run = study.start("disturbed", shell="ulimit -v 1000000")
    failed = run.wait()
    kind = "a training failed" if "rror in rule train_" in run.text() else "no training failed"
    return outcome(study, bench.expected, study.rerun("rerun"), f"first run: status {failed}, {kind}")


CASES: dict[str, tuple[str, str, Callable[[Bench], Result]]] = {  # name: fault, documented rerun, case
    "SIGINT": ("SIGINT to Snakemake and its jobs (Ctrl-C)", "same command", signalled(signal.SIGINT, True)),
    "SIGTERM": ("SIGTERM to Snakemake", "same command", signalled(signal.SIGTERM, False)),
    "SIGKILL_main": (
        "SIGKILL of Snakemake alone; its jobs run on", "when they have ended: `--unlock`, same command",
        signalled(signal.SIGKILL, False),
    ),
    "full_disk": ("disk of `output_dir` full (tmpfs)", "make room, same command", full_disk),
    "read_only": ("`output_dir` read-only (tmpfs)", "make it writable, same command", read_only),
    "replaced_during": ("training data replaced during a run", "same command", replaced(False, True)),
    "replaced_during_older": (
        "training data replaced during a run by an older file", "same command", replaced(True, True)
    ),
    "replaced_after_older": (
        "training data replaced after a run by an older file", "same command", replaced(True, False)
    ),
    "two_runs": ("two runs on one `output_dir` from two clones", "second command again, later", two_runs),
    "same_clone": ("the same command twice in one clone", "second command again, later", same_clone),
    "shared_datasets": (
        "two studies that share `datasets_dir`, started together", "refused command again", shared_datasets
    ),
    "out_of_memory": ("trainings out of memory (RLIMIT_AS)", "same command, with more memory", out_of_memory),
}  # fmt: skip


def all_cases(n_kills: int) -> dict[str, tuple[str, str, Callable[[Bench], Result]]]:
    """Return the cases with those of SIGKILL, at most ten kills in each study."""
    cases = dict(CASES)
    for first in range(0, n_kills, 10):
        name, count = f"SIGKILL_{first // 10 + 1}", min(10, n_kills - first)
        cases[name] = (
            "SIGKILL of Snakemake and all jobs, at random moments", "`--unlock`, same command",
            lambda bench, name=name, count=count: kills(bench, name, count),
        )  # fmt: skip
    return cases


# report --------------------------------------------------------------------------------------------------


def read_results(path: Path) -> dict[str, Result]:
    """Return the last result of each case."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {result["case"]: result for result in map(json.loads, lines)}


def table(results: dict[str, Result], seconds: float) -> str:
    """Return the table of the document, in Markdown; cases of the same fault are added up."""
    rows: dict[str, list[Any]] = {}
    for result in results.values():
        row = rows.setdefault(result["fault"], [result["rerun"], 0, 0, []])
        row[1] += result["tried"]
        row[2] += result["survived"]
        row[3] += [result["remark"]] if result["remark"] else []
    lines = [f"| {fault} | {row[0]} | {row[1]} | {row[2]} | {'; '.join(row[3])} |" for fault, row in rows.items()]
    head = "| fault | documented rerun | tried | same results | observed |\n|---|---|---|---|---|\n"
    return f"An undisturbed run of the tiny study took {seconds:.0f} s.\n\n{head}" + "\n".join(lines) + "\n"


def write_document(text: str) -> None:
    """Replace the table in docs/reliability.md, and nothing else of it."""
    document = DOCUMENT.read_text(encoding="utf-8")
    before, rest = document.split(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}{END}{rest.split(END)[1]}", encoding="utf-8")


def main() -> None:
    """Run the cases that have no result yet, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("/tmp/ptycho-faults"), help="(default: %(default)s)")
    parser.add_argument("--only", nargs="+", help="names of cases")
    parser.add_argument("--kills", type=int, default=30, help="number of SIGKILLs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help=f"write the table to {DOCUMENT.relative_to(ROOT)}")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    bench, log = Bench(work, arguments.seed), work / "results.jsonl"
    for name, (fault, rerun, case) in all_cases(arguments.kills).items():
        if name in read_results(log) or (arguments.only and name not in arguments.only):
            continue
        print(f"{time.strftime('%H:%M:%S')} {name}: {fault}", flush=True)
        try:
            result = case(bench)
        except Skipped as reason:
            print(f"  skipped: {reason}", flush=True)
            continue
        result["remark"] = re.sub(
            r"process \d+ on [^):]*[\d:]+", "process ...", result["remark"].replace(f"{work}/", "")
        )
        print(f"  {result['survived']} of {result['tried']} {result['remark']}", flush=True)
        with log.open("a") as stream:
            stream.write(json.dumps({"case": name, "fault": fault, "rerun": rerun, **result}) + "\n")
    results = read_results(log)
    text = table(results, bench.seconds)
    write_document(text) if arguments.write else print(text)
    if any(result["survived"] < result["tried"] for result in results.values()):
        raise SystemExit("error: not every disturbed study ended with the results of an undisturbed one")


if __name__ == "__main__":
    main()
