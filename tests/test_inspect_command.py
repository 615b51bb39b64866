"""The command, with the flags that a user gives it."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptycho.data.dataset import Reconstruction
from ptycho.data.metadata import Metadata
from ptycho.io import formats, npz
from ptycho.physics.probes import gaussian_probe
from ptycho.preparation.scan import simulate

SCRIPT = Path(__file__).parents[1] / "workflow" / "scripts" / "inspect_dataset.py"
SIDE = 32


class Touch:
    """Unpickled, it leaves a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def reconstruction():
    rng = np.random.default_rng(3)
    phase = np.cumsum(rng.normal(size=(80, 96)), axis=1) / 10
    return Reconstruction(
        np.exp(1j * phase), gaussian_probe(SIDE, rng), rng.uniform(20, 70, 40), rng.uniform(20, 60, 40),
        Metadata(pixel_size_m=1e-8),
    )  # fmt: skip


def scan():
    return replace(simulate(reconstruction(), 40, 1e6, seed=1), patches=None)


@pytest.fixture
def run(command, monkeypatch, tmp_path):
    """Run the command in this process and an empty directory; return None, or what it says as it fails."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return command("inspect_dataset")


@pytest.fixture
def dataset(tmp_path):
    npz.write_dataset(tmp_path / "scan.npz", scan())
    return tmp_path / "scan.npz"


def pictures():
    return sorted(path.name for path in Path().iterdir())


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG")


def test_facts_go_to_standard_output_and_the_picture_to_this_directory(run, dataset, capsys):
    assert run(dataset) is None
    text = capsys.readouterr().out
    for words in (
        "scan.npz: study npz, in the study's conventions",
        "diffraction", "(40, 32, 32)", "40 of 32 x 32 pixels", "photons", "overlap", "mismatch", "10 nm", "1. simulate",
        "Picture: scan_inspection.png",
    ):  # fmt: skip
        assert words in text, words
    assert pictures() == ["scan_inspection.png"]
    assert is_png(Path("scan_inspection.png"))


def test_text_alone(run, dataset, capsys):
    assert run(dataset, "--no-picture") is None
    assert "Picture" not in capsys.readouterr().out
    assert pictures() == []


def test_the_picture_goes_where_it_is_wanted(run, dataset, tmp_path):
    assert run(dataset, "--output", tmp_path / "new" / "mine.png") is None
    assert is_png(tmp_path / "new" / "mine.png")
    assert pictures() == []


def test_a_reconstruction_is_inspected_as_well(run, tmp_path, capsys):
    npz.write_reconstruction(tmp_path / "r.npz", reconstruction())
    assert run(tmp_path / "r.npz") is None
    text = capsys.readouterr().out
    assert "Object" in text
    assert "Patterns" not in text
    assert pictures() == ["r_inspection.png"]


@pytest.mark.parametrize(("name", "title"), [("scan.cxi", "CXI"), ("scan.h5", "ptychodus product")])
def test_other_formats_are_read(run, tmp_path, capsys, name, title):
    files = formats.save(tmp_path / name, scan())
    assert run(files[0], "--no-picture", *(("--patterns", files[1]) if len(files) > 1 else ())) is None
    text = capsys.readouterr().out
    assert f"{name}: {title}" in text
    assert "40 of 32 x 32 pixels" in text
    assert "quantity counts" in text
    assert text.endswith("No problems found\n")


def test_what_the_user_states_is_used(run, tmp_path, capsys):
    data = scan().loaded()
    arrays = {"diffraction": np.fft.ifftshift(data.diffraction, (1, 2)) ** 2 * 1.7, "probeGuess": data.probe}
    np.savez(tmp_path / "raw.npz", xcoords=data.xcoords, ycoords=data.ycoords, objectGuess=data.object, **arrays)
    assert run(tmp_path / "raw.npz", "--no-picture", "--quantity", "intensity", "--dc", "corner") is None
    text = capsys.readouterr().out
    assert "dc corner, quantity intensity" in text
    assert "unexplained" not in text
    assert run(tmp_path / "raw.npz", "--no-picture", "--quantity", "amplitude", "--dc", "corner") is None
    assert "unexplained, but" in capsys.readouterr().out


def test_problems_are_reported_with_their_remedy_and_are_no_failure(run, tmp_path, capsys):
    npz.write_dataset(tmp_path / "blind.npz", replace(scan(), object=None))
    assert run(tmp_path / "blind.npz", "--no-picture") is None
    assert "Problems (1)\n  1. no objectGuess: the baseline cannot train" in capsys.readouterr().out


def test_hot_pixels_are_written_as_a_mask_that_is_oriented_as_the_patterns_of_the_file(run, tmp_path, capsys):
    data = scan().loaded()
    counts = np.rint((data.counts_scale * data.diffraction.astype(float)) ** 2).astype(np.uint32)
    counts[3, 2, 28] = 4_000_000_000
    corner = np.fft.ifftshift(counts, (1, 2))
    np.savez(
        tmp_path / "raw.npz", diffraction=corner, probeGuess=data.probe, objectGuess=data.object,
        xcoords=data.xcoords, ycoords=data.ycoords,
    )  # fmt: skip
    asked = (tmp_path / "raw.npz", "--no-picture", "--write_mask", tmp_path / "mask.npz")
    assert "the file does not state where DC is" in run(*asked)
    assert run(*asked, "--dc", "corner") is None
    assert "1 isolated hot pixels" in capsys.readouterr().out
    with np.load(tmp_path / "mask.npz") as mask:
        assert np.argwhere(mask["bad_pixels"]).tolist() == np.argwhere(corner.max(axis=0) == 4_000_000_000).tolist()
    capsys.readouterr()
    masked = ("--dc", "corner", "--quantity", "counts", "--bad_pixels", tmp_path / "mask.npz")
    assert run(tmp_path / "raw.npz", "--no-picture", *masked) is None
    assert capsys.readouterr().out.endswith("No problems found\n")


# what cannot be used -------------------------------------------------------------------------------------


def test_a_file_that_is_refused_is_listed_with_all_that_is_wrong(run, tmp_path, capsys):
    data = scan().loaded()
    patterns = data.diffraction.copy()
    patterns[0, 0, 0] = np.nan
    np.savez(
        tmp_path / "wrong.npz", diffraction=patterns, xcoords=data.xcoords + 40, ycoords=data.ycoords,
        probeGuess=data.probe, objectGuess=data.object,
    )  # fmt: skip
    message = run(tmp_path / "wrong.npz")
    assert message.startswith("inspect_dataset.py: error: ")
    assert "\n" not in message
    text = capsys.readouterr().out
    assert "(40, 32, 32)" in text
    assert "1. cannot be used" in text
    assert "diffraction holds 1 NaN" in text
    assert "xcoords put windows outside" in text
    assert pictures() == []


def test_a_refused_dataset_of_our_own_is_listed_without_its_patterns(run, tmp_path, capsys, monkeypatch):
    npz.write_dataset(tmp_path / "own.npz", scan())
    arrays = npz.read_npz(tmp_path / "own.npz")
    npz.write_npz(tmp_path / "own.npz", {**arrays, "xcoords": arrays["xcoords"] + 500})
    read = npz.read_npz
    asked = []
    monkeypatch.setattr(npz, "read_npz", lambda path, required=(), optional=None: (
        asked.extend([*required, *(optional if optional is not None else ["all"])]) or read(path, required, optional)
    ))  # fmt: skip
    assert "xcoords run from" in run(tmp_path / "own.npz")
    assert "40 xcoords put windows outside" in capsys.readouterr().out
    assert not {"diffraction", "Y", "all"} & set(asked)


def test_nothing_read_runs_code(run, tmp_path, capsys):
    mark = tmp_path / "ran"
    evil = np.array([Touch(mark)], object)
    np.savez(
        tmp_path / "evil.npz", diffraction=evil, xcoords=np.ones(1), ycoords=np.ones(1), probeGuess=np.ones((8, 8))
    )
    assert "pickle" in run(tmp_path / "evil.npz")
    assert "pickled: never read" in capsys.readouterr().out
    assert not mark.exists()


@pytest.mark.parametrize("content", [None, b"", b"text", b"PK\x03\x04"])
def test_missing_and_damaged_files_are_one_line(run, tmp_path, capsys, content):
    path = tmp_path / "x.npz"
    if content is not None:
        path.write_bytes(content)
    message = run(path)
    assert message.startswith(f"inspect_dataset.py: error: {path}: ")
    assert "\n" not in message
    assert capsys.readouterr().out == ""


def test_the_input_is_never_overwritten(run, dataset):
    before = dataset.read_bytes()
    assert "would be overwritten" in run(dataset, "--output", dataset)
    assert dataset.read_bytes() == before


def test_a_picture_of_no_known_format_is_refused(run, dataset):
    assert "no figure format" in run(dataset, "--output", "picture.xyz")
    assert pictures() == []


def test_help_loads_nothing_heavy():
    code = (
        f"import sys, runpy; sys.argv = ['x', '--help']; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        "try: runpy.run_path(" + repr(str(SCRIPT)) + ", run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(*sorted({'scipy', 'matplotlib', 'pandas', 'h5py', 'tensorflow'} & sys.modules.keys()), 'END')"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1].strip() == "END"
    assert "--no-picture" in done.stdout
