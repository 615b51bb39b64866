"""Opening scans of any origin: names and axes, files of the study, probe and object, bad input."""

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptycho.data.lazy import LazyArray
from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.preparation.load import load_scan, read_arrays

N, SHAPE = 16, (48, 64)  # of the fixture scan


def test_older_names_and_order_are_read(scan, tmp_path, counts, raw, read):
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


def test_the_probe_takes_the_scale_of_the_patterns(scan, tmp_path, raw, read):
    found = read(tmp_path, raw(scan, objectGuess=0.9 * scan.object))  # whose probe is 7 times too bright
    np.testing.assert_allclose(found.object, scan.object, rtol=1e-6)
    np.testing.assert_allclose(found.probe, scan.probe, rtol=5e-3, atol=1e-4)
    assert found.metadata.model_mismatch < 0.05
    unknown = read(tmp_path, raw(scan, objectGuess=None))
    # an object of amplitude 1: the probe that carries all of the energy is the true one
    np.testing.assert_allclose(unknown.probe, scan.probe, rtol=1e-2, atol=1e-3)
    assert unknown.object is None
    assert unknown.metadata.model_mismatch is None


def test_an_object_that_does_not_explain_the_patterns_is_noticed(scan, tmp_path, caplog, raw, read):
    shown = np.exp(2j * np.random.default_rng(1).normal(size=SHAPE)) * scan.object  # some other object
    read(tmp_path, raw(scan, objectGuess=shown))
    assert "wrong quantity, DC, axes or positions?" in caplog.text


def test_every_array_of_a_reconstruction_is_read_and_none_is_said_to_be_ignored(scan, tmp_path, caplog):
    caplog.set_level("INFO")
    arrays = {"objectGuess": scan.object, "probeGuess": scan.probe, "xcoords": scan.xcoords, "ycoords": scan.ycoords}
    np.savez(tmp_path / "in.npz", **arrays)
    found = read_arrays(tmp_path / "in.npz")
    assert {name: array.dtype for name, array in found.items()} == {name: a.dtype for name, a in arrays.items()}
    assert "ignored" not in caplog.text


# bad input -------------------------------------------------------------------------------------------


def broken(name, scan, counts):
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
def test_bad_input_is_refused_in_one_line(scan, tmp_path, name, message, counts, raw, refusal):
    assert message in refusal(tmp_path, raw(scan, **broken(name, scan, counts)))


@pytest.mark.parametrize("metadata", ["{", "[1]", '"text"'])
def test_metadata_that_is_no_json_object_is_refused(scan, tmp_path, metadata, raw, refusal):
    assert "metadata is " in refusal(tmp_path, raw(scan, metadata=np.asarray(metadata)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(["diffraction", "xcoords", "probeGuess", "objectGuess", "bad_pixels", "Y", "scan_index"]),
    shape=st.lists(st.integers(0, 4), max_size=4),
    dtype=st.sampled_from([np.bool_, np.uint8, np.int32, np.float32, np.complex64, "U3", "M8[s]"]),
)
def test_arrays_of_any_shape_and_type_are_refused_or_read(scan, tmp_path, key, shape, dtype, raw, read):
    try:
        found = read(tmp_path, raw(scan, **{key: np.zeros(shape, dtype)}))
    except InputError:
        return
    assert found.diffraction.shape == (30, N, N)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_refused_or_read(scan, tmp_path, data, raw):
    np.savez(tmp_path / "scan.npz", **raw(scan))
    content = bytearray((tmp_path / "scan.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "scan.npz").write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with contextlib.suppress(InputError):  # anything else fails
        load_scan(tmp_path / "scan.npz")
