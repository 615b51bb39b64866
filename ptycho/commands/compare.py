"""Reconstruct the test data with the models, align to the ground truth, and score; without one, show the models alone.

Other reconstructions of the same data can be added: --iterative_dir and --refined_dir of run_iterative.py, and --recon
of any engine. Writes comparison_metrics.csv, comparison_plot.png, frc_curves.csv, frc_curves.png and
reconstructions.npz.
"""

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.commands.cli import entry_point
from ptycho.commands.inference import (
    EVALUATION_ALIASES,
    NAMES,
    add_test_flags,
    read_test_data,
    reconstruct,
    training_status,
)
from ptycho.config.flags import add_flags, from_flags
from ptycho.config.schema import EvaluationConfig, MeasuredConfig, PlotsConfig
from ptycho.data.dataset import Dataset
from ptycho.errors import InputError
from ptycho.evaluation import comparison, custom_metrics
from ptycho.evaluation.scan import ScanComparison
from ptycho.io import npz, text
from ptycho.preparation.load import load_scan
from ptycho.results import layout, schema

logger = logging.getLogger(__name__)

ITERATED = {arm: schema.MODEL_NAMES[arm] for arm in ("iterative", "refined")}


def build_parser() -> argparse.ArgumentParser:
    """Return the flags of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pinn_dir", type=Path, help=f"directory with {layout.MODEL_FILES['pinn']}")
    parser.add_argument("--baseline_dir", type=Path, help=f"directory with {layout.MODEL_FILES['baseline']}")
    parser.add_argument(
        "--iterative_dir", type=Path, help=f"directory with {layout.RECONSTRUCTION}, shown as Iterative"
    )
    parser.add_argument("--refined_dir", type=Path, help="the same, shown as Refined")
    parser.add_argument(
        "--recon", type=Path, action="append", default=[], metavar="NPZ",
        help="reconstruction by any engine, key reconstructed_object, complex, (H, W) as the truth; it is shown under "
        "the stem of the file name; may be given several times",
    )  # fmt: skip
    parser.add_argument("--output_dir", type=Path, required=True, help="where the comparison is written")
    add_test_flags(parser)
    parser.add_argument("--train_data", type=Path, help="training dataset of the same object, shown on the map")
    parser.add_argument("--skip-registration", action="store_true", help="compare without a shift")
    parser.add_argument("--no-save-npz", action="store_true", help=f"write no {layout.RECONSTRUCTIONS}")
    parser.add_argument("--title", default="", help="title above the figure")
    add_flags(parser.add_argument_group("evaluation"), EvaluationConfig, aliases=EVALUATION_ALIASES)
    add_flags(parser.add_argument_group("appearance"), PlotsConfig, skip=("formats", "band", "scaling_law"))
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Compare the given models and reconstructions, and write tables and figures.

    Raises
    ------
    InputError : nothing to compare, or a name, a model, a reconstruction or a dataset that cannot be used
    """
    settings, plots = from_flags(EvaluationConfig, arguments), from_flags(PlotsConfig, arguments)
    models = given({kind: getattr(arguments, f"{kind}_dir") for kind in NAMES})
    iterated = given({name: getattr(arguments, f"{kind}_dir") for kind, name in ITERATED.items()})
    finished = [(name, path / layout.RECONSTRUCTION, True) for name, path in iterated.items()]
    finished += [(path.stem, path, False) for path in arguments.recon]
    if not models and not finished:
        raise InputError(
            "nothing to compare: give --pinn_dir, --baseline_dir, --iterative_dir, --refined_dir or --recon"
        )
    _check_names([path.stem for path in arguments.recon])
    added = {} if settings.custom_metrics is None else custom_metrics.load(settings.custom_metrics)
    test = read_test_data(arguments, settings.n_test_images)
    if test.object is None:
        logger.warning("%s: objectGuess missing: reconstructions are shown, not scored", arguments.test_data)
    comparing = ScanComparison(test, settings, arguments.test_data)
    others = [finished_arm(*one, test) for one in finished]  # before the models: it is fast
    training_px = None if arguments.train_data is None else _positions(arguments.train_data, arguments)
    arms = [*_reconstructed(models, test, settings), *others]
    result = comparing.compare(arms, added, register=not arguments.skip_registration)
    scan = {"test": np.stack([test.xcoords, test.ycoords], axis=1)}
    scan |= {} if training_px is None else {"training": training_px}
    save_objects = not arguments.no_save_npz
    write_comparison(arguments.output_dir, result, arms, scan, plots, arguments.title, save_objects=save_objects)


def _check_names(names: list[str]) -> None:
    """Raise InputError for names that tables and files cannot tell apart: letters and digits count, in any case."""
    kinds = {schema.model_type(schema.TRUTH): "the ground truth", **schema.MODEL_NAMES}  # names of the study's own arms
    for name in names:
        kind = schema.model_type(name)
        if kind in kinds or not kind[:1].isalpha() or not name[0].isalpha():
            reason = "does not begin with a letter of a to z"
            if kind in kinds:
                reason = f"cannot be distinguished from {kinds[kind]}"
            raise InputError(f"--recon: the name {name} {reason}: rename the file, whose stem is the name")
        kinds[kind] = name


def given(paths: dict[str, Path | None]) -> dict[str, Path]:
    """Return the paths that are not None."""
    return {name: path for name, path in paths.items() if path is not None}


def finished_arm(name: str, path: Path, known_probe: bool, test: Dataset) -> comparison.Arm:
    """Return an arm that was reconstructed before, with the probe of the test data or another one.

    Raises
    ------
    InputError : no such object in the file, or not complex, or of another size than the truth
    """
    arrays = npz.read_npz(path, ("reconstructed_object",), ("computation_time_s",))
    image, seconds = arrays["reconstructed_object"], arrays.get("computation_time_s", np.array(np.nan))
    if not np.iscomplexobj(image) or image.shape != test.object_shape:
        raise InputError(
            f"{path}: reconstructed_object is {image.dtype} {image.shape}, expected complex {test.object_shape}, the "
            "shape of the test data's object: place it on that grid"
        )
    if seconds.size != 1 or seconds.dtype.kind not in "fiu":
        raise InputError(f"{path}: computation_time_s is {seconds.dtype} {seconds.shape}, expected one number")
    return comparison.Arm(name, image, float(seconds.item()), known_probe=known_probe)


def _reconstructed(models: dict[str, Path], test: Dataset, settings: EvaluationConfig) -> Iterator[comparison.Arm]:
    """Yield the arm of each trained model, reconstructed on the CPU."""
    if not models:
        return
    from ptycho.models import devices

    devices.configure(use_gpu=False)
    for kind, directory in models.items():
        stitched, seconds = reconstruct(directory, kind, test, settings)
        yield comparison.Arm(NAMES[kind], stitched.object, seconds, training_status(directory))


def _positions(path: Path, arguments: argparse.Namespace) -> npt.NDArray[np.float64]:
    """Return the scan positions of a dataset, (n, 2), (x, y) in pixels of the object."""
    dataset = load_scan(path, from_flags(MeasuredConfig, arguments))
    return np.stack([dataset.xcoords, dataset.ycoords], axis=1)


def write_comparison(
    directory: Path,
    result: comparison.Comparison,
    arms: list[comparison.Arm],
    scan: dict[str, Any],
    plots: PlotsConfig,
    title: str,
    *,
    save_objects: bool = True,
) -> None:
    """Write tables, objects and figures of a comparison into a directory.

    Parameters
    ----------
    arms : that were compared
    scan : positions, (n, 2) float64, (x, y) in pixels of the object, of ``test`` and where known of ``training``
    title : above the figures
    save_objects : also write the reconstructed objects; else those of an earlier run are removed
    """
    from ptycho.plotting import frc, reconstructions, style

    keys = {name: kind for kind, name in {**NAMES, **ITERATED}.items()}
    objects = {f"{keys.get(name, name)}_complex": _single(image) for name, image in result.objects.items()}
    raw = {f"{keys.get(arm.model, arm.model)}_raw": arm.object[result.region] for arm in arms}
    rows, columns = result.region
    region = np.array([rows.start, rows.stop, columns.start, columns.stop])
    shown = (rows.start, rows.stop - 1, columns.start, columns.stop - 1)
    if save_objects:
        npz.write_npz(directory / layout.RECONSTRUCTIONS, {**objects, **raw, "region": region})
    else:
        (directory / layout.RECONSTRUCTIONS).unlink(missing_ok=True)  # of an earlier run: it belongs to other tables
    text.write_csv(directory / layout.FRC_CURVES, result.frc_curves)
    curves = frc.frc_figure(result.frc_curves, title, plots)
    style.save_figure(curves, directory / layout.FRC_PLOT, plots)
    picture = reconstructions.comparison_figure(
        result.objects, result.metrics, title, plots, shown, frc_curves=result.frc_curves, scan_px=scan
    )
    style.save_figure(picture, directory / layout.COMPARISON_PLOT, plots)
    text.write_csv(directory / layout.COMPARISON_METRICS, result.metrics)


def _single(image: npt.NDArray[Any]) -> npt.NDArray[np.complex64]:
    """Return an image in complex64; values out of its range become infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return image.astype(np.complex64)


entry = entry_point(main, build_parser)
