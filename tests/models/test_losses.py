import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from ptycho.models import losses

RNG = np.random.default_rng(0)


def deviance(measured, expected):
    return float(losses.poisson_deviance(tf.constant(measured, tf.float32), tf.constant(expected, tf.float32)))


def by_scipy(counts, rates):
    """Log-likelihood that a perfect model has over the given one, per count."""
    perfect = scipy.stats.poisson.logpmf(counts, counts).sum()  # logpmf(0, 0) is 0
    return (perfect - scipy.stats.poisson.logpmf(counts, rates).sum()) / counts.sum()


# Poisson -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.5])
def test_deviance_is_the_difference_of_scipy_likelihoods(factor):
    rates = RNG.gamma(1, 20, (4, 8, 8))
    counts = RNG.poisson(rates)
    assert (counts == 0).any()
    assert deviance(counts, factor * rates) == pytest.approx(by_scipy(counts, factor * rates), rel=1e-4)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e3])
def test_the_unit_of_intensity_drops_out(scale):
    rates = RNG.gamma(1, 20, (2, 8, 8))
    counts = RNG.poisson(rates)
    assert deviance(scale * counts, scale * rates) == pytest.approx(by_scipy(counts, rates), rel=1e-3)


def test_deviance_by_hand():
    # counts 2 and 0, rates 1 and 3: (1 - 2 - 2 log(1/2)) + 3 over 2 counts
    assert deviance([[2.0, 0.0]], [[1.0, 3.0]]) == pytest.approx((2 + 2 * np.log(2)) / 2, rel=1e-4)


def test_deviance_is_zero_for_a_perfect_model_and_positive_for_any_other():
    counts = RNG.poisson(3, (3, 8, 8)).astype(float)
    assert deviance(counts, counts) == pytest.approx(0, abs=1e-7)
    for _ in range(20):
        assert deviance(counts, counts * RNG.uniform(0.8, 1.25, counts.shape) + 0.01) > 0


def test_patterns_without_counts_have_a_finite_deviance():
    dark = tf.zeros((2, 4, 4))
    assert float(losses.poisson_deviance(dark, dark)) == 0
    assert np.isfinite(losses.poisson_deviance(dark, dark + 1.0))


def test_dark_pixels_have_a_finite_deviance_and_gradient():
    measured = tf.constant([[0.0, 0.0, 1.0, 1.0]])
    expected = tf.Variable([[0.0, 1.0, 0.0, 1.0]])
    with tf.GradientTape() as tape:
        loss = losses.poisson_deviance(measured, expected)
    gradient = tape.gradient(loss, expected).numpy()[0]
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    # d/dr (r - k log r) / sum k = (1 - k / r) / 2: light where none was measured is to go down, and the reverse
    assert gradient[1] == pytest.approx(0.5, rel=1e-4)
    assert gradient[2] < -1e5
    assert gradient[0] == gradient[3] == 0


def test_the_deviance_of_noise_is_half_a_count_a_pixel():
    # Wilks: twice the log-likelihood ratio is chi-squared, of mean 1 a pixel; 20,000 pixels of 100 counts
    rates = np.full((2, 100, 100), 100.0)
    assert deviance(RNG.poisson(rates), rates) == pytest.approx(0.5 / 100, rel=0.05)


# real space ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "truth", "expected"),
    [
        (0.5, 0.2, 0.3),
        (3.1, -3.1, 6.2 - 2 * np.pi),
        (-3.1, 3.1, 2 * np.pi - 6.2),
        (0.3 + 6 * np.pi, 0.1, 0.2),
        (-20 * np.pi, 0, 0),
    ],
)
def test_wrapped_difference_by_hand(phase, truth, expected):
    assert float(losses.wrapped_difference(tf.constant(phase), tf.constant(float(truth)))) == pytest.approx(
        expected, abs=1e-5
    )


def test_wrapped_difference_is_the_angle_of_the_quotient():
    phase, truth = RNG.uniform(-30, 30, (2, 1000)).astype(np.float32)
    expected = np.angle(np.exp(1j * (phase.astype(float) - truth)))
    np.testing.assert_allclose(losses.wrapped_difference(phase, truth), expected, atol=2e-5)


def test_wrapped_difference_pulls_the_short_way_round():
    phase = tf.Variable([3.0, -3.0, 0.5])
    with tf.GradientTape() as tape:
        error = tf.reduce_sum(tf.abs(losses.wrapped_difference(phase, tf.constant([-3.0, 3.0, 0.0]))))
    np.testing.assert_array_equal(tape.gradient(error, phase), [-1, 1, 1])  # 3 goes on to pi, and so to -3


def test_real_space_error_by_hand():
    amplitude, true_amplitude = tf.constant([[1.0, 0.5]]), tf.constant([[0.8, 0.9]])
    phase, true_phase = tf.constant([[0.1, 3.0]]), tf.constant([[0.4, -3.0]])
    expected = (0.2 + 0.4) / 2 + (0.3 + 2 * np.pi - 6) / 2
    error = losses.real_space_error(amplitude, phase, true_amplitude, true_phase)
    assert error.dtype == tf.float32
    assert float(error) == pytest.approx(expected, rel=1e-5)


def test_real_space_error_of_the_truth_is_zero():
    amplitude, phase = tf.constant(RNG.random((2, 3, 4, 4)), tf.float32)
    assert float(losses.real_space_error(amplitude, phase, amplitude, phase)) == 0


# amplitudes of patterns ----------------------------------------------------------------------------------


def numpy_amplitude_error(measured, expected):
    root, other = np.sqrt(measured + losses.DARK), np.sqrt(expected + losses.DARK)
    return np.abs(root - other).sum() / root.sum()


def test_amplitude_error_by_hand():
    # amplitudes 2, 1, 0 for 3, 1, 1: off by 1, 0 and 1, of 4 in all
    error = losses.amplitude_error(tf.constant([[9.0, 1.0, 1.0]]), tf.constant([[4.0, 1.0, 0.0]]))
    assert error.dtype == tf.float32
    assert float(error) == pytest.approx(2 / 5, rel=1e-3)


def test_amplitude_error_and_gradient_are_those_of_numpy():
    rng = np.random.default_rng(1)
    measured, expected = rng.gamma(0.5, 0.5, (2, 3, 8, 8))
    values = tf.constant(expected, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(values)
        error = losses.amplitude_error(tf.constant(measured, tf.float32), values)
    assert float(error) == pytest.approx(numpy_amplitude_error(measured, expected), rel=1e-5)
    gradient = tape.gradient(error, values).numpy().astype(float)
    for _ in range(3):
        direction = expected * rng.normal(size=expected.shape)  # so that nothing becomes negative
        ends = [numpy_amplitude_error(measured, expected + step * direction) for step in (1e-6, -1e-6)]
        assert (gradient * direction).sum() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-3)


def test_amplitude_error_of_a_perfect_model_is_zero_and_dark_pixels_are_finite():
    measured = tf.constant([[0.0, 4.0, 1.0]])
    assert float(losses.amplitude_error(measured, measured)) == 0
    expected = tf.Variable([[1.0, 4.0, 0.0]])
    with tf.GradientTape() as tape:
        error = losses.amplitude_error(measured, expected)
    gradient = tape.gradient(error, expected).numpy()[0]
    assert np.isfinite(gradient).all()
    assert gradient[0] > 0 > gradient[2]


# augmented patches --------------------------------------------------------------------------------------------


def some_patches():
    rng = np.random.default_rng(2)
    patches, known = rng.normal(size=(2, 3, 8, 8)) + 1j * rng.normal(size=(2, 3, 8, 8))
    weight = rng.random((8, 8))
    return patches, known, weight / weight.sum()


def patch_error(patches, known, weight):
    patches, known = (tf.constant(array, tf.complex64) for array in (patches, known))
    return losses.patch_error(patches, known, tf.constant(weight, tf.float32))


def numpy_patch_error(patches, known, weight):
    return (weight * np.sqrt(np.abs(patches - known) ** 2 + losses.DARK)).sum() / len(patches)


def test_patch_error_by_hand():
    # off by 5 where a quarter of the light is, and by 1 where the rest is, in one of two patches
    patches = np.array([[[3 + 4j, 1j]], [[0, 0]]])
    error = patch_error(patches, np.zeros((2, 1, 2)), [[0.25, 0.75]])
    assert error.dtype == tf.float32
    assert float(error) == pytest.approx(1, rel=1e-3)


def test_patch_error_and_gradient_are_those_of_numpy():
    patches, known, weight = some_patches()
    expected = numpy_patch_error(patches, known, weight)
    assert float(patch_error(patches, known, weight)) == pytest.approx(expected, rel=1e-5)
    parts = tf.constant(np.stack([patches.real, patches.imag]), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(parts)
        error = patch_error(tf.complex(parts[0], parts[1]), known, weight)
    gradient = tape.gradient(error, parts).numpy()
    rng = np.random.default_rng(3)
    for _ in range(3):
        direction = rng.normal(size=parts.shape)
        step = 1e-6 * (direction[0] + 1j * direction[1])
        ends = [numpy_patch_error(patches + sign * step, known, weight) for sign in (1, -1)]
        assert (gradient * direction).sum() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-3)


def test_known_patches_are_nearly_without_error_and_nothing_pulls_at_them():
    known = some_patches()[1]
    parts = tf.constant(np.stack([known.real, known.imag]), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(parts)
        patches = tf.complex(parts[0], parts[1])
        error = patch_error(patches, tf.stop_gradient(patches), np.full((8, 8), 1 / 64))
    assert float(error) == pytest.approx(np.sqrt(losses.DARK), rel=1e-3)
    np.testing.assert_array_equal(tape.gradient(error, parts), 0)


def test_no_patches_have_no_error_and_a_finite_gradient():
    weights = tf.Variable(np.ones((8, 8), np.float32))
    with tf.GradientTape() as tape:
        predicted = tf.complex(weights, weights)[None] * tf.ones((2, 1, 1), tf.complex64)
        error = patch_error(predicted[2:], np.zeros((0, 8, 8)), np.full((8, 8), 1 / 64))
    assert float(error) == 0
    np.testing.assert_array_equal(tape.gradient(error, weights), 0)
