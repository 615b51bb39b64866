import hashlib
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import asdict, fields

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import ptycho
from ptycho.config.schema import BaselineConfig, PinnConfig
from ptycho.data.dataset import Dataset
from ptycho.errors import InputError
from ptycho.io.text import read_json
from ptycho.models import baseline, pinn, serialization
from ptycho.models.inference import reconstruct_patches
from ptycho.physics.probes import defocused_probe

SIDE = 16
PATTERNS = np.random.default_rng(0).gamma(0.5, 1, (5, SIDE, SIDE)).astype(np.float32)
HISTORY = {"loss": [0.3, float("nan")], "status": "diverged"}
KINDS = ("pinn", "baseline")


def make(kind, policy="float32"):
    """Return a model whose every weight is its own, and its parameters."""
    module, section = (pinn, PinnConfig) if kind == "pinn" else (baseline, BaselineConfig)
    config = section(0.125, projections=0, convolution_activation="relu")
    model = module.build(defocused_probe(SIDE, np.random.default_rng(1)), config, policy=policy)
    rng = np.random.default_rng(2)
    for weight in model.weights:
        weight.assign(weight + rng.normal(0, 0.1, weight.shape))
    params = {"model": kind, "window_px": SIDE, "precision": policy, "config": asdict(config), "scan_index": [3, 1]}
    return model, params


def predict(model):
    return np.stack([model(PATTERNS)["amplitude"], model(PATTERNS)["phase"]])


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Return, for each kind, the files of its archive by name, and what the model predicted."""
    archives = {}
    for kind in KINDS:
        directory = tmp_path_factory.mktemp(kind)
        model, params = make(kind)
        serialization.save(directory, model, params, HISTORY)
        archives[kind] = {path.name: path.read_bytes() for path in directory.iterdir()}, predict(model)
    return archives


def unpack(archives, kind, directory):
    files, predicted = archives[kind]
    directory.mkdir(exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return predicted


@pytest.fixture(params=KINDS)
def saved(request, stored, tmp_path):
    """Return kind, directory and predictions of an archive that a test may change."""
    return request.param, tmp_path, unpack(stored, request.param, tmp_path)


@pytest.fixture
def saved_pinn(stored, tmp_path):
    """Return the directory of a PtychoPINN that a test may change."""
    unpack(stored, "pinn", tmp_path)
    return tmp_path


def refusal(directory, kind):
    with pytest.raises(InputError) as caught:
        serialization.load(directory, kind)
    message = str(caught.value)
    assert "\n" not in message
    assert str(directory) in message
    return message


# round trip ----------------------------------------------------------------------------------------------


def test_the_files_of_an_archive(saved):
    kind, directory, _ = saved
    model = {"pinn": "wts.h5.zip", "baseline": "baseline_model.h5"}[kind]
    names = sorted([model, "history.dill", "history.json", "params.dill", "params.json"])
    assert sorted(path.name for path in directory.iterdir()) == names
    assert read_json(directory / "history.json") == {"loss": [0.3, None], "status": "diverged"}
    assert read_json(directory / "params.json")["scan_index"] == [3, 1]


def test_a_model_comes_back_as_it_was(saved):
    kind, directory, predicted = saved
    model, params = serialization.load(directory, kind)
    np.testing.assert_array_equal(predict(model), predicted)
    assert predicted.std() > 0.1
    assert params == read_json(directory / "params.json")


def test_no_pickle_is_read(saved):
    kind, directory, predicted = saved
    for path in directory.iterdir():
        if path.name != serialization.FILES[kind]:
            path.unlink()
    np.testing.assert_array_equal(predict(serialization.load(directory, kind)[0]), predicted)


IN_A_NEW_PROCESS = """
import sys
import numpy as np
from ptycho.models import serialization
import dill, pickle
from pathlib import Path

def refuse(*arguments, **options):
    raise AssertionError("a pickle was read")

pickle.load = pickle.loads = pickle.Unpickler = dill.load = dill.loads = dill.Unpickler = refuse
for kind in ("pinn", "baseline"):
    directory = Path(sys.argv[1]) / kind
    model, _ = serialization.load(directory, kind)
    predicted = model(np.load(sys.argv[2]))
    np.save(directory / "predicted.npy", np.stack([predicted["amplitude"], predicted["phase"]]))
"""


def test_a_new_process_predicts_the_same(stored, tmp_path):
    np.save(tmp_path / "patterns.npy", PATTERNS)
    predicted = {kind: unpack(stored, kind, tmp_path / kind) for kind in KINDS}
    command = [sys.executable, "-c", IN_A_NEW_PROCESS, str(tmp_path), str(tmp_path / "patterns.npy")]
    subprocess.run(command, check=True, timeout=120)
    for kind in KINDS:
        np.testing.assert_allclose(np.load(tmp_path / kind / "predicted.npy"), predicted[kind], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_precision_comes_back(kind, tmp_path):
    model, params = make(kind, "mixed_bfloat16")
    serialization.save(tmp_path, model, params, HISTORY)
    loaded, _ = serialization.load(tmp_path, kind)
    assert loaded.network.get_layer("encoder_conv0a").compute_dtype == "bfloat16"
    np.testing.assert_array_equal(predict(loaded), predict(model))


VARIANTS = [
    {"gridsize": 2, "projections": 2},
    {"convolution_activation": "silu"},
    {"convolution_activation": "relu"},
    {"projections": 3, "pattern_weight": 0.5},
    {"gridsize": 2, "amplitude_activation": "sigmoid"},
    {"amplitude_activation": "exponential"},
    {"trainable_probe": True, "amplitude_weight": 0.5, "real_space_weight": 0.0},
]


@pytest.fixture
def eager():
    """A single batch does not pay for compiling it."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("eager")
def test_a_model_of_any_configuration_comes_back_and_reconstructs_the_same(kind, changes, tmp_path):
    module, section = (pinn, PinnConfig) if kind == "pinn" else (baseline, BaselineConfig)
    known = {field.name for field in fields(section)}
    config = section(n_filters_scale=0.125, **{key: value for key, value in changes.items() if key in known})
    model = module.build(defocused_probe(SIDE, np.random.default_rng(1)), config)
    rng = np.random.default_rng(2)
    for weight in model.weights:
        weight.assign(weight + rng.normal(0, 0.1, weight.shape))
    params = {"model": kind, "window_px": SIDE, "precision": "float32", "config": asdict(config)}
    serialization.save(tmp_path, model, params, HISTORY)
    loaded, read = serialization.load(tmp_path, kind)
    assert section(**read["config"]) == config
    assert [weight.path for weight in loaded.trainable_weights] == [weight.path for weight in model.trainable_weights]
    for one, other in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    x, y = rng.uniform(0, 20, (2, 5))
    scan = Dataset(PATTERNS, x, y, np.ones((SIDE, SIDE), np.complex64), None, None, np.arange(5))
    patches = reconstruct_patches(model, scan)
    assert patches.std() > 0.1
    np.testing.assert_array_equal(reconstruct_patches(loaded, scan), patches)


def test_a_model_of_before_there_were_these_keys_takes_single_patterns_and_has_relu_and_no_projections(saved):
    kind, directory, predicted = saved
    rewrite(kind, directory, config={"n_filters_scale": 0.125})
    np.testing.assert_array_equal(predict(serialization.load(directory, kind)[0]), predicted)


def test_parameters_may_be_long(tmp_path):
    model, params = make("baseline")
    params["scan_index"] = list(range(20_000))  # more than the 64 KiB of a plain HDF5 attribute
    serialization.save(tmp_path, model, params, HISTORY)
    assert serialization.load(tmp_path, "baseline")[1]["scan_index"] == params["scan_index"]


def test_the_same_model_gives_the_same_bytes(saved):
    kind, directory, _ = saved
    path = directory / serialization.FILES[kind]
    before = path.read_bytes()
    model, params = make(kind)
    serialization.save(directory, model, params, HISTORY)
    assert path.read_bytes() == before


def test_versions_are_those_that_run():
    versions = serialization.versions()
    assert versions["ptycho"] == ptycho.__version__
    assert versions["keras"] == keras.__version__
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"numpy", "tensorflow"} <= set(versions)


# bad input -----------------------------------------------------------------------------------------------


def test_no_model_there(saved):
    kind, directory, _ = saved
    (directory / serialization.FILES[kind]).unlink()
    assert f"no {serialization.FILES[kind]} there; expected the output directory of a {kind}" in refusal(
        directory, kind
    )
    assert "no " in refusal(directory / "nowhere", kind)


def test_a_model_of_the_other_kind(saved):
    kind, directory, _ = saved
    other = KINDS[1 - KINDS.index(kind)]
    assert serialization.FILES[other] in refusal(directory, other)
    (directory / serialization.FILES[kind]).rename(directory / serialization.FILES[other])
    refusal(directory, other)


def test_parameters_of_the_other_kind(saved):
    kind, directory, _ = saved
    rewrite(kind, directory, model=KINDS[1 - KINDS.index(kind)])
    assert f"not a {kind} model of this project" in refusal(directory, kind)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"not a model", "damaged"),
        (b"PK\x03\x04 cut short", "damaged"),
        (b"\x89HDF\r\n\x1a\n cut short", "damaged"),
    ],
)
def test_a_file_that_is_no_model(saved, content, message):
    kind, directory, _ = saved
    (directory / serialization.FILES[kind]).write_bytes(content)
    assert message in refusal(directory, kind)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_cut_short(saved, share):
    kind, directory, _ = saved
    path = directory / serialization.FILES[kind]
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "damaged" in refusal(directory, kind)


def test_a_foreign_h5(saved):
    kind, directory, _ = saved
    foreign = directory / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file["kernel"] = np.zeros(3)
        file.attrs["model_config"] = '{"class_name": "Lambda"}'
    content = foreign.read_bytes()
    if kind == "baseline":
        (directory / serialization.FILES[kind]).write_bytes(content)
        assert "not a baseline model" in refusal(directory, kind)
    else:
        rezip(directory, {"weights.h5": content})
        assert "weights do not fit" in refusal(directory, kind)


def test_a_model_that_keras_saved(saved):
    kind, directory, _ = saved
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Dense(1)(inputs)).save(directory / "other.keras")
    (directory / "other.keras").replace(directory / serialization.FILES[kind])
    refusal(directory, kind)


@pytest.mark.parametrize("member", ["weights.h5", "params.json"])
def test_a_damaged_member_does_not_match_its_checksum(saved_pinn, member):
    content = bytearray(zip_members(saved_pinn)[member])
    content[len(content) // 2] ^= 1
    rezip(saved_pinn, {member: bytes(content)}, checksums=False)
    assert f"{member} does not match its checksum" in refusal(saved_pinn, "pinn")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"{}", "checksum"),
        (b"[]", "checksum"),
        (b'{"sha256": {}}', "checksum"),
        (b'{"sha256": 3}', "checksum"),
        (b"not json", "not valid JSON"),
    ],
)
def test_a_manifest_without_checksums(saved_pinn, manifest, message):
    rezip(saved_pinn, {"manifest.json": manifest}, checksums=False)
    assert message in refusal(saved_pinn, "pinn")


@pytest.mark.parametrize("change", [{"evil.py": b"1"}, {"params.json": None}])
def test_members_that_do_not_belong_or_are_missing(saved_pinn, change):
    rezip(saved_pinn, change, checksums=False)
    assert "expected manifest.json, params.json, weights.h5" in refusal(saved_pinn, "pinn")


def zip_members(directory):
    with zipfile.ZipFile(directory / "wts.h5.zip") as file:
        return {name: file.read(name) for name in file.namelist()}


def rezip(directory, changes, checksums=True):
    """Replace members of a wts.h5.zip, None for none, with checksums to match."""
    members = {name: content for name, content in (zip_members(directory) | changes).items() if content is not None}
    if checksums:
        manifest = json.loads(members["manifest.json"])
        manifest["sha256"] = {
            name: hashlib.sha256(content).hexdigest() for name, content in members.items() if name != "manifest.json"
        }
        members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(directory / "wts.h5.zip", "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


MISSING = object()


def rewrite(kind, directory, **changes):
    """Edit the parameters inside a model file, as someone who knows the format would."""
    params = read_json(directory / "params.json") | changes
    text = json.dumps({key: value for key, value in params.items() if value is not MISSING})
    if kind == "pinn":
        rezip(directory, {"params.json": text.encode()})
        return
    with h5py.File(directory / serialization.FILES[kind], "r+") as file:
        file.attrs["params"] = text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_px": 32}, r"weights do not fit the model its parameters describe, e.g. \S*probe \(16, 16, 2\)"),
        ({"window_px": 20}, "do not describe a model"),
        ({"window_px": 0}, "do not describe a model"),
        ({"window_px": -8}, "do not describe a model"),
        ({"window_px": "wide"}, "do not describe a model"),
        ({"window_px": MISSING}, "window_px"),
        ({"precision": "float1"}, "float1"),
        ({"precision": MISSING}, "precision"),
        ({"config": {"n_filters_scale": 0.25}}, "weights do not fit"),
        ({"config": {"n_filters_scale": 0.125, "gridsize": 2}}, "weights do not fit"),
        ({"config": {"n_filters_scale": 0.125, "gridsize": 0}}, "gridsize"),
        ({"config": {"n_filters_scale": 0.125, "amplitude_activation": "relu"}}, "amplitude_activation"),
        ({"config": {"n_filters_scale": 0.125, "convolution_activation": "tanh"}}, "convolution_activation"),
        ({"config": {"n_filters_scale": -1}}, "n_filters_scale"),
        ({"config": {"n_filter_scale": 1}}, "n_filter_scale"),
        ({"config": None}, "do not describe a model"),
        ({"config": MISSING}, "config"),
    ],
)
def test_parameters_that_do_not_fit(saved_pinn, changes, message):
    rewrite("pinn", saved_pinn, **changes)
    assert re.search(message, refusal(saved_pinn, "pinn"))


def test_parameters_that_do_not_fit_a_baseline(stored, tmp_path):
    unpack(stored, "baseline", tmp_path)
    rewrite("baseline", tmp_path, window_px=32)
    assert "weights do not fit the model its parameters describe" in refusal(tmp_path, "baseline")


def test_other_weights_are_loaded_where_they_fit(saved):
    # what makes the tests above mean something: a rewritten archive that is consistent does load
    kind, directory, predicted = saved
    rewrite(kind, directory, note="mine")
    model, params = serialization.load(directory, kind)
    assert params["note"] == "mine"
    np.testing.assert_array_equal(predict(model), predicted)
