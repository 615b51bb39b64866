from typing import get_args

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import shift

from ptycho.config.schema import ConvolutionActivation
from ptycho.models.layers import BackPropagation
from ptycho.models.networks import ACTIVATIONS, FILTERS, PositiveAmplitude, encoder_decoder
from ptycho.physics.diffraction import diffraction_amplitude
from ptycho.physics.probes import defocused_probe

POLICIES = ("float32", "mixed_bfloat16")


def probe(window):
    return defocused_probe(window, np.random.default_rng(0))


def patterns(window, n=3):
    return np.random.default_rng(1).gamma(0.5, 1, (n, window, window)).astype(np.float32)


def convolutions(network):
    return [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("window", [16, 24, 32])
def test_it_starts_from_an_empty_object(window, policy):
    predicted = encoder_decoder(probe(window), 0.125, policy, seed=0)(patterns(window))
    assert sorted(predicted) == ["amplitude", "phase"]
    for name, value in (("amplitude", 1), ("phase", 0)):
        image = predicted[name].numpy()
        assert image.shape == (3, window, window)
        assert image.dtype == np.float32
        assert 0 < image.std() < 0.05
        np.testing.assert_allclose(image, value, atol=0.2)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_amplitude_is_never_negative(activation):
    network = encoder_decoder(probe(16), 0.125, "float32", seed=0, amplitude_activation=activation)
    network.get_layer("amplitude_last").bias.assign(np.full(4, -30.0))
    amplitude = network(patterns(16))["amplitude"].numpy()
    assert (amplitude > 0).all()
    assert amplitude.max() < 1e-8


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_amplitude_is_1_at_0_positive_and_rising(activation):
    values = np.concatenate([[0], np.linspace(-20, 8, 200)]).astype(np.float32)
    amplitude = PositiveAmplitude(activation, dtype="float32")(values).numpy()
    assert amplitude[0] == pytest.approx(1, abs=1e-6)
    assert (amplitude > 0).all()
    assert (np.diff(amplitude[1:]) > 0).all()
    expected = {
        "softplus": np.log1p((np.e - 1) * np.exp(values.astype(float))),
        "sigmoid": 2 / (1 + np.exp(-values.astype(float))),
        "exponential": np.exp(values.astype(float)),
    }
    np.testing.assert_allclose(amplitude, expected[activation], rtol=1e-5)


def test_a_sigmoid_stays_below_2_and_the_others_do_not():
    largest = {name: float(PositiveAmplitude(name, dtype="float32")(np.float32(50.0))) for name in ACTIVATIONS}
    assert largest["sigmoid"] <= 2
    assert largest["softplus"] > 49
    assert largest["exponential"] > 1e20


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_activation_is_that_of_the_amplitude_alone(activation):
    network = encoder_decoder(probe(16), 0.125, "float32", seed=0, amplitude_activation=activation)
    before = network(patterns(16))
    np.testing.assert_allclose(before["amplitude"], 1, atol=0.2)
    for part in ("amplitude", "phase"):
        network.get_layer(f"{part}_last").bias.assign(np.full(4, 3.0))
    after = network(patterns(16))
    at_3 = {"softplus": np.log1p((np.e - 1) * np.exp(3)), "sigmoid": 2 / (1 + np.exp(-3)), "exponential": np.exp(3)}
    np.testing.assert_allclose(after["amplitude"], at_3[activation], rtol=0.1)
    np.testing.assert_allclose(after["phase"], before["phase"] + 3, atol=1e-5)


@pytest.mark.parametrize("activation", get_args(ConvolutionActivation))
def test_all_convolutions_but_the_last_have_the_activation(activation):
    network = encoder_decoder(probe(16), 0.125, "float32", seed=0, convolution_activation=activation)
    names = [keras.activations.serialize(layer.activation) for layer in convolutions(network)]
    assert names == [activation] * (len(names) - 2) + ["linear", "linear"]


@pytest.mark.parametrize(("activation", "learns"), [("leaky_relu", True), ("silu", True), ("relu", False)])
def test_a_layer_whose_outputs_are_all_negative_learns_on_except_with_relu(activation, learns):
    network = encoder_decoder(probe(16), 0.125, "float32", seed=0, convolution_activation=activation)
    layer = network.get_layer("decoder_conv0c")
    layer.bias.assign(np.full(layer.bias.shape, -5.0))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(network(patterns(16))["phase"] ** 2)
    assert (np.abs(tape.gradient(loss, layer.kernel)).max() > 0) == learns


def test_the_policy_rules_all_convolutions_but_the_last():
    network = encoder_decoder(probe(16), 0.125, "mixed_bfloat16", seed=0)
    last = [layer.name for layer in convolutions(network) if layer.compute_dtype == "float32"]
    assert last == ["amplitude_last", "phase_last"]
    assert all(layer.compute_dtype in ("float32", "bfloat16") for layer in convolutions(network))
    assert all(weight.dtype == "float32" for weight in network.weights)


def test_precision_changes_the_result_by_rounding_only():
    exact, rounded = (encoder_decoder(probe(16), 0.125, policy, seed=0)(patterns(16)) for policy in POLICIES)
    difference = np.abs(exact["phase"] - rounded["phase"]).max()
    assert 0 < difference < 0.05 * np.abs(exact["phase"]).max()  # bfloat16 keeps 8 bits, 0.4 %, in each of 12 layers


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_the_seed_makes_the_weights(seed):
    first, same, other = (
        encoder_decoder(probe(16), 0.125, "float32", seed=s).get_weights() for s in (seed, seed, seed - 1)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    random = [(a, b) for a, b in zip(first, other, strict=True) if a.ndim == 4]
    assert len(random) == 13
    assert not any(np.array_equal(a, b) for a, b in random)


def test_no_two_kernels_of_a_network_are_alike():
    kernels = [layer.kernel.numpy() for layer in convolutions(encoder_decoder(probe(16), 0.125, "float32", seed=4))]
    for i, a in enumerate(kernels):
        assert not any(a.shape == b.shape and np.array_equal(a, b) for b in kernels[:i])


@pytest.mark.parametrize(("scale", "expected"), [(1.0, FILTERS), (0.25, (8, 16, 32)), (0.01, (4, 4, 4))])
def test_filters_scale(scale, expected):
    network = encoder_decoder(probe(16), scale, "float32", seed=0)
    assert tuple(network.get_layer(f"encoder_conv{level}a").filters for level in range(3)) == expected


def test_amplitude_and_phase_have_a_last_convolution_each():
    network = encoder_decoder(probe(16), 0.125, "float32", seed=0)
    before = network(patterns(16))
    decoder = network.get_layer("phase_last")
    decoder.bias.assign(np.ones(4))
    after = network(patterns(16))
    np.testing.assert_array_equal(after["amplitude"], before["amplitude"])
    np.testing.assert_allclose(after["phase"], before["phase"] + 1, atol=1e-5)


def test_each_pattern_is_reconstructed_for_itself():
    network, images = encoder_decoder(probe(16), 0.125, "float32", seed=0), patterns(16)
    together = network(images)["phase"].numpy()
    alone = np.concatenate([network(image[None])["phase"] for image in images])
    np.testing.assert_allclose(alone, together, atol=1e-6)
    assert np.abs(together[0] - together[1]).max() > 1e-4


# neighbours ----------------------------------------------------------------------------------------------


def views(window, n=3, members=4):
    rng = np.random.default_rng(2)
    offsets_px = rng.uniform(-window / 2, window / 2, (n, members, 2)).astype(np.float32)
    offsets_px[:, 0] = 0
    return {"diffraction": rng.gamma(0.5, 1, (n, members, window, window)).astype(np.float32), "offsets_px": offsets_px}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("gridsize", [2, 3])
def test_groups_of_neighbours_start_from_an_empty_object_too(gridsize, policy):
    network = encoder_decoder(probe(16), 0.125, policy, seed=0, gridsize=gridsize)
    assert network.get_layer("channels").output.shape[1:] == (16, 16, 3 * gridsize**2)
    predicted = network(views(16, members=gridsize**2))
    for name, value in (("amplitude", 1), ("phase", 0)):
        assert predicted[name].shape == (3, 16, 16)
        assert predicted[name].dtype == "float32"
        np.testing.assert_allclose(predicted[name], value, atol=0.2)


def test_the_channels_of_a_group_are_its_patterns_and_its_registered_estimates():
    network, given = encoder_decoder(probe(16), 0.125, "float32", seed=0, gridsize=2), views(16)
    channels = keras.Model(network.input, network.get_layer("channels").output)(given).numpy()
    np.testing.assert_array_equal(channels[..., :4], given["diffraction"].transpose(0, 2, 3, 1))
    for j in range(4):
        estimate = BackPropagation(probe(16))(given["diffraction"][:, j]).numpy()
        for i, part in np.ndindex(3, 2):
            x, y = given["offsets_px"][i, j]
            expected = shift(estimate[i, ..., part], (y, x), order=1, mode="grid-constant", prefilter=False)
            np.testing.assert_allclose(channels[i, ..., 4 + 2 * j + part], expected, atol=1e-5)


def test_the_channels_of_a_pattern_alone_are_itself_and_its_estimate():
    network = encoder_decoder(probe(16), 0.125, "float32", seed=0)
    channels = keras.Model(network.input, network.get_layer("channels").output)(patterns(16)).numpy()
    np.testing.assert_array_equal(channels[..., 0], patterns(16))
    np.testing.assert_allclose(channels[..., 1:], BackPropagation(probe(16))(patterns(16)), atol=1e-6)


@pytest.mark.parametrize("part", ["diffraction", "offsets_px"])
def test_a_patch_depends_on_every_neighbour_and_its_position(part):
    network, given = encoder_decoder(probe(16), 0.125, "float32", seed=0, gridsize=2), views(16)
    before = network(given)["phase"].numpy()
    for j in range(1, 4):
        changed = given[part].copy()
        changed[1, j] += 1
        change = np.abs(network({**given, part: changed})["phase"].numpy() - before).max(axis=(1, 2))
        assert change[1] > 1e-5
        np.testing.assert_allclose(change[[0, 2]], 0, atol=1e-7)  # and from no other group


# projections ---------------------------------------------------------------------------------------------


def misfit(network, measured):
    predicted = network(measured)
    patches = predicted["amplitude"].numpy() * np.exp(1j * predicted["phase"].numpy())
    return np.sum((diffraction_amplitude(probe(16), patches) - measured) ** 2)


def test_projections_bring_patches_closer_to_their_patterns():
    measured = patterns(16)
    misfits = [
        misfit(encoder_decoder(probe(16), 0.125, "float32", seed=0, projections=count), measured)
        for count in (0, 1, 4, 10)
    ]
    assert misfits == sorted(misfits, reverse=True)
    assert misfits[-1] < 0.8 * misfits[0]


def test_projections_add_nothing_that_is_trained():
    with_, without = (encoder_decoder(probe(16), 0.125, "float32", seed=0, projections=count) for count in (3, 0))
    for one, other in zip(with_.trainable_weights, without.trainable_weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_group_is_corrected_by_its_first_pattern():
    network = encoder_decoder(probe(16), 0.125, "float32", seed=0, gridsize=2, projections=4)
    group = {"diffraction": patterns(16, 8).reshape(2, 4, 16, 16), "offsets_px": np.zeros((2, 4, 2), np.float32)}
    predicted = network(group)
    patches = predicted["amplitude"].numpy() * np.exp(1j * predicted["phase"].numpy())
    expected = diffraction_amplitude(probe(16), patches)
    misfits = [np.sum((expected - group["diffraction"][:, member]) ** 2) for member in range(4)]
    assert misfits[0] < 0.8 * min(misfits[1:])
