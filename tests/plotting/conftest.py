from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ptycho.results import schema


@pytest.fixture
def metrics() -> pd.DataFrame:
    """The table of a trial: PtychoPINN scored, Baseline collapsed."""
    rows = [
        ("PtychoPINN", "rmse", 0.02, 0.01, np.nan, "ok"),
        ("PtychoPINN", "ssim", 0.9, 0.95, np.nan, "ok"),
        ("Baseline", "rmse", 0.09, 0.1, np.nan, "collapsed"),
    ]
    return pd.DataFrame(rows, columns=schema.COLUMNS)


@pytest.fixture
def unscored() -> Callable[..., pd.DataFrame]:
    """A function that returns the table of a trial without truth, with the statuses of PtychoPINN and Baseline."""

    def table(*statuses: str) -> pd.DataFrame:
        models = zip(("PtychoPINN", "Baseline"), statuses, strict=True)
        rows = [(name, "rmse", np.nan, np.nan, np.nan, status) for name, status in models]
        return pd.DataFrame(rows, columns=schema.COLUMNS)

    return table
