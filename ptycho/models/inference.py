"""Patterns -> patches."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho.data.rows import Rows
from ptycho.errors import InputError

BATCH = 128  # patterns at a time: large enough to keep all cores busy, small in memory


def reconstruct_patches(model: keras.Model, diffraction: npt.NDArray[Any] | Rows) -> npt.NDArray[np.complex64]:
    """Return the object seen through each window, (n, N, N) complex64, of (n, N, N) amplitudes.

    Raises
    ------
    InputError : patterns of another size than the model was trained on
    """
    window: int = model.network.input_shape[-1]
    if diffraction.shape[1:] != (window, window):
        raise InputError(
            f"patterns of shape {diffraction.shape}, but the model was trained on (n, {window}, {window}): "
            "use data of that size or train again"
        )

    @tf.function(input_signature=[tf.TensorSpec((None, window, window), tf.float32)])
    def patches_of(patterns: tf.Tensor) -> tf.Tensor:
        predicted = model.network(patterns, training=False)
        amplitude, phase = predicted["amplitude"], predicted["phase"]
        return tf.complex(amplitude * tf.cos(phase), amplitude * tf.sin(phase))

    none = np.empty((0, window, window), np.complex64)  # the network cannot take a batch of nothing
    starts = range(0, len(diffraction), BATCH)
    return np.concatenate([none, *(patches_of(diffraction[start : start + BATCH]).numpy() for start in starts)])
