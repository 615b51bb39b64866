"""The command convert_dataset.py, with the flags that a user gives it."""

import logging
from pathlib import Path

import h5py
import numpy as np
import pytest

from ptycho.config.schema import MeasuredConfig
from ptycho.data.dataset import Dataset
from ptycho.data.metadata import Metadata
from ptycho.io import formats, npz
from ptycho.preparation.load import load_content, load_scan

SCRIPT = Path(__file__).parents[1] / "workflow" / "scripts" / "convert_dataset.py"
SIDE, COUNT = 8, 6


@pytest.fixture
def run(command, caplog):
    """Run the command in this process; return None, or what it says as it fails."""
    caplog.set_level(logging.INFO)
    return command("convert_dataset")


@pytest.fixture
def study(tmp_path):
    """A dataset npz in the study's conventions, without a pixel size."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    content = Dataset(
        diffraction=np.exp(-(x**2 + y**2) / 4).astype(np.float32) * rng.uniform(1, 2, (COUNT, 1, 1)).astype(np.float32),
        xcoords=rng.uniform(5, 15, COUNT),
        ycoords=rng.uniform(5, 11, COUNT),
        probe=np.exp(-(x**2 + y**2) / 4 + 0.1j * x).astype(np.complex64),
        object=np.exp(1j * rng.uniform(-1, 1, (16, 20))).astype(np.complex64),
        patches=None,
        scan_index=np.arange(COUNT),
        metadata=Metadata(counts_scale=30.0),
    )
    npz.write_dataset(tmp_path / "study.npz", content)
    return tmp_path / "study.npz"


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_to_every_format_and_back(run, study, tmp_path, caplog):
    before = study.read_bytes()
    assert run(study, tmp_path / "a.h5", "--pixel_size_m", "1e-8") is None
    assert run(tmp_path / "a.h5", tmp_path / "b.cxi", "--patterns", tmp_path / "a_patterns.npz") is None
    assert run(tmp_path / "b.cxi", tmp_path / "c.npz", "--dc", "centre") is None
    assert run(tmp_path / "c.npz", tmp_path / "d.npz", "--to", "ptychodus") is None
    assert names(tmp_path) == [
        "a.h5", "a_patterns.npz", "b.cxi", "c.npz", "d.npz", "d_patterns.npz", "study.npz",
    ]  # fmt: skip
    assert study.read_bytes() == before
    first, last = load_scan(study).loaded(), load_scan(tmp_path / "c.npz").loaded()
    np.testing.assert_allclose(last.xcoords, first.xcoords)
    np.testing.assert_allclose(last.diffraction * last.counts_scale, first.diffraction * 30, rtol=1e-5)
    assert last.metadata.pixel_size_m == 1e-8
    for line in ("a.h5: ptychodus product", "b.cxi: written as CXI", "d_patterns.npz: written as ptychodus product"):
        assert line in caplog.text


def test_a_probe_for_cxi(run, study, tmp_path):
    formats.save(tmp_path / "scan.cxi", load_content(study, MeasuredConfig(pixel_size_m=1e-8)))
    with h5py.File(tmp_path / "scan.cxi", "a") as file:
        del file["entry_1/image_1"], file["entry_1/instrument_1/source_1/illumination"]
    assert "--probe" in run(tmp_path / "scan.cxi", tmp_path / "out.npz")
    assert run(tmp_path / "scan.cxi", tmp_path / "out.npz", "--probe", study) is None
    assert len(load_scan(tmp_path / "out.npz")) == COUNT


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("study.npz", "out.txt"), "extension .txt"),
        (("study.npz", "out.npz", "--to", "cxi"), "expected .cxi, .h5, .hdf5"),
        (("study.npz", "out.h5"), "--pixel_size_m"),
        (("study.npz", "study.npz"), "would be overwritten"),
        (("nothing.npz", "out.npz"), "no such file"),
        (("study.npz", "out.npz", "--patterns", "study.npz"), "--patterns"),
        (("study.npz", "out.npz", "--pixel_size_m", "-1"), "pixel_size_m"),
        (("broken.npz", "out.npz"), "broken.npz"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(run, study, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.npz").write_bytes(study.read_bytes()[:700])
    before = names(tmp_path)
    said = run(*words)
    assert said.startswith("convert_dataset.py: error: ")
    assert message in said
    assert "\n" not in said
    assert names(tmp_path) == before


def test_what_a_study_cannot_train_on_is_refused(run, study, tmp_path):
    arrays = dict(np.load(study))
    del arrays["metadata"]
    arrays["diffraction"][[1, 4]] = 0
    np.savez(tmp_path / "dark.npz", **arrays)
    del arrays["diffraction"]
    np.savez(tmp_path / "reconstruction.npz", **arrays)
    dark, empty = (run(tmp_path / f"{name}.npz", tmp_path / "out.npz", "--trainable")
                   for name in ("dark", "reconstruction"))  # fmt: skip
    assert "dark.npz: diffraction is zero everywhere in 2 of 6 patterns (index from 0: 1, 4): " in dark
    assert "reconstruction.npz: a reconstruction without patterns" in empty
    assert not (tmp_path / "out.npz").exists()
    assert run(tmp_path / "dark.npz", tmp_path / "out.npz") is None
    assert run(study, tmp_path / "sound.npz", "--trainable") is None


def test_the_patterns_of_an_input_are_not_overwritten(run, study, tmp_path):
    assert run(study, tmp_path / "a.h5", "--pixel_size_m", "1e-8") is None
    given = tmp_path / "a_patterns.npz"
    said = run(tmp_path / "a.h5", tmp_path / "a.npz", "--to", "ptychodus", "--patterns", given)
    assert "would be overwritten" in said


def test_help_names_the_formats(run, capsys):
    assert run("--help") == 0
    text = capsys.readouterr().out
    for word in ("ptychodus", "CXI", "PtychoNN", "tike", "docs/formats.md", "--pixel_size_m"):
        assert word in text
