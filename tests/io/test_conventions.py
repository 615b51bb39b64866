import json

import numpy as np
import pytest

from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.io.conventions import canonicalize
from ptycho.preparation.load import read_reconstruction
from ptycho.preparation.resample import flip, pad_to_even, transpose_rename_convert

# pad -----------------------------------------------------------------------------------------------------


def lit(shape, probe, x, y):
    """Return the probe put on an empty plane, its centre index N // 2 on the pixel (x, y)."""
    plane, n = np.zeros(shape, complex), len(probe)
    plane[y - n // 2 : y - n // 2 + n, x - n // 2 : x - n // 2 + n] = probe
    return plane


@pytest.mark.parametrize("probe_px", [5, 6])
@pytest.mark.parametrize("shape", [(21, 30), (20, 31), (21, 31), (20, 30)])
def test_padding_leaves_every_exit_wave_where_it_was(shape, probe_px):
    rng = np.random.default_rng(0)
    before = {
        "objectGuess": rng.normal(size=shape) + 1j,
        "probeGuess": rng.normal(size=(probe_px, probe_px)) + 1j,
        "xcoords": np.array([12.0]),
        "ycoords": np.array([9.0]),
    }
    after = pad_to_even(before)
    assert all(size % 2 == 0 for key in ("objectGuess", "probeGuess") for size in after[key].shape)
    assert after["objectGuess"].shape == tuple(size + size % 2 for size in shape)
    for key in ("xcoords", "ycoords"):
        np.testing.assert_array_equal(after[key], before[key])
    wave = lit(shape, before["probeGuess"], 12, 9) * before["objectGuess"]
    padded = lit(after["objectGuess"].shape, after["probeGuess"], 12, 9) * after["objectGuess"]
    np.testing.assert_array_equal(padded[: shape[0], : shape[1]], wave)
    assert not padded[shape[0] :].any()
    assert not padded[:, shape[1] :].any()


def test_padding_repeats_the_last_line_and_keeps_the_probe_on_the_centre():
    arrays = {"objectGuess": np.arange(15.0).reshape(3, 5) + 0j, "probeGuess": np.zeros((5, 5), complex)}
    arrays["probeGuess"][2, 2] = 1
    padded = pad_to_even({**arrays, "note": np.array("kept")})
    np.testing.assert_array_equal(padded["objectGuess"][3, :5], arrays["objectGuess"][2])
    np.testing.assert_array_equal(padded["objectGuess"][:3, 5], arrays["objectGuess"][:, 4])
    assert np.argwhere(padded["probeGuess"]).tolist() == [[3, 3]]
    assert str(padded["note"]) == "kept"
    assert arrays["objectGuess"].shape == (3, 5)


@pytest.mark.parametrize("key", ["diffraction", "diff3d"])
def test_patterns_of_an_odd_size_are_refused(key):
    arrays = {"objectGuess": np.ones((9, 9), complex), "probeGuess": np.ones((5, 5), complex)}
    with pytest.raises(InputError, match=r"^patterns of an odd size \(3, 5, 5\) cannot be padded .* crop them$"):
        pad_to_even({**arrays, key: np.ones((3, 5, 5))})


# names, order, types -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint16, np.float64, np.float32])
@pytest.mark.parametrize("first", [True, False])
def test_older_files_come_to_the_format(first, dtype):
    patterns = np.random.default_rng(0).integers(0, 60_000, (3, 8, 8)).astype(dtype)
    patches = np.random.default_rng(1).random((3, 8, 8)) + 1j
    found = canonicalize(
        {
            "diff3d": patterns if first else np.moveaxis(patterns, 0, 2),
            "Y": (patches if first else np.moveaxis(patches, 0, 2))[..., None],
            "xcoords": np.array([1, 2, 3]),
            "ycoords": np.array([1, 2, 3], np.float32),
            "objectGuess": np.ones((20, 20), complex),
            "probeGuess": np.ones((8, 8), complex),
            "note": np.array("kept"),
        }
    )
    assert "diff3d" not in found
    np.testing.assert_array_equal(found["diffraction"], patterns)  # values stay, counts stay counts
    np.testing.assert_array_equal(found["Y"], patches.astype(np.complex64))
    types = {key: value.dtype.name for key, value in found.items() if key != "note"}
    stays = "uint16" if dtype == np.uint16 else "float32"
    assert types == {
        "diffraction": stays, "Y": "complex64", "xcoords": "float64", "ycoords": "float64",
        "objectGuess": "complex64", "probeGuess": "complex64",
    }  # fmt: skip
    assert str(found["note"]) == "kept"
    assert found["diffraction"].flags.c_contiguous


def test_what_is_in_the_format_already_stays():
    arrays = {"diffraction": np.ones((8, 8, 8), np.float32), "xcoords": np.arange(8.0), "ycoords": np.arange(8.0)}
    arrays["diffraction"][1] = 5
    found = canonicalize(arrays)
    assert found.keys() == arrays.keys()
    np.testing.assert_array_equal(found["diffraction"], arrays["diffraction"])


@pytest.mark.parametrize("shape", [(4, 8, 8), (8, 8, 4), (3, 8, 7), (3, 8), (3, 8, 8, 2)])
def test_patterns_that_fit_no_order_are_refused(shape):
    arrays = {"diff3d": np.ones(shape), "xcoords": np.arange(3.0), "ycoords": np.arange(3.0)}
    with pytest.raises(InputError) as error:
        canonicalize(arrays)
    assert f"diffraction has shape {shape}, expected (3, N, N) or (N, N, 3)" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("objectGuess", np.ones((9, 9)), "objectGuess is float64, expected complex: amplitude times exp"),
        ("probeGuess", np.ones((4, 4), np.uint8), "probeGuess is uint8, expected complex"),
        ("Y", np.ones((3, 4, 4)), "Y is float64, expected complex"),
        ("xcoords", np.array(["a", "b", "c"]), "xcoords is <U1, expected real numbers"),
        ("ycoords", np.arange(4.0), "xcoords holds 3 positions and ycoords 4: make them equal"),
        ("diffraction", np.ones((3, 4, 4), complex), "diffraction is complex128, expected real numbers"),
    ],
)
def test_arrays_of_other_types_are_refused(key, value, message):
    arrays = {
        "objectGuess": np.ones((9, 9), complex), "probeGuess": np.ones((4, 4), complex),
        "xcoords": np.arange(3.0), "ycoords": np.arange(3.0), "diffraction": np.ones((3, 4, 4)),
    }  # fmt: skip
    with pytest.raises(InputError) as error:
        canonicalize({**arrays, key: value})
    assert message in str(error.value)


def test_each_step_is_noted_with_its_parameters(tmp_path):
    arrays = {
        "objectGuess": np.ones((9, 10), complex), "probeGuess": np.ones((4, 4), complex),
        "xcoords": np.array([4.0]), "ycoords": np.array([4.0]),
        "metadata": np.asarray(json.dumps({"source": "here", "steps": [{"step": "measured"}]})),
    }  # fmt: skip
    npz.write_npz(tmp_path / "a.npz", transpose_rename_convert(pad_to_even(arrays), flipx=True))
    metadata = read_reconstruction(tmp_path / "a.npz").metadata
    assert [step.step for step in metadata.steps] == ["measured", "pad_to_even", "transpose_rename_convert"]
    assert metadata.steps[1].parameters["rows_columns_added"] == {"objectGuess": [1, 0], "probeGuess": [0, 0]}
    assert metadata.steps[2].parameters == {"flipx": True, "flipy": False}
    assert metadata.source == "here"


# flip ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_mirrored_scan_diffracts_as_it_says(axis):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(20, 24)) + 1j * rng.normal(size=(20, 24))
    probe = rng.normal(size=(6, 6)) + 1j * rng.normal(size=(6, 6))
    x, y = np.array([5.0, 12, 21]), np.array([3.0, 17, 9])

    def windows(array, x, y):
        return np.stack([array[int(b) - 3 : int(b) + 3, int(a) - 3 : int(a) + 3] for a, b in zip(x, y, strict=True)])

    def patterns(probe, patches):
        return np.abs(np.fft.fftshift(np.fft.fft2(probe * patches), axes=(1, 2)))

    patches = windows(image, x, y)
    before = {
        "objectGuess": image, "probeGuess": probe, "xcoords": x, "ycoords": y, "Y": patches,
        "diffraction": patterns(probe, patches), "bad_pixels": np.arange(36).reshape(6, 6) == 8,
    }  # fmt: skip
    after = flip(before, axis)
    np.testing.assert_array_equal(after["Y"], windows(after["objectGuess"], after["xcoords"], after["ycoords"]))
    np.testing.assert_allclose(after["diffraction"], patterns(after["probeGuess"], after["Y"]), atol=1e-10)
    # the pixel (1, 2), 2 above and 1 left of the centre (3, 3), goes to the other side of it
    assert np.argwhere(after["bad_pixels"]).tolist() == [[1, 4] if axis == "x" else [5, 2]]
    moved = {"x": [19.0, 12, 3], "y": [17.0, 3, 11]}[axis]
    assert after[f"{axis}coords"].tolist() == moved
    for key, value in flip(after, axis).items():
        np.testing.assert_allclose(value, before[key], atol=1e-12)


def test_without_an_object_nothing_is_mirrored():
    with pytest.raises(InputError, match="objectGuess missing: positions are mirrored within it"):
        flip({"xcoords": np.zeros(1)}, "x")
