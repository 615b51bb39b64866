"""Where a study keeps its files: every file and folder name, and what a study directory holds.

The workflow writes ``train_512/trial_1/...``, for a variant below ``variants/NAME/``. Studies of others are read too:
their directories may be named ``train_subsample_512_groups_512`` (512 images; the groups are those of a gridsize), and
metrics may lie in the directory of the size itself.
"""

import re
from pathlib import Path

from ptycho.errors import InputError

# of a training, in its run directory
MODEL_FILES = {"pinn": "wts.h5.zip", "baseline": "baseline_model.h5"}
HISTORY = "history.json"
PARAMS = "params.json"
TRAINING_LOG = "training.log"
RECON_DILL = "recon.dill"
TENSORBOARD_DIR = "tensorboard"

# of the iterative and the refined arm, in their directories
RECONSTRUCTION = "reconstruction.npz"
CONVERGENCE = "convergence.csv"

# of a trial; the first two also of a size
COMPARISON_METRICS = "comparison_metrics.csv"
COMPARISON_PLOT = "comparison_plot.png"
RECONSTRUCTIONS = "reconstructions.npz"
FRC_CURVES = "frc_curves.csv"
FRC_PLOT = "frc_curves.png"

# of a study
RESULTS = "results.csv"
ALL_TRIALS = "results_all_trials.csv"
STATISTICS = "statistics.csv"
TIMES = "times.csv"
SCALING_LAW = "scaling_law.csv"
TABLES = (RESULTS, ALL_TRIALS, STATISTICS, TIMES, SCALING_LAW)  # made from the metrics of the trials
COSTS = "costs.csv"
COSTS_PLOT = "costs.png"
TEST_SET_TRIALS = "test_sets_all_trials.csv"
TEST_SET_RESULTS = "test_sets.csv"
MATRIX = "generalization_matrix.csv"
MATRIX_PLOT = "generalization_matrix"
UNCERTAINTY = "uncertainty.csv"
UNCERTAINTY_CALIBRATION = "uncertainty_calibration"
RESULTS_TEX = "results_table.tex"
SUMMARY = "STUDY_SUMMARY.md"
STUDY_CONFIG = "study_config.txt"
STUDY_LOG = "study_log.txt"
INPUTS = "inputs.json"  # checksums of the files that the study was computed from
LOCK = ".study.lock"  # held by a run while it writes here
BENCHMARKS_DIR = "benchmarks"
IMPORTED_DIR = "datasets/imported"  # train.npz, test.npz: scans of other formats, converted; never shared by studies
PREPARED_DIR = "datasets/prepared"  # then _KEY/train.npz, test.npz: data of test sets and variants
IMPORTED_SETS_DIR = "datasets/test_sets"  # NAME.npz: measured test sets of other formats, converted
VARIANTS_DIR = "variants"

SIZE_DIR = re.compile(r"train_(?:subsample_)?(\d+)(?:_groups_\d+)?")


def run_dir(directory: Path, arm: str) -> Path:
    """Return the directory of an arm within that of its trial: ``pinn_run``, ``baseline_run``, ``refined_run``."""
    return directory / f"{arm}_run"


def test_set_dir(trial_dir: Path, name: str) -> Path:
    """Return the directory of a further test set within that of a trial; its files are those of the trial."""
    return trial_dir / f"test_{name}"


def test_set_dirs(trial_dir: Path) -> dict[str, Path]:
    """Return the directories of the further test sets of a trial that were scored, by name."""
    found = {path.name.removeprefix("test_"): path for path in sorted(trial_dir.glob("test_*"))}
    return {name: path for name, path in found.items() if (path / COMPARISON_METRICS).is_file()}


def size_dir(study_dir: Path | str, size: int) -> Path:
    """Return the directory of a size: the one that is there, or the one that the workflow would write."""
    return size_dirs(study_dir).get(size, Path(study_dir) / f"train_{size}")


def generalization_plot(metric: str, part: str) -> str:
    """Return the file name, without its ending, of the plot of a metric; part is ``amp`` or ``phase``."""
    return f"{metric}_{part}_generalization"


def test_set_plot(metric: str, part: str) -> str:
    """Return the file name, without its ending, of the plot of a metric by test set."""
    return f"{metric}_{part}_test_sets"


def probe_error_plot(name: str) -> str:
    """Return the file name, without its ending, of the plot against the strengths of a probe error."""
    return f"probe_error_{name}"


def uncertainty_maps(part: str) -> str:
    """Return the file name, without its ending, of the maps of mean, spread and error; part is ``amp`` or ``phase``."""
    return f"uncertainty_{part}_by_size"


def size_dirs(study_dir: Path | str) -> dict[int, Path]:
    """Return the directories of a study by number of training images, in order.

    Raises
    ------
    InputError : two of them are of one size
    """
    found: dict[int, Path] = {}
    for path in sorted(Path(study_dir).glob("train_*")):
        match = SIZE_DIR.fullmatch(path.name)
        if match and path.is_dir():
            size = int(match[1])
            if size in found:
                raise InputError(
                    f"{study_dir}: {found[size].name} and {path.name} are both of {size} images: move one elsewhere"
                )
            found[size] = path
    return dict(sorted(found.items()))


def branches(study_dir: Path | str) -> dict[str, Path]:
    """Return the directories that hold those of the sizes: of the study itself, by "", and of each variant by name."""
    study_dir = Path(study_dir)
    return {"": study_dir} | {path.name: path for path in sorted(study_dir.glob(f"{VARIANTS_DIR}/*")) if path.is_dir()}


def trial_dirs(directory: Path) -> dict[int, Path]:
    """Return the directories ``trial_{trial}`` of a size by trial, in order.

    Raises
    ------
    InputError : two of them are of one trial
    """
    found: dict[int, Path] = {}
    for path in sorted(directory.glob("trial_*")):
        match = re.fullmatch(r"trial_(\d+)", path.name)
        if match and path.is_dir():
            number = int(match[1])
            if number in found:
                raise InputError(f"{directory}: {found[number].name} and {path.name} are one trial: move one elsewhere")
            found[number] = path
    return dict(sorted(found.items()))


def metric_files(study_dir: Path | str) -> dict[tuple[int, int | None], Path]:
    """Return every ``comparison_metrics.csv`` by (size, trial), without those of variants.

    A size is read from the directories of its trials; where it has none, from its own: the trial is None then, as the
    file itself may hold several.
    """
    files: dict[tuple[int, int | None], Path] = {}
    for size, directory in size_dirs(study_dir).items():
        trials = trial_dirs(directory)
        if not trials and (directory / COMPARISON_METRICS).is_file():
            files[size, None] = directory / COMPARISON_METRICS
        of_trials = {(size, n): path / COMPARISON_METRICS for n, path in trials.items()}
        files |= {key: path for key, path in of_trials.items() if path.is_file()}
    return files


def reconstruction_files(study_dir: Path | str) -> dict[tuple[int, int], Path]:
    """Return every ``reconstructions.npz`` by (size, trial), without those of variants."""
    found = {
        (size, trial): path / RECONSTRUCTIONS
        for size, directory in size_dirs(study_dir).items()
        for trial, path in trial_dirs(directory).items()
    }
    return {key: path for key, path in found.items() if path.is_file()}


def params_files(study_dir: Path | str) -> list[Path]:
    """Return the ``params.json`` of every training of a study, without those of variants."""
    return sorted(Path(study_dir).glob(f"train_*/trial_*/*_run/{PARAMS}"))
