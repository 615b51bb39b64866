"""The network of both models: it encodes patterns and decodes the amplitude and phase of the object."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho.config.schema import Activation, BaselineConfig, ConvolutionActivation, PinnConfig
from ptycho.models.layers import BackPropagation, MagnitudeProjection, Registration

FILTERS = (32, 64, 128)  # at 1/2, 1/4 and 1/8 of the pattern's resolution, times n_filters_scale
STEM = 2  # STEM x STEM pixels become channels before the first convolution, and pixels again after the last
SOFTPLUS_ONE = math.log(math.e - 1)  # softplus of this is 1
ACTIVATIONS: dict[Activation, Callable[[tf.Tensor], tf.Tensor]] = {
    "softplus": lambda image: tf.math.softplus(image + SOFTPLUS_ONE),
    "sigmoid": lambda image: 2 * tf.math.sigmoid(image),
    "exponential": tf.math.exp,
}


class PatchModel(keras.Model):
    """Base class of both models: a network that is called on patterns.

    Attributes
    ----------
    network : see :func:`encoder_decoder`
    config : its section of the configuration
    micro_batches : parts in which a training batch passes through the network (:func:`in_parts`)
    """

    network: keras.Model
    config: PinnConfig | BaselineConfig
    micro_batches: int = 1

    def build(self, input_shape: Any) -> None:
        """Mark the model as built: the constructor builds all layers."""
        self.built = True

    def call(self, diffraction: Any, training: bool = False) -> dict[str, tf.Tensor]:
        """Return ``amplitude`` and ``phase`` (radians), (n, N, N) float32 each; inputs as :func:`encoder_decoder`'s."""
        if training and self.micro_batches > 1:
            return in_parts(self.network, diffraction, self.micro_batches)
        predicted: dict[str, tf.Tensor] = self.network(diffraction, training=training)
        return predicted


def complex_patches(predicted: dict[str, tf.Tensor]) -> tf.Tensor:
    """Return (n, N, N) complex64 of ``amplitude`` and ``phase`` (radians), (n, N, N) float32 each."""
    amplitude, phase = predicted["amplitude"], predicted["phase"]
    return tf.complex(amplitude * tf.cos(phase), amplitude * tf.sin(phase))


def in_parts(network: keras.Model, given: Any, parts: int) -> dict[str, tf.Tensor]:
    """Apply a network to a batch in parts, one after the other, and recompute each part for its gradient.

    Output and gradients are those of the whole batch, for a third more arithmetic, but only the activations of one
    part are in memory at a time (gradient checkpointing: T. Chen et al., arXiv:1604.06174).

    Parameters
    ----------
    network : see :func:`encoder_decoder`
    given : its input, n patterns or groups
    parts : 1 or more

    Returns
    -------
    dict : ``amplitude`` and ``phase``, (n, N, N) float32 each
    """

    def outputs(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        patches = network(keras.tree.pack_sequence_as(given, tensors), training=True)
        return [patches["amplitude"], patches["phase"]]

    def apply(*tensors: tf.Tensor) -> Any:
        split = _split(tensors, parts)
        done: list[list[tf.Tensor]] = []
        for part in split:
            with tf.control_dependencies(done[-1] if done else []):  # not in parallel
                done.append(outputs(part))

        def gradient(*upstream: tf.Tensor, variables: Sequence[tf.Variable]) -> Any:
            sums: list[tf.Tensor] = []
            for part, part_upstream in zip(split, _split(upstream, parts, pad=tf.zeros_like), strict=True):
                with tf.control_dependencies(sums):
                    with tf.GradientTape() as tape:
                        patches = outputs(part)
                    gradients = tape.gradient(patches, variables, output_gradients=part_upstream)
                    sums = [sum(pair) for pair in zip(sums, gradients, strict=True)] if sums else gradients
            return [None] * len(tensors), sums

        n = tf.shape(tensors[0])[0]
        return [tf.concat(images, axis=0)[:n] for images in zip(*done, strict=True)], gradient

    amplitude, phase = tf.custom_gradient(apply)(*keras.tree.flatten(given))
    return {"amplitude": amplitude, "phase": phase}


def _split(
    tensors: Sequence[tf.Tensor], parts: int, pad: Callable[[tf.Tensor], tf.Tensor] = tf.identity
) -> list[list[tf.Tensor]]:
    """Return tensors in equal parts along the first axis, padded with copies of the first image, mapped by ``pad``."""
    missing = -tf.shape(tensors[0])[0] % parts
    whole = [tf.concat([tensor, tf.repeat(pad(tensor[:1]), missing, axis=0)], axis=0) for tensor in tensors]
    return [list(part) for part in zip(*(tf.split(tensor, parts) for tensor in whole), strict=True)]


class FoldPixels(keras.layers.Layer):
    """Space to depth: convolutions at half the resolution without discarding a pixel.

    By a transpose, which takes a fraction of the time of ``tf.nn.space_to_depth`` on CPUs.
    """

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Return (n, H/2, W/2, 4 c) of (n, H, W, c)."""
        height, width, channels = image.shape[1] // STEM, image.shape[2] // STEM, image.shape[3]
        blocks = tf.reshape(image, (-1, height, STEM, width, STEM * channels))
        return tf.reshape(tf.transpose(blocks, (0, 1, 3, 2, 4)), (-1, height, width, STEM**2 * channels))


class UnfoldPixels(keras.layers.Layer):
    """Depth to space, the inverse of :class:`FoldPixels`, for one channel."""

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Return (n, H, W) of (n, H/2, W/2, 4)."""
        height, width = image.shape[1:3]
        blocks = tf.transpose(tf.reshape(image, (-1, height, width, STEM, STEM)), (0, 1, 3, 2, 4))
        return tf.reshape(blocks, (-1, height * STEM, width * STEM))


class PositiveAmplitude(keras.layers.Layer):
    """Activation of the amplitude: positive and 1 at 0; softplus or exponential, or a sigmoid, which stays below 2.

    Parameters
    ----------
    activation : key of :data:`ACTIVATIONS`
    """

    def __init__(self, activation: Activation, **options: object) -> None:
        super().__init__(**options)
        self.function = ACTIVATIONS[activation]

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Return the activation of each value; any shape."""
        return self.function(image)


def _convolution(
    filters: int, name: str, policy: str, activation: ConvolutionActivation, seeds: Iterator[int]
) -> keras.layers.Layer:
    """Return a 3 x 3 convolution with its activation."""
    return keras.layers.Conv2D(
        filters,
        3,
        padding="same",
        activation=activation,
        kernel_initializer=keras.initializers.HeNormal(seed=next(seeds)),
        dtype=keras.DTypePolicy(policy),
        name=name,
    )


def _decoded(levels: list[keras.KerasTensor], convolve: Callable[[int, str], keras.layers.Layer]) -> keras.KerasTensor:
    """Return the features (n, N/2, N/2, c) of the decoder; ``levels`` are those of the encoder, the finest first."""
    image = levels[-1]
    for level, skip in reversed(list(enumerate(levels[:-1]))):
        filters = skip.shape[-1]
        image = convolve(filters, f"decoder_conv{level}a")(image)  # before upsampling, for a quarter of the arithmetic
        image = keras.layers.UpSampling2D(name=f"up{level}")(image)
        image = keras.layers.Add(name=f"skip{level}")([image, skip])
        image = convolve(filters, f"decoder_conv{level}b")(image)
    return convolve(filters, "decoder_conv0c")(image)


def _image(part: str, features: keras.KerasTensor, seed: int) -> keras.KerasTensor:
    """Return (n, N, N) float32, near 0 before the training, so that it starts from an empty object."""
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
    convolution_activation: ConvolutionActivation = "silu",
    amplitude_activation: Activation = "softplus",
    projections: int = 0,
    bad_pixels: npt.NDArray[np.bool_] | None = None,
) -> keras.Model:
    """Return the network ``diffraction -> {"amplitude", "phase"}``.

    Parameters
    ----------
    probe : (N, N) complex64; N a multiple of 8
    n_filters_scale : multiplies every number of filters
    policy : Keras dtype policy of all convolutions except the last: ``float32`` or ``mixed_bfloat16``
    seed : of the initial weights
    gridsize : patterns per input group: gridsize squared
    convolution_activation : of all convolutions but the last, by its name in Keras
    amplitude_activation : of the amplitude
    projections : iterations in which the decoded patch is corrected by its measured pattern
        (:class:`~ptycho.models.layers.MagnitudeProjection`); 0: none
    bad_pixels : (N, N) bool, True where a detector pixel was not measured: mask of the projections

    Returns
    -------
    keras.Model : (n, N, N) float32 ``diffraction`` -> ``amplitude`` and ``phase`` (radians) of the object, (n, N, N)
        float32 each; without training and projections about 1 and 0. With a gridsize above 1 the input is
        ``{"diffraction": (n, gridsize**2, N, N), "offsets_px": (n, gridsize**2, 2)}`` and the output the patch of each
        group's first pattern
    """
    seeds = itertools.count(seed)

    def convolve(filters: int, name: str) -> keras.layers.Layer:
        return _convolution(filters, name, policy, convolution_activation, seeds)

    given, pattern, channels = _channels(probe, gridsize)
    image = FoldPixels(name="fold", dtype="float32")(channels)
    levels = []
    for level, filters in enumerate(max(4, round(n_filters_scale * f)) for f in FILTERS):
        if level:
            image = keras.layers.MaxPooling2D(name=f"pool{level}")(image)
        for half in "ab":
            image = convolve(filters, f"encoder_conv{level}{half}")(image)
        levels.append(image)
    features = _decoded(levels, convolve)
    amplitude = PositiveAmplitude(amplitude_activation, name="amplitude", dtype="float32")(
        _image("amplitude", features, next(seeds))
    )
    phase = _image("phase", features, next(seeds))
    if projections:
        corrected = MagnitudeProjection(probe, projections, bad_pixels, name="projection")
        amplitude, phase = corrected(pattern, amplitude, phase)
    return keras.Model(given, {"amplitude": amplitude, "phase": phase}, name="encoder_decoder")


def mask_projections(network: keras.Model, bad_pixels: npt.NDArray[np.bool_] | None) -> None:
    """Set the mask of a network's projections, if it has any, see :meth:`MagnitudeProjection.mask`."""
    for layer in network.layers:
        if isinstance(layer, MagnitudeProjection):
            layer.mask(bad_pixels)


def without_projections(network: keras.Model) -> keras.Model:
    """Return a network of :func:`encoder_decoder` that ends before its projections; one without any as it is."""
    if not any(isinstance(layer, MagnitudeProjection) for layer in network.layers):
        return network
    outputs = {"amplitude": network.get_layer("amplitude").output, "phase": network.get_layer("phase_unfold").output}
    return keras.Model(network.input, outputs)


def _channels(probe: npt.NDArray[np.complex64], gridsize: int) -> tuple[Any, keras.KerasTensor, keras.KerasTensor]:
    """Return the network's inputs, each group's first pattern, and (n, N, N, 3 gridsize**2) float32 channels.

    The channels are each pattern and its estimate.
    """
    window, count = probe.shape[0], gridsize**2
    if count == 1:
        pattern = keras.Input((window, window), name="diffraction")
        channel = keras.layers.Reshape((window, window, 1), name="channel")(pattern)
        return (
            pattern,
            pattern,
            keras.layers.Concatenate(name="channels")([channel, BackPropagation(probe, name="estimate")(pattern)]),
        )
    given = {
        "diffraction": keras.Input((count, window, window), name="diffraction"),
        "offsets_px": keras.Input((count, 2), name="offsets_px"),
    }
    estimates = BackPropagation(probe, name="estimate")(given["diffraction"])
    registered = Registration(window, name="registered")(estimates, given["offsets_px"])
    patterns = keras.layers.Permute((2, 3, 1), name="channel")(given["diffraction"])
    return given, given["diffraction"][:, 0], keras.layers.Concatenate(name="channels")([patterns, registered])
