"""A simulated scan, and files of its patterns as others write them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ptycho.config.schema import MeasuredConfig
from ptycho.data.dataset import Reconstruction
from ptycho.errors import InputError
from ptycho.preparation.load import load_scan
from ptycho.preparation.normalize import lit_factor
from ptycho.preparation.scan import simulate

N, SHAPE = 16, (48, 64)


@pytest.fixture(scope="session")
def scan():
    """A simulated scan of 30 patterns, whose counts, positions and object, of level 1 and mean phase 0, are known."""
    rng = np.random.default_rng(0)
    y, x = np.indices((N, N)) - N / 2
    image = 0.9 * np.exp(0.5j * np.cumsum(np.cumsum(rng.normal(size=SHAPE), axis=0), axis=1) / 20)
    probe = np.exp(-(x**2 + y**2) / 20 + 0.05j * (x**2 - y * x))
    scan = Reconstruction(image.astype(np.complex64), probe.astype(np.complex64), np.full(3, 30.0), np.full(3, 20.0))
    lit = simulate(scan, 30, 1e5, seed=1)
    factor = lit_factor(image, lit.probe, lit.xcoords, lit.ycoords)
    leveled = replace(scan, object=(image / factor).astype(np.complex64), probe=(probe * factor).astype(np.complex64))
    return simulate(leveled, 30, 1e5, seed=1).loaded()


def counts_of(dataset):
    return np.rint(np.square(dataset.counts_scale * dataset.diffraction.astype(float)))


@pytest.fixture(scope="session")
def counts():
    """Return a function: the counts (n, N, N) of a dataset."""
    return counts_of


@pytest.fixture(scope="session")
def raw():
    """Return a function: the arrays of a file of counts as a detector gives them, with changes; None leaves one out."""

    def arrays_of(scan, **changes):
        arrays = {
            "diffraction": counts_of(scan).astype(np.uint32),
            "xcoords": scan.xcoords, "ycoords": scan.ycoords,
            "probeGuess": 7 * scan.probe, "objectGuess": scan.object,
        }  # fmt: skip
        return {key: value for key, value in {**arrays, **changes}.items() if value is not None}

    return arrays_of


def read_back(tmp_path, arrays, config=None, **facts):
    if facts:
        arrays = {**arrays, "metadata": np.asarray(json.dumps(facts))}
    np.savez(tmp_path / "scan.npz", **arrays)
    return load_scan(tmp_path / "scan.npz", config or MeasuredConfig())


@pytest.fixture(scope="session")
def read():
    """Return a function that writes arrays, with facts in the metadata, and loads the file as a scan."""
    return read_back


@pytest.fixture(scope="session")
def refusal():
    """Return a function: the error of :func:`read_back`, one line that begins with the file."""

    def message(tmp_path, arrays, config=None, **facts):
        with pytest.raises(InputError) as error:
            read_back(tmp_path, arrays, config, **facts)
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(str(tmp_path / "scan.npz"))
        return str(error.value)

    return message
