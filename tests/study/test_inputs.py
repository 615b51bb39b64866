import json
import os

import pytest

from ptycho.errors import InputError
from ptycho.study.inputs import InputRecord


@pytest.fixture
def scan(tmp_path):
    """Return the path of an input whose time stamp is in the past."""
    path = tmp_path / "scan.npz"
    write(path, b"first", 1_000_000_000)
    return str(path)


def write(path, content, modified):
    """Replace a file by another one with a time stamp, as ``cp --preserve`` does."""
    new = f"{path}.new"
    with open(new, "wb") as stream:
        stream.write(content)
    os.utime(new, (modified, modified))
    os.replace(new, path)


def test_without_a_record_nothing_is_known_to_be_replaced(tmp_path, scan):
    assert InputRecord(tmp_path / "inputs.json").replaced([scan, None]) == []


@pytest.mark.parametrize("modified", [900_000_000, 1_000_000_000, 1_100_000_000])
def test_other_content_is_noticed_whatever_its_time_stamp(tmp_path, scan, modified):
    InputRecord(tmp_path / "inputs.json").update([scan, None])
    write(scan, b"other", modified)  # of the same size
    (found,) = InputRecord(tmp_path / "inputs.json").replaced([scan])
    name, checksum = found.split()
    assert name == scan
    assert len(checksum) == 64


def test_the_same_content_is_not_noticed(tmp_path, scan):
    InputRecord(tmp_path / "inputs.json").update([scan])
    write(scan, b"first", 1_100_000_000)
    assert InputRecord(tmp_path / "inputs.json").replaced([scan]) == []


def test_a_replaced_input_stays_one_in_later_runs_and_the_first_content_does_not(tmp_path, scan):
    record = tmp_path / "inputs.json"
    InputRecord(record).update([scan])
    write(scan, b"other", 900_000_000)
    found = InputRecord(record).replaced([scan])
    InputRecord(record).update([scan])  # the run that computes with the other content
    assert InputRecord(record).replaced([scan]) == found
    write(scan, b"first", 900_000_000)
    assert InputRecord(record).replaced([scan]) == []


def test_an_unchanged_file_is_not_read_again(tmp_path, scan, monkeypatch):
    InputRecord(tmp_path / "inputs.json").update([scan])
    monkeypatch.setattr("ptycho.io.files.sha256", lambda path: pytest.fail("read again"))
    record = InputRecord(tmp_path / "inputs.json")
    assert record.replaced([scan]) == []
    record.update([scan])
    assert record.changed_since_update() == []


def test_a_replacement_during_a_run_is_named(tmp_path, scan):
    record = InputRecord(tmp_path / "inputs.json")
    record.update([scan])
    write(scan, b"other", 900_000_000)
    assert record.changed_since_update() == [scan]
    os.remove(scan)
    assert record.changed_since_update() == [scan]


def test_an_input_that_is_missing_is_left_to_the_checks_of_the_study(tmp_path, scan):
    record = InputRecord(tmp_path / "inputs.json")
    record.update([scan, str(tmp_path / "missing.npz")])
    os.remove(scan)
    assert InputRecord(record.path).replaced([scan]) == []


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"format": 2, "files": {}},
        {"format": 1},
        {"format": 1, "files": {"a": {"first": 3}}},
        {"format": 1, "files": {"a": {"first": "0", "sha256": "0"}}},
    ],
)
def test_another_file_of_this_name_is_refused(tmp_path, content):
    (tmp_path / "inputs.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"inputs.json: not a record of the inputs of a study: delete it"):
        InputRecord(tmp_path / "inputs.json")
