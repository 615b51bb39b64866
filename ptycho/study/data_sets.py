"""Prepared data beside those of the study itself: of test sets and of variants, shared where they are the same."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from ptycho.config.schema import StudyConfig
from ptycho.config.test_sets import TestSet, resolved
from ptycho.io import npz
from ptycho.results import layout

KEY_DIGITS = 8  # of the hash in a directory's name


def recipe(study: StudyConfig) -> dict[str, Any]:
    """Return what determines the prepared data of a study: equal recipes give equal data."""
    preparation = asdict(study.preparation)
    del preparation["keep_stages"]
    return {
        "input": study.input,
        "seed": study.seed,
        "specimen": None if study.input else asdict(study.specimen),
        "simulation": asdict(study.simulation),
        "preparation": preparation,
    }


def is_measured(study: StudyConfig) -> bool:
    """Tell whether both halves of a study are measured, so that nothing is prepared."""
    return bool(study.train_data and study.test_data)


def probe_of(base: StudyConfig) -> dict[str, Any] | None:
    """Return the specimen whose probe other specimens of a study keep, with its seed; None where there is none."""
    return None if base.input or is_measured(base) else {**asdict(base.specimen), "seed": base.seed}


def data_key(study: StudyConfig, base: StudyConfig) -> str:
    """Return the name of the prepared data of a study derived from ``base``; empty where they are those of ``base``.

    It depends on the recipe alone: another test set or variant in the configuration does not change it.
    """
    own = recipe(study)
    if own == recipe(base) and not is_measured(base):
        return ""
    if own["specimen"] is not None:
        own["probe_of"] = probe_of(base)
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:KEY_DIGITS]


def data_file(study: StudyConfig, base: StudyConfig, half: str) -> str:
    """Return the path, relative to the directory of the study, of a half of further prepared data."""
    return f"{layout.PREPARED_DIR}_{data_key(study, base)}/{half}.npz"


def foreign_test_sets(study: StudyConfig) -> dict[str, TestSet]:
    """Return the measured test sets that are not in the study's format, by group: they must be imported.

    Raises
    ------
    InputError : a configured file is missing or damaged
    """
    measured = {one.group: one for one in resolved(study) if one.test_data}
    return {name: one for name, one in measured.items() if not npz.is_dataset(str(one.test_data))}


def needs_iterative(one: TestSet, study: StudyConfig) -> bool:
    """Tell whether the iterative arm of a study reconstructs a test set in a job of its own.

    On the held-out half without an error it is the reconstruction of the study itself; of sets that differ in what a
    network is told alone there is none.
    """
    same = not one.own_data and one.probe_error.is_zero
    return "iterative" in study.arms and not one.network_is_exact and not same
