"""Progress of a run, with events as Snakemake sends them."""

import logging

import pytest

from ptycho.study import progress
from ptycho.study.progress import Progress, ProgressHandler, Training

HEAD = "s\th:m:s\tmax_rss\tcpu_time\n"


def epochs(training):
    return 10


def trainings(sizes, arms=("pinn", "baseline"), trials=(1,)):
    return [Training(arm, "", size, trial) for arm in arms for size in sizes for trial in trials]


class Run:
    """A run of Snakemake, as its log sees it, with a clock of its own."""

    def __init__(self, waiting, at_a_time=1, rates=(), total=None):
        self.lines, self.now, self.jobs = [], 0.0, {}
        log = logging.Logger("snakemake")
        log.addHandler(ProgressHandler(Progress(waiting, epochs, at_a_time, dict(rates)), log, lambda: self.now))
        log.addFilter(lambda record: not isinstance(record.msg, str) or not self.lines.append(record.msg))
        self.log = log
        counts = [sum(one.arm == arm for one in waiting) for arm in ("pinn", "baseline")]
        stats = dict(zip(("train_pinn", "train_baseline"), counts, strict=True)) if total is None else total
        self.send("run_info", stats={"pad": 1, **stats})

    def send(self, event, **fields):
        self.log.info(None, extra={"event": event, **fields})

    def start(self, training, at):
        self.now, self.jobs[training] = at, 100 + len(self.jobs)
        wildcards = {"branch": training.branch, "size": str(training.size), "trial": str(training.trial)}
        self.send("job_info", jobid=self.jobs[training], rule_name=f"train_{training.arm}", wildcards=wildcards)

    def finish(self, training, at):
        self.now = at
        self.send("job_finished", job_id=self.jobs[training])
        return self.lines[-1]


def test_without_a_measurement_only_numbers_are_told():
    assert Run(trainings([64, 128])).lines == ["trainings: 4 to do; the time left is known after the first one"]


def test_the_time_left_follows_images_times_epochs():
    run = Run(trainings([100, 200, 400], arms=["pinn"]))
    one, two, four = trainings([100, 200, 400], arms=["pinn"])
    run.start(one, at=0)
    assert run.finish(one, at=100) == "trainings: 1 of 3 finished, about 10 min left"  # 200 + 400 s
    run.start(two, at=100)
    assert run.finish(two, at=300) == "trainings: 2 of 3 finished, about 7 min left"
    run.start(four, at=300)
    assert run.finish(four, at=700) == "trainings: 3 of 3 finished"


def test_trainings_share_the_time_and_what_runs_is_counted_in_part():
    waiting = trainings([100], arms=["pinn"], trials=range(1, 7))
    run = Run(waiting, at_a_time=2)
    run.start(waiting[0], at=0)
    run.start(waiting[1], at=0)
    assert run.finish(waiting[0], at=600) == "trainings: 1 of 6 finished, about 20 min left"  # four of 600 s, by two
    run.start(waiting[2], at=600)
    assert run.finish(waiting[1], at=600) == "trainings: 2 of 6 finished, about 20 min left"


def test_one_long_training_is_not_shared():
    pair = trainings([100, 1000], arms=["pinn"])
    run = Run(pair, at_a_time=2)
    for one in pair:
        run.start(one, at=0)
    assert run.finish(pair[0], at=60).endswith("about 9 min left")  # 600 s in all, of which 60 have passed


def test_each_arm_has_its_rate():
    run = Run(trainings([100], trials=(1, 2)))
    pinn, pinn2, base, _ = trainings([100], trials=(1, 2))
    run.start(pinn, at=0)
    assert run.finish(pinn, at=600).endswith("about 30 min left")  # the baseline as PtychoPINN as long as it is unknown
    run.start(base, at=600)
    assert run.finish(base, at=660).endswith("about 11 min left")  # 600 and 60 s
    run.start(pinn2, at=660)
    assert run.finish(pinn2, at=1260).endswith("about 60 s left")


def test_rates_of_earlier_trainings_give_an_estimate_before_the_first():
    run = Run(trainings([100], arms=["pinn"], trials=(1, 2)), rates={"pinn": 0.6})
    assert run.lines == ["trainings: 2 to do, about 20 min at the rate of earlier ones here"]


def test_a_part_of_a_study_counts_its_own_trainings():
    waiting = trainings([100], arms=["pinn"], trials=range(1, 7))
    run = Run(waiting, total={"train_pinn": 2})
    run.start(waiting[0], at=0)
    assert run.finish(waiting[0], at=600) == "trainings: 1 of 2 finished, about 10 min left"


def test_trainings_that_are_repeated_are_estimated_though_their_models_exist():
    run = Run([], total={"train_pinn": 3})
    training = Training("pinn", "variants/wide/", 100, 1)
    run.start(training, at=0)
    assert run.finish(training, at=600) == "trainings: 1 of 3 finished, about 20 min left"


def test_a_run_without_trainings_tells_nothing():
    run = Run([], total={})
    run.send("job_info", jobid=1, rule_name="pad", wildcards={})
    run.send("job_finished", job_id=1)
    run.send("progress", done=1, total=2)
    assert run.lines == []


def test_an_event_of_another_form_does_not_stop_the_run(capsys, monkeypatch):
    run = Run(trainings([64]))
    run.send("job_info", jobid=1, rule_name="train_pinn", wildcards={"case": "other"})
    assert "KeyError" in capsys.readouterr().err


def test_rates_are_read_from_the_benchmarks(tmp_path):
    assert progress.known_rates(tmp_path / "none", epochs) == {}
    for name, seconds in (("train_pinn_64_1", 64), ("train_pinn_128_1", 320), ("tables", 5)):
        path = tmp_path / "benchmarks" / f"{name}.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{HEAD}{seconds}\t-\t700\t20\n")
    (tmp_path / "benchmarks/train_pinn_64_2.tsv").write_text("")  # of a training that was interrupted
    assert progress.known_rates(tmp_path, epochs) == {"pinn": pytest.approx(384 / 1920)}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "about 10 s"), (44, "about 40 s"), (89, "about 90 s"), (91, "about 2 min"), (5300, "about 88 min"),
     (5400, "about 1 h 30 min"), (90000, "about 25 h 0 min")],
)  # fmt: skip
def test_durations_in_words(seconds, words):
    assert progress.told(seconds) == words


def test_details_are_written_beside_the_log_of_snakemake(tmp_path):
    log = logging.Logger("snakemake")
    seen = []
    log.addFilter(lambda record: seen.append(record.msg) or True)
    progress.attach_details(log, [tmp_path / "2026.snakemake.log"])
    log.info(
        None, extra={"event": "job_info", "jobid": 7, "rule_name": "pad", "reason": "Missing output files: b.npz",
                     "input": ["a.npz"], "wildcards": {"size": "64"}, "threads": 1, "output": ["b.npz"]},
    )  # fmt: skip
    log.info(None, extra={"event": "shellcmd", "shellcmd": "python pad.py a.npz b.npz"})
    log.info("Finished jobid: 7 (Rule: pad)", extra={"event": "job_finished", "job_id": 7})
    log.info(None, extra={"event": "progress", "done": 1, "total": 2})
    text = (tmp_path / "2026.snakemake.jobs.log").read_text()
    for words in ("job_info 7 pad", "reason: Missing output files: b.npz", "wildcards: size=64", "input: a.npz",
                  "shell: python pad.py a.npz b.npz", "job_finished Finished jobid: 7"):  # fmt: skip
        assert words in text
    assert "progress" not in text
    assert seen[0] == f"reason and shell command of each job: {tmp_path / '2026.snakemake.jobs.log'}"
