"""Patches of random constant phase agree after synchronization, whatever the constants were."""

import numpy as np
import pytest

from ptycho.physics.patches import extract_patches
from ptycho.physics.stitching import stitch
from ptycho.physics.synchronization import phase_offsets


@pytest.fixture(scope="module")
def scan():
    """Patches (60, 32, 32) of an object, positions, probe and object."""
    rng = np.random.default_rng(0)
    truth = np.exp(1j * np.clip(rng.normal(0, 0.4, (120, 130)), -1.2, 1.2))
    x, y = rng.uniform(16, 113, 60), rng.uniform(16, 103, 60)
    axis = np.arange(32) - 16
    probe = np.exp(-(axis[:, None] ** 2 + axis**2) / 60).astype(complex)
    return extract_patches(truth, x, y, 32), x, y, probe, truth


def spread(values):
    """Standard deviation of angles, radians, around their circular mean."""
    return np.std(np.angle(values / values.mean()))


def test_random_constants_are_recovered(scan):
    patches, x, y, probe, _ = scan
    constants = np.random.default_rng(1).uniform(-np.pi, np.pi, len(patches))
    found = phase_offsets(patches * np.exp(1j * constants)[:, None, None], x, y, probe)
    assert spread(np.exp(1j * (found + constants))) < 0.05  # positions are rounded to pixels


def test_stitched_object_does_not_depend_on_constants(scan):
    patches, x, y, probe, truth = scan
    constants = np.random.default_rng(2).uniform(-np.pi, np.pi, len(patches))

    def stitched(factors):
        turned = patches * factors[:, None, None]
        aligned = turned * np.exp(1j * phase_offsets(turned, x, y, probe))[:, None, None]
        return stitch(aligned, x, y, probe, truth.shape, 16).object

    one, other = stitched(np.ones(len(patches))), stitched(np.exp(1j * constants))
    phase = np.angle(np.vdot(one, other))
    np.testing.assert_allclose(other * np.exp(-1j * phase), one, atol=2e-3)


def test_order_of_patterns_changes_nothing(scan):
    patches, x, y, probe, _ = scan
    patches = patches * np.exp(1j * np.random.default_rng(3).uniform(-1, 1, len(patches)))[:, None, None]
    order = np.random.default_rng(4).permutation(len(patches))
    found = phase_offsets(patches[order], x[order], y[order], probe)
    np.testing.assert_allclose(found, phase_offsets(patches, x, y, probe)[order], atol=1e-3)


def test_separate_groups_keep_their_mean_and_lone_patches_their_phase(scan):
    patches, x, y, probe, _ = scan
    x = np.concatenate([x, x + 1000, [5000.0]])
    y = np.concatenate([y, y, [5000.0]])
    all_patches = np.concatenate([patches, patches, patches[:1]])
    found = phase_offsets(all_patches, x, y, probe)
    assert abs(found[:60].mean()) < 1e-9
    assert abs(found[60:120].mean()) < 1e-9
    assert found[120] == 0
    np.testing.assert_allclose(found[:60], found[60:120], atol=1e-6)


def test_patches_that_are_not_finite_are_left_alone(scan):
    patches, x, y, probe, _ = scan
    broken = patches.copy()
    broken[7] = np.nan
    found = phase_offsets(broken, x, y, probe)
    assert np.isfinite(found).all()
    assert found[7] == 0
    assert (phase_offsets(np.full_like(patches, np.nan), x, y, probe) == 0).all()


def test_one_patch_and_coinciding_patches():
    patch = np.ones((1, 32, 32), complex)
    probe = np.ones((32, 32), complex)
    assert phase_offsets(patch, np.array([20.0]), np.array([20.0]), probe) == 0
    three = patch * np.exp(1j * np.array([0.0, 1.0, 2.0]))[:, None, None]
    found = phase_offsets(three, np.full(3, 20.0), np.full(3, 20.0), probe)
    np.testing.assert_allclose(found, [1, 0, -1], atol=1e-6)
