"""Keras twins of :mod:`ptycho.physics.diffraction`: back-propagation, diffraction, overlap. All compute in float32."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

ESTIMATE_DAMPING = 0.1  # of the probe's peak intensity: keeps dark pixels from blowing up the division
DARK_FIELD = 1e-6  # of the empty pattern's peak amplitude: below lies rounding, whose phase means nothing
CANVAS_FLOOR = 1e-3  # weight of a pixel that the probe leaves dark, in units of the brightest


def _as_complex(parts: tf.Tensor) -> tf.Tensor:
    return tf.complex(parts[..., 0], parts[..., 1])


class ProbeLayer(keras.layers.Layer):
    """A layer that owns the probe as a weight, so that it is saved with the model.

    Parameters
    ----------
    probe : (N, N) complex64, scaled as in a dataset
    trainable_probe : learn it
    """

    def __init__(self, probe: npt.NDArray[np.complex64], trainable_probe: bool = False, **options: object) -> None:
        super().__init__(dtype="float32", **options)
        self._initial = np.stack([probe.real, probe.imag], axis=-1).astype(np.float32)
        self.window_px = probe.shape[0]
        self.parts = self.add_weight(
            shape=self._initial.shape,
            name="probe",
            trainable=trainable_probe,
            initializer=lambda shape, dtype: tf.constant(self._initial, dtype),
        )

    @property
    def probe(self) -> tf.Tensor:
        """(N, N) complex64."""
        return _as_complex(self.parts)

    @property
    def share(self) -> tf.Tensor:
        """(N, N) float32, each pixel's share of the light, of sum 1."""
        brightness = tf.reduce_sum(tf.convert_to_tensor(self.parts) ** 2, axis=-1)
        return brightness / tf.reduce_sum(brightness)


class BackPropagation(ProbeLayer):
    """Turn a pattern into a first estimate of the object.

    The measured amplitude takes the phase that the probe alone would have in the detector plane, goes back to the
    object plane and is divided by the probe: the first half step of a phase retrieval that starts from an empty
    object (J. R. Fienup, Appl. Opt. 21, 2758 (1982), eq. 3-5).

    (n, N, N) float32 -> (n, N, N, 2) float32: real and imaginary part of the estimate.
    """

    def call(self, diffraction: tf.Tensor) -> tf.Tensor:
        amplitude = tf.complex(diffraction, tf.zeros_like(diffraction))
        empty = tf.signal.fftshift(tf.signal.fft2d(self.probe))
        magnitude = tf.abs(empty)
        lit = magnitude > DARK_FIELD * tf.reduce_max(magnitude)
        direction = tf.where(lit, empty / tf.complex(magnitude + 1e-12, 0.0), 0.0)
        exit_wave = tf.signal.ifft2d(tf.signal.ifftshift(amplitude * direction, axes=(-2, -1))) * self.window_px
        brightness = tf.abs(self.probe) ** 2
        damping = brightness + ESTIMATE_DAMPING * tf.reduce_max(brightness)
        estimate = exit_wave * tf.math.conj(self.probe) / tf.complex(damping, tf.zeros_like(damping))
        return tf.stack([tf.math.real(estimate), tf.math.imag(estimate)], axis=-1)


class Diffraction(ProbeLayer):
    """Far-field intensity of a patch under the probe, times a learned scale.

    (n, N, N) complex64 patches -> (n, N, N) float32 intensities, in units of squared ``diffraction``.

    Parameters
    ----------
    trainable_scale : learn the logarithm of the intensity's scale, 0 at the start
    trainable_probe : learn the probe, too
    """

    def __init__(
        self,
        probe: npt.NDArray[np.complex64],
        trainable_scale: bool,
        trainable_probe: bool = False,
        **options: object,
    ) -> None:
        super().__init__(probe, trainable_probe, **options)
        self.log_scale = self.add_weight(
            shape=(), name="log_intensity_scale", initializer="zeros", trainable=trainable_scale
        )

    def call(self, patches: tf.Tensor) -> tf.Tensor:
        wave = tf.signal.fftshift(tf.signal.fft2d(self.probe * patches), axes=(-2, -1)) / self.window_px
        return (tf.math.real(wave) ** 2 + tf.math.imag(wave) ** 2) * tf.exp(self.log_scale)


def hat_matrices(offsets_px: tf.Tensor, window_px: int, canvas_px: int) -> tf.Tensor:
    """Return the linear interpolation that places windows of ``window_px`` on a line of ``canvas_px``.

    Parameters
    ----------
    offsets_px : (n,) float32, position of each window's first pixel on the canvas

    Returns
    -------
    (n, canvas_px, window_px) float32; its transpose reads the window back from the canvas
    """
    canvas = tf.range(canvas_px, dtype=tf.float32)[None, :, None]
    window = tf.range(window_px, dtype=tf.float32)[None, None, :]
    return tf.maximum(0.0, 1.0 - tf.abs(canvas - offsets_px[:, None, None] - window))


class Registration(keras.layers.Layer):
    """Bring the estimates of neighbouring windows into the frame of the first of their group, where they overlap.

    (n, g, N, N, 2) estimates and (n, g, 2) offsets (x, y) in pixels -> (n, N, N, 2 g) float32, 0 where a window
    does not reach.
    """

    def __init__(self, window_px: int, **options: object) -> None:
        super().__init__(dtype="float32", **options)
        self.window_px = window_px

    def call(self, estimates: tf.Tensor, offsets_px: tf.Tensor) -> tf.Tensor:
        side, members = self.window_px, estimates.shape[1]
        flat = tf.reshape(offsets_px, (-1, 2))
        columns, rows = (hat_matrices(flat[:, axis], side, side) for axis in (0, 1))
        images = tf.reshape(tf.transpose(estimates, (0, 1, 4, 2, 3)), (-1, 2, side, side))
        placed = rows[:, None] @ images @ tf.transpose(columns, (0, 2, 1))[:, None]
        return tf.transpose(tf.reshape(placed, (-1, 2 * members, side, side)), (0, 2, 3, 1))


class OverlapCanvas(ProbeLayer):
    """Merge neighbouring patches on one canvas, weighted by the probe, and read every window back from it.

    What comes back agrees wherever windows overlap: the overlap constraint of ptychography
    (J. M. Rodenburg, H. M. L. Faulkner, Appl. Phys. Lett. 85, 4795 (2004)).

    (n, N, N) complex64 patches and (n, 2) positions (x, y) in pixels, relative to the canvas' centre, ->
    (n, N, N) complex64. All windows must lie on the canvas.
    """

    def __init__(self, probe: npt.NDArray[np.complex64], canvas_px: int, **options: Any) -> None:
        super().__init__(probe, **options)
        self.canvas_px = canvas_px

    def call(self, patches: tf.Tensor, positions_px: tf.Tensor) -> tf.Tensor:
        corner = (self.canvas_px - self.window_px) // 2
        columns = hat_matrices(positions_px[:, 0] + corner, self.window_px, self.canvas_px)
        rows = hat_matrices(positions_px[:, 1] + corner, self.window_px, self.canvas_px)

        def place(windows: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(rows @ windows @ tf.transpose(columns, (0, 2, 1)), axis=0)

        def read(canvas: tf.Tensor) -> tf.Tensor:
            return tf.transpose(rows, (0, 2, 1)) @ canvas[None] @ columns

        weight = (self.share / tf.reduce_max(self.share) + CANVAS_FLOOR)[None]
        total = place(weight * tf.ones_like(tf.math.real(patches))) + 1e-12
        parts = tf.math.real(patches), tf.math.imag(patches)
        real, imaginary = (read(place(weight * part) / total) for part in parts)
        return tf.complex(real, imaginary)
