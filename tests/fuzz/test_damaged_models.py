"""Damaged and hostile model files and checkpoints: refused, or ignored with a warning; see damage.py.

The hostile files are those of the advisories on loading models with Keras: a Lambda layer in a model configuration
(CVE-2024-3660), safe_mode that is bypassed by the configuration (CVE-2025-1550), that is ignored for HDF5
(CVE-2025-9905), that the archive itself switches off (CVE-2025-9906), a get_file that unpacks outside of its
directory (CVE-2025-12060), an HDF5 file that refers to files of this machine (CVE-2026-1669), one that states a huge
shape (CVE-2026-0897), and a vocabulary that is read from a path (CVE-2025-12058).
"""

import base64
import functools
import hashlib
import io
import json
import marshal
import zipfile
from dataclasses import asdict

import damage
import h5py
import keras
import numpy as np
import pytest

from ptycho.config.schema import BaselineConfig, PinnConfig, TrainingConfig
from ptycho.errors import InputError
from ptycho.io import files, hdf5, text
from ptycho.models import baseline, pinn, serialization
from ptycho.models.checkpoints import CheckpointCallback

SIDE, KINDS = 8, ("pinn", "baseline")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Return, for each kind, its model file and the weights in it."""
    found = {}
    for kind, module, section in (("pinn", pinn, PinnConfig), ("baseline", baseline, BaselineConfig)):
        config = section(n_filters_scale=0.125, projections=0)
        model = module.build(np.ones((SIDE, SIDE), np.complex64), config)
        params = {
            "model": kind,
            "window_px": SIDE,
            "precision": "float32",
            "config": asdict(config),
            "counts_scale": 2.0,
        }
        directory = tmp_path_factory.mktemp(kind)
        serialization.save(directory, model, params, {"status": "ok"})
        found[kind] = directory / serialization.FILES[kind], [np.asarray(weight) for weight in model.weights]
    return found


def load(path):
    """Load a model, and return its weights."""
    kind = next(kind for kind, name in serialization.FILES.items() if name == path.name)
    model, params = serialization.load(path.parent, kind)
    return [np.asarray(weight) for weight in model.weights], params["counts_scale"]


@pytest.mark.parametrize("kind", KINDS)
def test_damage_to_a_model_is_never_read_as_another_one(stored, tmp_path, kind):
    path, weights = stored[kind]
    content, expected = path.read_bytes(), damage.content_of((weights, 2.0))
    assert damage.outcome(load, path, expected) == "same"
    found = {}
    for seed in range(40):
        (tmp_path / path.name).write_bytes(damage.damaged(content, seed))
        found[seed] = damage.outcome(load, tmp_path / path.name, expected)
    assert set(found.values()) <= {"refused", "same"}
    assert list(found.values()).count("refused") > 30


def test_every_flipped_bit_of_a_baseline_is_noticed(stored, tmp_path):
    path, _ = stored["baseline"]
    content = path.read_bytes()
    whole = len(content.rpartition(files.CHECKSUM)[0])
    for place in np.random.default_rng(0).integers(whole, size=60):
        changed = bytearray(content)
        changed[place] ^= 4
        (tmp_path / path.name).write_bytes(changed)
        with pytest.raises(InputError, match="does not match its checksum"):
            load(tmp_path / path.name)


def test_a_baseline_of_an_earlier_version_is_read_with_a_warning(stored, tmp_path, caplog):
    path, weights = stored["baseline"]
    (tmp_path / path.name).write_bytes(path.read_bytes().rpartition(files.CHECKSUM)[0])
    found, _ = load(tmp_path / path.name)
    assert "without a checksum" in caplog.text
    for one, other in zip(found, weights, strict=True):
        np.testing.assert_array_equal(one, other)


# parameters ---------------------------------------------------------------------------------------------


def rewritten(stored, directory, kind, params=None, weights=None):
    """Write a model with other parameters (JSON text) or weights (HDF5), its checksums to match; return its path."""
    path, _ = stored[kind]
    target = directory / path.name
    if kind == "pinn":
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in ("weights.h5", "params.json")}
        members |= {} if params is None else {"params.json": params.encode()}
        members |= {} if weights is None else {"weights.h5": weights}
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
        members["manifest.json"] = json.dumps({"sha256": sums}).encode()
        files.write_zip(target, members)
        return target
    content = path.read_bytes().rpartition(files.CHECKSUM)[0] if weights is None else weights
    buffer = io.BytesIO(content)
    if params is not None:
        with h5py.File(buffer, "r+") as file:
            file.attrs["params"] = params
    target.write_bytes(files.with_checksum(buffer.getvalue()))
    return target


@functools.cache
def params_in(directory, kind):
    return serialization.load(directory, kind)[1]  # builds the network


def params_of(stored, kind):
    path, _ = stored[kind]
    return params_in(path.parent, kind)


HOSTILE = [
    ("counts_scale", '"x"'), ("counts_scale", "NaN"), ("counts_scale", "-1"), ("counts_scale", "1e999"),
    ("counts_scale", "[1]"), ("counts_scale", "9" * 5000), ("counts_scale", "9" * 400), ("counts_scale", "true"),
    ("window_px", "1e999"), ("window_px", '"8"'), ("window_px", "8.5"), ("window_px", "800000"), ("window_px", "true"),
    ("window_px", "9" * 400), ("precision", "[]"), ("precision", '"float64x"'), ("config", "[]"), ("config", '"x"'),
    ("config", '{"n_filters_scale": 1e6}'), ("config", '{"n_filters_scale": 1e300}'),
    ("config", '{"n_filters_scale": "1"}'),
    ("config", '{"n_filters_scale": NaN}'), ("config", '{"gridsize": 100000}'), ("config", "9" * 5000),
    ("config", '{"n_filters_scale": 0.125, "amplitude_activation": "lambda x: x"}'), ("model", "null"),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("key", "literal"), HOSTILE, ids=[f"{key}-{literal[:30]}" for key, literal in HOSTILE])
def test_parameters_are_checked_before_memory_is_taken(stored, tmp_path, kind, key, literal):
    params = json.dumps(params_of(stored, kind) | {key: "PLACE"}).replace('"PLACE"', literal)
    assert damage.outcome(load, rewritten(stored, tmp_path, kind, params)) == "refused"


def test_rewritten_models_load_where_nothing_is_changed(stored, tmp_path):
    for kind in KINDS:
        path = rewritten(stored, tmp_path, kind, json.dumps(params_of(stored, kind)))
        assert damage.outcome(load, path, damage.content_of((stored[kind][1], 2.0))) == "same"


# the advisories on Keras --------------------------------------------------------------------------------


def ran():
    open("ran", "w").close()


def lambda_config(safe=False):
    """Return the configuration of a model whose Lambda layer writes a file when it is built."""
    code = base64.b64encode(marshal.dumps(ran.__code__)).decode()
    function = {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}
    layers = [
        {"class_name": "InputLayer", "config": {"batch_shape": [None, 2], "name": "in"}},
        {"class_name": "Lambda", "config": {"name": "evil", "function": function, "arguments": {}, "safe_mode": safe}},
    ]
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": layers, "safe_mode": safe}}


def keras_archive(config, weights=b"", **members):
    """Return a .keras archive of a configuration."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", json.dumps({"keras_version": keras.__version__}))
        archive.writestr("model.weights.h5", weights)
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def legacy_h5(config, fill=lambda file: None):
    """Return an HDF5 file as Keras 2 saved models."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs.update(model_config=json.dumps(config), keras_version="2.15.0", backend="tensorflow")
        file.create_group("model_weights").attrs["layer_names"] = ["evil"]
        fill(file)
    return buffer.getvalue()


def external(file):
    file.create_dataset("model_weights/evil/kernel", (4,), "u1", external=[("/etc/hostname", 0, 4)])


def virtual(file):
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "data", (3,))
    file.create_virtual_dataset("model_weights/evil/kernel", layout)


def linked(file):
    file["model_weights/evil/kernel"] = h5py.ExternalLink("/etc/hostname", "data")


def huge(file):
    file.create_dataset("model_weights/evil/kernel", (1 << 20, 1 << 20), "f4", chunks=(64, 64))


MODULE = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
DISABLE = {
    "module": "keras.config", "class_name": "function", "config": "enable_unsafe_deserialization",
    "registered_name": "enable_unsafe_deserialization",
}  # fmt: skip
VOCABULARY = {"class_name": "StringLookup", "config": {"name": "words", "vocabulary": "/etc/passwd"}}
ADVISORIES = {
    "Lambda in .keras": lambda: keras_archive(lambda_config()),
    "Lambda in HDF5, where safe_mode is ignored": lambda: legacy_h5(lambda_config(safe=True)),
    "a module of Python in the configuration": lambda: keras_archive({**lambda_config(), **MODULE}),
    "safe_mode switched off by the archive": lambda: keras_archive({"class_name": "Sequential", "config": {
        "name": "m", "layers": [{"class_name": "Lambda", "config": {"function": DISABLE}}, lambda_config()]}}),
    "members outside of the directory": lambda: keras_archive(
        lambda_config(), **{"../../ran": b"x", "assets/../../ran": b"x"}),
    "a vocabulary of this machine": lambda: keras_archive({"class_name": "Sequential", "config": {
        "layers": [VOCABULARY]}}),
    "weights of another file": lambda: legacy_h5(lambda_config(), external),
    "virtual weights": lambda: legacy_h5(lambda_config(), virtual),
    "linked weights": lambda: legacy_h5(lambda_config(), linked),
    "a huge shape": lambda: legacy_h5(lambda_config(), huge),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", ADVISORIES.values(), ids=ADVISORIES)
def test_the_hostile_files_of_the_advisories(stored, tmp_path, monkeypatch, kind, make):
    """As the model file itself, and as the weights in one whose checksums are right."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / serialization.FILES[kind]
    path.write_bytes(make())
    assert damage.outcome(load, path) == "refused"
    path.write_bytes(files.with_checksum(make()))
    assert damage.outcome(load, path) == "refused"
    assert damage.outcome(load, rewritten(stored, tmp_path / "in", "pinn", weights=make())) == "refused"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in"]
    assert keras.config.backend() == "tensorflow"


def test_hostile_layers_of_a_model_that_is_otherwise_one_of_ours(stored, tmp_path):
    """Nothing of a model's configuration but numbers and known words is used."""
    for kind in KINDS:
        params = params_of(stored, kind)
        for extra in (
            {"config": {**params["config"], "function": lambda_config()}},
            {"precision": json.dumps(DISABLE)},
        ):
            path = rewritten(stored, tmp_path, kind, json.dumps(params | extra))
            assert damage.outcome(load, path) == "refused"


@pytest.mark.parametrize("fill", [external, virtual, huge])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_refer_elsewhere(stored, tmp_path, kind, fill):
    """An otherwise right file of weights, with one dataset more."""
    _, weights = stored[kind]
    buffer = io.BytesIO(hdf5.pack_h5({"a": weights[0]}, {"params": json.dumps(params_of(stored, kind))}))
    with h5py.File(buffer, "r+") as file:
        fill(file)
    assert damage.outcome(load, rewritten(stored, tmp_path, kind, weights=buffer.getvalue())) == "refused"


# checkpoints --------------------------------------------------------------------------------------------


def compiled():
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.Adam(1e-3), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Return the content of a checkpoint after two epochs of four."""
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint-1.h5"
    callback = CheckpointCallback(TrainingConfig(epochs=4), "val_loss", path)
    callback.set_model(compiled())
    for epoch, loss in enumerate((0.5, 0.25)):
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, {"loss": loss, "val_loss": loss})
    return path.read_bytes()


def resumed(path):
    """Resume from a checkpoint, and return all that the further training depends on."""
    callback = CheckpointCallback(TrainingConfig(epochs=4), "val_loss", path)
    model = compiled()
    done = callback.resume(model)
    return done, callback.history, callback.best_weights, [np.asarray(variable) for variable in callback._state()]


def test_damage_to_a_checkpoint_is_never_resumed_from(checkpoint, tmp_path):
    path = tmp_path / "checkpoint-1.h5"
    path.write_bytes(checkpoint)
    whole = resumed(path)
    assert whole[0] == 2
    expected, found = damage.content_of(whole), {}
    for seed in range(24):
        path.write_bytes(damage.damaged(checkpoint, seed))
        found[seed] = damage.outcome(resumed, path, expected)
    assert set(found.values()) <= {"warned", "same"}
    assert list(found.values()).count("warned") > 18


CHANGES = {
    "seconds": np.ones(3), "seconds of two axes": np.ones((2, 1)), "no seconds": None, "many seconds": np.ones(5),
    "history/loss": np.ones((2, 2)), "history/val_loss": np.ones(1),
    "history/val_loss of whole numbers": np.ones(2, int),
    "history/val_loss missing": None, "state/0000": np.ones((2, 3), np.float32), "state/0001": np.ones(2, np.complex64),
    "state/0001 missing": None, "best/0000": np.ones(7, np.float32), "best/0001 missing": None,
    "seconds infinite": np.array([1, np.inf]), "seconds negative": np.array([1.0, -1]),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_arrays_of_another_shape_in_a_checkpoint(checkpoint, tmp_path, caplog, name):
    arrays, attributes = hdf5.unpack_h5(files.without_checksum(checkpoint, "c")[0], "c")
    key = name.removeprefix("no ").removeprefix("many ").split(" ")[0]
    arrays = {k: v for k, v in arrays.items() if k != key} | ({} if CHANGES[name] is None else {key: CHANGES[name]})
    path = tmp_path / "checkpoint-1.h5"
    path.write_bytes(files.with_checksum(hdf5.pack_h5(arrays, attributes)))
    assert resumed(path)[0] == 0
    assert "is ignored" in caplog.text


@pytest.mark.parametrize(
    "progress",
    ["9" * 5000, "[]", '{"ended": 1}', "{}", "null", "", '{"ended": ' + "9" * 5000 + "}", "[" * 5000, "\ud800"],
)
def test_the_state_in_a_checkpoint(checkpoint, tmp_path, caplog, progress):
    arrays, _ = hdf5.unpack_h5(files.without_checksum(checkpoint, "c")[0], "c")
    path = tmp_path / "checkpoint-1.h5"
    attribute = progress.encode("utf-8", "surrogatepass")
    path.write_bytes(files.with_checksum(hdf5.pack_h5(arrays, {"progress": np.bytes_(attribute)})))
    assert resumed(path)[0] == 0
    assert "is ignored" in caplog.text
    assert text.as_json({}) == "{}\n"


def test_a_checkpoint_without_a_checksum_is_ignored(checkpoint, tmp_path, caplog):
    path = tmp_path / "checkpoint-1.h5"
    path.write_bytes(files.without_checksum(checkpoint, "c")[0])
    assert resumed(path)[0] == 0
    assert "it has no checksum" in caplog.text
