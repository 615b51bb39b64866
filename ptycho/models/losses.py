"""The terms of the losses, weighted and summed in pinn.py and baseline.py. float32 unless stated; each is a scalar."""

import tensorflow as tf

DARK = 1e-6  # added to intensities (mean 0.25 a pixel): keeps logarithm and gradient finite at dark pixels


def poisson_deviance(measured: tf.Tensor, expected: tf.Tensor) -> tf.Tensor:
    """Return half the Poisson deviance of counts, per measured count.

    With counts ``k`` and rates ``r`` the negative log-likelihood is ``sum(r - k log r + log k!)``. That of a perfect
    model (r = k) is subtracted, and the sum is divided by ``sum(k)``. As counts are proportional to the intensities
    that are passed, their scale cancels: up to a factor, the gradient is that of the likelihood of the counts,
    whatever the number of photons.

    Parameters
    ----------
    measured, expected : (n, N, N) intensities in the same unit: ``diffraction ** 2``, and those of the model

    Notes
    -----
    P. Thibault, M. Guizar-Sicairos, New J. Phys. 14, 063004 (2012), eq. 6.
    """
    k, r = measured + DARK, expected + DARK
    counted = tf.maximum(tf.reduce_sum(measured), DARK)  # no division by 0 for patterns without any counts
    return tf.reduce_sum(r - k - k * tf.math.log(r / k)) / counted


def amplitude_error(measured: tf.Tensor, expected: tf.Tensor) -> tf.Tensor:
    """Return the mean absolute error of the patterns' amplitudes, relative to the mean amplitude.

    Parameters
    ----------
    measured, expected : (n, N, N) intensities in the same unit
    """
    root, other = tf.sqrt(measured + DARK), tf.sqrt(expected + DARK)
    return tf.reduce_sum(tf.abs(root - other)) / tf.reduce_sum(root)


def patch_error(patches: tf.Tensor, known: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Return the weighted mean modulus of the difference of complex patches; 0 where there are no patches.

    Parameters
    ----------
    patches, known : (n, N, N) complex64
    weight : (N, N) float32, of sum 1: the intensity of the probe, as data determine a patch only where it is lit
    """
    count = tf.cast(tf.maximum(tf.shape(patches)[0], 1), tf.float32)
    difference = patches - known  # not tf.abs, whose gradient is not finite at 0
    modulus = tf.sqrt(tf.math.real(difference) ** 2 + tf.math.imag(difference) ** 2 + DARK)
    return tf.reduce_sum(weight * modulus) / count


def wrapped_difference(phase: tf.Tensor, truth: tf.Tensor) -> tf.Tensor:
    """Return ``phase - truth``, radians, wrapped into -pi ... pi; any shape."""
    difference = phase - truth
    return difference - 2 * tf.constant(3.141592653589793) * tf.round(difference / 6.283185307179586)


def real_space_error(
    amplitude: tf.Tensor, phase: tf.Tensor, true_amplitude: tf.Tensor, true_phase: tf.Tensor
) -> tf.Tensor:
    """Return the mean absolute error of the amplitude plus that of the wrapped phase, the loss of PtychoNN.

    M. J. Cherukara et al., Appl. Phys. Lett. 117, 044103 (2020).

    Parameters
    ----------
    amplitude, true_amplitude : (n, N, N)
    phase, true_phase : (n, N, N) radians; differences of 2 pi are no error
    """
    return tf.reduce_mean(tf.abs(amplitude - true_amplitude)) + tf.reduce_mean(
        tf.abs(wrapped_difference(phase, true_phase))
    )
