#!/usr/bin/env python
"""Reconstruct the test data with both models, align with the truth, and score; without a truth, show the models alone.

Writes comparison_metrics.csv, comparison_plot.png, frc_curves.csv and reconstructions.npz.
"""

import argparse
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from _command import run
from _inference import NAMES, reconstruct, training_status

from ptycho.config import EvaluationConfig, MeasuredConfig, PlotsConfig, StudyConfig, add_flags, from_flags
from ptycho.data import measured, store
from ptycho.data.dataset import Dataset
from ptycho.data.sampling import derive_seed
from ptycho.errors import InputError
from ptycho.evaluation import alignment, comparison

logger = logging.getLogger("compare_models")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pinn_dir", type=Path, help="directory with wts.h5.zip")
    parser.add_argument("--baseline_dir", type=Path, help="directory with baseline_model.h5")
    parser.add_argument("--test_data", type=Path, required=True, help="test dataset npz; objectGuess is the truth")
    parser.add_argument("--output_dir", type=Path, required=True, help="where the comparison is written")
    parser.add_argument("--title", default="", help="title above the picture")
    parser.add_argument("--seed", type=int, default=StudyConfig().seed, help="draws --n_test_images")
    add_flags(parser.add_argument_group("evaluation"), EvaluationConfig)
    add_flags(parser.add_argument_group("measured data"), MeasuredConfig)
    add_flags(parser.add_argument_group("appearance"), PlotsConfig, skip=("formats", "band"))
    return parser


def main(arguments: argparse.Namespace) -> None:
    settings, plots = from_flags(EvaluationConfig, arguments), from_flags(PlotsConfig, arguments)
    directories = {"pinn": arguments.pinn_dir, "baseline": arguments.baseline_dir}
    directories = {kind: path for kind, path in directories.items() if path is not None}
    if not directories:
        raise InputError("nothing to compare: give --pinn_dir, --baseline_dir or both")
    test = _test_data(arguments, settings.n_test_images)
    if test.object is None:
        logger.warning("%s: objectGuess missing: reconstructions are shown, not scored", arguments.test_data)
    region = alignment.evaluated_region(test.xcoords, test.ycoords, settings.stitch_crop_px, test.object_shape)
    arms = list(_arms(directories, test, settings.stitch_crop_px))
    result = comparison.compare(
        arms,
        test.object,
        region,
        registration_max_px=settings.registration_max_px,
        pixel_size_m=test.metadata.get("pixel_size_m"),
    )
    _write(arguments.output_dir, result, arms, arguments.title, plots)


def _test_data(arguments: argparse.Namespace, n_test_images: int | None) -> Dataset:
    """Return the test patterns, or a sample of them, in memory and so checked; without Y, which nothing here needs."""
    test = measured.open_dataset(arguments.test_data, from_flags(MeasuredConfig, arguments))
    rng = np.random.default_rng(derive_seed(arguments.seed, "test"))
    sample = np.sort(rng.permutation(len(test))[:n_test_images])
    with store.naming(arguments.test_data):
        return replace(test, patches=None).select(sample).loaded()


def _arms(directories: dict[str, Path], test: Dataset, crop_px: int) -> Iterator[comparison.Arm]:
    from ptycho.models import devices

    devices.configure(use_gpu=False)
    for kind, directory in directories.items():
        stitched, seconds = reconstruct(directory, kind, test, crop_px)
        yield comparison.Arm(NAMES[kind], stitched.object, seconds, training_status(directory))


def _write(
    directory: Path, result: comparison.Comparison, arms: list[comparison.Arm], title: str, plots: PlotsConfig
) -> None:
    from ptycho.study import figures, pictures

    keys = {name: kind for kind, name in NAMES.items()}
    objects = {f"{keys.get(name, name)}_complex": image for name, image in result.objects.items()}
    raw = {f"{keys[arm.model]}_raw": arm.object[result.region] for arm in arms}
    rows, columns = result.region
    region = np.array([rows.start, rows.stop, columns.start, columns.stop])
    shown = (rows.start, rows.stop - 1, columns.start, columns.stop - 1)
    store.write_npz(directory / "reconstructions.npz", {**objects, **raw, "region": region})
    store.write_csv(directory / "frc_curves.csv", result.frc_curves)
    picture = pictures.comparison_figure(result.objects, result.metrics, title, plots, shown)
    figures.save_figure(picture, directory / "comparison_plot.png", plots)
    store.write_csv(directory / "comparison_metrics.csv", result.metrics)


if __name__ == "__main__":
    run(main, build_parser())
