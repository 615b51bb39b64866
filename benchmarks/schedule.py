#!/usr/bin/env python
"""Simulate a large study on a cluster, from its real graph of jobs and measured durations; for docs/scale.md.

    python benchmarks/schedule.py [--sizes 128 256 ...] [--trials 50] [--cards 4 8 16 32 64] [--write]
    python benchmarks/schedule.py --costs results/demo/costs.csv --epochs 20 --window 64    # writes durations.csv

The jobs and what each waits for are those of ``snakemake --dag`` for a configuration with these sizes, trials and three
further test sets. The duration of a job is that of its rule in benchmarks/durations.csv: for a training
``start_s + image_epoch_s * images * epochs / speedup``, for the others ``start_s``.

Snakemake submits a job that is ready as soon as its limits allow: ``--jobs`` in the queue, one each ``--submit_s``
seconds, and one or two trainings a card (``--resources gpu``). Slurm starts it when a card (trainings) or a core
(others) is free. Snakemake learns of its end at the next status check, each ``--poll_s`` seconds, and only then submits
what was waiting for it. No card has been measured: ``--speedup`` is an assumption, the rate of a card in units of one
core of the measured machine.
"""

import argparse
import heapq
import itertools
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from panel_report import insert, markdown  # beside this script

ROOT = Path(__file__).resolve().parents[1]
DURATIONS = Path(__file__).with_name("durations.csv")
SIZES = (128, 192, 256, 320, 384, 512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096, 5120, 6144)
TEST_SETS = {
    "dose": {"simulation": {"n_photons": 1e4}}, "lines": {"specimen": {"object": "lines"}}, "draw": {"seed": 7},
}  # fmt: skip
TRAININGS = ("train_pinn", "train_baseline")
EPOCHS = 50
LIKE = {"compare_test_sets": "compare_trial", "generalization_plot": "figure"}  # not in the costs of the demo
GROUPS = {  # of the profile for Slurm: several rules in one submission
    **dict.fromkeys(("specimen", "pad", "transpose", "interpolate", "smooth", "simulate", "downsample", "split"), "a"),
    **dict.fromkeys(("tables", "generalization_plot", "figure", "summary"), "b"),
}

WAYS = (  # label, comparisons in a submission (0: no groups), trainings submitted for each card
    ("each job by itself", 0, 1),
    ("groups of the profile", 1, 1),
    ("two trainings a card", 1, 2),
    ("and ten comparisons at once", 10, 2),
)


@dataclass
class Job:
    """One job: its rule, its seconds, and the jobs that it waits for."""

    rule: str
    seconds: float
    needs: set[int] = field(default_factory=set)

    @property
    def on_card(self) -> bool:
        """Whether it takes a card instead of a core."""
        return self.rule in TRAININGS


def graph(sizes: list[int], trials: int) -> tuple[dict[int, tuple[str, int]], list[tuple[int, int]], float]:
    """Return rule and training images (0 where it has none) of each job, the edges, and the seconds of Snakemake."""
    config = {"output_dir": "out", "train_sizes": sizes, "num_trials": trials, "test_sets": TEST_SETS}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "study.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        words = ["--dag", "--cores", "1", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
        command = [sys.executable, "-m", "snakemake", *words, "--configfile", "study.yaml"]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"failed: {' '.join(command)}\n{done.stderr[-2000:]}")
    nodes = {}
    for number, label in re.findall(r"^\s*(\d+)\[label = \"(.*?)\",", done.stdout, re.MULTILINE):
        size = re.search(r"size: (\d+)", label)
        nodes[int(number)] = (label.split("\\n")[0], int(size[1]) if size else 0)
    edges = [(int(a), int(b)) for a, b in re.findall(r"^\s*(\d+) -> (\d+)", done.stdout, re.MULTILINE)]
    return nodes, edges, seconds


def jobs_of(
    nodes: dict[int, tuple[str, int]], edges: list[tuple[int, int]], durations: pd.DataFrame, speedup: float
) -> dict[int, Job]:
    """Return the jobs with their durations; one without a measurement takes that of LIKE, or the median."""
    typical = float(durations["start_s"].median())
    found = {}
    for number, (rule, size) in nodes.items():
        seconds, name = typical, LIKE.get(rule, rule)
        if name in durations.index:
            row = durations.loc[name]
            seconds = float(row["start_s"]) + float(row["image_epoch_s"]) * size * EPOCHS / speedup
        found[number] = Job(rule, 0.0 if rule == "all" else seconds)
    for before, after in edges:
        found[after].needs.add(before)
    return found


def grouped(jobs: dict[int, Job], bundle: int = 1) -> dict[int, Job]:
    """Return the jobs with those of GROUPS, and ``bundle`` comparisons each, as one submission.

    The seconds of the members of a submission add up.
    """
    of, counts = {}, defaultdict(itertools.count)
    for number, job in jobs.items():
        key: object = number
        if job.rule in GROUPS:
            key = GROUPS[job.rule]
        elif bundle > 1 and job.rule.startswith("compare_t"):
            key = job.rule, next(counts[job.rule]) // bundle
        of[number] = key
    names = {key: i for i, key in enumerate(dict.fromkeys(of.values()))}
    merged: dict[int, Job] = {}
    for number, job in jobs.items():
        name = names[of[number]]
        one = merged.setdefault(name, Job(job.rule, 0.0))
        one.seconds += job.seconds
        one.needs |= {names[of[need]] for need in job.needs} - {name}
    return merged


@dataclass(frozen=True)
class Cluster:
    """What a study may use, and the delays of the scheduler.

    Parameters
    ----------
    cards, cores : trainings at once; other jobs at once
    jobs : submissions that Snakemake has not yet seen ended
    trainings : of these, trainings (``--resources gpu``)
    submit_s : seconds between two submissions
    poll_s : seconds between two status checks
    """

    cards: int
    cores: int
    jobs: int
    trainings: int
    submit_s: float = 0.0
    poll_s: float = 0.0


class Simulation:
    """The course of a study on a cluster; jobs that become ready together are submitted longest first.

    Parameters
    ----------
    jobs : by number
    cluster : limits and delays
    """

    def __init__(self, jobs: dict[int, Job], cluster: Cluster) -> None:
        self.jobs, self.cluster = jobs, cluster
        self.missing = {number: len(job.needs) for number, job in jobs.items()}
        self.after = defaultdict(list)
        for number, job in jobs.items():
            for need in job.needs:
                self.after[need].append(number)
        self.ready: dict[bool, deque[int]] = {True: deque(), False: deque()}
        self.queued: dict[bool, deque[int]] = {True: deque(), False: deque()}
        self.free = {True: cluster.cards, False: cluster.cores}
        self.submitted = {True: 0, False: 0}  # and not yet seen ended
        self.events: list[tuple[float, str, int]] = []
        self.next_submission, self.busy = 0.0, 0.0

    def run(self) -> tuple[float, float]:
        """Return the seconds until the last job is seen ended, and the fraction of them in which cards are busy."""
        self._add([number for number, count in self.missing.items() if not count])
        now = 0.0
        self._submit(now)
        while self.events:
            now, event, number = heapq.heappop(self.events)
            if event == "end":
                self.free[self.jobs[number].on_card] += 1
                poll = self.cluster.poll_s
                seen = -(-now // poll) * poll if poll else now
                heapq.heappush(self.events, (seen, "seen", number))
                self._start(now)
            elif event == "seen":
                self.submitted[self.jobs[number].on_card] -= 1
                for other in self.after[number]:
                    self.missing[other] -= 1
                self._add([other for other in self.after[number] if not self.missing[other]])
            if not self.events or self.events[0][0] > now or event == "submit":
                self._submit(now)
        return now, self.busy / (now * self.cluster.cards) if now else 0.0

    def _add(self, numbers: list[int]) -> None:
        for number in sorted(numbers, key=lambda one: -self.jobs[one].seconds):
            self.ready[self.jobs[number].on_card].append(number)

    def _submit(self, now: float) -> None:
        """Submit what the limits allow now, and come back at the next time at which more may be."""
        for kind in (True, False):
            while self.ready[kind] and self._allowed(kind):
                if self.next_submission > now:
                    heapq.heappush(self.events, (self.next_submission, "submit", -1))
                    return
                self.next_submission = now + self.cluster.submit_s
                self.submitted[kind] += 1
                self.queued[kind].append(self.ready[kind].popleft())
                self._start(now)

    def _allowed(self, kind: bool) -> bool:
        within = not kind or self.submitted[True] < self.cluster.trainings
        return within and sum(self.submitted.values()) < self.cluster.jobs

    def _start(self, now: float) -> None:
        for kind, queue in self.queued.items():
            while queue and self.free[kind]:
                number = queue.popleft()
                self.free[kind] -= 1
                self.busy += self.jobs[number].seconds * kind
                heapq.heappush(self.events, (now + self.jobs[number].seconds, "end", number))


def durations_from(costs: Path, epochs: int, window_px: int) -> pd.DataFrame:
    """Return ``start_s`` and ``image_epoch_s`` of each rule, at N = 64, from the costs.csv of a finished study.

    They are CPU seconds, which other programs on the machine change less than wall time. Those of trainings are a
    straight line through the medians of the sizes; others are medians.
    """
    table = pd.read_csv(costs).dropna(subset=["cpu_seconds"])
    rows = {}
    of_trial = (table["job"] == "compare") & table["trial"].notna()
    table.loc[table["job"] == "compare", "job"] = "compare_size"
    table.loc[of_trial, "job"] = "compare_trial"
    for job, part in table.groupby("job"):
        start, rate = float(part["cpu_seconds"].median()), 0.0
        if job in TRAININGS:
            medians = part.groupby("train_size")["cpu_seconds"].median()
            rate, start = np.polyfit(medians.index.to_numpy(float) * epochs, medians.to_numpy(), 1)
        rows[job] = (max(start, 0.5), max(rate, 0.0) * (64 / window_px) ** 2)
    names = {"plot": "figure"}  # in costs.csv: of any plot
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["start_s", "image_epoch_s"]).rename(index=names)
    return frame.round(6).rename_axis("rule")


def table_of(arguments: argparse.Namespace, durations: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return a row for each number of cards and speed-up, and a sentence on the graph."""
    nodes, edges, seconds = graph(arguments.sizes, arguments.trials)
    rows = []
    for speedup in arguments.speedup:
        jobs = jobs_of(nodes, edges, durations, speedup)
        for cards in arguments.cards:
            for label, bundle, ahead in WAYS:
                submitted = grouped(jobs, bundle) if bundle else jobs
                limits = arguments.cores, arguments.jobs, cards * ahead, arguments.submit_s, arguments.poll_s
                cluster = Cluster(cards, *limits)
                makespan, busy = Simulation(submitted, cluster).run()
                rows.append([speedup, cards, label, len(submitted), makespan / 3600, busy])
    columns = ["speed-up", "cards", "submitted", "submissions", "hours", "cards busy"]
    total = sum(job.seconds for job in jobs_of(nodes, edges, durations, 1).values())
    facts = f"{len(nodes)} jobs, {len(edges)} dependencies, {seconds:.0f} s for the graph"
    return pd.DataFrame(rows, columns=columns), f"{facts}, {total / 3600:.0f} hours of one core"


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw hours and busy cards against the number of cards."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn as sns

    sns.set_theme(style="whitegrid", palette="colorblind", context="paper")
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), constrained_layout=True)
    colours = dict(zip(sorted(table["speed-up"].unique()), sns.color_palette(), strict=False))
    styles = dict(zip(table["submitted"].unique(), ("-", "--", "-.", ":"), strict=True))
    for (speedup, label), rows in table.groupby(["speed-up", "submitted"], sort=False):
        for axis, column in zip(axes, ("hours", "cards busy"), strict=True):
            axis.plot(rows["cards"], rows[column], styles[label], color=colours[speedup], marker="o", ms=3,
                      label=f"{speedup:g} x a core, {label}")  # fmt: skip
    ticks = sorted(table["cards"].unique())
    axes[0].set(yscale="log", ylabel="hours")
    axes[1].set(ylim=(0, 1.02), ylabel="cards busy (fraction)")
    for axis in axes:
        axis.set(xscale="log", xlabel="cards")
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="x-small")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="training images (default: 20 sizes)")
    parser.add_argument("--trials", type=int, default=50, help="of each size (default: %(default)s)")
    parser.add_argument("--cards", nargs="+", type=int, default=[4, 8, 16, 32, 64], help="trainings at once")
    parser.add_argument("--speedup", nargs="+", type=float, default=[1, 5, 20], help="of a card; an assumption")
    parser.add_argument("--cores", type=int, default=64, help="other jobs at once (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=200, help="submissions in the queue (default: %(default)s)")
    parser.add_argument("--submit_s", type=float, default=1.0, help="seconds for a submission (default: %(default)s)")
    parser.add_argument(
        "--poll_s", type=float, default=40.0, help="seconds between status checks (default: %(default)s)"
    )
    parser.add_argument("--costs", type=Path, help="costs.csv of a finished study: write durations.csv from it")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the study of --costs (default: %(default)s)")
    parser.add_argument("--window", type=int, default=64, help="N of the study of --costs (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write table and figure to docs/")
    arguments = parser.parse_args()
    if arguments.costs:
        durations_from(arguments.costs, arguments.epochs, arguments.window).to_csv(DURATIONS)
        return
    table, facts = table_of(arguments, pd.read_csv(DURATIONS, index_col="rule"))
    cells = table["hours"].map("{:.1f}".format) + " h, " + (100 * table["cards busy"]).map("{:.0f} %".format)
    shown = table.assign(cell=cells).pivot(index=["speed-up", "cards"], columns="submitted", values="cell")
    shown = shown[[label for label, *_ in WAYS]].reset_index().astype({"speed-up": int})
    text = markdown(list(shown.columns), shown.astype(str).to_numpy().tolist())
    print(f"{facts}\n{text}")
    if arguments.write:
        insert("schedule", f"{facts[0].upper()}{facts[1:]}.\n\n{text}", ROOT / "docs" / "scale.md")
        draw(table, ROOT / "docs" / "images" / "schedule.png")


if __name__ == "__main__":
    main()
