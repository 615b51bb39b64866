import threading
import time

import numpy as np
import pytest

from ptycho.data import lazy
from ptycho.data.lazy import CHUNK, LazyArray, lazy_take, map_chunks


def test_rows_are_made_for_any_index():
    array = np.arange(20).reshape(10, 2)
    asked = []

    def make(numbers):
        asked.append(numbers.tolist())
        return array[numbers]

    made = LazyArray(array.shape, array.dtype, make)
    np.testing.assert_array_equal(made[2:4], array[2:4])
    np.testing.assert_array_equal(made[np.array([9, -1, 0])], array[[9, 9, 0]])
    assert asked == [[2, 3], [9, 9, 0]]
    assert (len(made), made.ndim) == (10, 2)
    with pytest.raises(IndexError):
        made[np.array([10])]


def test_a_choice_of_rows_is_made_later():
    array = np.arange(10.0)
    some = lazy_take(LazyArray(array.shape, array.dtype, lambda numbers: array[numbers]), np.array([7, 3, 5]))
    assert some.shape == (3,)
    np.testing.assert_array_equal(some[1:], [3, 5])
    np.testing.assert_array_equal(lazy_take(array, np.array([1, 2]))[:], [1, 2])


@pytest.mark.parametrize("count", [0, 1, CHUNK, CHUNK + 1, 5 * CHUNK - 1])
def test_chunks_come_in_order_and_cover_all(count):
    def make(part):
        time.sleep(0.002 * (part.start == 0))  # the first is the slowest
        return part

    parts = list(map_chunks(make, count))
    assert [number for part in parts for number in range(part.start, part.stop)] == list(range(count))


def test_few_chunks_wait_in_memory(monkeypatch):
    monkeypatch.setattr(lazy, "workers", lambda: 2)
    made = []
    results = map_chunks(lambda part: made.append(part) or part, 100 * CHUNK)
    next(results)
    time.sleep(0.05)
    assert len(made) <= 6


def test_an_error_in_a_chunk_reaches_the_caller():
    def make(part):
        if part.start >= CHUNK:
            raise ValueError("dark")
        return part

    with pytest.raises(ValueError, match="dark"):
        list(map_chunks(make, 20 * CHUNK))


@pytest.mark.parametrize(("given", "expected"), [("1", 1), ("2", 2), ("99", 4), ("", 4), ("many", 4), ("0", 1)])
def test_a_job_uses_the_threads_it_was_given(monkeypatch, given, expected):
    monkeypatch.setattr(lazy.os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert lazy.workers() == expected


def test_several_threads_work(monkeypatch):
    monkeypatch.setattr(lazy, "workers", lambda: 2)
    barrier = threading.Barrier(2, timeout=10)  # passes only where two chunks are made at a time
    assert len(list(map_chunks(lambda part: barrier.wait(), 4 * CHUNK))) == 4


def test_progress_is_told(monkeypatch, caplog):
    monkeypatch.setattr(lazy, "PROGRESS_S", 0.0)
    caplog.set_level("INFO")
    list(map_chunks(lambda part: part, 50 * CHUNK, "simulated"))
    assert "simulated: " in caplog.text
    assert f"of {50 * CHUNK} patterns" in caplog.text
