from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from ptycho.errors import InputError
from ptycho.evaluation import metrics
from ptycho.evaluation.metrics import METRICS, Images, register

RNG = np.random.default_rng(0)
IMAGE = gaussian_filter(RNG.normal(size=(200, 230)), 1.5)
NOISY = IMAGE + RNG.normal(0, 0.1, IMAGE.shape)
NAMES = ["rmse", "mae", "mse", "psnr", "psnr_peak255", "ssim", "ms_ssim", "frc50", "frc50_first", "frc1over7"]


def measure(name, target, prediction):
    return METRICS[name](Images.of(target, prediction))


def test_the_registry_holds_the_metrics_of_the_study():
    assert list(METRICS) == NAMES


def test_a_name_is_registered_once(monkeypatch):
    monkeypatch.setattr(metrics, "METRICS", dict(METRICS))
    register("bias")(lambda images: float(np.mean(images.difference)))
    assert metrics.METRICS["bias"](Images.of(IMAGE, IMAGE + 1)) == pytest.approx(1)
    with pytest.raises(InputError, match="mae is registered already"):
        register("mae")(metrics.mae)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_perfect_prediction(dtype):
    image = IMAGE.astype(dtype)
    found = {name: metric(Images.of(image, image)) for name, metric in METRICS.items()}
    perfect = {"rmse": 0, "mae": 0, "mse": 0, "psnr": np.inf, "psnr_peak255": np.inf, "ssim": 1, "ms_ssim": 1}
    assert found == pytest.approx({**perfect, "frc50": 100, "frc50_first": 100, "frc1over7": 100})
    assert all(type(value) is float for value in found.values())


def test_differences_by_hand():
    # errors 1, -1, 0, 3: mean of |e| = 5/4, of e^2 = 11/4; the target's range is 4
    target, prediction = np.array([[0.0, 1], [2, 4]]), np.array([[1.0, 0], [2, 7]])
    assert measure("mae", target, prediction) == 1.25
    assert measure("mse", target, prediction) == 2.75
    assert measure("rmse", target, prediction) == pytest.approx(2.75**0.5)
    assert measure("psnr", target, prediction) == pytest.approx(10 * np.log10(16 / 2.75))
    assert measure("psnr_peak255", target, prediction) == pytest.approx(10 * np.log10(65025 / 2.75))


def test_scikit_image_agrees():
    span = np.ptp(IMAGE)
    assert measure("mse", IMAGE, NOISY) == pytest.approx(mean_squared_error(IMAGE, NOISY))
    assert measure("psnr", IMAGE, NOISY) == pytest.approx(peak_signal_noise_ratio(IMAGE, NOISY, data_range=span))
    assert measure("ssim", IMAGE, NOISY) == pytest.approx(structural_similarity(IMAGE, NOISY, data_range=span))


@pytest.mark.parametrize("name", ["psnr", "psnr_peak255"])
def test_a_match_to_the_rounding_of_float32_is_infinite(name):
    span = np.ptp(IMAGE)
    assert measure(name, IMAGE, IMAGE + 0.9e-7 * span) == np.inf
    assert measure(name, IMAGE, IMAGE + 1.1e-7 * span) < np.inf


@pytest.mark.parametrize("name", ["psnr", "ssim", "ms_ssim"])
def test_a_target_without_range_has_no_value(name):
    flat = np.full((50, 50), 0.3)
    rounding = flat + np.float32(1e-8) * (np.arange(50) % 2)
    assert np.isnan(measure(name, flat, flat + 0.1))
    assert np.isnan(measure(name, rounding, flat + 0.1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (6, 40), (11, 11)])
def test_small_images_do_not_crash(name, shape):
    rng = np.random.default_rng(1)
    assert isinstance(measure(name, rng.normal(size=shape), rng.normal(size=shape)), float)


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
    assert measure("ms_ssim", target, prediction) == pytest.approx(expected)


def test_ms_ssim_falls_with_noise():
    noise = np.random.default_rng(3).normal(size=IMAGE.shape)
    values = [measure("ms_ssim", IMAGE, IMAGE + level * noise) for level in (0, 0.02, 0.05, 0.2, 1)]
    assert values[0] == pytest.approx(1)
    assert all(a > b for a, b in pairwise(values))


def test_ms_ssim_of_the_negative_is_clamped_to_zero():
    assert measure("ms_ssim", IMAGE, -IMAGE) == 0


def test_ms_ssim_of_a_brighter_image_by_hand():
    # Adding a constant leaves contrast and structure at 1; luminance enters once, at the coarsest scale, to
    # the power of its weight: 0.1333 of the five, 0.2856 / (0.0448 + 0.2856) of the first two.
    rng = np.random.default_rng(6)
    for side, weight in ((176, 0.1333 / 1.0001), (43, 0.2856 / 0.3304)):
        target = 5 + 1e-3 * rng.uniform(-1, 1, (side, side))  # means are 5 everywhere, to 1e-3
        target[0, 0], target[0, 1] = 0, 10  # these set the range, in one corner
        luminance = (2 * 5 * 6 + 0.1**2) / (5**2 + 6**2 + 0.1**2)
        assert measure("ms_ssim", target, target + 1) == pytest.approx(luminance**weight, rel=2e-3)
