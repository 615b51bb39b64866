import os
import subprocess
import sys

import pytest

from ptycho.config.schema import StudyConfig
from ptycho.errors import InputError
from ptycho.study import directories


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Work in an empty directory, and release the locks of each test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(directories, "_held", [])


def refusal(function, *arguments):
    with pytest.raises(InputError) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("path", ["file", "file/out", "file/a/b/"])
@pytest.mark.parametrize("key", ["output_dir", "datasets_dir", "analysis_dir"])
def test_a_directory_below_a_file_is_refused(tmp_path, key, path):
    (tmp_path / "file").write_text("")
    study = StudyConfig(**{key: path}, existing="theirs" if key == "analysis_dir" else None)
    message = refusal(directories.check_directories, study)
    assert message == f"{key} is {path}: file is a file, expected a directory: choose another {key}"


def test_new_and_present_directories_are_accepted(tmp_path):
    (tmp_path / "out").mkdir()
    directories.check_directories(StudyConfig(output_dir="out/new/study", datasets_dir="out"))
    assert os.listdir("out") == []


def test_an_analysis_never_overwrites_the_tables_of_its_study(tmp_path):
    (tmp_path / "theirs").mkdir()
    study = StudyConfig(existing="theirs", analysis_dir="./theirs/")
    assert "would be overwritten" in refusal(directories.check_directories, study)
    assert directories.results_dir(StudyConfig(existing="theirs", analysis_dir="mine/")) == "mine"
    assert directories.results_dir(StudyConfig(existing="theirs")) == "theirs/analysis"
    assert directories.results_dir(StudyConfig(output_dir="out/")) == "out"


def hold(*calls):
    """Start another process that takes locks, and return it."""
    code = (
        "import sys; from ptycho.config.schema import StudyConfig; from ptycho.study import directories\n"
        f"{'; '.join(calls)}\n"
        "print('locked', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_directory_that_another_run_writes_to_is_refused_until_that_run_is_dead():
    study = StudyConfig(output_dir="out")
    other = hold("directories.lock_results(StudyConfig(output_dir='out'))")
    try:
        message = refusal(directories.lock_results, study)
        assert message.startswith(f"output_dir is out: another run writes there (process {other.pid} on ")
        assert message.endswith("wait until it has ended, stop it, or choose another output_dir")
        directories.lock_results(StudyConfig(output_dir="elsewhere"))
    finally:
        other.kill()
        other.wait()
    directories.lock_results(study)


def test_two_studies_do_not_prepare_shared_data_at_the_same_time():
    study = StudyConfig(output_dir="out", datasets_dir="shared")
    prepared = {"shared/x_prepared/train.npz", "shared/x_prepared/test.npz"}
    other = hold(f"directories.lock_datasets(StudyConfig(datasets_dir='shared'), {prepared!r})")
    try:
        message = refusal(directories.lock_datasets, study, prepared)
        assert f"another run prepares these data (process {other.pid} on " in message
        assert message.endswith("start this one when shared/x_prepared/test.npz exists")
        for path in prepared:
            open(path, "w").close()
        directories.lock_datasets(study, prepared)  # complete: both may read them
        directories.lock_datasets(StudyConfig(output_dir="out"), prepared)  # not shared
        directories.lock_datasets(study, ())  # not used
    finally:
        other.kill()
        other.wait()


def test_a_directory_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    study = StudyConfig(output_dir="file/out", datasets_dir="file")
    assert refusal(directories.lock_results, study).startswith("output_dir is file/out: Not a directory: ")
    assert refusal(directories.lock_datasets, study, ["file/train.npz"]).startswith("datasets_dir is file: ")


def test_a_file_system_without_locks_is_logged(monkeypatch, caplog):
    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    directories.lock_results(StudyConfig(output_dir="out"))
    assert "out: no lock (Operation not supported)" in caplog.text
