import json
import sys
from dataclasses import asdict

import numpy as np
import pytest

from ptycho.config.schema import BaselineConfig, PinnConfig
from ptycho.errors import InputError
from ptycho.models import baseline, onnx_export, pinn, serialization
from ptycho.models.layers import MagnitudeProjection
from ptycho.physics.probes import defocused_probe

SIDE = 16
BAD = np.zeros((SIDE, SIDE), bool)
BAD[3, 5] = BAD[8, 8] = True
SECTIONS = {"pinn": (pinn, PinnConfig), "baseline": (baseline, BaselineConfig)}


def make(kind="pinn", policy="float32", **settings):
    """Return a model whose every weight but probe and mask was changed at random, and its parameters."""
    module, section = SECTIONS[kind]
    config = section(0.125, **settings)
    probe = defocused_probe(SIDE, np.random.default_rng(1))
    probe *= SIDE / 2 / np.sqrt(np.sum(np.abs(probe) ** 2))  # as in a dataset
    model = module.build(probe, config, policy=policy)
    rng = np.random.default_rng(2)
    for weight in model.network.weights:
        if weight.name not in ("probe", "valid_pixel_mask"):
            weight.assign(weight + rng.normal(0, 0.1, weight.shape))
    params = {
        "model": kind, "window_px": SIDE, "precision": policy, "config": asdict(config), "counts_scale": 12.5,
        "n_images": 4, "trial": 2,
    }  # fmt: skip
    return model, params


def patterns(model):
    return onnx_export.check_patterns(np.asarray(model.network.get_layer("estimate").probe))


def as_complex(amplitude, phase):
    return np.asarray(amplitude) * np.exp(1j * np.asarray(phase))


@pytest.mark.parametrize(
    ("kind", "settings", "bad_pixels"),
    [
        ("pinn", {}, None),
        ("pinn", {}, BAD),
        ("baseline", {"projections": 1, "amplitude_activation": "sigmoid"}, None),
        ("baseline", {"projections": 0, "amplitude_activation": "exponential"}, None),
        ("pinn", {"projections": 0, "convolution_activation": "leaky_relu"}, None),
    ],
)
def test_real_arithmetic_gives_what_the_network_gives(kind, settings, bad_pixels):
    model, _ = make(kind, **settings)
    for layer in model.network.layers:
        if isinstance(layer, MagnitudeProjection):
            layer.mask(bad_pixels)
    given = patterns(model)
    expected = model.network(given)
    found = onnx_export.real_arithmetic(model.network)(given[:, None])["object"].numpy()
    assert found.shape == (len(given), 2, SIDE, SIDE)
    assert np.std(as_complex(*found.transpose(1, 0, 2, 3))) > 0.1
    np.testing.assert_allclose(found[:, 0], expected["amplitude"], atol=2e-5)
    np.testing.assert_allclose(
        as_complex(found[:, 0], found[:, 1]), as_complex(expected["amplitude"], expected["phase"]), atol=2e-5
    )


def test_patterns_of_the_comparison_have_the_energy_of_a_dataset():
    model, _ = make()
    probe = np.asarray(model.network.get_layer("estimate").probe)
    energy = np.sum(patterns(model) ** 2, axis=(1, 2))
    np.testing.assert_allclose(energy, np.sum(np.abs(probe) ** 2), rtol=1e-4)
    assert np.std(patterns(model), axis=0).max() > 0.1  # each of another object


@pytest.fixture
def saved(tmp_path):
    """Return a function that saves a model and returns its directory."""

    def save(*words, **settings):
        model, params = make(*words, **settings)
        serialization.save(tmp_path / "model", model, params, {"loss": [0.1], "status": "ok"})
        return tmp_path / "model"

    return save


def test_the_extra_that_is_missing_is_named(saved, tmp_path, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    error = command("export_model")("--model_dir", saved(), "--output", tmp_path / "m.onnx")
    assert "install the extra onnx" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_what_cannot_be_exported_is_refused(saved, tmp_path, command):
    export, grouped = command("export_model"), saved(gridsize=2)
    assert "ends in .onnx" in export("--model_dir", grouped, "--output", tmp_path / "m.pt")
    assert "a group of 4 patterns" in export("--model_dir", grouped, "--output", tmp_path / "m.onnx")
    np.save(tmp_path / "mask.npy", BAD[:8, :8])
    error = export("--model_dir", saved(), "--output", tmp_path / "m.onnx", "--bad_pixels", tmp_path / "mask.npy")
    assert "a mask of shape (8, 8), expected that of a pattern, (16, 16)" in error
    assert "train a model" in export("--model_dir", tmp_path, "--output", tmp_path / "m.onnx")
    assert not list(tmp_path.glob("m.*"))


@pytest.mark.extras
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_onnxruntime_gives_what_the_model_gives(policy, saved, tmp_path, command):
    import onnxruntime

    directory, output = saved("baseline", policy), tmp_path / "new" / "m.onnx"
    np.save(tmp_path / "mask.npy", BAD)
    words = "--model_dir", directory, "--output", output, "--bad_pixels", tmp_path / "mask.npy"
    assert command("export_model")(*words) is None
    session = onnxruntime.InferenceSession(output)
    facts = json.loads(output.with_name("m.onnx.json").read_text())
    assert {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()} == facts
    assert facts["input"]["shape"] == ["n", 1, SIDE, SIDE]
    assert "(12.5)" in facts["input"]["unit"]
    model, _ = serialization.load(directory, "baseline", precision="float32")
    model.network.get_layer("projection").mask(BAD)
    given = patterns(model)[:3]  # another number than in the comparison
    found = session.run(["object"], {"diffraction": given[:, None]})[0].transpose(1, 0, 2, 3)
    expected = model.network(given)
    np.testing.assert_allclose(
        as_complex(*found), as_complex(expected["amplitude"], expected["phase"]), atol=10 * onnx_export.TOLERANCE
    )


@pytest.mark.extras
def test_an_exported_model_that_differs_is_not_written(monkeypatch):
    model, _ = make()
    monkeypatch.setattr(onnx_export, "MAGNITUDE_FLOOR", 0.1)  # of the exported one only
    with pytest.raises(InputError, match=r"differs from its original by \d"):
        onnx_export.converted(model.network, {})
