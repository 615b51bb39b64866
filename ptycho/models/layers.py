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
MAGNITUDE_FLOOR = 1e-8  # added to squared amplitudes (mean 0.25 a pixel): keeps their gradient finite
AMPLITUDE_FLOOR = 1e-6  # of a corrected patch, about 1 elsewhere: keeps the gradient of its phase finite
CANVAS_FLOOR = 1e-3  # added to the weight of a pixel, which is 1 where the probe is brightest


def _as_complex(parts: tf.Tensor) -> tf.Tensor:
    """Return (...) complex64 of (..., 2) float32, real and imaginary part."""
    return tf.complex(parts[..., 0], parts[..., 1])


def probe_inverse(probe: tf.Tensor) -> tf.Tensor:
    """Return (N, N) complex64: one over the probe, regularized where the probe is weak."""
    intensity = tf.abs(probe) ** 2
    damping = intensity + ESTIMATE_DAMPING * tf.reduce_max(intensity) + 1e-12  # no division by 0 for an empty probe
    return tf.math.conj(probe) / tf.complex(damping, tf.zeros_like(damping))


def valid_pixel_mask(bad_pixels: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float32]:
    """Return 1 where a detector pixel was measured and 0 elsewhere, (N, N) float32; () for None, where all were."""
    return np.float32(1) if bad_pixels is None else (~bad_pixels).astype(np.float32)  # type: ignore[return-value]


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

    @property
    def phase_factors(self) -> tf.Tensor:
        """exp(i phase) of the empty probe's far field, (N, N) complex64, direct beam in the centre; 0 where dark."""
        empty = tf.signal.fftshift(tf.signal.fft2d(self.probe))
        magnitude = tf.abs(empty)
        lit = magnitude > DARK_FIELD * tf.reduce_max(magnitude)
        return tf.where(lit, empty / tf.complex(magnitude + 1e-12, 0.0), 0.0)

    def call(self, diffraction: tf.Tensor) -> tf.Tensor:
        """Return (..., N, N, 2) float32, real and imaginary part of the estimate, of amplitudes (..., N, N)."""
        amplitude = tf.complex(diffraction, tf.zeros_like(diffraction))
        exit_wave = tf.signal.ifft2d(tf.signal.ifftshift(amplitude * self.phase_factors, axes=(-2, -1)))
        estimate = exit_wave * (probe_inverse(self.probe) * self.window_px)
        return tf.stack([tf.math.real(estimate), tf.math.imag(estimate)], axis=-1)


class MagnitudeProjection(ProbeLayer):
    """Correction of a patch by the measured pattern: phase retrieval of a single pattern, in a few iterations.

    In each, the exit wave of the patch is given the measured amplitudes in the detector plane, its phases there are
    kept, and the change is divided by the probe, with the damping of :class:`BackPropagation`: the object update of
    rPIE (A. Maiden, D. Johnson, P. Li, Optica 4, 736 (2017)) with alpha 1/11 and a step of 10/11.

    Parameters
    ----------
    probe : (N, N) complex64, scaled as in a dataset
    iterations : 1 or more
    bad_pixels : (N, N) bool, True where a detector pixel was not measured: the patch's own amplitude is kept; or None

    Attributes
    ----------
    strength : float32 variable, 1 unless a training changes it: factor on the change of each iteration; not saved
    """

    def __init__(
        self,
        probe: npt.NDArray[np.complex64],
        iterations: int,
        bad_pixels: npt.NDArray[np.bool_] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(probe, **options)
        self.iterations = iterations
        self.strength = tf.Variable(1.0, trainable=False)
        self.valid_pixel_mask = self.add_weight(
            shape=probe.shape, name="valid_pixel_mask", trainable=False, initializer="ones"
        )
        self.mask(bad_pixels)

    def mask(self, bad_pixels: npt.NDArray[np.bool_] | None) -> None:
        """Set the mask, (N, N) bool or None as for the constructor: that of the scan whose patterns are passed."""
        valid = valid_pixel_mask(bad_pixels)
        self.valid_pixel_mask.assign(np.broadcast_to(valid, self.valid_pixel_mask.shape))

    def call(self, diffraction: tf.Tensor, amplitude: tf.Tensor, phase: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return amplitude and phase (radians, -pi to pi) of the corrected patches, (n, N, N) float32 each.

        Parameters
        ----------
        diffraction : (n, N, N) float32, measured amplitudes
        amplitude, phase : (n, N, N) float32, of the patches; phase in radians
        """
        measured = tf.signal.ifftshift(diffraction, axes=(-2, -1))
        valid = tf.signal.ifftshift(tf.convert_to_tensor(self.valid_pixel_mask))
        patch = tf.complex(amplitude * tf.cos(phase), amplitude * tf.sin(phase))
        # factors of N of the transforms are those of arrays without the axis of the patterns
        probe, inverse = self.probe / self.window_px, probe_inverse(self.probe) * self.window_px
        step = valid * self.strength
        for _ in range(self.iterations):
            wave = tf.signal.fft2d(probe * patch)
            magnitude = tf.sqrt(tf.math.real(wave) ** 2 + tf.math.imag(wave) ** 2 + MAGNITUDE_FLOOR)
            missing = (measured / magnitude - 1.0) * step
            patch += inverse * tf.signal.ifft2d(wave * tf.complex(missing, tf.zeros_like(missing)))
        real, imaginary = tf.math.real(patch), tf.math.imag(patch)
        return tf.sqrt(real**2 + imaginary**2 + AMPLITUDE_FLOOR**2), tf.atan2(imaginary, real + AMPLITUDE_FLOOR)


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
        wave = tf.signal.fftshift(tf.signal.fft2d(self.probe / self.window_px * patches), axes=(-2, -1))
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
