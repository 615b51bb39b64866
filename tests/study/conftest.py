"""Made studies whose numbers are known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ptycho.data import store
from ptycho.study import aggregation

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
    return pd.DataFrame(rows, columns=aggregation.COLUMNS)


@pytest.fixture
def write_study(tmp_path: Path) -> Callable[[dict[tuple[int, int], Scores]], Path]:
    def write(trials: dict[tuple[int, int], Scores]) -> Path:
        for (size, trial), scores in trials.items():
            directory = tmp_path / f"train_{size}" / f"trial_{trial}"
            store.write_csv(directory / "comparison_metrics.csv", table(scores))
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
