"""Seeds of every random draw, all derived from the seed of the study."""

import zlib
from typing import Any

import numpy as np


def derive_seed(study_seed: int, *parts: Any) -> int:
    """Return a seed for one purpose, e.g. ``derive_seed(42, "weights", size, trial, "pinn")``.

    Parameters
    ----------
    study_seed : 0 or more
    parts : name the purpose; only ``str`` of each counts. Other names are other seeds: renaming one changes results

    Returns
    -------
    int : 0 ... 2**32 - 1
    """
    words = [zlib.crc32(str(part).encode()) for part in parts]
    return int(np.random.SeedSequence([study_seed, *words]).generate_state(1)[0])
