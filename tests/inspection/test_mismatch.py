from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from ptycho.data.dataset import Reconstruction
from ptycho.data.lazy import LazyArray
from ptycho.inspection import mismatch
from ptycho.physics.probes import gaussian_probe
from ptycho.preparation.scan import simulate

SIDE = 32


def scan(photons=1e6, **changes):
    """60 patterns of a rough object of 80 x 96 pixels under a curved Gaussian beam."""
    rng = np.random.default_rng(3)
    phase, loss = (ndimage.gaussian_filter(rng.normal(size=(80, 96)), 1.5) for _ in range(2))
    image = (0.8 + 0.3 * loss) * np.exp(4j * phase)
    content = Reconstruction(image, gaussian_probe(SIDE, rng), np.array([40.0]), np.array([40.0]))
    return replace(simulate(content, 60, photons, seed=5), patches=None, **changes).loaded()


def perfect(**changes):
    """The scan without noise: expected amplitudes, computed here by the definition."""
    dataset = scan()
    rows = np.floor(dataset.ycoords - SIDE / 2).astype(int)
    columns = np.floor(dataset.xcoords - SIDE / 2).astype(int)
    windows = np.stack([dataset.object[r : r + SIDE, c : c + SIDE] for r, c in zip(rows, columns, strict=True)])
    far = np.fft.fftshift(np.fft.fft2(dataset.probe * windows), (-2, -1)) / SIDE
    whole = {"xcoords": columns + SIDE / 2, "ycoords": rows + SIDE / 2}
    return replace(dataset, diffraction=np.abs(far).astype(np.float32), **whole, **changes)


def test_a_perfect_model_leaves_nothing_and_a_wrong_scale_its_size():
    found = mismatch.mismatch(perfect(), photons=False)
    assert found.relative < 1e-5
    assert found.factor == pytest.approx(1)
    assert np.isnan(found.noise)
    louder = mismatch.mismatch(replace(perfect(), probe=perfect().probe * 1.25), photons=False)
    assert louder.relative == pytest.approx(0.25, rel=1e-3)
    assert louder.factor == pytest.approx(0.8, rel=1e-4)
    assert louder.fitted < 1e-3


def test_bad_pixels_do_not_count_as_mismatch():
    bad = np.zeros((SIDE, SIDE), bool)
    bad[10:20] = True
    dataset = perfect()
    dark = replace(dataset, diffraction=dataset.diffraction * ~bad)
    assert mismatch.mismatch(dark, photons=False).relative > 0.3
    assert mismatch.mismatch(replace(dark, bad_pixels=bad), photons=False).relative < 1e-5


def test_broken_values_spoil_no_mismatch():
    patterns = perfect().diffraction.copy()
    rows = LazyArray(patterns.shape, patterns.dtype, lambda index: patterns[index])
    patterns[0, 0, 0], patterns[1, 0, 0] = np.nan, np.inf
    assert mismatch.mismatch(replace(perfect(), diffraction=rows), photons=False).relative < 0.01


@pytest.mark.parametrize("photons", [2e3, 1e5, 1e7])
def test_noise_alone_leaves_what_simulated_patterns_show(photons):
    found = mismatch.mismatch(scan(photons), photons=True)
    assert found.relative == pytest.approx(found.noise, rel=0.1)
    assert found.n_patterns == 60


def test_without_object_or_light_there_is_no_mismatch():
    assert mismatch.mismatch(scan(object=None), photons=True) is None
    dark = replace(scan(), diffraction=np.zeros((60, SIDE, SIDE), np.float32))
    assert mismatch.mismatch(dark, photons=True) is None
