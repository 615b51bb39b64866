"""The section of the summary on the scaling law, from its table alone."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ptycho.errors import InputError
from ptycho.results import layout
from ptycho.results.schema import PARTS, Model, describe
from ptycho.study.markdown import bullets, table
from ptycho.study.scaling_table import BACK_TEST, FORECAST, NEEDED, NO_FIT, PARAMETERS

SHOWN = ("rmse", "psnr", "ssim")  # the first that the study has


def scaling_section(laws: pd.DataFrame | None) -> str:
    """Return the parameters of the laws, their forecast and back-test, and the images for each target, in Markdown.

    Parameters
    ----------
    laws : as :func:`ptycho.study.scaling_table.scaling_laws` makes it; None where the study has no such table

    Raises
    ------
    InputError : rows of a model are missing, as in a file that was cut
    """
    if laws is None or laws.empty:
        return "No metric of the tables has a scaling law."
    metric = next((name for name in SHOWN if name in set(laws["metric"])), str(laws["metric"].iloc[0]))
    groups = list(laws[laws["metric"] == metric].groupby(["part", "model_type"], sort=False))
    fitted = [group for _, group in groups if not group["verdict"].str.startswith(NO_FIT).any()]
    heads = ["", *PARAMETERS, "forecast", "back-test", "what the fit says"]
    text = table(heads, map(_row, sorted(fitted, key=lambda group: group["part"].iloc[0], reverse=True)))
    refused = [
        f"{_name(group.iloc[0])}: {group['verdict'].iloc[0]}."
        for _, group in groups
        if group["verdict"].str.startswith(NO_FIT).any() and group["quantity"].iloc[0] == "c"
    ]
    explained = (
        "error(n) = a + b n^-c, fitted to all trials with a value, with 95 % profile-likelihood intervals. Forecast: "
        "with twice the images of the largest size. Back-test: the largest size, predicted from the others, and the "
        "mean that was measured."
    )
    needed = bullets(_needed(laws[laws["quantity"] == NEEDED]))
    return "\n\n".join(filter(None, [explained if text else "", text, bullets(refused), needed]))


def _name(row: pd.Series) -> str:
    """Return e.g. ``Phase RMSE (rad) of PtychoPINN``."""
    label = describe(str(row["metric"])).axis_label(str(row["part"]))
    return f"{label} of {Model(str(row['arm']), str(row['variant'])).label}"


def _row(group: pd.DataFrame) -> list[str]:
    """Return the cells of a metric of a model."""
    rows = {row["quantity"]: row for row in group.to_dict("records")}
    missing = [name for name in (*PARAMETERS, FORECAST, BACK_TEST) if name not in rows]
    if missing:
        raise InputError(f"{layout.SCALING_LAW}: no row {missing[0]} of {_name(group.iloc[0])}: make the tables again")
    form = describe(str(group["metric"].iloc[0])).format
    forecast, tested = rows[FORECAST], rows[BACK_TEST]
    ahead = f"{_interval(forecast, form)} with {forecast['train_size']} images"
    said = f"{tested['verdict']}: {_interval(tested, form)}, measured {tested['measured']:{form}}"
    parameters = [_interval(rows[name], ".3g") for name in PARAMETERS]
    return [_name(group.iloc[0]), *parameters, ahead, said, str(rows["c"]["verdict"])]


def _interval(row: Mapping[Any, Any], form: str) -> str:
    """Return an estimate with its interval."""
    return f"{row['estimate']:{form}} [{row['ci_low']:{form}}, {row['ci_high']:{form}}]"


def _needed(rows: pd.DataFrame) -> Iterable[str]:
    """Yield a sentence for each model and target on the images that it takes."""
    for _, row in rows.iterrows():
        metric, part = describe(str(row["metric"])), str(row["part"])
        model = Model(str(row["arm"]), str(row["variant"])).label
        of = f"{PARTS[part]} {metric.label} of {metric.value(row['target'], part)}, {model}"
        if np.isnan(row["estimate"]) or np.isinf(row["ci_low"]):
            yield f"{of}: {row['verdict']}."
            continue
        estimate, low, high = (
            f"{value:,.0f}" if np.isfinite(value) else "infinite" for value in row[["estimate", "ci_low", "ci_high"]]
        )
        yield f"{of}: {estimate} images [{low}, {high}]; {row['verdict']}."
