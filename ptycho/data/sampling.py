"""Which images a trial trains on, nested over sizes and independent over trials, and who their neighbours are."""

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import FloatArray
from ptycho.data.seeds import derive_seed
from ptycho.errors import InputError

REACH = 0.75  # windows further apart than this share of their side are no neighbours: the probe hardly overlaps


def training_subset(n_available: int, size: int, study_seed: int, trial: int) -> npt.NDArray[np.int64]:
    """Return the indices of a trial's training images, drawn at random over the whole training area.

    A trial's smaller subsets are the beginnings of its larger ones; the model has no say.

    Returns
    -------
    (size,) int64

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
    """Return how many of ``n_images`` go to training: at least one on each side."""
    return min(max(round(n_images * split_fraction), 1), n_images - 1)


def neighbour_groups(
    xcoords: FloatArray, ycoords: FloatArray, size: int, window_px: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return for each position itself and its nearest neighbours, the nearest first.

    A position with too few neighbours within reach gets some of them, or itself, again.

    Parameters
    ----------
    xcoords, ycoords : (n,) pixels
    size : members of a group, itself included
    window_px : N; windows further apart than :data:`REACH` N are no neighbours

    Returns
    -------
    groups : (n, size) int64, indices
    offsets_px : (n, size, 2) float32, (x, y) of each member relative to the first
    """
    from scipy.spatial import cKDTree  # here, for the commands that only draw subsets start without it

    positions = np.stack([xcoords, ycoords], axis=1)
    reach = REACH * window_px
    _, nearest = cKDTree(positions).query(positions, size + 1, p=np.inf, distance_upper_bound=reach, workers=-1)
    itself = np.arange(len(positions))[:, None]
    own = nearest == itself
    own[~own.any(axis=1), -1] = True  # where so many lie on one spot that it was not returned
    others = np.reshape(nearest[~own], (len(positions), size))
    nearest = np.concatenate([itself, others[:, : size - 1]], axis=1)
    found = (nearest < len(positions)).sum(axis=1)
    groups = np.take_along_axis(nearest, np.arange(size)[None] % found[:, None], axis=1)
    return groups, (positions[groups] - positions[:, None]).astype(np.float32)
