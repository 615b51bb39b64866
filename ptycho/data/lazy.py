"""Arrays larger than memory, whose rows are read or computed when they are indexed, and chunked work on them."""

import ctypes
import functools
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

logger = logging.getLogger(__name__)

CHUNK = 16  # patterns at a time: temporaries of a few MB stay in the processor's cache
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
PROGRESS_S = 2.0  # between two lines of progress
Index = slice | npt.NDArray[Any]
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class LazyArray:
    """An array whose rows are computed on demand; indexed by a slice or by an array of row numbers.

    Parameters
    ----------
    shape, dtype : of the whole array
    make : (k,) int64 row numbers, 0 or more -> (k, ...) rows; may be called from several threads
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    make: Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]]

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of dimensions of the whole array."""
        return len(self.shape)

    def __getitem__(self, index: Index) -> npt.NDArray[Any]:
        """Return the indexed rows in memory, (k, ...) of ``dtype``; IndexError for a row that does not exist."""
        return self.make(_row_numbers(index, len(self)))


def _row_numbers(index: Index, count: int) -> npt.NDArray[np.int64]:
    """Return the row numbers 0 ... count - 1 that ``np.arange(count)[index]`` has, without that array."""
    if isinstance(index, slice):
        return np.arange(*index.indices(count), dtype=np.int64)
    numbers = np.asarray(index)
    if numbers.dtype == bool:
        if numbers.shape != (count,):
            raise IndexError(f"a mask of shape {numbers.shape} for {count} rows")
        return np.flatnonzero(numbers)
    if numbers.size and not -count <= numbers.min() <= numbers.max() < count:
        raise IndexError(f"rows {numbers.min()} to {numbers.max()} of an array of {count}")
    if numbers.size and numbers.dtype.kind not in "iu":
        raise IndexError(f"row numbers are {numbers.dtype}, expected integers")
    numbers = numbers.astype(np.int64)
    return np.where(numbers < 0, numbers + count, numbers)


def lazy_take(rows: "npt.NDArray[Any] | LazyArray", indices: npt.NDArray[np.integer[Any]]) -> LazyArray:
    """Return the rows of ``indices``, in that order, without computing them yet."""
    numbers = np.asarray(indices, np.int64)
    return LazyArray((numbers.size, *rows.shape[1:]), rows.dtype, lambda part: rows[numbers[part]])


def workers() -> int:
    """Return how many threads to compute with: the process's cores, or fewer where OMP_NUM_THREADS says so."""
    cores = len(os.sched_getaffinity(0))
    given = os.environ.get("OMP_NUM_THREADS", "")  # Snakemake sets it to a job's threads
    return max(1, min(cores, int(given) if given.isdigit() else cores))


@functools.cache
def _keep_freed_memory() -> None:
    """Make glibc keep freed memory: temporaries of some MB otherwise return to the kernel and are zeroed anew.

    Zeroing took as long as the arithmetic. See mallopt(3); other C libraries are not configured.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, 256 << 20)


def map_chunks(make: Callable[[slice], Result], count: int, what: str = "") -> Iterator[Result]:
    """Yield ``make(part)`` for consecutive slices of ``count`` rows, in order, computed by several threads.

    At most two chunks per thread and one are in memory at a time.

    Parameters
    ----------
    make : called from several threads
    what : names the work in the lines of progress that are logged every :data:`PROGRESS_S`; empty: none are
    """
    _keep_freed_memory()
    parts = iter(slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK))
    pending: deque[tuple[slice, Future[Result]]] = deque()
    last_logged = time.monotonic()
    with ThreadPoolExecutor(workers()) as pool:
        try:
            for part in parts:
                pending.append((part, pool.submit(make, part)))
                if len(pending) > 2 * workers():
                    done, future = pending.popleft()
                    yield future.result()
                    if what and time.monotonic() - last_logged > PROGRESS_S:
                        last_logged = time.monotonic()
                        logger.info("%s: %d of %d patterns", what, done.stop, count)
            while pending:
                yield pending.popleft()[1].result()
        finally:
            for _, future in pending:
                future.cancel()
