from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from ptycho.config.schema import BaselineConfig, PinnConfig
from ptycho.data.dataset import Dataset
from ptycho.data.sampling import REACH
from ptycho.errors import InputError
from ptycho.models import baseline, inference, pinn
from ptycho.physics.probes import defocused_probe

SIDE = 16


def make(module, config):
    model = module.build(defocused_probe(SIDE, np.random.default_rng(0)), config, seed=1)
    for part in ("amplitude", "phase"):  # so that patches differ
        kernel = model.network.get_layer(f"{part}_last").kernel
        kernel.assign(np.random.default_rng(2).normal(0, 0.2, kernel.shape))
    return model


@pytest.fixture(scope="module")
def model():
    return make(baseline, BaselineConfig(0.125, projections=0))


def data(n, side=SIDE, spread_px=60.0):
    rng = np.random.default_rng(1)
    return Dataset(
        diffraction=rng.gamma(0.5, 1, (n, side, side)).astype(np.float32),
        xcoords=rng.uniform(0, spread_px, n),
        ycoords=rng.uniform(0, spread_px, n),
        probe=np.ones((side, side), np.complex64),
        object=None,
        patches=None,
        scan_index=np.arange(n),
    )


def as_complex(predicted):
    return predicted["amplitude"].numpy() * np.exp(1j * predicted["phase"].numpy())


@pytest.mark.parametrize("n", [1, inference.BATCH, inference.BATCH + 3])
def test_patches_are_the_networks_output_in_order(model, n):
    patches = inference.reconstruct_patches(model, data(n))
    assert patches.shape == (n, SIDE, SIDE)
    assert patches.dtype == np.complex64
    np.testing.assert_allclose(patches, as_complex(model.network(data(n).diffraction)), atol=1e-5)
    assert n == 1 or np.abs(patches[0] - patches[-1]).max() > 0.1


def test_both_models_are_read_alike(model):
    patches = inference.reconstruct_patches(make(pinn, PinnConfig(0.125, projections=0)), data(3))
    np.testing.assert_array_equal(patches, inference.reconstruct_patches(model, data(3)))  # of one seed


@pytest.mark.parametrize("trained_with", [None, "other"])
def test_projections_use_the_mask_of_the_scan(trained_with):
    bad, other = np.zeros((2, SIDE, SIDE), bool)
    bad[SIDE // 2, SIDE // 2], other[2, 3] = True, True
    config, probe = BaselineConfig(0.125, projections=4), defocused_probe(SIDE, np.random.default_rng(0))
    model = baseline.build(probe, config, seed=1, bad_pixels=other if trained_with else None)
    expected = baseline.build(probe, config, seed=1, bad_pixels=bad)
    scan = replace(data(3), bad_pixels=bad)
    scan.diffraction[:, bad] = 0
    patches = inference.reconstruct_patches(model, scan)
    np.testing.assert_allclose(patches, as_complex(expected.network(scan.diffraction)), rtol=1e-4, atol=1e-4)
    unmasked = inference.reconstruct_patches(model, replace(scan, bad_pixels=None))
    assert np.abs(unmasked - patches).max() > 0.1


@pytest.mark.parametrize("gridsize", [1, 2])
def test_the_size_of_batches_changes_nothing(monkeypatch, gridsize):
    model = make(baseline, BaselineConfig(0.125, gridsize=gridsize, projections=0))
    whole = inference.reconstruct_patches(model, data(10))
    monkeypatch.setattr(inference, "BATCH", 3)
    np.testing.assert_allclose(inference.reconstruct_patches(model, data(10)), whole, atol=1e-5)


@pytest.mark.parametrize("module", [(pinn, PinnConfig), (baseline, BaselineConfig)])
@pytest.mark.parametrize("n", [1, 3, 20])
def test_with_a_gridsize_each_patch_depends_on_its_nearest_neighbours(module, n):
    model, scan = make(module[0], module[1](0.125, gridsize=2, projections=0)), data(n, spread_px=20)
    distance = np.maximum(*(np.abs(np.subtract.outer(axis, axis)) for axis in (scan.xcoords, scan.ycoords)))
    near = [[i for i in np.argsort(line)[:4] if line[i] < REACH * SIDE] for line in distance]
    groups = np.array([np.resize(group, 4) for group in near])
    offsets_px = [axis[groups] - axis[:, None] for axis in (scan.xcoords, scan.ycoords)]
    given = {"diffraction": scan.diffraction[groups], "offsets_px": np.stack(offsets_px, -1).astype(np.float32)}
    patches = inference.reconstruct_patches(model, scan)
    assert patches.shape == (n, SIDE, SIDE)
    np.testing.assert_allclose(patches, as_complex(model.network(given)), atol=1e-5)
    moved = replace(scan, xcoords=scan.xcoords - 3000, ycoords=scan.ycoords + 70)
    np.testing.assert_allclose(inference.reconstruct_patches(model, moved), patches, atol=1e-4)
    if n > 1:
        lonely = replace(scan, xcoords=1000.0 * np.arange(n))
        assert np.abs(inference.reconstruct_patches(model, lonely) - patches).max() > 0.01


@pytest.mark.parametrize("module", [(pinn, PinnConfig), (baseline, BaselineConfig)])
@pytest.mark.parametrize(
    ("activation", "amplitude"), [("softplus", 50.5), ("sigmoid", 2.0), ("exponential", np.exp(50))]
)
def test_the_amplitude_is_kept_positive_as_configured(module, activation, amplitude):
    model = module[0].build(
        np.ones((SIDE, SIDE), np.complex64), module[1](0.125, amplitude_activation=activation, projections=0)
    )
    model.network.get_layer("amplitude_last").bias.assign(np.full(4, 50.0))
    np.testing.assert_allclose(np.abs(inference.reconstruct_patches(model, data(2))), amplitude, rtol=0.2)


def test_positions_do_not_matter_without_a_gridsize(model):
    scan = data(5)
    moved = replace(scan, xcoords=scan.xcoords[::-1])
    np.testing.assert_array_equal(
        inference.reconstruct_patches(model, moved), inference.reconstruct_patches(model, scan)
    )


def test_patterns_that_are_read_when_they_are_needed_give_the_same(model):
    lazy = data(9).select(np.arange(9))
    assert not isinstance(lazy.diffraction, np.ndarray)
    np.testing.assert_array_equal(
        inference.reconstruct_patches(model, lazy), inference.reconstruct_patches(model, data(9))
    )


@pytest.mark.parametrize("side", [8, 32])
@pytest.mark.parametrize("gridsize", [1, 2])
def test_patterns_of_another_size_are_refused(side, gridsize):
    model = make(baseline, BaselineConfig(0.125, gridsize=gridsize, projections=0))
    with pytest.raises(InputError, match=f"patterns of {side} pixels, but the model was trained on 16") as caught:
        inference.reconstruct_patches(model, data(4, side))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("gridsize", [1, 2])
def test_too_little_memory_is_explained_in_one_line(gridsize):
    model = make(baseline, BaselineConfig(0.125, gridsize=gridsize, projections=0))

    class Exhausted:
        output = model.network.output
        input = model.network.input
        layers = model.network.layers

        def __call__(self, inputs, training):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nmore lines")

    model = SimpleNamespace(network=Exhausted(), config=model.config)
    with pytest.raises(InputError, match=r"^out of memory \(.*OOM when allocating tensor.*\): fewer jobs") as caught:
        inference.reconstruct_patches(model, data(4))
    assert "micro_batches" not in str(caught.value)  # is of trainings
    assert "\n" not in str(caught.value)
