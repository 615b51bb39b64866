import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest

from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.data.metadata import Metadata, Step
from ptycho.errors import InputError
from ptycho.inspection import report
from ptycho.inspection.report import Inspection, Section
from ptycho.io import npz

SIDE = 16


def dataset(**changes):
    """Nine patterns of 4 counts a pixel on a grid of 4 px, under a uniform probe that explains them."""
    x, y = (values.ravel() for values in np.meshgrid(np.arange(3) * 4.0 + 10, np.arange(3) * 4.0 + 10))
    arguments = {
        "diffraction": np.full((9, SIDE, SIDE), 0.5, np.float32),
        "xcoords": x,
        "ycoords": y,
        "probe": np.full((SIDE, SIDE), 2, np.complex64),
        "object": np.full((28, 30), 0.5j, np.complex64),
        "patches": None,
        "scan_index": np.arange(9),
        "metadata": Metadata(counts_scale=4.0, pixel_size_m=5e-9, energy_eV=8000.0),
    }
    return Dataset(**{**arguments, **changes})


def lines_of(content):
    """Return every line by section and label."""
    sections = report.inspect(content).sections
    return {section.title: dict(section.lines) for section in sections}


# facts ---------------------------------------------------------------------------------------------------


def test_light_positions_object_and_probe_in_numbers():
    lines = lines_of(dataset())
    assert lines["Patterns"]["patterns"] == "9 of 16 x 16 pixels (N = 16)"
    assert lines["Patterns"]["examined"] == "all"
    assert lines["Patterns"]["diffraction"] == "0.5 to 0.5 (amplitude)"
    counts = lines["Patterns"]["counts per pattern"]
    assert counts.startswith("1024 on average, 1024 to 1024 photons")  # 256 x (4 x 0.5)^2
    assert lines["Patterns"]["brightest pixel"] == "4 photons"
    assert lines["Patterns"]["dark pixels"].startswith("0 %")
    assert lines["Patterns"]["bad pixels"] == "none marked"
    assert lines["Scan"]["x"] == "10 to 18 px (0.04 um across)"  # 8 px of 5 nm
    assert lines["Scan"]["spacing"] == "4 px to the nearest neighbour, on average (0.02 um)"
    assert lines["Object"]["shape"] == "28 x 30 px (rows x columns)"
    assert lines["Object"]["amplitude"].startswith("0.5 to 0.5")
    assert lines["Object"]["phase"].startswith("1.571 to 1.571")
    assert lines["Probe"]["central half"].startswith("25 %")
    assert lines["Probe"]["scale"] == "its summed square is 1024: 16384 photons per pattern without an object"
    assert lines["Origin"]["pixel size"] == "5 nm"
    assert lines["Origin"]["photon energy"] == "8000 eV"


def test_the_definitions_stand_beside_the_numbers():
    lines = lines_of(dataset())
    overlap, words = lines["Scan"]["overlap"].split(" = ")
    diameter = float(lines["Probe"]["diameter"].split(" px")[0])
    assert float(overlap) == pytest.approx(1 - 4 / diameter, abs=0.005)
    assert words.startswith("1 - spacing / diameter")
    assert "90 % of its energy" in lines["Probe"]["diameter"]
    assert "||" in lines["Model"]["mismatch"]


def test_the_share_of_the_object_that_is_lit():
    wide = dataset(object=np.ones((300, 300), np.complex64))
    area = float(lines_of(wide)["Scan"]["area covered"].split(" px^2")[0])
    assert f"{100 * area / 300**2:.3g} % of the object" in lines_of(wide)["Scan"]["area covered"]


def test_what_is_unknown_is_said_to_be():
    lines = lines_of(dataset(metadata=Metadata(), diffraction=np.full((9, SIDE, SIDE), 0.7, np.float32)))
    assert "counts of an unknown unit" in lines["Patterns"]["counts per pattern"]
    assert lines["Origin"]["pixel size"].startswith("not stated")
    assert "um" not in lines["Scan"]["x"]
    assert "photon noise" not in lines["Model"]


def test_large_files_are_said_to_be_looked_at_in_part():
    many = dataset().select(np.zeros(3000, int))
    many = replace(many, xcoords=np.linspace(9, 20, 3000))
    assert lines_of(many)["Patterns"]["examined"] == "1000 of 3000, evenly spread; values are of these"
    assert lines_of(many)["Model"]["compared"] == "256 patterns"


def test_bad_pixels_are_counted():
    bad = np.zeros((SIDE, SIDE), bool)
    bad[:2] = True
    assert lines_of(dataset(bad_pixels=bad))["Patterns"]["bad pixels"] == "32 (12 %)"


def test_a_reconstruction_has_what_applies():
    content = Reconstruction(dataset().object, dataset().probe, np.array([12.0]), np.array([13.0]))
    lines = lines_of(content)
    assert set(lines) == {"Scan", "Object", "Probe", "Origin"}
    assert "spacing" not in lines["Scan"]
    assert lines["Probe"]["scale"] == "its summed square is 1024"


def test_a_dataset_without_an_object_has_what_applies():
    lines = lines_of(dataset(object=None))
    assert set(lines) == {"Patterns", "Scan", "Probe", "Origin"}


def test_history_lists_each_step_with_its_version():
    steps = (Step("simulate", {"seed": 3, "limit": None}, "0.1.0"), Step("split"))
    assert lines_of(dataset(metadata=Metadata(steps=steps)))["History"] == {
        "1. simulate": "(version 0.1.0) seed 3",
        "2. split": "",
    }


def test_text_of_a_file_cannot_steer_the_terminal():
    evil = "\x1b[2J\x07\nProblems (0)\u202e"
    metadata = Metadata(steps=(Step(evil, {evil: evil}, evil),), source=evil, other={evil: evil, "long": "x" * 5000})
    text = report.inspect(dataset(metadata=metadata)).text()
    assert not set("\x1b\x07\u202e") & set(text)
    assert "\nProblems (0)" not in text
    assert max(map(len, text.splitlines())) < 300


# layout --------------------------------------------------------------------------------------------------


def test_text_aligns_labels_and_numbers_problems():
    found = Inspection((Section("Scan", (("x", "1"), ("longer", "2"))),), ("one; do this", "two; do that"))
    assert found.text() == (
        "Scan\n  x       1\n  longer  2\n\nProblems (2)\n  1. one; do this\n  2. two; do that"
    )  # fmt: skip
    assert Inspection((), ()).text() == "No problems found"


# headers -------------------------------------------------------------------------------------------------


def test_contents_list_every_array_with_its_unit(tmp_path):
    path = tmp_path / "scan.npz"
    npz.write_dataset(path, dataset())
    section = report.contents(path, "study npz")
    assert section.title.startswith("scan.npz: study npz, in the study's conventions, ")
    lines = {key: value.split() for key, value in section.lines}
    assert lines["diffraction"][:5] == ["(9,", "16,", "16)", "float32", "amplitude:"]
    assert lines["xcoords"][2:4] == ["px", "of"]
    assert lines["objectGuess"][:3] == ["(28,", "30)", "complex64"]
    assert "metadata" in lines


def test_a_header_that_states_more_than_the_file_can_hold_is_refused(tmp_path):
    path = tmp_path / "huge.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("diffraction.npy", "w") as stream:
        header = {
            "descr": "<f4",
            "fortran_order": False,
            "shape": (10**7, 512, 512),
        }  # 10 TB, of which nothing is there
        np.lib.format.write_array_header_1_0(stream, header)
    with pytest.raises(InputError, match=r"huge.npz: diffraction.npy is float32 \(10000000, 512, 512\)"):
        report.contents(path, "study npz")


def test_contents_of_hdf5_take_the_units_that_the_file_states(tmp_path):
    path = tmp_path / "product.h5"
    with h5py.File(path, "w") as file:
        file["entry/translation"] = np.zeros((4, 3))
        file["entry/translation"].attrs["units"] = "mm"
        file["probe_position_x_m"] = np.zeros(4)
        file["text"] = "words"
        odd = h5py.h5t.STD_B8LE.copy()  # bits, for which numpy has no type
        h5py.h5d.create(file.id, b"bits", odd, h5py.h5s.create(h5py.h5s.SCALAR))
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")
    lines = dict(report.contents(path, "CXI").lines)
    assert lines["entry/translation"].split() == ["(4,", "3)", "float64", "mm"]
    assert lines["probe_position_x_m"].split() == ["(4,)", "float64", "m"]
    assert any(key.startswith("elsewhere (a link") for key in lines)
    assert lines["text"].startswith("()")
    assert "bits" in lines


def test_pickled_arrays_are_named_as_such(tmp_path):
    np.savez(tmp_path / "evil.npz", diffraction=np.array([{}], object))
    assert "pickled: never read" in report.contents(tmp_path / "evil.npz", "study npz").lines[0][1]


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04"])
def test_a_damaged_file_is_one_line(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.npz: ") as error:
        report.contents(tmp_path / "x.npz", "study npz")
    assert "\n" not in str(error.value)


def test_sizes_are_in_round_units(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.zeros(2500))
    assert report.contents(path, "study npz").title == "a.npz: study npz, 20.3 kB"


def test_the_displayed_name_of_a_link_is_never_looked_up(tmp_path):
    """A link of the name that another one is displayed by, which leads into another file."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_dataset("d", (7, 13), np.int16).attrs["units"] = "SECRET"
    with h5py.File(tmp_path / "made.h5", "w") as file:
        file["x"] = h5py.ExternalLink("other.h5", "d")
        file["x (a link to d in another file, other.h5; not read)"] = h5py.ExternalLink("other.h5", "d")
    lines = dict(report.contents(tmp_path / "made.h5", "CXI").lines)
    assert len(lines) == 2
    assert set(lines.values()) == {""}
