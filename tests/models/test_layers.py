import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import map_coordinates, shift

from ptycho.models.layers import (
    CANVAS_FLOOR,
    ESTIMATE_DAMPING,
    BackPropagation,
    Diffraction,
    MagnitudeProjection,
    OverlapCanvas,
    Registration,
    hat_matrices,
)
from ptycho.physics import diffraction
from ptycho.physics.patches import extract_patches
from ptycho.physics.probes import defocused_probe

SIDE, CANVAS = 16, 40
CORNER = (CANVAS - SIDE) // 2
PROBE = 2.5 * defocused_probe(SIDE, np.random.default_rng(0))


def random_patches(n, seed=1):
    rng = np.random.default_rng(seed)
    return (rng.normal(1, 0.3, (n, SIDE, SIDE)) * np.exp(1j * rng.normal(0, 0.6, (n, SIDE, SIDE)))).astype(np.complex64)


def offsets(n, seed=2, whole=False, reach=9.0):
    positions = np.random.default_rng(seed).uniform(-reach, reach, (n, 2))
    return (np.rint(positions) if whole else positions).astype(np.float32)


def cut(array, positions):
    """Cut windows out of an array of the canvas' size, by the reference."""
    x, y = positions.T.astype(float) + CANVAS / 2
    return extract_patches(array, x, y, SIDE)


# probe ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [BackPropagation, lambda p: Diffraction(p, True), lambda p: OverlapCanvas(p, CANVAS)])
def test_the_probe_is_a_frozen_weight_of_its_layer(make):
    layer = make(PROBE)
    np.testing.assert_array_equal(layer.probe, PROBE)
    assert [weight.path for weight in layer.non_trainable_weights] == [f"{layer.name}/probe"]
    assert not any("probe" in weight.path for weight in layer.trainable_weights)


@pytest.mark.parametrize("trainable", [True, False])
def test_the_probe_of_the_physics_is_learned_only_where_asked(trainable):
    layer = Diffraction(PROBE, False, trainable_probe=trainable)
    assert [weight.path for weight in layer.trainable_weights] == [f"{layer.name}/probe"] * trainable
    np.testing.assert_array_equal(layer.probe, PROBE)


def test_the_normalized_intensity_is_that_of_the_probe_of_sum_1():
    intensity = Diffraction(PROBE, False).normalized_intensity
    assert intensity.dtype == tf.float32
    np.testing.assert_allclose(intensity, np.abs(PROBE) ** 2 / (np.abs(PROBE) ** 2).sum(), rtol=1e-5)


# diffraction ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log_scale", [0.0, 0.7, -2.0])
def test_diffraction_is_the_reference_intensity_times_the_scale(log_scale):
    layer, patches = Diffraction(PROBE, trainable_scale=True), random_patches(3)
    assert float(layer.log_scale) == 0
    layer.log_scale.assign(log_scale)
    intensity = layer(patches).numpy()
    expected = np.abs(diffraction.far_field(PROBE.astype(complex) * patches)) ** 2 * np.exp(log_scale)
    assert intensity.dtype == np.float32
    np.testing.assert_allclose(intensity, expected, rtol=1e-4, atol=1e-5 * expected.max())
    assert intensity.sum() == pytest.approx(np.exp(log_scale) * (np.abs(PROBE * patches) ** 2).sum(), rel=1e-5)


def test_a_tilted_patch_moves_the_pattern_along_its_axis():
    # exp(2 pi i 3 x / N) under a constant probe is one spot, 3 columns right of the centre; energy N^2
    layer = Diffraction(np.ones((SIDE, SIDE), np.complex64), trainable_scale=False)
    ramp = np.exp(2j * np.pi * 3 * np.arange(SIDE) / SIDE) * np.ones((1, SIDE, 1))
    expected = np.zeros((1, SIDE, SIDE))
    expected[0, SIDE // 2, SIDE // 2 + 3] = SIDE**2
    np.testing.assert_allclose(layer(ramp.astype(np.complex64)), expected, atol=1e-3)


@pytest.mark.parametrize("trainable", [True, False])
def test_the_intensity_scale_is_learned_only_where_asked(trainable):
    layer = Diffraction(PROBE, trainable_scale=trainable)
    assert len(layer.trainable_weights) == trainable


def test_the_gradient_by_the_probe_is_that_of_finite_differences():
    layer, patches = Diffraction(PROBE, True, trainable_probe=True), random_patches(3)
    weight = np.random.default_rng(3).normal(size=(3, SIDE, SIDE))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer(patches) * tf.constant(weight, tf.float32))
    gradient = tape.gradient(value, layer.parts).numpy()
    rng = np.random.default_rng(4)
    for _ in range(3):
        direction = rng.normal(size=(SIDE, SIDE, 2))
        step = 1e-5 * (direction[..., 0] + 1j * direction[..., 1])
        ends = [(weight * diffraction.diffraction_intensity(PROBE + sign * step, patches)).sum() for sign in (1, -1)]
        assert (gradient * direction).sum() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3)


# back-propagation ----------------------------------------------------------------------------------------


def numpy_estimate(probe, patterns):
    probe = probe.astype(complex)
    direction = np.exp(1j * np.angle(np.fft.fftshift(np.fft.fft2(probe))))
    exit_wave = np.fft.ifft2(np.fft.ifftshift(patterns * direction, axes=(1, 2)), norm="ortho")
    brightness = np.abs(probe) ** 2
    return exit_wave * probe.conj() / (brightness + ESTIMATE_DAMPING * brightness.max())


def test_back_propagation_is_its_numpy_twin():
    probe = random_patches(1, seed=8)[0] + 2 * PROBE  # bright everywhere in the detector plane
    patterns = diffraction.diffraction_amplitude(probe, random_patches(3)).astype(np.float32)
    estimate = BackPropagation(probe)(patterns).numpy()
    assert estimate.shape == (3, SIDE, SIDE, 2)
    assert estimate.dtype == np.float32
    expected = numpy_estimate(probe, patterns)
    np.testing.assert_allclose(estimate[..., 0] + 1j * estimate[..., 1], expected, atol=1e-4)


def test_light_where_the_empty_beam_is_dark_takes_no_phase_from_rounding():
    # the pupil of PROBE leaves 60 % of the detector dark, but for rounding: there no phase is known
    patterns = diffraction.diffraction_amplitude(PROBE, random_patches(3)).astype(np.float32)
    dark = np.abs(diffraction.far_field(PROBE.astype(complex))) < 1e-6
    assert (patterns[:, dark] ** 2).sum() > 0.01 * (patterns**2).sum()
    estimate = BackPropagation(PROBE)(patterns).numpy()
    noise = np.random.default_rng(0).uniform(-6e-8, 6e-8, PROBE.shape)  # float32 rounds 1 by up to 6e-8
    rounded = BackPropagation((PROBE * (1 + noise)).astype(np.complex64))(patterns).numpy()
    np.testing.assert_allclose(rounded, estimate, atol=1e-5)
    estimate = estimate[..., 0] + 1j * estimate[..., 1]
    np.testing.assert_allclose(estimate, numpy_estimate(PROBE, np.where(dark, 0, patterns)), atol=1e-5)


@pytest.mark.parametrize("value", [1, 0.6, np.exp(0.8j)])
def test_a_uniform_object_is_recovered_but_for_damping_and_its_phase(value):
    patch = np.full((1, SIDE, SIDE), value)
    estimate = BackPropagation(PROBE)(diffraction.diffraction_amplitude(PROBE, patch).astype(np.float32)).numpy()[0]
    brightness = np.abs(PROBE) ** 2
    expected = abs(value) * brightness / (brightness + ESTIMATE_DAMPING * brightness.max())
    np.testing.assert_allclose(estimate[..., 0], expected, atol=1e-5)
    np.testing.assert_allclose(estimate[..., 1], 0, atol=1e-5)


def test_an_empty_pattern_gives_an_empty_estimate():
    np.testing.assert_array_equal(BackPropagation(PROBE)(np.zeros((1, SIDE, SIDE), np.float32)), 0)


# interpolation -------------------------------------------------------------------------------------------


def test_hat_matrix_by_hand():
    # a window of 3 that starts at 1.25 on a line of 6: each pixel is shared 3/4 to 1/4
    expected = np.array([[0, 0, 0], [3, 0, 0], [1, 3, 0], [0, 1, 3], [0, 0, 1], [0, 0, 0]]) / 4
    np.testing.assert_allclose(hat_matrices(tf.constant([1.25]), 3, 6)[0], expected)


def test_hat_matrices_place_all_of_a_window_and_nothing_else():
    first = np.concatenate([[0.0, 24.0], np.random.default_rng(0).uniform(0, CANVAS - SIDE, 20)]).astype(np.float32)
    matrices = hat_matrices(tf.constant(first), SIDE, CANVAS).numpy()
    assert matrices.shape == (22, CANVAS, SIDE)
    np.testing.assert_allclose(matrices.sum(axis=1), 1, atol=1e-5)  # every pixel of the window lands somewhere
    lines = np.arange(CANVAS)
    inside = (lines >= first[:, None]) & (lines <= first[:, None] + SIDE - 1)
    np.testing.assert_allclose(matrices.sum(axis=2)[inside], 1, atol=1e-5)  # a partition of unity
    beyond = (lines <= first[:, None] - 1) | (lines >= first[:, None] + SIDE)
    assert not matrices.sum(axis=2)[beyond].any()


def test_the_transpose_reads_windows_as_the_reference_cuts_patches():
    positions = offsets(12)
    rng = np.random.default_rng(3)
    canvas = (rng.normal(size=(CANVAS, CANVAS)) + 1j * rng.normal(size=(CANVAS, CANVAS))).astype(np.complex64)
    columns, rows = (hat_matrices(tf.constant(positions[:, i] + CORNER), SIDE, CANVAS).numpy() for i in (0, 1))
    np.testing.assert_allclose(rows.transpose(0, 2, 1) @ canvas @ columns, cut(canvas, positions), atol=1e-5)


def test_placing_is_the_adjoint_of_an_independent_bilinear_reading():
    # <place a, b> = <a, read b>: place by the matrices, read by scipy
    positions, patches = offsets(5), random_patches(5).real
    columns, rows = (hat_matrices(tf.constant(positions[:, i] + CORNER), SIDE, CANVAS).numpy() for i in (0, 1))
    canvas = np.random.default_rng(4).normal(size=(CANVAS, CANVAS))
    placed = (rows @ patches @ columns.transpose(0, 2, 1)).sum(axis=0)
    pixels = np.arange(SIDE) + CORNER
    y, x = np.broadcast_arrays(positions[:, 1, None, None] + pixels[:, None], positions[:, 0, None, None] + pixels)
    read = map_coordinates(canvas, [y, x], order=1)
    assert (placed * canvas).sum() == pytest.approx((patches * read).sum(), rel=1e-4)


# registration --------------------------------------------------------------------------------------------


def random_estimates(n, members):
    return np.random.default_rng(6).normal(size=(n, members, SIDE, SIDE, 2)).astype(np.float32)


def test_registration_is_the_linear_shift_of_scipy():
    estimates, offsets_px = random_estimates(3, 4), offsets(12).reshape(3, 4, 2)
    offsets_px[:, 0] = 0
    offsets_px[2, 3] = 5, -30  # nothing of it is left
    placed = Registration(SIDE)(estimates, offsets_px).numpy()
    assert placed.shape == (3, SIDE, SIDE, 8)
    assert placed.dtype == np.float32
    for i, j, part in np.ndindex(3, 4, 2):
        x, y = offsets_px[i, j]
        expected = shift(estimates[i, j, ..., part], (y, x), order=1, mode="grid-constant", prefilter=False)
        np.testing.assert_allclose(placed[i, ..., 2 * j + part], expected, atol=1e-5)
    assert not placed[2, ..., 6:].any()
    np.testing.assert_array_equal(placed[..., :2], estimates[:, 0])


def test_windows_of_one_object_fall_on_each_other():
    rng = np.random.default_rng(5)
    whole = (rng.normal(size=(CANVAS, CANVAS)) + 1j * rng.normal(size=(CANVAS, CANVAS))).astype(np.complex64)
    positions = offsets(4, whole=True, reach=8)
    patches = cut(whole, positions)
    relative = positions - positions[0]
    assert len(np.unique(relative, axis=0)) == 4
    placed = Registration(SIDE)(np.stack([patches.real, patches.imag], axis=-1)[None], relative[None]).numpy()[0]
    pixels = np.arange(SIDE)
    for j, (x, y) in enumerate(relative):
        reached = ((pixels >= x) & (pixels < x + SIDE)) & ((pixels >= y) & (pixels < y + SIDE))[:, None]
        found = placed[..., 2 * j] + 1j * placed[..., 2 * j + 1]
        np.testing.assert_allclose(found, np.where(reached, patches[0], 0), atol=1e-5)


def test_the_gradient_by_the_estimates_is_that_of_finite_differences():
    estimates, offsets_px = tf.constant(random_estimates(2, 4)), offsets(8).reshape(2, 4, 2)
    rng, layer = np.random.default_rng(7), Registration(SIDE)
    weight = tf.constant(rng.normal(size=(2, SIDE, SIDE, 8)), tf.float32)

    def value(given):
        return tf.reduce_sum(weight * layer(given, offsets_px) ** 2)

    with tf.GradientTape() as tape:
        tape.watch(estimates)
        total = value(estimates)
    gradient = tape.gradient(total, estimates)
    for _ in range(3):
        direction = tf.constant(rng.normal(size=estimates.shape), tf.float32)
        ends = [float(value(estimates + step * direction)) for step in (0.1, -0.1)]  # of a square: exact
        assert float(tf.reduce_sum(gradient * direction)) == pytest.approx((ends[0] - ends[1]) / 0.2, rel=2e-3)


# canvas --------------------------------------------------------------------------------------------------


def canvas_twin(patches, positions):
    """Merge by adding every pixel to its four neighbours on the canvas, in float64."""
    brightness = np.abs(PROBE.astype(complex)) ** 2
    weight = brightness / brightness.max() + CANVAS_FLOOR
    total, merged = np.zeros((CANVAS, CANVAS)), np.zeros((CANVAS, CANVAS), complex)
    corners = []
    pixels = np.arange(SIDE)
    for patch, (x, y) in zip(patches, positions.astype(float) + CORNER, strict=True):
        left, top = int(np.floor(x)), int(np.floor(y))
        for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            share = (y - top if down else 1 - y + top) * (x - left if right else 1 - x + left)
            index = np.ix_(pixels + top + down, pixels + left + right)
            total[index] += share * weight
            merged[index] += share * weight * patch
            corners.append((share, index))
    merged /= np.where(total > 0, total, 1)
    parts = np.array([share * merged[index] for share, index in corners])
    return parts.reshape(len(patches), 4, SIDE, SIDE).sum(axis=1)


def test_canvas_is_its_numpy_twin():
    patches, positions = random_patches(7), offsets(7)
    expected = canvas_twin(patches, positions)
    assert np.abs(expected - patches).max() > 0.1  # patches that disagree do change
    merged = OverlapCanvas(PROBE, CANVAS)(patches, positions)
    assert merged.dtype == tf.complex64
    np.testing.assert_allclose(merged, expected, atol=1e-4)


def test_the_average_of_two_patches_by_hand():
    # probe intensity 1 at the centre, 1/100 elsewhere. One patch of 1 and one of 3i, a column to the right: the
    # bright pixel of the first meets a dark one of the second
    probe = np.full((4, 4), 0.2, np.complex64)
    probe[2, 2] = 2
    patches = np.stack([np.full((4, 4), 1), np.full((4, 4), 3j)]).astype(np.complex64)
    merged = OverlapCanvas(probe, 8)(patches, tf.constant([[0.0, 0.0], [1.0, 0.0]])).numpy()
    bright, dark = 1 + CANVAS_FLOOR, 0.01 + CANVAS_FLOOR
    assert merged[0, 2, 2] == pytest.approx((bright + dark * 3j) / (bright + dark), abs=1e-5)
    assert merged[1, 2, 1] == merged[0, 2, 2]
    assert merged[1, 2, 2] == pytest.approx((dark + bright * 3j) / (bright + dark), abs=1e-5)
    assert merged[0, 2, 0] == pytest.approx(1, abs=1e-5)  # only the first covers it
    assert merged[1, 2, 3] == pytest.approx(3j, abs=1e-5)


def test_patches_of_one_object_at_whole_pixels_come_back_unchanged():
    rng = np.random.default_rng(5)
    whole = (rng.normal(size=(CANVAS, CANVAS)) + 1j * rng.normal(size=(CANVAS, CANVAS))).astype(np.complex64)
    positions = offsets(9, whole=True)
    patches = cut(whole, positions)
    np.testing.assert_allclose(OverlapCanvas(PROBE, CANVAS)(patches, positions), patches, atol=1e-4)


def test_patches_of_a_smooth_object_come_back_nearly():
    # Bilinear placing moves the light of a pixel by half a pixel at most. Waves of 40 px change the phase by
    # 2 pi / 40 = 0.16 a pixel, so nothing is off by more than that; in the light, far less.
    positions = offsets(9)
    y, x = np.mgrid[:CANVAS, :CANVAS]
    patches = cut((1 + 0.2 * np.sin(y / 12)) * np.exp(1j * np.cos(2 * np.pi * x / 40)), positions)
    brightness = np.abs(PROBE) ** 2

    def errors(at):
        error = np.abs(OverlapCanvas(PROBE, CANVAS)(patches, at).numpy() - patches)
        return error.max(), np.sqrt(np.average(error**2, weights=np.broadcast_to(brightness, error.shape)))

    largest, in_the_light = errors(positions)
    assert largest < 0.16
    assert in_the_light < 0.02
    for wrong in (positions[:, ::-1], -positions, 0 * positions):
        assert errors(wrong)[1] > 0.1


def test_moving_the_whole_group_by_whole_pixels_changes_nothing():
    patches, positions = random_patches(6), offsets(6, reach=5)
    layer = OverlapCanvas(PROBE, CANVAS)
    merged = layer(patches, positions).numpy()
    np.testing.assert_allclose(layer(patches, positions + np.float32([4, -6])), merged, atol=1e-4)
    assert np.abs(layer(patches, positions * np.float32([1, -1])).numpy() - merged).max() > 0.1


def test_the_size_of_the_canvas_changes_nothing():
    patches, positions = random_patches(6), offsets(6)
    expected = OverlapCanvas(PROBE, CANVAS)(patches, positions).numpy()
    for size in (CANVAS + 2, CANVAS + 20):
        np.testing.assert_allclose(OverlapCanvas(PROBE, size)(patches, positions), expected, atol=1e-4)


def test_a_patch_that_comes_twice_counts_as_once_alone():
    patches, positions = random_patches(1), offsets(1, whole=True)
    twice = OverlapCanvas(PROBE, CANVAS)(np.repeat(patches, 2, axis=0), np.repeat(positions, 2, axis=0))
    np.testing.assert_allclose(twice, np.repeat(patches, 2, axis=0), atol=1e-5)


# correction by the measured pattern ----------------------------------------------------------------------


def amplitudes(patches):
    """Patterns of patches, (n, N, N) float32, DC in the centre."""
    return diffraction.diffraction_amplitude(PROBE, patches).astype(np.float32)


def projected(measured, patches, iterations=1, bad_pixels=None):
    layer = MagnitudeProjection(PROBE, iterations, bad_pixels)
    amplitude, phase = layer(measured, np.abs(patches), np.angle(patches))
    return amplitude.numpy() * np.exp(1j * phase.numpy())


def test_a_patch_that_explains_its_pattern_is_not_changed():
    patches = random_patches(3)
    np.testing.assert_allclose(projected(amplitudes(patches), patches, 5), patches, atol=2e-3)


@pytest.mark.parametrize("iterations", [1, 3])
def test_the_correction_is_that_of_rpie_with_a_single_pattern(iterations):
    truth, start = random_patches(2), random_patches(2, seed=5)
    measured, expected = amplitudes(truth), start.astype(complex)
    intensity, alpha, step = np.abs(PROBE) ** 2, 1 / 11, 10 / 11
    for _ in range(iterations):
        wave = np.fft.fftshift(np.fft.fft2(PROBE * expected), axes=(-2, -1))
        replaced = np.fft.ifft2(np.fft.ifftshift(measured * SIDE * wave / np.abs(wave), axes=(-2, -1)))
        change = (replaced - PROBE * expected) * PROBE.conj()
        expected = expected + step * change / ((1 - alpha) * intensity + alpha * intensity.max())
    np.testing.assert_allclose(projected(measured, start, iterations), expected, atol=5e-3)


def test_the_corrections_bring_the_pattern_closer_to_the_measured_one():
    truth, start = random_patches(4), random_patches(4, seed=5)
    measured = amplitudes(truth)
    misfits = [np.sum((amplitudes(projected(measured, start, k)) - measured) ** 2) for k in (1, 4, 16)]
    assert misfits == sorted(misfits, reverse=True)
    assert misfits[0] < np.sum((amplitudes(start) - measured) ** 2)


def test_pixels_that_were_not_measured_change_nothing():
    truth, start = random_patches(2), random_patches(2, seed=5)
    bad = np.zeros((SIDE, SIDE), bool)
    bad[SIDE // 2, 3:7] = True
    measured = amplitudes(truth)
    spoilt = np.where(bad, 100, measured).astype(np.float32)
    np.testing.assert_allclose(projected(spoilt, start, 2, bad), projected(measured, start, 2, bad), atol=1e-5)
    assert np.abs(projected(spoilt, start, 2) - projected(measured, start, 2)).max() > 0.1


@pytest.mark.parametrize("strength", [0.0, 0.25])
def test_the_strength_is_a_factor_on_the_correction(strength):
    truth, start = random_patches(2), random_patches(2, seed=5)
    layer, measured = MagnitudeProjection(PROBE, 1), amplitudes(truth)
    layer.strength.assign(strength)
    amplitude, phase = layer(measured, np.abs(start), np.angle(start))
    expected = start + strength * (projected(measured, start) - start)
    np.testing.assert_allclose(amplitude.numpy() * np.exp(1j * phase.numpy()), expected, atol=1e-5)


def test_a_constant_phase_of_the_patch_stays_as_it_is():
    truth, start = random_patches(2), random_patches(2, seed=5)
    turned = projected(amplitudes(truth), start * np.exp(0.7j), 3)
    np.testing.assert_allclose(turned, projected(amplitudes(truth), start, 3) * np.exp(0.7j), atol=1e-4)


def test_gradients_of_the_correction_are_finite_in_the_dark():
    layer = MagnitudeProjection(PROBE, 2)
    amplitude, phase = tf.Variable(tf.zeros((1, SIDE, SIDE))), tf.Variable(tf.zeros((1, SIDE, SIDE)))
    with tf.GradientTape() as tape:
        total = tf.add_n([tf.reduce_sum(part) for part in layer(tf.zeros((1, SIDE, SIDE)), amplitude, phase)])
    assert all(np.isfinite(gradient.numpy()).all() for gradient in tape.gradient(total, [amplitude, phase]))


def test_the_gradient_of_the_correction_is_that_of_finite_differences():
    truth, start = random_patches(2), random_patches(2, seed=5)
    layer, measured = MagnitudeProjection(PROBE, 3), amplitudes(truth)
    goal = np.random.default_rng(6).normal(0, 1, (2, 2, SIDE, SIDE)).astype(np.float32)

    def value(phase):
        amplitude, angle = layer(measured, np.abs(start), phase)
        return tf.reduce_sum(goal[0] * amplitude + goal[1] * tf.sin(angle))  # sin: no jump at pi

    phase = tf.Variable(np.angle(start))
    with tf.GradientTape() as tape:
        total = value(phase)
    gradient = tape.gradient(total, phase).numpy()
    norm, step = np.sqrt(np.sum(gradient**2)), 2e-3
    ends = [float(value(phase + sign * step * gradient / norm)) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(norm, rel=0.01)
