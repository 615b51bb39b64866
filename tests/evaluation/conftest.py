"""A small network that nobody trained, and a scan for it."""

from dataclasses import asdict

import numpy as np
import pytest

from ptycho.config.schema import PinnConfig
from ptycho.data.dataset import Dataset
from ptycho.data.metadata import Metadata

SIDE, COUNT = 16, 60
UNIT = 3.0  # counts_scale of the training


@pytest.fixture(scope="session")
def model_files(tmp_path_factory):
    """Return the files of a model's directory, by name."""
    from ptycho.models import pinn, serialization

    directory = tmp_path_factory.mktemp("model")
    model = pinn.build(np.zeros((SIDE, SIDE), np.complex64), PinnConfig(0.125, projections=1), policy="float32")
    params = {
        "model": "pinn",
        "window_px": SIDE,
        "precision": "float32",
        "config": asdict(PinnConfig(0.125, projections=1)),
    }
    serialization.save(directory, model, {**params, "counts_scale": UNIT}, {"status": "ok"})
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def trained(model_files, tmp_path):
    directory = tmp_path / "pinn_run"
    directory.mkdir()
    for name, content in model_files.items():
        (directory / name).write_bytes(content)
    return directory


@pytest.fixture
def scan():
    """A test scan whose patterns hold 1.44 times the light of a unit of the training, without a truth.

    They are those of an empty object, and noise.
    """
    rng = np.random.default_rng(0)
    diffraction = rng.gamma(0.5, 0.1, (COUNT, SIDE, SIDE)).astype(np.float32)
    diffraction[:, SIDE // 2, SIDE // 2] += SIDE
    return Dataset(
        diffraction=diffraction,
        xcoords=rng.uniform(10, 60, COUNT),
        ycoords=rng.uniform(10, 50, COUNT),
        probe=np.ones((SIDE, SIDE), np.complex64),
        object=None,
        patches=None,
        scan_index=np.arange(COUNT),
        metadata=Metadata(counts_scale=1.2 * UNIT),
    )
