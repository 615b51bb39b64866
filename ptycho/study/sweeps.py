"""The trials of a sweep: those of the study and of the variants that stand for the values of a key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ptycho.config import sweep
from ptycho.config.schema import VARIED, StudyConfig
from ptycho.errors import InputError
from ptycho.io import files, npz
from ptycho.results import layout

Points = dict[str, dict[str, Any]]  # value by variant ("" for the study itself), by key


def configured(study_dir: Path | str) -> Points:
    """Return the sweeps of a finished study; none where its configuration cannot be read, or a variant is missing."""
    try:
        config = yaml.safe_load(files.read_bytes(Path(study_dir) / layout.STUDY_CONFIG))
        study = StudyConfig.from_mapping(config)
    except (yaml.YAMLError, InputError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
    there = set(layout.branches(study_dir))
    return {key: values for key, values in points(study).items() if set(values) <= there}


def points(study: StudyConfig) -> Points:
    """Return the value of each variant of a sweep, by key, see :func:`ptycho.config.sweep.points`."""
    return sweep.points(study, VARIED)


def mean_spacing_px(path: Path | str) -> float:
    """Return the mean spacing of the positions of a dataset: the root of the area of their bounding box a position."""
    arrays = npz.read_npz(path, ("xcoords", "ycoords"), ())
    return float(np.sqrt(np.ptp(arrays["xcoords"]) * np.ptp(arrays["ycoords"]) / arrays["xcoords"].size))


def sweep_trials(wide: pd.DataFrame, values: Mapping[str, Any], spacing_px: Mapping[str, float]) -> pd.DataFrame:
    """Return the trials of a sweep.

    Parameters
    ----------
    wide : as :func:`ptycho.study.tables.results_all_trials` makes it
    values : of each variant, "" for the study itself
    spacing_px : mean spacing of the positions of each, which then is the axis; empty for the values themselves

    Returns
    -------
    DataFrame : ``value``, ``spacing_px`` where given, ``x`` (where it is drawn), then the columns of ``wide``. Arms
        that a variant does not change have in it the results of the study itself

    Raises
    ------
    InputError : no trial of the sweep
    """
    own = wide[wide["variant"] == ""]
    varied = set(wide.loc[wide["variant"].isin([name for name in values if name]), "arm"])
    parts = []
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values.values())
    for place, (variant, value) in enumerate(values.items()):
        rows = wide[wide["variant"] == variant]
        if variant and len(rows):
            rows = pd.concat([rows, own[~own["arm"].isin(varied)]])  # arms that the key does not change
        spacing = {"spacing_px": spacing_px[variant]} if spacing_px else {}
        x = spacing_px[variant] if spacing_px else float(value) if numbers else float(place)
        parts.append(rows.assign(value=value if numbers else str(value), x=x, **spacing))
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise InputError(f"no trials of the variants {', '.join(filter(None, values))}: run their comparisons first")
    first = [name for name in ("value", "spacing_px", "x") if name in table]
    return table[[*first, *(name for name in table if name not in first)]]
