"""What all rules share: the checked configuration, paths, and how a command is called."""

import os
import shlex
import sys
from pathlib import Path

from ptycho import config as study_config
from ptycho.data import plan
from ptycho.errors import InputError
from ptycho.evaluation import custom

ROOT = os.path.dirname(os.path.abspath(workflow.basedir))
SCRIPTS = shlex.quote(os.path.relpath(os.path.join(workflow.basedir, "scripts")))
COMPARISON_FILES = ["comparison_metrics.csv", "comparison_plot.png"]

try:
    STUDY = study_config.StudyConfig.from_mapping(config)
    CUSTOM_FILE = STUDY.evaluation.custom_metrics
    CUSTOM_METRICS = custom.names(CUSTOM_FILE) if CUSTOM_FILE else []
    if workflow.is_main_process:
        if CUSTOM_FILE:
            custom.load(CUSTOM_FILE)  # tried before hours of training
        if STUDY.existing is None:
            print(plan.check_and_estimate(STUDY), file=sys.stderr)
except InputError as error:
    sys.exit(f"error: {error}")

OUT = (STUDY.existing or STUDY.output_dir).rstrip("/")
PREPARED_TRAIN = str(plan.prepared_data(STUDY, "train"))
PREPARED_TEST = str(plan.prepared_data(STUDY, "test"))
STAGES = os.path.join(os.path.dirname(PREPARED_TRAIN), "stages")
TRAIN_DATA = STUDY.train_data or PREPARED_TRAIN
TEST_DATA = STUDY.test_data or PREPARED_TEST
TRIALS = range(1, STUDY.num_trials + 1)
TRIAL = f"{OUT}/train_{{size}}/trial_{{trial}}"

# Commands run with the Python that runs Snakemake and the package beside this workflow, wherever it is run from.
os.environ.update(
    PATH=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]),
    PYTHONPATH=os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")])),
)

GPU_SLOTS = workflow.global_resources.get("gpu")
TRAINING_THREADS = max(
    1, (workflow.cores or 1) // max(1, (GPU_SLOTS and GPU_SLOTS.value) or 1)
)


wildcard_constraints:
    size=r"[1-9]\d*",
    trial=r"[1-9]\d*",


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


def script(command):
    """The shell command that runs one of the workflow's scripts."""
    return f"python {SCRIPTS}/{command}"


def training_flags(section):
    """The flags that both trainings share, and those of their own section."""
    return [
        "--seed",
        str(STUDY.seed),
        *study_config.as_flags(STUDY.training, skip=("epochs",)),
        *study_config.as_flags(section),
        *study_config.as_flags(STUDY.measured),
    ]
