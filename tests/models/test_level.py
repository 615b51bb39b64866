"""Trainings at other levels and phases of the input give the same results, from the file to the metrics."""

import numpy as np
import pytest
import tensorflow as tf

from ptycho.config.schema import BaselineConfig, PinnConfig, TrainingConfig
from ptycho.evaluation.comparison import Arm, compare
from ptycho.io import npz
from ptycho.models import run
from ptycho.models.inference import reconstruct_patches
from ptycho.physics import stitching
from ptycho.preparation import resample
from ptycho.preparation.load import load_scan, read_reconstruction
from ptycho.preparation.scan import simulate
from ptycho.preparation.specimen import specimen
from ptycho.preparation.split import split

BRIEF = TrainingConfig(epochs=2, batch_size=4, validation_fraction=0.25, precision="float32", augmentation_ratio=0.5)
CONFIGS = {
    "pinn": PinnConfig(n_filters_scale=0.125, projections=1),
    "baseline": BaselineConfig(n_filters_scale=0.125, projections=1),
}


@pytest.fixture(autouse=True)
def eager():
    """A few steps do not pay for compiling them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def metrics(factor, kind, folder):
    """Return the metrics of a model from a reconstruction whose object was multiplied by ``factor``."""
    drawn = specimen(64, 16, 1.5, 0.3, seed=3)
    arrays = {"objectGuess": drawn.object.astype(complex) * factor, "probeGuess": drawn.probe.astype(complex)}
    npz.write_npz(folder / "input.npz", {**arrays, "xcoords": drawn.xcoords, "ycoords": drawn.ycoords})
    scan = simulate(read_reconstruction(folder / "input.npz"), 60, 1e6, seed=4)
    for name, half in zip(("train", "test"), split(resample.downsample(scan, 1, 1), 0.5), strict=True):
        npz.write_dataset(folder / f"{name}.npz", half)
    train, test = (load_scan(folder / f"{name}.npz") for name in ("train", "test"))
    trained = run.train(train, CONFIGS[kind], BRIEF, n_images=12, seed=1, trial=1)
    patches = reconstruct_patches(trained.model, test)
    stitched = stitching.stitch(patches, test.xcoords, test.ycoords, test.probe, test.object_shape, 8)
    region = stitching.evaluated_region(test.xcoords, test.ycoords, 8, test.object_shape, 4)
    covered = stitching.covered_pixels(test.xcoords, test.ycoords, test.probe, test.object_shape, 8)
    found = compare([Arm(kind, stitched.object, 0.0)], test.object, region, registration_max_px=1, covered=covered)
    return found.metrics.set_index("metric")[["amplitude", "phase", "value"]]


@pytest.mark.parametrize("kind", CONFIGS)
def test_level_and_phase_of_the_input_change_no_result(kind, tmp_path):
    expected = metrics(1.0, kind, tmp_path)
    assert np.isfinite(expected.loc["rmse", ["amplitude", "phase"]].to_numpy(float)).all()
    for factor in (0.01, 100, np.exp(1j), np.exp(-2j), np.exp(3j), 0.09 * np.exp(2j)):
        np.testing.assert_allclose(metrics(factor, kind, tmp_path), expected, rtol=1e-6, err_msg=f"factor {factor}")
