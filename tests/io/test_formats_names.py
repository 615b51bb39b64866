"""Nothing of a file is dropped without a word: links, other spellings, unknown arrays, files of other kinds."""

import bz2
import fcntl
import logging
import pickle
import re
import zipfile

import h5py
import numpy as np
import pytest
from foreign_files import COUNT, SIDE, cxi, far_field_counts, load, patterns, product, refusal, specimen, study, write

from ptycho.data.dataset import Reconstruction
from ptycho.io import formats, npz
from ptycho.preparation.load import load_scan, read_reconstruction

DATA, DETECTOR = "entry_1/data_1/data", "entry_1/instrument_1/detector_1"


def without(arrays, *names):
    return {key: value for key, value in arrays.items() if key not in names}


def with_object():
    """A CXI file that is a reconstruction where its patterns are not read: object, probe and positions are there."""
    extra = "entry_1/ptychodus"
    return {
        **cxi(), "entry_1/image_2/data": specimen()[None], f"{extra}/object_center_x_m": np.array(0.0),
        f"{extra}/object_center_y_m": np.array(0.0),
    }  # fmt: skip


# links of HDF5 ---------------------------------------------------------------------------------------------------


def linked(path, arrays, name, link):
    """Write a file with a link in the place of a data set."""
    with h5py.File(write(path, without(arrays, name)), "a") as file:
        file[name] = link
    return path


@pytest.mark.parametrize("arrays", [cxi, with_object])
def test_patterns_in_another_file_are_refused_by_name(tmp_path, arrays):
    write(tmp_path / "other.h5", {"elsewhere": far_field_counts()})
    path = linked(tmp_path / "scan.cxi", arrays(), DATA, h5py.ExternalLink("other.h5", "/elsewhere"))
    assert f"{DATA} is a link to /elsewhere in another file, other.h5" in refusal(load, path)


@pytest.mark.parametrize("arrays", [cxi, with_object])
@pytest.mark.parametrize("place", ["external", "virtual"])
def test_values_kept_elsewhere_are_refused_by_name(tmp_path, arrays, place):
    shape = far_field_counts().shape
    (tmp_path / "raw").write_bytes(bytes(8 * COUNT * SIDE * SIDE))
    source = write(tmp_path / "source.h5", {"x": far_field_counts()})
    layout = h5py.VirtualLayout(shape, float)
    layout[:] = h5py.VirtualSource(source, "x", shape)
    with h5py.File(write(tmp_path / "scan.cxi", without(arrays(), DATA)), "a") as file:
        if place == "virtual":
            file.create_virtual_dataset(DATA, layout)
        else:
            file.create_dataset(DATA, shape, float, external=[(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)])
    problem = {"external": "stored in another file", "virtual": "a virtual data set"}[place]
    assert f"{DATA} is {problem}" in refusal(load, tmp_path / "scan.cxi")


def test_links_within_a_file_are_followed(tmp_path):
    """As NeXus writers do: the patterns are elsewhere in the file, behind links of data sets and of groups."""
    moved = "measurement/detector"
    arrays = without(cxi(), DATA)
    names = {key: key.replace(DETECTOR, moved) for key in arrays}
    arrays = {names[key]: value for key, value in arrays.items()} | {f"{moved}/frames": far_field_counts()}
    path = write(tmp_path / "scan.cxi", arrays)
    with h5py.File(path, "a") as file:
        file[DETECTOR] = h5py.SoftLink(f"/{moved}")
        file[f"{moved}/data"] = h5py.SoftLink("frames")  # relative to its group
        file[DATA] = h5py.SoftLink(f"/{DETECTOR}/data")
    found = load(path)
    np.testing.assert_allclose(np.square(found.diffraction * found.counts_scale), far_field_counts(), rtol=1e-4)
    assert found.metadata.distance_m == 1


@pytest.mark.parametrize(
    ("target", "problem"), [("/nowhere", "to /nowhere, which does not exist"), (f"/{DATA}", "that leads in a circle")]
)
def test_links_that_lead_nowhere(tmp_path, target, problem):
    path = linked(tmp_path / "scan.cxi", with_object(), DATA, h5py.SoftLink(target))
    assert f"{DATA} is a link {problem}" in refusal(load, path)


def test_a_group_of_another_file_is_not_entered(tmp_path):
    write(tmp_path / "other.h5", {"detector/mask": np.zeros((SIDE, SIDE), np.uint32)})
    path = write(tmp_path / "scan.cxi", {key: value for key, value in cxi().items() if not key.startswith(DETECTOR)})
    with h5py.File(path, "a") as file:
        file[DETECTOR] = h5py.ExternalLink("other.h5", "/detector")
    assert re.search(f"{DETECTOR}/[a-z_]+ is a link to /detector in another file", refusal(load, path))


def test_of_two_places_the_one_in_the_file_is_read_and_the_other_named(tmp_path, caplog):
    path = linked(tmp_path / "scan.cxi", {**cxi(), f"{DETECTOR}/data": far_field_counts()}, DATA,
                  h5py.ExternalLink("gone.h5", "/x"))  # fmt: skip
    assert len(load(path)) == COUNT
    assert f"ignored: {DATA} (a link to /x in another file, gone.h5; not read)" in caplog.text


@pytest.mark.parametrize("name", ["probe_position_x_m", "probe", "object"])
def test_linked_arrays_of_a_product(tmp_path, name):
    path = linked(tmp_path / "p.h5", product(), name, h5py.ExternalLink("other.h5", "/x"))
    assert f"{name} is a link to /x in another file" in refusal(load, path)


def test_linked_patterns_of_a_product(tmp_path):
    path = linked(tmp_path / "d.h5", patterns(), "patterns", h5py.ExternalLink("other.h5", "/x"))
    assert "patterns is a link to /x" in refusal(load, write(tmp_path / "p.h5", product()), patterns=path)


def test_names_of_links_cannot_break_a_line(tmp_path):
    path = linked(tmp_path / "scan.cxi", cxi(), DATA, h5py.ExternalLink("a\nb" + "c" * 500, "/x"))
    assert len(refusal(load, path)) < 500


# names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "name", "other"),
    [
        (study, "diffraction", "Diffraction"), (study, "diffraction", "DIFFRACTION"), (study, "xcoords", "x_coords"),
        (study, "objectGuess", "object_guess"), (product, "object", "Object"), (product, "probe_position_indexes",
        "probe_position_Indexes"), (cxi, f"{DETECTOR}/mask", f"{DETECTOR}/Mask"), (cxi, DATA, "entry_1/data_1/Data"),
    ],
)  # fmt: skip
def test_known_names_in_other_letters_are_refused(tmp_path, arrays, name, other):
    content = arrays()
    content[other] = content.pop(name)
    path = write(tmp_path / ("x.cxi" if arrays is cxi else "x.npz"), content)
    assert f"holds {other}, expected {name}" in refusal(load, path)


def test_other_names_are_no_misspellings(tmp_path):
    assert len(load(write(tmp_path / "s.npz", {**without(study(), "Y"), "y": np.zeros(3)}))) == COUNT


@pytest.mark.parametrize(("name", "level"), [("a_mask", "WARNING"), ("eigen_probe", "WARNING"), ("notes", "INFO")])
@pytest.mark.parametrize("file", ["s.npz", "s.cxi"])
def test_what_is_not_read_is_listed(tmp_path, caplog, name, level, file):
    caplog.set_level(logging.INFO)
    load(write(tmp_path / file, {**(study if file == "s.npz" else cxi)(), name: np.zeros(3)}))
    record = next(record for record in caplog.records if "ignored: " in record.getMessage())
    assert record.getMessage().endswith(f"ignored: {name}")
    assert record.levelname == level


def test_one_data_set_of_two_names_is_not_listed_as_ignored(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with h5py.File(write(tmp_path / "scan.cxi", cxi()), "a") as file:
        file[f"{DETECTOR}/data"] = file[DATA]
    load(tmp_path / "scan.cxi")
    assert "ignored" not in caplog.text


def test_members_of_an_npz_that_are_no_arrays(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = write(tmp_path / "s.npz", study())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README.txt", "how it was measured")
        archive.writestr("folder/", "")
    assert len(load(path)) == len(load_scan(path)) == COUNT
    assert "ignored: README.txt (no array)" in caplog.text
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("bad_pixels", "none")
    assert "bad_pixels (no array)" in (load(path), caplog.text)[1]
    np.savez(tmp_path / "no.npz", **without(study(), "diffraction"))
    with zipfile.ZipFile(tmp_path / "no.npz", "a") as archive:
        archive.writestr("diffraction.txt", "1 2 3")
    assert isinstance(load(tmp_path / "no.npz"), Reconstruction)
    assert "diffraction.txt (no array)" in caplog.text


# files of other kinds ---------------------------------------------------------------------------------------------


def npy_bytes(path):
    np.save(path, far_field_counts())
    return path.read_bytes()


KINDS = {
    "bzip2": lambda path: bz2.compress(write(path, study()).read_bytes()),
    "gzip": lambda path: b"\x1f\x8b\x08" + bytes(40),
    "npy": lambda path: npy_bytes(path.with_suffix(".npy")),
    "MATLAB 5": lambda path: b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128) + bytes(64),
    "TIFF": lambda path: b"II*\x00" + bytes(64),
    "tar": lambda path: bytes(257) + b"ustar" + bytes(250),
    "pickle": lambda path: pickle.dumps({"diffraction": 1}),
    "damaged zip": lambda path: write(path, study()).read_bytes()[:-100],
    "unknown kind": lambda path: b"nothing that is known",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", [load, load_scan, formats.read_probe])
def test_files_of_other_kinds_are_named(tmp_path, kind, reader):
    path = tmp_path / "x.npz"
    path.write_bytes(KINDS[kind](path))
    message = refusal(reader, path)
    assert message.startswith(f"{path}: ")
    assert kind in message
    assert message.count(str(path)) == 1


def test_a_file_that_another_program_writes(tmp_path):
    path = write(tmp_path / "scan.cxi", cxi())
    with path.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert "open for writing in another program" in refusal(load, path)
    assert len(load(path)) == COUNT


def test_the_readers_of_npz_name_other_kinds_too(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(KINDS["MATLAB 5"](path))
    for reader in (npz.read_npz, npz.npz_members, read_reconstruction):
        assert "a MATLAB 5 file" in refusal(reader, path)
    write(tmp_path / "x.h5", product())
    assert "an HDF5 file: convert it" in refusal(npz.read_npz, tmp_path / "x.h5")
    path.write_bytes(write(tmp_path / "s.npz", study()).read_bytes()[:300] + b"PK")
    assert "a damaged zip" in refusal(npz.read_npz, path)
