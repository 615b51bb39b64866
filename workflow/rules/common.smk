"""What all rules share: the checked configuration, paths, and how a command is called."""

import os
import shlex
import sys
from pathlib import Path

from ptycho.config.flags import as_flags
from ptycho.config.schema import PlotsConfig, StudyConfig
from ptycho.errors import InputError
from ptycho.study import preflight

HERE = os.path.dirname(
    workflow.current_basedir.get_path_or_uri(secret_free=True)
)  # of a module, too
if not os.path.isdir(HERE):
    sys.exit(
        f"error: {HERE}: no folder here: clone this workflow and name its Snakefile by path"
    )
ROOT = os.path.dirname(os.path.abspath(HERE))
SCRIPTS = shlex.quote(os.path.relpath(os.path.join(HERE, "scripts")))
COMPARISON_FILES = ["comparison_metrics.csv", "comparison_plot.png"]

try:
    STUDY = StudyConfig.from_mapping(config)
    CUSTOM_FILE = STUDY.evaluation.custom_metrics
    CUSTOM_METRICS = []
    if CUSTOM_FILE:
        from ptycho.evaluation import custom_metrics

        CUSTOM_METRICS = custom_metrics.names(CUSTOM_FILE)
        if workflow.is_main_process:
            custom_metrics.load(CUSTOM_FILE)  # tried before hours of training
    if workflow.is_main_process:
        if STUDY.plots.palette != PlotsConfig().palette:
            from ptycho.plotting import style

            style.model_looks([], STUDY.plots)  # likewise
        if not STUDY.existing:
            print(preflight.check_and_estimate(STUDY), file=sys.stderr)
except InputError as error:
    sys.exit(f"error: {error}")

# of a study made before, what is made anew stands beside what it brought
OUT = f"{STUDY.existing}/analysis" if STUDY.existing else STUDY.output_dir.rstrip("/")
PREPARED_TRAIN = str(preflight.prepared_data(STUDY, "train"))
PREPARED_TEST = str(preflight.prepared_data(STUDY, "test"))
STAGES = os.path.join(os.path.dirname(PREPARED_TRAIN), "stages")
TRAIN_DATA = STUDY.train_data or PREPARED_TRAIN
TEST_DATA = STUDY.test_data or PREPARED_TEST
TRIALS = range(1, STUDY.num_trials + 1)
SIZE = f"{OUT}/{{branch}}train_{{size}}"  # branch is empty, or variants/NAME/
TRIAL = f"{SIZE}/trial_{{trial}}"
BRANCHES = ["", *(f"variants/{name}/" for name in STUDY.variants)]
VARIANTS = {f"variants/{name}/": STUDY.variant(name) for name in STUDY.variants} | {
    "": STUDY
}

ARM_DIRS = {
    "pinn": f"{TRIAL}/pinn_run",
    "baseline": f"{TRIAL}/baseline_run",
    "iterative": f"{OUT}/iterative",
    "refined": f"{TRIAL}/refined_run",
}
ARM_FILES = {
    "pinn": ["wts.h5.zip", "history.json"],
    "baseline": ["baseline_model.h5", "history.json"],
    "iterative": ["reconstruction.npz", "convergence.csv"],
    "refined": ["reconstruction.npz", "convergence.csv"],
}

# Commands run with the Python that runs Snakemake and the package beside this workflow, wherever it is run from.
if STUDY.gpu_memory_mb:
    os.environ.update(PTYCHO_GPU_MEMORY_MB=str(STUDY.gpu_memory_mb))
os.environ.update(
    PATH=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]),
    PYTHONPATH=os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")])),
)

# a job of a cluster has the cores it was given, which the cluster's profile sets by set-threads
CORES = workflow.resource_settings.cores or 1
if workflow.remote_exec:
    CORES = int(os.environ.get("SLURM_CPUS_PER_TASK") or 1)
GPU_SLOTS = workflow.global_resources.get("gpu")
TRAINING_THREADS = max(1, CORES // max(1, (GPU_SLOTS and GPU_SLOTS.value) or 1))


wildcard_constraints:
    branch=r"(variants/[a-z][a-z0-9_]*/)?",
    size=r"[1-9]\d*",
    trial=r"[1-9]\d*",


def stage(path):
    """A stage larger than the final data: deleted after use unless it is to be kept."""
    return path if STUDY.preparation.keep_stages else temp(path)


def arms(branch):
    """The arms of a branch: of a variant those that it changes."""
    changed = {"": STUDY.arms} | {
        f"variants/{name}/": STUDY.varied_arms(name) for name in STUDY.variants
    }
    return changed[branch]


def arm_files(branch):
    """The files of all arms of a trial, with its size and trial left open."""
    files = (
        f"{ARM_DIRS[arm]}/{file}" for arm in arms(branch) for file in ARM_FILES[arm]
    )
    return expand(files, branch=branch, allow_missing=True)


def analysed(wildcards):
    """The directory whose trials are gathered."""
    return STUDY.existing or OUT


def analysis(wildcards):
    """The directory that tables, plots and the summary go to."""
    return OUT


def plot_flags():
    """The flags of the plots section."""
    return [
        *as_flags(STUDY.plots, skip=("formats",)),
        "--formats",
        *STUDY.plots.formats,
    ]


def script(command):
    """The shell command that runs one of the workflow's scripts."""
    return f"python {SCRIPTS}/{command}"


def training_flags(kind):
    """The flags that both trainings share, and those of their own section, as the branch has them."""

    def flags(wildcards):
        study = VARIANTS[wildcards.branch]
        return [
            "--seed",
            str(STUDY.seed),
            *as_flags(study.training, skip=("epochs",)),
            *as_flags(getattr(study, kind)),
            *as_flags(STUDY.measured),
        ]

    return flags


def training_memory(wildcards, attempt):
    """Memory for the cluster, MB: the program, and of each image its patterns, patches and made ones."""
    return attempt * (4000 + int(wildcards.size))


def training_minutes(wildcards, attempt):
    """Time for the cluster: generous, as a job that is cut off goes on after its last epoch."""
    return attempt * (30 + int(wildcards.size) // 20)


def micro_batches(wildcards, attempt):
    """Parts of a batch: halved at every retry, in case that memory ran out; the training stays the same."""
    return 2 ** (attempt - 1)


def benchmark_name(job):
    """Where a job of a trial notes its time and memory."""
    return f"{OUT}/{{branch}}benchmarks/{job}_{{size}}_{{trial}}.tsv"


def log_name(job):
    """Where a job of a trial writes its log."""
    return f"{OUT}/{{branch}}logs/{job}_{{size}}_{{trial}}.log"
