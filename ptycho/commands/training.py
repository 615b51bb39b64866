"""Shared by train.py and run_baseline.py: the flags of data, trial and model, and training with all checks."""

import argparse
import contextlib
import fcntl
import importlib.util
import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ptycho.commands.cli import buffer_log_records, log_to
from ptycho.commands.inference import read_scan
from ptycho.config.flags import Typed, add_flags, from_flags
from ptycho.config.schema import BaselineConfig, MeasuredConfig, PinnConfig, StudyConfig, TrainingConfig, check_pinn
from ptycho.data.dataset import Dataset
from ptycho.data.lazy import map_chunks
from ptycho.errors import InputError
from ptycho.io import files
from ptycho.physics import stitching
from ptycho.preparation import normalize
from ptycho.results.layout import TENSORBOARD_DIR, TRAINING_LOG
from ptycho.study.preflight import WINDOW_MULTIPLE

logger = logging.getLogger(__name__)
TENSORBOARD = "PTYCHO_TENSORBOARD"


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
    parser.add_argument(
        "--tensorboard", action="store_true", default=os.environ.get(TENSORBOARD) == "1",
        help=f"log losses and learning rate for TensorBoard in OUTPUT_DIR/tensorboard; {TENSORBOARD}=1 in the "
        "environment does so for the trainings of a study",
    )  # fmt: skip
    training = parser.add_argument_group("training")
    training.add_argument(
        epochs_flag, dest="epochs", type=int, action=Typed, default=defaults.training.epochs,
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


LOCK = ".training.lock"
_held: list[IO[str]] = []  # the lock of this process's output directory, held until the process ends


def lock_output_dir(directory: Path) -> None:
    """Create and lock an output directory until the process ends.

    Raises
    ------
    InputError : another training writes to it, for example one that outlived its Snakemake
    """
    directory.mkdir(parents=True, exist_ok=True)
    _held.append((directory / LOCK).open("w"))
    try:
        fcntl.flock(_held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{directory}: another training writes here: wait until it has ended, or end it") from None
    except OSError as error:
        logger.warning("%s: no lock (%s): do not start a second training there", directory, error.strerror)


@contextlib.contextmanager
def _no_traces_of_refusal(new: list[Path], train_data: Path) -> Iterator[None]:
    """Remove the log, the lock and the output directory of a training that was refused, as far as they are new.

    Parameters
    ----------
    new : those of directory and log that did not exist before
    train_data : named in the error
    """
    try:
        with files.error_context(train_data):
            yield
    except InputError:
        for path in new:
            if path.name == TRAINING_LOG:
                path.unlink(missing_ok=True)
                (path.parent / LOCK).unlink(missing_ok=True)
        for path in new:
            with contextlib.suppress(OSError):  # not empty: it holds checkpoints
                path.rmdir()
        raise


def _checked_data(
    arguments: argparse.Namespace, config: Any, train_data: Path, test_data: Path | None
) -> tuple[Dataset, Dataset | None]:
    """Return training and test data that the training can use; InputError, before it leaves any file, where not."""
    as_measured = from_flags(MeasuredConfig, arguments)
    dataset = read_scan(train_data, as_measured)
    if dataset.window_px % WINDOW_MULTIPLE:
        raise InputError(
            f"{train_data}: patterns of {dataset.window_px} pixels, expected a multiple of {WINDOW_MULTIPLE}: crop or "
            "pad them"
        )
    if isinstance(config, BaselineConfig):
        _require_truth(dataset, train_data)
    if test_data is None:
        return dataset, None
    test = read_scan(test_data, as_measured)
    if test.window_px != dataset.window_px:
        raise InputError(
            f"{test_data}: patterns of {test.window_px} pixels, but {train_data} has {dataset.window_px}: "
            "training and test data must come from one preparation"
        )
    with files.error_context(test_data):  # an error now, not after the training
        stitching.evaluated_region(test.xcoords, test.ycoords, test.window_px, test.object_shape)
    return dataset, test


def _require_truth(dataset: Dataset, path: Path) -> None:
    """Raise InputError where the baseline has no patches to learn from, or they are zero everywhere, or not finite."""
    patches = dataset.patches
    if patches is None and dataset.object is None:
        raise InputError(
            f"{path}: neither Y nor objectGuess: the baseline has nothing to learn from; train PtychoPINN (train.py), "
            "or add the object to the file"
        )
    if patches is not None and not any(list(map_chunks(lambda part: patches[part].any(), len(dataset)))):
        raise InputError(f"{path}: Y is zero everywhere: the baseline has nothing to learn from; make the file again")


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
    if arguments.tensorboard and not importlib.util.find_spec("tensorboard"):
        raise InputError(
            f"logs for TensorBoard (--tensorboard, {TENSORBOARD}) need the package tensorboard: install it, or leave "
            "them out"
        )
    buffered = buffer_log_records()
    dataset, test = _checked_data(arguments, config, train_data, test_data)
    if isinstance(config, PinnConfig):
        check_pinn(config, training_config)
    if arguments.micro_batches < 1:
        raise InputError(f"--micro_batches is {arguments.micro_batches}: expected 1 or more")
    n_images = len(dataset) if arguments.n_images is None else arguments.n_images
    if not 1 <= n_images <= len(dataset):
        raise InputError(
            f"Not enough training images: requested {n_images}, but {train_data} holds {len(dataset)}: ask for 1 to "
            f"{len(dataset)}, or make the dataset larger (simulation.n_images)"
        )
    new = [path for path in (arguments.output_dir, arguments.output_dir / TRAINING_LOG) if not path.exists()]
    lock_output_dir(arguments.output_dir)
    log_to(arguments.output_dir / TRAINING_LOG, buffered)
    from ptycho.models import checkpoints, devices, serialization
    from ptycho.models.run import history_summary, train  # after the checks: TensorFlow takes seconds to import

    devices.configure()
    with devices.explain_out_of_memory(devices.TRAINING_ADVICE), _no_traces_of_refusal(new, train_data):
        trained = train(
            dataset, config, training_config, n_images=n_images, seed=arguments.seed, trial=arguments.trial,
            checkpoint_dir=arguments.output_dir, micro_batches=arguments.micro_batches,
            log_dir=arguments.output_dir / TENSORBOARD_DIR if arguments.tensorboard else None,
        )  # fmt: skip
    if test is not None:
        test = normalize.match_counts_scale(test, dataset.counts_scale)
    trained.params.update(device=devices.device_name())
    trained.params.update(commit=commit(), train_data=str(train_data), test_data=str(test_data) if test_data else None)
    serialization.save(arguments.output_dir, trained.model, trained.params, trained.history)
    checkpoints.remove_checkpoints(arguments.output_dir)
    logger.info("%s: %s", arguments.output_dir, history_summary(trained.history))
    return trained, test
