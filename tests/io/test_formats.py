"""Files of other programs, made here from their public description (docs/formats.md), not by our own writers."""

import pickle
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
from foreign_files import (
    COUNT,
    CXI_PIXEL_M,
    ENERGY_J,
    PIXEL_M,
    SIDE,
    X_PX,
    Y_PX,
    assert_explained,
    beam,
    continual,
    cxi,
    dataset,
    far_field_counts,
    for_ptychopinn,
    load,
    own,
    patterns,
    product,
    ptychonn,
    reconstruction,
    refusal,
    specimen,
    study,
    tike,
    training,
    true_windows,
    write,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptycho.config.schema import MeasuredConfig
from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.data.lazy import LazyArray
from ptycho.data.metadata import Metadata
from ptycho.errors import InputError
from ptycho.io import formats


@pytest.fixture
def probe_file(tmp_path):
    return write(tmp_path / "probe.npz", {"probeGuess": beam()})


# ptychodus -----------------------------------------------------------------------------------------------


def as_attributes(arrays):
    """Return a product with its scalars as attributes of the root."""
    return {f"@{name}" if value.ndim == 0 else name: value for name, value in arrays.items()}


def as_ptychodus_writes(arrays):
    """Return a product with its geometry as attributes of object and probe, the rest of its scalars of the root."""
    names = {}
    for name, value in arrays.items():
        array, _, rest = name.partition("_")
        geometry = array in ("object", "probe") and ("pixel" in rest or "center" in rest)
        names[name if value.ndim else f"{array}@{rest}" if geometry else f"@{name}"] = value
    return names


@pytest.mark.parametrize(
    ("name", "arranged"),
    [("p.npz", dict), ("p.h5", dict), ("p.hdf5", as_attributes), ("p.h5", as_ptychodus_writes)],
)
def test_a_product_is_a_reconstruction(tmp_path, name, arranged):
    found = load(write(tmp_path / name, arranged(product())))
    assert isinstance(found, Reconstruction)
    np.testing.assert_allclose(found.xcoords, [4, 6, 16, 9, 5], atol=1e-9)
    np.testing.assert_allclose(found.ycoords, [4, 7, 11, 20, 13], atol=1e-9)
    np.testing.assert_array_equal(found.object, specimen())
    np.testing.assert_array_equal(found.probe, beam())
    assert found.metadata.pixel_size_m == PIXEL_M
    assert (found.metadata.energy_eV, found.metadata.distance_m) == (10e3, 1)


def test_a_position_by_hand(tmp_path):
    """Object of 20 columns about x = 2e-7 m: its first edge is at 1e-7 m, so 1.8e-7 m is 8 pixels on."""
    arrays = {**product(), "probe_position_x_m": np.full(5, 1.8e-7), "probe_position_y_m": np.full(5, -1e-7)}
    found = load(write(tmp_path / "p.npz", arrays))
    np.testing.assert_allclose(found.xcoords, 8)
    np.testing.assert_allclose(found.ycoords, 12)


@pytest.mark.parametrize("name", ["patterns.npz", "patterns.h5"])
def test_patterns_join_positions_by_index(tmp_path, caplog, name):
    counts = far_field_counts()
    given = {"patterns": counts[[2, 0, 4]], "indexes": np.array([9, 4, 11])}  # of the third and the first position
    found = load(write(tmp_path / "p.npz", product()), patterns=write(tmp_path / name, given))
    assert found.scan_index.tolist() == [4, 9]
    np.testing.assert_allclose(found.xcoords, X_PX[[0, 2]], atol=1e-9)
    np.testing.assert_allclose(np.square(found.diffraction * found.counts_scale), counts[[0, 2]], rtol=1e-4)
    assert_explained(found)
    assert "2 patterns matched to positions by index; ignored: 1 patterns, 3 positions" in caplog.text


def test_the_strongest_mode_is_taken_and_the_rest_told(tmp_path, caplog):
    modes = beam()[None, None] * np.array([1, 3, 2]).reshape(1, 3, 1, 1)  # powers 1, 9, 4: 5/14 are left out
    found = load(write(tmp_path / "p.npz", {**product(), "probe": modes}))
    np.testing.assert_allclose(found.probe, 3 * beam())
    assert "of 3 incoherent modes of probe, number 2 is used; the others, ignored, carry 35.7 %" in caplog.text


def test_the_scan_numbers_of_a_reconstruction_survive(tmp_path):
    formats.save(tmp_path / "again.h5", load(write(tmp_path / "p.npz", product())))
    given = write(tmp_path / "patterns.npz", patterns())
    assert load(tmp_path / "again.h5", patterns=given).scan_index.tolist() == [4, 7, 9, 2, 3]


# CXI -----------------------------------------------------------------------------------------------------

SAMPLE, ALTERNATIVE = "entry_1/sample_1/geometry_1/translation", "entry_1/instrument_1/detector_1/translation"


@pytest.mark.parametrize("translation", ["entry_1/data_1/translation", SAMPLE, ALTERNATIVE])
@pytest.mark.parametrize("data", ["entry_1/data_1/data", "entry_1/instrument_1/detector_1/data"])
def test_a_cxi_scan(tmp_path, translation, data):
    arrays = cxi()
    arrays[translation], arrays[data] = arrays.pop("entry_1/data_1/translation"), arrays.pop("entry_1/data_1/data")
    found = load(write(tmp_path / "scan.cxi", arrays))
    assert found.metadata.pixel_size_m == pytest.approx(CXI_PIXEL_M, rel=1e-7)
    assert found.metadata.energy_eV == pytest.approx(10e3)
    np.testing.assert_allclose(np.diff(found.xcoords), [2, 10, -7, -4], atol=1e-6)
    np.testing.assert_allclose(np.diff(found.ycoords), [3, 4, 9, -7], atol=1e-6)
    assert found.object is None
    np.testing.assert_allclose(np.square(found.diffraction * found.counts_scale), far_field_counts(), rtol=1e-4)


def test_basis_vectors_turn_the_scan(tmp_path):
    """Rows along -x and columns along +y: the sample moving by +x moves the beam down to higher rows."""
    vectors = np.array([[-1e-4, 0, 0], [0, 1e-4, 0]])
    found = load(write(tmp_path / "scan.cxi", {**cxi(), "entry_1/instrument_1/detector_1/basis_vectors": vectors}))
    np.testing.assert_allclose(np.diff(found.ycoords), [2, 10, -7, -4], atol=1e-6)
    np.testing.assert_allclose(np.diff(found.xcoords), [-3, -4, -9, 7], atol=1e-6)


def test_units_and_the_energy_of_the_photons_not_of_the_machine(tmp_path):
    instrument = "entry_1/instrument_1"
    arrays = {
        **cxi(),
        f"{instrument}/source_1/energy": np.array(4.8e-10),  # a ring of 3 GeV
        f"{instrument}/beam_1/energy": np.array(10.0),
        f"{instrument}/beam_1/energy@units": "keV",
        f"{instrument}/detector_1/distance": np.array(1e3),
        f"{instrument}/detector_1/distance@units": "mm",
    }
    found = load(write(tmp_path / "scan.cxi", arrays))
    assert found.metadata.pixel_size_m == pytest.approx(CXI_PIXEL_M, rel=1e-7)


def test_bits_of_the_mask(tmp_path):
    mask = np.zeros((SIDE, SIDE), np.uint32)
    mask[0, 1], mask[2, 3], mask[4, 5] = 0x1, 0x200, 0x1000  # invalid, missing, above the background
    found = load(write(tmp_path / "scan.cxi", {**cxi(), "entry_1/instrument_1/detector_1/mask": mask}))
    assert np.argwhere(found.bad_pixels).tolist() == [[0, 1], [2, 3]]


def test_what_a_bad_pixel_holds_does_not_matter(tmp_path):
    """Detectors note -1 or NaN where a pixel measured nothing; the mask of the file or of the user says so."""
    counts, mask, more = far_field_counts(), np.zeros((SIDE, SIDE), np.uint32), np.zeros((SIDE, SIDE), bool)
    mask[1, 2], more[3, 4] = 1, True
    counts[:, 1, 2], counts[:, 3, 4] = -1, np.nan
    arrays = {**cxi(), "entry_1/data_1/data": counts, "entry_1/instrument_1/detector_1/mask": mask}
    path = write(tmp_path / "scan.cxi", arrays)
    assert "NaN" in refusal(load, path)
    np.save(tmp_path / "more.npy", more)
    found = load(path, config=MeasuredConfig(bad_pixels=str(tmp_path / "more.npy")))
    assert np.argwhere(found.bad_pixels).tolist() == [[1, 2], [3, 4]]
    assert not found.diffraction[:, found.bad_pixels].any()
    np.save(tmp_path / "other.npy", more[:3])
    config = MeasuredConfig(bad_pixels=str(tmp_path / "other.npy"))
    assert "bad_pixels has shape (3, 8)" in refusal(load, path, config=config)


def test_shifted_quadrants_of_cxi(tmp_path):
    arrays = {**cxi(), "entry_1/data_1/data": far_field_counts(centred=False)}
    arrays["entry_1/data_1/data@is_fft_shifted"] = 1
    found = load(write(tmp_path / "scan.cxi", arrays))
    np.testing.assert_allclose(np.square(found.diffraction * found.counts_scale), far_field_counts(), rtol=1e-4)


def test_the_probe_and_object_that_ptychodus_keeps_in_cxi(tmp_path):
    arrays = {
        **cxi(),
        "entry_1/image_1/data": beam()[None, None],
        "entry_1/image_2/data": specimen()[None],
        "entry_1/ptychodus/object_center_x_m": np.array(10 * CXI_PIXEL_M),  # the middle of 20 columns is pixel 10
        "entry_1/ptychodus/object_center_y_m": np.array(12 * CXI_PIXEL_M),
    }
    del arrays["entry_1/instrument_1/source_1/illumination"]
    found = load(write(tmp_path / "scan.cxi", arrays))
    np.testing.assert_allclose(found.xcoords, X_PX, atol=1e-5)
    assert_explained(found)


def test_an_object_without_a_place_is_left_out(tmp_path, caplog):
    found = load(write(tmp_path / "scan.cxi", {**cxi(), "entry_1/image_2/data": specimen()[None]}))
    assert found.object is None
    assert "the position of entry_1/image_2/data in the scan is not stated: it is ignored" in caplog.text


@pytest.mark.parametrize(
    ("name", "arrays"),
    [("q.npz", study), ("q.h5", product), ("q.cxi", cxi), ("q.npz", tike), ("q.npz", lambda: {"probeGuess": beam()})],
)
def test_a_probe_of_another_file(tmp_path, name, arrays):
    without = {key: value for key, value in cxi().items() if "illumination" not in key}
    path = write(tmp_path / "scan.cxi", without)
    assert "--probe" in refusal(load, path)
    found = load(path, probe=write(tmp_path / name, arrays()))
    ratio = found.probe / beam()
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)


def test_links_within_a_file_are_not_needed(tmp_path):
    """As most programs write it: the data lie at the detector, and data_1 holds soft links."""
    arrays = cxi()
    arrays["entry_1/instrument_1/detector_1/data"] = arrays.pop("entry_1/data_1/data")
    arrays[SAMPLE] = arrays.pop("entry_1/data_1/translation")
    with h5py.File(write(tmp_path / "scan.cxi", arrays), "a") as file:
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
        file["entry_1/data_1/translation"] = h5py.SoftLink(f"/{SAMPLE}")
    assert len(load(tmp_path / "scan.cxi")) == COUNT


def test_a_filter_that_is_not_installed_is_named(tmp_path):
    arrays = cxi()
    del arrays["entry_1/data_1/data"]
    with h5py.File(write(tmp_path / "scan.cxi", arrays), "a") as file:
        chunks = (1, SIDE, SIDE)
        file.create_dataset(
            "entry_1/data_1/data", (COUNT, SIDE, SIDE), float, chunks=chunks, compression=32700,
            allow_unknown_filter=True,
        )  # fmt: skip
    assert "filter 32700" in (message := refusal(load, tmp_path / "scan.cxi"))
    assert "pip install .[hdf5]" in message


# PtychoNN, tike, study -----------------------------------------------------------------------------------


@pytest.mark.parametrize("real", [ptychonn()["real"], true_windows()], ids=["phase, amplitude", "complex"])
def test_ptychonn(tmp_path, probe_file, real):
    path = write(tmp_path / "nn.npz", {**ptychonn(), "real": real})
    found = load(path, probe=probe_file, config=MeasuredConfig(quantity="counts"))
    np.testing.assert_allclose(found.patches, true_windows(), atol=1e-6)
    np.testing.assert_array_equal(np.diff(found.xcoords), np.diff(X_PX))  # without an object, the origin is free
    np.testing.assert_array_equal(np.diff(found.ycoords), np.diff(Y_PX))
    assert found.metadata.model_mismatch < 0.01  # the counts are rounded


def test_ptychonn_without_positions_or_probe(tmp_path, probe_file):
    path = write(tmp_path / "nn.npz", ptychonn())
    assert "PtychoNN npz without a probe" in refusal(load, path)
    bare = {key: value for key, value in ptychonn().items() if key != "scan"}
    message = refusal(load, write(tmp_path / "bare.npz", bare), probe=probe_file)
    assert "without positions; the file holds real, reciprocal: add scan" in message
    named = write(tmp_path / "named.npz", {**bare, "xcoords": X_PX, "ycoords": Y_PX})
    np.testing.assert_array_equal(np.diff(load(named, probe=probe_file).xcoords), np.diff(X_PX))


@pytest.mark.parametrize("flat", [False, True])
def test_tike(tmp_path, flat):
    arrays = tike()
    if flat:
        arrays = {"data": arrays["data"][0], "scan": arrays["scan"][0], "probe": beam(), "psi": specimen()[None]}
    found = load(write(tmp_path / "tike.npz", arrays))
    np.testing.assert_array_equal(found.xcoords, X_PX)
    np.testing.assert_array_equal(found.ycoords, Y_PX)
    np.testing.assert_allclose(np.square(found.diffraction * found.counts_scale), far_field_counts(), rtol=1e-4)
    assert_explained(found)


def test_tike_takes_the_strongest_shared_mode(tmp_path):
    shared = beam()[None, None, None] * np.array([0.1, 1.0]).reshape(1, 1, 2, 1, 1)
    assert_explained(load(write(tmp_path / "tike.npz", {**tike(), "probe": shared})))


@pytest.mark.parametrize("old", [False, True])
def test_study_npz_of_others(tmp_path, old):
    arrays = {**study(), "bad_pixels": np.eye(SIDE, dtype=np.uint8)}
    if old:
        arrays["diff3d"] = np.moveaxis(arrays.pop("diffraction"), 0, 2)
    found = load(write(tmp_path / "old.npz", arrays))
    np.testing.assert_array_equal(found.bad_pixels, np.eye(SIDE, dtype=bool))
    np.testing.assert_allclose(found.patches, true_windows())
    assert found.metadata.model_mismatch < 0.01


def test_what_the_user_says_wins(tmp_path):
    config = MeasuredConfig(quantity="amplitude", pixel_size_m=7e-9)
    found = load(write(tmp_path / "tike.npz", tike()), config=config)
    assert found.metadata.pixel_size_m == 7e-9
    np.testing.assert_allclose(found.diffraction * found.counts_scale, far_field_counts(), rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "arrays", "form"),
    [
        ("x.npz", product, "ptychodus"), ("x.cxi", product, "ptychodus"), ("x.h5", cxi, "cxi"),
        ("x.npz", patterns, "patterns"), ("x.npz", tike, "tike"), ("x.npz", ptychonn, "ptychonn"),
        ("x.npz", study, "study"),
    ],
)  # fmt: skip
def test_names_tell_the_format_not_the_extension(tmp_path, name, arrays, form):
    assert formats.detect(write(tmp_path / name, arrays())) == form


# writing -------------------------------------------------------------------------------------------------

WRITTEN = [("a.npz", "study"), ("a.npz", "ptychodus"), ("a.h5", "ptychodus"), ("a.cxi", "cxi"), ("a.h5", "cxi")]


def again(tmp_path, name, form, content):
    written = formats.save(tmp_path / name, content, form)
    assert all(path.is_file() for path in written)
    return load(written[0], patterns=written[1] if len(written) > 1 else None)


@pytest.mark.parametrize(("name", "form"), WRITTEN)
@pytest.mark.parametrize("changes", [{}, {"bad_pixels": np.eye(SIDE, dtype=bool)}, {"bad_pixels": None}])
def test_a_dataset_comes_back(tmp_path, name, form, changes):
    if changes.get("bad_pixels") is not None:
        changes = {**changes, "diffraction": dataset().diffraction * ~changes["bad_pixels"]}
    content = dataset(**changes)
    found = again(tmp_path, name, form, content)
    np.testing.assert_allclose(found.xcoords, X_PX, atol=1e-9)
    np.testing.assert_allclose(found.ycoords, Y_PX, atol=1e-9)
    np.testing.assert_array_equal(found.object, specimen())
    np.testing.assert_array_equal(found.scan_index, content.scan_index)
    np.testing.assert_allclose(
        found.diffraction[:] * found.counts_scale, content.diffraction * content.counts_scale, rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(found.probe * found.counts_scale, beam(), rtol=1e-4)
    wanted = np.zeros((SIDE, SIDE), bool) if content.bad_pixels is None else content.bad_pixels
    assert found.bad_pixels is None or (found.bad_pixels == wanted).all()
    assert found.bad_pixels is not None or not wanted.any()
    assert found.metadata.n_photons == 1e5
    assert found.metadata.pixel_size_m == PIXEL_M


@pytest.mark.parametrize(("name", "form"), WRITTEN)
def test_a_dataset_without_object_comes_back_without_one(tmp_path, name, form):
    found = again(tmp_path, name, form, dataset(object=None))
    assert found.object is None
    np.testing.assert_allclose(np.diff(found.xcoords), np.diff(X_PX), atol=1e-9)


@pytest.mark.parametrize(("name", "form"), WRITTEN)
def test_a_reconstruction_comes_back(tmp_path, name, form):
    found = again(tmp_path, name, form, reconstruction(metadata=Metadata(pixel_size_m=PIXEL_M, energy_eV=8800.0)))
    assert isinstance(found, Reconstruction)
    np.testing.assert_allclose(found.xcoords, X_PX, atol=1e-9)
    np.testing.assert_array_equal(found.object, specimen())
    np.testing.assert_array_equal(found.probe, beam())
    assert found.metadata.energy_eV == pytest.approx(8800)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_detector_comes_back_from_cxi(tmp_path):
    facts = {"energy_eV": 10e3, "distance_m": 1.0, "detector_pixel_m": 1e-4, "pixel_size_m": CXI_PIXEL_M}
    content = dataset(metadata=Metadata(**facts, counts_scale=40.0))
    found = again(tmp_path, "a.cxi", "cxi", content)
    assert {key: getattr(found.metadata, key) for key in facts} == pytest.approx(facts)
    with h5py.File(tmp_path / "a.cxi") as file:
        assert file["entry_1/instrument_1/source_1/energy"][()] == pytest.approx(ENERGY_J)
        assert file["cxi_version"][()] == 160
        np.testing.assert_allclose(file["entry_1/data_1/data"], far_field_counts(), rtol=1e-4)


def test_a_product_is_what_ptychodus_reads(tmp_path):
    formats.save(tmp_path / "a.h5", dataset())
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["probe"].shape == (1, 1, SIDE, SIDE)
        assert file["object"].shape == (1, 24, 20)
        assert file["object"].attrs["pixel_width_m"] == PIXEL_M
        # the middle of 20 columns is pixel 10: the first position, pixel 4, lies 6 pixels before it
        x_m = file["probe_position_x_m"][0] - file["object"].attrs["center_x_m"]
        assert x_m == pytest.approx(-6 * PIXEL_M)
        power = np.square(np.abs(file["probe"][()])).sum()
        assert file.attrs["probe_photon_count"] == pytest.approx(power)
        assert isinstance(file.attrs["name"], str)


def test_patterns_are_written_in_parts(tmp_path):
    made = []
    content = dataset()
    rows = np.tile(content.diffraction, (40, 1, 1))

    def make(numbers):
        made.append(len(numbers))
        return rows[numbers]

    many = replace(
        content, diffraction=LazyArray(rows.shape, rows.dtype, make), xcoords=np.tile(X_PX, 40),
        ycoords=np.tile(Y_PX, 40), scan_index=np.arange(200),
    )  # fmt: skip
    formats.save(tmp_path / "a.cxi", many)
    formats.save(tmp_path / "a.h5", many)
    assert max(made) <= 32
    assert sum(made) == 400


@pytest.mark.parametrize(("name", "form"), WRITTEN)
def test_a_failed_write_leaves_what_was_there(tmp_path, name, form):
    def fail(numbers):
        raise InputError("the source is gone")

    broken = replace(dataset(), diffraction=LazyArray((COUNT, SIDE, SIDE), np.dtype(np.float32), fail))
    (tmp_path / name).write_text("earlier")
    with pytest.raises(InputError, match="gone"):
        formats.save(tmp_path / name, broken, form)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "earlier"


@pytest.mark.parametrize("form", ["ptychodus", "cxi"])
def test_metres_need_a_pixel_size(tmp_path, form):
    content = reconstruction(metadata=Metadata())
    assert "--pixel_size_m" in refusal(formats.save, tmp_path / "a.h5", content, form)
    assert list(tmp_path.iterdir()) == []


def test_names_of_any_kind_and_the_scan_of_others_do_not_stop_a_writer(tmp_path):
    odd = Metadata(pixel_size_m=PIXEL_M, scan_index=(1,), other={"name": 3})
    again(tmp_path, "a.h5", "ptychodus", reconstruction(metadata=odd))
    again(tmp_path, "a.cxi", "cxi", reconstruction(metadata=odd))


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.txt", None), ("a", None), ("a.h5", "study"), ("a.cxi", "ptychodus"), ("a.npz", "cxi"), ("a.h5", "pty")],
)
def test_extensions_that_fit_no_format(tmp_path, name, form):
    assert "extension" in refusal(formats.save, tmp_path / name, reconstruction(), form)


# bad input -----------------------------------------------------------------------------------------------


class Touch:
    """Unpickled, it leaves a file: what a malicious file could do with any command."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def with_nan(array):
    array = np.array(array, float)
    array.flat[0] = np.nan
    return array


BAD = [
    ("p.npz", product, {"probe_position_x_m": None}, "missing; the file holds"),
    ("p.npz", product, {"probe_position_x_m": np.zeros(3)}, "3 probe_position_x_m and 5 probe_position_y_m"),
    ("p.npz", product, {"probe_position_x_m": with_nan(X_PX)}, "NaN"),
    ("p.npz", product, {"probe_position_indexes": np.zeros(5, int)}, "holds 0 twice"),
    ("p.npz", product, {"probe_position_indexes": np.arange(5) / 2}, "fractions"),
    ("p.npz", product, {"object": np.ones((2, 24, 20), complex)}, "2 layers"),
    ("p.npz", product, {"object": np.ones((24, 20))}, "expected (any, any) complex"),
    ("p.npz", product, {"object_pixel_width_m": None, "object_pixel_height_m": None}, "size of an object pixel"),
    ("p.npz", product, {"object_pixel_width_m": np.array(2 * PIXEL_M)}, "square pixels"),
    ("p.npz", product, {"object_pixel_width_m": np.array(0.0)}, "more than 0"),
    ("p.npz", product, {"object_center_x_m": None}, "object_center_x_m missing"),
    ("p.npz", product, {"object_center_x_m": np.zeros(2)}, "one finite number"),
    ("p.npz", product, {"probe": np.zeros((1, 1, SIDE, SIDE), complex)}, "zero everywhere"),
    ("p.npz", product, {"probe": np.ones((SIDE, SIDE))}, "complex"),
    ("p.npz", product, {"probe": None}, "--probe"),
    ("p.npz", product, {"object": None}, "neither patterns nor an object"),
    ("c.cxi", cxi, {"entry_1/data_1/data": far_field_counts()[:, 1:]}, "expected (n, N, N)"),
    ("c.cxi", cxi, {"entry_1/data_1/data": far_field_counts()[:, 1:, 1:]}, "N even"),
    ("c.cxi", cxi, {"entry_1/data_1/data": -far_field_counts()}, "negative"),
    ("c.cxi", cxi, {"entry_1/data_1/data": with_nan(far_field_counts())}, "NaN"),
    ("c.cxi", cxi, {"entry_1/data_1/translation": None}, "translation missing; the file holds cxi_version"),
    ("c.cxi", cxi, {"entry_1/data_1/translation": np.zeros((3, 3))}, "expected (5, 3) real"),
    ("c.cxi", cxi, {"entry_1/data_1/translation": with_nan(np.zeros((5, 3)))}, "NaN"),
    ("c.cxi", cxi, {"entry_1/instrument_1/source_1/energy": np.array(10.0)}, "write joules"),
    ("c.cxi", cxi, {"entry_1/instrument_1/source_1/energy@units": "furlong"}, "'furlong'"),
    ("c.cxi", cxi, {"entry_1/instrument_1/source_1/energy": None}, "pixel"),
    ("c.cxi", cxi, {"entry_1/instrument_1/detector_1/x_pixel_size": np.array(2e-4)}, "square pixels"),
    ("c.cxi", cxi, {"entry_1/instrument_1/detector_1/mask": np.zeros((3, 3), int)}, "mask has shape (3, 3)"),
    ("c.cxi", cxi, {"entry_1/instrument_1/detector_1/basis_vectors": np.zeros((2, 3))}, "two vectors"),
    ("c.cxi", cxi, {"entry_1/instrument_1/detector_1/basis_vectors": np.zeros((3, 3))}, "expected (2, 3)"),
    ("c.cxi", cxi, {"entry_1/ptychodus/object_pixel_width_m": np.array(1e-9)}, "cropped or binned"),
    ("c.cxi", cxi, {"entry_1/process_1/note_1/data": np.array("{")}, "JSON"),
    ("c.cxi", cxi, {"entry_1/process_1/note_1/data": np.array("[1]")}, "expected an object"),
    ("t.npz", tike, {"data": tike()["data"][:, :3]}, "expected (3, 2) real"),
    ("t.npz", tike, {"data": np.ones((2, 5, SIDE, SIDE))}, "expected (any, any, any) real"),
    ("t.npz", tike, {"scan": np.full((5, 2), 90.0)}, "pixels of this object"),
    ("t.npz", tike, {"probe": None}, "--probe"),
    ("n.npz", ptychonn, {"real": np.zeros((5, 3, SIDE, SIDE))}, "expected (5, 2, 8, 8) real"),
    ("s.npz", study, {"xcoords": None}, "xcoords missing"),
    ("s.npz", study, {"xcoords": np.array("here")}, "real"),
    ("s.npz", study, {"scan_index": np.array(["a"] * 5)}, "whole numbers"),
    ("s.npz", study, {"metadata": np.array("[]")}, "metadata"),
    ("s.npz", study, {"diffraction": None}, None),
    ("x.npz", lambda: {"a": np.ones(3)}, {}, "holds a, which is none of the known formats"),
    ("x.npz", patterns, {}, "ptychodus patterns without positions"),
]


@pytest.mark.parametrize(("name", "arrays", "changes", "message"), BAD)
def test_bad_files_are_refused_in_one_line(tmp_path, name, arrays, changes, message):
    content = {key: value for key, value in {**arrays(), **changes}.items() if value is not None}
    path = write(tmp_path / name, content)
    if message is None:
        assert isinstance(load(path), Reconstruction)
        return
    found = refusal(load, path)
    assert message in found
    assert str(path) in found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"indexes": np.arange(50, 55)}, "no pattern has the index of a position"),
        ({"indexes": np.zeros(5, int)}, "holds 0 twice"),
        ({"indexes": np.arange(3)}, "expected (5) real"),
        ({"patterns": None}, "patterns missing; the file holds bad_pixels, indexes"),
        ({"patterns": far_field_counts()[:, ::2, ::2], "bad_pixels": None}, "diffraction has shape (5, 4, 4)"),
        ({"bad_pixels": np.zeros((3, 3), bool)}, "bad_pixels has shape (3, 3)"),
        ({"bad_pixels": np.ones((SIDE, SIDE), bool)}, "inverted"),
    ],
)
def test_bad_patterns_are_refused(tmp_path, changes, message):
    content = {key: value for key, value in {**patterns(), **changes}.items() if value is not None}
    given = write(tmp_path / "patterns.npz", content)
    assert message in refusal(load, write(tmp_path / "p.npz", product()), patterns=given)


def test_patterns_belong_to_a_product(tmp_path):
    given = write(tmp_path / "patterns.npz", patterns())
    assert "--patterns" in refusal(load, write(tmp_path / "t.npz", tike()), patterns=given)


@pytest.mark.parametrize("arrays", [patterns, ptychonn])
def test_files_that_hold_no_probe(tmp_path, arrays):
    given = write(tmp_path / "given.npz", arrays())
    assert re.search("no probe|without a probe", refusal(load, write(tmp_path / "t.npz", tike()), probe=given))


@pytest.mark.parametrize(
    "content", [b"", b"nothing that is known", b"PK\x03\x04broken", b"\x89HDF\r\n\x1a\n" + bytes(100)]
)
def test_files_of_no_kind(tmp_path, content):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    assert str(path) in refusal(load, path)


def test_missing_files_and_directories(tmp_path):
    assert "no such file" in refusal(load, tmp_path / "x.cxi")
    assert "a directory" in refusal(load, tmp_path)


@pytest.mark.parametrize("key", ["probe_position_x_m", "probe", "name"])
def test_pickled_arrays_are_refused_and_never_run(tmp_path, key):
    mark = tmp_path / "was run"
    path = tmp_path / "p.npz"
    np.savez(path, allow_pickle=True, **{**product(), key: np.array([Touch(mark)], object)})
    assert "pickle" in refusal(load, path)
    path.write_bytes(pickle.dumps(Touch(mark)))
    refusal(load, path)
    assert not mark.exists()


def test_what_does_not_fit_into_memory_is_not_loaded(tmp_path):
    arrays = cxi()
    del arrays["entry_1/data_1/data"]
    with h5py.File(write(tmp_path / "scan.cxi", arrays), "a") as file:
        file.create_dataset("entry_1/data_1/data", (10**9, 1024, 1024), float, chunks=(1, 1024, 1024))
    assert "more than" in refusal(load, tmp_path / "scan.cxi")


# generated damage ----------------------------------------------------------------------------------------

SOUND = {
    "p.npz": product, "p.h5": product, "c.cxi": cxi, "t.npz": tike, "s.npz": study, "o.npz": own,
    "n.npz": lambda: {**ptychonn(), "probeGuess": beam()}, "m.npz": lambda: {**continual(), "probeGuess": beam()},
    "r.npz": training, "f.npz": for_ptychopinn,
}  # fmt: skip
DAMAGE = settings(
    max_examples=50, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
KINDS = (np.uint8, np.int64, np.float32, np.float64, np.complex64, bool, "S3", "U3")


def only_input_errors(path, **options):
    """Read a file that may be damaged: it loads, or InputError says in one line why not."""
    said = ""
    try:
        found = load(path, **options)
        with np.errstate(over="ignore"):
            found = found.loaded() if isinstance(found, Dataset) else found
    except InputError as error:
        said = str(error)
    assert "\n" not in said


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sound")
    return {name: write(directory / name, arrays()).read_bytes() for name, arrays in SOUND.items()}


@pytest.mark.parametrize("name", SOUND)
@settings(DAMAGE, max_examples=150)
@given(data=st.data())
def test_flipped_and_missing_bytes(tmp_path, sound, name, data):
    content = bytearray(sound[name])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, 20000), st.integers(0, 255)), max_size=5)):
        if content:
            content[place % len(content)] = value
    path = tmp_path / f"damaged{name[1:]}"
    path.write_bytes(content)
    only_input_errors(path)


@pytest.mark.parametrize("name", SOUND)
@DAMAGE
@given(data=st.data())
def test_dropped_names_and_wrong_types(tmp_path, name, data):
    arrays = SOUND[name]()
    keys = st.sampled_from(sorted(arrays))
    for key in data.draw(st.lists(keys, max_size=2, unique=True)):
        del arrays[key]
    changed = data.draw(st.sampled_from(sorted(arrays)))
    shape = data.draw(
        st.sampled_from([arrays[changed].shape, (), (0,), (3,), (2, 2), (5, 2, 2), (0, 8, 8), (1, 1, 1, 8, 8)])
    )
    kind = np.dtype(data.draw(st.sampled_from(KINDS)))
    filling = data.draw(st.sampled_from([0, 1, 7, 250])) if kind.kind in "iu" else data.draw(
        st.sampled_from([0, 1.5, -1, 1e-9, 1e300, np.nan, np.inf])
    )  # fmt: skip
    with np.errstate(all="ignore"):
        arrays[changed] = np.full(shape, filling).astype(kind)
    only_input_errors(write(tmp_path / f"wrong{name[1:]}", arrays))


@DAMAGE
@given(data=st.data())
def test_damaged_patterns(tmp_path, data):
    arrays = patterns()
    changed = data.draw(st.sampled_from(sorted(arrays)))
    kind = data.draw(st.sampled_from(KINDS))
    arrays[changed] = np.zeros(data.draw(st.sampled_from([arrays[changed].shape, (), (0,), (5,), (4, 2, 2)])), kind)
    given = write(tmp_path / "patterns.npz", arrays)
    only_input_errors(write(tmp_path / "p.npz", product()), patterns=given)
