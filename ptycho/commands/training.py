"""Shared by train.py and run_baseline.py: the flags of data, trial and model, and training with all checks."""

import argparse
import fcntl
import logging
import subprocess
from pathlib import Path
from typing import IO, Any

from ptycho.commands.cli import buffer_log_records, log_to
from ptycho.config.flags import add_flags, from_flags
from ptycho.config.schema import BaselineConfig, MeasuredConfig, StudyConfig, TrainingConfig
from ptycho.errors import InputError
from ptycho.io import files
from ptycho.physics import stitching
from ptycho.preparation import normalize
from ptycho.preparation.load import load_scan
from ptycho.results.layout import TRAINING_LOG

logger = logging.getLogger(__name__)


def add_common_flags(parser: argparse.ArgumentParser, epochs_flag: str, section: Any) -> None:
    """Add the flags of trial, training, model and measured data.

    Parameters
    ----------
    epochs_flag : the name of that flag, which differs between the commands
    section : :class:`~ptycho.config.schema.PinnConfig` or :class:`~ptycho.config.schema.BaselineConfig`
    """
    defaults = StudyConfig()
    parser.add_argument("--n_images", type=int, help="diffraction patterns to train on (default: all there are)")
    parser.add_argument("--output_dir", type=Path, required=True, help="where the model is written")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of the study (default: %(default)s)")
    parser.add_argument("--trial", type=int, default=1, help="which repetition (default: %(default)s)")
    parser.add_argument(
        "--micro_batches", type=int, default=1,
        help="parts in which a batch passes through the network, to save memory; the result is the same "
        "(default: %(default)s)",
    )  # fmt: skip
    training = parser.add_argument_group("training")
    training.add_argument(
        epochs_flag, dest="epochs", type=int, default=defaults.training.epochs,
        help="passes over the training images (default: %(default)s)",
    )  # fmt: skip
    add_flags(training, TrainingConfig, skip=("epochs",))
    add_flags(parser.add_argument_group("model"), section)
    add_flags(parser.add_argument_group("measured data"), MeasuredConfig)


def commit() -> str | None:
    """Return the commit of this checkout (``git describe``), None without git or outside of a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None


_held: list[IO[str]] = []  # the lock of this process's output directory, held until the process ends


def lock_output_dir(directory: Path) -> None:
    """Create and lock an output directory until the process ends.

    Raises
    ------
    InputError : another training writes to it, for example one that outlived its Snakemake
    """
    directory.mkdir(parents=True, exist_ok=True)
    _held.append((directory / ".training.lock").open("w"))
    try:
        fcntl.flock(_held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(f"{directory}: another training writes here: wait until it has ended, or end it") from None


def train_and_save(arguments: argparse.Namespace, section: Any, train_data: Path, test_data: Path | None) -> Any:
    """Train a model as the flags say, and write it to ``output_dir``.

    Parameters
    ----------
    arguments : parsed flags of :func:`add_common_flags`
    section : class of the model's section of the configuration
    train_data : training data file
    test_data : test data file, which is checked to fit before the training, or None

    Returns
    -------
    trained : :class:`ptycho.models.run.TrainingResult`
    test : the test data in the counts scale of the training data, or None

    Raises
    ------
    InputError : data or flags that cannot be used, a locked output directory, or not enough memory
    """
    config, training_config = from_flags(section, arguments), from_flags(TrainingConfig, arguments)
    as_measured = from_flags(MeasuredConfig, arguments)
    buffered = buffer_log_records()
    dataset = load_scan(train_data, as_measured)
    test = load_scan(test_data, as_measured) if test_data else None
    if test is not None and test.window_px != dataset.window_px:
        raise InputError(
            f"{test_data}: patterns of {test.window_px} pixels, but {train_data} has {dataset.window_px}: "
            "training and test data must come from one preparation"
        )
    if test is not None and test_data is not None:
        with files.error_context(test_data):  # an error now, not after the training
            stitching.evaluated_region(test.xcoords, test.ycoords, test.window_px, test.object_shape)
    if arguments.micro_batches < 1:
        raise InputError(f"micro_batches is {arguments.micro_batches}: expected 1 or more")
    n_images = len(dataset) if arguments.n_images is None else arguments.n_images
    if not 1 <= n_images <= len(dataset):
        raise InputError(
            f"Not enough training images: requested {n_images}, but {train_data} holds {len(dataset)}: ask for 1 to "
            f"{len(dataset)}, or make the dataset larger (simulation.n_images)"
        )
    if section is BaselineConfig and dataset.patches is None and dataset.object is None:
        raise InputError(
            f"{train_data}: neither Y nor objectGuess: the baseline has nothing to learn from; train PtychoPINN "
            "(train.py), or add the object to the file"
        )
    lock_output_dir(arguments.output_dir)
    log_to(arguments.output_dir / TRAINING_LOG, buffered)
    from ptycho.models import checkpoints, devices, serialization
    from ptycho.models.run import history_summary, train  # after the checks: TensorFlow takes seconds to import

    devices.configure()
    with devices.explain_out_of_memory(devices.TRAINING_ADVICE):
        trained = train(
            dataset, config, training_config, n_images=n_images, seed=arguments.seed, trial=arguments.trial,
            checkpoint_dir=arguments.output_dir, micro_batches=arguments.micro_batches,
        )  # fmt: skip
    if test is not None:
        test = normalize.match_counts_scale(test, dataset.counts_scale)
    trained.params.update(device=devices.device_name())
    trained.params.update(commit=commit(), train_data=str(train_data), test_data=str(test_data) if test_data else None)
    serialization.save(arguments.output_dir, trained.model, trained.params, trained.history)
    checkpoints.remove_checkpoints(arguments.output_dir)
    logger.info("%s: %s", arguments.output_dir, history_summary(trained.history))
    return trained, test
