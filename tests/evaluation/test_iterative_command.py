"""The command that reconstructs without a network, or from one that nobody trained."""

import importlib
import json
from dataclasses import replace

import numpy as np
import pytest

from ptycho.data.metadata import Step
from ptycho.errors import InputError
from ptycho.io import npz, text
from ptycho.models import inference
from ptycho.physics import phase_retrieval
from ptycho.physics.stitching import Stitched

SHAPE = (80, 90)
TRUTH = np.exp(1j * np.random.default_rng(1).normal(0, 0.1, SHAPE)).astype(np.complex64)


@pytest.fixture
def command(monkeypatch):
    return importlib.import_module("ptycho.commands.iterative")


@pytest.fixture
def known(scan):
    """The test scan, with a truth that its patterns do not fit to."""
    return replace(scan, object=TRUTH, metadata=replace(scan.metadata, steps=(Step("split"),)))


@pytest.fixture
def retrieve(command, tmp_path):
    """Reconstruct a dataset, and return the arrays and the convergence."""

    def call(dataset, *words):
        npz.write_dataset(tmp_path / "test.npz", dataset)
        words = ("--test_data", tmp_path / "test.npz", "--output_dir", tmp_path / "out", "--stitch_crop_px", 12, *words)
        command.main(command.build_parser().parse_args([str(word) for word in words]))
        return npz.read_npz(tmp_path / "out" / "reconstruction.npz"), text.read_csv(
            tmp_path / "out" / "convergence.csv"
        )

    return call


@pytest.fixture
def given(monkeypatch):
    """Return what the retrieval is given: dataset, iterations, alpha, generator, start."""
    calls, run = [], phase_retrieval.reconstruct
    monkeypatch.setattr(phase_retrieval, "reconstruct", lambda *words: calls.append(words) or run(*words))
    return calls


def last_step(arrays):
    return json.loads(str(arrays["metadata"]))["steps"][-1]


def test_the_object_its_time_and_its_history_are_written(retrieve, known):
    arrays, table = retrieve(known, "--iterations", 2, "--alpha", 0.4)
    assert set(arrays) == {"reconstructed_object", "computation_time_s", "metadata"}
    image = arrays["reconstructed_object"]
    assert image.dtype == np.complex64
    assert image.shape == SHAPE
    assert np.isfinite(image).all()
    assert list(table.columns) == ["iteration", "r_factor", "seconds"]
    assert table["iteration"].tolist() == [0, 1, 2]
    assert arrays["computation_time_s"].shape == ()
    assert arrays["computation_time_s"] == pytest.approx(table["seconds"].iloc[-1])
    assert last_step(arrays)["step"] == "iterative"
    expected = {"iterations": 2, "alpha": 0.4, "patterns": len(known), "start": "empty"}
    assert expected.items() <= last_step(arrays)["parameters"].items()
    assert json.loads(str(arrays["metadata"]))["steps"][0] == {"step": "split", "parameters": {}}


def test_it_begins_with_an_empty_object_and_runs_as_long_as_the_study_does(retrieve, known, given):
    from ptycho.config.schema import IterativeConfig

    _, table = retrieve(known)
    ((data, iterations, alpha, _, start),) = given
    assert start is None
    assert (iterations, alpha) == (IterativeConfig().iterations, IterativeConfig().alpha)
    assert len(table) == iterations + 1
    np.testing.assert_array_equal(data.diffraction, known.diffraction)  # in the unit of the data


def test_the_seed_decides(retrieve, known):
    first, again, other = (
        retrieve(known, "--iterations", 1, "--seed", seed)[0]["reconstructed_object"] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_without_a_truth_the_object_holds_the_scan(retrieve, scan):
    arrays, _ = retrieve(scan, "--iterations", 1)
    assert arrays["reconstructed_object"].shape == scan.object_shape


def test_it_starts_from_a_trained_model(retrieve, known, trained, given, monkeypatch):

    # one that nobody trained makes an empty object
    monkeypatch.setattr(inference, "reconstruct_patches", lambda _, data: np.full(data.diffraction.shape, 2j))
    arrays, table = retrieve(known, "--model_dir", trained, "--iterations", 9, "--refined_iterations", 2)
    assert last_step(arrays)["parameters"].items() >= {"iterations": 2, "start": "pinn"}.items()
    assert table["iteration"].tolist() == [0, 1, 2]
    assert arrays["reconstructed_object"].shape == SHAPE
    ((*_, start),) = given
    np.testing.assert_allclose(start, np.full(SHAPE, 2j), rtol=1e-5)  # without gaps


def test_a_models_object_is_filled_and_its_time_counts(retrieve, known, trained, command, given, monkeypatch):
    weight = np.zeros(SHAPE, np.float32)
    weight[20:40], weight[40:60] = 1, 3
    image = np.where(weight > 0, 2 * weight, 0).astype(np.complex64)  # 2 and 6
    asked = []

    def reconstruct(*words):
        asked.append(words)
        return Stitched(image, weight), 100.0

    monkeypatch.setattr(command, "reconstruct", reconstruct)
    arrays, table = retrieve(known, "--model_dir", trained, "--refined_iterations", 1, "--stitch-crop-size", 10)
    ((directory, kind, data, settings),) = asked
    assert (directory, kind, len(data), settings.stitch_crop_px) == (trained, "pinn", len(known), 10)
    ((*_, start),) = given
    np.testing.assert_array_equal(start[20:60], image[20:60])
    np.testing.assert_allclose(start[:20], (2 + 3 * 6) / 4)
    assert arrays["computation_time_s"] == pytest.approx(100 + table["seconds"].iloc[-1])
    assert table["seconds"][0] == 0


def test_a_directory_without_a_model_is_one_line(retrieve, known, tmp_path):
    (tmp_path / "empty").mkdir()
    for directory in ("empty", "nowhere"):
        with pytest.raises(InputError) as error:
            retrieve(known, "--model_dir", tmp_path / directory)
        message = f"{tmp_path / directory}: neither wts.h5.zip nor baseline_model.h5 there: train a model"
        assert str(error.value) == message
    assert not (tmp_path / "out").exists()


def test_a_baseline_is_a_start_too(retrieve, known, tmp_path, command, monkeypatch):
    (tmp_path / "baseline_run").mkdir()
    (tmp_path / "baseline_run" / "baseline_model.h5").touch()
    stitched = Stitched(TRUTH, np.ones(SHAPE, np.float32))
    monkeypatch.setattr(command, "reconstruct", lambda *words: (stitched, 1.0))
    arrays, _ = retrieve(known, "--model_dir", tmp_path / "baseline_run", "--refined_iterations", 1)
    assert last_step(arrays)["parameters"]["start"] == "baseline"


def test_a_sample_of_the_test_images_is_the_one_that_models_are_compared_on(
    retrieve, known, given, tmp_path, monkeypatch
):
    words = ("--n_test_images", 20, "--seed", 3)
    arrays, _ = retrieve(known, *words, "--iterations", 1)
    compare = importlib.import_module("ptycho.commands.compare")
    seen, finished = [], compare.finished_arm
    monkeypatch.setattr(compare, "finished_arm", lambda *w: seen.append(w[3]) or finished(*w))
    words = ("--test_data", tmp_path / "test.npz", "--iterative_dir", tmp_path / "out", "--stitch_crop_px", 12, *words)
    words = (*words, "--output_dir", tmp_path / "compared", "--dpi", 60)
    compare.main(compare.build_parser().parse_args([str(word) for word in words]))
    numbers = given[0][0].scan_index
    assert len(numbers) == 20
    assert len(set(numbers)) == 20
    np.testing.assert_array_equal(numbers, seen[0].scan_index)
    assert last_step(arrays)["parameters"]["patterns"] == 20
    table = text.read_csv(tmp_path / "compared" / "comparison_metrics.csv").set_index("metric")
    assert set(table["model"]) == {"Iterative"}
    assert table.value["computation_time_s"] == arrays["computation_time_s"]


@pytest.mark.parametrize(("flag", "value"), [("--iterations", 0), ("--alpha", 0), ("--alpha", 1.5)])
def test_settings_out_of_bounds_are_refused(retrieve, known, flag, value):
    with pytest.raises(InputError, match=f"{flag} is {value}"):
        retrieve(known, flag, value)
