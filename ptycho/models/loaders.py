"""Batches of a training: patterns drawn from a dataset, followed by augmented patterns."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Dataset
from ptycho.data.sampling import neighbour_groups
from ptycho.errors import InputError
from ptycho.models.augmentation import AugmentedPatterns

Input = Any  # (n, N, N) float32; with a gridsize above 1 {"diffraction": (n, g**2, N, N), "offsets_px": (n, g**2, 2)}
Batch = tuple[Input, dict[str, npt.NDArray[Any]]]


class PatternGroups:
    """The patterns of a dataset as inputs of a network: single, or grouped with ``gridsize**2 - 1`` neighbours.

    Parameters
    ----------
    gridsize : patterns per input group: gridsize squared
    """

    def __init__(self, dataset: Dataset, gridsize: int = 1) -> None:
        self.dataset, self.gridsize = dataset, gridsize
        self.groups, self.offsets_px = neighbour_groups(
            dataset.xcoords, dataset.ycoords, gridsize**2, dataset.window_px
        )

    def __len__(self) -> int:
        """Return n, the number of patterns, and so of groups."""
        return len(self.dataset)

    def __getitem__(self, members: npt.NDArray[np.int64]) -> Input:
        """Return the network's input of the groups whose first patterns are ``members``."""
        groups = self.groups[members]
        patterns = np.reshape(self.dataset.diffraction[groups.ravel()], (*groups.shape, *self.dataset.probe.shape))
        return network_input({"diffraction": patterns, "offsets_px": self.offsets_px[members]})


def scaled_batch_size(patterns: int, window_px: int, gridsize: int) -> int:
    """Return how many groups take the memory of ``patterns`` single patterns of 64 x 64 pixels, 1 or more."""
    return max(1, round(patterns * 64**2 / (gridsize * window_px) ** 2))


def network_input(groups: dict[str, npt.NDArray[np.float32]]) -> Input:
    """Return pattern groups as a network's input: of groups of one, the array of patterns without offsets."""
    return groups if groups["diffraction"].shape[1] > 1 else groups["diffraction"][:, 0]


def _concatenate(parts: Sequence[Input]) -> Input:
    """Return inputs of a network joined along their first axis."""
    if isinstance(parts[0], dict):
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return np.concatenate(parts)


class Loader(keras.utils.PyDataset):
    """Batches of a dataset in random order, which depends only on (seed, epoch).

    All batches have the same size, so that an epoch omits up to ``batch_size - 1`` patterns, unless ``whole`` is set.

    Parameters
    ----------
    batch_size : measured patterns of a batch
    gridsize : patterns per input group: gridsize squared
    numbers : indices of the patterns that are drawn; None for all. The others serve as neighbours only
    augmented : sources of augmented patterns, each with its number of augmented patterns per measured one
    whole : add a smaller batch, so that an epoch omits none
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int,
        *,
        gridsize: int = 1,
        numbers: npt.NDArray[np.int64] | None = None,
        augmented: Sequence[tuple[float, AugmentedPatterns]] = (),
        whole: bool = False,
    ) -> None:
        super().__init__()
        self.dataset, self.seed, self.whole, self.augmented = dataset, seed, whole, augmented
        self.inputs = PatternGroups(dataset, gridsize)
        self.numbers = np.arange(len(dataset)) if numbers is None else numbers
        self.batch_size = min(batch_size, len(self.numbers))
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Draw the order of an epoch, counted from 0."""
        self.epoch = epoch
        self.order = np.random.default_rng([self.seed, epoch]).permutation(self.numbers)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        n = len(self.numbers)
        return -(-n // self.batch_size) if self.whole else n // self.batch_size

    def members(self, index: int) -> npt.NDArray[np.int64]:
        """Return the indices in the dataset of the patterns that were drawn for a batch."""
        return self.order[index * self.batch_size : (index + 1) * self.batch_size]

    def _with_augmented(self, index: int, measured: Input) -> tuple[Input, npt.NDArray[np.complex64]]:
        """Return the measured inputs of a batch followed by augmented ones, and the patches of the latter."""
        window = self.dataset.window_px
        inputs, patches = [measured], [np.empty((0, window, window), np.complex64)]
        for ratio, source in self.augmented:
            total = [int(number * ratio * self.batch_size + 1e-9) for number in (index, index + 1)]
            groups, known = source.draw(self.epoch, index, total[1] - total[0])  # the ratio holds over an epoch
            inputs.append(network_input(groups))
            patches.append(known)
        return _concatenate(inputs), np.concatenate(patches)


class TruthLoader(Loader):
    """Random patterns with the amplitude and phase of their ground-truth patches, for supervised training.

    The dataset must have patches; :func:`supervised_loader` checks it.
    """

    def __getitem__(self, index: int) -> Batch:
        """Return inputs, and targets ``amplitude`` and ``phase`` (radians), (n, N, N) float32 each."""
        members = self.members(index)
        assert self.dataset.patches is not None
        inputs, augmented = self._with_augmented(index, self.inputs[members])
        patches = np.concatenate([self.dataset.patches[members], augmented])
        return inputs, {"amplitude": np.abs(patches), "phase": np.angle(patches)}


class NeighbourLoader(Loader):
    """Batches for PtychoPINN: a random pattern of the training area and its nearest neighbours.

    A pattern with too few neighbours within reach gets some of them repeatedly.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int, **options: Any) -> None:
        super().__init__(dataset, batch_size, seed, **options)
        self.groups, self.offsets = neighbour_groups(
            dataset.xcoords, dataset.ycoords, self.batch_size, dataset.window_px
        )

    @property
    def canvas_px(self) -> int:
        """Side in pixels of a canvas that contains every group."""
        return self.dataset.window_px + 2 * (math.ceil(float(np.abs(self.offsets).max())) + 1)

    def __getitem__(self, index: int) -> Batch:
        """Return inputs of n measured and m augmented patterns, and their targets.

        These are ``diffraction`` (n, N, N) float32, ``positions_px`` (n, 2) float32, (x, y) relative to the pattern
        that was drawn, and ``patches`` (m, N, N) complex64.
        """
        centre = self.members(index)[0]
        group = self.groups[centre]
        inputs, patches = self._with_augmented(index, self.inputs[group])
        return inputs, {
            "diffraction": self.dataset.diffraction[group],
            "positions_px": self.offsets[centre],
            "patches": patches,
        }


class PatternLoader(Loader):
    """Patterns in a fixed order, without augmented ones: the validation data of PtychoPINN."""

    def start_epoch(self, epoch: int) -> None:
        """Keep the order of ``numbers``, whatever the epoch."""
        self.order = self.numbers

    def __getitem__(self, index: int) -> Batch:
        """Return inputs, and the target ``diffraction``, (n, N, N) float32."""
        members = self.members(index)
        return self.inputs[members], {"diffraction": self.dataset.diffraction[members]}


def supervised_loader(dataset: Dataset, batch_size: int, seed: int, **options: Any) -> TruthLoader:
    """Return a :class:`TruthLoader`; InputError where the dataset has no patches.

    Parameters
    ----------
    dataset, batch_size, seed, options : see :class:`Loader`
    """
    if dataset.patches is None:
        raise InputError(
            "the training data holds neither Y nor objectGuess: a supervised network has nothing to learn from"
        )
    return TruthLoader(dataset, batch_size, seed, **options)
