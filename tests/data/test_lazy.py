import threading
import time

import numpy as np
import pytest

from ptycho.data import lazy
from ptycho.data.lazy import CHUNK, LazyArray, lazy_take, map_chunks


def test_rows_are_computed_for_any_index():
    array = np.arange(20).reshape(10, 2)
    asked = []

    def make(numbers):
        asked.append(numbers.tolist())
        return array[numbers]

    rows = LazyArray(array.shape, array.dtype, make)
    np.testing.assert_array_equal(rows[2:4], array[2:4])
    np.testing.assert_array_equal(rows[np.array([9, -1, 0])], array[[9, 9, 0]])
    assert asked == [[2, 3], [9, 9, 0]]
    assert (len(rows), rows.ndim) == (10, 2)
    with pytest.raises(IndexError):
        rows[np.array([10])]


@pytest.mark.parametrize(
    "index",
    [
        slice(None), slice(3, 7), slice(-3, None), slice(None, None, -2), slice(5, 2), slice(8, 99),
        np.array([4, -10, 9, 4]), np.array([1, 2], np.uint8), np.array([], int), np.arange(10) % 3 == 0, [0, 5], [],
        np.array([[1, 2], [3, -1]]), 7, -1,
    ],
    ids=str,
)  # fmt: skip
def test_row_numbers_are_those_that_numpy_would_take(index):
    numbers = lazy._row_numbers(index, 10)
    assert numbers.dtype == np.int64
    np.testing.assert_array_equal(numbers, np.arange(10)[index])


@pytest.mark.parametrize(
    "index", [np.array([3, 10]), np.array([-11]), np.ones(9, bool), np.ones((10, 1), bool), np.array([1.0]), 10]
)
def test_rows_that_do_not_exist_are_an_index_error(index):
    with pytest.raises(IndexError):
        np.arange(10)[index]  # numpy says so, too
    with pytest.raises(IndexError):
        lazy._row_numbers(index, 10)


def test_indexing_takes_the_memory_of_the_rows_asked_for_whatever_the_length():
    count = 10**15  # an array of all row numbers would not fit into any memory
    long = LazyArray((count,), np.dtype(np.int64), lambda numbers: numbers)
    np.testing.assert_array_equal(long[count - 2 :], [count - 2, count - 1])
    np.testing.assert_array_equal(long[np.array([5, -1])], [5, count - 1])


def test_lazily_taken_rows_are_computed_later():
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
    computed = []
    results = map_chunks(lambda part: computed.append(part) or part, 100 * CHUNK)
    next(results)
    time.sleep(0.05)
    assert len(computed) <= 6


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
    barrier = threading.Barrier(2, timeout=10)  # passes only where two chunks are computed at a time
    assert len(list(map_chunks(lambda part: barrier.wait(), 4 * CHUNK))) == 4


def test_progress_is_logged(monkeypatch, caplog):
    monkeypatch.setattr(lazy, "PROGRESS_S", 0.0)
    caplog.set_level("INFO")
    list(map_chunks(lambda part: part, 50 * CHUNK, "simulated"))
    assert "simulated: " in caplog.text
    assert f"of {50 * CHUNK} patterns" in caplog.text
