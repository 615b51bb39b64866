"""Inference: object patches from diffraction patterns by a trained model."""

import functools
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho.data.dataset import Dataset
from ptycho.errors import InputError
from ptycho.models import devices
from ptycho.models.loaders import PatternGroups, scaled_batch_size
from ptycho.models.networks import complex_patches, mask_projections

BATCH = 256  # patterns of N = 64 at a time: enough to keep all cores busy, little memory


def reconstruct_patches(model: keras.Model, dataset: Dataset) -> npt.NDArray[np.complex64]:
    """Return the object patch of each pattern.

    Parameters
    ----------
    model : a trained :class:`~ptycho.models.networks.PatchModel`
    dataset : n patterns, for a gridsize above 1 their positions, and the mask of its bad pixels, which the projections
        leave out

    Returns
    -------
    (n, N, N) complex64, in the order of the patterns

    Raises
    ------
    InputError : patterns of another size than the model was trained on, or not enough memory
    """
    window: int = model.network.output["phase"].shape[-1]
    if dataset.window_px != window:
        raise InputError(
            f"patterns of {dataset.window_px} pixels, but the model was trained on {window}: "
            "use data of that size or train again"
        )
    groups = PatternGroups(dataset, model.config.gridsize)
    mask_projections(model.network, dataset.bad_pixels)
    compiled = _compiled(model.network)
    batch = scaled_batch_size(BATCH, window, model.config.gridsize)
    numbers = np.arange(len(dataset))
    with devices.explain_out_of_memory(devices.INFERENCE_ADVICE):
        return np.concatenate([compiled(groups[part]).numpy() for part in np.split(numbers, numbers[batch::batch])])


@functools.lru_cache(maxsize=2)  # traced once for all test sets of a model; a study has two models
def _compiled(network: keras.Model) -> Any:
    """Return the function of a batch of inputs that gives its patches, (n, N, N) complex64."""

    def predict(inputs: Any) -> tf.Tensor:
        return complex_patches(network(inputs, training=False))

    signature = keras.tree.map_structure(lambda tensor: tf.TensorSpec(tensor.shape, tf.float32), network.input)
    return tf.function(predict, input_signature=[signature])
