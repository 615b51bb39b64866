"""The simulation of a schedule (benchmarks/schedule.py), on graphs whose course is known."""

import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from schedule import Cluster, Job, Simulation, durations_from, grouped, jobs_of


def study(trainings=4, seconds=100.0, scored=10.0):
    """Data, from which each training starts; a comparison of each; tables of all."""
    jobs = {0: Job("split", 5.0)}
    for i in range(trainings):
        jobs[1 + i] = Job("train_pinn", seconds, {0})
        jobs[101 + i] = Job("compare_trial", scored, {1 + i})
    jobs[999] = Job("tables", 2.0, {101 + i for i in range(trainings)})
    return jobs


@pytest.mark.parametrize(
    ("cluster", "seconds"),
    [
        (Cluster(1, 9, 99, 1), 5 + 400 + 10 + 2),
        (Cluster(2, 9, 99, 2), 5 + 200 + 10 + 2),
        (Cluster(4, 9, 99, 4), 5 + 100 + 10 + 2),
        (Cluster(4, 9, 99, 1), 5 + 400 + 10 + 2),  # Snakemake allows one
        (Cluster(4, 9, 2, 4), 5 + 200 + 20 + 2),  # two submissions at once, of trainings first
        (Cluster(4, 1, 99, 4), 5 + 100 + 40 + 2),  # one core for the comparisons
        (Cluster(4, 9, 99, 4, submit_s=30), 272),  # trainings at 30 to 120 s, comparisons at 150 to 240, tables at 270
    ],
)
def test_the_time_of_known_schedules(cluster, seconds):
    found, busy = Simulation(study(), cluster).run()
    assert found == seconds
    assert busy == pytest.approx(400 / (found * cluster.cards))


def test_ends_are_seen_at_the_next_status_check():
    found, _ = Simulation(study(1), Cluster(1, 1, 9, 1, poll_s=60)).run()
    assert found == 60 + 120 + 60 + 60  # 5, 100, 10 and 2 s, each up to the next full minute


def test_a_training_that_waits_in_the_queue_starts_at_once():
    one, two = (Simulation(study(3), Cluster(1, 9, 99, limit, poll_s=60)).run()[0] for limit in (1, 2))
    assert one == 60 + 3 * 120 + 60 + 60
    assert two == 60 + 300 + 60 + 60  # three of 100 s without a gap


def test_no_job_starts_before_those_it_waits_for():
    jobs = {0: Job("pad", 10), 1: Job("smooth", 1, {0}), 2: Job("train_pinn", 5, {1}), 3: Job("tables", 1, {0, 2})}
    assert Simulation(jobs, Cluster(8, 8, 99, 8)).run()[0] == 17


def test_groups_are_one_submission_of_the_same_seconds():
    jobs = study(4) | {1000: Job("figure", 3.0, {999})}
    jobs[0].needs = {2000}
    jobs[2000] = Job("simulate", 7.0)
    for bundle, count in ((1, 1 + 4 + 4 + 1), (2, 1 + 4 + 2 + 1), (4, 1 + 4 + 1 + 1)):
        merged = grouped(jobs, bundle)
        assert len(merged) == count
        assert sum(job.seconds for job in merged.values()) == sum(job.seconds for job in jobs.values())
        assert Simulation(merged, Cluster(4, 9, 99, 4)).run()[0] == 12 + 100 + 10 * bundle + 5


def test_durations_follow_images_and_speedup(tmp_path):
    costs = tmp_path / "costs.csv"
    rows = [("train_pinn", size, 1, 8 + 0.003 * size * 20) for size in (128, 256, 512)]
    rows += [("compare", 64, 1, 9.0), ("compare", 64, None, 3.0)]
    pd.DataFrame(rows, columns=["job", "train_size", "trial", "cpu_seconds"]).to_csv(costs, index=False)
    durations = durations_from(costs, epochs=20, window_px=64)
    assert durations.loc["train_pinn"].tolist() == pytest.approx([8, 0.003], rel=1e-4)
    assert durations.loc["compare_size", "start_s"] == 3
    nodes = {0: ("train_pinn", 1000), 1: ("compare_trial", 0), 2: ("all", 0)}
    for speedup in (1, 10):
        jobs = jobs_of(nodes, [(0, 1), (1, 2)], durations, speedup)
        assert jobs[0].seconds == pytest.approx(8 + 0.003 * 1000 * 50 / speedup, rel=1e-4)
        assert (jobs[1].seconds, jobs[2].seconds) == (9, 0)
        assert (jobs[1].needs, jobs[2].needs) == ({0}, {1})
