"""Invalid input to the commands that prepare data: a one-line error, no output file, unchanged input."""

import fcntl
import json
import runpy
import subprocess
import sys
import time

import numpy as np
import pytest
from running import SCRIPTS, run_here

import ptycho
from ptycho.commands import summarize
from ptycho.config.schema import MeasuredConfig
from ptycho.io import npz

RECONSTRUCTION = {
    "pad": ["pad_to_even_tool.py", "in.npz", "out.npz"],
    "transpose": ["transpose_rename_convert_tool.py", "in.npz", "out.npz"],
    "prepare": ["prepare_data_tool.py", "in.npz", "out.npz", "--interpolate", "--smooth", "--apodize"],
    "simulate": ["simulate_and_save.py", "--input-file", "in.npz", "--output-file", "out.npz", "--n-images", "8"],
}
DATASET = {
    "downsample": ["downsample_data_tool.py", "in.npz", "out.npz"],
    "split": ["split_dataset_tool.py", "in.npz", "out"],
}


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Return a function that runs a command in an empty directory and returns its error message."""

    def run(words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(SCRIPTS)
        monkeypatch.setattr(sys, "argv", [str(SCRIPTS / words[0]), *words[1:]])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(SCRIPTS / words[0]), run_name="__main__")
        return stop.value.code if isinstance(stop.value.code, str) else capsys.readouterr().err

    return run


def reconstruction(**changes):
    y, x = np.indices((16, 16)) - 8
    arrays = {
        "objectGuess": np.exp(0.1j * np.arange(48 * 40).reshape(48, 40)),
        "probeGuess": np.exp(-(x**2 + y**2) / 30) + 0j,
        "xcoords": np.linspace(10, 30, 12), "ycoords": np.linspace(10, 36, 12),
    }  # fmt: skip
    return {key: value for key, value in {**arrays, **changes}.items() if value is not None}


def dataset(**changes):
    return reconstruction(**{"diffraction": np.ones((12, 16, 16), np.float32), **changes})


def own_dataset(**changes):
    """Return the arrays of a dataset in the format of the study, which the commands read row by row."""
    metadata = json.dumps({"format": npz.FORMAT, "counts_scale": 1.0})
    return dataset(**{"Y": np.ones((12, 16, 16), np.complex64), "metadata": np.array(metadata), **changes})


def with_value(array, value):
    array = np.array(array)
    array.flat[7] = value
    return array


ANY = {
    "empty": b"",
    "truncated": 0.6,
    "no zip": b"measured on a Tuesday",
    "no probe": {"probeGuess": None},
    "pickled": {"probeGuess": np.array([{"run": "code"}], dtype=object)},
    "not finite": {"objectGuess": with_value(reconstruction()["objectGuess"], np.nan)},
    "infinite position": {"xcoords": with_value(reconstruction()["xcoords"], np.inf)},
    "real object": {"objectGuess": np.ones((48, 40))},
    "real probe": {"probeGuess": np.ones((16, 16))},
    "lengths": {"ycoords": np.linspace(10, 36, 11)},
    "outside": {"xcoords": np.linspace(200, 300, 12)},
    "oblong probe": {"probeGuess": np.ones((16, 14), complex)},
    "small object": {"objectGuess": np.ones((12, 12), complex)},
    "three axes": {"objectGuess": np.ones((2, 48, 40), complex)},
    "text": {"xcoords": np.array(["left"] * 12)},
    "dark probe": {"probeGuess": np.zeros((16, 16), complex)},
    "metadata": {"metadata": np.array("{")},
}
PATTERNS = {
    "no patterns": {"diffraction": None},
    "nan counts": {"diffraction": with_value(np.ones((12, 16, 16)), np.nan)},
    "negative counts": {"diffraction": with_value(np.ones((12, 16, 16)), -1)},
    "oblong patterns": {"diffraction": np.ones((12, 16, 14))},
    "too few patterns": {"diffraction": np.ones((11, 16, 16))},
    "dark": {"diffraction": np.zeros((12, 16, 16))},
    "complex patterns": {"diffraction": np.ones((12, 16, 16), complex)},
}
OWN = {
    "nan windows": {"Y": with_value(np.ones((12, 16, 16), np.complex64), np.nan)},
    "real windows": {"Y": np.ones((12, 16, 16), np.float32)},
    "a wrong byte": 300,  # offset of a byte that is changed without its checksum
}
# the second step converts names, axis order and data types, and does not check the images
PASSED_ON = {
    "not finite", "infinite position", "outside", "oblong probe", "small object", "three axes", "dark probe",
}  # fmt: skip
CASES = [
    *((RECONSTRUCTION["transpose"], reconstruction, damage) for damage in ANY if damage not in PASSED_ON),
    *((RECONSTRUCTION[step], reconstruction, damage) for step in ("pad", "prepare", "simulate") for damage in ANY),
    *((words, dataset, damage) for words in DATASET.values() for damage in [*ANY, *PATTERNS]),
    *((DATASET["downsample"], own_dataset, damage) for damage in [*ANY, *PATTERNS, *OWN]),
    *((DATASET["split"], own_dataset, damage) for damage in [*ANY, *PATTERNS, *OWN]),
]


@pytest.mark.parametrize(
    ("words", "make", "damage"),
    [pytest.param(*case, id=f"{case[0][0]}-{case[1].__name__}-{case[2]}") for case in CASES],
)
def test_bad_files_are_refused(command, tmp_path, words, make, damage):
    wrong = {**ANY, **PATTERNS, **OWN}[damage]
    path = tmp_path / "in.npz"
    np.savez(path, **make(**(wrong if isinstance(wrong, dict) else {})))
    if isinstance(wrong, bytes):
        path.write_bytes(wrong)
    if isinstance(wrong, float):
        path.write_bytes(path.read_bytes()[: int(wrong * path.stat().st_size)])
    if isinstance(wrong, int):
        content = path.read_bytes()
        place = content.index(b"diffraction.npy") + wrong
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    before = path.read_bytes()
    message = command(words)
    assert message.startswith(f"{words[0]}: error: in.npz"), message
    assert "\n" not in message.strip()
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.npz"]


FLAGS = [
    (RECONSTRUCTION["simulate"], ["--n-images", "0"], "--n-images is 0"),
    (RECONSTRUCTION["simulate"], ["--n-images", "-3"], "--n-images is -3"),
    (RECONSTRUCTION["simulate"], ["--n-photons", "0"], "--n-photons is 0"),
    (RECONSTRUCTION["simulate"], ["--n-photons=-1e9"], "--n-photons is -1"),
    (RECONSTRUCTION["simulate"], ["--n-photons", "nan"], "--n-photons is nan"),
    (RECONSTRUCTION["simulate"], ["--buffer", "-1"], "buffer_px"),
    (RECONSTRUCTION["simulate"], ["--buffer", "100"], "no room for positions"),
    (RECONSTRUCTION["simulate"], ["--seed", "-1"], "--seed is -1"),
    (RECONSTRUCTION["simulate"], ["--saturation-counts", "0"], "--saturation-counts is 0"),
    (RECONSTRUCTION["simulate"], ["--bad-pixels", "none.npy"], "none.npy: no such file"),
    (RECONSTRUCTION["prepare"], ["--zoom-factor", "1.3"], "zoom factor 1.3"),
    (RECONSTRUCTION["prepare"], ["--zoom-factor", "0"], "zoom factor 0"),
    (RECONSTRUCTION["prepare"], ["--sigma", "-1"], "--sigma is -1"),
    (RECONSTRUCTION["prepare"], ["--alpha", "2"], "alpha is 2"),
    (DATASET["downsample"], ["--crop-factor", "3", "--bin-factor", "3"], "factor 3 does not divide"),
    (DATASET["downsample"], ["--crop-factor", "4"], "crop factor 4 and bin factor 2 differ"),
    (DATASET["downsample"], ["--crop-factor", "0", "--bin-factor", "0"], "factor 0 does not divide"),
    (DATASET["split"], ["--split-fraction", "0"], "cannot be split at 0"),
    (DATASET["split"], ["--split-fraction", "1.5"], "cannot be split at 1.5"),
    (DATASET["split"], ["--split-gap", "1000"], "leaves no test pattern"),
    (DATASET["split"], ["--split-gap", "-1"], "gap"),
]


@pytest.mark.parametrize(("words", "flags", "part"), [pytest.param(*case, id=" ".join(case[1])) for case in FLAGS])
def test_bad_flags_are_refused(command, tmp_path, words, flags, part):
    make = dataset if words in DATASET.values() else reconstruction
    np.savez(tmp_path / "in.npz", **make())
    message = command([*words, *flags])
    assert part in message
    assert "error: " in message
    assert "Traceback" not in message
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.npz"]


def test_a_command_that_fails_keeps_the_existing_output(command, tmp_path):
    (tmp_path / "out.npz").write_bytes(b"last week's")
    np.savez(tmp_path / "in.npz", **dataset(diffraction=with_value(np.ones((12, 16, 16)), -1)))
    command(DATASET["downsample"])
    assert (tmp_path / "out.npz").read_bytes() == b"last week's"


@pytest.mark.parametrize("step", ["pad", "transpose", "prepare", "simulate", "downsample"])
def test_no_command_overwrites_its_input(command, tmp_path, step):
    words = {**RECONSTRUCTION, **DATASET}[step]
    np.savez(tmp_path / "in.npz", **dataset())
    before = (tmp_path / "in.npz").read_bytes()
    assert "would be overwritten" in command([word.replace("out.npz", "in.npz") for word in words])
    assert (tmp_path / "in.npz").read_bytes() == before


MASKED = {
    "convert": ["convert_dataset.py", "in.npz", "out.npz", "--bad_pixels", "mask.npy"],
    "inspect": ["inspect_dataset.py", "in.npz", "--write_mask", "out.npz", "--bad_pixels", "mask.npy"],
}


@pytest.mark.parametrize("step", MASKED)
def test_no_command_overwrites_a_mask_it_reads(command, tmp_path, step):
    np.savez(tmp_path / "in.npz", **dataset())
    np.save(tmp_path / "mask.npy", np.zeros((16, 16), bool))
    (tmp_path / "out.npz").symlink_to("mask.npy")
    before = (tmp_path / "mask.npy").read_bytes()
    assert "out.npz: would be overwritten" in command(MASKED[step])
    assert (tmp_path / "mask.npy").read_bytes() == before


WRITING = {
    **RECONSTRUCTION,
    "downsample": DATASET["downsample"],
    "specimen": ["make_specimen.py", "out.npz"],
    "convert": ["convert_dataset.py", "in.npz", "out.npz"],
    "inspect": ["inspect_dataset.py", "in.npz", "--write_mask", "out.npz"],
}


@pytest.mark.parametrize("step", WRITING)
@pytest.mark.parametrize(("output", "reason"), [("folder.npz", "is a directory"), ("in.npz/o.npz", "in.npz is a file")])
def test_an_output_that_cannot_be_written_is_refused_first(command, tmp_path, step, output, reason, caplog):
    np.savez(tmp_path / "in.npz", **dataset())
    (tmp_path / "folder.npz").mkdir()
    message = command([word.replace("out.npz", output) for word in WRITING[step]])
    assert reason in message
    assert "\n" not in message.strip()
    assert not caplog.records
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder.npz", "in.npz"]


def test_a_name_outside_the_output_directory_is_refused(command, tmp_path):
    np.savez(tmp_path / "in.npz", **dataset())
    assert "expected the stem of a file" in command([*DATASET["split"], "--name", "../x"])


def test_old_and_new_array_names_together_are_refused(command, tmp_path):
    np.savez(tmp_path / "in.npz", **dataset(diff3d=np.ones((12, 16, 16))))
    assert "holds both diff3d and diffraction" in command(DATASET["split"])


def test_a_terminated_command_leaves_nothing_behind(tmp_path):
    np.savez(tmp_path / "in.npz", **reconstruction())
    words = [str(SCRIPTS / RECONSTRUCTION["simulate"][0]), *RECONSTRUCTION["simulate"][1:-1], "150000"]
    process = subprocess.Popen([sys.executable, *words], cwd=tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.terminate()
    assert process.wait(30) == 143
    assert [path.name for path in tmp_path.iterdir()] == ["in.npz"]


def test_the_next_command_removes_the_files_of_a_killed_one(tmp_path):
    np.savez(tmp_path / "in.npz", **reconstruction())
    words = [str(SCRIPTS / RECONSTRUCTION["simulate"][0]), *RECONSTRUCTION["simulate"][1:-1]]
    process = subprocess.Popen([sys.executable, *words, "150000"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait(30)
    assert len(list(tmp_path.iterdir())) == 2
    subprocess.run([sys.executable, *words, "4"], cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz", "out.npz"]


def test_two_trainings_in_one_directory_are_refused(command, tmp_path):
    np.savez(tmp_path / "in.npz", **dataset())
    (tmp_path / "model").mkdir()
    with (tmp_path / "model/.training.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        message = command(["train.py", "--train_data_file", "in.npz", "--output_dir", "model"])
    assert "model: another training writes here" in message
    assert [path.name for path in (tmp_path / "model").iterdir()] == [".training.lock"]


UNUSABLE = {
    "dark": {"diffraction": np.zeros((12, 16, 16), np.float32)},
    "a nan": {"diffraction": with_value(np.ones((12, 16, 16), np.float32), np.nan)},
    "odd size": {
        "diffraction": np.ones((12, 12, 12), np.float32), "probeGuess": np.ones((12, 12), complex),
        "Y": np.ones((12, 12, 12), np.complex64),
    },
    "no truth": {"Y": np.zeros((12, 16, 16), np.complex64)},
    "zero object": {"objectGuess": np.zeros((48, 40), complex)},
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_refused_training_leaves_nothing_and_names_its_file_once(command, tmp_path, name):
    np.savez(tmp_path / "in.npz", **own_dataset(**UNUSABLE[name]))
    message = command(["run_baseline.py", "--train_data", "in.npz", "--output_dir", "model", "--n_images", "4"])
    assert message.startswith("run_baseline.py: error: in.npz: ")
    assert message.count("in.npz") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.npz"]


def test_a_training_refused_by_the_model_leaves_nothing(command, tmp_path, monkeypatch):
    from ptycho.errors import InputError
    from ptycho.models import run

    def refuse(*arguments, **options):
        raise InputError("too far apart")

    monkeypatch.setattr(run, "train", refuse)
    monkeypatch.setattr("ptycho.commands.training.log_to", lambda path, buffered: path.write_text("log"))
    np.savez(tmp_path / "in.npz", **own_dataset())
    message = command(["train.py", "--train_data_file", "in.npz", "--output_dir", "model"])
    assert message == "train.py: error: in.npz: too far apart"
    assert [path.name for path in tmp_path.iterdir()] == ["in.npz"]


@pytest.mark.parametrize("change", ["dark", "a nan"])
def test_test_data_that_hold_nothing_are_refused(command, tmp_path, change):
    np.savez(tmp_path / "in.npz", **own_dataset(**UNUSABLE[change]))
    words = ["--test_data", "in.npz", "--output_dir", "out", "--n_test_images", "2"]
    assert "error: in.npz: diffraction" in command(["run_iterative.py", *words])
    assert "error: in.npz: diffraction" in command(["compare_models.py", "--iterative_dir", "out", *words])
    assert [path.name for path in tmp_path.iterdir()] == ["in.npz"]


def test_a_truth_without_structure_is_refused(command, tmp_path):
    np.savez(tmp_path / "in.npz", **own_dataset(objectGuess=np.ones((48, 40), complex)))
    np.savez(tmp_path / "other.npz", reconstructed_object=np.ones((48, 40), complex))
    words = ["--recon", "other.npz", "--test_data", "in.npz", "--output_dir", "out"]
    assert "in.npz: objectGuess is the same everywhere" in command(["compare_models.py", *words])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["train.py", "--train_data_file", "in.npz", "--output_dir", "m", "--nepochs", "0"], "--nepochs"),
        (["run_baseline.py", "--train_data", "in.npz", "--output_dir", "m", "--epochs", "0"], "--epochs"),
        (["run_iterative.py", "--test_data", "in.npz", "--output_dir", "m", "--n-test-images", "0"], "--n-test-images"),
        (["run_iterative.py", "--test_data", "in.npz", "--output_dir", "m", "--n_test_images", "0"], "--n_test_images"),
    ],
)
def test_a_flag_is_named_as_it_was_typed(command, words, flag):
    assert f"error: {flag} is 0: " in command(words)


def test_a_reconstruction_file_must_be_npz(command, tmp_path):
    message = command(["reconstruct.py", "--model_dir", "model", "--data", "in.npz", "--output", "rec.png"])
    assert "--output: rec.png: expected a name that ends in .npz" in message
    assert not list(tmp_path.iterdir())


def test_overlap_of_training_and_test_scan_with_positions_in_metres(tmp_path):
    as_measured = MeasuredConfig(positions="metres", pixel_size_m=1e-8)
    for name, middle in (("train", -11), ("near", -5), ("far", 11)):  # pixels from the centre of the object
        x, y = 1e-8 * np.linspace(-10, 10, 12), 1e-8 * np.linspace(middle - 1, middle + 1, 12)
        np.savez(tmp_path / f"{name}.npz", **dataset(xcoords=x, ycoords=y))
    assert (
        "100% of the test patterns" in summarize._overlap(tmp_path / "train.npz", tmp_path / "near.npz", as_measured)[0]
    )
    assert summarize._overlap(tmp_path / "train.npz", tmp_path / "far.npz", as_measured) == []


def test_the_metadata_list_the_steps_and_their_version(tmp_path):
    np.savez(tmp_path / "in.npz", **reconstruction())
    chain = [
        ["pad_to_even_tool.py", "in.npz", "a.npz"],
        ["transpose_rename_convert_tool.py", "a.npz", "b.npz", "--flipy"],
        ["prepare_data_tool.py", "b.npz", "c.npz", "--interpolate", "--smooth", "--target", "probe", "--apodize"],
        ["simulate_and_save.py", "--input-file", "c.npz", "--output-file", "d.npz", "--n-images", "12"],
        ["downsample_data_tool.py", "d.npz", "e.npz", "--method", "fourier"],
        ["split_dataset_tool.py", "e.npz", "f", "--split-axis", "x", "--split-gap", "1.5"],
    ]
    for words in chain:
        result = run_here(*words, directory=tmp_path)
        assert result.returncode == 0, result.stderr
    metadata = json.loads(str(np.load(tmp_path / "f/e_test.npz")["metadata"]))
    assert [step["step"] for step in metadata["steps"]] == [
        "pad_to_even", "transpose_rename_convert", "interpolate", "smooth", "apodize", "simulate", "downsample",
        "split",
    ]  # fmt: skip
    assert metadata["steps"][1]["parameters"]["flipy"] is True
    assert metadata["steps"][6]["parameters"]["method"] == "fourier"
    assert {step["version"] for step in metadata["steps"]} == {ptycho.__version__}
