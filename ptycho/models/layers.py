"""Physics as differentiable Keras layers: back-propagation, diffraction, overlap. All compute in float32.

They are the counterparts of :mod:`ptycho.physics.diffraction` and :mod:`ptycho.physics.patches`.
"""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

ESTIMATE_DAMPING = 0.1  # fraction of the probe's peak intensity: regularizes the division where the probe is weak
DARK_FIELD = 1e-6  # fraction of the empty pattern's peak amplitude; below, its phase is rounding error
CANVAS_FLOOR = 1e-3  # added to the weight of a pixel, which is 1 where the probe is brightest


def _as_complex(parts: tf.Tensor) -> tf.Tensor:
    """Return (...) complex64 of (..., 2) float32, real and imaginary part."""
    return tf.complex(parts[..., 0], parts[..., 1])


class ProbeLayer(keras.layers.Layer):
    """Base class of layers that hold the probe as a weight, so that it is saved with the model.

    Parameters
    ----------
    probe : (N, N) complex64, scaled as in a dataset
    trainable_probe : refine it in the training
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
        """The probe, (N, N) complex64."""
        return _as_complex(self.parts)

    @property
    def normalized_intensity(self) -> tf.Tensor:
        """Intensity of the probe, (N, N) float32, of sum 1."""
        intensity = tf.reduce_sum(tf.convert_to_tensor(self.parts) ** 2, axis=-1)
        return intensity / tf.reduce_sum(intensity)


class BackPropagation(ProbeLayer):
    """Initial estimate of the object from a pattern.

    The measured amplitude is given the phase of the empty probe in the detector plane, propagated back to the object
    plane and divided by the probe: the first half step of a phase retrieval that starts from an empty object
    (J. R. Fienup, Appl. Opt. 21, 2758 (1982), eq. 3-5).
    """

    def call(self, diffraction: tf.Tensor) -> tf.Tensor:
        """Return (..., N, N, 2) float32, real and imaginary part of the estimate, of amplitudes (..., N, N)."""
        amplitude = tf.complex(diffraction, tf.zeros_like(diffraction))
        empty = tf.signal.fftshift(tf.signal.fft2d(self.probe))
        magnitude = tf.abs(empty)
        lit = magnitude > DARK_FIELD * tf.reduce_max(magnitude)
        direction = tf.where(lit, empty / tf.complex(magnitude + 1e-12, 0.0), 0.0)
        exit_wave = tf.signal.ifft2d(tf.signal.ifftshift(amplitude * direction, axes=(-2, -1))) * self.window_px
        intensity = tf.abs(self.probe) ** 2
        damping = intensity + ESTIMATE_DAMPING * tf.reduce_max(intensity)
        estimate = exit_wave * tf.math.conj(self.probe) / tf.complex(damping, tf.zeros_like(damping))
        return tf.stack([tf.math.real(estimate), tf.math.imag(estimate)], axis=-1)


class Diffraction(ProbeLayer):
    """Far-field intensity of a patch illuminated by the probe, times a scale.

    Parameters
    ----------
    probe : (N, N) complex64, scaled as in a dataset
    trainable_scale : learn the logarithm of the intensity's scale, which is 0 at the start
    trainable_probe : refine the probe in the training, too
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
        """Return (n, N, N) float32 intensities, in units of squared ``diffraction``, of (n, N, N) complex64 patches."""
        wave = tf.signal.fftshift(tf.signal.fft2d(self.probe * patches), axes=(-2, -1)) / self.window_px
        return (tf.math.real(wave) ** 2 + tf.math.imag(wave) ** 2) * tf.exp(self.log_scale)


def hat_matrices(offsets_px: tf.Tensor, window_px: int, canvas_px: int) -> tf.Tensor:
    """Return matrices that place windows of ``window_px`` on a line of ``canvas_px`` by linear interpolation.

    Parameters
    ----------
    offsets_px : (n,) float32, position of each window's first pixel on the canvas

    Returns
    -------
    (n, canvas_px, window_px) float32; the transpose (adjoint) extracts the window from the canvas
    """
    canvas = tf.range(canvas_px, dtype=tf.float32)[None, :, None]
    window = tf.range(window_px, dtype=tf.float32)[None, None, :]
    return tf.maximum(0.0, 1.0 - tf.abs(canvas - offsets_px[:, None, None] - window))


class Registration(keras.layers.Layer):
    """Shift the estimates of a group of neighbouring patterns into the window of its first pattern.

    Parameters
    ----------
    window_px : N
    """

    def __init__(self, window_px: int, **options: object) -> None:
        super().__init__(dtype="float32", **options)
        self.window_px = window_px

    def call(self, estimates: tf.Tensor, offsets_px: tf.Tensor) -> tf.Tensor:
        """Return (n, N, N, 2 g) float32: the channels of all members, 0 outside of their windows.

        Parameters
        ----------
        estimates : (n, g, N, N, 2) float32, of :class:`BackPropagation`
        offsets_px : (n, g, 2) float32, (x, y) of each member relative to the first
        """
        side, members = self.window_px, estimates.shape[1]
        flat = tf.reshape(offsets_px, (-1, 2))
        columns, rows = (hat_matrices(flat[:, axis], side, side) for axis in (0, 1))
        images = tf.reshape(tf.transpose(estimates, (0, 1, 4, 2, 3)), (-1, 2, side, side))
        placed = rows[:, None] @ images @ tf.transpose(columns, (0, 2, 1))[:, None]
        return tf.transpose(tf.reshape(placed, (-1, 2 * members, side, side)), (0, 2, 3, 1))


class OverlapCanvas(ProbeLayer):
    """Merge neighbouring patches on one canvas, weighted by the probe's intensity, and extract each window again.

    The extracted patches agree wherever windows overlap: the overlap constraint of ptychography
    (J. M. Rodenburg, H. M. L. Faulkner, Appl. Phys. Lett. 85, 4795 (2004)).

    Parameters
    ----------
    probe : (N, N) complex64
    canvas_px : side of the canvas
    """

    def __init__(self, probe: npt.NDArray[np.complex64], canvas_px: int, **options: Any) -> None:
        super().__init__(probe, **options)
        self.canvas_px = canvas_px

    def call(self, patches: tf.Tensor, positions_px: tf.Tensor) -> tf.Tensor:
        """Return (n, N, N) complex64, the merged patches.

        Parameters
        ----------
        patches : (n, N, N) complex64
        positions_px : (n, 2) float32, (x, y) relative to the centre of the canvas; all windows must lie on it
        """
        corner = (self.canvas_px - self.window_px) // 2
        columns = hat_matrices(positions_px[:, 0] + corner, self.window_px, self.canvas_px)
        rows = hat_matrices(positions_px[:, 1] + corner, self.window_px, self.canvas_px)

        def place(windows: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(rows @ windows @ tf.transpose(columns, (0, 2, 1)), axis=0)

        def extract(canvas: tf.Tensor) -> tf.Tensor:
            return tf.transpose(rows, (0, 2, 1)) @ canvas[None] @ columns

        intensity = self.normalized_intensity
        weight = (intensity / tf.reduce_max(intensity) + CANVAS_FLOOR)[None]
        total = place(weight * tf.ones_like(tf.math.real(patches))) + 1e-12
        parts = tf.math.real(patches), tf.math.imag(patches)
        real, imaginary = (extract(place(weight * part) / total) for part in parts)
        return tf.complex(real, imaginary)
