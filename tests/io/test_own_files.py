"""Files as users have them: read as what they hold, or refused in one line."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from ptycho.config.schema import MeasuredConfig
from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.preparation.load import load_content, load_scan
from ptycho.preparation.scan import simulate
from ptycho.preparation.specimen import specimen

SIDE, COUNT = 16, 30


@pytest.fixture(scope="module")
def scan():
    return simulate(specimen(64, SIDE, 1.5, 0.3, seed=3), COUNT, 1e6, seed=1).loaded()


@pytest.fixture(scope="module")
def arrays(scan):
    counts = np.rint(np.square(scan.counts_scale * scan.diffraction.astype(float)))
    return {
        "diffraction": counts.astype(np.uint32),
        "xcoords": scan.xcoords,
        "ycoords": scan.ycoords,
        "probeGuess": 7 * scan.probe,
        "objectGuess": scan.object,
    }


@pytest.fixture
def read(tmp_path, arrays):
    def content(**changes):
        np.savez(tmp_path / "own.npz", **{**arrays, **changes})
        return load_content(tmp_path / "own.npz", MeasuredConfig())

    return content


REFUSED = {
    "a mask of another shape": (lambda a: {"bad_pixels": np.zeros((15, 15), bool)}, r"bad_pixels has shape \(15, 15\)"),
    "positions in micrometres": (
        lambda a: {"xcoords": 0.01 * a["xcoords"], "ycoords": 0.01 * a["ycoords"]},
        r"xcoords run from 0\.09\d+ to 0\.55",
    ),
    "an odd side": (
        lambda a: {"diffraction": a["diffraction"][:, 1:, 1:], "probeGuess": a["probeGuess"][1:, 1:]},
        "patterns of 15 x 15 pixels: an even side is expected",
    ),
    "an object array": (
        lambda a: {"diffraction": np.array([*a["diffraction"], None], object)},
        "diffraction is a pickled object array",
    ),
    "modes on the last axis": (
        lambda a: {"probeGuess": np.stack([a["probeGuess"]] * 2, -1)},
        r"probeGuess has shape \(16, 16, 2\), expected \(..., N, N\)",
    ),
    "a raster in four dimensions": (
        lambda a: {"diffraction": a["diffraction"].reshape(5, 6, SIDE, SIDE)},
        r"diffraction has shape \(5, 6, 16, 16\)",
    ),
    "a raster of 1 x 1": (
        lambda a: {"diffraction": a["diffraction"][:1][None], "xcoords": [[30.0]], "ycoords": [[30.0]]},
        r"diffraction has shape \(1, 1, 16, 16\)",
    ),
    "one pattern without its axis": (
        lambda a: {"diffraction": a["diffraction"][0], "xcoords": 30.0, "ycoords": 30.0},
        r"diffraction has shape \(16, 16\)",
    ),
    "patterns as vectors": (
        lambda a: {"diffraction": a["diffraction"].reshape(COUNT, -1)},
        r"diffraction has shape \(30, 256\)",
    ),
    "a padded probe": (lambda a: {"probeGuess": np.pad(a["probeGuess"], 4)}, "N = 24 as probeGuess"),
    "the probe's amplitude": (lambda a: {"probeGuess": np.abs(a["probeGuess"])}, "probeGuess is float32"),
    "positions as text": (lambda a: {"xcoords": a["xcoords"].astype(str)}, "expected real numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(arrays, read, name):
    change, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as error:
        read(**change(arrays))
    assert "\n" not in str(error.value)


READ = {
    "Fortran order": lambda a: {key: np.asfortranarray(array) for key, array in a.items()},
    "big-endian": lambda a: {key: array.astype(array.dtype.newbyteorder(">")) for key, array in a.items()},
    "a weaker mode first": lambda a: {"probeGuess": np.stack([0.2 * a["probeGuess"], a["probeGuess"]])},
    "counts as float64": lambda a: {"diffraction": a["diffraction"].astype(float)},
    "patterns last": lambda a: {"diffraction": a["diffraction"].transpose(1, 2, 0)},
}


@pytest.mark.parametrize("name", READ)
def test_read_as_what_it_holds(arrays, read, name):
    expected, found = read(), read(**READ[name](arrays))
    for key in ("diffraction", "xcoords", "ycoords", "probe", "object"):
        np.testing.assert_array_equal(getattr(found, key), getattr(expected, key))


def test_a_single_pattern_and_repeated_positions_are_read(arrays, read):
    single = read(**{key: arrays[key][:1] for key in ("diffraction", "xcoords", "ycoords")})
    assert len(single) == 1
    assert single.metadata.model_mismatch < 0.03
    twice = {key: np.concatenate([arrays[key][:15]] * 2) for key in ("diffraction", "xcoords", "ycoords")}
    np.testing.assert_array_equal(read(**twice).xcoords[:15], arrays["xcoords"][:15])


@pytest.mark.parametrize("reader", [load_scan, lambda path: load_content(path, MeasuredConfig())])
def test_an_odd_side_in_the_studys_own_format_is_refused(scan, tmp_path, reader):
    odd = replace(scan, diffraction=scan.diffraction[:, 1:, 1:], probe=scan.probe[1:, 1:], patches=None)
    npz.write_dataset(tmp_path / "odd.npz", odd)
    with pytest.raises(InputError, match=r"odd.npz: patterns of 15 x 15 pixels: .* crop the patterns, and the probe,"):
        reader(tmp_path / "odd.npz")


@pytest.mark.parametrize("stated", [True, False], ids=["energy stated", "energy missing"])
def test_a_cxi_file_whose_patterns_are_a_soft_link(scan, arrays, tmp_path, stated):
    path, detector, pixel_m = tmp_path / "raw.cxi", "entry_1/instrument_1/detector_1", 1e-8
    wavelength_m = 1.2398420e-10  # of 10 keV
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        file[f"{detector}/raw"] = arrays["diffraction"]
        file[f"{detector}/data"] = h5py.SoftLink(f"/{detector}/raw")
        file[f"{detector}/distance"] = 1.0
        for axis in "xy":
            file[f"{detector}/{axis}_pixel_size"] = wavelength_m / (SIDE * pixel_m)
        if stated:
            file["entry_1/instrument_1/beam_1/incident_energy"] = 1.602176634e-15
        metres = np.stack([scan.xcoords * pixel_m, scan.ycoords * pixel_m, 0 * scan.xcoords], 1)
        file["entry_1/sample_1/geometry_1/translation"] = metres
        file["entry_1/instrument_1/source_1/illumination"] = arrays["probeGuess"]
    if not stated:
        with pytest.raises(InputError, match="positions are in metres, but the pixel size"):
            load_content(path, MeasuredConfig())
        return
    found = load_content(path, MeasuredConfig())
    assert len(found) == COUNT
    np.testing.assert_allclose(np.diff(found.xcoords), np.diff(scan.xcoords), atol=1e-4)


def spoilt(arrays, what):
    counts = arrays["diffraction"].copy()
    if what == "hot":
        counts[7, 3, 4] = 4_000_000_000
    elif what == "overexposed":
        counts[[3, 9, 11]] *= 12
    else:
        counts[5] = 0
    return counts


@pytest.mark.parametrize("what", ["hot", "overexposed", "dark"])
def test_a_few_bad_patterns_are_told_and_not_taken_for_a_wrong_model(arrays, read, caplog, what):
    found = read(diffraction=spoilt(arrays, what))
    assert found.metadata.model_mismatch < 0.03
    assert "far brighter or darker than the others" in caplog.text
    assert "wrong quantity" not in caplog.text


def test_a_wrong_model_is_told_whatever_its_mismatch(arrays, read, caplog):
    found = read(objectGuess=arrays["objectGuess"].conj())
    assert "photon noise alone" in caplog.text
    assert "hardly less than in another order" in caplog.text
    caplog.clear()
    assert read().metadata.model_mismatch < found.metadata.model_mismatch
    assert "hardly less" not in caplog.text
