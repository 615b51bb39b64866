"""Patterns -> patches."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho.data.dataset import Dataset
from ptycho.errors import InputError
from ptycho.models.loaders import PatternGroups, scaled_batch_size

BATCH = 256  # patterns of N = 64 at a time: large enough to keep all cores busy, small in memory


def reconstruct_patches(model: keras.Model, dataset: Dataset) -> npt.NDArray[np.complex64]:
    """Return the object seen through each window, (n, N, N) complex64.

    Parameters
    ----------
    dataset : diffraction, and, for models of a gridsize above 1, positions

    Raises
    ------
    InputError : patterns of another size than the model was trained on
    """
    window: int = model.network.output["phase"].shape[-1]
    if dataset.window_px != window:
        raise InputError(
            f"patterns of {dataset.window_px} pixels, but the model was trained on {window}: "
            "use data of that size or train again"
        )
    views = PatternGroups(dataset, model.config.gridsize)

    given = keras.tree.map_structure(lambda tensor: tf.TensorSpec(tensor.shape, tf.float32), model.network.input)

    @tf.function(input_signature=[given])
    def patches_of(seen: Any) -> tf.Tensor:
        predicted = model.network(seen, training=False)
        amplitude, phase = predicted["amplitude"], predicted["phase"]
        return tf.complex(amplitude * tf.cos(phase), amplitude * tf.sin(phase))

    batch = scaled_batch_size(BATCH, window, model.config.gridsize)
    numbers = np.arange(len(dataset))
    return np.concatenate([patches_of(views[part]).numpy() for part in np.split(numbers, numbers[batch::batch])])
