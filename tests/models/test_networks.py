import keras
import numpy as np
import pytest

from ptycho.data.specimen import defocused_probe
from ptycho.models.networks import FILTERS, encoder_decoder

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


def test_amplitude_is_never_negative():
    network = encoder_decoder(probe(16), 0.125, "float32", seed=0)
    network.get_layer("amplitude_last").bias.assign(np.full(4, -30.0))
    amplitude = network(patterns(16))["amplitude"].numpy()
    assert (amplitude >= 0).all()
    assert amplitude.max() < 1e-8


def test_the_policy_rules_all_convolutions_but_the_last():
    network = encoder_decoder(probe(16), 0.125, "mixed_bfloat16", seed=0)
    last = [layer.name for layer in convolutions(network) if layer.compute_dtype == "float32"]
    assert last == ["amplitude_last", "phase_last"]
    assert all(layer.compute_dtype in ("float32", "bfloat16") for layer in convolutions(network))
    assert all(weight.dtype == "float32" for weight in network.weights)


def test_precision_changes_the_result_by_rounding_only():
    exact, rounded = (encoder_decoder(probe(16), 0.125, policy, seed=0)(patterns(16)) for policy in POLICIES)
    difference = np.abs(exact["phase"] - rounded["phase"]).max()
    assert 0 < difference < 0.05 * np.abs(exact["phase"]).max()  # bfloat16 keeps 8 bits, 0.4 %, in each of 11 layers


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_the_seed_makes_the_weights(seed):
    first, same, other = (
        encoder_decoder(probe(16), 0.125, "float32", seed=s).get_weights() for s in (seed, seed, seed - 1)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    random = [(a, b) for a, b in zip(first, other, strict=True) if a.ndim == 4]
    assert len(random) == 18
    assert not any(np.array_equal(a, b) for a, b in random)


def test_no_two_kernels_of_a_network_are_alike():
    kernels = [layer.kernel.numpy() for layer in convolutions(encoder_decoder(probe(16), 0.125, "float32", seed=4))]
    for i, a in enumerate(kernels):
        assert not any(a.shape == b.shape and np.array_equal(a, b) for b in kernels[:i])


@pytest.mark.parametrize(("scale", "expected"), [(1.0, FILTERS), (0.25, (8, 16, 32)), (0.01, (4, 4, 4))])
def test_filters_scale(scale, expected):
    network = encoder_decoder(probe(16), scale, "float32", seed=0)
    assert tuple(network.get_layer(f"encoder_conv{level}a").filters for level in range(3)) == expected


def test_the_decoders_share_the_encoder_and_nothing_else():
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
