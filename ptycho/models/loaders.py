"""What the steps of a training are given: patterns drawn from a dataset, and images made for training beside them."""

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
    """The patterns of a dataset as a network takes them: each alone, or with its ``gridsize**2 - 1`` neighbours."""

    def __init__(self, dataset: Dataset, gridsize: int = 1) -> None:
        self.dataset, self.gridsize = dataset, gridsize
        self.groups, self.offsets_px = neighbour_groups(
            dataset.xcoords, dataset.ycoords, gridsize**2, dataset.window_px
        )

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, members: npt.NDArray[np.int64]) -> Input:
        groups = self.groups[members]
        patterns = np.reshape(self.dataset.diffraction[groups.ravel()], (*groups.shape, *self.dataset.probe.shape))
        return network_input({"diffraction": patterns, "offsets_px": self.offsets_px[members]})


def scaled_batch_size(patterns: int, window_px: int, gridsize: int) -> int:
    """Return how many views take the memory of so many single patterns of 64 x 64 pixels."""
    return max(1, round(patterns * 64**2 / (gridsize * window_px) ** 2))


def network_input(views: dict[str, npt.NDArray[np.float32]]) -> Input:
    """Return ``views`` as a network takes them: where each is one pattern, that pattern alone."""
    return views if views["diffraction"].shape[1] > 1 else views["diffraction"][:, 0]


def _joined(parts: Sequence[Input]) -> Input:
    if isinstance(parts[0], dict):
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return np.concatenate(parts)


class Loader(keras.utils.PyDataset):
    """Batches of a dataset, drawn anew each epoch from (seed, epoch).

    All are of one size, so that an epoch leaves some patterns out; ``whole`` adds a smaller one that holds them.

    Parameters
    ----------
    numbers : the patterns that are drawn; None for all. The others are still there as neighbours
    made : images made for training, and how many of them stand beside each measured one
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int,
        *,
        gridsize: int = 1,
        numbers: npt.NDArray[np.int64] | None = None,
        made: Sequence[tuple[float, AugmentedPatterns]] = (),
        whole: bool = False,
    ) -> None:
        super().__init__()
        self.dataset, self.seed, self.whole, self.made = dataset, seed, whole, made
        self.views = PatternGroups(dataset, gridsize)
        self.numbers = np.arange(len(dataset)) if numbers is None else numbers
        self.batch_size = min(batch_size, len(self.numbers))
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.order = np.random.default_rng([self.seed, epoch]).permutation(self.numbers)

    def __len__(self) -> int:
        n = len(self.numbers)
        return -(-n // self.batch_size) if self.whole else n // self.batch_size

    def members(self, index: int) -> npt.NDArray[np.int64]:
        return self.order[index * self.batch_size : (index + 1) * self.batch_size]

    def _beside(self, index: int, measured: Input) -> tuple[Input, npt.NDArray[np.complex64]]:
        """Return the measured views followed by made ones, and the patches of these."""
        window = self.dataset.window_px
        inputs, patches = [measured], [np.empty((0, window, window), np.complex64)]
        for share, source in self.made:
            wanted = [int(number * share * self.batch_size + 1e-9) for number in (index, index + 1)]
            views, known = source.draw(self.epoch, index, wanted[1] - wanted[0])  # the share holds over an epoch
            inputs.append(network_input(views))
            patches.append(known)
        return _joined(inputs), np.concatenate(patches)


class TruthLoader(Loader):
    """Patterns with the amplitude and phase of the true patches, at random."""

    def __getitem__(self, index: int) -> Batch:
        members = self.members(index)
        assert self.dataset.patches is not None
        seen, made = self._beside(index, self.views[members])
        patches = np.concatenate([self.dataset.patches[members], made])
        return seen, {"amplitude": np.abs(patches), "phase": np.angle(patches)}


class NeighbourLoader(Loader):
    """Each batch is a pattern drawn at random from the whole training area, and its nearest neighbours.

    A pattern with too few neighbours within reach gets some of them twice. Positions are relative to the pattern
    that was drawn.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int, **options: Any) -> None:
        super().__init__(dataset, batch_size, seed, **options)
        self.groups, self.offsets = neighbour_groups(
            dataset.xcoords, dataset.ycoords, self.batch_size, dataset.window_px
        )

    @property
    def canvas_px(self) -> int:
        """Side of a canvas that holds every group."""
        return self.dataset.window_px + 2 * (math.ceil(float(np.abs(self.offsets).max())) + 1)

    def __getitem__(self, index: int) -> Batch:
        centre = self.members(index)[0]
        group = self.groups[centre]
        seen, made = self._beside(index, self.views[group])
        target = {"diffraction": self.dataset.diffraction[group], "positions_px": self.offsets[centre], "patches": made}
        return seen, target


class PatternLoader(Loader):
    """Patterns alone, in a fixed order: what PtychoPINN validates on."""

    def start_epoch(self, epoch: int) -> None:
        self.order = self.numbers

    def __getitem__(self, index: int) -> Batch:
        members = self.members(index)
        return self.views[members], {"diffraction": self.dataset.diffraction[members]}


def supervised_loader(dataset: Dataset, batch_size: int, seed: int, **options: Any) -> TruthLoader:
    """Return batches with the truth; InputError where the dataset has none."""
    if dataset.patches is None:
        raise InputError(
            "the training data holds neither Y nor objectGuess: a supervised network has nothing to learn from"
        )
    return TruthLoader(dataset, batch_size, seed, **options)
