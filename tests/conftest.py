import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"
Specimen = Callable[..., npt.NDArray[np.complex128]]


@pytest.fixture
def command(monkeypatch):
    """Return a function that runs one of the workflow's commands in this process: None, or what it says as it fails."""
    monkeypatch.syspath_prepend(SCRIPTS)

    def of(name):
        module = importlib.import_module(name)

        def call(*words):
            monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, words)])
            try:
                module.run(module.main, module.build_parser())
            except SystemExit as stop:
                return stop.code
            return None

        return call

    return of


@pytest.fixture(scope="session")
def specimen() -> Specimen:
    """Return f(y, x) -> complex transmission: 24 plane waves of 8 to 40 px in amplitude, 24 in phase.

    It is known between the pixels too, so that shifting it needs no interpolation.
    """
    rng = np.random.default_rng(1)
    angle, period = rng.uniform(0, np.pi, (2, 24)), rng.uniform(8, 40, (2, 24))
    ky, kx = 2 * np.pi * np.sin(angle) / period, 2 * np.pi * np.cos(angle) / period
    start = rng.uniform(0, 2 * np.pi, (2, 24))

    def waves(part: int, y: npt.NDArray[np.float64], x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        phases = np.multiply.outer(ky[part], y) + np.multiply.outer(kx[part], x)
        return np.cos(phases + start[part][(slice(None), *(None,) * y.ndim)]).sum(axis=0) / np.sqrt(12)

    def transmission(y: npt.NDArray[np.float64], x: npt.NDArray[np.float64]) -> npt.NDArray[np.complex128]:
        y, x = np.broadcast_arrays(y, x)
        return (1 + 0.1 * waves(0, y, x)) * np.exp(0.5j * waves(1, y, x))

    return transmission


@pytest.fixture(scope="session")
def truth(specimen: Specimen) -> npt.NDArray[np.complex64]:
    """Return the specimen on 120 x 140 pixels."""
    return specimen(np.arange(120.0)[:, None], np.arange(140.0)).astype(np.complex64)
