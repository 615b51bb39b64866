import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from ptycho.io import text
from ptycho.results import schema

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"
LONGEST = ["workflow", "models", "inspection", "fuzz", "study"]  # directories of the tests that take longest
Specimen = Callable[..., npt.NDArray[np.complex128]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: make test runs each as a whole, and would else end with one of them.

    Tests that need further packages are skipped, unless PTYCHO_EXTRAS is set.
    """
    for item in items:
        if "PTYCHO_EXTRAS" not in os.environ and item.get_closest_marker("extras"):
            item.add_marker(pytest.mark.skip(reason="needs further packages: make test-extras"))
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.parent.name, len(LONGEST)))


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


# made studies whose numbers are known ------------------------------------------------------------------

Scores = dict[str, float | tuple[float, str]]  # model -> PSNR, or (PSNR, status)


def table(scores: Scores) -> pd.DataFrame:
    """PSNR as given (amplitude 2 dB less), MAE 10 / PSNR (amplitude half of that), and a time."""
    rows: list[tuple] = []
    for model, score in scores.items():
        psnr, status = score if isinstance(score, tuple) else (score, "ok")
        rows += [
            (model, "psnr", psnr - 2, psnr, np.nan, status),
            (model, "mae", 5 / psnr, 10 / psnr, np.nan, status),
            (model, "computation_time_s", np.nan, np.nan, 1.5, status),
        ]
    return pd.DataFrame(rows, columns=schema.COLUMNS)


@pytest.fixture
def write_study(tmp_path: Path) -> Callable[[dict[tuple[int, int], Scores]], Path]:
    def write(trials: dict[tuple[int, int], Scores]) -> Path:
        for (size, trial), scores in trials.items():
            directory = tmp_path / f"train_{size}" / f"trial_{trial}"
            text.write_csv(directory / "comparison_metrics.csv", table(scores))
        return tmp_path

    return write


@pytest.fixture
def known(write_study) -> Path:
    """Three trials of 64 images, one of them failed; one of 1024."""
    nan = float("nan")
    return write_study(
        {
            (1024, 1): {"PtychoPINN": 40.0, "Baseline": 50.0},
            (64, 1): {"PtychoPINN": 30.0, "Baseline": 20.0},
            (64, 2): {"PtychoPINN": 32.0, "Baseline": (24.0, "collapsed")},
            (64, 3): {"PtychoPINN": 37.0, "Baseline": (nan, "failed")},
        }
    )


@pytest.fixture
def truthless(write_study) -> Path:
    """Two trials of 64 images and one of 128, with nothing to score by; a training of one diverged."""
    nan = float("nan")
    unscored = (nan, "no_truth")
    return write_study(
        {
            (64, 1): {"PtychoPINN": unscored, "Baseline": unscored},
            (64, 2): {"PtychoPINN": unscored, "Baseline": (nan, "diverged")},
            (128, 1): {"PtychoPINN": unscored, "Baseline": unscored},
        }
    )


@pytest.fixture
def objects() -> dict[str, np.ndarray]:
    """A truth of 24 x 40 pixels, phase 0 to 1 rad, and models with a known phase error."""
    phase = np.linspace(0, 1, 24 * 40).reshape(24, 40)
    truth = (0.8 + 0.2 * phase) * np.exp(1j * phase)
    return {"ground_truth": truth, "pinn": truth * np.exp(0.01j), "baseline": 1.1 * truth * np.exp(-0.1j)}
