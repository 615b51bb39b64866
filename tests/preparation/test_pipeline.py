"""The preparation in one process gives the data of the scripts of the workflow, bit by bit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ptycho.config.schema import PreparationConfig, SimulationConfig, SpecimenConfig
from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.preparation.pipeline import Drawn, drawn_specimen, prepare

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
SPECIMEN = SpecimenConfig(size_px=112, window_px=32)


def script(name, *words):
    done = subprocess.run(
        [sys.executable, SCRIPTS / name, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_it_gives_the_data_of_the_rules_of_the_preparation(tmp_path):
    stages = [tmp_path / f"{number}.npz" for number in range(7)]
    script("make_specimen.py", stages[0], "--seed", 5, "--size_px", 112, "--window_px", 32)
    script("pad_to_even_tool.py", stages[0], stages[1])
    script("transpose_rename_convert_tool.py", stages[1], stages[2])
    script("prepare_data_tool.py", stages[2], stages[3], "--interpolate", "--zoom-factor", 2)
    script("prepare_data_tool.py", stages[3], stages[4], "--smooth", "--target", "object", "--sigma", 0.5)
    script("simulate_and_save.py", "--input-file", stages[4], "--output-file", stages[5], "--n-images", 60,
           "--n-photons", 1e6, "--seed", 5)  # fmt: skip
    script("downsample_data_tool.py", stages[5], stages[6])
    script("split_dataset_tool.py", stages[6], tmp_path, "--name", "halves", "--split-gap", 4)

    words = ("--seed", 5, "--size_px", 112, "--window_px", 32, "--n_images", 60, "--n_photons", 1e6)
    script("prepare_dataset.py", "--output_dir", tmp_path / "at once", *words, "--split_gap_px", 4)
    for half in ("train", "test"):
        expected, found = (
            npz.read_npz(path) for path in (tmp_path / f"halves_{half}.npz", tmp_path / "at once" / f"{half}.npz")
        )
        assert expected.keys() == found.keys()
        for key in expected.keys() - {"metadata"}:
            np.testing.assert_array_equal(found[key], expected[key], err_msg=key)
    assert len(npz.read_dataset(tmp_path / "at once" / "test.npz")) > 10


def test_of_several_probe_modes_the_strongest_is_prepared(tmp_path):
    script("make_specimen.py", tmp_path / "one.npz", "--size_px", 112, "--window_px", 32)
    arrays = npz.read_npz(tmp_path / "one.npz")
    modes = {**arrays, "probeGuess": np.stack([0.1 * arrays["probeGuess"][::-1], arrays["probeGuess"]])}
    npz.write_npz(tmp_path / "two.npz", modes)
    for name in ("one", "two"):
        script("pad_to_even_tool.py", tmp_path / f"{name}.npz", tmp_path / f"{name}_padded.npz")
        script(
            "prepare_dataset.py", "--input", tmp_path / f"{name}.npz", "--output_dir", tmp_path / name, "--n_images", 20
        )
    for path in ("{}_padded.npz", "{}/train.npz"):
        expected, found = (npz.read_npz(tmp_path / path.format(name)) for name in ("one", "two"))
        assert expected.keys() == found.keys()
        for key in expected.keys() - {"metadata"}:
            np.testing.assert_array_equal(found[key], expected[key], err_msg=key)


def test_the_test_half_alone(tmp_path):
    words = ("--size_px", 112, "--window_px", 32, "--n_images", 20, "--test_only")
    script("prepare_dataset.py", "--output_dir", tmp_path, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["test.npz"]


def drawn(seed=1, **changes):
    return Drawn(SpecimenConfig(size_px=112, window_px=32, **changes), seed)


def test_another_object_keeps_the_probe():
    base = drawn_specimen(drawn())
    other = drawn_specimen(drawn(object="lines"), drawn())
    np.testing.assert_array_equal(other.probe, base.probe)
    assert np.abs(other.object - base.object).max() > 0.1
    assert other.metadata.last_step("probe_of").parameters["object"] == "dead_leaves"
    assert np.abs(drawn_specimen(drawn(object="lines")).probe - base.probe).max() > 0.01  # as it would be without


def test_another_draw_keeps_the_probe():
    base, other = drawn_specimen(drawn()), drawn_specimen(drawn(seed=2), drawn())
    np.testing.assert_array_equal(other.probe, base.probe)
    assert np.abs(other.object - base.object).max() > 0.1


def test_another_probe_keeps_the_object():
    base, other = drawn_specimen(drawn()), drawn_specimen(drawn(probe="gaussian"), drawn())
    np.testing.assert_array_equal(other.object, base.object)
    np.testing.assert_array_equal(other.probe, drawn_specimen(drawn(probe="gaussian")).probe)


def test_the_same_specimen_is_unchanged():
    assert drawn_specimen(drawn(), drawn()).metadata.last_step("probe_of") is None


def test_a_bad_setting_is_named():
    with pytest.raises(InputError, match="bin factor"):
        prepare(drawn_specimen(Drawn(SPECIMEN, 1)), SimulationConfig(n_images=20), PreparationConfig(bin_factor=1), 1)
