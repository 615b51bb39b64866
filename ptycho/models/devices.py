"""Device, threads and precision of a process."""

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

_held: list[IO[str]] = []  # the lock of this process's GPU, held until the process ends


def configure(*, use_gpu: bool = True) -> None:
    """Set up TensorFlow; to be called before its first computation.

    Operations are deterministic, and threads follow ``OMP_NUM_THREADS`` where it is set. Of the GPUs in
    ``CUDA_VISIBLE_DEVICES``, the process uses the one with the fewest other processes
    (:mod:`ptycho.models.gpu_lock`); it allocates memory as needed instead of all at once, or at most the
    ``PTYCHO_GPU_MEMORY_MB`` of the environment. The GPU paths have not been run on a GPU yet.

    Parameters
    ----------
    use_gpu : False computes on the CPU even where there is a GPU

    Raises
    ------
    InputError : no GPU is free (:func:`ptycho.models.gpu_lock.take`)
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


TRAINING_ADVICE = (
    "fewer trainings at a time (--resources gpu=1), the same training in parts (--micro_batches 2), or a smaller "
    "batch_size"
)
INFERENCE_ADVICE = (
    "fewer jobs at a time (--resources gpu=1), or inference on the CPU (CUDA_VISIBLE_DEVICES=-1 in the environment)"
)


@contextmanager
def explain_out_of_memory(advice: str) -> Iterator[None]:
    """Turn an out-of-memory error of TensorFlow into an InputError of one line that ends with ``advice``."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        lines = [line.strip() for line in str(error).strip().splitlines()]
        reason = next((line for line in lines if "OOM" in line), lines[0])  # errors of a graph start with its nodes
        raise InputError(f"out of memory ({reason}): {advice}") from error


def device_name() -> str:
    """Return the name of the GPU that this process computes on, or ``CPU, 4 threads``."""
    gpus = tf.config.get_visible_devices("GPU")
    if gpus:
        return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name))
    number = threads()
    return f"CPU, {number or 'all'} thread{'s' * (number != 1)}"


def threads() -> int:
    """Return the threads of an operation, 0 for all; the order of sums, and so rounding, depends on it."""
    return int(tf.config.threading.get_intra_op_parallelism_threads())


def convolution_policy(precision: Precision) -> str:
    """Return the Keras dtype policy of the convolutions; ``auto`` is bfloat16 where the hardware supports it."""
    if precision != "auto":
        return precision
    gpus = tf.config.get_visible_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return "mixed_bfloat16" if tuple(capability) >= BFLOAT16_CAPABILITY else "float32"
    return "mixed_bfloat16" if BFLOAT16_FLAGS & _cpu_flags() else "float32"


def _cpu_flags(path: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Return the instruction set flags of an x86 CPU under Linux, none elsewhere."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
