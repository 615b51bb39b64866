import typing

import numpy as np
import pytest
from scipy.integrate import quad

from ptycho.config.schema import SpecimenConfig
from ptycho.physics import probes
from ptycho.physics.objects import specimen_object
from ptycho.physics.probes import PROBES, defocused_probe, disk_probe, gaussian_probe, texture

every_probe = pytest.mark.parametrize("draw", PROBES.values(), ids=PROBES)
every_window = pytest.mark.parametrize("window_px", [32, 48, 64, 128])


def rng(seed=0):
    return np.random.default_rng(seed)


def share(wave):
    """Return the share of the energy in each pixel."""
    energy = np.square(np.abs(wave.astype(complex)))
    return energy / energy.sum()


def pattern(wave):
    return share(np.fft.fftshift(np.fft.fft2(wave.astype(complex))))


def covariance(energy):
    """Return the (2, 2) second moments of an image around its own centre of mass, square pixels."""
    place = np.indices(energy.shape).reshape(2, -1)
    return np.cov(place, aweights=energy.ravel(), ddof=0)


def rms_radius(energy):
    return np.sqrt(np.trace(covariance(energy)))


def test_the_configuration_knows_every_probe():
    assert typing.get_args(typing.get_type_hints(SpecimenConfig)["probe"]) == tuple(PROBES)


# all probes ----------------------------------------------------------------------------------------------


@every_probe
@every_window
@pytest.mark.parametrize("seed", range(5))
def test_a_probe_is_centred_and_lies_inside_its_window(draw, window_px, seed):
    probe = draw(window_px, rng(seed))
    assert probe.shape == (window_px, window_px)
    assert probe.dtype == np.complex64
    assert np.abs(probe).max() == pytest.approx(1, abs=1e-6)
    energy = share(probe)
    offset = (np.indices(energy.shape) - window_px // 2) / window_px
    assert np.abs((energy * offset).sum(axis=(1, 2))).max() < 0.03
    eighth = window_px // 8
    assert energy[eighth:-eighth, eighth:-eighth].sum() > 0.99  # the central 3/4 of the side
    assert 1 - energy[1:-1, 1:-1].sum() < 2e-3  # the outermost pixels


@every_probe
@every_window
def test_a_beam_spreads_over_about_half_the_window(draw, window_px):
    assert 0.25 * window_px < 2 * rms_radius(share(draw(window_px, rng()))) < 0.4 * window_px


@every_probe
@every_window
def test_the_pattern_spreads_over_much_of_the_detector_and_stays_on_it(draw, window_px):
    energy = pattern(draw(window_px, rng()))
    assert 0.14 * window_px < rms_radius(energy) < 0.3 * window_px  # light all over the detector would give 0.41
    assert energy.max() < 20 / window_px**2  # evenly lit, each pixel had 1 / N^2
    assert 1 - energy[1:-1, 1:-1].sum() < 0.2 / window_px  # of the light on 4 / N of the pixels


@every_probe
@pytest.mark.parametrize("window_px", [32, 64])
def test_an_object_and_its_twin_give_different_patterns(draw, window_px):
    """Under a beam that is its own twin, conj P(-r) = P(r), O(r) and conj O(-r) give the same pattern."""
    part = specimen_object(window_px, 1.5, 0.3, rng(1))
    twin = np.conj(np.roll(part[::-1, ::-1], 1, axis=(0, 1)))
    ambiguous = np.exp(-np.sum((np.indices(part.shape) - window_px / 2) ** 2, axis=0) / (0.2 * window_px) ** 2)

    def difference(probe):
        return np.abs(pattern(probe * part) - pattern(probe * twin)).sum()

    assert difference(ambiguous) < 1e-4
    assert difference(draw(window_px, rng())) > 0.1


@every_probe
def test_the_generator_decides_a_probe(draw):
    np.testing.assert_array_equal(draw(64, rng(1)), draw(64, rng(1)))
    assert np.abs(draw(64, rng(1)) - draw(64, rng(2))).max() > 0.05


# single ones ---------------------------------------------------------------------------------------------


def test_texture_is_a_gaussian_field_of_the_stated_correlation():
    # white noise blurred by s has the autocorrelation exp(-d^2 / (4 s^2)): with s = 4/2, 1/e at d = 4
    field = texture((400, 400), rng(2), correlation_px=4)
    assert field.mean() == pytest.approx(0, abs=1e-12)
    assert field.var() == pytest.approx(1)
    for lag, expected in ((2, np.exp(-0.25)), (4, np.exp(-1)), (12, np.exp(-9))):
        for axis in (0, 1):
            assert np.mean(field * np.roll(field, lag, axis)) == pytest.approx(expected, abs=0.05)


def test_the_far_field_of_a_zone_plate_is_an_annulus():
    n = 64
    field = np.sqrt(pattern(defocused_probe(n, rng())))
    radius = np.hypot(*(np.indices((n, n)) - n // 2)) / n
    lit = (radius > 0.06 + 1 / n) & (radius < 0.36 - 1 / n)
    dark = (radius <= 0.06) | (radius >= 0.36)
    assert field[dark].max() < 1e-4 * field[lit].min()
    assert np.ptp(field[lit]) < 1e-3 * field[lit].mean()  # a phase mask takes no light


@every_window
@pytest.mark.parametrize("seed", range(4))
def test_a_gaussian_beam_is_one_in_both_planes(window_px, seed):
    probe = gaussian_probe(window_px, rng(seed))
    near, far = covariance(share(probe)), covariance(pattern(probe))
    waist = 2 * np.sqrt(np.linalg.eigvalsh(near)) / window_px  # exp(-2 r^2 / w^2) has the variance w^2 / 4
    assert 0.18 < waist.min() < waist.max() < 0.24
    # a beam of waist w and curvature c is (c w)^2 + (N / pi w)^2 wide there, squared; the second is the sharpest spot
    sharpest = window_px / (np.pi * 0.21 * window_px) / 2
    bent = np.sqrt(np.linalg.eigvals(np.linalg.solve(near, far - sharpest**2 * np.eye(2))))
    assert 1.0 < bent.min() < bent.max() < 1.3
    peak = np.log(np.abs(probe[window_px // 2, window_px // 2 + 1 :: window_px // 8]))
    np.testing.assert_allclose(np.diff(peak, 3), 0, atol=2e-4)  # its logarithm is a parabola


@pytest.mark.parametrize("window_px", [128, 192, 256])
def test_the_light_on_the_axis_of_a_pinhole(window_px):
    """Fresnel's integral on the axis is one over the radius: U(0) = (2 pi / i d) int p(r) exp(i pi r^2 / d) r dr."""
    radius, rim = probes.PINHOLE_RADIUS * window_px, window_px / 12
    d = radius**2 / probes.FRESNEL_NUMBER

    def opening(r):
        return np.clip((radius - r) / rim + 0.5, 0, 1)

    def integral(function):
        return quad(function, 0, radius + rim, points=[radius - rim / 2, radius + rim / 2], limit=200)[0]

    axis = integral(lambda r: opening(r) * np.cos(np.pi * r**2 / d) * r) ** 2
    axis += integral(lambda r: opening(r) * np.sin(np.pi * r**2 / d) * r) ** 2
    expected = (2 * np.pi / d) ** 2 * axis / integral(lambda r: 2 * np.pi * r * opening(r) ** 2)
    found = share(disk_probe(window_px, rng()))[window_px // 2, window_px // 2]
    assert found == pytest.approx(expected, rel=0.05)


def test_a_pinhole_gives_a_disk():
    n = 64
    amplitude = np.abs(disk_probe(n, rng()))
    radius = np.hypot(*(np.indices((n, n)) - n // 2)) / n
    assert amplitude[radius < 0.2].min() > 0.6
    assert amplitude[radius > 0.36].max() < 0.12
    turned = np.rot90(amplitude[1:, 1:])
    np.testing.assert_allclose(turned, amplitude[1:, 1:], atol=1e-5)  # the aberration is of the phase alone
