"""Copy the trainings and scores of a study into an MLflow experiment.

The experiment gets a run for each model, number of training images and trial: its configuration as parameters, loss and
val_loss by epoch, and the metrics of comparison_metrics.csv. DESTINATION is a folder, or the address of a tracking
server (https://...) or of a database (sqlite:///..., which needs all of MLflow). Needs the extra mlflow:
pip install --editable '.[mlflow]'
"""

import argparse
import logging
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ptycho.commands.cli import entry_point, say
from ptycho.errors import InputError
from ptycho.io import text
from ptycho.results import layout
from ptycho.results.schema import IDENTITY, KEYS, TRAINED, models
from ptycho.study import artifacts, directories, tables
from ptycho.study.trials import read_trials

logger = logging.getLogger(__name__)

MISSING = "exporting needs mlflow-skinny: install the extra mlflow: pip install --editable '.[mlflow]'"
ENVIRONMENT = {  # what MLflow reads, where it is not set: no reports of usage, folders, seconds instead of minutes
    "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3"
}  # fmt: skip
STORE = ".trash"  # in every folder that MLflow keeps
SECTIONS = ("config", "training")  # of params.json
VALUES = ("window_px", "precision", "n_images", "seed")  # of params.json
LIMIT = 1000  # metrics that MLflow takes at a time


class Run(NamedTuple):
    """What is known of one model of a trial.

    Parameters
    ----------
    name : such as ``pinn 512 images trial 1``
    tags, params : of any kind; MLflow keeps their text
    metrics : name, value, epoch from 1; 0 for the scores
    """

    name: str
    tags: dict[str, Any]
    params: dict[str, Any]
    metrics: list[tuple[str, float, int]]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="output_dir of a study")
    parser.add_argument("destination", help="folder, or address of an MLflow tracking server")
    parser.add_argument("--experiment", help="name of the experiment; it must be new (default: name of the study)")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Write the experiment and say how many runs it has.

    Raises
    ------
    InputError : no study, an experiment of this name, a destination that cannot be used, or a missing package
    """
    study: Path = arguments.study
    destination: str = arguments.destination
    address = _address(destination)
    experiment = arguments.experiment or study.resolve().name
    directories.require_no_run(study)
    runs = list(read_runs(study))
    os.environ.update({key: value for key, value in ENVIRONMENT.items() if key not in os.environ})
    try:
        import mlflow
    except ImportError as error:
        raise InputError(f"{MISSING} ({error})") from error
    try:
        client = mlflow.MlflowClient(tracking_uri=address)
        if client.get_experiment_by_name(experiment) is not None:
            raise InputError(f"{destination}: there is an experiment {experiment!r}: give another name by --experiment")
        number = client.create_experiment(f"{experiment} incomplete {time.time_ns()}")  # a repetition may follow
        for run in runs:
            _log(client, number, run)
        client.rename_experiment(number, experiment)
    except ImportError as error:
        raise InputError(f"{destination}: it needs all of MLflow: pip install mlflow ({error})") from error
    except mlflow.MlflowException as error:
        raise InputError(f"{destination}: MLflow cannot use it ({' '.join(str(error).split())})") from error
    say(f"{destination}: experiment {experiment!r}, {len(runs)} runs")


def _address(destination: str) -> str:
    """Return the address of a server or folder; InputError where it is neither, or the folder holds other files."""
    if "://" in destination:
        return destination
    if not destination or ":" in destination:
        raise InputError(f"destination {destination!r}: expected a folder, or an address such as http://localhost:5000")
    path = Path(destination).expanduser()
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file, expected a folder, which may be new, or the address of a server")
    if path.is_dir() and any(path.iterdir()) and not (path / STORE).is_dir():
        raise InputError(f"{path} holds other files: name a new folder, or one that MLflow has written")
    return path.absolute().as_uri()


def read_runs(study: Path) -> Iterator[Run]:
    """Yield the models of a study, in the order of ``results_all_trials.csv``."""
    wide = tables.results_all_trials(read_trials(study))
    known = models(wide)
    scores = [str(name) for name in wide.select_dtypes("number") if name not in KEYS]
    for row in wide.to_dict("records"):
        size, trial, kind = (row[key] for key in KEYS)
        model = known[kind]
        history = artifacts.read_history(study, size, trial, model) if model.arm in TRAINED else {}
        losses = [(key, value, i) for key in ("loss", "val_loss") for i, value in enumerate(history.get(key, []), 1)]
        numbers = [(name, row[name], 0) for name in scores]
        yield Run(
            name=f"{kind} {size} images trial {trial}",
            tags={"status": row["status"], **{name: row[name] for name in IDENTITY}, "study": study.resolve()},
            params={"model": kind, "train_size": size, "trial": trial, **_parameters(study, size, trial, model)},
            metrics=[(k, float(v), i) for k, v, i in (*numbers, *losses) if v is not None and math.isfinite(v)],
        )


def _parameters(study: Path, size: int, trial: int, model: Any) -> dict[str, Any]:
    """Return the configuration of a model, keys as in config.yaml; empty where nothing was trained."""
    path = artifacts.run_dir(study, size, trial, model) / layout.PARAMS
    if model.arm not in TRAINED or not path.is_file():
        return {}
    params = text.read_json(path)
    if not isinstance(params, dict) or not all(isinstance(params.get(name, {}), dict) for name in SECTIONS):
        logger.warning("%s: not the parameters of a training: they are left out", path)
        return {}
    prefix = {"config": model.arm, "training": "training"}
    sections = {f"{prefix[name]}.{key}": value for name in SECTIONS for key, value in params.get(name, {}).items()}
    return {name: params[name] for name in VALUES if name in params} | sections


def _log(client: Any, experiment: str, run: Run) -> None:
    """Write one run."""
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    tags = [RunTag(key, str(value)) for key, value in run.tags.items()]
    params = [Param(key, str(value)) for key, value in run.params.items()]
    metrics = [Metric(name, value, now, epoch) for name, value, epoch in run.metrics]
    number = client.create_run(experiment, run_name=run.name).info.run_id
    client.log_batch(number, params=params, tags=tags)
    for start in range(0, len(metrics), LIMIT):
        client.log_batch(number, metrics=metrics[start : start + LIMIT])
    client.set_terminated(number, "FINISHED" if run.tags["status"] in ("ok", "no_truth") else "FAILED")


entry = entry_point(main, build_parser)
