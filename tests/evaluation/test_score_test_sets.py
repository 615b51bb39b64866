"""The command that scores test sets, on a small network that nobody trained."""

import importlib
import json
from dataclasses import replace

import numpy as np
import pytest

from ptycho.commands.assumed import assumed, in_training_unit
from ptycho.config.test_sets import ProbeErrorConfig
from ptycho.data.dataset import Dataset
from ptycho.data.metadata import Metadata
from ptycho.errors import InputError
from ptycho.io import npz, text
from ptycho.models import inference
from ptycho.physics.patches import extract_patches
from ptycho.physics.probes import PROBES
from ptycho.preparation.load import load_scan

SIDE, SHAPE, COUNT = 16, (70, 80), 50
UNIT = 3.0  # counts_scale of the training


@pytest.fixture
def known():
    """A scan of a known object."""
    rng = np.random.default_rng(1)
    image = np.exp(0.6j * rng.standard_normal(SHAPE)).astype(np.complex64)
    x, y = rng.uniform(12, 66, COUNT), rng.uniform(12, 56, COUNT)
    probe = PROBES["gaussian"](SIDE, rng)
    waves = np.fft.fft2(probe * extract_patches(image, x, y, SIDE)) / SIDE
    return Dataset(
        diffraction=np.abs(np.fft.fftshift(waves, axes=(-2, -1))).astype(np.float32),
        xcoords=x, ycoords=y, probe=probe, object=image, patches=None, scan_index=np.arange(COUNT),
        metadata=Metadata(counts_scale=UNIT, n_photons=100.0),
    )  # fmt: skip


@pytest.fixture
def score(trained, known, tmp_path):
    """Score sets, by name, on one dataset; return the metrics of each, indexed by model and metric."""
    command = importlib.import_module("ptycho.commands.score_test_sets")

    def call(sets, dataset=known, *words):
        npz.write_dataset(tmp_path / "test.npz", dataset)
        npz.write_dataset(tmp_path / "train.npz", known)
        flags = []
        for name, given in sets.items():
            flags += ["--set", json.dumps({"name": name, "data": str(tmp_path / "test.npz"), **given})]
        words = ("--pinn_dir", trained, "--train_data", tmp_path / "train.npz", "--output_dir", tmp_path / "out",
                 "--dpi", 60, "--stitch_crop_px", 12, *flags, *words)  # fmt: skip
        command.main(command.build_parser().parse_args([str(word) for word in words]))
        paths = {name: tmp_path / "out" / f"test_{name}" for name in sets}
        return {
            name: text.read_csv(path / "comparison_metrics.csv").set_index(["model", "metric"])
            for name, path in paths.items()
        }

    return call


def held_out_score(trained, known, tmp_path):
    """Return what the comparison of the held-out half gives."""
    compare = importlib.import_module("ptycho.commands.compare")
    npz.write_dataset(tmp_path / "own.npz", known)
    words = ["--pinn_dir", trained, "--test_data", tmp_path / "own.npz", "--output_dir", tmp_path / "own",
             "--dpi", "60", "--stitch_crop_px", "12"]  # fmt: skip
    compare.main(compare.build_parser().parse_args([str(word) for word in words]))
    table = text.read_csv(tmp_path / "own" / "comparison_metrics.csv").set_index(["model", "metric"])
    return table, npz.read_npz(tmp_path / "own" / "reconstructions.npz")


def same(a, b):
    values = ["amplitude", "phase", "value"]
    a, b = (table.drop(index="computation_time_s", level="metric") for table in (a, b))
    np.testing.assert_array_equal(a[values].to_numpy(), b[values].to_numpy())
    assert a["status"].tolist() == b["status"].tolist()


def test_an_error_of_zero_changes_no_digit(score, trained, known, tmp_path):
    expected, objects = held_out_score(trained, known, tmp_path)
    zero = dict.fromkeys(("defocus_rad", "amplitude_blur_px", "phase_noise_rad", "shift_px", "position_jitter_px"), 0.0)
    found = score({"zero": {"held_out": True, "probe_error": zero}})
    same(found["zero"], expected)
    for name, array in npz.read_npz(tmp_path / "out" / "test_zero" / "reconstructions.npz").items():
        np.testing.assert_array_equal(array, objects[name])


def test_zero_leaves_the_scan_itself(known):
    assert assumed(known, ProbeErrorConfig(), 1) is known


def test_an_error_is_told_and_the_data_stay(known):
    wrong = assumed(known, ProbeErrorConfig(defocus_rad=2, position_jitter_px=0.5), 1)
    np.testing.assert_array_equal(wrong.diffraction, known.diffraction)
    assert np.abs(wrong.probe - known.probe).max() > 0.05
    assert 0.1 < np.std(wrong.xcoords - known.xcoords) < 1
    again = assumed(known, ProbeErrorConfig(defocus_rad=2, position_jitter_px=0.5), 1)
    np.testing.assert_array_equal(again.xcoords, wrong.xcoords)
    np.testing.assert_array_equal(again.probe, wrong.probe)


@pytest.fixture
def networks(monkeypatch):
    """Return the probes that the network held in each inference, by which the patches it gives back differ."""
    from ptycho.models import probe_weights

    seen = []

    def patches_of(model, dataset):
        seen.append(probe_weights.network_probe(model))
        return np.exp(1j * dataset.diffraction[:] * (1 + np.abs(seen[-1]))).astype(np.complex64)

    monkeypatch.setattr(inference, "reconstruct_patches", patches_of)
    return seen


def test_network_and_stitching_are_told_the_wrong_probe_or_the_stitching_alone(score, networks, tmp_path):
    error = {"probe_error": {"shift_px": 3.0}}
    sets = {
        "wrong": error,
        "twin": {**error, "network_is_exact": True},
        "jitter": {"probe_error": {"position_jitter_px": 2}},
    }
    found = score(sets)
    assert len(networks) == 2  # patches under the exact probe serve the twin and the jitter
    wrong, exact = networks
    true = load_scan(tmp_path / "test.npz").probe
    np.testing.assert_array_equal(exact, true)
    np.testing.assert_allclose(wrong, np.roll(true, 3, axis=1), atol=1e-5)
    rmse = {name: table["phase"]["PtychoPINN", "rmse"] for name, table in found.items()}
    assert len(set(rmse.values())) == 3


def test_data_of_their_own_give_the_network_their_probe(score, networks, known, tmp_path):
    other = replace(known, probe=np.roll(known.probe, 1, axis=0))
    score({"probe": {}}, other)
    np.testing.assert_array_equal(networks[0], load_scan(tmp_path / "test.npz").probe)
    networks.clear()
    score({"own": {"held_out": True}}, other)
    np.testing.assert_array_equal(networks[0], np.zeros((SIDE, SIDE)))  # that of its training, here of nobody


def test_the_network_is_given_its_probe_back(trained):
    from ptycho.models import probe_weights, serialization

    model, _ = serialization.load(trained, "pinn")
    before = probe_weights.network_probe(model)
    with probe_weights.assumed_probe(model, np.ones((SIDE, SIDE), np.complex64)):
        np.testing.assert_array_equal(probe_weights.network_probe(model), 1)
        parts = [np.asarray(layer.parts) for layer in model.network.layers if layer.name in ("estimate", "projection")]
        assert len(parts) == 2
        for part in parts:
            np.testing.assert_array_equal(part[..., 0], 1)
    np.testing.assert_array_equal(probe_weights.network_probe(model), before)


def test_data_without_a_truth_give_pictures_and_no_score(score, networks, known, tmp_path):
    found = score({"scan": {}}, replace(known, object=None))
    assert set(found["scan"]["status"]) == {"no_truth"}
    assert found["scan"][["amplitude", "phase"]].isna().all(axis=None)
    assert (tmp_path / "out" / "test_scan" / "comparison_plot.png").stat().st_size > 1000


def test_the_refined_arm_starts_from_the_model_of_the_set(score, networks, known):
    found = score({"a": {}, "twin": {"probe_error": {"shift_px": 1.0}, "network_is_exact": True}}, known,
                  "--refined", "--refined_iterations", 1)  # fmt: skip
    assert set(found["a"].index.get_level_values(0)) == {"PtychoPINN", "Refined"}
    assert set(found["twin"].index.get_level_values(0)) == {"PtychoPINN"}


def test_the_iterative_arm_is_that_of_the_set(score, networks, known, tmp_path):
    npz.write_npz(tmp_path / "it" / "reconstruction.npz", {"reconstructed_object": known.object})
    found = score({"a": {"iterative_dir": str(tmp_path / "it")}})
    assert found["a"]["phase"]["Iterative", "rmse"] == pytest.approx(0, abs=1e-5)


def test_doses_are_divided_out(known):
    brighter = replace(known, metadata=replace(known.metadata, n_photons=400.0, counts_scale=2 * UNIT * 1.1))
    scaled = in_training_unit(brighter, known.metadata)
    # 4 times the photons are twice the amplitude; the rest, 1.1, is a brighter object
    assert scaled.metadata.counts_scale == pytest.approx(1.1 * UNIT)
    measured = replace(known, metadata=Metadata(counts_scale=77.0))
    assert in_training_unit(measured, known.metadata).metadata.counts_scale == UNIT  # in its own mean energy


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("[", "not JSON"),
        ('{"name": "a"}', "expected a JSON object with name and data"),
        ('{"name": "a", "data": "x.npz", "probe_error": {"defocus_rad": -1e9}}', "--set a: probe_error.defocus_rad is"),
    ],
)
def test_a_bad_set_is_one_line(word, message):
    command = importlib.import_module("ptycho.commands.score_test_sets")
    with pytest.raises(InputError, match=message):
        command.GivenSet.parse(word)


def retrieved(known, tmp_path, *words):
    command = importlib.import_module("ptycho.commands.iterative")
    npz.write_dataset(tmp_path / "test.npz", known)
    words = ("--test_data", tmp_path / "test.npz", "--output_dir", tmp_path / "it", "--iterations", 2, *words)
    command.main(command.build_parser().parse_args([str(word) for word in words]))
    return npz.read_npz(tmp_path / "it" / "reconstruction.npz")


def test_phase_retrieval_is_told_the_errors_and_zero_changes_no_digit(known, tmp_path):
    exact = retrieved(known, tmp_path)["reconstructed_object"]
    zero = retrieved(known, tmp_path, "--defocus_rad", 0, "--position_jitter_px", 0)["reconstructed_object"]
    np.testing.assert_array_equal(zero, exact)
    wrong = retrieved(known, tmp_path, "--defocus_rad", 2)
    assert np.abs(wrong["reconstructed_object"] - exact).max() > 0.01
    last = json.loads(str(wrong["metadata"]))["steps"][-1]["parameters"]
    assert last["defocus_rad"] == 2
    assert "shift_px" not in last


def test_positions_without_an_object_are_jittered_on_the_grid_of_the_true_ones(known, tmp_path):
    blind = replace(known, object=None)
    wrong = retrieved(blind, tmp_path, "--position_jitter_px", 2)["reconstructed_object"]
    assert wrong.shape == blind.object_shape


def test_errors_are_not_for_a_start_from_a_model(known, trained, tmp_path):
    with pytest.raises(InputError, match="give errors without --model_dir"):
        retrieved(known, tmp_path, "--model_dir", trained, "--shift_px", 1)
