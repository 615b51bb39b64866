"""What all rules share: the checked configuration, paths, and how a command is called."""

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from ptycho import config as study_config
from ptycho.data import plan
from ptycho.errors import InputError

PYTHON = sys.executable
SCRIPTS = workflow.source_path("../scripts/_command.py").rpartition("/")[0]
COMPARISON_FILES = ["comparison_metrics.csv", "comparison_plot.png"]

try:
    STUDY = study_config.StudyConfig.from_mapping(config)
    if workflow.is_main_process:
        COST = plan.check_and_estimate(STUDY)
        print(COST, file=sys.stderr)
except InputError as error:
    raise WorkflowError(str(error)) from None

OUT = STUDY.output_dir.rstrip("/")
NAME = Path(STUDY.input).stem if STUDY.input else "specimen"
PREPARED = f"{(STUDY.datasets_dir or f'{OUT}/datasets').rstrip('/')}/{NAME}_prepared"
STAGES = f"{PREPARED}/stages"
TRAIN_DATA = STUDY.train_data or f"{PREPARED}/{NAME}_final_downsampled_data_train.npz"
TEST_DATA = STUDY.test_data or f"{PREPARED}/{NAME}_final_downsampled_data_test.npz"
TRIALS = range(1, STUDY.num_trials + 1)
TRIAL = f"{OUT}/train_{{size}}/trial_{{trial}}"


wildcard_constraints:
    size=r"\d+",
    trial=r"\d+",


def stage(path):
    """A stage larger than the final data: deleted after use unless it is to be kept."""
    return path if STUDY.preparation.keep_stages else temp(path)


def plot_flags():
    """The flags of the plots section."""
    return [
        *study_config.as_flags(STUDY.plots, skip=("formats",)),
        "--formats",
        *STUDY.plots.formats,
    ]
