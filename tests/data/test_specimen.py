import numpy as np
import pytest

from ptycho.data.specimen import dead_leaves, defocused_probe, specimen, specimen_object, texture
from ptycho.errors import InputError


def rng(seed=0):
    return np.random.default_rng(seed)


# object --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("phase_rad", "absorption"), [(1.5, 0.3), (6.0, 0.0), (0.1, 0.9)])
def test_phase_and_amplitude_fill_their_ranges(phase_rad, absorption):
    found = specimen_object(128, phase_rad, absorption, rng(3))
    assert found.shape == (128, 128)
    assert found.dtype == np.complex64
    amplitude, phase = np.abs(found), np.angle(found) % (2 * np.pi)
    phase = np.where(phase > 2 * np.pi - 1e-4, 0, phase)  # -0 of rounding
    assert 1 - absorption - 1e-6 <= amplitude.min()
    assert amplitude.max() <= 1 + 1e-6
    assert phase.max() <= phase_rad + 1e-5
    assert np.ptp(phase) > 0.7 * phase_rad
    assert np.ptp(amplitude) >= 0.6 * absorption


def test_amplitude_and_phase_are_not_one_picture():
    found = specimen_object(256, 1.5, 0.3, rng(3))
    correlation = np.corrcoef(np.abs(found).ravel(), np.angle(found).ravel())[0, 1]
    assert -0.95 < correlation < -0.2  # thicker is darker, yet not by thickness alone


def test_leaves_of_all_tones_hide_most_of_the_ground(monkeypatch):
    # a leaf covers 0.6 (mean aspect) pi E[r^2], 263 px, where r**-3 from 6 to 40 gives
    # E[r^2] = 2 ln(40 / 6) / (1 / 36 - 1 / 1600) = 140; 6 A / (pi 6 40) leaves on A hide all but exp(-2.1) = 12 %
    monkeypatch.setattr("ptycho.data.specimen.EDGE_BLUR_PX", 0)
    image = dead_leaves((288, 320), rng(1))
    assert image.shape == (288, 320)
    assert 0 <= image.min() < 0.05
    assert 0.95 < image.max() <= 1
    assert np.mean(image == 0.5) < 0.2


def test_edges_have_every_direction():
    gy, gx = np.gradient(dead_leaves((256, 256), rng(1)))
    strong = np.hypot(gy, gx) > 0.1
    directions = np.histogram(np.arctan2(gy, gx)[strong] % np.pi, bins=8, range=(0, np.pi))[0] / strong.sum()
    assert directions.min() > 0.04  # evenly would be 1/8


def test_texture_is_a_gaussian_field_of_the_stated_correlation():
    # white noise blurred by s has the autocorrelation exp(-d^2 / (4 s^2)): with s = 4/2, 1/e at d = 4
    field = texture((400, 400), rng(2), correlation_px=4)
    assert field.mean() == pytest.approx(0, abs=1e-12)
    assert field.var() == pytest.approx(1)
    for lag, expected in ((2, np.exp(-0.25)), (4, np.exp(-1)), (12, np.exp(-9))):
        for axis in (0, 1):
            assert np.mean(field * np.roll(field, lag, axis)) == pytest.approx(expected, abs=0.05)


# probe ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("window_px", "inside", "rim"), [(32, 0.97, 0.006), (64, 0.99, 1e-3), (128, 0.995, 3e-4)]
)  # fmt: skip
def test_the_probe_is_centred_and_lies_inside_its_window(window_px, inside, rim, seed):
    probe = defocused_probe(window_px, rng(seed))
    assert probe.dtype == np.complex64
    assert np.abs(probe).max() == pytest.approx(1, abs=1e-6)
    energy = np.square(np.abs(probe.astype(complex)))
    energy /= energy.sum()
    offset = (np.indices(energy.shape) - window_px // 2) / window_px
    assert np.abs((energy * offset).sum(axis=(1, 2))).max() < 0.03
    eighth = window_px // 8
    assert energy[eighth:-eighth, eighth:-eighth].sum() > inside  # the central 3/4 of the side
    assert 1 - energy[1:-1, 1:-1].sum() < rim  # the outermost pixels


@pytest.mark.parametrize("window_px", [32, 64])
def test_the_beam_spreads_over_about_half_the_window(window_px):
    energy = np.square(np.abs(defocused_probe(window_px, rng(0))))
    offset = np.indices(energy.shape) - window_px // 2
    width = 2 * np.sqrt((energy * (offset**2).sum(axis=0)).sum() / energy.sum())
    assert 0.25 * window_px < width < 0.55 * window_px


def test_the_far_field_of_the_probe_is_an_annulus():
    n = 64
    field = np.abs(np.fft.fftshift(np.fft.fft2(defocused_probe(n, rng(0)).astype(complex))))
    radius = np.hypot(*(np.indices((n, n)) - n // 2)) / n
    lit = (radius > 0.06 + 1 / n) & (radius < 0.36 - 1 / n)
    dark = (radius <= 0.06) | (radius >= 0.36)
    assert field[dark].max() < 1e-4 * field[lit].min()
    assert np.ptp(field[lit]) < 1e-3 * field[lit].mean()  # a phase mask takes no light


# both ----------------------------------------------------------------------------------------------------


def test_the_seed_decides_everything():
    first, again, other = (specimen(96, 16, 1.5, 0.3, seed) for seed in (1, 1, 2))
    for name in ("object", "probe", "xcoords", "ycoords"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert (getattr(first, name) != getattr(other, name)).any()


def test_it_comes_as_a_reconstruction_scanned_where_windows_fit():
    found = specimen(120, 32, 1.2, 0.2, seed=5)
    assert found.object.shape == (120, 120)
    assert found.probe.shape == (32, 32)
    assert found.xcoords.size == 20**2  # 6 px apart on the mean
    for coordinate in (found.xcoords, found.ycoords):
        assert 16 <= coordinate.min() < 24
        assert 96 < coordinate.max() <= 104
    assert found.metadata["steps"][0]["step"] == "specimen"
    assert found.metadata["steps"][0]["parameters"] == {
        "size_px": 120, "window_px": 32, "phase_rad": 1.2, "absorption": 0.2, "seed": 5,
    }  # fmt: skip


def test_a_specimen_smaller_than_its_windows_is_refused():
    with pytest.raises(InputError, match=r"specimen of 96 px is smaller than its windows of 128 px: raise its size"):
        specimen(96, 128, 1.5, 0.3, seed=0)
