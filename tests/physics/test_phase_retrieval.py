from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ptycho.data.dataset import Dataset
from ptycho.physics import diffraction, stitching
from ptycho.physics.objects import specimen_object
from ptycho.physics.patches import extract_patches
from ptycho.physics.phase_retrieval import fit_patches, rpie

SIDE, SIZE = 16, 64
ALPHA = 0.1  # in tests that are not about it
TRUTH = specimen_object(SIZE, 1.5, 0.3, np.random.default_rng(3))
EMPTY = np.ones((SIZE, SIZE), np.complex64)


def structured_probe():
    """Return a round probe of random phase: light that tells most, so that few sweeps do."""
    phase = gaussian_filter(np.random.default_rng(5).normal(size=(SIDE, SIDE)), 1.0, mode="wrap")
    hann = np.hanning(SIDE + 2)[1:-1]
    probe = np.sqrt(np.outer(hann, hann)) * np.exp(1.5j * phase / phase.std())
    return (probe * (SIDE / 2) / np.linalg.norm(probe)).astype(np.complex64)


def scan(n, whole=True, bad_pixels=None, image=TRUTH):
    """Return noise-free patterns, without a trace of the truth."""
    x, y = np.random.default_rng(0).uniform(SIDE / 2, SIZE - SIDE / 2, (2, n))
    x, y = (np.rint(x), np.rint(y)) if whole else (x, y)
    probe = structured_probe()
    patterns = diffraction.diffraction_amplitude(probe, extract_patches(image, x, y, SIDE)).astype(np.float32)
    return Dataset(patterns, x, y, probe, None, None, np.arange(n), bad_pixels=bad_pixels)


def sweep(data, sweeps, image=EMPTY, seed=0, alpha=ALPHA):
    return rpie(image, data, sweeps, np.random.default_rng(seed), alpha)


def light(data):
    """Return the summed brightness of the probe on each pixel."""
    total = np.zeros((SIZE, SIZE))
    for x, y in zip(np.rint(data.xcoords).astype(int), np.rint(data.ycoords).astype(int), strict=True):
        total[y - SIDE // 2 : y + SIDE // 2, x - SIDE // 2 : x + SIDE // 2] += np.abs(data.probe) ** 2
    return total


def error(image, data):
    """Return the relative error where there is light, but for the phase of the whole, which no pattern shows."""
    weight = light(data)
    turned = image * np.exp(1j * np.angle((weight * image.conj() * TRUTH).sum()))
    return np.sqrt((weight * np.abs(turned - TRUTH) ** 2).sum() / (weight * np.abs(TRUTH) ** 2).sum())


@pytest.mark.parametrize("whole", [True, False])
def test_an_object_is_recovered_from_nothing(whole):
    data = scan(200, whole)
    assert error(EMPTY, data) > 0.3
    image = sweep(data, 20)
    assert image.shape == (SIZE, SIZE)
    assert image.dtype == np.complex64
    assert error(image, data) < 0.009  # found: 0.0067 and 0.0076
    assert error(sweep(data, 5), data) < 0.075  # found: 0.064 and 0.065
    exchanged = replace(data, xcoords=data.ycoords, ycoords=data.xcoords)
    assert error(sweep(exchanged, 5), data) > 0.3


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_what_explains_every_pattern_stays(alpha):
    for whole in (True, False):
        np.testing.assert_allclose(sweep(scan(50, whole), 2, TRUTH, alpha=alpha), TRUTH, atol=2e-6)


def test_where_no_window_reaches_nothing_changes():
    data = scan(3)
    image = sweep(data, 1)
    assert (np.abs(image - 1)[light(data) > 0.1 * light(data).max()] > 0).all()


def epie(image, data, sweeps, rng):
    """The ptychographic iterative engine, pattern by pattern, in float64 at whole pixels.

    A. Maiden, J. Rodenburg, Ultramicroscopy 109, 1256 (2009), eq. 6.
    """
    image, probe = image.astype(complex), data.probe.astype(complex)
    for _ in range(sweeps):
        for i in rng.permutation(len(data)):
            top, left = int(data.ycoords[i]) - SIDE // 2, int(data.xcoords[i]) - SIDE // 2
            window = image[top : top + SIDE, left : left + SIDE]
            window += probe.conj() / (np.abs(probe) ** 2).max() * update(probe * window, data.diffraction[i])
    return image


def numpy_rpie(image, data, sweeps, rng, alpha):
    """The regularized engine at fractions of a pixel: four windows share what is seen, and what it changes."""
    image, probe = np.pad(image.astype(complex), (0, 1)), data.probe.astype(complex)
    brightness = np.abs(probe) ** 2
    for _ in range(sweeps):
        for i in rng.permutation(len(data)):
            y, x = data.ycoords[i] - SIDE / 2, data.xcoords[i] - SIDE / 2
            places = [(np.floor(y) + down, np.floor(x) + right) for down in (0, 1) for right in (0, 1)]
            shares = [(1 - abs(y - top)) * (1 - abs(x - left)) for top, left in places]
            windows = [image[int(top) :, int(left) :][:SIDE, :SIDE] for top, left in places]
            wave = probe * sum(share * window for share, window in zip(shares, windows, strict=True))
            change = probe.conj() * update(wave, data.diffraction[i])
            change /= (1 - alpha) * brightness + alpha * brightness.max()
            for share, window in zip(shares, windows, strict=True):
                window += share * change
    return image[:-1, :-1]


def update(wave, measured):
    far = diffraction.far_field(wave)
    return np.fft.ifft2(np.fft.ifftshift(measured * np.exp(1j * np.angle(far))), norm="ortho") - wave


@pytest.mark.parametrize(("whole", "alpha"), [(True, 1), (True, 0.1), (False, 1), (False, 0.3)])
def test_it_is_the_published_engine(whole, alpha):
    data = scan(40, whole)
    noise = np.random.default_rng(1).uniform(0.9, 1.1, data.diffraction.shape)  # no object explains these
    data = replace(data, diffraction=(data.diffraction * noise).astype(np.float32))
    expected = numpy_rpie(EMPTY, data, 3, np.random.default_rng(7), alpha)
    if whole and alpha == 1:
        np.testing.assert_allclose(epie(EMPTY, data, 3, np.random.default_rng(7)), expected, rtol=1e-12)
    assert np.abs(expected - 1).max() > 0.5
    np.testing.assert_allclose(sweep(data, 3, seed=7, alpha=alpha), expected, rtol=1e-5, atol=1e-5)
    assert np.abs(sweep(data, 3, seed=7, alpha=0.6) - expected).max() > 0.05


def test_sweeps_of_no_number_change_nothing_and_the_image_is_left_as_it_was():
    image = TRUTH[::-1].copy()
    np.testing.assert_array_equal(sweep(scan(20), 0, image), image)
    assert np.abs(sweep(scan(20), 1, image) - image).max() > 0.1
    np.testing.assert_array_equal(image, TRUTH[::-1])


def test_the_same_generator_makes_the_same_image():
    data = scan(30, whole=False)
    np.testing.assert_array_equal(sweep(data, 2, seed=4), sweep(data, 2, seed=4))
    assert np.abs(sweep(data, 2, seed=4) - sweep(data, 2, seed=5)).max() > 1e-3  # another order


def test_the_truth_is_not_looked_at():
    data = scan(30)
    nonsense = replace(data, object=EMPTY * 3j, patches=np.full(data.diffraction.shape, 7 + 0j))
    np.testing.assert_array_equal(sweep(nonsense, 2), sweep(data, 2))


def test_bad_pixels_say_nothing():
    mask = np.zeros((SIDE, SIDE), bool)
    mask[SIDE // 2 + 1, SIDE // 2] = mask[6, 9] = mask[2, 12] = True  # not symmetric: seen wherever it is shifted
    data = scan(200, bad_pixels=mask)
    garbage = replace(data, diffraction=np.where(mask, np.float32(9), data.diffraction))
    np.testing.assert_array_equal(sweep(garbage, 3), sweep(data, 3))
    assert error(sweep(garbage, 20), data) < 0.009  # found: 0.0072
    assert error(sweep(replace(garbage, bad_pixels=None), 20), data) > 0.3


# patches that are known ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("whole", "bound"), [(True, 0.003), (False, 0.01)])
def test_an_object_is_put_together_from_its_patches_without_blur(whole, bound):
    data = scan(200, whole)
    known = replace(data, patches=extract_patches(TRUTH, data.xcoords, data.ycoords, SIDE))
    image = fit_patches(EMPTY, known, 20, np.random.default_rng(0), ALPHA)
    assert error(image, data) < bound  # where the probe is dim it is put together slowly
    merged = stitching.stitch(known.patches, data.xcoords, data.ycoords, data.probe, (SIZE, SIZE), SIDE).object
    assert whole or error(merged, data) > 2 * error(image, data)


def test_the_object_whose_patches_are_known_is_a_fixed_point():
    data = scan(30, whole=False)
    known = replace(data, patches=extract_patches(TRUTH, data.xcoords, data.ycoords, SIDE))
    np.testing.assert_allclose(fit_patches(TRUTH, known, 3, np.random.default_rng(0), ALPHA), TRUTH, atol=1e-5)
