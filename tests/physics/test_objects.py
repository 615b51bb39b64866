import typing

import numpy as np
import pytest
from scipy import ndimage, stats
from scipy.special import kv

from ptycho.config.schema import SpecimenConfig
from ptycho.errors import InputError
from ptycho.physics import objects
from ptycho.physics.objects import (
    OBJECTS,
    cells,
    dead_leaves,
    gaussian_field,
    lines,
    packed_disks,
    siemens_stars,
    specimen_object,
    star_tones,
)
from ptycho.preparation.specimen import specimen

every_object = pytest.mark.parametrize("name", OBJECTS)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def sharp(monkeypatch):
    """Leave the edges of shapes as they are drawn."""
    monkeypatch.setattr(objects, "EDGE_BLUR_PX", 0)


def one_disk(monkeypatch, *disk):
    monkeypatch.setattr(objects, "packed_disks", lambda *_: np.array([disk]))


# all objects ---------------------------------------------------------------------------------------------


def test_the_configuration_knows_every_object():
    assert typing.get_args(typing.get_type_hints(SpecimenConfig)["object"]) == tuple(OBJECTS)


@every_object
def test_layers_have_tones_from_0_to_1(name):
    layers = OBJECTS[name]((192, 256), rng(1))
    assert layers.shape == (2, 192, 256)
    assert layers.dtype == np.float64
    for layer in layers:
        assert 0 <= layer.min() < 0.1
        assert 0.8 < layer.max() <= 1
        assert layer.std() > 0.1
    assert np.corrcoef(*layers.reshape(2, -1))[0, 1] < 0.95


@every_object
@pytest.mark.parametrize(("phase_rad", "absorption"), [(1.5, 0.3), (6.0, 0.0), (0.1, 0.9)])
def test_phase_and_amplitude_fill_their_ranges(name, phase_rad, absorption):
    found = specimen_object(128, phase_rad, absorption, rng(3), name)
    assert found.shape == (128, 128)
    assert found.dtype == np.complex64
    amplitude, phase = np.abs(found), np.angle(found) % (2 * np.pi)
    phase = np.where(phase > 2 * np.pi - 1e-4, 0, phase)  # -0 of rounding
    assert 1 - absorption - 1e-6 <= amplitude.min()
    assert amplitude.max() <= 1 + 1e-6
    assert phase.max() <= phase_rad + 1e-5
    assert np.ptp(phase) > 0.7 * phase_rad
    assert np.ptp(amplitude) >= 0.6 * absorption


@every_object
@pytest.mark.parametrize("seed", range(3))
def test_amplitude_and_phase_are_not_one_picture(name, seed):
    found = specimen_object(256, 1.5, 0.3, rng(seed), name)
    correlation = np.corrcoef(np.abs(found).ravel(), np.angle(found).ravel())[0, 1]
    assert -0.96 < correlation < -0.2  # thicker is darker, yet not by thickness alone


@every_object
def test_there_is_structure_in_every_window(name):
    phase = np.angle(specimen_object(448, 1.5, 0.3, rng(3), name))
    windows = phase.reshape(7, 64, 7, 64).std(axis=(1, 3))
    assert windows.min() > 0.08  # radians, of 1.5


@every_object
@pytest.mark.parametrize("axis", [0, 1])
def test_no_half_repeats_the_other(name, axis):
    """Correlate the halves at every shift: a half that came back somewhere would give a peak near 1."""
    phase = np.angle(specimen_object(384, 1.5, 0.3, rng(5), name))

    def highest(first, second):
        parts = [np.fft.fft2((part - part.mean()) / part.std()) for part in (first, second)]
        return np.fft.ifft2(parts[0] * np.conj(parts[1])).real.max() / first.size

    first, second = np.split(phase, 2, axis)
    assert highest(first, np.roll(first, (30, 50), (0, 1))) == pytest.approx(1)
    assert highest(first, second) < 0.3


# dead leaves ---------------------------------------------------------------------------------------------


def test_leaves_of_all_tones_hide_most_of_the_ground(sharp):
    # a leaf covers 0.6 (mean aspect) pi E[r^2], 263 px, where r**-3 from 6 to 40 gives
    # E[r^2] = 2 ln(40 / 6) / (1 / 36 - 1 / 1600) = 140; 6 A / (pi 6 40) leaves on A hide all but exp(-2.1) = 12 %
    image = dead_leaves((288, 320), rng(1))
    assert image.shape == (288, 320)
    assert 0 <= image.min() < 0.05
    assert 0.95 < image.max() <= 1
    assert np.mean(image == 0.5) < 0.2


# lines ---------------------------------------------------------------------------------------------------


def test_bars_cover_what_chance_leaves(sharp, monkeypatch):
    monkeypatch.setattr(objects, "_filled", lambda depth: (depth > 0).astype(float))
    # shapes thrown at random with a mean total area of b A leave exp(-b) of A bare (Boolean model)
    bare = np.mean([np.mean(lines((400, 400), rng(seed)) < 0.05) for seed in range(6)])  # the faintest bar has 0.1
    assert bare == pytest.approx(np.exp(-1.3), abs=0.02)


def test_bars_are_straight(sharp, monkeypatch):
    monkeypatch.setattr(objects, "BARS", 0.03)
    image = lines((600, 600), rng(4))
    labels, count = ndimage.label(image > 0.05)
    elongations = []
    for index in range(1, count + 1):
        place = np.argwhere(labels == index)
        if len(place) > 60 and place.min() > 0 and place.max() < 599:
            small, large = np.linalg.eigvalsh(np.cov(place.T))
            elongations.append(np.sqrt(12 * large) * np.sqrt(12 * small) / len(place))
    # a rectangle of sides a and b has the variances a^2 / 12 and b^2 / 12; crossings and bent shapes give more
    assert len(elongations) >= 4
    assert np.median(elongations) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("draw", [dead_leaves, lines])
def test_edges_have_every_direction(draw):
    gy, gx = np.gradient(draw((256, 256), rng(1)))
    strong = np.hypot(gy, gx) > 0.1
    directions = np.histogram(np.arctan2(gy, gx)[strong] % np.pi, bins=8, range=(0, np.pi))[0] / strong.sum()
    assert directions.min() > 0.04  # evenly would be 1/8


# Gaussian field ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale_px", [4, 8])
def test_a_field_correlates_as_whittle_says(scale_px):
    field = gaussian_field((700, 800), rng(2), scale_px) - 0.5
    for lag in (2, 4, 8, 16, 32):
        expected = lag / scale_px * kv(1, lag / scale_px)
        for axis in (0, 1):
            first, second = np.split(field, [lag], axis)[1], np.split(field, [field.shape[axis] - lag], axis)[0]
            assert np.mean(first * second) / field.var() == pytest.approx(expected, abs=0.05)


def test_a_field_is_gaussian_and_little_clipped():
    field = gaussian_field((800, 800), rng(1), 3).ravel()
    assert abs(stats.skew(field)) < 0.06
    assert np.mean((field == 0) | (field == 1)) == pytest.approx(2 * stats.norm.sf(2.5), abs=0.004)
    for sigma in (-2, -1, 0, 1, 2):
        assert np.mean(field < 0.5 + 0.2 * sigma) == pytest.approx(stats.norm.cdf(sigma), abs=0.02)


def test_opposite_rims_of_a_field_are_strangers():
    first, last = gaussian_field((64, 4000), rng(3))[[0, -1]]
    assert abs(np.corrcoef(first, last)[0, 1]) < 0.25  # a transform that wraps around would give nearly 1


# stars ---------------------------------------------------------------------------------------------------


def ring(image, centre, radius_px, samples=2048):
    angle = 2 * np.pi * np.arange(samples) / samples
    return ndimage.map_coordinates(image, [centre + radius_px * np.sin(angle), centre + radius_px * np.cos(angle)])


@pytest.mark.parametrize("spokes", [6, 17, 40])
def test_a_star_has_its_spokes_at_every_radius(spokes):
    y, x = np.ogrid[-100:101, -100:101]
    star = star_tones(y, x, spokes, 0.3)
    for radius_px in (spokes, 70, 95):  # from a period of 2 pi pixels on
        spectrum = np.abs(np.fft.rfft(ring(star, 100, radius_px)))
        assert np.argmax(spectrum[1:]) + 1 == spokes
        assert spectrum[0] / 2048 == pytest.approx(0.5, abs=0.01)  # as many spokes as gaps
    hub = ring(star, 100, spokes / np.pi / 4)  # a period of half a pixel
    assert np.ptp(hub - 0.5) < 0.5


def test_a_drawn_star_fades_where_the_blur_hides_it(monkeypatch):
    one_disk(monkeypatch, 128, 128, 90)
    thickness, loss = siemens_stars((256, 256), rng(2))
    spectra = {r: np.abs(np.fft.rfft(ring(thickness, 128, r)))[1:] for r in (8, 40, 60, 80)}
    spokes = int(np.argmax(spectra[80])) + 1
    assert 2 * np.pi * 90 / 22 - 1 < spokes < 2 * np.pi * 90 / 7 + 1  # periods of 7 to 22 px at the rim
    assert int(np.argmax(spectra[60])) + 1 == spokes
    assert spectra[8][spokes - 1] < 0.3 * spectra[80][spokes - 1]
    radius = np.hypot(*(np.indices((256, 256)) - 128))
    assert thickness[radius > 95].max() < 1e-3
    assert np.ptp(loss[radius < 85]) < 1e-6
    assert loss[radius > 95].max() < 1e-3


def test_stars_have_many_numbers_of_spokes(monkeypatch):
    seen = []
    monkeypatch.setattr(objects, "star_tones", lambda y, x, n, turn: seen.append(n) or star_tones(y, x, n, turn))
    siemens_stars((512, 512), rng(1))
    assert len(set(seen)) > 20
    assert min(seen) >= 3
    assert max(seen) > 40


@pytest.mark.parametrize("seed", range(3))
def test_packed_disks_fill_the_ground_and_do_not_touch(seed):
    disks = packed_disks((400, 300), (10, 60), rng(seed))
    y, x, radius = disks.T
    assert radius.min() == pytest.approx(10)
    assert radius.max() <= 60 + 1e-9
    gaps = np.hypot(y - y[:, None], x - x[:, None]) - radius - radius[:, None]
    assert gaps[~np.eye(len(disks), dtype=bool)].min() > 1
    rows, columns = np.ogrid[:400, :300]
    covered = np.any([np.hypot(rows - b, columns - a) < r for b, a, r in disks], axis=0)
    assert 0.55 < covered.mean() < 0.9
    assert all(side.any() for side in (covered[0], covered[-1], covered[:, 0], covered[:, -1]))


# cells ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_cell_has_a_membrane_and_contents_on_bare_ground(monkeypatch, sharp, seed):
    one_disk(monkeypatch, 64, 64, 40)
    thickness, stain = cells((128, 128), rng(seed))
    radius = np.hypot(*(np.indices((128, 128)) - 64))
    assert (thickness[radius > 58] == 0).all()
    assert ((thickness > 0) == (stain > 0)).mean() > 0.99
    depth = ndimage.distance_transform_edt(thickness > 0)
    assert 0.5 * np.pi * 40**2 < np.sum(depth > 0) < 1.6 * np.pi * 40**2
    assert np.median(thickness[(depth > 1) & (depth <= 2)]) > 1.15 * np.median(thickness[(depth > 5) & (depth <= 8)])
    assert thickness[radius < 30].max() > 1.5 * np.median(thickness[(depth > 5) & (depth <= 8)])  # nucleus, organelles
    assert len(np.unique(np.round(thickness[radius < 30], 2))) > 15


def test_cells_leave_ground_bare():
    thickness = cells((512, 512), rng(1))[0]
    assert 0.2 < np.mean(thickness < 0.01) < 0.6


# both ----------------------------------------------------------------------------------------------------


@every_object
def test_the_seed_decides_everything(name):
    first, again, other = (specimen(96, 32, 1.5, 0.3, seed, name) for seed in (1, 1, 2))
    for array in ("object", "probe", "xcoords", "ycoords"):
        np.testing.assert_array_equal(getattr(first, array), getattr(again, array))
        assert (getattr(first, array) != getattr(other, array)).any()


def test_the_default_is_dead_leaves_under_a_zone_plate():
    default = SpecimenConfig()
    first, second = specimen(96, 32, 1.5, 0.3, 1), specimen(96, 32, 1.5, 0.3, 1, default.object, default.probe)
    np.testing.assert_array_equal(first.object, second.object)
    np.testing.assert_array_equal(first.probe, second.probe)
    assert (default.object, default.probe) == ("dead_leaves", "zone_plate")


def test_a_simulation_from_the_same_seed_draws_other_numbers():
    found = specimen(96, 32, 1.5, 0.3, seed=7)
    same = np.random.default_rng(7).uniform(16, 80, (2, 256))
    assert np.abs(np.corrcoef(found.xcoords, same[0])[0, 1]) < 0.3


def test_it_comes_as_a_reconstruction_scanned_where_windows_fit():
    found = specimen(120, 32, 1.2, 0.2, seed=5, object="lines", probe="disk")
    assert found.object.shape == (120, 120)
    assert found.probe.shape == (32, 32)
    assert found.xcoords.size == 20**2  # 6 px apart on the mean
    for coordinate in (found.xcoords, found.ycoords):
        assert 16 <= coordinate.min() < 24
        assert 96 < coordinate.max() <= 104
    assert found.metadata.steps[0].step == "specimen"
    assert found.metadata.steps[0].parameters == {
        "size_px": 120, "window_px": 32, "phase_rad": 1.2, "absorption": 0.2, "seed": 5,
        "object": "lines", "probe": "disk",
    }  # fmt: skip


def test_a_specimen_smaller_than_its_windows_is_refused():
    with pytest.raises(InputError, match=r"specimen of 96 px is smaller than its windows of 128 px: raise its size"):
        specimen(96, 128, 1.5, 0.3, seed=0)


def test_an_unknown_object_or_probe_is_refused_with_what_there_is():
    with pytest.raises(InputError, match=r"object is 'leaves', expected one of dead_leaves, lines, gaussian_field"):
        specimen(96, 32, 1.5, 0.3, 0, object="leaves")
    with pytest.raises(InputError, match=r"probe is 'airy', expected one of zone_plate, gaussian, disk"):
        specimen(96, 32, 1.5, 0.3, 0, probe="airy")
