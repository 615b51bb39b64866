"""The results of a study do not depend on the scale and phase of the input object."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from running import snakemake

REAL_INPUT = os.environ.get("PTYCHO_REAL_INPUT")
CONFIG = (
    "train_sizes=[32]", "num_trials=1", "simulation={n_images: 300}", "training={epochs: 2, batch_size: 8}",
    "pinn={n_filters_scale: 0.25, projections: 1}", "baseline={n_filters_scale: 0.25, projections: 1}",
    "arms=[pinn,baseline,iterative]",
)  # fmt: skip

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(not REAL_INPUT, reason="PTYCHO_REAL_INPUT is not set: no real reconstruction at hand"),
]


def run(directory, target, *config):
    done = snakemake(*target, "--cores", "2", "--config", *config, directory=directory)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture
def inputs(tmp_path):
    """Write the real reconstruction as it came, and with its object scaled; return the names of the files."""
    arrays = dict(np.load(REAL_INPUT))
    np.savez(tmp_path / "as_it_came.npz", **arrays)
    np.savez(tmp_path / "scaled.npz", **arrays | {"objectGuess": arrays["objectGuess"] * 0.09 * np.exp(2j)})
    return "as_it_came", "scaled"


def prepared(directory: Path, name):
    """Return the arrays of the prepared halves of an input."""
    config = "train_sizes=[8]", "simulation={n_images: 60}", f"input={name}.npz", f"output_dir={name}"
    run(directory, ["prepare"], *config)
    found = {}
    for path in sorted((directory / name / "datasets").rglob("*_data_t*.npz")):
        with np.load(path) as half:
            found |= {f"{path.stem.rpartition('_')[2]} {key}": half[key] for key in half if key != "metadata"}
    return found


def test_a_scaled_object_gives_the_same_data(tmp_path, inputs):
    """Trainings and comparisons read nothing else; tests/models/test_level.py follows them to the metrics."""
    expected, scaled = (prepared(tmp_path, name) for name in inputs)
    assert {"train diffraction", "test diffraction", "test objectGuess"} <= set(expected)
    assert set(scaled) == set(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(scaled[name], array, rtol=1e-6, atol=1e-6 * np.abs(array).max(), err_msg=name)


@pytest.mark.skipif("PTYCHO_LONG_TESTS" not in os.environ, reason="two studies: make test-long")
def test_a_scaled_object_gives_the_same_results(tmp_path, inputs):
    tables = []
    for name in inputs:
        target = f"{name}/results_all_trials.csv"
        run(tmp_path, [target], *CONFIG, f"input={name}.npz", f"output_dir={name}")
        tables.append(pd.read_csv(tmp_path / target).drop(columns="computation_time_s"))
    expected, scaled = tables
    assert list(expected["model_type"]) == ["pinn", "baseline", "iterative"]
    pd.testing.assert_frame_equal(scaled, expected, rtol=1e-6)
