"""What ptychography leaves free, and what the scan does not cover, changes no figure; worse images score worse."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal.windows import tukey

from ptycho.evaluation.alignment import align
from ptycho.evaluation.comparison import Arm, compare
from ptycho.evaluation.metrics import METRICS, Images
from ptycho.physics.misfit import covered_r_factors
from ptycho.physics.patches import extract_patches
from ptycho.physics.probes import gaussian_probe
from ptycho.physics.stitching import covered_pixels, evaluated_region, stitch
from ptycho.preparation.scan import simulate
from ptycho.preparation.specimen import specimen as drawn_specimen
from ptycho.results.schema import MARKS

REGION = slice(12, 108), slice(15, 125)
SHAPE = 120, 140
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
N = 32
SCORES = [*METRICS, "frc50_at_nyquist", "frc50_cycles_per_px"]


def scores(truth, image, *, region=REGION, **options):
    """Return every metric of amplitude and phase, and the status."""
    found = compare([Arm("a", image, 0.0)], truth, region, registration_max_px=3.0, window_px=N, **options).metrics
    rows = found[found.metric.isin(SCORES)].set_index("metric")
    values = {f"{name} {part}": rows.loc[name, part] for name in SCORES for part in ("amplitude", "phase")}
    return values, rows.status.iloc[0]


def complex_noise(seed, shape=SHAPE):
    noise = np.random.default_rng(seed).normal(size=(2, *shape))
    return noise[0] + 1j * noise[1]


@pytest.fixture(scope="module")
def strong(specimen):
    """A specimen whose phase reaches over some turns: its angle is wrapped."""
    image = specimen(Y, X)
    return np.abs(image) * np.exp(1j * 6 * np.angle(image))


def predictions(truth):
    """Return images from good to worthless."""
    blurred = gaussian_filter(truth.real, 1.5) + 1j * gaussian_filter(truth.imag, 1.5)
    return {
        "the truth": truth,
        "blurred": blurred,
        "noisy": truth + 0.3 * complex_noise(0),
        "mirrored": truth[::-1],
        "noise": complex_noise(1),
    }


def plane(offset, slope_y, slope_x):
    return np.exp(1j * (offset + slope_y * Y + slope_x * X))


FREE = {
    "a phase": lambda: plane(3.0, 0, 0),
    "a phase of half a turn": lambda: plane(np.pi, 0, 0),
    "a plane": lambda: plane(-1.0, 0.031, -0.027),
    "a steep plane": lambda: plane(0.5, -1.1, 0.7),
}


@pytest.mark.parametrize("factor", FREE.values(), ids=FREE)
@pytest.mark.parametrize("kind", ["the truth", "blurred", "noisy", "mirrored", "noise"])
@pytest.mark.parametrize("object_phase", ["weak", "strong"])
def test_a_phase_or_plane_of_truth_or_prediction_changes_no_figure(specimen, strong, object_phase, kind, factor):
    truth = specimen(Y, X) if object_phase == "weak" else strong
    image = predictions(truth)[kind]
    expected, status = scores(truth, image)
    for changed in ((truth * factor(), image), (truth, image * factor()), (truth * factor(), image * factor())):
        found, found_status = scores(*changed)
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)
        assert found_status == status


@pytest.mark.parametrize("scale", [0.5, 2.9])
@pytest.mark.parametrize("kind", ["blurred", "noisy"])
def test_the_amplitude_of_a_prediction_changes_no_figure(specimen, kind, scale):
    truth = specimen(Y, X)
    image = predictions(truth)[kind]
    assert scores(truth, scale * image)[0] == pytest.approx(scores(truth, image)[0], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("scale", [0.01, 100])
def test_the_level_of_the_truth_changes_what_has_its_unit_and_nothing_else(specimen, scale):
    truth = specimen(Y, X)
    image = predictions(truth)["noisy"]
    expected, found = scores(truth, image)[0], scores(scale * truth, scale * image)[0]
    for name in ("rmse amplitude", "mae amplitude"):
        expected[name] *= scale
    expected["mse amplitude"] *= scale**2
    expected["psnr_peak255 amplitude"] -= 20 * np.log10(scale)
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_common_shift_of_truth_prediction_and_region_changes_no_figure(specimen):
    truth = specimen(Y, X)
    image = predictions(truth)["noisy"]
    wide = [np.pad(array, 20, mode="symmetric") for array in (truth, image)]
    moved = tuple(slice(part.start + 20, part.stop + 20) for part in REGION)
    assert scores(*wide, region=moved)[0] == pytest.approx(scores(truth, image)[0], rel=1e-9)


def dark_in_parts(truth):
    """Return a truth that lets no light through in parts, where it has no phase."""
    return np.where((np.hypot(Y - 60, X - 50) < 12) | (X > 110), 0, truth)


@pytest.mark.parametrize("factor", FREE.values(), ids=FREE)
@pytest.mark.parametrize("holes", [False, True])
def test_so_with_dark_parts_holes_and_a_shift(specimen, holes, factor):
    covered = with_holes() if holes else np.ones(SHAPE, bool)
    truth = dark_in_parts(specimen(Y, X))
    image = dark_in_parts(specimen(Y - 1.3, X + 0.6)) + 0.05 * complex_noise(0)
    image[40:43, 70:75] = 0  # no phase there either
    expected, status = scores(truth, image, covered=covered)
    assert status == "ok"
    for changed in ((truth * factor(), image), (truth, image * factor())):
        assert scores(*changed, covered=covered)[0] == pytest.approx(expected, rel=1e-9, abs=1e-9)


# what is not covered -------------------------------------------------------------------------------------


def with_holes(seed=0):
    """Return pixels covered but for single ones, a hole and a ragged corner."""
    covered = np.random.default_rng(seed).random(SHAPE) > 0.005
    covered[60:75, 40:52] = False
    covered[Y + X < 60] = False
    return covered


@pytest.mark.parametrize("filling", [0, np.nan, np.inf, 1e20, 7 - 3j])
def test_pixels_that_are_not_covered_may_hold_anything(specimen, filling):
    truth, covered = specimen(Y, X), with_holes()
    image = predictions(truth)["noisy"]
    expected, status = scores(truth, image, covered=covered)
    assert status == "ok"
    assert np.isfinite([value for value in expected.values()]).all()
    holed = np.where(covered, image, filling)
    assert scores(truth, holed, covered=covered)[0] == pytest.approx(expected, rel=1e-12)
    outside = np.where(covered, truth, filling)
    assert scores(outside, holed, covered=covered)[0] == pytest.approx(expected, rel=1e-12)


def test_a_covered_pixel_that_is_not_finite_fails(specimen):
    truth, covered = specimen(Y, X), with_holes()
    image = truth.copy()
    image[tuple(np.argwhere(covered[REGION])[5] + [REGION[0].start, REGION[1].start])] = np.nan
    assert scores(truth, image, covered=covered)[1] == "failed"


def test_where_all_is_covered_a_mask_changes_nothing(specimen):
    truth = specimen(Y, X)
    image = predictions(truth)["noisy"]
    assert scores(truth, image, covered=np.ones(SHAPE, bool))[0] == scores(truth, image)[0]


def test_differences_are_those_of_the_covered_pixels_by_hand(specimen):
    truth, covered = specimen(Y, X), with_holes()
    aligned = align(truth + 0.1 * complex_noise(3), truth, REGION, 0, covered)
    inside = covered[REGION]
    images = Images.of(np.abs(aligned.truth), np.abs(aligned.prediction), inside)
    error = (np.abs(aligned.prediction) - np.abs(truth[REGION]))[inside]
    assert METRICS["rmse"](images) == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-12)
    span = np.ptp(np.abs(truth[REGION])[inside])
    assert METRICS["psnr"](images) == pytest.approx(20 * np.log10(span / np.sqrt(np.mean(error**2))), rel=1e-12)


def scan(kind):
    """Return whole positions, (x, y), of a scan that leaves part of its box out."""
    y, x = np.mgrid[26:94:4, 26:114:4].reshape(2, -1)
    if kind == "round":
        keep = np.hypot(y - 60, x - 70) < 34
    elif kind == "triangular":
        keep = (y - 26) / 68 > (x - 26) / 88
    else:  # sparse: patches that do not touch
        y, x = np.mgrid[26:94:22, 26:114:22].reshape(2, -1)
        keep = np.ones(x.size, bool)
    return x[keep].astype(float), y[keep].astype(float)


@pytest.mark.parametrize("kind", ["round", "triangular", "sparse"])
def test_perfect_patches_of_any_scan_give_perfect_figures(specimen, kind):
    truth, (x, y) = specimen(Y, X), scan(kind)
    probe = gaussian_probe(N, np.random.default_rng(0))
    crop = N // 2
    stitched = stitch(extract_patches(truth, x, y, N), x, y, probe, SHAPE, crop)
    region, covered = evaluated_region(x, y, crop, SHAPE, 0), covered_pixels(x, y, probe, SHAPE, crop)
    assert covered[region].mean() < 0.9
    found, status = scores(truth.astype(np.complex64), stitched.object, region=region, covered=covered)
    perfect = {"rmse": 0, "mae": 0, "mse": 0, "ssim": 1, "ms_ssim": 1, "frc50_at_nyquist": 1}
    for name, value in perfect.items():
        for part in ("amplitude", "phase"):
            assert found[f"{name} {part}"] == pytest.approx(value, abs=1e-6)
    assert found["psnr amplitude"] > 110
    assert found["psnr phase"] > 110
    assert status == "ok"


def test_coverage_is_where_stitching_puts_weight():
    rng = np.random.default_rng(5)
    x, y = rng.uniform(20, 120, 30), rng.uniform(20, 100, 30)
    probe = gaussian_probe(N, rng)
    ones = np.ones((30, N, N), np.complex64)
    weight = stitch(ones, x, y, np.ones_like(probe), SHAPE, N // 2).weight  # shares of patches, by another way
    np.testing.assert_array_equal(covered_pixels(x, y, probe, SHAPE, N // 2), weight > 0.5 * (1 + 1e-3))


# better and worse ----------------------------------------------------------------------------------------

FALLING = ("psnr", "psnr_peak255", "ssim", "ms_ssim", "frc50")
RISING = ("rmse", "mae", "mse")


@pytest.fixture(scope="module")
def textured():
    """An object with structure at all frequencies, of amplitude and phase alike."""
    rng = np.random.default_rng(11)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SHAPE[0]), np.fft.fftfreq(SHAPE[1]), indexing="ij"))
    fields = np.fft.ifft2(np.fft.fft2(rng.normal(size=(2, *SHAPE))) / (0.02 + frequency)).real
    fields /= fields.std(axis=(1, 2), keepdims=True)
    return (1 + 0.1 * fields[0]) * np.exp(0.3j * fields[1])


def assert_monotone(found):
    for part in ("amplitude", "phase"):
        for name in FALLING:
            values = [one[f"{name} {part}"] for one in found]
            assert all(a >= b for a, b in pairwise(values)), (name, part, values)
            assert values[0] > values[-1]
        for name in RISING:
            values = [one[f"{name} {part}"] for one in found]
            assert all(a < b for a, b in pairwise(values)), (name, part, values)


def test_more_blur_scores_worse(textured):
    amplitude, phase = np.abs(textured), np.angle(textured)
    blurred = [gaussian_filter(amplitude, s) * np.exp(1j * gaussian_filter(phase, s)) for s in (0.5, 1, 1.5, 2, 3, 4)]
    assert_monotone([scores(textured, image)[0] for image in blurred])


def test_more_noise_scores_worse(textured):
    noise = complex_noise(2)
    assert_monotone([scores(textured, textured + level * noise)[0] for level in (0.02, 0.05, 0.1, 0.2, 0.4)])


@pytest.mark.parametrize("plane", [(0, 0), (2e-3, -1e-3), (-1e-3, 3e-3)])
@pytest.mark.parametrize("offset", [0, 0.05])
def test_an_error_of_the_alignment_hardly_moves_frc50(textured, plane, offset):
    """A plane of 0.3 rad over the region and an offset: what registration and fit of the phase may get wrong."""
    region = textured[REGION]
    y, x = Y[REGION] - Y[REGION].mean(), X[REGION] - X[REGION].mean()
    blurred = gaussian_filter(np.angle(region), 1.2) + 0.05 * np.random.default_rng(0).normal(size=y.shape)
    for target in (np.angle(region),):
        expected = METRICS["frc50"](Images.of(target, blurred, window_px=N))
        found = METRICS["frc50"](Images.of(target, blurred + offset + plane[0] * y + plane[1] * x, window_px=N))
        assert found == pytest.approx(expected, rel=0.02)


# what status says ----------------------------------------------------------------------------------------


def test_noise_is_failed_and_said_so(specimen, caplog):
    truth = specimen(Y, X)
    assert scores(truth, complex_noise(1))[1] == "failed"
    assert "noise, failed" in caplog.text


@pytest.mark.parametrize("scale", [1e-20, 0.2, 5, 1e20])
def test_a_far_amplitude_is_failed_where_the_probe_is_known(specimen, caplog, scale):
    truth = specimen(Y, X)
    assert scores(truth, scale * truth)[1] == "failed"
    assert "amplitude must be scaled" in caplog.text
    other = compare([Arm("a", scale * truth, 0.0, known_probe=False)], truth, REGION, registration_max_px=0)
    assert set(other.metrics.status) == {"ok"}


@pytest.mark.parametrize(("r_factor", "status"), [(0.1, "ok"), (0.29, "ok"), (0.31, "failed"), (1e9, "failed")])
def test_patterns_explained_far_worse_than_by_an_empty_object_are_failed(specimen, r_factor, status):
    truth = specimen(Y, X)
    arm, options = Arm("a", truth, 0.0, r_factor=r_factor), {"registration_max_px": 0, "empty_r_factor": 0.2}
    assert set(compare([arm], truth, REGION, **options).metrics.status) == {status}
    unscored = compare([arm], None, REGION, **options).metrics
    assert set(unscored.status) == {"no_truth" if status == "ok" else "failed"}


@pytest.mark.parametrize("photons", [1e1, 1e3, 1e6])
def test_the_truth_is_never_failed_whatever_the_dose(photons):
    scan = simulate(drawn_specimen(96, N, 1.5, 0.3, seed=3), 60, photons, seed=4).loaded()
    covered = covered_pixels(scan.xcoords, scan.ycoords, scan.probe, scan.object.shape, N // 2)
    r_factor, empty = covered_r_factors([scan.object, np.ones_like(scan.object)], scan, covered)
    assert np.isfinite([r_factor, empty]).all()
    arm = Arm("a", scan.object, 0.0, r_factor=r_factor)
    found = compare([arm], scan.object, (slice(20, 76),) * 2, registration_max_px=0, empty_r_factor=empty)
    assert set(found.metrics.status) == {"ok"}


def test_a_smooth_error_of_the_phase_is_no_noise(specimen):
    truth = specimen(Y, X)
    slow = truth * np.exp(4j * np.cos(2 * np.pi * X / 60) * np.cos(2 * np.pi * Y / 50))
    assert scores(truth, slow)[1] == "ok"


def test_the_covered_share_is_in_the_table_and_a_low_one_is_said(specimen, caplog):
    truth, covered = specimen(Y, X), with_holes()
    found = compare([Arm("a", truth, 0.0)], truth, REGION, registration_max_px=0, covered=covered).metrics
    share = found.set_index("metric").value["covered_share"]
    assert share == covered[REGION].mean()
    assert f"covers {100 * share:.1f} %" in caplog.text


def test_the_spectrum_of_the_phase_error_sums_to_its_mean_square(specimen):
    truth = specimen(Y, X)
    slow = truth * np.exp(0.2j * np.cos(2 * np.pi * X / 55))  # two periods over the region of 110 px
    curves = compare([Arm("a", slow, 0.0)], truth, REGION, registration_max_px=0).frc_curves
    phase = curves[curves.part == "phase"]
    error = align(slow, truth, REGION, 0).phase_difference
    window = np.outer(*(tukey(side, 0.5) for side in error.shape))
    seen = window * (error - np.average(error, weights=window))
    assert phase.error_power.sum() == pytest.approx(np.sum(seen**2) / np.sum(window**2), rel=1e-3)  # Parseval
    slowest = phase[phase.cycles_per_px < 3.5 / 96]  # the window smears a period of 55 px over three rings
    assert slowest.error_power.sum() > 0.99 * phase.error_power.sum()
    assert set(MARKS) >= {"frc50_cycles_per_px", "frc50_half_period_nm"}


@pytest.mark.parametrize("side", [352, 353, 720])
def test_images_of_more_scales_than_there_are_weights_are_scored(side):
    image = gaussian_filter(np.random.default_rng(0).normal(size=(side, side)), 2)
    values = [METRICS["ms_ssim"](Images.of(image, gaussian_filter(image, sigma))) for sigma in (0, 1, 3)]
    assert values[0] == pytest.approx(1)
    assert 1 > values[1] > values[2] > 0
