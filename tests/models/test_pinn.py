from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from ptycho.config.schema import PinnConfig, TrainingConfig
from ptycho.models import losses, pinn, training
from ptycho.models.layers import CANVAS_FLOOR
from ptycho.models.loaders import NeighbourLoader, PatternGroups
from ptycho.models.networks import encoder_decoder
from ptycho.physics import diffraction
from ptycho.preparation.scan import simulate
from ptycho.preparation.specimen import specimen

SIDE, CANVAS, N_PHOTONS = 16, 48, 1e6
SMALL = PinnConfig(n_filters_scale=0.125, projections=0)


@pytest.fixture(scope="module")
def data():
    """32 patterns without a trace of the truth."""
    whole = simulate(specimen(48, SIDE, 1.5, 0.3, seed=3), 32, N_PHOTONS, seed=4).loaded()
    return replace(whole, patches=None, object=None)


@pytest.fixture(scope="module")
def truth():
    return simulate(specimen(48, SIDE, 1.5, 0.3, seed=3), 32, N_PHOTONS, seed=4).patches[:]


def target(data, n=32, centre=24.0, known=()):
    """Return what a step of ``n`` measured patterns is compared with, and of augmented ones whose patches are known."""
    positions = np.stack([data.xcoords, data.ycoords], axis=1)[:n] - centre
    return {
        "diffraction": data.diffraction[:n],
        "positions_px": positions.astype(np.float32),
        "patches": np.reshape(np.asarray(known, np.complex64), (-1, SIDE, SIDE)),
    }


def prediction(patches):
    return {
        "amplitude": tf.constant(np.abs(patches), tf.float32),
        "phase": tf.constant(np.angle(patches), tf.float32),
    }


def loss_of(model, data, patches, training=True):
    return float(model.compute_loss(y=target(data, len(patches)), y_pred=prediction(patches), training=training))


# the loss, against numpy in float64 ----------------------------------------------------------------------


def numpy_deviance(measured, expected):
    k, r = measured + losses.DARK, expected + losses.DARK
    return (r - k - k * np.log(r / k)).sum() / measured.sum()


def numpy_canvas(patches, positions, probe):
    brightness = np.abs(probe) ** 2
    weight = brightness / brightness.max() + CANVAS_FLOOR
    total, merged, windows = np.zeros((CANVAS, CANVAS)), np.zeros((CANVAS, CANVAS), complex), []
    pixels = np.arange(SIDE)
    for patch, (x, y) in zip(patches, positions + (CANVAS - SIDE) / 2, strict=True):
        left, top = int(np.floor(x)), int(np.floor(y))
        for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            share = (y - top if down else 1 - y + top) * (x - left if right else 1 - x + left)
            index = np.ix_(pixels + top + down, pixels + left + right)
            total[index] += share * weight
            merged[index] += share * weight * patch
            windows.append((share, index))
    merged /= np.where(total > 0, total, 1)
    return np.array([share * merged[index] for share, index in windows]).reshape(-1, 4, SIDE, SIDE).sum(axis=1)


def numpy_amplitude_error(measured, expected):
    root, other = np.sqrt(measured + losses.DARK), np.sqrt(expected + losses.DARK)
    return np.abs(root - other).sum() / root.sum()


def numpy_patch_error(patches, known, probe):
    share = np.abs(probe) ** 2 / (np.abs(probe) ** 2).sum()
    return (share * np.sqrt(np.abs(patches - known) ** 2 + losses.DARK)).sum() / max(len(patches), 1)


def numpy_loss(amplitude, phase, log_scale, probe, data, config, known):
    """The loss of eight measured patches and of augmented ones behind them."""
    patches = amplitude * np.exp(1j * phase)
    patches, augmented = patches[:8], patches[8:]
    measured = data.diffraction[:8].astype(float) ** 2

    def misfit(seen):
        expected = np.abs(diffraction.far_field(probe * seen)) ** 2 * np.exp(log_scale)
        return numpy_deviance(measured, expected) + config.amplitude_weight * numpy_amplitude_error(measured, expected)

    start = data.probe.astype(complex)  # the weight of merging and of augmented patches
    merged = numpy_canvas(patches, target(data, 8)["positions_px"].astype(float), start)
    return (
        config.overlap_weight * misfit(merged)
        + config.pattern_weight * misfit(patches)
        + config.real_space_weight * numpy_patch_error(augmented, known, start)
    )


@pytest.fixture(scope="module")
def rough():
    """Eight patches that are far from the truth: amplitude, phase."""
    rng = np.random.default_rng(5)
    return rng.uniform(0.6, 1.2, (8, SIDE, SIDE)), rng.normal(0, 0.7, (8, SIDE, SIDE))


@pytest.fixture(scope="module")
def rough_augmented():
    """Three patches beside them: amplitude, phase, and what is known of them."""
    rng = np.random.default_rng(8)
    known = rng.normal(size=(3, SIDE, SIDE)) + 1j * rng.normal(size=(3, SIDE, SIDE))
    return rng.uniform(0.6, 1.2, (3, SIDE, SIDE)), rng.normal(0, 0.7, (3, SIDE, SIDE)), known


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize(
    "weights",
    [
        {"overlap_weight": 1.0, "pattern_weight": 0.5},
        {"overlap_weight": 0.3, "pattern_weight": 0.0, "real_space_weight": 2.0},
        {"overlap_weight": 2.0, "pattern_weight": 1.0, "amplitude_weight": 0.7, "trainable_probe": True},
        {"overlap_weight": 0.0, "pattern_weight": 0.0, "real_space_weight": 0.4},
    ],
)
def test_loss_and_gradient_are_those_of_the_numpy_twin(data, rough, rough_augmented, weights, augmented):
    config, probe = replace(SMALL, **weights), data.probe.astype(complex)
    model = pinn.build(data.probe, config, canvas_px=CANVAS)
    model.diffraction.log_scale.assign(0.2)
    count = 3 if augmented else 0
    *more, known = (part[:count] for part in rough_augmented)
    amplitude, phase = (np.concatenate(pair) for pair in zip(rough, more, strict=True))
    values = {"amplitude": tf.constant(amplitude, tf.float32), "phase": tf.constant(phase, tf.float32)}
    sources = [values, model.diffraction.log_scale.value, model.diffraction.parts.value]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        loss = model.compute_loss(y=target(data, 8, known=known), y_pred=values)
    assert loss.dtype == tf.float32
    expected = numpy_loss(amplitude, phase, 0.2, probe, data, config, known)
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    by_values, *others = tape.gradient(loss, sources, unconnected_gradients="zero")
    gradient = [by_values["amplitude"], by_values["phase"], *others]

    def slope(direction, step=1e-5):  # central difference along (amplitude, phase, log_scale, probe)
        da, dp, ds, db = (step * part for part in direction)
        db = db[..., 0] + 1j * db[..., 1]
        ends = [
            numpy_loss(amplitude + s * da, phase + s * dp, 0.2 + s * ds, probe + s * db, data, config, known)
            for s in (1, -1)
        ]
        return (ends[0] - ends[1]) / (2 * step)

    def zero():
        return [np.zeros(part.shape) for part in gradient]

    rng = np.random.default_rng(6)
    for part in (0, 1):
        largest = np.abs(gradient[part]).max()
        for pixel in [(3, 8, 8), (0, 6, 9), *(tuple(rng.integers((8 + count, SIDE, SIDE))) for _ in range(4))]:
            direction = zero()
            direction[part][pixel] = 1
            assert gradient[part][pixel].numpy() == pytest.approx(slope(direction), rel=1e-2, abs=1e-4 * float(largest))
    for part in range(4):
        direction = zero()
        direction[part] += rng.normal(size=gradient[part].shape)
        along = (gradient[part].numpy() * direction[part]).sum()
        assert along == pytest.approx(slope(direction), rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("gridsize", [1, 2])
@pytest.mark.parametrize("augmented", [False, True])
def test_the_gradient_of_weights_is_that_of_finite_differences(data, truth, gridsize, augmented):
    config = replace(SMALL, gridsize=gridsize, trainable_probe=True, amplitude_weight=0.1)
    model = pinn.build(data.probe, config, seed=1, canvas_px=CANVAS)
    rng = np.random.default_rng(7)
    for part in ("amplitude", "phase"):  # away from the start, where the network's depth hardly counts
        kernel = model.network.get_layer(f"{part}_last").kernel
        kernel.assign(rng.normal(0, 0.1, kernel.shape))
    count = 3 if augmented else 0
    seen = PatternGroups(data, gridsize)[np.arange(8 + count)]
    y = target(data, 8, known=truth[8 : 8 + count])

    def loss():
        return model.compute_loss(y=y, y_pred=model(seen, training=True))

    chosen = [
        model.network.get_layer(name).kernel
        for name in ("encoder_conv0a", "encoder_conv2b", "decoder_conv1b", "amplitude_last", "phase_last")
    ]
    chosen.append(model.diffraction.parts)
    with tf.GradientTape() as tape:
        value = loss()
    for weight, gradient in zip(chosen, tape.gradient(value, chosen), strict=True):
        # along the gradient itself; float32 knows the loss to 1e-7 or so, and relu has kinks
        norm, middle = float(tf.norm(gradient)), tf.identity(weight)
        assert norm > 0
        step = 1e-4 * float(value) / norm
        ends = []
        for sign in (1, -1):
            weight.assign(middle + sign * step * gradient / norm)
            ends.append(float(loss()))
        weight.assign(middle)
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(norm, rel=0.01)


@pytest.mark.parametrize(("gridsize", "projections"), [(1, 0), (2, 0), (1, 2), (2, 2)])
def test_in_parts_a_batch_has_the_same_loss_and_gradients(data, truth, gridsize, projections):
    config = replace(SMALL, gridsize=gridsize, projections=projections, trainable_probe=True)
    model = pinn.build(data.probe, config, seed=1, canvas_px=CANVAS)
    seen, y = PatternGroups(data, gridsize)[np.arange(11)], target(data, 8, known=truth[8:11])

    @tf.function  # as in training
    def step():
        with tf.GradientTape() as tape:
            loss = model.compute_loss(y=y, y_pred=model(seen, training=True))
        return loss, tape.gradient(loss, model.trainable_variables)

    steps = []
    for model.micro_batches in (1, 3):
        step = tf.function(step.python_function)
        steps.append(step())
    for loss, gradients in steps[1:]:
        assert float(loss) == pytest.approx(float(steps[0][0]), rel=1e-6)
        for gradient, whole in zip(gradients, steps[0][1], strict=True):
            # rounding is 6e-5 of the norm or less; elements that nearly cancel have no relative precision
            assert tf.norm(whole) > 0
            assert tf.norm(gradient - whole) < 2e-4 * tf.norm(whole)


# what the loss means -------------------------------------------------------------------------------------


def test_the_truth_is_left_with_the_noise_alone(data, truth):
    # Wilks: half a count a lit pixel; dark pixels have less. Merging blurs, and so costs more than noise.
    model = pinn.build(data.probe, SMALL, canvas_px=CANVAS)
    alone = loss_of(model, data, truth, training=False)
    assert 0.1 * SIDE**2 / N_PHOTONS < alone < 0.6 * SIDE**2 / N_PHOTONS
    wrong = [1.05 * truth, truth.conj(), truth[::-1], np.roll(truth, 1, axis=2), np.ones_like(truth)]
    assert all(loss_of(model, data, patches, training=False) > 5 * alone for patches in wrong)


def test_the_overlap_term_sees_what_single_patterns_do_not(data, truth):
    # no pattern shows the phase of its patch as a whole; neighbours do
    model = pinn.build(data.probe, replace(SMALL, pattern_weight=0), canvas_px=CANVAS)
    turned = truth * np.exp(1j * np.linspace(0, 6, 32))[:, None, None]
    alone = [loss_of(model, data, patches, training=False) for patches in (truth, turned)]
    merged = [loss_of(model, data, patches) for patches in (truth, turned)]
    assert alone[1] == pytest.approx(alone[0], rel=1e-2)
    assert merged[1] > 5 * merged[0]


def test_without_overlap_weight_each_patch_answers_for_itself(data, rough):
    patches = rough[0] * np.exp(1j * rough[1])
    model = pinn.build(data.probe, replace(SMALL, overlap_weight=0, pattern_weight=1), canvas_px=CANVAS)
    expected = np.abs(diffraction.far_field(data.probe.astype(complex) * patches)) ** 2
    expected = numpy_deviance(data.diffraction[:8].astype(float) ** 2, expected)
    assert loss_of(model, data, patches) == pytest.approx(expected, rel=1e-4)
    assert loss_of(model, data, patches, training=False) == pytest.approx(expected, rel=1e-4)


def test_the_intensity_scale_makes_up_for_a_probe_of_another_brightness(data, truth):
    # d loss / d log_scale = sum(r - k) / sum k for either term alone; zero where the totals agree
    for factor in (0.5, 3.0):
        model = pinn.build(factor * data.probe, replace(SMALL, overlap_weight=0, pattern_weight=1), canvas_px=CANVAS)
        scale = model.diffraction.log_scale
        slopes = []
        for value in (0.0, -2 * np.log(factor)):
            scale.assign(value)
            with tf.GradientTape() as tape:
                loss = model.compute_loss(y=target(data), y_pred=prediction(truth))
            slopes.append(float(tape.gradient(loss, scale)))
        assert slopes[0] == pytest.approx(factor**2 - 1, rel=1e-2)
        assert slopes[1] == pytest.approx(0, abs=2e-3)  # photon noise of 32 x 1e6, and rounding


@pytest.mark.parametrize("trainable", [True, False])
def test_the_intensity_scale_is_trained_only_where_configured(data, trainable):
    model = pinn.build(data.probe, replace(SMALL, trainable_intensity_scale=trainable))
    scales = [weight for weight in model.trainable_weights if "log_intensity_scale" in weight.path]
    assert len(scales) == trainable
    assert sum("log_intensity_scale" in weight.path for weight in model.weights) == 1
    assert not any("probe" in weight.path for weight in model.trainable_weights)


def test_made_patches_have_no_say_in_validation_and_none_in_the_likelihood(data, truth):
    model = pinn.build(data.probe, SMALL, canvas_px=CANVAS)
    alone = loss_of(model, data, truth[:8])
    both = prediction(truth[:12])
    known = model.compute_loss(y=target(data, 8, known=truth[8:12]), y_pred=both)
    assert float(known) == pytest.approx(alone + SMALL.real_space_weight * np.sqrt(losses.DARK), rel=1e-4)
    turned = model.compute_loss(y=target(data, 8, known=-truth[8:12]), y_pred=both)
    share = np.abs(data.probe) ** 2 / (np.abs(data.probe) ** 2).sum()
    error = (share * 2 * np.abs(truth[8:12])).sum() / 4  # what no pattern shows: the phase as a whole
    assert float(turned) == pytest.approx(alone + SMALL.real_space_weight * error, rel=1e-3)
    validated = model.compute_loss(
        y={"diffraction": data.diffraction[:8]}, y_pred=prediction(truth[:8]), training=False
    )
    assert float(validated) == pytest.approx(loss_of(model, data, truth[:8], training=False), rel=1e-6)


# build and training --------------------------------------------------------------------------------------


def test_it_predicts_what_the_shared_network_of_its_seed_does(data):
    model = pinn.build(data.probe, SMALL, seed=2)
    predicted = model(data.diffraction)
    expected = encoder_decoder(data.probe, 0.125, "float32", seed=2)(data.diffraction)
    for name in ("amplitude", "phase"):
        np.testing.assert_array_equal(predicted[name], expected[name])


def test_the_loss_is_float32_in_mixed_precision(data):
    model = pinn.build(data.probe, SMALL, policy="mixed_bfloat16", canvas_px=CANVAS)
    loss = model.compute_loss(y=target(data), y_pred=model(data.diffraction))
    assert loss.dtype == tf.float32
    assert 0 < float(loss) < 2


@pytest.mark.parametrize(("projections", "left"), [(0, 0.3), (4, 0.6)])  # projections lower the misfit before, too
def test_it_learns_from_patterns_alone(projections, left):
    simulated = simulate(specimen(64, SIDE, 3.0, 0.3, seed=3), 48, N_PHOTONS, seed=4).loaded()
    lit_truth = simulated.probe * simulated.patches
    data = replace(simulated, patches=None, object=None)
    batches = NeighbourLoader(data, 8, seed=1)
    config = replace(SMALL, n_filters_scale=0.25, projections=projections)
    model = pinn.build(data.probe, config, seed=1, canvas_px=batches.canvas_px)

    def state():
        predicted = model(data.diffraction)
        patches = predicted["amplitude"].numpy() * np.exp(1j * predicted["phase"].numpy())
        lit = data.probe * patches
        similarity = abs(np.vdot(lit, lit_truth)) / np.linalg.norm(lit) / np.linalg.norm(lit_truth)
        return loss_of(model, data, patches, training=False), similarity

    before = state()
    history = training.fit(model, batches, None, TrainingConfig(epochs=80, learning_rate=3e-3))
    after = state()
    assert history["status"] == "ok"
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert after[0] < left * before[0]
    # what is missing to a truth it never saw, all patches and the phase between them, shrinks
    assert 1 - after[1] < 0.8 * (1 - before[1])
    assert float(model.diffraction.log_scale) != 0
    np.testing.assert_array_equal(model.canvas.probe, data.probe)


@pytest.mark.parametrize("trainable", [True, False])
def test_the_probe_of_the_physics_is_trained_where_configured_and_no_other(data, trainable):
    model = pinn.build(data.probe, replace(SMALL, trainable_probe=trainable), canvas_px=CANVAS)
    probes = {weight.path: weight.numpy() for weight in model.weights if "probe" in weight.path}
    assert sorted(probes) == ["diffraction_model/probe", "estimate/probe", "overlap/probe"]
    trained = [weight.path for weight in model.trainable_weights if "probe" in weight.path]
    assert trained == ["diffraction_model/probe"] * trainable
    batches = NeighbourLoader(data, 8, seed=1)
    model = pinn.build(data.probe, replace(SMALL, trainable_probe=trainable), canvas_px=batches.canvas_px)
    training.fit(model, batches, None, TrainingConfig(epochs=1))
    for weight in model.weights:
        if weight.path in probes:
            changed = np.abs(weight.numpy() - probes[weight.path]).max() > 1e-4
            assert changed == (weight.path in trained), weight.path


def test_a_probe_that_is_a_little_off_is_refined(data, truth):
    # nothing but the probe is wrong: its gradient leads back
    noise = np.random.default_rng(3).normal(size=(2, SIDE, SIDE)) * 0.1 * np.abs(data.probe).max()
    wrong = (data.probe + noise[0] + 1j * noise[1]).astype(np.complex64)
    config = replace(SMALL, trainable_probe=True, trainable_intensity_scale=False, overlap_weight=0)
    model = pinn.build(wrong, config, canvas_px=CANVAS)
    optimizer, parts = tf.keras.optimizers.Adam(2e-2), model.diffraction.parts
    before = loss_of(model, data, truth)
    for _ in range(100):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(y=target(data), y_pred=prediction(truth))
        optimizer.apply([tape.gradient(loss, parts)], [parts])
    assert loss_of(model, data, truth) < 0.05 * before
    angle = np.angle(np.vdot(model.diffraction.probe, data.probe))  # no pattern shows it
    off = np.abs(np.exp(1j * angle) * model.diffraction.probe - data.probe)
    assert (off**2).sum() < 0.3 * (np.abs(wrong - data.probe) ** 2).sum()


@pytest.mark.parametrize("projections", [0, 4])
def test_bad_pixels_change_no_loss(data, projections):
    config = replace(SMALL, projections=projections)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[SIDE // 2, SIDE // 2] = mask[3, 5] = True
    model = pinn.build(data.probe, config, bad_pixels=mask, canvas_px=CANVAS)
    unmasked = pinn.build(data.probe, config, canvas_px=CANVAS)
    patterns = data.diffraction[:4]
    wrong = patterns.copy()
    wrong[:, mask] = 50.0

    def loss(model, measured):
        y = target(data, 4) | {"diffraction": measured, "positions_px": np.zeros((4, 2), np.float32)}
        return float(model.compute_loss(y=y, y_pred=model(patterns), training=True))

    assert loss(model, wrong) == pytest.approx(loss(model, patterns), rel=1e-6)
    assert abs(loss(unmasked, wrong) - loss(unmasked, patterns)) > 0.1
