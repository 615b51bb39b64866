"""Batches of a training: patterns drawn from a dataset, followed by augmented patterns."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho.data.dataset import Dataset
from ptycho.data.sampling import neighbour_groups
from ptycho.errors import InputError
from ptycho.models.augmentation import AugmentedPatterns

Input = Any  # (n, N, N) float32; with a gridsize above 1 {"diffraction": (n, g**2, N, N), "offsets_px": (n, g**2, 2)}
Batch = tuple[Input, dict[str, Any]]
Augmented = tuple[dict[str, Any], Any]  # groups of m patterns as those of ``Input``, and their patches, (m, N, N)
AHEAD = 2  # batches that are ready before they are needed


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


def _in_memory(array: Any) -> tf.Tensor:
    """Return an array, or one that is read on demand, as a tensor in main memory."""
    with tf.device("CPU"):
        return tf.convert_to_tensor(array[:])


def network_input(groups: dict[str, Any]) -> Input:
    """Return pattern groups as a network's input: of groups of one, the array of patterns without offsets."""
    return groups if groups["diffraction"].shape[1] > 1 else groups["diffraction"][:, 0]


class Loader:
    """Batches of a dataset in random order, which depends only on (seed, epoch).

    The arrays are held in memory, and TensorFlow gathers the batches from them, which takes less time than Python. All
    batches have the same size, so that an epoch omits up to ``batch_size - 1`` patterns, unless ``whole`` is set.

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
        self.dataset, self.seed, self.whole, self.augmented = dataset, seed, whole, augmented
        self.numbers = np.arange(len(dataset)) if numbers is None else numbers
        self.batch_size = min(batch_size, len(self.numbers))
        inputs = PatternGroups(dataset, gridsize)
        self._diffraction = _in_memory(dataset.diffraction)
        self._groups, self._offsets_px = _in_memory(inputs.groups), _in_memory(inputs.offsets_px)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        n = len(self.numbers)
        return -(-n // self.batch_size) if self.whole else n // self.batch_size

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return ``numbers`` in the order of an epoch, counted from 0."""
        return np.random.default_rng([self.seed, epoch]).permutation(self.numbers)

    def epochs(self, first: int = 0, end: int = 1) -> tf.data.Dataset:
        """Return the batches, (inputs, targets), of the epochs ``first`` to ``end - 1``, one after the other.

        Augmented patterns are drawn in a thread, beside the training.
        """
        orders = tf.data.Dataset.from_generator(
            lambda: map(self.order, range(first, end)), output_signature=tf.TensorSpec((None,), tf.int64)
        )
        members = orders.flat_map(
            lambda order: tf.data.Dataset.from_tensor_slices(order).batch(
                self.batch_size, drop_remainder=not self.whole
            )
        )
        known = tf.data.experimental.assert_cardinality(len(self) * (end - first))  # what a generator does not tell
        if not self.augmented:
            return members.map(lambda numbers: self._batch(numbers, None)).apply(known).prefetch(AHEAD)
        drawn = tf.data.Dataset.from_generator(
            lambda: (self._draw(epoch, index) for epoch in range(first, end) for index in range(len(self))),
            output_signature=self._augmented_signature(),
        )
        batches = tf.data.Dataset.zip(members, drawn).map(lambda *parts: self._batch(*parts))
        return batches.apply(known).prefetch(AHEAD)

    def _augmented_signature(self) -> tuple[Input, tf.TensorSpec]:
        """Return the specification of :meth:`_draw`."""
        window, count = self.dataset.window_px, self._groups.shape[1]
        groups = {
            "diffraction": tf.TensorSpec((None, count, window, window), tf.float32),
            "offsets_px": tf.TensorSpec((None, count, 2), tf.float32),
        }
        return groups, tf.TensorSpec((None, window, window), tf.complex64)

    def _draw(self, epoch: int, index: int) -> tuple[dict[str, npt.NDArray[np.float32]], npt.NDArray[np.complex64]]:
        """Return the augmented groups of a batch, and the patch of the first pattern of each."""
        groups, patches = [], []
        for ratio, source in self.augmented:
            total = [int(number * ratio * self.batch_size + 1e-9) for number in (index, index + 1)]
            drawn, known = source.draw(epoch, index, total[1] - total[0])  # the ratio holds over an epoch
            groups.append(drawn)
            patches.append(known)
        return {name: np.concatenate([part[name] for part in groups]) for name in groups[0]}, np.concatenate(patches)

    def _inputs(self, members: tf.Tensor, augmented: Augmented | None) -> Input:
        """Return the network's input of the groups whose first patterns are ``members``, followed by augmented ones."""
        groups = {
            "diffraction": tf.gather(self._diffraction, tf.gather(self._groups, members)),
            "offsets_px": tf.gather(self._offsets_px, members),
        }
        if augmented is not None:
            groups = {name: tf.concat([part, augmented[0][name]], axis=0) for name, part in groups.items()}
        return network_input(groups)

    def _batch(self, members: tf.Tensor, augmented: Augmented | None) -> Batch:
        """Return inputs and targets of the patterns that were drawn, followed by augmented ones where there are any."""
        raise NotImplementedError


class TruthLoader(Loader):
    """Random patterns with the amplitude and phase of their ground-truth patches, for supervised training.

    Targets are ``amplitude`` and ``phase`` (radians), (n, N, N) float32 each. The dataset must have patches;
    :func:`supervised_loader` checks it.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int, **options: Any) -> None:
        super().__init__(dataset, batch_size, seed, **options)
        assert dataset.patches is not None
        self._patches = _in_memory(dataset.patches)

    def _batch(self, members: tf.Tensor, augmented: Augmented | None) -> Batch:
        patches = tf.gather(self._patches, members)
        if augmented is not None:
            patches = tf.concat([patches, augmented[1]], axis=0)
        return self._inputs(members, augmented), {"amplitude": tf.abs(patches), "phase": tf.math.angle(patches)}


class NeighbourLoader(Loader):
    """Batches for PtychoPINN: a random pattern of the training area and its nearest neighbours.

    A pattern with too few neighbours within reach gets some of them repeatedly. Inputs are n measured and m augmented
    patterns; targets are ``diffraction`` (n, N, N) float32, ``positions_px`` (n, 2) float32, (x, y) relative to the
    pattern that was drawn, and ``patches`` (m, N, N) complex64.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int, **options: Any) -> None:
        super().__init__(dataset, batch_size, seed, **options)
        self.groups, self.offsets = neighbour_groups(
            dataset.xcoords, dataset.ycoords, self.batch_size, dataset.window_px
        )
        self._neighbours, self._positions_px = _in_memory(self.groups), _in_memory(self.offsets)

    @property
    def canvas_px(self) -> int:
        """Side in pixels of a canvas that contains every group."""
        return self.dataset.window_px + 2 * (math.ceil(float(np.abs(self.offsets).max())) + 1)

    def _batch(self, members: tf.Tensor, augmented: Augmented | None) -> Batch:
        centre = members[0]
        group = tf.gather(self._neighbours, centre)
        window = self.dataset.window_px
        return self._inputs(group, augmented), {
            "diffraction": tf.gather(self._diffraction, group),
            "positions_px": tf.gather(self._positions_px, centre),
            "patches": tf.zeros((0, window, window), tf.complex64) if augmented is None else augmented[1],
        }


class PatternLoader(Loader):
    """Patterns in a fixed order, without augmented ones: the validation data of PtychoPINN.

    The target is ``diffraction``, (n, N, N) float32.
    """

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return ``numbers``, whatever the epoch."""
        return self.numbers

    def _batch(self, members: tf.Tensor, augmented: Augmented | None) -> Batch:
        return self._inputs(members, augmented), {"diffraction": tf.gather(self._diffraction, members)}


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
