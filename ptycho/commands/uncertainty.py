"""Compare the spread over the trials of a study with the error of their mean, per pixel of the held-out object.

Reads train_SIZE/trial_N/reconstructions.npz; writes uncertainty.csv, uncertainty_calibration.png,
uncertainty_amp_by_size.png and uncertainty_phase_by_size.png.
"""

import argparse
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ptycho.commands.cli import entry_point
from ptycho.commands.figure_flags import add_appearance_flags, add_selection_flags
from ptycho.config.flags import from_flags
from ptycho.config.schema import PlotsConfig
from ptycho.data.dataset import ComplexArray
from ptycho.errors import InputError
from ptycho.evaluation import spread as numbers
from ptycho.io import npz, text
from ptycho.plotting import style
from ptycho.plotting import uncertainty as drawing
from ptycho.results import layout
from ptycho.results.schema import PART_COLUMNS, PARTS, TRUTH, Model, models
from ptycho.study import trials as study_trials
from ptycho.study.tables import results_all_trials

logger = logging.getLogger(__name__)

COLUMNS = [
    "train_size", "model_type", "variant", "arm", "part", "trials", "excluded", "row", "bin", "sigmas", "spread",
    "rmse_mean", "rmse_trial", "coverage", "expected_coverage", "pixels", "note",
]  # fmt: skip
SUFFIX = "_complex"  # of the aligned objects in reconstructions.npz
NO_FILE = f"no {layout.RECONSTRUCTIONS}"
NO_TRUTH_NOTE = "no ground truth: neither aligned nor compared"
IDENTICAL_NOTE = "the same reconstruction in every trial: no spread"


def build_parser() -> argparse.ArgumentParser:
    """Return the flags of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "study_dir", type=Path, help=f"directory that holds train_SIZE/trial_N/{layout.RECONSTRUCTIONS}"
    )
    parser.add_argument("--output_dir", type=Path, help="where table and figures go (default: STUDY_DIR)")
    parser.add_argument("--variants", nargs="*", help="use these variants only (default: all found)")
    add_selection_flags(parser)
    add_appearance_flags(parser)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Write the table and the figures.

    Raises
    ------
    InputError : no results, or trials of one size that do not show the same object
    """
    plots = from_flags(PlotsConfig, arguments)
    out = arguments.output_dir or arguments.study_dir
    wide = read_wide(arguments, out)
    rows: list[dict[str, Any]] = []
    maps: dict[int, dict[str, drawing.Maps]] = {}
    for group in groups(arguments.study_dir, wide):
        for model in group.models:
            found = group.spread(model.arm)
            rows += model_rows(group, model, found)
            if found.parts and not found.identical and not model.variant:
                maps.setdefault(group.size, {})[model.arm] = drawing.Maps.of(found.mean, found.parts)
    table = pd.DataFrame(rows, columns=COLUMNS)
    text.write_csv(out / layout.UNCERTAINTY, table)
    calibration = drawing.calibration_figure(table, plots)
    style.save_figure(calibration, out / f"{layout.UNCERTAINTY_CALIBRATION}.png", plots, also=plots.formats)
    for part in PARTS:
        figure = drawing.maps_figure(maps, table, part, plots)
        style.save_figure(figure, out / f"{layout.uncertainty_maps(part)}.png", plots, also=plots.formats)


def read_wide(arguments: argparse.Namespace, out: Path) -> pd.DataFrame:
    """Return the wide table of the trials, from results_all_trials.csv where it is up to date."""
    study, sizes, number = arguments.study_dir, arguments.train_sizes, arguments.num_trials
    path = out / layout.ALL_TRIALS
    wide = study_trials.read_results_all_trials(path, study, arguments.variants, sizes, number)
    if wide is not None:
        return wide
    return results_all_trials(study_trials.select(study_trials.read_trials(study, arguments.variants), sizes, number))


@dataclass(frozen=True, eq=False)
class Group:
    """The trials of one size of the study or of a variant.

    Parameters
    ----------
    size : number of training images
    models : of the study or of the variant
    status : by trial and arm
    files : ``reconstructions.npz`` by trial, where there is one
    truth : (h, w) complex, the ground truth that they are aligned to; None where it is unknown
    covered : (h, w) bool, the pixels that the test scan covers
    """

    size: int
    models: list[Model]
    status: dict[tuple[int, str], str]
    files: dict[int, Path]
    truth: ComplexArray | None
    covered: npt.NDArray[np.bool_]

    def excluded(self, arm: str) -> dict[int, str]:
        """Return why a trial of an arm is not used, by trial."""
        mine = {trial: status for (trial, name), status in self.status.items() if name == arm}
        reasons = {trial: status if trial in self.files else NO_FILE for trial, status in mine.items()}
        return {trial: reason for trial, reason in sorted(reasons.items()) if reason != "ok"}

    def spread(self, arm: str) -> numbers.Spread:
        """Return the trials of an arm together; none without a ground truth."""
        if self.truth is None:
            return numbers.Spread(0, 0, np.zeros((0, 0), np.complex128), {})
        left_out = self.excluded(arm)
        used = [trial for trial, name in sorted(self.status) if name == arm and trial not in left_out]
        return numbers.spread((read_object(self.files[trial], arm) for trial in used), self.truth, self.covered)


def groups(study_dir: Path, wide: pd.DataFrame) -> Iterator[Group]:
    """Yield the trials of each size of the study, then those of each variant."""
    for variant, directory in layout.branches(study_dir).items():
        found = layout.reconstruction_files(directory)
        for size, rows in wide[wide["variant"] == variant].groupby("train_size"):
            trials, arms = rows["trial"].astype(int), rows["arm"].astype(str)
            status = dict(zip(zip(trials, arms, strict=True), rows["status"].astype(str), strict=True))
            files = {trial: found[int(str(size)), trial] for trial in sorted(set(trials)) if (size, trial) in found}
            truth, covered = _shared_grid(files, status)
            yield Group(int(str(size)), list(models(rows).values()), status, files, truth, covered)


def _shared_grid(
    files: Mapping[int, Path], status: Mapping[tuple[int, str], str]
) -> tuple[ComplexArray | None, npt.NDArray[np.bool_]]:
    """Return the ground truth of some trials, and the pixels where any reconstruction is not 0: those covered.

    Raises
    ------
    InputError : a trial has another ground truth, or one of another size
    """
    truth, covered, first = None, np.zeros((0, 0), bool), Path()
    for trial, path in files.items():
        if f"{TRUTH}{SUFFIX}" not in npz.npz_members(path):
            continue
        own = read_object(path, TRUTH)
        if truth is None:
            truth, covered, first = own, np.zeros(own.shape, bool), path
        if own.shape != truth.shape or not np.allclose(own, truth, rtol=1e-3, atol=1e-3):
            raise InputError(f"{path}: its ground truth is not that of {first}: repeat the comparisons of this size")
        for arm in [arm for (number, arm), word in status.items() if number == trial and word == "ok"]:
            image = read_object(path, arm)
            if image.shape != own.shape:
                raise InputError(f"{path}: {arm} is {image.shape}, the ground truth {own.shape}: compare again")
            covered |= np.isfinite(image) & (image != 0)
    return truth, covered


def read_object(path: Path, arm: str) -> ComplexArray:
    """Return the aligned object of an arm, (h, w) complex, 0 where the scan does not cover.

    Raises
    ------
    InputError : the file holds none
    """
    keys = [key for key in npz.npz_members(path) if key.endswith(SUFFIX)]
    mine = [key for key in keys if Model.named(key.removesuffix(SUFFIX)).arm == arm]
    if len(mine) != 1:
        raise InputError(f"{path}: no object of {arm}; it holds {', '.join(keys)}: repeat the comparison of the trial")
    image = npz.read_npz(path, mine, ())[mine[0]]
    if not np.iscomplexobj(image) or image.ndim != 2:
        raise InputError(f"{path}: {mine[0]} is {image.dtype} {image.shape}, expected complex of two dimensions")
    return image


# table ---------------------------------------------------------------------------------------------------


def model_rows(group: Group, model: Model, found: numbers.Spread) -> list[dict[str, Any]]:
    """Return the rows of a model of one size: of all pixels, of each bin, and of each coverage, of both parts.

    Where there is no spread, there is one row of each part, without numbers, and ``note`` says why.
    """
    reasons = group.excluded(model.arm)
    note = _note(group, reasons, found)
    same = {
        "train_size": group.size, "model_type": model.model_type, "variant": model.variant, "arm": model.arm,
        "trials": found.trials, "excluded": len(reasons) + found.not_finite, "note": note,
    }  # fmt: skip
    if not found.parts or found.identical:
        return [{**same, "part": part, "row": "all"} for part in PART_COLUMNS.values()]
    rows: list[dict[str, Any]] = []
    for name, part in found.parts.items():
        bins = (
            {"row": "all", **vars(numbers.overall(part))},
            *(
                {"row": "bin", "bin": index, **vars(one)}
                for index, one in enumerate(numbers.calibration(part), start=1)
            ),
        )
        shares = [
            {
                "row": "coverage",
                "sigmas": sigmas,
                "coverage": numbers.coverage(part, sigmas),
                "expected_coverage": numbers.expected_coverage(sigmas, found.trials),
                "pixels": int(part.used.sum()),
            }
            for sigmas in numbers.SIGMAS
        ]
        rows += [{**same, "part": name, **row} for row in (*bins, *shares)]
    return rows


def _note(group: Group, reasons: Mapping[int, str], found: numbers.Spread) -> str:
    """Return what a reader must know of the trials: which were left out, and why there is no spread."""
    words = [f"trial {trial}: {reason}" for trial, reason in reasons.items()]
    words += [f"{found.not_finite} not finite"] if found.not_finite else []
    if group.truth is None and group.files:
        return NO_TRUTH_NOTE
    if not found.parts:
        words.insert(0, f"{found.trials} of at least {numbers.LEAST_TRIALS} trials")
    elif found.identical:
        words.insert(0, IDENTICAL_NOTE)
    return "; ".join(words)


entry = entry_point(main, build_parser)
