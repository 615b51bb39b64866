import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ptycho.evaluation import frc
from ptycho.evaluation.frc import Crossing, FrcCurve, crossing, resolution, smoothed
from ptycho.evaluation.metrics import METRICS, Images

RNG = np.random.default_rng(0)
IMAGE = gaussian_filter(RNG.normal(size=(200, 230)), 1.5)
NOISY = IMAGE + RNG.normal(0, 0.1, IMAGE.shape)


def measure(name, target, prediction):
    return METRICS[name](Images.of(target, prediction))


def frc_curve(target, prediction):
    return frc.frc_curve(target, prediction, np.ones(target.shape, bool))


def curve_of(correlation, side, components=1):
    rings = np.arange(1, len(correlation) + 1)
    power = np.ones(len(rings))
    return FrcCurve(rings, rings / side, np.array(correlation, float), np.full(len(rings), components), power, power)


def test_frc_of_an_image_with_itself_is_one():
    curve = frc_curve(IMAGE, 3 * IMAGE + 7)
    np.testing.assert_allclose(curve.correlation, 1)
    np.testing.assert_array_equal(curve.rings_px, np.arange(1, 101))
    np.testing.assert_allclose(curve.cycles_per_px, np.arange(1, 101) / 200)
    assert crossing(curve, 0.5) == Crossing(100.0, False)
    np.testing.assert_allclose(frc_curve(IMAGE, -IMAGE).correlation, -1)


def test_frc_of_noisy_images_is_that_of_theory():
    # White signal, white noise of twice its power: one clean, one noisy: sqrt(SNR / (1 + SNR)) = sqrt(1/3);
    # both noisy: SNR / (1 + SNR) = 1/3. Averages over rings 20 to 128, of 5e4 independent samples, to 3 %.
    rng = np.random.default_rng(7)
    signal, first, second = rng.normal(size=(3, 256, 256))
    noisy, other = signal + 2**0.5 * first, signal + 2**0.5 * second
    assert frc_curve(signal, noisy).correlation[19:].mean() == pytest.approx(3**-0.5, rel=0.03)
    assert frc_curve(noisy, other).correlation[19:].mean() == pytest.approx(1 / 3, rel=0.03)
    assert abs(frc_curve(signal, first).correlation[19:].mean()) < 0.02


@pytest.mark.parametrize("cutoff", [15, 40, 70])
def test_frc_crosses_where_a_low_pass_filter_cuts(cutoff):
    rng = np.random.default_rng(8)
    signal = rng.normal(size=(200, 200))
    frequency = np.fft.fftfreq(200, 1 / 200)
    passed = np.hypot(frequency[:, None], frequency) <= cutoff
    filtered = np.fft.ifft2(np.fft.fft2(signal) * passed).real + rng.normal(0, 0.01, signal.shape)
    # the window smears each ring over its neighbours
    assert measure("frc50", signal, filtered) == pytest.approx(cutoff + 0.5, abs=1.5)
    assert measure("frc50", signal, filtered) <= measure("frc1over7", signal, filtered)


def test_frc_uses_all_of_a_rectangle():
    wide, other = RNG.normal(size=(2, 64, 100))
    curve = frc_curve(wide, other)
    np.testing.assert_array_equal(curve.rings_px, np.arange(1, 33))
    np.testing.assert_allclose(frc_curve(wide.T, other.T).correlation, curve.correlation)
    other[:, 8:18] = wide[:, 8:18]  # outside the central square
    assert frc_curve(wide, other).correlation.mean() > curve.correlation.mean() + 0.02


@pytest.mark.parametrize("axis", [0, 1])
def test_a_ring_is_one_frequency_along_both_sides(axis):
    wave = np.cos(2 * np.pi * 0.25 * np.indices((64, 100))[axis])  # a quarter of 64: ring 16
    power = frc_curve(wave, wave).target_power
    assert power.argmax() == 15
    assert power.sum() == pytest.approx(0.5, rel=1e-3)  # the mean of cos^2
    assert power[13:18].sum() > 0.99 * power.sum()  # the window smears it over a few rings


@pytest.mark.parametrize("value", [0.0, 0.3, -2.0])
def test_a_constant_correlates_with_nothing(value):
    flat = np.full(IMAGE.shape, value)
    assert not frc_curve(IMAGE, flat).correlation.any()
    assert measure("frc50", IMAGE, flat) == 0


def test_crossing_by_hand():
    curve = curve_of([1.0, 0.8, 0.4, 0.9, 0.0], 10)
    assert crossing(curve, 0.5) == pytest.approx((2 + 0.3 / 0.4, True))  # 0.8 -> 0.4 passes 0.5 at 3/4
    assert crossing(curve, 0.1) == pytest.approx((4 + 0.8 / 0.9, True))
    assert crossing(curve, -0.1) == (5.0, False)
    assert crossing(curve_of([0.2] * 5, 10), 0.5) == (0.0, True)
    noisy_start = curve_of([0.4, 0.9, 0.8, 0.4, 0.1], 10)
    assert crossing(noisy_start, 0.5) == pytest.approx((3 + 0.3 / 0.4, True))  # rings 1 to 5: 0.8 -> 0.4
    rising = curve_of([0.4, 0.9, 0.9, 0.9, 0.9], 10)
    assert crossing(rising, 0.5) == (5.0, False)


def test_smoothing_by_hand():
    # over five rings, as far as there are any, weighted by components: 2 of 2 + 3 + 5, of all but the last, ...
    found = smoothed(np.array([1.0, 0, 0, 0, 0, 1]), np.array([2, 3, 5, 1, 1, 10]))
    np.testing.assert_allclose(found, [2 / 10, 2 / 11, 2 / 12, 10 / 20, 10 / 17, 10 / 12])


def test_resolution_by_hand():
    # 1 up to ring 10, then 0: means over five rings are 4/5, 3/5, 2/5 at rings 9, 10, 11
    step = np.repeat([1.0, 0.0], 10)
    assert resolution(curve_of(step, 40), None) == pytest.approx((10.5, True))
    dip = np.where(np.arange(1, 21) == 6, 0, step)  # of one ring
    assert resolution(curve_of(dip, 40), None) == pytest.approx((10.5, True))
    assert crossing(curve_of(dip, 40), 0.5) == pytest.approx((5.5, True))
    assert resolution(curve_of(np.ones(20), 40), None) == (20.0, False)


def test_resolution_starts_at_the_ring_of_one_window():
    # periods of 40, 20 and 13 px are longer than a window of 10 px, whose ring is 4
    start = np.where(np.arange(1, 21) < 4, -1, np.repeat([1.0, 0.0], 10))
    assert resolution(curve_of(start, 40), 10) == pytest.approx((10.5, True))
    assert resolution(curve_of(start, 40), None) == (0.0, True)
    late = np.repeat([0.0, 1.0], 10)  # below 0.5 where it starts: nothing is resolved
    assert resolution(curve_of(late, 40), 10) == (0.0, True)
    assert crossing(curve_of(late, 40), 0.5) == (20.0, False)
    assert METRICS["frc50"](Images.of(IMAGE, NOISY, window_px=32)) == resolution(frc_curve(IMAGE, NOISY), 32).value
