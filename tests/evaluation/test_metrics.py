from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from ptycho.errors import InputError
from ptycho.evaluation import metrics
from ptycho.evaluation.metrics import METRICS, Crossing, FrcCurve, crossing, frc_curve, register

RNG = np.random.default_rng(0)
IMAGE = gaussian_filter(RNG.normal(size=(200, 230)), 1.5)
NOISY = IMAGE + RNG.normal(0, 0.1, IMAGE.shape)
NAMES = ["mae", "mse", "rmse", "psnr", "psnr_peak255", "ssim", "ms_ssim", "frc50", "frc1over7"]


def test_the_registry_holds_the_metrics_of_the_study():
    assert list(METRICS) == NAMES


def test_a_name_is_registered_once(monkeypatch):
    monkeypatch.setattr(metrics, "METRICS", dict(METRICS))
    register("bias")(lambda target, prediction: float(np.mean(prediction - target)))
    assert metrics.METRICS["bias"](IMAGE, IMAGE + 1) == pytest.approx(1)
    with pytest.raises(InputError, match="mae is registered already"):
        register("mae")(metrics.mae)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_perfect_prediction(dtype):
    image = IMAGE.astype(dtype)
    found = {name: metric(image, image) for name, metric in METRICS.items()}
    perfect = {"mae": 0, "mse": 0, "rmse": 0, "psnr": np.inf, "psnr_peak255": np.inf, "ssim": 1, "ms_ssim": 1}
    assert found == pytest.approx({**perfect, "frc50": 100, "frc1over7": 100})
    assert all(type(value) is float for value in found.values())


def test_differences_by_hand():
    # errors 1, -1, 0, 3: mean of |e| = 5/4, of e^2 = 11/4; the target's range is 4
    target, prediction = np.array([[0.0, 1], [2, 4]]), np.array([[1.0, 0], [2, 7]])
    assert METRICS["mae"](target, prediction) == 1.25
    assert METRICS["mse"](target, prediction) == 2.75
    assert METRICS["rmse"](target, prediction) == pytest.approx(2.75**0.5)
    assert METRICS["psnr"](target, prediction) == pytest.approx(10 * np.log10(16 / 2.75))
    assert METRICS["psnr_peak255"](target, prediction) == pytest.approx(10 * np.log10(65025 / 2.75))


def test_scikit_image_agrees():
    span = np.ptp(IMAGE)
    assert METRICS["mse"](IMAGE, NOISY) == pytest.approx(mean_squared_error(IMAGE, NOISY))
    assert METRICS["psnr"](IMAGE, NOISY) == pytest.approx(peak_signal_noise_ratio(IMAGE, NOISY, data_range=span))
    assert METRICS["ssim"](IMAGE, NOISY) == pytest.approx(structural_similarity(IMAGE, NOISY, data_range=span))


@pytest.mark.parametrize("name", ["psnr", "ssim", "ms_ssim"])
def test_a_target_without_range_has_no_value(name):
    flat = np.full((50, 50), 0.3)
    rounding = flat + np.float32(1e-8) * (np.arange(50) % 2)
    assert np.isnan(METRICS[name](flat, flat + 0.1))
    assert np.isnan(METRICS[name](rounding, flat + 0.1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (6, 40), (11, 11)])
def test_small_images_do_not_crash(name, shape):
    rng = np.random.default_rng(1)
    assert isinstance(METRICS[name](rng.normal(size=shape), rng.normal(size=shape)), float)


# MS-SSIM -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(11, 30), (21, 21)])
def test_ms_ssim_of_one_scale_is_ssim_with_a_gaussian_window(shape):
    target, prediction = IMAGE[: shape[0], : shape[1]], NOISY[: shape[0], : shape[1]]
    expected = structural_similarity(
        target,
        prediction,
        data_range=np.ptp(target),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert METRICS["ms_ssim"](target, prediction) == pytest.approx(expected)


def test_ms_ssim_falls_with_noise():
    noise = np.random.default_rng(3).normal(size=IMAGE.shape)
    values = [METRICS["ms_ssim"](IMAGE, IMAGE + level * noise) for level in (0, 0.02, 0.05, 0.2, 1)]
    assert values[0] == pytest.approx(1)
    assert all(a > b for a, b in pairwise(values))


def test_ms_ssim_of_the_negative_is_clamped_to_zero():
    assert METRICS["ms_ssim"](IMAGE, -IMAGE) == 0


def test_ms_ssim_of_a_brighter_image_by_hand():
    # Adding a constant leaves contrast and structure at 1; luminance enters once, at the coarsest scale, to
    # the power of its weight: 0.1333 of the five, 0.2856 / (0.0448 + 0.2856) of the first two.
    rng = np.random.default_rng(6)
    for side, weight in ((176, 0.1333 / 1.0001), (43, 0.2856 / 0.3304)):
        target = 5 + 1e-3 * rng.uniform(-1, 1, (side, side))  # means are 5 everywhere, to 1e-3
        target[0, 0], target[0, 1] = 0, 10  # these set the range, in one corner
        luminance = (2 * 5 * 6 + 0.1**2) / (5**2 + 6**2 + 0.1**2)
        assert METRICS["ms_ssim"](target, target + 1) == pytest.approx(luminance**weight, rel=2e-3)


# Fourier ring correlation --------------------------------------------------------------------------------


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
    assert METRICS["frc50"](signal, filtered) == pytest.approx(cutoff + 0.5, abs=1.5)
    assert METRICS["frc50"](signal, filtered) <= METRICS["frc1over7"](signal, filtered)


def test_frc_uses_the_central_square():
    wide, other = RNG.normal(size=(2, 64, 100))
    np.testing.assert_allclose(
        frc_curve(wide, other).correlation, frc_curve(wide[:, 18:82], other[:, 18:82]).correlation
    )


@pytest.mark.parametrize("value", [0.0, 0.3, -2.0])
def test_a_constant_correlates_with_nothing(value):
    flat = np.full(IMAGE.shape, value)
    assert not frc_curve(IMAGE, flat).correlation.any()
    assert METRICS["frc50"](IMAGE, flat) == 0


def test_crossing_by_hand():
    rings = np.arange(1, 6)
    curve = FrcCurve(rings, rings / 10, np.array([1.0, 0.8, 0.4, 0.9, 0.0]))
    assert crossing(curve, 0.5) == pytest.approx((2 + 0.3 / 0.4, True))  # 0.8 -> 0.4 passes 0.5 at 3/4
    assert crossing(curve, 0.1) == pytest.approx((4 + 0.8 / 0.9, True))
    assert crossing(curve, -0.1) == (5.0, False)
    assert crossing(FrcCurve(rings, rings / 10, np.full(5, 0.2)), 0.5) == (0.0, True)
    noisy_start = FrcCurve(rings, rings / 10, np.array([0.4, 0.9, 0.8, 0.4, 0.1]))
    assert crossing(noisy_start, 0.5) == pytest.approx((3 + 0.3 / 0.4, True))  # rings 1 to 5: 0.8 -> 0.4
    rising = FrcCurve(rings, rings / 10, np.array([0.4, 0.9, 0.9, 0.9, 0.9]))
    assert crossing(rising, 0.5) == (5.0, False)
