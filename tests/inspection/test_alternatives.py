from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from ptycho.data.dataset import Reconstruction
from ptycho.inspection import alternatives, displacement, mismatch
from ptycho.physics.probes import gaussian_probe
from ptycho.preparation.scan import simulate

SIDE = 32


def scan(photons=1e6):
    """60 patterns of a rough object of 80 x 96 pixels under a curved Gaussian beam."""
    rng = np.random.default_rng(3)
    phase, loss = (ndimage.gaussian_filter(rng.normal(size=(80, 96)), 1.5) for _ in range(2))
    image = (0.8 + 0.3 * loss) * np.exp(4j * phase)
    content = Reconstruction(image, gaussian_probe(SIDE, rng), np.array([40.0]), np.array([40.0]))
    return replace(simulate(content, 60, photons, seed=5), patches=None).loaded()


MISTAKES = {
    "the patterns transposed": {"diffraction": lambda d: d.diffraction.transpose(0, 2, 1)},
    "the patterns mirrored along x": {"diffraction": lambda d: np.roll(d.diffraction[:, :, ::-1], 1, 2)},
    "the patterns mirrored along y": {"diffraction": lambda d: np.roll(d.diffraction[:, ::-1], 1, 1)},
    "the patterns rotated by 180 degrees": {
        "diffraction": lambda d: np.roll(d.diffraction[:, ::-1, ::-1], (1, 1), (1, 2))
    },
    "the patterns rotated by 90 degrees": {
        "diffraction": lambda d: np.roll(d.diffraction[:, ::-1], 1, 1).transpose(0, 2, 1)
    },
    "the patterns rotated by -90 degrees": {
        "diffraction": lambda d: np.roll(d.diffraction[:, :, ::-1], 1, 2).transpose(0, 2, 1)
    },
    "the patterns transposed and rotated by 180 degrees": {
        "diffraction": lambda d: np.roll(d.diffraction[:, ::-1, ::-1], (1, 1), (1, 2)).transpose(0, 2, 1)
    },
    "DC moved from the corner to the centre (--dc corner)": {
        "diffraction": lambda d: np.fft.ifftshift(d.diffraction, (1, 2))
    },
    "the patterns moved by -5 rows and 0 columns (DC is expected at [N/2, N/2])": {
        "diffraction": lambda d: np.roll(d.diffraction, 5, 1)
    },
    "the square root of the patterns (--quantity intensity)": {"diffraction": lambda d: d.diffraction**2},
    "the square of the patterns (--quantity amplitude)": {"diffraction": lambda d: np.sqrt(d.diffraction)},
    "the patterns moved to the position before theirs": {"diffraction": lambda d: np.roll(d.diffraction, 1, 0)},
    "the patterns moved to the position after theirs": {"diffraction": lambda d: np.roll(d.diffraction, -1, 0)},
    "the order of the patterns reversed": {"diffraction": lambda d: d.diffraction[::-1]},
    "xcoords mirrored (W - x)": {"xcoords": lambda d: 96 - d.xcoords},
    "ycoords mirrored (H - y)": {"ycoords": lambda d: 80 - d.ycoords},
    "xcoords and ycoords mirrored": {"xcoords": lambda d: 96 - d.xcoords, "ycoords": lambda d: 80 - d.ycoords},
    "objectGuess conjugated": {"object": lambda d: d.object.conj()},
    "probeGuess moved to the middle of its window (numpy.fft.fftshift)": {"probe": lambda d: np.fft.fftshift(d.probe)},
    "probeGuess mirrored along x": {"probe": lambda d: skewed(d)[:, ::-1], "reference": lambda d: skewed(d)},
}


def skewed(dataset):
    """The probe with a coma, which no mirror image repeats."""
    row, column = np.indices((SIDE, SIDE)) - SIDE / 2
    return (dataset.probe * np.exp(1e-3j * (column**3 / 3 + row * column**2 / 5))).astype(np.complex64)


def named(dataset):
    """The names of the alternatives that fit better, and the mismatch that the last one leaves."""
    tried = mismatch.sample(dataset)
    found = alternatives.better(dataset, tried, noise=0.01)
    return [one.name for one in found], (found[-1].comparison if found else mismatch.compare(tried)).relative


def without_noise(dataset):
    """The scan with the amplitudes that its model expects."""
    tried = replace(mismatch.sample(dataset), xcoords=dataset.xcoords, ycoords=dataset.ycoords)
    return replace(dataset, diffraction=np.asarray(tried.expected))


@pytest.mark.parametrize("name", MISTAKES)
def test_the_mistake_is_named_and_nothing_else(name):
    dataset, changes = scan(), dict(MISTAKES[name])
    if "reference" in changes:
        dataset = without_noise(replace(dataset, probe=changes.pop("reference")(dataset)))
    names, left = named(replace(dataset, **{key: change(dataset) for key, change in changes.items()}))
    assert names == [name]
    assert left < 0.05


def test_two_mistakes_are_named_one_after_the_other():
    dataset = scan()
    names, left = named(replace(dataset, diffraction=dataset.diffraction[:, :, ::-1]))  # DC moves by a pixel, too
    assert names[0] == "the patterns mirrored along x"
    assert names[1].startswith("the patterns moved by 0 rows and -1 columns")
    assert left < 0.05


def test_swapped_positions_are_found_where_they_still_fit_the_object():
    dataset = scan()
    inside = dataset.take(np.flatnonzero(dataset.xcoords <= 80 - SIDE / 2))
    swapped = replace(inside, xcoords=inside.ycoords, ycoords=inside.xcoords)
    assert named(swapped)[0] == ["xcoords and ycoords swapped"]


@pytest.mark.parametrize("photons", [1e3, 1e4, 1e6, 1e9])
def test_a_sound_scan_has_no_better_alternative(photons):
    assert named(scan(photons))[0] == []


def test_patches_take_the_place_of_an_unknown_object():
    dataset = scan()
    patches = np.stack([dataset.object[:SIDE, :SIDE]] * 60)
    tried = mismatch.sample(replace(dataset, object=None, patches=patches.conj()))
    tried = tried.with_patterns(np.asarray(replace(tried, patches=patches).expected))
    fits = {name: mismatch.compare(other).relative for name, other in alternatives.alternatives(tried, dataset)}
    assert min(fits, key=fits.get) == "Y conjugated"
    assert not list(displacement.moved(tried))


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (-0.5, -0.5), (2.25, -3)])
def test_shifted_positions_are_found_to_a_tenth_of_a_pixel(dx, dy):
    dataset = inner()
    tried = mismatch.sample(replace(dataset, xcoords=dataset.xcoords - dx, ycoords=dataset.ycoords - dy))
    name, found = next(displacement.moved(tried))
    moved_by = (found.xcoords - found.xcoords.mean()) - (tried.xcoords - tried.xcoords.mean())
    np.testing.assert_allclose(moved_by, 0, atol=1e-9)
    words = name.split()
    assert words[:4] == ["the", "positions", "moved", "by"]
    assert (float(words[4]), float(words[9])) == pytest.approx((dx, dy), abs=0.1)
    assert mismatch.compare(found).relative < 0.03


def test_scaled_and_rotated_positions_are_found():
    dataset = inner()
    x, y = dataset.xcoords - 48, dataset.ycoords - 40
    names, left = named(replace(dataset, xcoords=48 + 1.06 * x, ycoords=40 + 1.06 * y))
    start, factor = names[0].rsplit(" ", 1)
    assert start == "the positions multiplied by"
    assert float(factor) == pytest.approx(1 / 1.06, abs=0.005)
    assert left < 0.05
    c, s = np.cos(np.deg2rad(4)), np.sin(np.deg2rad(4))
    names, left = named(replace(dataset, xcoords=48 + c * x - s * y, ycoords=40 + s * x + c * y))
    words = names[0].split()
    assert words[:4] == ["the", "positions", "rotated", "by"]
    assert float(words[4]) == pytest.approx(-4, abs=0.3)  # 0.3 degrees move the outermost of these by 0.15 px
    assert left < 0.05


def inner():
    """The scan without the positions within 4 pixels of the border of those that fit the object."""
    dataset = scan()
    apart = (np.abs(dataset.xcoords - 48) < 28) & (np.abs(dataset.ycoords - 40) < 20)
    return dataset.take(np.flatnonzero(apart))
