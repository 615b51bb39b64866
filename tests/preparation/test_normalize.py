"""The factor that object and probe share means nothing: whatever it is, data and results stay the same."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ptycho.config.schema import MeasuredConfig
from ptycho.data.metadata import Metadata
from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.physics.diffraction import diffraction_amplitude
from ptycho.preparation import normalize, resample
from ptycho.preparation.convert import dataset_from
from ptycho.preparation.load import load_scan, read_reconstruction
from ptycho.preparation.resample import transpose_rename_convert
from ptycho.preparation.scan import simulate
from ptycho.preparation.specimen import specimen
from ptycho.preparation.split import split

FACTORS = [0.01, 100, 1j, 0.09 * np.exp(2j), 1e-12, 1e12 * np.exp(-3j)]


@pytest.fixture(scope="module")
def arrays():
    """A reconstruction in double precision, as an iterative code leaves it."""
    drawn = specimen(64, 16, 1.5, 0.3, seed=3)
    return {
        "objectGuess": drawn.object.astype(np.complex128) * (1 + 1e-9j),
        "probeGuess": drawn.probe.astype(np.complex128) / 7,
        "xcoords": drawn.xcoords,
        "ycoords": drawn.ycoords,
    }


@pytest.fixture
def read(arrays, tmp_path):
    """Write the reconstruction with its object, and its probe, multiplied, and read it again."""

    def of(factor=1.0, probe_factor=1.0):
        changed = {"objectGuess": arrays["objectGuess"] * factor, "probeGuess": arrays["probeGuess"] * probe_factor}
        npz.write_npz(tmp_path / "input.npz", {**arrays, **changed})
        return read_reconstruction(tmp_path / "input.npz")

    return of


def test_an_object_is_read_at_level_1_and_mean_phase_0(read):
    found = read(0.09 * np.exp(2j))
    assert normalize.lit_factor(found.object, found.probe, found.xcoords, found.ycoords) == pytest.approx(1, abs=1e-6)


def test_the_level_is_that_of_the_lit_pixels_by_hand():
    # one position, a probe of 4 x 4 pixels that lights the left half: amplitudes 2 and 4 there, phases 0.1 and 0.5
    image = np.full((12, 12), 100, complex)
    image[4:8, 4], image[4:8, 5] = 2 * np.exp(0.1j), 4 * np.exp(0.5j)
    probe = np.zeros((4, 4), complex)
    probe[:, :2] = 3j
    found = normalize.lit_factor(image, probe, np.array([6.0]), np.array([6.0]))
    assert abs(found) == pytest.approx(np.sqrt((2**2 + 4**2) / 2))
    assert np.angle(found) == pytest.approx(np.angle(2 * np.exp(0.1j) + 4 * np.exp(0.5j)))


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("probe_factor", [1, "inverse", 5j])
def test_the_same_object_at_another_level_gives_the_same_numbers(read, factor, probe_factor):
    expected, found = read(), read(factor, 1 / factor if probe_factor == "inverse" else probe_factor)
    np.testing.assert_array_equal(found.object, expected.object)
    np.testing.assert_array_equal(found.probe, expected.probe)
    amplitude, phase = np.array(found.metadata.removed_factor) - np.array(expected.metadata.removed_factor)
    assert found.metadata.removed_factor[0] == pytest.approx(
        abs(factor) * expected.metadata.removed_factor[0], rel=1e-9
    )
    assert np.exp(1j * phase) == pytest.approx(factor / abs(factor), abs=1e-9)
    assert np.isfinite(amplitude)


@pytest.mark.parametrize("factor", FACTORS)
def test_so_does_the_command_that_converts(arrays, factor):
    expected = transpose_rename_convert(arrays)
    found = transpose_rename_convert({**arrays, "objectGuess": arrays["objectGuess"] * factor})
    for key in ("objectGuess", "probeGuess", "xcoords"):
        np.testing.assert_array_equal(found[key], expected[key])
    assert "removed_factor" in json.loads(str(found["metadata"]))


def test_reading_what_was_read_changes_nothing(read, tmp_path):
    first = read(0.3j)
    npz.write_reconstruction(tmp_path / "again.npz", first)
    second = read_reconstruction(tmp_path / "again.npz")
    np.testing.assert_array_equal(second.object, first.object)
    np.testing.assert_array_equal(second.probe, first.probe)
    assert second.metadata == first.metadata


def test_a_bright_pixel_does_not_move_the_level(arrays):
    def factor(image):
        return normalize.lit_factor(image, arrays["probeGuess"], arrays["xcoords"], arrays["ycoords"])

    hot = arrays["objectGuess"].copy()
    hot[30, 31] = 1e6j
    assert factor(hot) == pytest.approx(factor(arrays["objectGuess"]), rel=5e-3)


@pytest.mark.parametrize("background", [0, 1e-7, 1e-3, 0.1])
def test_a_mask_that_lets_light_through_in_few_places_keeps_the_energy_of_the_light(background):
    image = np.where(np.random.default_rng(0).random((64, 64)) < 0.1, 1.0, background).astype(complex)
    drawn = specimen(64, 16, 1.5, 0.3, seed=3)
    found = normalize.lit_factor(image, drawn.probe, drawn.xcoords, drawn.ycoords)
    assert abs(found) == pytest.approx(np.sqrt(0.1 + 0.9 * background**2), rel=0.1)  # of a tenth of the light


def test_phases_that_cancel_have_the_phase_of_a_bright_pixel(arrays):
    stripes = np.where(np.arange(64) % 2, 1, -1) * np.ones((64, 64), complex)
    probe, middle = np.ones((16, 16), complex), np.array([32.0])
    shifts = [normalize.lit_factor(stripes * np.exp(1j * t), probe, middle, middle) for t in (0, 1)]
    assert shifts[1] / shifts[0] == pytest.approx(np.exp(1j))


def test_the_order_of_patches_means_nothing():
    patches = (
        np.random.default_rng(0).gamma(2, 1, (1000, 8, 8)).astype(complex) * np.linspace(1, 3, 1000)[:, None, None]
    )
    probe = np.ones((8, 8), complex)
    first, second = (normalize._factor_of_patches(some, probe) for some in (patches, patches[::-1]))
    assert first == pytest.approx(second, rel=0.01)


@pytest.mark.parametrize("value", ["x", [1], [0, 1], [1, None], [True, 0], {"a": 1}, [float("nan"), 0]])
@pytest.mark.parametrize("key", ["lit_factor", "removed_factor"])
def test_metadata_of_another_kind_is_one_line(halves, tmp_path, key, value):
    metadata = {**halves[0].metadata.as_mapping(), key: value}
    arrays = {"diffraction": halves[0].diffraction[:], "probeGuess": halves[0].probe, "xcoords": halves[0].xcoords}
    arrays |= {"ycoords": halves[0].ycoords, "objectGuess": halves[0].object, "metadata": json.dumps(metadata)}
    npz.write_npz(tmp_path / "scan.npz", arrays)
    with pytest.raises(InputError, match=f"{key} in the metadata is"):
        load_scan(tmp_path / "scan.npz")


# datasets ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def halves():
    scan = simulate(specimen(64, 16, 1.5, 0.3, seed=3), 24, 1e6, seed=4).loaded()
    return split(resample.downsample(scan, 1, 1), 0.5)


@pytest.mark.parametrize("factor", FACTORS)
def test_halves_of_one_scan_keep_their_common_level(halves, factor, tmp_path):
    for half in halves:
        scaled = replace(
            half.loaded(),
            object=(half.object * factor).astype(np.complex64),
            patches=(normalize.with_patches(half).patches[:] * factor).astype(np.complex64),
            probe=(half.probe / factor).astype(np.complex64),
        )
        npz.write_dataset(tmp_path / "half.npz", scaled)
        found = load_scan(tmp_path / "half.npz")
        np.testing.assert_allclose(found.object, half.object, rtol=1e-5)
        np.testing.assert_allclose(found.probe, half.probe, rtol=1e-5)
        np.testing.assert_allclose(found.patches[:], normalize.with_patches(half).patches[:], rtol=1e-5)


def test_as_written_a_dataset_is_read_bit_by_bit(halves, tmp_path):
    npz.write_dataset(tmp_path / "half.npz", halves[0])
    found = load_scan(tmp_path / "half.npz")
    np.testing.assert_array_equal(found.object, halves[0].object)
    np.testing.assert_array_equal(found.probe, halves[0].probe)


@pytest.mark.parametrize("factor", [0.09 * np.exp(2j), 100])
@pytest.mark.parametrize("truth", [("objectGuess", "Y"), ("objectGuess",), ("Y",)])
def test_a_foreign_scan_is_brought_to_level_1(halves, factor, truth, tmp_path):
    half = normalize.with_patches(halves[0])
    arrays = {
        "diffraction": half.diffraction[:], "xcoords": half.xcoords, "ycoords": half.ycoords,
        "probeGuess": half.probe / factor,
    }  # fmt: skip
    known = {"objectGuess": half.object * factor, "Y": half.patches[:] * factor}
    npz.write_npz(tmp_path / "scan.npz", arrays | {key: known[key] for key in truth})
    found = normalize.with_patches(load_scan(tmp_path / "scan.npz"))
    if found.object is not None:
        lit = normalize.lit_factor(found.object, found.probe, found.xcoords, found.ycoords)
        assert lit == pytest.approx(1, abs=1e-5)
    light = np.broadcast_to(np.abs(found.probe) ** 2, found.patches.shape)
    assert np.average(np.abs(found.patches[:]), weights=light) == pytest.approx(1, abs=0.02)
    expected = diffraction_amplitude(found.probe, found.patches[:])
    assert np.linalg.norm(expected - found.diffraction) < 0.02 * np.linalg.norm(found.diffraction)


# what cannot be used -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [0, 1e-9])
def test_an_object_that_is_dark_where_it_is_scanned_is_one_line(arrays, tmp_path, dark):
    image = np.ones((200, 64), complex)
    image[:64] = dark * arrays["objectGuess"]
    npz.write_npz(tmp_path / "dark.npz", {**arrays, "objectGuess": image})
    with pytest.raises(InputError, match=r"dark\.npz: objectGuess is dark wherever the scan illuminates it") as error:
        read_reconstruction(tmp_path / "dark.npz")
    assert "\n" not in str(error.value)


def test_a_dataset_whose_truth_is_zero_is_one_line(halves, tmp_path):
    npz.write_dataset(tmp_path / "half.npz", halves[0])
    arrays = {name: array for name, array in np.load(tmp_path / "half.npz").items()}
    np.savez(tmp_path / "half.npz", **{**arrays, "objectGuess": np.zeros_like(arrays["objectGuess"])})
    with pytest.raises(InputError, match=r"half\.npz: objectGuess is zero everywhere"):
        load_scan(tmp_path / "half.npz")


def test_a_probe_of_zeros_is_one_line(arrays, tmp_path):
    npz.write_npz(tmp_path / "input.npz", {**arrays, "probeGuess": np.zeros((16, 16), complex)})
    with pytest.raises(InputError, match=r"input\.npz: probeGuess is zero everywhere"):
        read_reconstruction(tmp_path / "input.npz")


def test_a_scan_that_lights_nothing_is_one_line(arrays):
    with pytest.raises(InputError, match="no position illuminates objectGuess"):
        normalize.lit_factor(arrays["objectGuess"], arrays["probeGuess"], np.array([500.0]), np.array([500.0]))


# outliers and photon noise ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured():
    """A scan of 200 patterns of 1e6 photons, and its counts."""
    drawn = specimen(64, 16, 1.5, 0.3, seed=3)
    scan = simulate(drawn, 200, 1e6, seed=1).loaded()
    return scan, np.rint(np.square(scan.counts_scale * scan.diffraction.astype(float)))


def with_hot_pixels(counts):
    counts[17, 3, 12] = counts[17, 9, 1] = 4e9
    return [17]


def with_overexposed(counts):
    counts[[5, 60, 199]] *= 12
    return [5, 60, 199]


def with_lost_beam(counts):
    counts[[0, 8]] = counts[[0, 8]] // 100
    return [0, 8]


SPOILT = [with_hot_pixels, with_overexposed, with_lost_beam]


def imported(scan, counts, known):
    """Convert counts, with the object or without."""
    fields = {"diffraction": counts.astype(np.uint32), "xcoords": scan.xcoords, "ycoords": scan.ycoords}
    fields |= {"probeGuess": 7 * scan.probe} | ({"objectGuess": scan.object} if known else {})
    return dataset_from(fields, Metadata(), MeasuredConfig(), "scan.npz")


@pytest.mark.parametrize("known", [True, False], ids=["object known", "unknown"])
@pytest.mark.parametrize("spoil", SPOILT)
def test_a_few_bad_patterns_do_not_move_the_scale(measured, spoil, known, caplog):
    scan, counts = measured
    clean = imported(scan, counts, known)
    assert "excluded" not in caplog.text
    spoilt = counts.copy()
    rows = spoil(spoilt)
    found = imported(scan, spoilt, known)
    absorbed = 0.03 if not known else 0.01  # the mean energy without these patterns also varies with the absorption
    if spoil is not with_lost_beam or known:
        assert found.metadata.counts_scale == pytest.approx(clean.metadata.counts_scale, rel=absorbed)
    own = [np.linalg.norm(each.probe) * each.metadata.counts_scale for each in (found, clean)]
    assert own[0] == pytest.approx(own[1], rel=1e-3 if known else absorbed)
    listed = ", ".join(map(str, rows))
    assert f"{len(rows)} of 200 patterns are far brighter or darker than the others (index from 0: {listed})" in (
        caplog.text
    )


def test_the_scale_of_clean_patterns_is_that_of_the_mean_energy(measured):
    scan, counts = measured
    found = imported(scan, counts, known=True)
    assert found.counts_scale == pytest.approx(np.sqrt(counts.sum(axis=(1, 2)).mean()) / (16 / 2), rel=1e-6)
    assert np.square(found.diffraction, dtype=float).sum() / 200 == pytest.approx((16 / 2) ** 2, rel=1e-6)


@pytest.mark.parametrize("n_photons", [100, 1e3, 1e5, 1e9])
def test_photon_noise_does_not_weaken_the_probe(n_photons, caplog):
    drawn = specimen(64, 16, 1.5, 0.3, seed=3)
    scan = simulate(drawn, 200, n_photons, seed=1).loaded()
    found = normalize.normalize_and_fit_probe(scan)
    photons = np.square(np.linalg.norm(found.probe) * found.counts_scale)
    expected = np.square(np.linalg.norm(scan.probe) * scan.counts_scale)
    assert photons == pytest.approx(expected, rel=6 / np.sqrt(200 * n_photons) + 3e-3)
    assert "excluded" not in caplog.text


def test_without_noise_the_fit_is_that_of_least_squares():
    clean = simulate(specimen(64, 16, 1.5, 0.3, seed=3), 50, 1e10, seed=2).loaded()
    agreement, count = normalize._agreement(clean, normalize.with_patches(clean).patches)
    found = normalize.normalize_and_fit_probe(clean)
    scale = np.sqrt(agreement.measured_energy / count) / 8
    probe = (clean.probe * (np.float64(agreement.best_factor) / scale)).astype(np.complex64)
    np.testing.assert_array_equal(found.probe, probe)
