import contextlib
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptycho.config.schema import MeasuredConfig
from ptycho.data.dataset import Reconstruction
from ptycho.data.lazy import LazyArray
from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.preparation.load import load_scan
from ptycho.preparation.normalize import lit_factor
from ptycho.preparation.scan import simulate

N, SHAPE = 16, (48, 64)


@pytest.fixture(scope="module")
def scan():
    """A simulated scan of 30 patterns, whose counts, positions and object, of level 1 and mean phase 0, are known."""
    rng = np.random.default_rng(0)
    y, x = np.indices((N, N)) - N / 2
    image = 0.9 * np.exp(0.5j * np.cumsum(np.cumsum(rng.normal(size=SHAPE), axis=0), axis=1) / 20)
    probe = np.exp(-(x**2 + y**2) / 20 + 0.05j * (x**2 - y * x))
    scan = Reconstruction(image.astype(np.complex64), probe.astype(np.complex64), np.full(3, 30.0), np.full(3, 20.0))
    lit = simulate(scan, 30, 1e5, seed=1)
    factor = lit_factor(image, lit.probe, lit.xcoords, lit.ycoords)
    leveled = replace(scan, object=(image / factor).astype(np.complex64), probe=(probe * factor).astype(np.complex64))
    return simulate(leveled, 30, 1e5, seed=1).loaded()


def counts(dataset):
    return np.rint(np.square(dataset.counts_scale * dataset.diffraction.astype(float)))


def raw(scan, **changes):
    """Return a file of counts as a detector gives them."""
    arrays = {
        "diffraction": counts(scan).astype(np.uint32),
        "xcoords": scan.xcoords, "ycoords": scan.ycoords,
        "probeGuess": 7 * scan.probe, "objectGuess": scan.object,
    }  # fmt: skip
    return {key: value for key, value in {**arrays, **changes}.items() if value is not None}


def read(tmp_path, arrays, config=None, **facts):
    if facts:
        arrays = {**arrays, "metadata": np.asarray(json.dumps(facts))}
    np.savez(tmp_path / "scan.npz", **arrays)
    return load_scan(tmp_path / "scan.npz", config or MeasuredConfig())


def refusal(tmp_path, arrays, config=None, **facts):
    with pytest.raises(InputError) as error:
        read(tmp_path, arrays, config, **facts)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "scan.npz"))
    return str(error.value)


# what the patterns are -----------------------------------------------------------------------------------

UNITS = {
    "counts": lambda c: c.astype(np.uint16),
    "intensity": lambda c: 1e-3 * c,
    "amplitude": lambda c: 0.1 * np.sqrt(c),
}


@pytest.mark.parametrize("how", ["config", "metadata"])
@pytest.mark.parametrize("quantity", UNITS)
def test_every_quantity_gives_the_same_amplitudes(scan, tmp_path, quantity, how):
    arrays = raw(scan, diffraction=UNITS[quantity](counts(scan)))
    config = MeasuredConfig(quantity=quantity) if how == "config" else None
    facts = {"quantity": quantity} if how == "metadata" else {}
    found = read(tmp_path, arrays, config, **facts)
    # the energy of the format, (N/2)^2 a pattern on average, whatever the unit
    assert np.square(found.diffraction.astype(float)).sum(axis=(1, 2)).mean() == pytest.approx((N / 2) ** 2, rel=1e-5)
    np.testing.assert_allclose(found.diffraction, scan.diffraction, rtol=2e-3, atol=2e-3)
    assert found.metadata["steps"][-1]["parameters"]["quantity"] == quantity


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, np.float32])
def test_whole_numbers_are_counts_unless_stated_otherwise(scan, tmp_path, caplog, dtype):
    found = read(tmp_path, raw(scan, diffraction=counts(scan).astype(dtype)))
    np.testing.assert_allclose(found.diffraction, scan.diffraction, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(counts(found), counts(scan), rtol=1e-3, atol=0.51)
    assert "the quantity of the patterns is not stated; whole values are read as counts" in caplog.text


def test_fractions_are_amplitudes_unless_stated_otherwise(scan, tmp_path, caplog):
    found = read(tmp_path, raw(scan, diffraction=0.3 * scan.diffraction))
    np.testing.assert_allclose(found.diffraction, scan.diffraction, rtol=1e-3, atol=1e-5)
    assert "fractional values are read as amplitude" in caplog.text


def test_what_is_stated_is_not_inferred(scan, tmp_path, caplog):
    read(tmp_path, raw(scan), quantity="counts", dc="centre")
    assert "not stated" not in caplog.text


@pytest.mark.parametrize("stated", [True, False])
def test_dc_in_the_corner_goes_to_the_centre(scan, tmp_path, caplog, stated):
    shifted = np.fft.ifftshift(counts(scan).astype(np.uint32), axes=(1, 2))
    mask = np.zeros((N, N), bool)
    mask[0, 1] = True  # beside DC, which is in the corner
    found = read(
        tmp_path, raw(scan, diffraction=shifted, bad_pixels=mask), MeasuredConfig(dc="corner" if stated else "auto")
    )
    assert np.argwhere(found.bad_pixels).tolist() == [[8, 9]]
    good = ~found.bad_pixels
    ratio = found.diffraction[:, good] / np.maximum(scan.diffraction[:, good], 1e-9)
    assert np.ptp(ratio[scan.diffraction[:, good] > 0.5]) < 0.01
    assert ("most intensity is in the corner" in caplog.text) != stated


# axes and names ------------------------------------------------------------------------------------------


def test_older_names_and_order_are_read(scan, tmp_path):
    arrays = raw(scan, diffraction=None, Y=scan.patches[..., None])
    arrays["diff3d"] = np.moveaxis(counts(scan).astype(np.uint32), 0, 2)
    found = read(tmp_path, arrays)
    np.testing.assert_allclose(found.diffraction, scan.diffraction, rtol=2e-3, atol=2e-3)
    np.testing.assert_array_equal(found.patches, scan.patches)


def test_the_studys_own_files_are_read_row_by_row(scan, tmp_path):
    npz.write_dataset(tmp_path / "own.npz", scan)
    found = load_scan(tmp_path / "own.npz")
    assert isinstance(found.diffraction, LazyArray)
    np.testing.assert_array_equal(found.diffraction[3:5], scan.diffraction[3:5])
    assert found.metadata == scan.metadata


# positions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [slice(None), slice(0, 12), slice(12, 30)])
def test_metres_count_from_the_middle_of_the_object_in_every_part_of_a_scan(scan, tmp_path, part, caplog):
    caplog.set_level("INFO")
    pixel = 20e-9
    arrays = raw(
        scan,
        diffraction=counts(scan)[part],
        xcoords=(scan.xcoords[part] - SHAPE[1] / 2) * pixel,
        ycoords=(scan.ycoords[part] - SHAPE[0] / 2) * pixel,
    )
    found = read(tmp_path, arrays, MeasuredConfig(positions="metres", pixel_size_m=pixel))
    assert "32 px were added to xcoords" in caplog.text
    np.testing.assert_allclose(found.xcoords, scan.xcoords[part], atol=1e-9)
    np.testing.assert_allclose(found.ycoords, scan.ycoords[part], atol=1e-9)
    assert found.metadata["pixel_size_m"] == pixel


def test_without_an_object_all_windows_lie_at_positive_pixels(scan, tmp_path):
    arrays = raw(scan, xcoords=scan.xcoords * 1e-8, ycoords=scan.ycoords * 1e-8, objectGuess=None)
    found = read(tmp_path, arrays, positions="metres", pixel_size_m=1e-8)
    assert found.xcoords.min() >= N / 2
    assert found.ycoords.min() >= N / 2
    assert found.object_shape[1] >= found.xcoords.max() + N / 2


def test_positions_of_any_origin_are_taken_where_no_object_says_one(scan, tmp_path):
    found = read(tmp_path, raw(scan, xcoords=scan.xcoords - 5000, ycoords=scan.ycoords + 70, objectGuess=None))
    np.testing.assert_allclose(found.xcoords - found.xcoords[0], scan.xcoords - scan.xcoords[0], atol=1e-9)
    assert (found.xcoords.min(), found.ycoords.min()) == (N / 2 + 1, N / 2 + 1)


def test_positions_that_look_like_metres_are_asked_about(scan, tmp_path):
    arrays = raw(scan, xcoords=scan.xcoords * 1e-8, ycoords=scan.ycoords * 1e-8)
    assert "metres? State positions metres and pixel_size_m" in refusal(tmp_path, arrays)
    stated = refusal(tmp_path, arrays, MeasuredConfig(positions="metres"))
    assert "the pixel size of the object is not stated: give pixel_size_m" in stated


@pytest.mark.parametrize(
    ("facts", "part"),
    [
        ({"quantity": "Amplitude"}, "metadata: quantity is 'Amplitude'"),
        ({"quantity": ["counts"]}, "metadata: quantity is"),
        ({"positions": "meters"}, "metadata: positions is 'meters'"),
        ({"dc": {}}, "metadata: dc is"),
        ({"pixel_size_m": "1e-8"}, "pixel_size_m in the metadata is '1e-8'"),
        ({"counts_scale": 0}, "counts_scale in the metadata is 0"),
        ({"steps": 5}, "steps in the metadata is not a list"),
    ],
)
def test_what_the_metadata_state_is_checked(scan, tmp_path, facts, part):
    assert part in refusal(tmp_path, raw(scan), **facts)


def test_a_mask_that_marks_most_pixels_is_asked_about(scan, tmp_path, caplog):
    mask = np.ones((N, N), bool)
    mask[6:11, 6:11] = False
    read(tmp_path, raw(scan, bad_pixels=mask))
    assert "more bad pixels than good ones: is the mask inverted?" in caplog.text


# truth, probe, mask --------------------------------------------------------------------------------------


def test_the_probe_takes_the_scale_of_the_patterns(scan, tmp_path):
    found = read(tmp_path, raw(scan, objectGuess=0.9 * scan.object))  # whose probe is 7 times too bright
    np.testing.assert_allclose(found.object, scan.object, rtol=1e-6)
    np.testing.assert_allclose(found.probe, scan.probe, rtol=5e-3, atol=1e-4)
    assert found.metadata["model_mismatch"] < 0.05
    unknown = read(tmp_path, raw(scan, objectGuess=None))
    # an object of amplitude 1: the probe that carries all of the energy is the true one
    np.testing.assert_allclose(unknown.probe, scan.probe, rtol=1e-2, atol=1e-3)
    assert unknown.object is None
    assert "model_mismatch" not in unknown.metadata


def test_an_object_that_does_not_explain_the_patterns_is_noticed(scan, tmp_path, caplog):
    shown = np.exp(2j * np.random.default_rng(1).normal(size=SHAPE)) * scan.object  # some other object
    read(tmp_path, raw(scan, objectGuess=shown))
    assert "wrong quantity, DC, axes or positions?" in caplog.text


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("own", [True, False])
def test_a_mask_may_come_from_a_file(scan, tmp_path, suffix, own):
    mask = np.zeros((N, N), np.uint8)
    mask[8, 8] = mask[2, 3] = 1
    path = tmp_path / f"mask{suffix}"
    np.save(path, mask) if suffix == ".npy" else np.savez(path, bad_pixels=mask)
    config = MeasuredConfig(bad_pixels=str(path))
    if own:
        npz.write_dataset(tmp_path / "scan.npz", scan)
        found = load_scan(tmp_path / "scan.npz", config)
    else:
        found = read(tmp_path, raw(scan), config)
    assert np.argwhere(found.bad_pixels).tolist() == [[2, 3], [8, 8]]
    assert not found.diffraction[:][:, mask == 1].any()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((8, 8), bool), "bad_pixels has shape (8, 8) and type bool, expected (16, 16) bool, as a pattern"),
        (np.ones((N, N), bool), "bad_pixels marks every pixel: is the mask inverted?"),
        (np.ones(N, bool), "a mask of shape (16,) and type bool, expected (N, N) bool"),
        (np.ones((N, N)), "a mask of shape (16, 16) and type float64, expected (N, N) bool"),
    ],
)
def test_masks_that_do_not_fit_are_refused(scan, tmp_path, mask, message):
    np.save(tmp_path / "mask.npy", mask)
    with pytest.raises(InputError) as error:
        read(tmp_path, raw(scan), MeasuredConfig(bad_pixels=str(tmp_path / "mask.npy")))
    assert message in str(error.value)


@pytest.mark.parametrize("noted", [np.nan, -1.0, 1e30])
def test_what_a_bad_pixel_says_does_not_matter(scan, tmp_path, noted):
    values, mask = counts(scan), np.zeros((N, N), bool)
    mask[4, 9] = True
    blank = read(tmp_path, raw(scan, diffraction=values * ~mask, bad_pixels=mask), quantity="counts", dc="centre")
    values[:, mask] = noted
    found = read(tmp_path, raw(scan, diffraction=values, bad_pixels=mask), quantity="counts", dc="centre")
    np.testing.assert_array_equal(found.diffraction, blank.diffraction)


# bad input -----------------------------------------------------------------------------------------------


def broken(name, scan):
    values = counts(scan)
    if name == "nan":
        values[3, 4, 5] = np.nan
    if name == "infinite":
        values[3, 4, 5] = np.inf
    if name == "negative":
        values[3, 4, 5] = -2
    return {
        "nan": {"diffraction": values}, "infinite": {"diffraction": values}, "negative": {"diffraction": values},
        "dark": {"diffraction": np.zeros_like(values)},
        "lengths": {"xcoords": scan.xcoords[:-1]},
        "no patterns": {"diffraction": None},
        "no probe": {"probeGuess": None},
        "real probe": {"probeGuess": np.abs(scan.probe)},
        "real object": {"objectGuess": np.abs(scan.object)},
        "real windows": {"Y": np.abs(scan.patches)},
        "outside": {"xcoords": scan.xcoords + 40},
        "not square": {"diffraction": values[:, :, :-2]},
        "small object": {"objectGuess": scan.object[:8, :8]},
        "other probe": {"probeGuess": scan.probe[:8, :8]},
        "pickled": {"objectGuess": np.array([scan.object, None], dtype=object)},
        "nan position": {"ycoords": np.where(np.arange(30) == 4, np.nan, scan.ycoords)},
        "text": {"xcoords": np.array(["a"] * 30)},
        "mask": {"bad_pixels": np.zeros((8, 8), bool)},
    }[name]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nan", "diffraction holds NaN or infinite values: mark these pixels in bad_pixels"),
        ("infinite", "diffraction holds NaN or infinite values"),
        (
            "negative",
            "diffraction holds negative values (down to -2): counts, intensities and amplitudes are 0 or more",
        ),
        ("dark", "diffraction is zero everywhere"),
        ("lengths", "xcoords holds 29 positions and ycoords 30"),
        ("no patterns", "diffraction missing; the file holds objectGuess, probeGuess, xcoords, ycoords"),
        ("no probe", "probeGuess missing; the file holds diffraction, objectGuess, xcoords, ycoords"),
        ("real probe", "probeGuess is float32, expected complex"),
        ("real object", "objectGuess is float32, expected complex"),
        ("real windows", "Y is float32, expected complex"),
        ("outside", "but windows of 16 pixels stay inside objectGuess (48, 64) from 8 to 56 only"),
        ("not square", "diffraction has shape (30, 16, 14), expected (30, N, N)"),
        ("small object", "but windows of 16 pixels stay inside objectGuess (8, 8)"),
        ("other probe", "diffraction has shape (30, 16, 16), expected (30, 8, 8)"),
        ("pickled", "objectGuess is a pickled object array, which could run code and is never loaded"),
        ("nan position", "xcoords or ycoords hold NaN or infinite values"),
        ("text", "xcoords is <U1, expected real numbers"),
        ("mask", "bad_pixels has shape (8, 8) and type bool, expected (16, 16) bool, as a pattern"),
    ],
)
def test_bad_input_is_refused_in_one_line(scan, tmp_path, name, message):
    assert message in refusal(tmp_path, raw(scan, **broken(name, scan)))


@pytest.mark.parametrize("metadata", ["{", "[1]", '"text"'])
def test_metadata_that_is_no_json_object_is_refused(scan, tmp_path, metadata):
    assert "metadata is " in refusal(tmp_path, raw(scan, metadata=np.asarray(metadata)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(["diffraction", "xcoords", "probeGuess", "objectGuess", "bad_pixels", "Y", "scan_index"]),
    shape=st.lists(st.integers(0, 4), max_size=4),
    dtype=st.sampled_from([np.bool_, np.uint8, np.int32, np.float32, np.complex64, "U3", "M8[s]"]),
)
def test_arrays_of_any_shape_and_type_are_refused_or_read(scan, tmp_path, key, shape, dtype):
    try:
        found = read(tmp_path, raw(scan, **{key: np.zeros(shape, dtype)}))
    except InputError:
        return
    assert found.diffraction.shape == (30, N, N)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_refused_or_read(scan, tmp_path, data):
    np.savez(tmp_path / "scan.npz", **raw(scan))
    content = bytearray((tmp_path / "scan.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "scan.npz").write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with contextlib.suppress(InputError):  # anything else fails
        load_scan(tmp_path / "scan.npz")
