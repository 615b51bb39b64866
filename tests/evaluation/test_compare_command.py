"""The command that compares, on a small network that nobody trained."""

import importlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from ptycho.config import PinnConfig
from ptycho.data import store
from ptycho.data.dataset import Dataset
from ptycho.data.rows import Rows
from ptycho.errors import InputError

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
SIDE, COUNT = 16, 60
UNIT = 3.0  # counts_scale of the training


@pytest.fixture
def command(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("compare_models")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the files of a model's directory, by name."""
    from ptycho.models import archive, pinn

    directory = tmp_path_factory.mktemp("model")
    model = pinn.build(np.zeros((SIDE, SIDE), np.complex64), PinnConfig(0.125), policy="float32")
    params = {"model": "pinn", "window_px": SIDE, "precision": "float32", "config": asdict(PinnConfig(0.125))}
    archive.save(directory, model, {**params, "counts_scale": UNIT}, {"status": "ok"})
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def trained(files, tmp_path):
    directory = tmp_path / "pinn_run"
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


@pytest.fixture
def scan():
    """A test scan whose patterns hold 1.44 times the light of a unit of the training, without a truth."""
    rng = np.random.default_rng(0)
    return Dataset(
        diffraction=rng.gamma(0.5, 1, (COUNT, SIDE, SIDE)).astype(np.float32),
        xcoords=rng.uniform(10, 60, COUNT),
        ycoords=rng.uniform(10, 50, COUNT),
        probe=np.ones((SIDE, SIDE), np.complex64),
        object=None,
        patches=None,
        scan_index=np.arange(COUNT),
        metadata={"counts_scale": 1.2 * UNIT},
    )


@pytest.fixture
def compare(command, trained, tmp_path):
    """Compare on a dataset, and return the directory of the results."""

    def call(dataset, *words):
        store.write_dataset(tmp_path / "test.npz", dataset)
        paths = ["--pinn_dir", trained, "--test_data", tmp_path / "test.npz", "--output_dir", tmp_path / "out"]
        words = (*paths, "--dpi", 60, "--stitch_crop_px", 12, *words)
        command.main(command.build_parser().parse_args([str(word) for word in words]))
        return tmp_path / "out"

    return call


@pytest.fixture
def seen(monkeypatch):
    """Return the patterns that networks are given, which give windows of a little structure back."""
    from ptycho.models import inference

    patterns = []

    def patches_of(model, dataset):
        patterns.append(dataset.diffraction[:])
        return np.exp(0.1j * dataset.diffraction[:]).astype(np.complex64)

    monkeypatch.setattr(inference, "reconstruct_patches", patches_of)
    return patterns


def test_test_data_without_truth_gives_pictures_and_no_score(compare, scan):
    out = compare(scan)
    table = store.read_csv(out / "comparison_metrics.csv")
    assert set(table["status"]) == {"no_truth"}
    assert table[["amplitude", "phase"]].isna().all(axis=None)
    assert table.loc[table["value"].notna(), "metric"].tolist() == ["computation_time_s"]
    assert (out / "frc_curves.csv").read_text() == "model,part,ring_px,cycles_per_px,half_period_nm,correlation\n"
    arrays = store.read_npz(out / "reconstructions.npz")
    assert set(arrays) == {"pinn_complex", "pinn_raw", "region"}
    top, bottom, left, right = arrays["region"]
    assert arrays["pinn_complex"].shape == arrays["pinn_raw"].shape == (bottom - top, right - left)
    assert (out / "comparison_plot.png").read_bytes().startswith(b"\x89PNG")


def test_with_the_truth_the_same_scan_is_scored(compare, scan, seen):
    rng = np.random.default_rng(1)
    truth = np.exp(1j * rng.normal(0, 0.1, (80, 80))).astype(np.complex64)
    out = compare(replace(scan, object=truth))
    table = store.read_csv(out / "comparison_metrics.csv").set_index("metric")
    assert set(table["status"]) == {"ok"}
    assert np.isfinite(table.loc["rmse", ["amplitude", "phase"]].to_numpy(float)).all()
    assert "ground_truth_complex" in store.read_npz(out / "reconstructions.npz")


def test_networks_see_the_patterns_in_the_unit_of_their_training(compare, scan, seen):
    compare(scan)
    np.testing.assert_allclose(seen[0], 1.2 * scan.diffraction, rtol=1e-6)


def test_an_archive_that_names_no_unit_sees_them_as_they_are(compare, scan, seen, monkeypatch):
    from ptycho.models import archive

    load = archive.load
    monkeypatch.setattr(archive, "load", lambda *words: (load(*words)[0], {"window_px": SIDE}))
    compare(scan)
    np.testing.assert_array_equal(seen[0], scan.diffraction)


def test_a_sample_of_the_test_images_is_in_order_and_the_seed_decides(compare, scan, seen):
    numbered = replace(scan, diffraction=np.ones_like(scan.diffraction) * np.arange(COUNT)[:, None, None] * 0.01)
    for seed in (1, 1, 2):
        compare(numbered, "--n_test_images", 40, "--seed", seed)
    first, again, other = (patterns[:, 0, 0] for patterns in seen)
    assert len(first) == 40
    assert (np.diff(first) > 0).all()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    compare(numbered, "--n_test_images", 2 * COUNT)
    assert len(seen[-1]) == COUNT


def test_patterns_that_are_no_numbers_are_the_datas_fault_not_the_models(compare, scan):
    broken = scan.diffraction.copy()
    broken[5, 3, 3] = np.nan
    unchecked = Rows(broken.shape, broken.dtype, lambda numbers: broken[numbers])
    with pytest.raises(InputError, match=r"test\.npz: diffraction holds NaN"):
        compare(replace(scan, diffraction=unchecked))


@pytest.mark.parametrize("history", [[], {"status": "great"}, {"status": None}, "ok"])
def test_a_history_that_is_none_is_one_line(compare, scan, trained, history):
    (trained / "history.json").write_text(json.dumps(history))
    with pytest.raises(InputError, match=r"history\.json: not the history of a training: expected .*diverged") as error:
        compare(scan)
    assert "\n" not in str(error.value)


def test_the_status_of_the_training_is_kept(compare, scan, trained):
    (trained / "history.json").write_text(json.dumps({"status": "diverged"}))
    assert set(store.read_csv(compare(scan) / "comparison_metrics.csv")["status"]) == {"diverged"}
