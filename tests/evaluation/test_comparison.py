import numpy as np
import pytest

from ptycho.errors import InputError
from ptycho.evaluation import comparison, metrics
from ptycho.evaluation.comparison import Arm, compare, contrast
from ptycho.results import schema

REGION = slice(12, 108), slice(15, 125)
VALUES = [
    "registration_offset_dy",
    "registration_offset_dx",
    "computation_time_s",
    "amplitude_scale",
    "phase_offset_rad",
    "phase_slope_y",
    "phase_slope_x",
    "registration_refused",
    "covered_share",
    "r_factor",
]
MARKS = ["frc50_at_nyquist", "frc50_cycles_per_px", "frc50_half_period_nm"]


def run(truth, *arms, **options):
    return compare(arms, truth, REGION, **{"registration_max_px": 3.0, **options})


def rows(result, model):
    return result.metrics[result.metrics.model == model].set_index("metric")


@pytest.fixture
def noisy(truth):
    noise = np.random.default_rng(0).normal(0, 0.1, (2, *truth.shape))
    return (truth + noise[0] + 1j * noise[1]).astype(np.complex64)


def test_the_truth_as_prediction_is_perfect(truth):
    found = rows(run(truth, Arm("PtychoPINN", truth, 1.5, r_factor=0.25), pixel_size_m=10e-9), "PtychoPINN")
    side = REGION[0].stop - REGION[0].start
    expected = {"mae": 0, "mse": 0, "rmse": 0, "psnr": np.inf, "psnr_peak255": np.inf}
    expected |= {"ssim": 1, "ms_ssim": 1, **dict.fromkeys(("frc50", "frc50_first", "frc1over7"), side / 2)}
    expected |= {"frc50_at_nyquist": 1, "frc50_cycles_per_px": 0.5, "frc50_half_period_nm": 10}
    for part in ("amplitude", "phase"):
        assert found[part].dropna().to_dict() == pytest.approx(expected)
    values = {"computation_time_s": 1.5, "amplitude_scale": 1, "covered_share": 1, "r_factor": 0.25}
    assert found.value.dropna().to_dict() == pytest.approx(dict.fromkeys(VALUES, 0) | values)
    assert (found.status == "ok").all()


def test_the_tables_are_tidy(truth, noisy):
    result = run(truth, Arm("PtychoPINN", noisy, 1), Arm("Baseline", truth, 2), pixel_size_m=20e-9)
    assert list(result.metrics.columns) == ["model", "metric", "amplitude", "phase", "value", "status"]
    assert result.metrics.metric.tolist() == 2 * [*metrics.METRICS, *MARKS, *VALUES]
    assert result.metrics[["amplitude", "phase", "value"]].dtypes.eq(float).all()
    curves = result.frc_curves
    assert list(curves.columns) == [
        "model", "part", "ring_px", "cycles_per_px", "half_period_nm", "correlation", "error_power", "truth_power"
    ]  # fmt: skip
    assert curves.groupby(["model", "part"]).size().tolist() == 4 * [48]
    # the side is 96 px: ring 48 is Nyquist, whose half-period is a pixel, 20 nm
    assert curves.loc[curves.ring_px == 48, "half_period_nm"].tolist() == pytest.approx(4 * [20])
    assert list(result.objects) == ["ground_truth", "PtychoPINN", "Baseline"]
    assert {image.shape for image in result.objects.values()} == {(96, 110)}
    assert result.region == REGION


def test_half_period_is_empty_or_left_out_where_the_pixel_size_is_unknown(truth):
    result = run(truth, Arm("Baseline", truth, 2))
    assert result.frc_curves.half_period_nm.isna().all()
    assert "frc50_half_period_nm" not in set(result.metrics.metric)


def test_frc50_is_told_as_a_frequency_and_a_half_period_too(truth, noisy):
    found = rows(run(truth, Arm("A", noisy, 1), pixel_size_m=20e-9, window_px=32), "A")
    for part in ("amplitude", "phase"):
        frequency = found[part]["frc50"] / 96  # the shorter side, pixels
        assert 0 < frequency < 0.5
        assert found[part]["frc50_at_nyquist"] == 0
        assert found[part]["frc50_cycles_per_px"] == pytest.approx(frequency)
        assert found[part]["frc50_half_period_nm"] == pytest.approx(20 / (2 * frequency))


def test_metrics_are_those_of_the_aligned_images(truth, noisy):
    result = run(truth, Arm("Iterative", noisy * 0.5 * np.exp(0.8j), 1))
    found, aligned, target = rows(result, "Iterative"), result.objects["Iterative"], result.objects["ground_truth"]
    np.testing.assert_allclose(np.abs(target), np.abs(truth[REGION]), rtol=1e-6)
    tilt = np.angle(target * truth[REGION].conj())  # the truth's own plane, taken off it
    np.testing.assert_allclose(np.diff(tilt, 2, axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.diff(tilt, 2, axis=1), 0, atol=1e-6)
    assert np.angle(target).mean() == pytest.approx(0, abs=1e-9)
    assert found.amplitude["rmse"] == pytest.approx(np.std(np.abs(aligned) - np.abs(target)), rel=1e-3)
    difference = np.angle(aligned * target.conj())
    assert found.phase["mae"] == pytest.approx(np.abs(difference).mean(), rel=1e-3)
    psnr = 20 * np.log10(np.ptp(np.angle(target)) / np.sqrt(np.mean(difference**2)))
    assert found.phase["psnr"] == pytest.approx(psnr, rel=1e-3)


def test_wraps_of_the_phase_do_not_count(truth):
    strong = (np.abs(truth) * np.exp(4j * np.angle(truth))).astype(np.complex64)
    assert np.ptp(np.angle(strong[REGION])) > 6.2
    found = rows(run(strong, Arm("A", strong * np.exp(3j), 1)), "A")
    assert found.phase["rmse"] < 1e-4


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_arm_that_is_not_finite_fails_and_the_others_do_not(truth, value):
    broken = truth.copy()
    broken[60, 60] = value
    result = run(truth, Arm("PtychoPINN", broken, 3), Arm("Baseline", truth, 2))
    failed = rows(result, "PtychoPINN")
    assert (failed.status == "failed").all()
    assert failed[["amplitude", "phase"]].isna().all(axis=None)
    assert failed.value["computation_time_s"] == 3
    assert (rows(result, "Baseline").status == "ok").all()
    assert set(result.frc_curves.model) == {"Baseline"}
    assert result.objects["PtychoPINN"].shape == result.objects["ground_truth"].shape


def test_all_arms_failed_is_a_table_still(truth):
    result = run(truth, Arm("PtychoPINN", np.full_like(truth, np.nan), 3))
    assert result.frc_curves.empty
    assert result.metrics.amplitude.isna().all()


def test_nan_outside_the_region_does_not_matter(truth):
    rim = truth.copy()
    rim[:5] = np.nan
    assert rows(run(truth, Arm("A", rim, 1)), "A").amplitude["rmse"] == 0


@pytest.mark.parametrize("value", [0, 0.5, np.exp(2j)])
def test_a_constant_is_a_collapsed_arm_with_metrics(truth, value):
    flat = np.full_like(truth, value)
    tilt = np.exp(0.1j * np.arange(truth.shape[1]))
    for image in (flat, flat * tilt):
        found = rows(run(truth, Arm("Baseline", image, 1)), "Baseline")
        assert (found.status == "collapsed").all()
        assert np.isfinite(found.phase["rmse"])
        assert found.amplitude["frc50"] == 0
        assert found.value["registration_refused"] == 1


def test_faint_structure_is_no_collapse_above_the_threshold(truth):
    mean = truth.mean()
    for share, status in ((0.02, "collapsed"), (0.2, "ok")):
        faint = mean + share * (truth - mean)
        assert (rows(run(truth, Arm("A", faint, 1)), "A").status == status).all()


def test_a_known_status_stays(truth):
    for status in ("diverged", "failed"):
        for image in (truth, np.zeros_like(truth), np.full_like(truth, np.nan)):
            assert (rows(run(truth, Arm("A", image, 1, status)), "A").status == status).all()


def test_a_refused_registration_is_marked(truth, specimen):
    far = specimen(np.arange(120.0)[:, None] - 20, np.arange(140.0))
    found = rows(run(truth, Arm("A", far, 1)), "A")
    assert found.value["registration_refused"] == 1
    assert found.value["registration_offset_dy"] == 0
    assert rows(run(truth, Arm("A", far, 1), registration_max_px=0), "A").value["registration_refused"] == 0


def test_pixels_that_no_patch_covered_count_as_they_are(truth):
    holes = truth.copy()
    holes[50:60, 50:60] = 0
    result = run(truth, Arm("A", holes, 1))
    assert not result.objects["A"][38:48, 35:45].any()
    assert rows(result, "A").amplitude["rmse"] > 0.05


def test_a_registered_metric_appears(truth, monkeypatch):
    monkeypatch.setitem(comparison.METRICS, "worst", lambda images: np.abs(images.difference).max())
    found = rows(run(truth, Arm("A", 2 * truth, 1)), "A")
    assert found.amplitude["worst"] == pytest.approx(0, abs=1e-6)


def test_the_frc_of_each_part_is_computed_once(truth, noisy, monkeypatch):
    calls = []
    true = metrics.frc_curve
    monkeypatch.setattr(metrics, "frc_curve", lambda *images: calls.append(images) or true(*images))
    run(truth, Arm("A", noisy, 1), Arm("B", truth, 1), pixel_size_m=10e-9)
    assert len(calls) == 4  # two arms, amplitude and phase


def test_without_a_truth_nothing_is_scored_and_planes_are_gone(truth):
    y, x = np.mgrid[: truth.shape[0], : truth.shape[1]]
    tilted = (3 * truth * np.exp(1j * (0.2 * y - 0.1 * x + 2))).astype(np.complex64)
    broken = truth.copy()
    broken[60, 60] = np.nan
    arms = [
        Arm("A", tilted, 1.5, r_factor=0.1),
        Arm("B", truth, 2, "diverged", r_factor=0.2),
        Arm("C", broken, 3, r_factor=0.3),
    ]
    result = run(None, *arms)
    known = ["computation_time_s", "covered_share", "r_factor"]
    assert result.metrics.metric.tolist() == 3 * [*metrics.METRICS, *MARKS[:-1], *known]
    assert result.metrics[["amplitude", "phase"]].isna().all(axis=None)
    assert result.metrics.value.dropna().tolist() == [1.5, 1, 0.1, 2, 1, 0.2, 3, 1, 0.3]
    statuses = result.metrics.groupby("model").status.unique().map(list).to_dict()
    assert statuses == {"A": ["no_truth"], "B": ["diverged"], "C": ["failed"]}
    assert result.frc_curves.empty
    assert list(result.frc_curves.columns) == schema.FRC_COLUMNS
    assert list(result.objects) == ["A", "B", "C"]
    np.testing.assert_allclose(np.abs(result.objects["A"]), np.abs(tilted[REGION]), rtol=1e-5)
    design = np.stack([np.ones_like(y), y, x], axis=-1)[REGION].reshape(-1, 3)
    for name in "AB":  # the phase of what is left, which has no wraps, is level
        level = np.linalg.lstsq(design, np.angle(result.objects[name]).ravel(), rcond=None)[0]
        np.testing.assert_allclose(level, 0, atol=1e-4)
    assert np.abs(np.angle(result.objects["A"] * result.objects["B"].conj())).max() < 1e-3
    np.testing.assert_array_equal(result.objects["C"], broken[REGION])


def test_contrast_of_a_weak_wave_by_hand():
    # a cosine of amplitude a has variance a^2 / 2; amplitude 0.02 and phase 0.03: sqrt((4 + 9) / 2) %
    x = 2 * np.pi * np.arange(100) / 20
    wave = np.tile((1 + 0.02 * np.cos(x)) * np.exp(0.03j * np.cos(x)), (50, 1))
    assert contrast(wave) == pytest.approx(0.01 * np.sqrt(13 / 2), rel=1e-2)
    assert contrast(np.zeros((5, 5), complex)) == 0


def test_names_must_differ_and_shapes_agree(truth):
    with pytest.raises(InputError, match="each name once only"):
        run(truth, Arm("A", truth, 1), Arm("A", truth, 1))
    with pytest.raises(InputError, match="none ground_truth"):
        run(truth, Arm("ground_truth", truth, 1))
    with pytest.raises(InputError, match="same shape"):
        run(truth, Arm("A", truth[1:], 1))
