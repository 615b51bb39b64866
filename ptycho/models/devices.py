"""Which hardware a process computes on, and how exactly."""

import logging
import os
from pathlib import Path

import tensorflow as tf

from ptycho.config import Precision

logger = logging.getLogger(__name__)

BFLOAT16_CAPABILITY = (8, 0)  # NVIDIA Ampere, the first with bfloat16 in hardware
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # x86 instructions, as Linux names them


def configure(*, use_gpu: bool = True) -> None:
    """Set up TensorFlow before its first computation.

    Results are made repeatable; threads follow ``OMP_NUM_THREADS`` where it is set; a GPU lends memory as it is
    needed instead of all at once. The GPU paths have not been run on a GPU yet.
    """
    tf.config.experimental.enable_op_determinism()
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        tf.config.threading.set_intra_op_parallelism_threads(int(given))
        tf.config.threading.set_inter_op_parallelism_threads(1)
    gpus = tf.config.list_physical_devices("GPU")
    if not use_gpu:
        tf.config.set_visible_devices([], "GPU")
        gpus = []
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    logger.info("computing on %s", ", ".join(gpu.name for gpu in gpus) or f"the CPU, {given or 'all'} threads")


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
