"""The network that both models share: an encoder of patterns, and a decoder of amplitude and phase."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho.config.schema import Activation
from ptycho.models.layers import BackPropagation, Registration

FILTERS = (32, 64, 128)  # at 1/2, 1/4 and 1/8 of the pattern's resolution, times n_filters_scale
STEM = 2  # pixels on a side that are folded into channels before the first and after the last convolution
SOFTPLUS_ONE = math.log(math.e - 1)  # softplus of this is 1
ACTIVATIONS: dict[Activation, Callable[[tf.Tensor], tf.Tensor]] = {
    "softplus": lambda image: tf.math.softplus(image + SOFTPLUS_ONE),
    "sigmoid": lambda image: 2 * tf.math.sigmoid(image),
    "exponential": tf.math.exp,
}


class PatchModel(keras.Model):
    """What both models are: the network, called on patterns.

    With ``micro_batches`` above 1 a training batch passes through it in that many parts, see :func:`in_parts`.
    """

    network: keras.Model
    micro_batches = 1

    def build(self, input_shape: Any) -> None:
        """All layers were built by the constructor."""
        self.built = True

    def call(self, diffraction: Any, training: bool = False) -> dict[str, tf.Tensor]:
        if training and self.micro_batches > 1:
            return in_parts(self.network, diffraction, self.micro_batches)
        return self.network(diffraction, training=training)


def in_parts(network: keras.Model, given: Any, parts: int) -> dict[str, tf.Tensor]:
    """Apply a network to a batch one part after the other, and compute each part again for its gradient.

    Output and gradients are those of the whole batch, whatever is done with the output, for a third more arithmetic;
    only the activations of one part are held at a time.
    """

    def outputs(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        patches = network(keras.tree.pack_sequence_as(given, tensors), training=True)
        return [patches["amplitude"], patches["phase"]]

    @tf.custom_gradient
    def applied(*tensors: tf.Tensor) -> Any:
        split = _split(tensors, parts)
        done: list[list[tf.Tensor]] = []
        for part in split:
            with tf.control_dependencies(done[-1] if done else []):  # one after the other
                done.append(outputs(part))

        def gradient(*upstream: tf.Tensor, variables: Sequence[tf.Variable]) -> Any:
            sums: list[tf.Tensor] = []
            for part, along in zip(split, _split(upstream, parts, pad=tf.zeros_like), strict=True):
                with tf.control_dependencies(sums):
                    with tf.GradientTape() as tape:
                        patches = outputs(part)
                    gradients = tape.gradient(patches, variables, output_gradients=along)
                    sums = [sum(pair) for pair in zip(sums, gradients, strict=True)] if sums else gradients
            return [None] * len(tensors), sums

        n = tf.shape(tensors[0])[0]
        return [tf.concat(images, axis=0)[:n] for images in zip(*done, strict=True)], gradient

    amplitude, phase = applied(*keras.tree.flatten(given))
    return {"amplitude": amplitude, "phase": phase}


def _split(
    tensors: Sequence[tf.Tensor], parts: int, pad: Callable[[tf.Tensor], tf.Tensor] = tf.identity
) -> list[list[tf.Tensor]]:
    """Return equal parts along the first axis; what is missing for that is the first image again, through ``pad``."""
    missing = -tf.shape(tensors[0])[0] % parts
    whole = [tf.concat([tensor, tf.repeat(pad(tensor[:1]), missing, axis=0)], axis=0) for tensor in tensors]
    return [list(part) for part in zip(*(tf.split(tensor, parts) for tensor in whole), strict=True)]


class FoldPixels(keras.layers.Layer):
    """(n, H, W, c) -> (n, H/2, W/2, 4 c): convolve at half the resolution without losing a pixel."""

    def call(self, image: tf.Tensor) -> tf.Tensor:
        return tf.nn.space_to_depth(image, STEM)


class UnfoldPixels(keras.layers.Layer):
    """(n, H/2, W/2, 4) -> (n, H, W): the reverse, for one channel."""

    def call(self, image: tf.Tensor) -> tf.Tensor:
        return tf.nn.depth_to_space(image, STEM)[..., 0]


class PositiveAmplitude(keras.layers.Layer):
    """A positive function that is 1 at 0: softplus or exponential, or a sigmoid, which stays below 2."""

    def __init__(self, activation: Activation, **options: object) -> None:
        super().__init__(**options)
        self.function = ACTIVATIONS[activation]

    def call(self, image: tf.Tensor) -> tf.Tensor:
        return self.function(image)


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


def _decoded(levels: list[keras.KerasTensor], convolve: Callable[[int, str], keras.layers.Layer]) -> keras.KerasTensor:
    """Return features (n, N/2, N/2, c) that amplitude and phase are told from."""
    image = levels[-1]
    for level, skip in reversed(list(enumerate(levels[:-1]))):
        filters = skip.shape[-1]
        image = convolve(filters, f"decoder_conv{level}a")(image)  # before upsampling: a quarter of the arithmetic
        image = keras.layers.UpSampling2D(name=f"up{level}")(image)
        image = keras.layers.Add(name=f"skip{level}")([image, skip])
        image = convolve(filters, f"decoder_conv{level}b")(image)
    return convolve(filters, "decoder_conv0c")(image)


def _image(part: str, features: keras.KerasTensor, seed: int) -> keras.KerasTensor:
    """Return (n, N, N) float32, near 0 at the start: an empty object is where phase retrieval starts."""
    last = keras.layers.Conv2D(
        STEM * STEM,
        3,
        padding="same",
        kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3, seed=seed),
        dtype="float32",
        name=f"{part}_last",
    )
    return UnfoldPixels(name=f"{part}_unfold", dtype="float32")(last(features))


def encoder_decoder(
    probe: npt.NDArray[np.complex64],
    n_filters_scale: float,
    policy: str,
    seed: int,
    *,
    gridsize: int = 1,
    activation: Activation = "softplus",
) -> keras.Model:
    """Return the network ``diffraction -> {"amplitude", "phase"}``.

    Parameters
    ----------
    probe : (N, N) complex64; N a multiple of 8
    n_filters_scale : multiplies every number of filters
    policy : ``float32`` or ``mixed_bfloat16``, of all convolutions but the last
    seed : of the initial weights
    gridsize : a patch is told from ``gridsize**2`` neighbouring patterns
    activation : of the amplitude

    Returns
    -------
    keras.Model : (n, N, N) float32 amplitudes of patterns -> two (n, N, N) float32, the object's amplitude (1 at
        the start) and phase in radians (0 at the start). With a gridsize above 1 it takes ``{"diffraction": (n,
        gridsize**2, N, N), "offsets_px": (n, gridsize**2, 2)}`` and returns the patch of the first of each group
    """
    seeds = itertools.count(seed)

    def convolve(filters: int, name: str) -> keras.layers.Layer:
        return _convolution(filters, name, policy, seeds)

    given, channels = _channels(probe, gridsize)
    image = FoldPixels(name="fold", dtype="float32")(channels)
    levels = []
    for level, filters in enumerate(max(4, round(n_filters_scale * f)) for f in FILTERS):
        if level:
            image = keras.layers.MaxPooling2D(name=f"pool{level}")(image)
        for half in "ab":
            image = convolve(filters, f"encoder_conv{level}{half}")(image)
        levels.append(image)
    features = _decoded(levels, convolve)
    amplitude = PositiveAmplitude(activation, name="amplitude", dtype="float32")(
        _image("amplitude", features, next(seeds))
    )
    phase = _image("phase", features, next(seeds))
    return keras.Model(given, {"amplitude": amplitude, "phase": phase}, name="encoder_decoder")


def _channels(probe: npt.NDArray[np.complex64], gridsize: int) -> tuple[Any, keras.KerasTensor]:
    """Return the network's inputs, and (n, N, N, 3 gridsize**2): of each pattern itself and its estimate."""
    window, count = probe.shape[0], gridsize**2
    if count == 1:
        pattern = keras.Input((window, window), name="diffraction")
        alone = keras.layers.Reshape((window, window, 1), name="channel")(pattern)
        return pattern, keras.layers.Concatenate(name="channels")(
            [alone, BackPropagation(probe, name="estimate")(pattern)]
        )
    given = {
        "diffraction": keras.Input((count, window, window), name="diffraction"),
        "offsets_px": keras.Input((count, 2), name="offsets_px"),
    }
    estimates = BackPropagation(probe, name="estimate")(given["diffraction"])
    registered = Registration(window, name="registered")(estimates, given["offsets_px"])
    patterns = keras.layers.Permute((2, 3, 1), name="channel")(given["diffraction"])
    return given, keras.layers.Concatenate(name="channels")([patterns, registered])
