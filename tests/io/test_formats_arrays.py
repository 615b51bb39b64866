"""Arrays as numpy saves them: Fortran order, big-endian, memory-mapped, read-only; any member of any format."""

import h5py
import numpy as np
import pytest
from foreign_files import (
    PLAIN,
    SIDE,
    beam,
    cxi,
    load,
    own,
    patterns,
    product,
    ptychonn,
    refusal,
    study,
    tike,
    write,
)

from ptycho.data.dataset import Dataset
from ptycho.data.metadata import Metadata
from ptycho.io import npz
from ptycho.io.conventions import plain_array
from ptycho.physics.patches import extract_patches
from ptycho.preparation.convert import dataset_from
from ptycho.preparation.load import load_scan, read_reconstruction
from ptycho.preparation.masks import read_mask


def fortran(array):
    """Return an array in Fortran order; of one number, as numpy.asfortranarray has it: one-dimensional."""
    return np.asfortranarray(array)


def big_endian(array):
    array = np.asarray(array)
    return array.astype(array.dtype.newbyteorder(">")) if array.dtype.kind in "iufcU" else array


def both(array):
    return fortran(big_endian(array))


STORED = [fortran, big_endian, both]
MEMBERS = [
    (name, arrays, key)
    for name, arrays in {
        "study.npz": study, "own.npz": own, "product.npz": product, "product.h5": product, "scan.cxi": cxi,
        "tike.npz": tike, "nn.npz": lambda: {**ptychonn(), "probeGuess": beam()},
    }.items()
    for key in arrays()
    if name.endswith("npz") or arrays()[key].dtype.kind not in "U"
]  # fmt: skip


def assert_same(found, expected):
    """Assert that two datasets or reconstructions are equal, bit by bit, in native types."""
    names = ("diffraction", "object", "probe", "xcoords", "ycoords", "patches", "scan_index", "bad_pixels")
    for name in names if isinstance(expected, Dataset) else ("object", "probe", "xcoords", "ycoords"):
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_array_equal(one[:], other[:], err_msg=name)
            assert one.dtype == other.dtype
            assert one.dtype.isnative
    assert found.metadata.model_mismatch == expected.metadata.model_mismatch


@pytest.mark.parametrize("stored", [fortran, both])
@pytest.mark.parametrize(("name", "arrays", "key"), MEMBERS, ids=[f"{name}-{key}" for name, _, key in MEMBERS])
def test_any_member_of_any_format(tmp_path, stored, name, arrays, key):
    expected = load(write(tmp_path / name, arrays()))
    content = arrays()
    content[key] = stored(content[key])
    assert_same(load(write(tmp_path / f"stored_{name}", content)), expected)


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("key", list(own()))
@pytest.mark.parametrize("reader", [load_scan, read_reconstruction])
def test_the_readers_of_the_study(tmp_path, stored, key, reader):
    expected = reader(write(tmp_path / "own.npz", own()))
    content = {**own(), key: stored(own()[key])}
    found = reader(write(tmp_path / "stored.npz", content))
    assert_same(found, expected)
    windows = extract_patches(found.object, found.xcoords, found.ycoords, SIDE)  # which views complex as real numbers
    np.testing.assert_array_equal(
        windows[:], extract_patches(expected.object, expected.xcoords, expected.ycoords, SIDE)[:]
    )


def test_an_object_saved_from_a_transpose(tmp_path):
    path = write(tmp_path / "t.npz", {**study(), "objectGuess": study()["objectGuess"].T.copy().T})
    with np.load(path) as archive:
        assert archive["objectGuess"].flags.f_contiguous
    assert read_reconstruction(path).object.flags.c_contiguous
    assert load(path).object.flags.c_contiguous


@pytest.mark.parametrize("stored", STORED)
def test_patterns_of_a_product_and_masks(tmp_path, stored):
    given = {key: stored(value) for key, value in patterns().items()}
    expected = load(write(tmp_path / "p.npz", product()), patterns=write(tmp_path / "d.npz", patterns()))
    for name in ("d.npz", "d.h5"):
        assert_same(load(tmp_path / "p.npz", patterns=write(tmp_path / name, given)), expected)
    mask = np.eye(SIDE, dtype=np.int32)
    np.save(tmp_path / "mask.npy", stored(mask))
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.npy"), mask.astype(bool))


@pytest.mark.parametrize("compressed", [False, True])
def test_compressed_members(tmp_path, compressed):
    arrays = {key: both(value) for key, value in study().items()}
    (np.savez_compressed if compressed else np.savez)(tmp_path / "s.npz", **arrays)
    assert_same(load(tmp_path / "s.npz"), load(write(tmp_path / "t.npz", study())))


def test_memory_mapped_and_read_only_arrays(tmp_path):
    """As a caller from Python may give them; they stay as they are."""
    given = {}
    for key, value in study().items():
        np.save(tmp_path / f"{key}.npy", value)
        given[key] = np.load(tmp_path / f"{key}.npy", mmap_mode="r")
    found = dataset_from(given, Metadata(), PLAIN, "mapped")
    assert_same(found, dataset_from(study(), Metadata(), PLAIN, "in memory"))
    frozen = study()
    for value in frozen.values():
        value.setflags(write=False)
    assert_same(dataset_from(frozen, Metadata(), PLAIN, "frozen"), found)
    npz.write_dataset(tmp_path / "again.npz", dataset_from(given, Metadata(), PLAIN, "mapped"))
    assert_same(load_scan(tmp_path / "again.npz"), found)


def test_chunks_and_orders_of_hdf5(tmp_path):
    arrays = cxi()
    data = arrays.pop("entry_1/data_1/data")
    with h5py.File(write(tmp_path / "scan.cxi", arrays), "a") as file:
        file.create_dataset("entry_1/data_1/data", data=data, dtype=">f4", chunks=(2, 3, 5), compression="gzip")
    assert load(tmp_path / "scan.cxi").diffraction.dtype == np.float32


def test_plain_arrays_are_not_copied():
    array = np.ones((3, 4))
    assert np.shares_memory(plain_array(array), array)
    assert plain_array(np.array(["text"])).shape == ()
    assert plain_array(np.ones((2, 3), ">f4").T).flags.c_contiguous


def test_arrays_of_objects_are_still_refused(tmp_path):
    np.savez(tmp_path / "s.npz", allow_pickle=True, **{**study(), "probeGuess": np.array([None, 1], object)})
    assert "pickle" in refusal(load, tmp_path / "s.npz")
