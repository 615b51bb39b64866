"""The results of a study do not depend on the scale and phase of the input object."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
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


def results(directory, name, arrays):
    """Return results_all_trials.csv of a small study, without the computation times."""
    np.savez(directory / f"{name}.npz", **arrays)
    config = (*CONFIG, f"input={name}.npz", f"output_dir={name}")
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow/Snakefile", "--cores", "2"]
    words = [*command, f"{name}/results_all_trials.csv", "--config", *config]
    done = subprocess.run([str(w) for w in words], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    table = pd.read_csv(directory / name / "results_all_trials.csv")
    return table.drop(columns="computation_time_s")


def test_a_scaled_object_gives_the_same_results(tmp_path):
    arrays = dict(np.load(REAL_INPUT))
    expected = results(tmp_path, "as_it_came", arrays)
    scaled = results(tmp_path, "scaled", arrays | {"objectGuess": arrays["objectGuess"] * 0.09 * np.exp(2j)})
    assert list(expected["model_type"]) == ["pinn", "baseline", "iterative"]
    pd.testing.assert_frame_equal(scaled, expected, rtol=1e-6)
