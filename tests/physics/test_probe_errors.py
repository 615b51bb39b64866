import numpy as np
import pytest

from ptycho.physics.probe_errors import jittered_positions, wrong_probe
from ptycho.physics.probes import PROBES

N = 32
PROBE = PROBES["zone_plate"](N, np.random.default_rng(3))
ERRORS = [{"defocus_rad": 2.0}, {"amplitude_blur_px": 1.5}, {"phase_noise_rad": 0.4}, {"shift_px": 1.5}]


def rng():
    return np.random.default_rng(7)


def energy(wave):
    return np.sum(np.abs(wave.astype(np.complex128)) ** 2)


def spectrum(wave):
    return np.fft.fft2(wave.astype(np.complex128))


def test_no_error_returns_the_probe_itself():
    assert wrong_probe(PROBE, rng(), defocus_rad=0, amplitude_blur_px=0, phase_noise_rad=0, shift_px=0) is PROBE


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: next(iter(error)))
def test_every_error_keeps_energy_and_type(error):
    wrong = wrong_probe(PROBE, rng(), **error)
    assert wrong.dtype == PROBE.dtype
    assert energy(wrong) == pytest.approx(energy(PROBE), rel=1e-5)
    assert np.abs(wrong - PROBE).max() > 0.01


def test_defocus_is_a_quadratic_phase_that_reaches_its_strength_at_the_edge_of_the_detector():
    change = spectrum(wrong_probe(PROBE, rng(), defocus_rad=0.8)) / spectrum(PROBE)
    # in FFT order index N/2 is the edge, q = -1/2; half of it is q = 1/4: a quarter of the phase
    lit = np.abs(spectrum(PROBE)) > 1e-3 * np.abs(spectrum(PROBE)).max()
    expected = {(0, 0): 0.0, (0, N // 4): 0.2, (N // 4, 0): 0.2, (N // 4, N // 4): 0.4, (0, 3 * N // 8): 0.45}
    checked = [index for index in expected if lit[index]]
    assert len(checked) >= 3
    for index in checked:
        assert np.angle(change[index]) == pytest.approx(expected[index], abs=2e-3)
        assert abs(change[index]) == pytest.approx(1, abs=2e-3)


def test_defocus_and_its_opposite_cancel():
    there = wrong_probe(PROBE, rng(), defocus_rad=5.0)
    np.testing.assert_allclose(wrong_probe(there, rng(), defocus_rad=-5.0), PROBE, atol=1e-5)


def test_a_shift_by_whole_pixels_moves_columns():
    np.testing.assert_allclose(wrong_probe(PROBE, rng(), shift_px=3), np.roll(PROBE, 3, axis=1), atol=1e-5)


def test_blur_smooths_the_amplitude_and_keeps_the_phase():
    wrong = wrong_probe(PROBE, rng(), amplitude_blur_px=2.0)
    bright = np.abs(PROBE) > 0.1
    np.testing.assert_allclose(np.angle(wrong[bright] / PROBE[bright]), 0, atol=1e-5)
    assert np.abs(wrong).max() < np.abs(PROBE).max()


def test_phase_noise_has_its_standard_deviation_and_one_pattern_for_all_strengths():
    weak, strong = (np.angle(wrong_probe(PROBE, rng(), phase_noise_rad=strength) / PROBE) for strength in (0.1, 0.3))
    assert weak.std() == pytest.approx(0.1, rel=1e-3)
    np.testing.assert_allclose(strong, 3 * weak, atol=1e-4)
    # neighbours are alike: the field is smooth over N / 8 = 4 pixels
    assert np.std(np.diff(weak, axis=1)) < 0.6 * weak.std()


def positions(jitter, n=4000):
    x, y = np.random.default_rng(0).uniform(20, 80, (2, n))
    return (x, y), jittered_positions(x, y, jitter, rng(), (100, 100), N)


def test_no_jitter_returns_the_positions_themselves():
    (x, y), (moved_x, moved_y) = positions(0.0)
    assert moved_x is x
    assert moved_y is y


def test_jitter_has_its_standard_deviation_along_both_axes():
    (x, y), (moved_x, moved_y) = positions(0.5)
    errors = np.stack([moved_x - x, moved_y - y])
    np.testing.assert_allclose(errors.std(axis=1), 0.5, rtol=0.05)
    assert abs(np.corrcoef(errors)[0, 1]) < 0.05


def test_jitter_leaves_no_window_outside_the_object():
    x = np.array([16.0, 84.0, 50.0])
    moved = jittered_positions(x, x, 30.0, rng(), (100, 100), N)
    assert np.min(moved) >= 16
    assert np.max(moved) <= 84
