"""Reconstruct further test sets with the models of a trial, and score them as the held-out half is scored.

Each --set is a JSON object: name, data (dataset npz), and where they apply held_out (the data are the study's own
test half), measured (keys of the section measured), probe_error (errors of the probe and positions that are assumed),
network_is_exact (the network keeps the exact probe), iterative_dir (with reconstruction.npz of the same set). Writes,
for each set,
OUTPUT_DIR/test_NAME/ with the files of compare_models.py.
"""

import argparse
import itertools
import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.commands import compare
from ptycho.commands.assumed import assumed, assumed_probe_of, in_training_unit
from ptycho.commands.cli import entry_point
from ptycho.commands.inference import (
    EVALUATION_ALIASES,
    NAMES,
    TrainedModel,
    load_trained,
    sampled,
    stitched,
    training_status,
    warn_if_not_finite,
)
from ptycho.config.flags import add_flags, from_flags
from ptycho.config.keys import checked
from ptycho.config.schema import EvaluationConfig, IterativeConfig, MeasuredConfig, PlotsConfig, StudyConfig
from ptycho.config.test_sets import ProbeErrorConfig
from ptycho.data.dataset import Dataset
from ptycho.data.metadata import Metadata
from ptycho.data.seeds import derive_seed
from ptycho.errors import InputError
from ptycho.evaluation import comparison, custom_metrics
from ptycho.evaluation.scan import ScanComparison
from ptycho.io import npz
from ptycho.physics import phase_retrieval
from ptycho.results import layout, schema

logger = logging.getLogger(__name__)

PICTURE_DPI = 120  # at most, of the figures of a test set in a trial: they are looked at, not printed


@dataclass(frozen=True)
class GivenSet:
    """A test set as the command line gives it, see the module."""

    name: str
    data: Path
    held_out: bool
    measured: MeasuredConfig
    error: ProbeErrorConfig
    network_is_exact: bool
    iterative_dir: Path | None

    @classmethod
    def parse(cls, word: str) -> "GivenSet":
        """Return the set of a JSON object; InputError where it is none, or lacks name or data."""
        try:
            given = json.loads(word)
        except ValueError as error:
            raise InputError(f"--set: {word:.60}: not JSON ({error})") from error
        if not isinstance(given, dict) or not {"name", "data"} <= given.keys():
            raise InputError(f"--set: {word:.60}: expected a JSON object with name and data")
        where = f"--set {given['name']}: "
        iterative = given.get("iterative_dir")
        return cls(
            str(given["name"]),
            Path(given["data"]),
            bool(given.get("held_out")),
            checked(MeasuredConfig, given.get("measured", {}), f"{where}measured."),
            checked(ProbeErrorConfig, given.get("probe_error", {}), f"{where}probe_error."),
            bool(given.get("network_is_exact")),
            None if iterative is None else Path(iterative),
        )


class _Network:
    """A trained model on the data of a test set; patches under the exact probe are computed once.

    Parameters
    ----------
    trained : the model
    scaled : the data in its unit
    held_out : the data are of the scan that it was trained on, so that the exact probe is the network's own
    """

    def __init__(self, trained: TrainedModel, scaled: Dataset, held_out: bool) -> None:
        from ptycho.models import probe_weights

        self.trained, self.scaled = trained, scaled
        self.probe = probe_weights.network_probe(trained.model) if held_out else scaled.probe
        self._exact: tuple[npt.NDArray[np.complex64], float] | None = None

    def stitched(self, one: GivenSet, seed: int, settings: EvaluationConfig) -> tuple[Any, float]:
        """Return the stitched object of a set, by its assumed probe and positions, and the wall time, s."""
        scan = assumed(self.scaled, one.error, seed)
        moved = one.error.position_jitter_px and self.trained.model.config.gridsize > 1
        if (one.error.of_probe and not one.network_is_exact) or moved:
            probe = self.probe if one.network_is_exact else assumed_probe_of(self.probe, one.error, seed)
            patches, seconds = self._patches(probe, scan)
        else:
            self._exact = self._exact or self._patches(self.probe, self.scaled)
            patches, seconds = self._exact
        started = time.perf_counter()
        result = stitched(patches, scan, settings, self.scaled.object_shape)
        return result, seconds + time.perf_counter() - started

    def _patches(self, probe: npt.NDArray[np.complex64], scan: Dataset) -> tuple[npt.NDArray[np.complex64], float]:
        from ptycho.models import probe_weights

        with probe_weights.assumed_probe(self.trained.model, probe):
            return self.trained.patches(scan)


def build_parser() -> argparse.ArgumentParser:
    """Return the flags of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pinn_dir", type=Path, help=f"directory with {layout.MODEL_FILES['pinn']}")
    parser.add_argument("--baseline_dir", type=Path, help=f"directory with {layout.MODEL_FILES['baseline']}")
    parser.add_argument("--refined", action="store_true", help="also refine the object of PtychoPINN by rPIE")
    parser.add_argument("--train_data", type=Path, required=True, help="training dataset npz, whose unit is used")
    parser.add_argument("--set", action="append", required=True, metavar="JSON", help="test set; several times")
    parser.add_argument("--output_dir", type=Path, required=True, help="directory of the trial")
    parser.add_argument("--seed", type=int, default=StudyConfig().seed, help="default: %(default)s")
    parser.add_argument("--title", default="", help="title above the figures")
    add_flags(parser.add_argument_group("evaluation"), EvaluationConfig, aliases=EVALUATION_ALIASES)
    add_flags(parser.add_argument_group("rPIE"), IterativeConfig, skip=("iterations",))
    add_flags(parser.add_argument_group("appearance"), PlotsConfig, skip=("formats", "band", "scaling_law"))
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Score all test sets of a trial, each model loaded once.

    Raises
    ------
    InputError : a set, a model, a dataset or a reconstruction that cannot be used
    """
    sets = [GivenSet.parse(word) for word in arguments.set]
    settings = from_flags(EvaluationConfig, arguments)
    directories = compare.given({kind: getattr(arguments, f"{kind}_dir") for kind in NAMES})
    added = {} if settings.custom_metrics is None else custom_metrics.load(settings.custom_metrics)
    training = npz.read_metadata(arguments.train_data)
    models = {kind: load_trained(path, kind) for kind, path in directories.items()} if _configured(directories) else {}

    def shared(one: GivenSet) -> tuple[str, str, bool]:
        return str(one.data), str(one.measured), one.held_out

    for _, group in itertools.groupby(sorted(sets, key=shared), key=shared):
        _score(list(group), models, training, arguments, settings, added)


def _configured(directories: dict[str, Path]) -> bool:
    """Let TensorFlow compute on the CPU, as the comparison of the held-out half does, where there are models."""
    if directories:
        from ptycho.models import devices

        devices.configure(use_gpu=False)
    return bool(directories)


def _score(
    sets: list[GivenSet],
    models: dict[str, TrainedModel],
    training: Metadata,
    arguments: argparse.Namespace,
    settings: EvaluationConfig,
    added: Any,
) -> None:
    """Score the sets of one data file, which is read once."""
    first = sets[0]
    test = sampled(first.data, first.measured, settings.n_test_images, arguments.seed)
    test = test if first.held_out else in_training_unit(test, training)
    if test.object is None:
        logger.warning("%s: objectGuess missing: reconstructions are shown, not scored", first.data)
    comparing = ScanComparison(test, settings, first.data)
    networks = {kind: _Network(model, model.in_its_unit(test), first.held_out) for kind, model in models.items()}
    plots = from_flags(PlotsConfig, arguments)
    plots = replace(plots, dpi=min(plots.dpi, PICTURE_DPI))
    scan = {"test": np.stack([test.xcoords, test.ycoords], axis=1)}
    for one in sets:
        arms = list(_arms(one, networks, test, arguments, settings))
        result = comparing.compare(arms, added)
        directory = layout.test_set_dir(arguments.output_dir, one.name)
        title = f"{arguments.title}, test set {one.name}".lstrip(", ")
        compare.write_comparison(directory, result, arms, scan, plots, title)


def _arms(
    one: GivenSet,
    networks: dict[str, _Network],
    test: Dataset,
    arguments: argparse.Namespace,
    settings: EvaluationConfig,
) -> Iterable[comparison.Arm]:
    """Yield the arms of a test set: those of the trained models, refined, and iterative."""
    known = one.error.is_zero
    for kind, network in networks.items():
        result, seconds = network.stitched(one, arguments.seed, settings)
        logger.info("%s, %s: %d patterns in %.2f s", one.name, NAMES[kind], len(test), seconds)
        warn_if_not_finite(network.trained.directory, result)
        status = training_status(network.trained.directory)
        yield comparison.Arm(NAMES[kind], result.object, seconds, status, known_probe=known)
        if kind == "pinn" and arguments.refined and not one.network_is_exact:
            iterative = from_flags(IterativeConfig, arguments)
            start = phase_retrieval.fill_uncovered(result.object, result.weight)
            rng = np.random.default_rng(derive_seed(arguments.seed, "iterative"))
            scan = assumed(test, one.error, arguments.seed)
            refined = phase_retrieval.reconstruct(scan, iterative.refined_iterations, iterative.alpha, rng, start)
            name, seconds = schema.MODEL_NAMES["refined"], seconds + refined.seconds
            # judged by itself, as on the held-out half
            yield comparison.Arm(name, refined.object, seconds, known_probe=known)
    if one.iterative_dir is not None:
        path = one.iterative_dir / layout.RECONSTRUCTION
        yield compare.finished_arm(schema.MODEL_NAMES["iterative"], path, known, test)


entry = entry_point(main, build_parser)
