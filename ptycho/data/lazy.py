"""Arrays larger than memory: their rows are read or computed when they are asked for."""

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
    """An array whose rows are made on demand; indexed by a slice or by an array of row numbers.

    Parameters
    ----------
    shape, dtype : of the whole array
    make : (k,) int64 row numbers -> (k, ...) rows; may be called from several threads
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    make: Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, index: Index) -> npt.NDArray[Any]:
        return self.make(np.arange(len(self))[index])


def lazy_take(rows: "npt.NDArray[Any] | LazyArray", indices: npt.NDArray[np.integer[Any]]) -> LazyArray:
    """Return the rows of ``indices``, in that order, without making them yet."""
    numbers = np.asarray(indices, np.int64)
    return LazyArray((numbers.size, *rows.shape[1:]), rows.dtype, lambda part: rows[numbers[part]])


def workers() -> int:
    """Return how many threads to compute with: the cores at hand, or as many as the job was given."""
    cores = len(os.sched_getaffinity(0))
    given = os.environ.get("OMP_NUM_THREADS", "")  # Snakemake sets it to a job's threads
    return max(1, min(cores, int(given) if given.isdigit() else cores))


@functools.cache
def _keep_freed_memory() -> None:
    """Let glibc keep what is freed: temporaries of some MB otherwise go back to the kernel and are zeroed anew.

    That took as long as the arithmetic. See mallopt(3); other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, 256 << 20)


def map_chunks(make: Callable[[slice], Result], count: int, what: str = "") -> Iterator[Result]:
    """Yield ``make(part)`` for consecutive slices of ``count`` rows, in order, computed by several threads.

    No more chunks are in memory than threads work on, and one each in waiting. ``what`` names the work in lines
    of progress.
    """
    _keep_freed_memory()
    parts = iter(slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK))
    pending: deque[tuple[slice, Future[Result]]] = deque()
    told = time.monotonic()
    with ThreadPoolExecutor(workers()) as pool:
        try:
            for part in parts:
                pending.append((part, pool.submit(make, part)))
                if len(pending) > 2 * workers():
                    done, future = pending.popleft()
                    yield future.result()
                    if what and time.monotonic() - told > PROGRESS_S:
                        told = time.monotonic()
                        logger.info("%s: %d of %d patterns", what, done.stop, count)
            while pending:
                yield pending.popleft()[1].result()
        finally:
            for _, future in pending:
                future.cancel()
