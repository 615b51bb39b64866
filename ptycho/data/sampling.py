"""Training subsets, nested over sizes and independent over trials, and groups of neighbouring patterns."""

import numpy as np
import numpy.typing as npt

from ptycho.data import lazy
from ptycho.data.dataset import FloatArray
from ptycho.data.seeds import derive_seed
from ptycho.errors import InputError

REACH = 0.75  # fraction of N: windows further apart along an axis are no neighbours, as the probe barely overlaps


def training_subset(n_available: int, size: int, study_seed: int, trial: int) -> npt.NDArray[np.int64]:
    """Return the indices of a trial's training images, drawn at random over the whole training area.

    A trial's smaller subsets are the first images of its larger ones, and both models get the same.

    Parameters
    ----------
    n_available : images of the training data
    size : images of the subset
    study_seed : seed of the study
    trial : from 1

    Returns
    -------
    (size,) int64, in random order

    Raises
    ------
    InputError : more images requested than there are
    """
    if not 1 <= size <= n_available:
        raise InputError(
            f"requested {size} training images, but the training data holds {n_available}: "
            f"ask for 1 to {n_available}, or make the dataset larger (simulation.n_images)"
        )
    rng = np.random.default_rng(derive_seed(study_seed, "subset", trial))
    return rng.permutation(n_available)[:size]


def n_train(n_images: int, split_fraction: float) -> int:
    """Return how many of ``n_images`` are training data: at least one, and at least one is left for the test set."""
    return min(max(round(n_images * split_fraction), 1), n_images - 1)


def neighbour_groups(
    xcoords: FloatArray, ycoords: FloatArray, size: int, window_px: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return for each position the index of itself and those of its nearest neighbours, the nearest first.

    Distances are the larger of |dx| and |dy|. A group with too few neighbours within :data:`REACH` N repeats its
    members in the same order.

    Parameters
    ----------
    xcoords, ycoords : (n,) pixels
    size : members of a group, itself included
    window_px : N, side of a pattern

    Returns
    -------
    groups : (n, size) int64, indices
    offsets_px : (n, size, 2) float32, (x, y) of each member relative to the first
    """
    from scipy.spatial import cKDTree  # here: commands that only draw subsets start without it

    positions = np.stack([xcoords, ycoords], axis=1)
    reach = REACH * window_px
    _, nearest = cKDTree(positions).query(
        positions, size + 1, p=np.inf, distance_upper_bound=reach, workers=lazy.workers()
    )
    itself = np.arange(len(positions))[:, None]
    own = nearest == itself
    own[~own.any(axis=1), -1] = True  # more than size + 1 positions coincide, and the query did not return this one
    others = np.reshape(nearest[~own], (len(positions), size))
    nearest = np.concatenate([itself, others[:, : size - 1]], axis=1)
    found = (nearest < len(positions)).sum(axis=1)
    groups = np.take_along_axis(nearest, np.arange(size)[None] % found[:, None], axis=1)
    return groups, (positions[groups] - positions[:, None]).astype(np.float32)
