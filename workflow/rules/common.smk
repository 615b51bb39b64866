"""Shared by all rules: the validated configuration, the paths, and the flags of the commands."""

import dataclasses
import functools
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from ptycho.config import sweep
from ptycho.config.flags import as_flags
from ptycho.config.schema import VARIED, MeasuredConfig, PlotsConfig, StudyConfig
from ptycho.config.test_sets import resolved
from ptycho.errors import InputError
from ptycho.io.files import available_memory
from ptycho.results import layout
from ptycho.study import (
    concurrency,
    data_sets,
    directories,
    installation,
    preflight,
    progress,
)
from ptycho.study.inputs import InputRecord

COMPARISON_FILES = [layout.COMPARISON_METRICS, layout.COMPARISON_PLOT]

# Snakemake parses this file again in the process of each job, where nothing needs to be checked a second time. No
# documented name tells these processes from the first one.
MAIN_PROCESS = workflow.is_main_process

try:
    STUDY = StudyConfig.from_mapping(config)
    CUSTOM_FILE = STUDY.evaluation.custom_metrics
    CUSTOM_METRICS = []
    if CUSTOM_FILE:
        from ptycho.evaluation import custom_metrics

        # reads the names without executing the file, which only jobs and onstart do
        CUSTOM_METRICS = custom_metrics.names(CUSTOM_FILE)
    if MAIN_PROCESS:
        # workflow.snakefile is this file; workflow.basedir would be the folder of a workflow that uses this one as a module
        installation.check(Path(workflow.snakefile).parents[2])
        directories.check_directories(STUDY)
        if STUDY.plots.palette != PlotsConfig().palette:
            from ptycho.plotting import style

            # an unknown palette is reported now, not after the trainings
            style.model_looks([], STUDY.plots)
        if not STUDY.existing:
            print(preflight.check_and_estimate(STUDY), file=sys.stderr)
            for line in preflight.warnings(STUDY):
                print(f"warning: {line}", file=sys.stderr)
    # train and test data, by half, that the rule import_data converts to the study's format
    FOREIGN = {} if STUDY.existing else preflight.foreign_data(STUDY)
    OUT = directories.results_dir(STUDY)
    INPUTS = InputRecord(Path(OUT) / layout.INPUTS)
except InputError as error:
    sys.exit(f"error: {error}")

INPUT_FILES = [
    STUDY.input,
    STUDY.train_data,
    STUDY.test_data,
    STUDY.simulation.bad_pixels,
    STUDY.measured.bad_pixels,
    CUSTOM_FILE,
]
PREPARED_TRAIN = str(preflight.prepared_data(STUDY, "train"))
PREPARED_TEST = str(preflight.prepared_data(STUDY, "test"))
STAGES = os.path.join(os.path.dirname(PREPARED_TRAIN), "stages")
IMPORTED = {half: f"{OUT}/{layout.IMPORTED_DIR}/{half}.npz" for half in FOREIGN}
TRAIN_DATA = IMPORTED.get("train") or STUDY.train_data or PREPARED_TRAIN
TEST_DATA = IMPORTED.get("test") or STUDY.test_data or PREPARED_TEST
TRIALS = range(1, STUDY.num_trials + 1)
SIZE = f"{OUT}/{{branch}}train_{{size}}"  # branch: empty for the study itself, variants/NAME/ for a variant
TRIAL = f"{SIZE}/trial_{{trial}}"
BRANCHES = ["", *(f"variants/{name}/" for name in STUDY.variants)]
VARIANTS = {f"variants/{name}/": STUDY.variant(name) for name in STUDY.variants} | {
    "": STUDY
}


# the branches of variants that change the data
WITH_OWN_DATA = {
    f"variants/{name}/" for name in STUDY.variants if STUDY.varies_data(name)
}


def has_own_data(branch):
    """Return whether a branch is a variant that changes the data."""
    return branch in WITH_OWN_DATA


# further test sets of each branch; those of a variant are relative to its own settings
SETS = {
    branch: resolved(dataclasses.replace(study, test_sets=STUDY.test_sets))
    for branch, study in VARIANTS.items()
}
TARGET = (
    ["--target", *(f"{name}={value}" for name, value in STUDY.target.items())]
    if STUDY.target
    else []
)
# files that test sets and the data of variants are computed from, beside those of the study
SET_INPUTS = sorted(
    {
        path
        for sets in SETS.values()
        for one in sets
        for path in (
            one.test_data,
            one.study.measured.bad_pixels,
            one.study.simulation.bad_pixels,
        )
        if path
    }
)
MASKS = [study.simulation.bad_pixels for study in VARIANTS.values()]
INPUT_FILES += [path for path in {*SET_INPUTS, *MASKS} if path not in INPUT_FILES]
SET_NAMES = [one.name for one in SETS[""]]
STRENGTH_LISTS = {
    group: [one for one in SETS[""] if one.group == group and not one.network_is_exact]
    for group in {one.group: None for one in SETS[""] if one.strength}
}
SWEEPS = sweep.points(STUDY, VARIED)
# prepared data beside those of the study: by key, their settings and the halves that are needed
PREPARED = {}
for branch, study in [] if STUDY.existing else VARIANTS.items():
    for one in SETS[branch]:
        if one.own_data and not one.test_data:
            PREPARED.setdefault(
                data_sets.data_key(one.study, STUDY), (one.study, set())
            )
    if has_own_data(branch):
        key = data_sets.data_key(study, STUDY)
        PREPARED.setdefault(key, (study, set()))[1].add("train")
PREPARED.pop("", None)

ARM_DIRS = {
    "pinn": f"{TRIAL}/pinn_run",
    "baseline": f"{TRIAL}/baseline_run",
    "iterative": f"{OUT}/iterative",
    "refined": f"{TRIAL}/refined_run",
}
ARM_FILES = {
    "pinn": [layout.MODEL_FILES["pinn"], layout.HISTORY],
    "baseline": [layout.MODEL_FILES["baseline"], layout.HISTORY],
    "iterative": [layout.RECONSTRUCTION, layout.CONVERGENCE],
    "refined": [layout.RECONSTRUCTION, layout.CONVERGENCE],
}

# Jobs use the commands of this Snakemake's Python, those of another environment where a rule has one (conda).
if STUDY.gpu_memory_mb:
    os.environ.update(PTYCHO_GPU_MEMORY_MB=str(STUDY.gpu_memory_mb))
os.environ.update(
    PATH=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]),
)
if MAIN_PROCESS:
    os.environ.update(installation.variables())

# without --cores, as on a cluster, set-threads of the profile gives the cores of a job
try:
    CORES = workflow.cores
except WorkflowError:
    CORES = 1
# A job on a cluster may use the cores that were allocated to it, but is started with --cores all: of the whole node.
# No documented name tells such a job from a local one.
if workflow.remote_exec:
    CORES = int(os.environ.get("SLURM_CPUS_PER_TASK") or 1)
# concurrent trainings share the cores; the value of --resources gpu has no documented name, nor one type in all versions
LIMIT = workflow.global_resources.get("gpu")
LIMIT = getattr(LIMIT, "value", LIMIT)
if LIMIT == getattr(workflow, "default_trainings", None):
    # not of the user: another study in this workflow, as a module, has set it
    LIMIT = None
GPUS = concurrency.visible_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))
AT_A_TIME = LIMIT or 1
if (
    LIMIT is not None
    or STUDY.existing
    or workflow.remote_exec
    or not workflow.local_exec
):
    TRAINING_THREADS = max(1, CORES // max(1, LIMIT or 1))
else:
    # without a GPU always one, so that results do not depend on the memory that is free
    TRAINING_THREADS = max(1, CORES // GPUS) if GPUS else 1
    if MAIN_PROCESS:
        AT_A_TIME = concurrency.trainings_at_a_time(
            CORES,
            GPUS,
            available_memory(),
            max(STUDY.train_sizes),
            preflight.window_px(STUDY),
            max(study.training.batch_size for study in VARIANTS.values()),
        )
        workflow.register_resource("gpu", AT_A_TIME)
        workflow.default_trainings = AT_A_TIME
        print(
            f"trainings: {AT_A_TIME} at a time, "
            + (f"one on each of {GPUS} GPUs" if GPUS else "one core each, no GPU")
            + " (change: --resources gpu=N)",
            file=sys.stderr,
        )


wildcard_constraints:
    branch=r"(variants/[a-z][a-z0-9_]*/)?",
    size=r"[1-9]\d*",
    trial=r"[1-9]\d*",


def stage(path):
    """Return an intermediate file that is deleted after its last use, unless the configuration keeps it."""
    return path if STUDY.preparation.keep_stages else temp(path)


def replaced(*inputs):
    """Return the param of a rule whose input files were replaced since the study's first run, else none.

    It repeats the jobs of the rule where time stamps do not, as those of an older file. Rules whose inputs are the
    first ones keep their params: finished studies are not computed again.
    """
    found = INPUTS.replaced(inputs)
    return {"replaced": found} if found else {}


def replaced_import():
    """Return the param of import_data where a half or the mask was replaced; that of the other half is no news."""
    mask = STUDY.measured.bad_pixels
    if not replaced(mask, *FOREIGN.values()):
        return {}
    # a param already: Snakemake compares the set of them
    unchanged = as_flags(STUDY.measured)
    return {
        "replaced": lambda wildcards: INPUTS.replaced([mask, FOREIGN[wildcards.half]])
        or unchanged
    }


def warn_of_replaced_inputs():
    """Name the inputs that were replaced during the run: jobs before and after have read different data."""
    if MAIN_PROCESS:
        for name in INPUTS.changed_since_update():
            print(
                f"warning: {name} was replaced during the run: run the same command again, "
                "which repeats the jobs that depend on it",
                file=sys.stderr,
            )


def data_of(branch, half):
    """Return the data file of a half, ``train`` or ``test``, of a branch."""
    if has_own_data(branch):
        return prepared_file(VARIANTS[branch], half)
    return {"train": TRAIN_DATA, "test": TEST_DATA}[half]


def prepared_file(study, half):
    """Return the prepared data file of a half of a study, its own or that of a test set or variant."""
    if not data_sets.data_key(study, STUDY):
        return {"train": PREPARED_TRAIN, "test": PREPARED_TEST}[half]
    return f"{OUT}/{data_sets.data_file(study, STUDY, half)}"


def iterative_dir(branch):
    """Return the directory of the iterative arm of a branch."""
    return f"{OUT}/{branch}iterative" if has_own_data(branch) else ARM_DIRS["iterative"]


def arm_dir(arm, branch):
    """Return the directory of an arm of a branch, with the wildcards branch, size and trial."""
    return iterative_dir(branch) if arm == "iterative" else ARM_DIRS[arm]


def arms(branch):
    """Return the arms of a branch: all arms of the study, or those that a variant changes."""
    changed = {"": STUDY.arms} | {
        f"variants/{name}/": STUDY.varied_arms(name) for name in STUDY.variants
    }
    return changed[branch]


def arm_files(branch):
    """Return the files of all arms of a branch, with the wildcards size and trial."""
    files = (
        f"{arm_dir(arm, branch)}/{file}"
        for arm in arms(branch)
        for file in ARM_FILES[arm]
    )
    return expand(files, branch=branch, allow_missing=True)


def analysed(wildcards):
    """Return the directory whose trials are analysed."""
    return STUDY.existing or OUT


def analysis(wildcards):
    """Return the directory that tables, plots and the summary are written to."""
    return OUT


def plot_flags():
    """Return the command-line flags of the configuration section plots."""
    return [
        *as_flags(STUDY.plots, skip=("formats", "scaling_law")),
        *(["--scaling_law"] if STUDY.plots.scaling_law else []),
        "--formats",
        *STUDY.plots.formats,
    ]


def measured(*halves):
    """Return the section measured for a job that reads these halves: nothing is left to state if all are imported."""
    return MeasuredConfig() if IMPORTED.keys() >= set(halves) else STUDY.measured


def training_epochs(flag):
    """Return a params function: the number of epochs of a branch, behind the flag of the command."""
    return lambda wildcards: f"{flag} {VARIANTS[wildcards.branch].training.epochs}"


def training_flags(kind, *halves):
    """Return a params function: the flags of a training of the model ``kind`` (pinn, baseline) in a branch.

    ``halves`` are those that the training reads, ``train`` and ``test``.
    """

    def flags(wildcards):
        study = VARIANTS[wildcards.branch]
        return [
            "--seed",
            str(STUDY.seed),
            *as_flags(study.training, skip=("epochs",)),
            *as_flags(getattr(study, kind)),
            *as_flags(measured(*halves)),
        ]

    return flags


def training_memory(wildcards, attempt):
    """Return the memory to request from a cluster, MB: the program, and the patterns and patches of each image."""
    size, study = int(wildcards.size), VARIANTS[wildcards.branch]
    needed = concurrency.needed_mb(
        size, training_window(wildcards.branch), study.training.batch_size
    )
    return attempt * max(4000 + size, int(1.3 * needed))


@functools.cache
def training_window(branch):
    """Return N of the patterns of a branch, pixels."""
    return preflight.window_px(VARIANTS[branch])


def import_memory(wildcards, input, attempt):
    """Return the memory to request from a cluster, MB: a file is read whole, and takes up to five times its size."""
    return attempt * (4000 + 5 * int(input.size_mb))


def training_minutes(wildcards, attempt):
    """Return the time to request from a cluster, minutes; a job that exceeds it resumes from its checkpoint."""
    return attempt * (30 + int(wildcards.size) // 20)


def micro_batches(wildcards, attempt):
    """Return the number of parts of a batch, doubled at each retry to save memory; the result is the same."""
    return 2 ** (attempt - 1)


def benchmark_name(job):
    """Return the benchmark file of a job of a trial: its run time and memory."""
    return f"{OUT}/{{branch}}benchmarks/{job}_{{size}}_{{trial}}.tsv"


def log_name(job):
    """Return the log file of a job of a trial."""
    return f"{OUT}/{{branch}}logs/{job}_{{size}}_{{trial}}.log"
