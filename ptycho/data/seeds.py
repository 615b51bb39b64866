"""Every seed of a study derives from one."""

import zlib
from typing import Any

import numpy as np


def derive_seed(study_seed: int, *parts: Any) -> int:
    """Return a seed for one purpose, e.g. ``derive_seed(42, "weights", size, trial, "pinn")``; 32 bits."""
    words = [zlib.crc32(str(part).encode()) for part in parts]
    return int(np.random.SeedSequence([study_seed, *words]).generate_state(1)[0])
