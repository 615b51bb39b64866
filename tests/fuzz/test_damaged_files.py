"""Hundreds of damaged and hostile files: refused in one line, or read as what they hold; see damage.py."""

import io
import json
import zipfile

import damage
import h5py
import numpy as np
import pytest
import samples

from ptycho.data.metadata import parse_metadata_text
from ptycho.errors import InputError
from ptycho.io import files, npz, text
from ptycho.study import artifacts

CHECKED = {  # files with checksums, and the number of damaged ones that are read
    "own": 64, "own, converted": 16, "arrays": 24, "foreign": 32, "reconstruction": 24, "cxi": 40, "ptychodus": 40,
}  # fmt: skip
UNCHECKED = {"cxi": 32, "ptychodus": 32}  # of other programs, without a checksum
TEXT = {"history": 40, "json": 40, "configuration": 40}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return path, reader and what is read of each undamaged file."""
    kinds = samples.write(tmp_path_factory.mktemp("samples"))
    return {name: (path, read, damage.content_of(read(path))) for name, (path, read) in kinds.items()}


def outcomes(case, directory, contents):
    """Return what became of reading each of the damaged contents, with its number."""
    path, read, expected = case
    target = directory / path.name
    found = {}
    for number, content in enumerate(contents):
        target.write_bytes(content)
        found[number] = damage.outcome(read, target, expected)
    return found


@pytest.mark.parametrize("kind", [*CHECKED, *TEXT])
def test_an_undamaged_file_is_read_without_a_warning(written, kind):
    path, read, expected = written[kind]
    assert damage.outcome(read, path, expected) == "same"


@pytest.mark.parametrize("kind", CHECKED)
def test_damage_to_a_file_with_checksums_is_never_read_as_other_data(written, tmp_path, kind):
    content = written[kind][0].read_bytes()
    contents = [damage.damaged(content, seed) for seed in range(CHECKED[kind])]
    assert len(set(contents)) > 0.9 * CHECKED[kind]
    found = outcomes(written[kind], tmp_path, contents)
    assert set(found.values()) <= {"refused", "same"}, found
    assert list(found.values()).count("refused") > 0.8 * len(found)


@pytest.mark.parametrize("kind", UNCHECKED)
def test_damage_to_hdf5_of_other_programs_ends_in_no_traceback(written, tmp_path, kind):
    """HDF5 has no checksums of its own: a changed number there is another number."""
    content = written[kind][0].read_bytes().rpartition(files.CHECKSUM)[0]
    found = outcomes(written[kind], tmp_path, [damage.damaged(content, seed) for seed in range(UNCHECKED[kind])])
    cuts = [seed for seed in found if damage.KINDS[seed % len(damage.KINDS)] is damage.cut]
    assert {found[seed] for seed in cuts} == {"refused"}


@pytest.mark.parametrize("kind", TEXT)
def test_damage_to_text_ends_in_no_traceback(written, tmp_path, kind):
    """Text has no checksums: a changed digit is another number. What is cut is no JSON any more."""
    content = written[kind][0].read_bytes()
    found = outcomes(written[kind], tmp_path, [damage.damaged(content, seed) for seed in range(TEXT[kind])])
    if kind != "configuration":
        cuts = [seed for seed in found if damage.KINDS[seed % len(damage.KINDS)] is damage.cut]
        assert {found[seed] for seed in cuts} <= {"refused", "same"}


# npz ----------------------------------------------------------------------------------------------------


def npz_of(tmp_path, members, compression=zipfile.ZIP_STORED):
    """Write the scan as npz with members replaced or added, None for none; bytes are written as they are."""
    npz.write_dataset(tmp_path / "whole.npz", samples.scan())
    with zipfile.ZipFile(tmp_path / "whole.npz") as whole:
        contents = {name: whole.read(name) for name in whole.namelist()} | members
    with zipfile.ZipFile(tmp_path / "scan.npz", "w", compression) as archive:
        for name, content in contents.items():
            if content is not None:
                archive.writestr(name, content if isinstance(content, bytes) else member(content))
    return tmp_path / "scan.npz"


def member(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def header(words):
    """Return a member of 48 bytes of numbers whose header says something else."""
    line = words.encode() + b" " * (-(len(words) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line + bytes(48)


def described(shape="(6,)", descr="'<f8'", order="False"):
    return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}")


HEADERS = {
    "longer": described("(7,)"),
    "shorter": described("(5,)"),
    "huge": described("(1099511627776,)"),
    "beyond 64 bits": described(f"({10**30},)"),
    "negative": described("(-6,)"),
    "negative twice": described("(-2, -3)"),
    "another type": described(descr="'<f4'"),
    "objects": described(descr="'|O'"),
    "text": described(descr="'<U2'"),
    "no type": described(descr="'<q9'"),
    "two fields": described("(3,)", descr="[('a', '<f8'), ('b', '<f8')]"),
    "no tuple": described("6"),
    "a boolean": described("(True,)"),
    "5,000 digits": described("(" + "9" * 5000 + ",)"),
    "order": described(order="7"),
    "nothing": header("{}"),
    "a call": header("__import__('os').system('touch ran')"),
    "deep": header("(" * 3000),
    "no header": b"\x93NUMPY",
    "another version": b"\x93NUMPY\x09\x00" + bytes(100),
    "no npy": b"position",
    "empty": b"",
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("key", ["xcoords", "Y"])
def test_headers_of_arrays(tmp_path, content, key):
    path = npz_of(tmp_path, {f"{key}.npy": content})
    assert damage.outcome(samples.read_own, path) == "refused"
    assert damage.outcome(samples.read_any, path) == "refused"
    plain = content in (HEADERS["two fields"], HEADERS["text"])  # arrays, though not of numbers
    assert plain or damage.outcome(npz.read_npz, path) == "refused"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../../x.npy",
        "/etc/x.npy",
        "a/../../x.npy",
        "..\\x.npy",
        "C:\\x.npy",
        "line\nbreak.npy",
        "..",
        "\x1b[2J.npy",
    ],
)
@pytest.mark.parametrize("read", [samples.read_own, samples.read_any, npz.read_npz, npz.npz_members])
def test_names_that_are_paths(tmp_path, name, read):
    with pytest.raises(InputError, match="is a path, expected the name of an array"):
        read(npz_of(tmp_path, {name: member(np.ones(2))}))


@pytest.mark.parametrize("read", [samples.read_own, samples.read_any, npz.read_npz, npz.npz_members])
def test_a_member_without_a_name(tmp_path, read):
    path = npz_of(tmp_path, {"QQ.npy": member(np.ones(2))})
    path.write_bytes(path.read_bytes().replace(b"QQ.npy", b"\x00Q.npy"))
    assert damage.outcome(read, path) == "refused"


def test_a_name_that_stands_twice(tmp_path):
    path = npz_of(tmp_path, {})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("xcoords.npy", member(np.ones(6)))
    for read in (samples.read_own, npz.read_npz, npz.npz_members):
        with pytest.raises(InputError, match="holds xcoords twice"):
            read(path)


ARRAYS = {
    "all dark": {"diffraction": np.zeros((6, 8, 8), np.float32)},
    "nan": {"diffraction": np.full((6, 8, 8), np.nan, np.float32)},
    "a nan": {"diffraction": np.where(np.arange(384).reshape(6, 8, 8) == 380, np.nan, 1).astype(np.float32)},
    "negative": {"diffraction": np.full((6, 8, 8), -1, np.float32)},
    "complex": {"diffraction": np.ones((6, 8, 8), np.complex64)},
    "odd": {"diffraction": np.ones((6, 7, 7), np.float32)},
    "flat": {"diffraction": np.ones(384, np.float32)},
    "scalar": {"xcoords": np.float64(3)},
    "nan position": {"xcoords": np.array([6, 7, 8, 9, 10, np.nan])},
    "far": {"ycoords": np.full(6, 1e18)},
    "text": {"xcoords": np.array(list("abcdef"))},
    "no object": {"objectGuess": np.zeros((20, 24), np.complex64)},
    "infinite object": {"objectGuess": np.full((20, 24), np.inf, np.complex64)},
    "no probe": {"probeGuess": np.zeros((8, 8), np.complex64)},
    "dates": {"scan_index": np.array(["2020-01-01"] * 6, "datetime64[D]")},
    "mask": {"bad_pixels": np.ones((8, 8), bool)},
    "mask of another shape": {"bad_pixels": np.zeros((6, 6), bool)},
    "numbers as metadata": {"metadata": np.arange(3)},
}


@pytest.mark.parametrize("changes", ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_are_no_scan(tmp_path, changes):
    path = npz_of(tmp_path, {f"{key}.npy": member(array) for key, array in changes.items()})
    assert damage.outcome(samples.read_own, path) == "refused"


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    path = npz_of(tmp_path, {"junk.npy": member(np.zeros(1 << 20, np.uint8))}, zipfile.ZIP_DEFLATED)
    assert "junk" in npz.read_npz(path)
    monkeypatch.setattr(files, "BOMB_BYTES", 1 << 19)
    with pytest.raises(InputError, match=r"junk would take .* it is not unpacked"):
        npz.read_npz(path)
    assert "junk" not in npz.read_npz(path, ("xcoords",), ())  # what is not asked for is not unpacked
    monkeypatch.setattr(files, "available_memory", lambda: 1 << 19)
    with pytest.raises(InputError, match=r"more than the 0\.0 GiB of memory that this machine has free"):
        npz.read_npz(path)


def test_a_bomb_in_hdf5_is_not_unpacked(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("patterns", (1000, 64, 64), "f4", chunks=(1, 64, 64))  # none is stored
    monkeypatch.setattr(files, "BOMB_BYTES", 1 << 20)
    monkeypatch.setattr(files, "BOMB_RATIO", 2)
    from ptycho.io.hdf5 import unpack_h5

    with pytest.raises(InputError, match="patterns would take"):
        unpack_h5((tmp_path / "bomb.h5").read_bytes(), "bomb.h5")


# JSON ---------------------------------------------------------------------------------------------------

HOSTILE = {
    "5,000 digits": "9" * 5000, "400 digits": "9" * 400, "infinite": "1e999", "nan": "NaN", "negative": "-1",
    "text": '"x"', "list": "[]", "lists": '[["x"]]', "object": '{"x": 1}', "true": "true",
    "deep": "[" * 400 + "]" * 400, "array": '{"dtype": "<f8", "shape": [-1, 7], "base64": "AAAA"}',
}  # fmt: skip


def with_literal(content, place, literal):
    """Return JSON text with a literal, which need not be valid, in a place."""
    return json.dumps(damage.replaced(content, place, "PLACE")).replace('"PLACE"', literal)


def free(place):
    """Tell whether any value may stand in a place of the metadata: parameters of a step, and of the split."""
    return "parameters" in place or (place[0] == "split" and len(place) > 1)


def kind_at(content, place):
    for key in place:
        content = content[key]
    return "number" if type(content) in (int, float) else type(content).__name__


@pytest.mark.parametrize("literal", HOSTILE.values(), ids=HOSTILE)
def test_values_in_metadata(literal):
    content = json.loads(samples.metadata_text(scan_index=[1, 0], seed=3, part="train", n_photons=4.0))
    for place in damage.places(content):
        changed = with_literal(content, place, literal)
        try:
            found = parse_metadata_text(changed)
        except InputError:
            continue
        assert free(place) or kind_at(json.loads(changed), place) == kind_at(content, place), changed
        text.metadata_json(found)


@pytest.mark.parametrize("literal", HOSTILE.values(), ids=HOSTILE)
def test_values_in_a_history(tmp_path, literal):
    content = {
        "loss": [0.5, 0.3],
        "val_loss": [0.6, None],
        "epoch_seconds": [1.5, 1.0],
        "best_epoch": 1,
        "status": "ok",
    }
    for place in damage.places(content):
        path = tmp_path / "history.json"
        path.write_text(with_literal(content, place, literal))
        assert damage.outcome(samples.read_status, path, damage.content_of("ok")) in ("refused", "same")
        try:
            history = text.read_json(path)
        except InputError:
            continue
        if artifacts._is_history(history):
            np.array([*history["loss"], *history["val_loss"]], float)
            assert np.isfinite(np.sum(history["epoch_seconds"]))


@pytest.mark.parametrize("content", ["", " ", "null", "3", "[]", "{}", '"x"', "{", "\x00", "9" * 5000, "[" * 100000])
def test_json_that_is_no_object(tmp_path, content):
    path = tmp_path / "history.json"
    path.write_text(content)
    assert damage.outcome(samples.read_status, path) == "refused"


def test_a_file_is_named_once():
    inner, outer = files.error_context("some.npz"), files.error_context("some.npz")
    with pytest.raises(InputError, match=r"^some.npz: wrong$"), outer, inner:
        raise InputError("wrong")
