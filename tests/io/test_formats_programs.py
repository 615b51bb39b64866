"""Files of the shape that other programs write, made from their public sources (docs/formats.md names them)."""

import logging

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
    patterns,
    product,
    ptychonn,
    reconstruction,
    refusal,
    specimen,
    study,
    training,
    write,
)

from ptycho.config.schema import MeasuredConfig
from ptycho.data.dataset import Reconstruction
from ptycho.data.metadata import Metadata
from ptycho.io import formats
from ptycho.preparation.load import load_scan, read_reconstruction

DETECTOR, SOURCE = "entry_1/instrument_1/detector_1", "entry_1/instrument_1/source_1"
SAMPLE = "entry_1/sample_1/geometry_1/translation"


@pytest.fixture
def probe_file(tmp_path):
    return write(tmp_path / "probe.npz", {"probeGuess": beam()})


def with_links(path, arrays, links):
    """Write an HDF5 file with soft links, by name."""
    with h5py.File(write(path, arrays), "a") as file:
        for name, target in links.items():
            file[name] = h5py.SoftLink(f"/{target}")
    return path


def assert_scan(found, x_px=X_PX, y_px=Y_PX):
    np.testing.assert_allclose(np.diff(found.xcoords), np.diff(x_px), atol=1e-4)
    np.testing.assert_allclose(np.diff(found.ycoords), np.diff(y_px), atol=1e-4)
    np.testing.assert_allclose(np.square(found.diffraction * found.counts_scale), far_field_counts(), rtol=1e-4)


# CDTools: tools/data (add_source, add_detector, add_data, add_ptycho_translations) ---------------------------------


def cdtools(path, basis=((0, -1e-4), (-1e-4, 0), (0, 0)), **changes):
    """Basis vectors (3, 2), columns: along rows, along columns; the wavelength beside the energy; links to the data."""
    translation = np.stack([X_PX * CXI_PIXEL_M, Y_PX * CXI_PIXEL_M, np.zeros(COUNT)], axis=1).astype(np.float32)
    arrays = {
        "cxi_version": np.array(160),
        "number_of_entries": np.array(1),
        f"{DETECTOR}/basis_vectors": np.array(basis, np.float32),
        f"{DETECTOR}/data": far_field_counts().astype(np.float32),
        f"{DETECTOR}/data@axes": "translation:y:x",
        f"{DETECTOR}/distance": np.float32(1),
        f"{DETECTOR}/x_pixel_size": np.float32(1e-4),
        f"{DETECTOR}/y_pixel_size": np.float32(1e-4),
        f"{DETECTOR}/mask": np.zeros((SIDE, SIDE), np.uint32),
        f"{SOURCE}/wavelength": np.float32(1.2398420e-10),
        f"{SOURCE}/energy": np.float32(ENERGY_J),
        SAMPLE: translation,
        **changes,
    }
    links = {
        "entry_1/data_1/data": f"{DETECTOR}/data",
        "entry_1/data_1/translation": SAMPLE,
        f"{DETECTOR}/translation": SAMPLE,
    }
    return with_links(path, {key: value for key, value in arrays.items() if value is not None}, links)


def test_cdtools(tmp_path, probe_file):
    found = load(cdtools(tmp_path / "scan.cxi"), probe=probe_file)
    assert_scan(found)
    assert found.metadata.pixel_size_m == pytest.approx(CXI_PIXEL_M, rel=1e-5)


def test_basis_vectors_of_cdtools_turn_the_scan(tmp_path, probe_file):
    """Rows along -x, columns along +y: a sample that moves by +x moves the beam to higher rows."""
    path = cdtools(tmp_path / "scan.cxi", basis=((-1e-4, 0), (0, 1e-4), (0, 0)))
    assert_scan(load(path, probe=probe_file), x_px=-Y_PX, y_px=X_PX)


def test_a_wavelength_without_an_energy(tmp_path, probe_file):
    found = load(cdtools(tmp_path / "scan.cxi", **{f"{SOURCE}/energy": None}), probe=probe_file)
    assert found.metadata.energy_eV == pytest.approx(10e3, rel=1e-5)
    assert_scan(found)
    wrong = {f"{SOURCE}/energy": None, f"{SOURCE}/wavelength": np.array(1.24)}
    assert "which no X-ray photon has" in refusal(load, cdtools(tmp_path / "a.cxi", **wrong), probe=probe_file)
    named = {**wrong, f"{SOURCE}/wavelength@units": "angstrom"}
    assert load(cdtools(tmp_path / "b.cxi", **named), probe=probe_file).metadata.energy_eV == pytest.approx(
        1e4, rel=1e-3
    )


def test_a_dark_image_is_not_subtracted_and_that_is_said(tmp_path, probe_file, caplog):
    load(cdtools(tmp_path / "scan.cxi", **{f"{DETECTOR}/data_dark": np.ones((SIDE, SIDE))}), probe=probe_file)
    assert ("WARNING", f"ignored: {DETECTOR}/data_dark") in [
        (record.levelname, record.getMessage().partition(": ")[2].partition(", number")[0]) for record in caplog.records
    ]


# PyNX: ptycho.save_ptycho_data_cxi -----------------------------------------------------------------------------------


def pynx(path, **changes):
    """Translations (3, n), basis vectors (2, 3), gzip, and links from data_1 and the detector."""
    arrays = {
        "@creator": "PyNX",
        "cxi_version": np.array(140),
        SAMPLE: np.stack([X_PX * CXI_PIXEL_M, Y_PX * CXI_PIXEL_M, np.zeros(COUNT)]).astype(np.float32),
        f"{SOURCE}/energy": np.array(ENERGY_J),
        f"{DETECTOR}/data": far_field_counts(),
        f"{DETECTOR}/distance": np.array(1.0),
        f"{DETECTOR}/distance@units": "m",
        f"{DETECTOR}/x_pixel_size": np.array(1e-4),
        f"{DETECTOR}/y_pixel_size": np.array(1e-4),
        f"{DETECTOR}/basis_vectors": np.array([[0, -1e-4, 0], [-1e-4, 0, 0]], np.float32),
        "entry_1/data_1/process_1/program": np.array("PyNX"),
        **changes,
    }
    links = {
        "entry_1/data_1/translation": SAMPLE,
        "entry_1/data_1/data": f"{DETECTOR}/data",
        f"{DETECTOR}/translation": SAMPLE,
    }
    return with_links(path, arrays, links)


def test_pynx(tmp_path, probe_file):
    mask = np.zeros((SIDE, SIDE), np.int8)
    mask[1, 2] = 1
    found = load(pynx(tmp_path / "data.cxi", **{f"{DETECTOR}/mask": mask}), probe=probe_file)
    np.testing.assert_allclose(np.diff(found.xcoords), np.diff(X_PX), atol=1e-4)
    np.testing.assert_allclose(np.diff(found.ycoords), np.diff(Y_PX), atol=1e-4)
    assert np.argwhere(found.bad_pixels).tolist() == [[1, 2]]


def test_translations_of_another_number_are_refused(tmp_path, probe_file):
    for shape in ((3, 4), (3, 6), (6, 3), (4, 5)):
        assert "expected (5, 3)" in refusal(
            load, pynx(tmp_path / "a.cxi", **{SAMPLE: np.ones(shape)}), probe=probe_file
        )


def test_two_positions_of_a_scan_that_differ_are_told(tmp_path, caplog):
    load(write(tmp_path / "scan.cxi", {**cxi(), SAMPLE: np.zeros((COUNT, 3))}))
    assert f"entry_1/data_1/translation is used; ignored, with other values: {SAMPLE}" in caplog.text


# ptychodus 1.7 -------------------------------------------------------------------------------------------------------


def product_1_7():
    """A product as version 1.7 names it: photon_energy_eV, far_field."""
    arrays = {key: value for key, value in product().items() if key != "probe_energy_eV"}
    return {**arrays, "photon_energy_eV": np.array(10e3), "far_field": np.array(True)}


@pytest.mark.parametrize("name", ["p.npz", "p.h5"])
def test_the_energy_under_its_newer_name(tmp_path, name):
    arrays = product_1_7()
    if name == "p.h5":
        arrays = {key if value.ndim else f"@{key}": value for key, value in arrays.items()}
    assert load(write(tmp_path / name, arrays)).metadata.energy_eV == 10e3
    both = {**product_1_7(), "probe_energy_eV": np.array(9e3)}
    assert "photon_energy_eV 10000 and probe_energy_eV 9000" in refusal(load, write(tmp_path / "both.npz", both))
    unknown = {**both, "photon_energy_eV": np.array(0.0)}
    assert load(write(tmp_path / "unknown.npz", unknown)).metadata.energy_eV == 9e3


@pytest.mark.parametrize("name", ["p.npz", "p.h5"])
def test_the_near_field_is_refused(tmp_path, name):
    key = "far_field" if name == "p.npz" else "@far_field"
    arrays = {**product_1_7(), key: np.array(False)}
    arrays.pop("far_field") if key != "far_field" else None
    assert "far_field is False" in refusal(load, write(tmp_path / name, arrays))


def test_weights_of_coherent_modes_are_named_where_they_are_ignored(tmp_path, caplog):
    probe = np.stack([beam()[None], 0.1 * beam()[None]])
    load(write(tmp_path / "p.npz", {**product_1_7(), "probe": probe, "opr_weights": np.ones((COUNT, 2))}))
    assert "ignored: " in caplog.text
    assert "opr_weights" in caplog.text
    assert "the first of its variations is used" in caplog.text


def test_training_data(tmp_path):
    found = load(write(tmp_path / "training.h5", training()))
    np.testing.assert_allclose(found.xcoords, X_PX)
    np.testing.assert_allclose(found.ycoords, Y_PX)
    assert_explained(found)
    assert (found.metadata.pixel_size_m, found.metadata.energy_eV) == (PIXEL_M, 10e3)
    short = {**training(), "probe_position_x_px": X_PX[:3]}
    assert "expected (5) real" in refusal(load, write(tmp_path / "short.h5", short))


@pytest.mark.parametrize("reader", [load, load_scan])
def test_what_ptychodus_writes_for_ptychopinn(tmp_path, caplog, reader):
    found = reader(write(tmp_path / "pinn.npz", for_ptychopinn()))
    np.testing.assert_allclose(found.xcoords, X_PX)
    assert found.scan_index.tolist() == [0, 1, 2, 3, 4]
    assert_explained(found)
    assert "0.5 px are added" in caplog.text
    assert "numbers scans" in caplog.text
    assert "of 2 incoherent modes of probeGuess, number 2 is used" in caplog.text


def test_its_object_is_simulated_at_the_same_positions(tmp_path):
    found = read_reconstruction(write(tmp_path / "pinn.npz", for_ptychopinn()))
    np.testing.assert_allclose(found.xcoords, X_PX)
    ratio = found.probe / beam()  # whose level is arbitrary
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)


def test_positions_of_other_npz_files_stay(tmp_path):
    arrays = {key: value for key, value in for_ptychopinn().items() if key != "bad_pixels"}
    found = load(write(tmp_path / "other.npz", {**arrays, "xcoords": X_PX, "ycoords": Y_PX}))
    np.testing.assert_allclose(found.xcoords, X_PX)


def test_numbers_of_several_scans(tmp_path, caplog):
    found = load(write(tmp_path / "s.npz", {**study(), "scan_index": np.array([7, 7, 7, 8, 8])}))
    assert found.scan_index.tolist() == [0, 1, 2, 3, 4]
    assert "scan_index has 2 values for 5 patterns" in caplog.text
    kept = load(write(tmp_path / "t.npz", {**study(), "scan_index": np.array([9, 7, 5, 3, 1])}))
    assert kept.scan_index.tolist() == [9, 7, 5, 3, 1]


def product_cxi(path, **changes):
    """product.cxi: no patterns, no detector pixel; the positions of ptychodus under the name of the translation."""
    extra = "entry_1/ptychodus"
    x_m, y_m = (X_PX - 10) * CXI_PIXEL_M + 2e-7, (Y_PX - 12) * CXI_PIXEL_M - 1e-7
    arrays = {
        "cxi_version": np.array(160),
        SAMPLE: np.stack([x_m, y_m, np.zeros(COUNT)], axis=1),
        f"{SOURCE}/energy": np.array(ENERGY_J),
        f"{DETECTOR}/distance": np.array(1.0),
        "entry_1/image_1/data": beam()[None, None],
        "entry_1/image_2/data": specimen()[None],
        f"{extra}/probe_position_indexes": np.arange(COUNT),
        f"{extra}/object_center_x_m": np.array(2e-7),
        f"{extra}/object_center_y_m": np.array(-1e-7),
        f"{extra}/object_pixel_width_m": np.array(CXI_PIXEL_M),
        f"{extra}/object_pixel_height_m": np.array(CXI_PIXEL_M),
        **changes,
    }
    links = {
        "entry_1/data_1/translation": SAMPLE,
        f"{SOURCE}/illumination": "entry_1/image_1/data",
        "entry_1/image_1/source_1": SOURCE,
        "entry_1/image_1/detector_1": DETECTOR,
    }
    return with_links(path, arrays, links)


def diffraction_cxi(path):
    """diffraction.cxi: patterns numbered from 0, the detector, no positions."""
    mask = np.zeros((SIDE, SIDE), np.uint32)
    arrays = {
        "cxi_version": np.array(160),
        f"{SOURCE}/energy": np.array(ENERGY_J),
        f"{DETECTOR}/distance": np.array(1.0),
        f"{DETECTOR}/x_pixel_size": np.array(1e-4),
        f"{DETECTOR}/y_pixel_size": np.array(1e-4),
        f"{DETECTOR}/data": far_field_counts(),
        f"{DETECTOR}/mask": mask,
    }
    return with_links(path, arrays, {"entry_1/data_1/data": f"{DETECTOR}/data"})


def test_a_product_and_its_patterns_in_cxi(tmp_path):
    given, where = product_cxi(tmp_path / "product.cxi"), diffraction_cxi(tmp_path / "diffraction.cxi")
    assert isinstance(load(given), Reconstruction)
    found = load(given, patterns=where)
    np.testing.assert_allclose(found.xcoords, X_PX, atol=1e-6)
    assert_explained(found)
    assert found.metadata.detector_pixel_m == 1e-4
    message = refusal(load, where)
    assert "translation missing" in message
    assert "--patterns" in message


def test_formats_of_product_and_patterns_mix(tmp_path):
    numbered = {**patterns(), "indexes": np.arange(COUNT)}
    where = write(tmp_path / "d.h5", {**numbered, "patterns@detector_pixel_width_m": 1e-4})
    found = load(product_cxi(tmp_path / "product.cxi"), patterns=where)
    assert_explained(found)
    assert found.metadata.detector_pixel_m == 1e-4
    arrays = {**product(), "probe_position_indexes": np.arange(COUNT)}
    assert_explained(load(write(tmp_path / "p.h5", arrays), patterns=diffraction_cxi(tmp_path / "diffraction.cxi")))


def test_patterns_beside_patterns_are_refused(tmp_path):
    where = diffraction_cxi(tmp_path / "diffraction.cxi")
    assert "holds patterns itself" in refusal(load, write(tmp_path / "scan.cxi", cxi()), patterns=where)
    assert "no patterns" in refusal(load, product_cxi(tmp_path / "p.cxi"), patterns=product_cxi(tmp_path / "q.cxi"))


def test_unknown_quantities_of_a_product_are_zero(tmp_path):
    unknown = {f"{SOURCE}/energy": np.array(0.0), f"{DETECTOR}/distance": np.array(0.0)}
    found = load(product_cxi(tmp_path / "product.cxi", **unknown))
    assert (found.metadata.energy_eV, found.metadata.distance_m) == (None, None)


@pytest.mark.parametrize("name", ["a.h5", "a.npz", "a.cxi"])
def test_ptychodus_opens_what_is_written(tmp_path, name):
    """With ptychodus 1.7 or later installed: its positions, energy, probe and patterns are those of the dataset."""
    api = pytest.importorskip("ptychodus.api.io")
    from ptychodus.plugins import cxi_file, npz_diffraction_file, npz_product_file

    content = dataset(metadata=Metadata(counts_scale=40.0, pixel_size_m=PIXEL_M, energy_eV=10e3, distance_m=1.0))
    written = formats.save(tmp_path / name, content, "cxi" if name == "a.cxi" else "ptychodus")
    if name == "a.h5":
        read = api.load_product(written[0])
    else:
        reader = cxi_file.CXIProductFileIO() if name == "a.cxi" else npz_product_file.NPZProductFileIO()
        read = reader.read(written[0])
    geometry = read.object_.get_geometry()
    # it counts to the middle of the window, (N - 1)/2
    np.testing.assert_allclose(geometry.map_probe_positions_to_object_x_px(read.probe_positions), X_PX - 0.5)
    np.testing.assert_allclose(geometry.map_probe_positions_to_object_y_px(read.probe_positions), Y_PX - 0.5)
    assert read.metadata.photon_energy_eV == pytest.approx(10e3)
    assert read.metadata.far_field
    np.testing.assert_allclose(read.probes.get_array()[0, 0], beam(), rtol=1e-5)
    np.testing.assert_array_equal(read.object_.get_array()[0], specimen())
    if name == "a.cxi":
        held = cxi_file.CXIDiffractionFileReader().read(written[0])
    else:
        held = npz_diffraction_file.NPZDiffractionFileIO().read(written[1])
    np.testing.assert_allclose(held[0].get_patterns(), far_field_counts(), rtol=1e-4)


def test_both_names_of_the_energy_are_written(tmp_path):
    formats.save(
        tmp_path / "a.npz", reconstruction(metadata=Metadata(pixel_size_m=PIXEL_M, energy_eV=8e3)), "ptychodus"
    )
    with np.load(tmp_path / "a.npz") as archive:
        assert archive["photon_energy_eV"] == archive["probe_energy_eV"] == 8e3
        assert archive["far_field"]
        assert "mass_attenuation_m2_per_kg" in archive.files


# PtychoNN ----------------------------------------------------------------------------------------------------------


def test_positions_of_ptychonn_in_metres(tmp_path, probe_file):
    found = load(write(tmp_path / "nn.npz", continual()), probe=probe_file)
    np.testing.assert_allclose(np.diff(found.xcoords), np.diff(X_PX), atol=1e-6)
    np.testing.assert_allclose(np.diff(found.ycoords), np.diff(Y_PX), atol=1e-6)
    assert found.metadata.pixel_size_m == PIXEL_M
    assert found.metadata.model_mismatch < 0.01
    without = {key: value for key, value in continual().items() if key != "pixelsize"}
    assert "give pixel_size_m" in refusal(load, write(tmp_path / "no.npz", without), probe=probe_file)
    stated = load(write(tmp_path / "no.npz", without), probe=probe_file, config=MeasuredConfig(pixel_size_m=PIXEL_M))
    np.testing.assert_allclose(stated.xcoords, found.xcoords)


@pytest.mark.parametrize("added", [{"probeGuess": beam()}, {"probeGuess": beam(), "objectGuess": specimen()}])
def test_a_probe_or_an_object_added_to_ptychonn(tmp_path, added):
    path = write(tmp_path / "nn.npz", {**ptychonn(), **added})
    assert formats.detect(path) == "ptychonn"
    found = load(path)
    assert found.metadata.model_mismatch < 0.01
    assert len(found) == COUNT


@pytest.mark.parametrize(
    ("real", "reason"),
    [
        (np.zeros((COUNT, 1, SIDE, SIDE)), "phases without amplitudes"),
        (np.ones((COUNT, 4, 4), complex), "not 8 x 8 pixels as the patterns"),
    ],
)
def test_patches_that_cannot_be_used_are_told(tmp_path, probe_file, caplog, real, reason):
    found = load(write(tmp_path / "nn.npz", {**ptychonn(), "real": real}), probe=probe_file)
    assert found.patches is None
    assert reason in caplog.text


def test_energies_that_differ_are_told(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    beam_energy = "entry_1/instrument_1/beam_1/energy"
    load(
        write(tmp_path / "scan.cxi", {**cxi(), f"{SOURCE}/energy": np.array(4.8e-10), beam_energy: np.array(ENERGY_J)})
    )
    assert f"{beam_energy} is used; ignored, with other values: {SOURCE}/energy" in caplog.text
