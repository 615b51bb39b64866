"""The network that both models share: an encoder of patterns, and two decoders for amplitude and phase."""

import itertools
import math
from collections.abc import Callable, Iterator

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho.models.layers import BackPropagation

FILTERS = (32, 64, 128)  # at 1/2, 1/4 and 1/8 of the pattern's resolution, times n_filters_scale
STEM = 2  # pixels on a side that are folded into channels before the first and after the last convolution
SOFTPLUS_ONE = math.log(math.e - 1)  # softplus of this is 1


class FoldPixels(keras.layers.Layer):
    """(n, H, W, c) -> (n, H/2, W/2, 4 c): convolve at half the resolution without losing a pixel."""

    def call(self, image: tf.Tensor) -> tf.Tensor:
        return tf.nn.space_to_depth(image, STEM)


class UnfoldPixels(keras.layers.Layer):
    """(n, H/2, W/2, 4) -> (n, H, W): the reverse, for one channel."""

    def call(self, image: tf.Tensor) -> tf.Tensor:
        return tf.nn.depth_to_space(image, STEM)[..., 0]


class PositiveAmplitude(keras.layers.Layer):
    """softplus, shifted so that 0 gives an amplitude of 1."""

    def call(self, image: tf.Tensor) -> tf.Tensor:
        return tf.math.softplus(image + SOFTPLUS_ONE)


def _convolution(filters: int, name: str, policy: str, seeds: Iterator[int]) -> keras.layers.Layer:
    return keras.layers.Conv2D(
        filters,
        3,
        padding="same",
        activation="relu",
        kernel_initializer=keras.initializers.HeNormal(seed=next(seeds)),
        dtype=keras.DTypePolicy(policy),
        name=name,
    )


def _decoder(
    part: str, levels: list[keras.KerasTensor], convolve: Callable[[int, str], keras.layers.Layer], seed: int
) -> keras.KerasTensor:
    """Return (n, N, N) float32, near 0 at the start: an empty object is where phase retrieval starts."""
    image = levels[-1]
    for level, skip in reversed(list(enumerate(levels[:-1]))):
        filters = skip.shape[-1]
        image = convolve(filters, f"{part}_conv{level}a")(image)  # before upsampling: a quarter of the arithmetic
        image = keras.layers.UpSampling2D(name=f"{part}_up{level}")(image)
        image = keras.layers.Add(name=f"{part}_skip{level}")([image, skip])
        image = convolve(filters, f"{part}_conv{level}b")(image)
        if level == 0:
            image = convolve(filters, f"{part}_conv{level}c")(image)
    last = keras.layers.Conv2D(
        STEM * STEM,
        3,
        padding="same",
        kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3, seed=seed),
        dtype="float32",
        name=f"{part}_last",
    )
    return UnfoldPixels(name=f"{part}_unfold", dtype="float32")(last(image))


def encoder_decoder(probe: npt.NDArray[np.complex64], n_filters_scale: float, policy: str, seed: int) -> keras.Model:
    """Return the network ``diffraction -> {"amplitude", "phase"}``.

    Parameters
    ----------
    probe : (N, N) complex64; N a multiple of 8
    n_filters_scale : multiplies every number of filters
    policy : ``float32`` or ``mixed_bfloat16``, of all convolutions but the last
    seed : of the initial weights

    Returns
    -------
    keras.Model : (n, N, N) float32 amplitudes of patterns -> two (n, N, N) float32, the object's amplitude (1 at
        the start) and phase in radians (0 at the start)
    """
    seeds = itertools.count(seed)

    def convolve(filters: int, name: str) -> keras.layers.Layer:
        return _convolution(filters, name, policy, seeds)

    window = probe.shape[0]
    pattern = keras.Input((window, window), name="diffraction")
    channels = keras.layers.Concatenate(name="channels")(
        [
            keras.layers.Reshape((window, window, 1), name="channel")(pattern),
            BackPropagation(probe, name="estimate")(pattern),
        ]
    )
    image = FoldPixels(name="fold", dtype="float32")(channels)
    levels = []
    for level, filters in enumerate(max(4, round(n_filters_scale * f)) for f in FILTERS):
        if level:
            image = keras.layers.MaxPooling2D(name=f"pool{level}")(image)
        for half in "ab":
            image = convolve(filters, f"encoder_conv{level}{half}")(image)
        levels.append(image)
    amplitude = PositiveAmplitude(name="amplitude", dtype="float32")(
        _decoder("amplitude", levels, convolve, next(seeds))
    )
    phase = _decoder("phase", levels, convolve, next(seeds))
    return keras.Model(pattern, {"amplitude": amplitude, "phase": phase}, name="encoder_decoder")
