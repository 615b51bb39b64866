import base64
import io
import json
import os
import pickle
import stat
import struct
import warnings
import zipfile

import dill
import h5py
import numpy as np
import pandas as pd
import pytest

from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.data.lazy import LazyArray
from ptycho.data.metadata import Metadata, Step
from ptycho.errors import InputError
from ptycho.io import files, hdf5, npz
from ptycho.io.files import read_bytes, read_zip, replacing, write_zip
from ptycho.io.text import as_json, parse_json, read_csv, read_json, write_csv, write_dill, write_json, write_text
from ptycho.preparation.load import read_reconstruction
from ptycho.preparation.normalize import normalize_object_arrays

SIDE = 16
ARRAYS = {"first": np.arange(600.0).reshape(20, 30), "second": np.ones((4, 4), np.complex64)}


class Touch:
    """Unpickled, it leaves a file: what a malicious file could do with any command."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def read_whole(path):
    """Read a dataset with every pattern in memory."""
    return npz.read_dataset(path).loaded()


def refusal(read, *arguments):
    with pytest.raises(InputError) as error:
        read(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


def reconstruction():
    """A reconstruction whose object and probe are at the level that every one is brought to."""
    rng = np.random.default_rng(0)
    arrays = {
        "objectGuess": rng.normal(size=(30, 40)) + 1j,
        "probeGuess": rng.normal(size=(SIDE, SIDE)) + 1j,
        "xcoords": rng.uniform(10, 20, 5),
        "ycoords": rng.uniform(10, 20, 5),
    }
    arrays, _ = normalize_object_arrays(arrays, Metadata())
    return Reconstruction(
        object=arrays["objectGuess"].astype(np.complex64),
        probe=arrays["probeGuess"].astype(np.complex64),
        xcoords=arrays["xcoords"],
        ycoords=arrays["ycoords"],
        metadata=Metadata(source="beamline ä", steps=(Step("pad"),), other={"pixel_size_nm": 6.5}),
    )


def dataset(**changes):
    rng = np.random.default_rng(1)
    arguments = {
        "diffraction": rng.random((5, SIDE, SIDE), np.float32),
        "xcoords": rng.uniform(10, 20, 5),
        "ycoords": rng.uniform(10, 20, 5),
        "probe": reconstruction().probe,
        "object": reconstruction().object,
        "patches": (rng.normal(size=(5, SIDE, SIDE)) + 1j).astype(np.complex64),
        "scan_index": np.array([9, 7, 5, 3, 1]),
        "metadata": Metadata(n_photons=1e9, counts_scale=3.5),
    }
    return Dataset(**{**arguments, **changes})


def assert_same(found, expected, names):
    for name in names:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    assert found.metadata == expected.metadata


def write(path, arrays, compressed):
    """Write an npz as the project does, or compressed as others may."""
    if compressed:
        with path.open("wb") as stream:
            np.savez_compressed(stream, **arrays)
    else:
        npz.write_npz(path, arrays)


# round trips ---------------------------------------------------------------------------------------------

DTYPES = [bool, np.int8, np.uint16, np.int64, np.float16, np.float32, np.float64, ">f4", np.complex64, np.complex128]


@pytest.mark.parametrize("compressed", [False, True])
def test_npz(tmp_path, compressed):
    arrays = {np.dtype(dtype).name: (np.arange(12) % 5).astype(dtype).reshape(3, 4) for dtype in DTYPES}
    arrays |= {"text": np.array("ä"), "empty": np.zeros((0, 3)), "scalar": np.array(2.5)}
    write(tmp_path / "some.npz", arrays, compressed)
    found = npz.read_npz(tmp_path / "some.npz")
    assert found.keys() == arrays.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key], array)
        assert found[key].dtype == array.dtype.newbyteorder("=")
    with np.load(tmp_path / "some.npz") as archive:  # others read it too
        assert set(archive.files) == set(arrays)


def test_a_reconstruction(tmp_path):
    npz.write_reconstruction(tmp_path / "some.npz", reconstruction())
    found = read_reconstruction(tmp_path / "some.npz")
    assert_same(found, reconstruction(), ("object", "probe", "xcoords", "ycoords"))


def test_a_dataset(tmp_path):
    npz.write_dataset(tmp_path / "some.npz", dataset())
    names = ("diffraction", "xcoords", "ycoords", "probe", "object", "patches", "scan_index")
    assert_same(read_whole(tmp_path / "some.npz"), dataset(), names)
    with np.load(tmp_path / "some.npz") as archive:
        assert sorted(archive.files) == sorted(
            ["diffraction", "xcoords", "ycoords", "probeGuess", "objectGuess", "Y", "scan_index", "metadata"]
        )
        assert json.loads(str(archive["metadata"]))["counts_scale"] == 3.5


def test_a_dataset_without_truth(tmp_path):
    npz.write_dataset(tmp_path / "some.npz", dataset(object=None, patches=None, metadata=Metadata()))
    found = read_whole(tmp_path / "some.npz")
    assert found.object is None
    assert found.patches is None
    assert found.metadata == Metadata()


def test_a_measured_file_may_lack_what_the_study_adds(tmp_path):
    np.savez(
        tmp_path / "some.npz",
        diffraction=np.ones((3, 8, 8), np.float64),
        xcoords=np.array([10, 11, 12]),
        ycoords=np.array([10, 11, 12], np.float32),
        probeGuess=np.ones((8, 8), np.complex128),
    )
    found = read_whole(tmp_path / "some.npz")
    assert found.scan_index.tolist() == [0, 1, 2]
    kinds = [array.dtype for array in (found.diffraction, found.xcoords, found.ycoords, found.probe)]
    assert kinds == [np.float32, np.float64, np.float64, np.complex64]


# rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_rows_are_read_as_they_are_asked_for(tmp_path, compressed):
    array = np.arange(7 * 3 * 2, dtype=np.int32).reshape(7, 3, 2)
    write(tmp_path / "some.npz", {"before": np.zeros(5), "array": array, "after": np.ones(3)}, compressed)
    rows = npz.npz_rows(tmp_path / "some.npz", "array")
    assert isinstance(rows, np.ndarray) == compressed  # what is compressed cannot be read in parts
    assert (rows.shape, rows.dtype) == (array.shape, array.dtype)
    for index in (slice(None), slice(2, 5), slice(6, 1, -2), np.array([5, 5, 0, 1, 2]), np.array([], int)):
        np.testing.assert_array_equal(rows[index], array[index])
    with pytest.raises(IndexError):
        rows[np.array([7])]


def test_fortran_order_is_read_right(tmp_path):
    array = np.asfortranarray(np.arange(12.0).reshape(4, 3))
    np.savez(tmp_path / "some.npz", array=array)
    np.testing.assert_array_equal(npz.npz_rows(tmp_path / "some.npz", "array")[1:3], array[1:3])


def test_rows_are_written_in_chunks_as_the_array_they_make(tmp_path):
    array = np.random.default_rng(0).normal(size=(101, 4)).astype(np.float32)
    made = LazyArray(array.shape, array.dtype, lambda numbers: array[numbers])
    npz.write_npz(tmp_path / "rows.npz", {"array": made})
    npz.write_npz(tmp_path / "whole.npz", {"array": array})
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npz")["array"], array)
    assert (tmp_path / "rows.npz").stat().st_size == (tmp_path / "whole.npz").stat().st_size


def test_rows_that_cannot_be_made_leave_no_file_behind(tmp_path):
    def fail(numbers):
        raise InputError("no light")

    (tmp_path / "some.npz").write_bytes(b"what was there")
    with pytest.raises(InputError, match="no light"):
        npz.write_npz(tmp_path / "some.npz", {"array": LazyArray((40, 2), np.dtype(float), fail)})
    assert [path.name for path in tmp_path.iterdir()] == ["some.npz"]
    assert (tmp_path / "some.npz").read_bytes() == b"what was there"


def test_an_open_dataset_reads_only_what_is_taken(tmp_path, monkeypatch):
    npz.write_dataset(tmp_path / "some.npz", dataset())
    opened = npz.read_dataset(tmp_path / "some.npz")
    part = opened.take(np.array([3, 1]))
    assert isinstance(opened.diffraction, LazyArray)
    np.testing.assert_array_equal(part.diffraction, dataset().diffraction[[3, 1]])
    np.testing.assert_array_equal(part.patches, dataset().patches[[3, 1]])
    assert part.scan_index.tolist() == [dataset().scan_index[i] for i in (3, 1)]


def test_values_are_checked_when_they_are_read(tmp_path):
    wrong = dataset().diffraction.copy()
    wrong[2, 0, 0] = np.nan
    opened = dataset(diffraction=LazyArray(wrong.shape, wrong.dtype, lambda numbers: wrong[numbers]))
    npz.write_dataset(tmp_path / "some.npz", opened)
    assert len(npz.read_dataset(tmp_path / "some.npz").take(np.array([0, 1]))) == 2
    with pytest.raises(InputError, match="diffraction holds NaN"):
        read_whole(tmp_path / "some.npz")


def test_a_file_cut_within_an_array_is_refused(tmp_path):
    npz.write_npz(tmp_path / "some.npz", {"array": np.zeros((100, 100))})
    rows = npz.npz_rows(tmp_path / "some.npz", "array")
    os.truncate(tmp_path / "some.npz", 5000)
    with pytest.raises(InputError, match="array ends early"):
        rows[90:]


NESTED = {
    "name": "pinn",
    "none": None,
    "flag": True,
    "list": [1, 2.5, "three", [4]],
    "history": {"loss": [0.5, 0.25], "epochs": 2},
}


def test_json_of_builtin_types(tmp_path):
    write_json(tmp_path / "some.json", NESTED)
    assert read_json(tmp_path / "some.json") == NESTED
    assert json.loads((tmp_path / "some.json").read_text()) == NESTED


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (2, 3, 4)])
def test_json_of_arrays(dtype, shape):
    array = np.asarray(np.random.default_rng(0).random(shape) * 5).astype(dtype)
    found = parse_json(as_json({"nested": [array]}), "some.json")["nested"][0]
    np.testing.assert_array_equal(found, array)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.flags.writeable


def test_json_arrays_are_bytes_in_base64():
    # 1.0 and -2.0 as little-endian float32
    found = json.loads(as_json(np.array([1, -2], "<f4")))
    assert found == {"dtype": "<f4", "shape": [2], "base64": base64.b64encode(struct.pack("<ff", 1, -2)).decode()}


def test_json_of_arrays_that_are_not_contiguous_or_finite():
    array = np.array([[1, np.nan], [np.inf, -0.0]]).T
    np.testing.assert_array_equal(parse_json(as_json(array), "p"), array)


def test_json_of_numpy_scalars_paths_and_numbers_it_lacks(tmp_path):
    content = {"n": np.int64(3), "x": np.float32(0.5), "path": tmp_path, "nan": float("nan"), "inf": np.inf, 4: (1, 2)}
    expected = {"n": 3, "x": 0.5, "path": str(tmp_path), "nan": None, "inf": None, "4": [1, 2]}
    assert json.loads(as_json(content), parse_constant=pytest.fail) == expected


def test_dill_and_its_twin_hold_the_same(tmp_path):
    content = {**NESTED, "recon": np.arange(6, dtype=np.complex64).reshape(2, 3)}
    write_dill(tmp_path / "recon.dill", content)
    assert names_in(tmp_path) == ["recon.dill", "recon.json"]
    with (tmp_path / "recon.dill").open("rb") as stream:
        of_dill = dill.load(stream)
    of_json = read_json(tmp_path / "recon.json")
    assert of_dill.keys() == of_json.keys()
    np.testing.assert_equal(of_dill, of_json)
    np.testing.assert_equal(of_dill, content)
    assert of_dill["recon"].dtype == of_json["recon"].dtype == np.complex64


def test_csv(tmp_path):
    table = pd.DataFrame({"model": ["PtychoPINN", "a, b"], "value": [1.5, np.nan]})
    write_csv(tmp_path / "some.csv", table)
    assert (tmp_path / "some.csv").read_text().splitlines() == ["model,value", "PtychoPINN,1.5", '"a, b",']
    pd.testing.assert_frame_equal(read_csv(tmp_path / "some.csv"), table)


def test_hdf5():
    arrays = {"encoder/conv1/kernel": ARRAYS["first"], "encoder/bias": ARRAYS["second"], "n": np.int64(3)}
    found, attributes = hdf5.unpack_h5(hdf5.pack_h5(arrays, {"format": "weights 1"}), "some.h5")
    assert found.keys() == arrays.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key], array)
        assert np.asarray(found[key]).dtype == np.asarray(array).dtype
    assert attributes == {"format": "weights 1"}


def test_zip(tmp_path):
    members = {"weights.h5": b"\0\1" * 5000, "config.json": b"{}"}
    for name in ("some.zip", "again.zip"):
        write_zip(tmp_path / name, members)
    assert read_zip(tmp_path / "some.zip", ["config.json", "weights.h5"]) == members
    assert (tmp_path / "some.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "some.zip") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}  # the same tomorrow


# writing -------------------------------------------------------------------------------------------------


class Unwritable:
    def __array__(self, dtype=None, copy=None):
        raise OSError("disk full")

    def to_csv(self, path, index):
        path.write_text("half a tab")
        raise OSError("disk full")


def halfway(path):
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")


FAILURES = {
    "npz": lambda path: npz.write_npz(path, {"first": np.ones(1000), "second": Unwritable()}),
    "npz of objects": lambda path: npz.write_npz(path, {"first": np.ones(9), "second": np.array([object()])}),
    "csv": lambda path: write_csv(path, Unwritable()),
    "json": lambda path: write_json(path, {"first": 1, "second": {1, 2}}),
    "json of objects": lambda path: write_json(path, {"second": np.array([object()])}),
    "dill": lambda path: write_dill(path, {"first": 1, "second": object()}),
    "zip": lambda path: write_zip(path, {"first": b"fine", "second": 3}),
    "any": halfway,
}


@pytest.mark.parametrize("there_before", [True, False])
@pytest.mark.parametrize("write", FAILURES.values(), ids=FAILURES)
def test_a_failed_write_leaves_what_was_there(tmp_path, write, there_before):
    path = tmp_path / "some.file"
    if there_before:
        path.write_bytes(b"precious")
    with pytest.raises((OSError, TypeError, ValueError, AttributeError)):
        write(path)
    assert names_in(tmp_path) == (["some.file"] if there_before else [])
    assert not there_before or path.read_bytes() == b"precious"


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "some.json"
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary.parent == tmp_path  # the same disk, so that the move is one step
        assert temporary.suffix == ".json"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names_in(tmp_path) == ["some.json"]


def test_directories_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "some.txt", "ä")
    assert (tmp_path / "a" / "b" / "some.txt").read_bytes() == "ä".encode()


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "some.txt", "text")
        npz.write_npz(tmp_path / "some.npz", ARRAYS)
        assert os.umask(umask) == umask  # untouched
    finally:
        os.umask(before)
    for name in ("some.txt", "some.npz"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask


# files that cannot be read -------------------------------------------------------------------------------

READERS = {
    "npz": npz.read_npz,
    "reconstruction": read_reconstruction,
    "dataset": read_whole,
    "json": read_json,
    "csv": read_csv,
    "zip": lambda path: read_zip(path, ["first"]),
    "bytes": read_bytes,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_missing_empty_and_directory_say_so(tmp_path, read):
    (tmp_path / "empty").touch()
    assert refusal(read, tmp_path / "nowhere").startswith(f"{tmp_path / 'nowhere'}: no such file")
    assert refusal(read, tmp_path / "empty").startswith(f"{tmp_path / 'empty'}: the file is empty; make or copy")
    assert refusal(read, tmp_path).startswith(f"{tmp_path}: a directory")


@pytest.mark.parametrize(
    "content", [b"nonsense, several times\n" * 9, b"\x80\x04N.", b"\x93NUMPY\x01\x00", b"PK", b"{"]
)
@pytest.mark.parametrize("name", ["npz", "json", "zip"])
def test_other_formats_are_refused(tmp_path, name, content):
    (tmp_path / "some").write_bytes(content)
    message = refusal(READERS[name], tmp_path / "some")
    assert message.startswith(f"{tmp_path / 'some'}: ")
    assert {"npz": "not an npz file", "json": "not valid JSON", "zip": "not a zip file"}[name] in message
    assert "allow_pickle" not in message  # no advice to load it unsafely


def test_a_plain_npy_is_not_an_npz(tmp_path):
    np.save(tmp_path / "some.npy", np.ones(3))
    assert "not an npz file" in refusal(npz.read_npz, tmp_path / "some.npy")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_cut_anywhere_is_refused(tmp_path, compressed):
    write(tmp_path / "whole", ARRAYS, compressed)
    content = (tmp_path / "whole").read_bytes()
    for length in range(1, len(content), 97):
        (tmp_path / "cut").write_bytes(content[:length])
        assert "damaged" in refusal(npz.read_npz, tmp_path / "cut")
        assert "damaged" in refusal(read_zip, tmp_path / "cut", ["first.npy", "second.npy"])


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_with_wrong_bytes_is_refused_or_read_right(tmp_path, compressed):
    write(tmp_path / "whole", ARRAYS, compressed)
    rng, refused = np.random.default_rng(0), 0
    for _ in range(150):
        content = bytearray((tmp_path / "whole").read_bytes())
        for place in rng.integers(len(content), size=3):
            content[place] ^= int(rng.integers(1, 256))
        (tmp_path / "wrong").write_bytes(content)
        try:
            found = npz.read_npz(tmp_path / "wrong", tuple(ARRAYS))
        except InputError:
            refused += 1
        else:
            for key, array in ARRAYS.items():
                np.testing.assert_array_equal(found[key], array)
    assert refused > 75


@pytest.mark.parametrize(("offset", "value"), [(8, 99), (6, 1)])  # an unknown method; encrypted
def test_zips_that_python_cannot_unpack_are_refused(tmp_path, offset, value):
    npz.write_npz(tmp_path / "some.npz", {"first": np.ones(3)})
    content = bytearray((tmp_path / "some.npz").read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[offset] = value  # of the local header, and 2 further on in the directory
    content[directory + offset + 2] = value
    (tmp_path / "some.npz").write_bytes(content)
    assert "damaged" in refusal(npz.read_npz, tmp_path / "some.npz")
    assert "damaged" in refusal(read_zip, tmp_path / "some.npz", ["first.npy"])


def test_a_missing_key_is_named_with_what_is_there(tmp_path):
    npz.write_npz(tmp_path / "some.npz", ARRAYS)
    message = refusal(npz.read_npz, tmp_path / "some.npz", ("first", "third", "fourth"))
    assert message == f"{tmp_path / 'some.npz'}: third, fourth missing; the file holds first, second"


def test_only_what_is_asked_for_is_read(tmp_path):
    np.savez(tmp_path / "some.npz", first=np.ones(3), second=np.zeros(3), junk=np.array([object], dtype=object))
    found = npz.read_npz(tmp_path / "some.npz", ("first",), ("second", "third"))
    assert sorted(found) == ["first", "second"]
    assert "junk" in refusal(npz.read_npz, tmp_path / "some.npz")


# nothing that is read can run code -----------------------------------------------------------------------


def test_the_touching_object_does_touch_where_it_is_unpickled(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        pickle.loads(pickle.dumps(Touch(tmp_path / "touched")))
    assert names_in(tmp_path) == ["touched"]


@pytest.mark.parametrize("key", ["diffraction", "Y", "metadata", "xcoords"])
def test_object_arrays_are_refused_without_being_loaded(tmp_path, key):
    npz.write_dataset(tmp_path / "some.npz", dataset())
    arrays = npz.read_npz(tmp_path / "some.npz")
    np.savez(tmp_path / "some.npz", **{**arrays, key: np.array([Touch(tmp_path / "touched")] * 5, dtype=object)})
    message = refusal(read_whole, tmp_path / "some.npz")
    assert f"{key} is a pickled object array" in message
    assert "save it again as a plain numeric array" in message
    assert names_in(tmp_path) == ["some.npz"]


@pytest.mark.parametrize("name", ["npz", "json", "csv", "zip", "dataset", "reconstruction"])
def test_pickles_are_not_loaded(tmp_path, name):
    with (tmp_path / "some").open("wb") as stream:
        dill.dump(Touch(tmp_path / "touched"), stream)
    refusal(READERS[name], tmp_path / "some")
    np.save(tmp_path / "some.npy", np.array([Touch(tmp_path / "touched")], dtype=object))
    refusal(READERS[name], tmp_path / "some.npy")
    assert names_in(tmp_path) == ["some", "some.npy"]


# content that does not fit -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"diffraction": np.ones((5, SIDE, SIDE), complex)}, "diffraction is complex128, expected real numbers"),
        ({"diffraction": np.full((5, SIDE, SIDE), "a")}, "diffraction is <U1, expected real numbers"),
        ({"diffraction": np.ones((4, SIDE, SIDE))}, "diffraction has shape (4, 16, 16), expected (5, 16, 16)"),
        ({"xcoords": np.array(list("abcde"))}, "xcoords is <U1, expected real numbers"),
        ({"ycoords": np.ones(5, complex)}, "ycoords is complex128, expected real numbers"),
        ({"metadata": "a note"}, "metadata is not a JSON string"),
        ({"metadata": "[1, 2]"}, "metadata is a JSON list, expected an object"),
    ],
)
def test_a_dataset_of_wrong_content_is_refused(tmp_path, changes, message):
    npz.write_dataset(tmp_path / "some.npz", dataset())
    np.savez(tmp_path / "some.npz", **{**npz.read_npz(tmp_path / "some.npz"), **changes})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = refusal(read_whole, tmp_path / "some.npz")
    assert found.startswith(f"{tmp_path / 'some.npz'}: {message}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectGuess": np.ones((30, 40))}, "objectGuess is float64, expected complex: amplitude times exp(i phase)"),
        ({"probeGuess": np.ones((SIDE, SIDE))}, "probeGuess is float64, expected complex"),
        ({"xcoords": np.array(list("abcde"))}, "xcoords is <U1, expected real numbers"),
        ({"ycoords": np.ones(4)}, "xcoords holds 5 positions and ycoords 4"),
        ({"objectGuess": np.full((30, 40), np.nan + 0j)}, "objectGuess holds NaN"),
    ],
)
def test_a_reconstruction_of_wrong_content_is_refused(tmp_path, changes, message):
    npz.write_reconstruction(tmp_path / "some.npz", reconstruction())
    np.savez(tmp_path / "some.npz", **{**npz.read_npz(tmp_path / "some.npz"), **changes})
    assert refusal(read_reconstruction, tmp_path / "some.npz").startswith(f"{tmp_path / 'some.npz'}: {message}")


FOUR_BYTES = base64.b64encode(bytes(4)).decode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"first": 1', "not valid JSON"),
        (b"\xff\xfe\xfa", "not valid JSON"),
        ("[" * 200_000, "not valid JSON"),
        ({"dtype": "|O", "shape": [1], "base64": FOUR_BYTES}, "an array of dtype object in JSON, expected numbers"),
        ({"dtype": "<U1", "shape": [1], "base64": FOUR_BYTES}, "an array of dtype <U1 in JSON, expected numbers"),
        ({"dtype": "<f4", "shape": [2], "base64": FOUR_BYTES}, "a damaged array in JSON"),
        ({"dtype": "<f8", "shape": [1], "base64": FOUR_BYTES}, "a damaged array in JSON"),
        ({"dtype": "<f4", "shape": "x", "base64": FOUR_BYTES}, "a damaged array in JSON"),
        ({"dtype": "<f4", "shape": [1], "base64": 5}, "a damaged array in JSON"),
        ({"dtype": "<f4", "shape": [1], "base64": "AAA"}, "a damaged array in JSON"),
        ({"dtype": "float33", "shape": [1], "base64": FOUR_BYTES}, "a damaged array in JSON"),
    ],
)
def test_json_of_wrong_content_is_refused(content, message):
    text = json.dumps({"recon": content}) if isinstance(content, dict) else content
    assert refusal(parse_json, text, "some.json").startswith(f"some.json: {message}")


def test_an_object_with_other_keys_is_no_array():
    content = {"dtype": "<f4", "shape": [1]}
    assert parse_json(json.dumps(content), "p") == content


def test_a_table_of_wrong_content_is_refused(tmp_path):
    (tmp_path / "some.csv").write_text('model,value\na,1\nb,2,3,4\n"')
    assert refusal(read_csv, tmp_path / "some.csv").startswith(f"{tmp_path / 'some.csv'}: not a csv table")


# HDF5 ----------------------------------------------------------------------------------------------------


def h5(fill):
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["fine"] = np.arange(3)
        fill(file)
    return stream.getvalue()


def test_links_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data"] = np.ones(3)

    def links(file):
        file["group/soft"] = h5py.SoftLink("/fine")
        file["dangling"] = h5py.SoftLink("/nowhere")
        file["outside"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "data")

    assert list(hdf5.unpack_h5(h5(links), "some.h5")[0]) == ["fine"]


def external(file):
    file.create_dataset("bad", (4,), "u1", external=[("/etc/hostname", 0, 4)])


def virtual(file):
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "data", (3,))
    file.create_virtual_dataset("bad", layout)


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (external, "bad is not a plain numeric dataset; it is not read"),
        (virtual, "bad is not a plain numeric dataset; it is not read"),
        (lambda file: file.create_dataset("bad", data="text"), "bad is not a plain numeric dataset"),
        (lambda file: file.create_dataset("bad", data=file.ref, dtype=h5py.ref_dtype), "bad is not a plain numeric"),
        (lambda file: file.create_dataset("bad", (1 << 42,), "f8", chunks=(64,)), "bad is larger than 4 GiB"),
    ],
)
def test_datasets_that_are_not_plain_are_refused(fill, message):
    assert refusal(hdf5.unpack_h5, h5(fill), "some.h5").startswith(f"some.h5: {message}")


def test_damaged_hdf5_is_refused():
    content = hdf5.pack_h5(ARRAYS, {"format": "1"})
    for length in range(0, len(content), 499):
        assert "not an HDF5 file, or damaged" in refusal(hdf5.unpack_h5, content[:length], "some.h5")
    rng, refused = np.random.default_rng(0), 0
    for _ in range(300):
        wrong = bytearray(content)
        for place in rng.integers(min(len(content), 4000), size=3):
            wrong[place] ^= int(rng.integers(1, 256))
        try:
            hdf5.unpack_h5(bytes(wrong), "some.h5")
        except InputError:
            refused += 1
    assert refused > 30


# zip -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "found"),
    [
        (["first", "second", "extra"], "extra, first, second"),
        (["first"], "first"),
        (["first", "../second"], "../second, first"),
        (["first", "second", "/etc/passwd"], "/etc/passwd, first, second"),
        (["first", "second", "second"], "first, second, second"),
        ([], ""),
    ],
)
def test_zips_of_other_members_are_refused(tmp_path, members, found):
    (tmp_path / "inner").mkdir()
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "inner" / "some.zip", "w") as archive:
        warnings.simplefilter("ignore")  # about the name given twice
        for name in members:
            archive.writestr(name, b"content")
    message = refusal(read_zip, tmp_path / "inner" / "some.zip", ["second", "first"])
    assert message.endswith(f"some.zip: holds {found}, expected first, second")
    assert names_in(tmp_path) == ["inner"]
    assert names_in(tmp_path / "inner") == ["some.zip"]


def test_a_zip_bomb_is_not_unpacked(tmp_path, monkeypatch):
    write_zip(tmp_path / "some.zip", {"first": bytes(5 << 20)})
    assert (tmp_path / "some.zip").stat().st_size < 10_000
    monkeypatch.setattr(files, "MAX_MEMBER_BYTES", 4 << 20)
    assert "a member is larger than" in refusal(read_zip, tmp_path / "some.zip", ["first"])
