"""Which hardware a process computes on, and how exactly."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import tensorflow as tf

from ptycho.config.schema import Precision
from ptycho.errors import InputError
from ptycho.models import gpu_lock

logger = logging.getLogger(__name__)

BFLOAT16_CAPABILITY = (8, 0)  # NVIDIA Ampere, the first with bfloat16 in hardware
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # x86 instructions, as Linux names them


_held: list[IO[str]] = []  # the lock of this process's device, for as long as it lives


def configure(*, use_gpu: bool = True) -> None:
    """Set up TensorFlow before its first computation.

    Results are made repeatable; threads follow ``OMP_NUM_THREADS`` where it is set. Of the GPUs that
    ``CUDA_VISIBLE_DEVICES`` shows, the process takes the one with the fewest others on it (:mod:`leases`); it lends
    memory as it is needed instead of all at once, or no more than the ``PTYCHO_GPU_MEMORY_MB`` of the environment. The
    GPU paths have not been run on a GPU yet.
    """
    tf.config.experimental.enable_op_determinism()
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        tf.config.threading.set_intra_op_parallelism_threads(int(given))
        tf.config.threading.set_inter_op_parallelism_threads(int(given))
    gpus = tf.config.list_physical_devices("GPU")
    if not use_gpu:
        tf.config.set_visible_devices([], "GPU")
        gpus = []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not gpus:
        assigned = f" (CUDA_VISIBLE_DEVICES is {visible}, but TensorFlow finds no GPU)" if use_gpu and visible else ""
        logger.info("computing on the CPU, %s threads%s", given or "all", assigned)
        return
    known = gpu_lock.names(len(gpus), visible)
    number, lock = gpu_lock.take(known, gpu_lock.directory())
    _held.append(lock)
    tf.config.set_visible_devices([gpus[number]], "GPU")
    cap = os.environ.get("PTYCHO_GPU_MEMORY_MB", "")
    if not cap.isdigit():
        tf.config.experimental.set_memory_growth(gpus[number], True)
    else:
        limit = tf.config.LogicalDeviceConfiguration(memory_limit=int(cap))
        tf.config.set_logical_device_configuration(gpus[number], [limit])
    logger.info("computing on GPU %s (%s)", known[number], gpus[number].name)


@contextmanager
def naming_the_remedy() -> Iterator[None]:
    """Turn an out-of-memory error of TensorFlow into one line that says what helps."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"out of memory ({first}): fewer trainings at a time (--resources gpu=1), the same training in parts "
            "(--micro_batches 2), or a smaller batch_size"
        ) from error


def described() -> str:
    """Return what this process computes on, in words."""
    gpus = tf.config.get_visible_devices("GPU")
    if gpus:
        return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name))
    return f"CPU, {threads() or 'all'} threads"


def threads() -> int:
    """Return how many threads an operation computes with, 0 for all; sums, and so results, depend on it slightly."""
    return int(tf.config.threading.get_intra_op_parallelism_threads())


def convolution_policy(precision: Precision) -> str:
    """Return the Keras dtype policy of the convolutions: ``auto`` takes bfloat16 where the hardware computes it."""
    if precision != "auto":
        return precision
    gpus = tf.config.get_visible_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return "mixed_bfloat16" if tuple(capability) >= BFLOAT16_CAPABILITY else "float32"
    return "mixed_bfloat16" if BFLOAT16_FLAGS & _cpu_flags() else "float32"


def _cpu_flags(path: Path = Path("/proc/cpuinfo")) -> set[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
