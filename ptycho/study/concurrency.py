"""How many trainings run at a time on this machine, where the user sets no limit (``--resources gpu=...``)."""

from pathlib import Path

PROGRAM_MB = 700  # memory of a training that does not depend on N: TensorFlow and the program
BATCH_MB = 300  # memory of a training for the activations of a batch of 16 at N = 64, in proportion to N**2
IMAGE_MB = 0.2  # memory of a training for each image at N = 64, in proportion to N**2: patterns, patches, copies
SHARE = 0.8  # of the memory that is free, which trainings may take


def visible_gpus(visible: str | None, devices: Path = Path("/dev")) -> int:
    """Return the number of NVIDIA GPUs that a process of this machine can use.

    Parameters
    ----------
    visible : ``CUDA_VISIBLE_DEVICES``: None where it is unset, -1 or empty for none
    devices : directory of the device files, ``nvidia0`` and so on
    """
    present = sum(path.name.removeprefix("nvidia").isdigit() for path in devices.glob("nvidia*"))
    if visible is None:
        return present
    listed = [name.strip() for name in visible.split(",")]
    usable = listed.index("-1") if "-1" in listed else len(listed)  # CUDA ignores what follows the first invalid one
    return min(present, sum(bool(name) for name in listed[:usable]))


def needed_mb(n_images: int, window_px: int, batch_size: int) -> float:
    """Return the memory of a training, MB."""
    return PROGRAM_MB + (BATCH_MB * batch_size / 16 + IMAGE_MB * n_images) * (window_px / 64) ** 2


def trainings_at_a_time(cores: int, gpus: int, memory: float, n_images: int, window_px: int, batch_size: int) -> int:
    """Return how many trainings run at a time: one a GPU, or without a GPU one a core, as far as memory allows.

    Networks of this size hardly use a second core, and as many trainings on one core each finish earlier.

    Parameters
    ----------
    cores : that Snakemake may use
    gpus : see :func:`visible_gpus`
    memory : free, bytes
    n_images, window_px, batch_size : of the largest training
    """
    if gpus:
        return gpus
    return max(1, int(min(cores, SHARE * memory / 1e6 / needed_mb(n_images, window_px, batch_size))))
