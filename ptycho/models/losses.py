"""One function a loss. All take and return float32."""

import tensorflow as tf

DARK = 1e-6  # added to intensities (mean 0.25 a pixel) before the logarithm: a dark pixel stays finite


def poisson_deviance(measured: tf.Tensor, expected: tf.Tensor) -> tf.Tensor:
    """Return the Poisson negative log-likelihood of counts, less that of a perfect model, per measured count.

    With counts ``k`` and rates ``r`` the likelihood gives ``sum(r - k log r + log k!)``; what a perfect model
    (r = k) would have is taken off, and the sum is divided by ``sum(k)``. As both are proportional to the
    intensities that are passed, the scale between intensities and counts drops out: the gradient is that of the
    likelihood of the counts, whatever the number of photons.

    Parameters
    ----------
    measured, expected : (n, N, N) intensities in the same unit, ``diffraction ** 2`` and the model's

    Notes
    -----
    P. Thibault, M. Guizar-Sicairos, New J. Phys. 14, 063004 (2012), eq. 6.
    """
    k, r = measured + DARK, expected + DARK
    return tf.reduce_sum(r - k - k * tf.math.log(r / k)) / tf.reduce_sum(measured)


def amplitude_error(measured: tf.Tensor, expected: tf.Tensor) -> tf.Tensor:
    """Return the mean absolute error of the patterns' amplitudes, over the mean amplitude.

    Parameters
    ----------
    measured, expected : (n, N, N) intensities in the same unit
    """
    root, other = tf.sqrt(measured + DARK), tf.sqrt(expected + DARK)
    return tf.reduce_sum(tf.abs(root - other)) / tf.reduce_sum(root)


def patch_error(patches: tf.Tensor, known: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Return the mean modulus of the difference of complex patches, weighted; 0 of none.

    Parameters
    ----------
    patches, known : (n, N, N) complex64
    weight : (N, N) float32, of sum 1: the probe's brightness, as nothing is seen where it is dark
    """
    count = tf.cast(tf.maximum(tf.shape(patches)[0], 1), tf.float32)
    difference = patches - known  # the modulus by hand: its gradient is finite at 0
    modulus = tf.sqrt(tf.math.real(difference) ** 2 + tf.math.imag(difference) ** 2 + DARK)
    return tf.reduce_sum(weight * modulus) / count


def wrapped_difference(phase: tf.Tensor, truth: tf.Tensor) -> tf.Tensor:
    """Return ``phase - truth`` in -pi to pi, radians."""
    difference = phase - truth
    return difference - 2 * tf.constant(3.141592653589793) * tf.round(difference / 6.283185307179586)


def real_space_error(
    amplitude: tf.Tensor, phase: tf.Tensor, true_amplitude: tf.Tensor, true_phase: tf.Tensor
) -> tf.Tensor:
    """Return the mean absolute error of amplitude plus that of the phase (radians), as PtychoNN's.

    M. J. Cherukara et al., Appl. Phys. Lett. 117, 044103 (2020). A phase that is a turn off is not an error.
    """
    return tf.reduce_mean(tf.abs(amplitude - true_amplitude)) + tf.reduce_mean(
        tf.abs(wrapped_difference(phase, true_phase))
    )
