import numpy as np
import pytest

from ptycho.config import BaselineConfig, PinnConfig
from ptycho.data.specimen import defocused_probe
from ptycho.errors import InputError
from ptycho.models import baseline, inference, pinn

SIDE = 16


def make(module, config):
    model = module.build(defocused_probe(SIDE, np.random.default_rng(0)), config, seed=1)
    for part in ("amplitude", "phase"):  # so that patches differ
        kernel = model.network.get_layer(f"{part}_last").kernel
        kernel.assign(np.random.default_rng(2).normal(0, 0.2, kernel.shape))
    return model


@pytest.fixture(scope="module")
def model():
    return make(baseline, BaselineConfig(0.125))


def patterns(n):
    return np.random.default_rng(1).gamma(0.5, 1, (n, SIDE, SIDE)).astype(np.float32)


@pytest.mark.parametrize("n", [1, inference.BATCH, inference.BATCH + 3])
def test_patches_are_the_networks_output_in_order(model, n):
    predicted = model.network(patterns(n))
    expected = predicted["amplitude"].numpy() * np.exp(1j * predicted["phase"].numpy())
    patches = inference.reconstruct_patches(model, patterns(n))
    assert patches.shape == (n, SIDE, SIDE)
    assert patches.dtype == np.complex64
    np.testing.assert_allclose(patches, expected, atol=1e-5)
    assert n == 1 or np.abs(patches[0] - patches[-1]).max() > 0.1


def test_both_models_are_read_alike(model):
    patches = inference.reconstruct_patches(make(pinn, PinnConfig(0.125)), patterns(3))
    np.testing.assert_array_equal(patches, inference.reconstruct_patches(model, patterns(3)))  # of one seed


def test_the_size_of_batches_changes_nothing(model, monkeypatch):
    whole = inference.reconstruct_patches(model, patterns(10))
    monkeypatch.setattr(inference, "BATCH", 3)
    np.testing.assert_allclose(inference.reconstruct_patches(model, patterns(10)), whole, atol=1e-5)


def test_no_patterns_give_no_patches(model):
    assert inference.reconstruct_patches(model, patterns(0)).shape == (0, SIDE, SIDE)


@pytest.mark.parametrize("shape", [(4, 32, 32), (4, 16, 32), (4, 8, 8), (16, 16), (4, 16, 16, 1)])
def test_patterns_of_another_size_are_refused(model, shape):
    with pytest.raises(InputError, match=r"trained on \(n, 16, 16\)") as caught:
        inference.reconstruct_patches(model, np.ones(shape, np.float32))
    assert "\n" not in str(caught.value)
