"""Progress of a run: how many trainings have finished, the time that the others take, and the details of every job."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ptycho.results import layout
from ptycho.study.costs import UNREADABLE, job_of, measured

RULES = {"train_pinn": "pinn", "train_baseline": "baseline"}
NEWEST = 40  # trainings whose times are read
DETAILS = ".jobs"  # in the name of the file of details, beside the log of Snakemake


@dataclass(frozen=True)
class Training:
    """One training of a study.

    Parameters
    ----------
    arm : pinn or baseline
    branch : ``""``, or ``variants/NAME/``
    size : training images
    trial : from 1
    """

    arm: str
    branch: str
    size: int
    trial: int


def known_rates(study_dir: Path | str, epochs: Callable[[Training], int]) -> dict[str, float]:
    """Return the seconds per image and epoch of each arm, from the latest trainings of a study.

    Parameters
    ----------
    study_dir : directory of the study; it need not exist
    epochs : of a training

    Returns
    -------
    dict : by arm; without the arms of which none has finished
    """
    paths = [
        (variant, path)
        for variant, directory in layout.branches(study_dir).items()
        for path in directory.glob(f"{layout.BENCHMARKS_DIR}/train_*.tsv")
    ]
    seconds: dict[str, float] = {}
    samples: dict[str, int] = {}
    for variant, path in sorted(paths, key=lambda one: one[1].stat().st_mtime)[-NEWEST:]:
        job, size, trial = job_of(path.stem)
        try:
            took = measured(path)[0]
        except UNREADABLE:  # of a training that was interrupted
            continue
        if job in RULES and math.isfinite(took):
            one = Training(RULES[job], f"variants/{variant}/" if variant else "", size, trial)
            seconds[one.arm] = seconds.get(one.arm, 0.0) + took
            samples[one.arm] = samples.get(one.arm, 0) + one.size * epochs(one)
    return {arm: seconds[arm] / samples[arm] for arm in seconds}


def told(seconds: float) -> str:
    """Return a duration in words: ``about 40 s``, ``about 12 min``, ``about 3 h 20 min``."""
    if seconds < 90:
        return f"about {max(10, round(seconds, -1)):.0f} s"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 90 else f"about {minutes // 60} h {minutes % 60} min"


class Progress:
    """The trainings of a run, and an estimate of the time that they take.

    Before a training of an arm has finished, in this run or earlier, the rate of the other arm is taken; without any
    there is no estimate.

    Parameters
    ----------
    waiting : trainings of the study that have no model yet
    epochs : of a training
    at_a_time : trainings that run at once
    rates : of :func:`known_rates`
    """

    def __init__(
        self,
        waiting: Iterable[Training],
        epochs: Callable[[Training], int],
        at_a_time: int,
        rates: Mapping[str, float],
    ) -> None:
        self.waiting, self.epochs, self.at_a_time, self.known = set(waiting), epochs, max(1, at_a_time), dict(rates)
        self.total = 0
        self.running: dict[Training, float] = {}  # when each started
        self.took: dict[Training, float] = {}  # seconds

    def start(self, training: Training, now: float) -> None:
        """Note that a training started; ``now`` in seconds of any clock."""
        self.waiting.discard(training)
        self.running[training] = now

    def finish(self, training: Training, now: float) -> None:
        """Note that a training has finished."""
        self.took[training] = now - self.running.pop(training)

    def rates(self) -> dict[str, float]:
        """Return seconds per image and epoch by arm, measured in this run where a training has finished."""
        rates = dict(self.known)
        for arm in {one.arm for one in self.took}:
            done = [one for one in self.took if one.arm == arm]
            rates[arm] = sum(self.took[one] for one in done) / sum(one.size * self.epochs(one) for one in done)
        return rates

    def seconds_left(self, now: float) -> float | None:
        """Return how long the remaining trainings take; None where nothing has been measured yet."""
        rates = self.rates()
        if not rates:
            return None

        def seconds(training: Training) -> float:
            rate = rates.get(training.arm, sum(rates.values()) / len(rates))
            return rate * training.size * self.epochs(training)

        running = [max(0.0, seconds(one) - (now - start)) for one, start in self.running.items()]
        unstarted = [seconds(one) for one in self.waiting]
        count = max(0, self.total - len(self.took) - len(running))  # a run need not be of the whole study
        mean = sum(unstarted) / len(unstarted) if unstarted else sum(map(seconds, self.took)) / max(1, len(self.took))
        return max([(sum(running) + count * mean) / min(self.at_a_time, max(1, count + len(running))), *running])

    def line(self, now: float) -> str:
        """Return how many trainings have finished, and the time left."""
        finished = len(self.took)
        done = f"trainings: {finished} of {self.total} finished" if finished else f"trainings: {self.total} to do"
        if finished == self.total:
            return done
        left = self.seconds_left(now)
        if left is None:
            return f"{done}; the time left is known after the first one"
        return f"{done}, {told(left)} left" if finished else f"{done}, {told(left)} at the rate of earlier ones here"


class ProgressHandler(logging.Handler):
    """Listens to Snakemake's log, and adds a line on the progress after each training.

    Records have an ``event``, the documented interface of logger plugins (snakemake_interface_logger_plugins).

    Parameters
    ----------
    progress : of this run
    log : Snakemake's, to which the lines go
    clock : seconds
    """

    def __init__(self, progress: Progress, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.progress, self.log, self.clock = progress, log, clock
        self.trainings: dict[int, Training] = {}  # by the number of the job

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of one event; an error in doing so is reported and does not stop the run."""
        try:
            self._note(record)
        except Exception:
            self.handleError(record)

    def _note(self, record: logging.LogRecord) -> None:
        event, now = str(getattr(record, "event", None) or ""), self.clock()
        if event == "run_info" and not self.progress.total:
            self.progress.total = sum(int(getattr(record, "stats", {}).get(rule, 0)) for rule in RULES)
            if self.progress.total:
                self.log.info(self.progress.line(now))
        elif event == "job_info" and getattr(record, "rule_name", None) in RULES:
            words = dict(getattr(record, "wildcards", None) or {})
            training = Training(
                RULES[getattr(record, "rule_name", "")],
                words.get("branch", ""), int(words["size"]), int(words["trial"]),
            )  # fmt: skip
            self.trainings[int(getattr(record, "jobid", -1))] = training
            self.progress.start(training, now)
        elif event == "job_finished" and getattr(record, "job_id", None) in self.trainings:
            self.progress.finish(self.trainings.pop(getattr(record, "job_id", -1)), now)
            self.log.info(self.progress.line(now))


class DetailsHandler(logging.FileHandler):
    """Writes of each job when it started and finished, why it ran, and its shell command, which the terminal omits."""

    FIELDS = ("input", "output", "wildcards", "threads", "reason")

    def emit(self, record: logging.LogRecord) -> None:
        """Write one event, if it is of a job."""
        event = str(getattr(record, "event", None) or "")
        if event in ("job_info", "job_finished", "job_error", "shellcmd", "group_info", "group_error"):
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of an event."""
        event = str(getattr(record, "event", ""))
        if event == "shellcmd":
            return f"    shell: {getattr(record, 'shellcmd', None) or getattr(record, 'cmd', None)}"
        head = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(record.created))} {event}"
        if event != "job_info":
            return f"{head} {record.getMessage()}"
        fields = {name: getattr(record, name, None) for name in self.FIELDS}
        lines = [f"    {name}: {_words(value)}" for name, value in fields.items() if value]
        return "\n".join([f"{head} {getattr(record, 'jobid', '')} {getattr(record, 'rule_name', '')}", *lines])


def _words(value: object) -> str:
    """Return a field of an event as text: lists and mappings without brackets."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={one}" for name, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def details_file(log: Path | str) -> Path:
    """Return the file of details beside the log of a run of Snakemake."""
    path = Path(log)
    return path.with_name(f"{path.stem}{DETAILS}{path.suffix}")


def attach(
    log: logging.Logger, study_dir: Path | str, trainings: Mapping[Training, Path | str],
    epochs: Callable[[Training], int], at_a_time: int,
) -> None:  # fmt: skip
    """Tell the progress of the trainings of a study in the log of Snakemake.

    Parameters
    ----------
    log : Snakemake's
    study_dir : directory of the study
    trainings : all of the study, with a file that each writes at its end
    epochs : of a training
    at_a_time : trainings that run at once
    """
    waiting = [one for one, path in trainings.items() if not Path(path).exists()]
    log.addHandler(ProgressHandler(Progress(waiting, epochs, at_a_time, known_rates(study_dir, epochs)), log))


def attach_details(log: logging.Logger, files: Iterable[Path | str]) -> None:
    """Write the details of each job beside the log file of Snakemake, and name that file in the log."""
    for path in map(details_file, files):
        log.addHandler(DetailsHandler(path, encoding="utf-8"))
        log.info(f"reason and shell command of each job: {path}")  # Snakemake fills in no arguments
