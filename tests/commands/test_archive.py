"""archive_study.py: a study in, the same study out; what was changed on the way is named."""

import dataclasses
import errno
import fcntl
import hashlib
import json
import warnings
import zipfile
from types import SimpleNamespace

import pytest
import yaml

from ptycho.config.schema import StudyConfig
from ptycho.study import crate

METADATA = "ro-crate-metadata.json"
LEFT_OUT = {"datasets/big.npz", ".study.lock", "train_64/trial_1/params.dill"}


@pytest.fixture
def study(known, command):
    """Return a study with tables, a summary, its configuration and what is left out."""
    config = dataclasses.replace(StudyConfig(), train_sizes=(64, 1024), num_trials=3, seed=5)
    (known / "study_config.txt").write_text(yaml.safe_dump(json.loads(json.dumps(dataclasses.asdict(config)))))
    assert command("aggregate_and_plot_results")(known, "--tables-only", "--seed", 5) is None
    (known / "STUDY_SUMMARY.md").write_text("# Findings\n")
    (known / "train_64/trial_1/params.dill").write_bytes(b"no code")
    (known / "a b#\u00e9.txt").write_text("odd name")
    (known / "inputs.json").write_text(
        json.dumps({"format": 1, "files": {"/my/scan.npz": {"sha256": "ab", "stat": []}}})
    )
    (known / "datasets").mkdir()
    (known / "datasets/big.npz").write_bytes(b"0" * 1000)
    (known / ".study.lock").write_text("")
    return known


@pytest.fixture
def archive(study, command, tmp_path_factory):
    path = tmp_path_factory.mktemp("archives") / "study.zip"
    assert command("archive_study")(study, path) is None
    return path


def changed(archive, name, content):
    """Replace a member; None removes it. Its checksum stays."""
    with zipfile.ZipFile(archive) as old:
        members = {info.filename: old.read(info) for info in old.infolist()}
    members.pop(name, None)
    with zipfile.ZipFile(archive, "w") as new:
        for member, data in (members | ({} if content is None else {name: content})).items():
            new.writestr(member, data)


def metadata(archive):
    with zipfile.ZipFile(archive) as stored:
        return json.loads(stored.read(METADATA))


def entities(archive):
    return {entity["@id"]: entity for entity in metadata(archive)["@graph"]}


def test_an_archive_has_all_files_of_the_study_but_its_data(study, archive):
    with zipfile.ZipFile(archive) as stored:
        found = {info.filename: stored.read(info) for info in stored.infolist()}
    expected = {p.relative_to(study).as_posix(): p.read_bytes() for p in study.rglob("*") if p.is_file()}
    assert found.keys() == {METADATA, *expected} - LEFT_OUT
    assert all(content == expected[name] for name, content in found.items() if name != METADATA)
    assert "train_64/trial_1/comparison_metrics.csv" in found


def test_the_metadata_are_those_of_an_ro_crate(study, archive):
    known = entities(archive)
    assert known[METADATA]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert known[METADATA]["about"] == {"@id": "./"}
    root = known["./"]
    parts = [part["@id"] for part in root["hasPart"]]
    assert sorted(parts) == sorted(name for name, entity in known.items() if entity["@type"] == "File")
    table = known["results.csv"]
    content = (study / "results.csv").read_bytes()
    assert (table["sha256"], table["contentSize"]) == (hashlib.sha256(content).hexdigest(), str(len(content)))
    assert known["#input-1"]["name"] == "scan.npz"  # no path of the machine
    assert "/my/" not in json.dumps(metadata(archive))
    (mention,) = root["mentions"]
    assert known[mention["@id"]]["object"] == [{"@id": "#input-1"}]
    references = [r["@id"] for e in known.values() for r in e.values() if isinstance(r, dict)]
    assert {reference for reference in references if not reference.startswith("https")} <= known.keys()


def test_names_are_quoted_as_identifiers(archive):
    assert entities(archive)["a%20b%23%C3%A9.txt"]["name"] == "a b#\u00e9.txt"


def test_the_same_folder_gives_the_same_archive(study, archive, command, tmp_path):
    assert command("archive_study")(study, archive.with_name("again.zip")) is None
    assert archive.with_name("again.zip").read_bytes() == archive.read_bytes()


def test_an_archive_is_verified_and_its_tables_are_computed_again(archive, command, capsys):
    assert command("archive_study")(archive, "--verify") is None
    printed = capsys.readouterr().out
    assert f"{len(entities(archive)) - 6} files match their checksums" in printed
    assert "5 tables computed again" in printed


@pytest.mark.parametrize("table", ["results.csv", "train_64/trial_2/comparison_metrics.csv"])
def test_a_table_that_does_not_follow_from_the_trials_is_named(study, command, tmp_path_factory, table):
    (study / table).write_text((study / table).read_text().replace("32.0", "33.0"))
    error = command("archive_study")(study, tmp_path_factory.mktemp("wrong") / "study.zip")
    assert "results.csv does not follow from the metrics of its trials" in error


def test_an_archive_without_its_tables_cannot_be_verified(study, command, tmp_path_factory):
    path = tmp_path_factory.mktemp("few") / "study.zip"
    assert command("archive_study")(study, path, "--leave_out", "results.csv", "times.csv") is None
    assert "without results.csv, times.csv: its tables cannot be verified" in command("archive_study")(path, "--verify")
    assert command("archive_study")(study, path, "--leave_out", "train_*") is None
    error = command("archive_study")(path, "--verify")
    assert f"{path}: its tables cannot be computed" in error
    assert "/tmp/tmp" not in error


def test_where_nothing_can_be_locked_a_study_is_archived_with_a_warning(
    study, command, monkeypatch, tmp_path_factory, caplog
):
    def no_locks(*arguments):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (study / ".study.lock").touch()
    assert command("archive_study")(study, tmp_path_factory.mktemp("no_locks") / "study.zip") is None
    assert "no lock (Function not implemented): make sure that no run writes there" in caplog.text


def test_tables_of_an_earlier_version_follow_from_their_trials(study, command, tmp_path_factory):
    path, table = tmp_path_factory.mktemp("earlier") / "study.zip", study / "times.csv"
    now = table.read_text()
    table.write_text(now.replace("reconstruction_s", "answer_s").replace("break_even_scans", "scans_to_pay"))
    assert command("archive_study")(study, path) is None
    assert command("archive_study")(path, "--verify") is None
    table.write_text(now)


def test_a_study_that_is_not_whole_is_not_archived(study, command, tmp_path_factory):
    run, path = command("archive_study"), tmp_path_factory.mktemp("half") / "study.zip"
    with (study / ".study.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "a run is writing there" in run(study, path)
    elsewhere = path.with_name("train_64")
    (study / "train_64").rename(elsewhere)
    (study / "train_64").symlink_to(elsewhere)
    assert "'train_64' is a link" in run(study, path)
    (study / "train_64").unlink()
    (study / "study_config.txt").rename(elsewhere / "study_config.txt")
    assert "of an analysis of an existing study, the study itself" in run(study, path)
    assert not path.exists()


def test_what_does_not_fit_on_the_disk_is_not_unpacked(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(crate.shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(crate.InputError, match="GB left"):
        crate.extract(archive, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("content", [b"\xff", b"- 1\n", b"[" * 5000, b"train_sizes: [1"])
def test_a_configuration_that_is_none_is_one_line(archive, command, content):
    changed(archive, "study_config.txt", content)
    graph = metadata(archive)
    for entity in graph["@graph"]:
        if entity["@id"] == "study_config.txt":
            entity["sha256"] = hashlib.sha256(content).hexdigest()
    changed(archive, METADATA, json.dumps(graph).encode())
    assert "study_config.txt cannot be read" in command("archive_study")(archive, "--verify")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("results.csv", b"a,b\n1,2\n", "results.csv does not match its checksum"),
        ("STUDY_SUMMARY.md", None, "do not agree, e.g. STUDY_SUMMARY.md"),
        ("run.py", b"print()", "do not agree, e.g. run.py"),
        (METADATA, None, f"no {METADATA} in it"),
        (METADATA, b"{}", "do not agree"),
        (METADATA, b"{", "not valid JSON"),
    ],
)
def test_a_changed_archive_is_refused(archive, command, name, content, said):
    changed(archive, name, content)
    assert said in command("archive_study")(archive, "--verify")


@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "a/../../out.txt", "a\\..\\out.txt"])
def test_no_member_is_written_elsewhere(archive, tmp_path, name):
    graph = metadata(archive)
    graph["@graph"].append({"@id": name, "@type": "File", "sha256": hashlib.sha256(b"x").hexdigest()})
    changed(archive, METADATA, json.dumps(graph).encode())
    changed(archive, name, b"x")
    with pytest.raises(crate.InputError, match="no file of a study"):
        crate.extract(archive, tmp_path / "here" / "there")
    assert not list(tmp_path.rglob("out.txt"))


def test_two_members_of_one_name_are_refused(archive, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(archive, "a") as stored:
            stored.writestr("results.csv", "a\n1\n")
    with pytest.raises(crate.InputError, match=r"do not agree, e.g. results.csv"):
        crate.extract(archive, tmp_path / "out")


def test_bad_arguments_are_refused_in_one_line(study, archive, command, tmp_path):
    run = command("archive_study")
    assert "expected a name that ends in .zip" in run(study, tmp_path.parent / "study.tar")
    assert "is within the study" in run(study, study / "study.zip")
    assert "--verify writes nothing" in run(archive, "out.zip", "--verify")
    assert "not a zip file" in run(study / "results.csv", "--verify")
    (study / "STUDY_SUMMARY.md").unlink()
    assert "name the output_dir of a finished study" in run(study, archive.with_name("none.zip"))
    assert not archive.with_name("none.zip").exists()


def test_more_can_be_left_out(study, archive, command):
    assert command("archive_study")(study, archive, "--leave_out", "*.csv", "--license", "CC0-1.0") is None
    known = entities(archive)
    assert not [name for name in known if name.endswith(".csv")]
    assert known["./"]["license"] == "CC0-1.0"
