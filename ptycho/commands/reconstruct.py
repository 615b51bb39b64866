"""Reconstruct a scan with a trained model.

Writes OUTPUT (npz): reconstructed_object (H, W) complex64, weight (H, W) (summed probe intensity on each pixel),
region (first row, end row, first column, end column that the scan covers), xcoords, ycoords, metadata; and a figure
of the same name, png.
"""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from ptycho.commands.cli import check_output, entry_point
from ptycho.commands.inference import NAMES, add_model_flag, known_status, model_kind, read_scan, reconstruct
from ptycho.config.flags import add_flags, from_flags
from ptycho.config.schema import EvaluationConfig, MeasuredConfig, PlotsConfig
from ptycho.data.dataset import Dataset
from ptycho.errors import InputError
from ptycho.evaluation import comparison
from ptycho.io import npz, text
from ptycho.physics import misfit, stitching
from ptycho.physics.stitching import Stitched

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_flag(parser)
    parser.add_argument("--data", type=Path, required=True, help="dataset npz with patterns, positions and the probe")
    parser.add_argument("--output", type=Path, required=True, help="npz to write")
    add_flags(
        parser.add_argument_group("stitching"), EvaluationConfig,
        skip=("registration_max_px", "n_test_images", "custom_metrics"),
    )  # fmt: skip
    add_flags(parser.add_argument_group("measured data"), MeasuredConfig)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Reconstruct the scan, and write the object and its figure.

    Raises
    ------
    InputError : no model, or data that cannot be read
    """
    check_output(arguments.output, arguments.data)
    if arguments.output.suffix != ".npz":
        raise InputError(f"--output: {arguments.output}: expected a name that ends in .npz; the figure goes beside it")
    kind = model_kind(arguments.model_dir)
    data = replace(read_scan(arguments.data, from_flags(MeasuredConfig, arguments)), patches=None)
    status = known_status(arguments.model_dir)
    settings = from_flags(EvaluationConfig, arguments)
    crop_px = settings.crop_px(data.window_px)
    region = stitching.evaluated_region(data.xcoords, data.ycoords, crop_px, data.object_shape, border_px=0)
    from ptycho.models import devices

    devices.configure()
    stitched, seconds = reconstruct(arguments.model_dir, kind, data, settings)
    rows, columns = region
    parameters = {
        "model": str(arguments.model_dir), "kind": kind, "stitch_crop_px": crop_px,
        "synchronize_phases": settings.synchronize_phases, "seconds": seconds,
        "training": status,
    }  # fmt: skip
    npz.write_npz(
        arguments.output,
        {
            "reconstructed_object": stitched.object,
            "weight": stitched.weight,
            "region": np.array([rows.start, rows.stop, columns.start, columns.stop]),
            "xcoords": data.xcoords,
            "ycoords": data.ycoords,
            "metadata": text.metadata_json(data.metadata.with_step("reconstruct", parameters)),
        },
    )
    _draw(arguments.output.with_suffix(".png"), NAMES[kind], stitched, region, data, arguments.data.name)


def _draw(path: Path, name: str, stitched: Stitched, region: tuple[slice, slice], data: Dataset, title: str) -> None:
    from ptycho.plotting import reconstructions, style

    covered = stitched.weight > 0
    found, empty = misfit.covered_r_factors([stitched.object, np.ones_like(stitched.object)], data, covered)
    logger.info("R-factor %.3f; of an empty object %.3f", found, empty)
    arm = comparison.Arm(name, stitched.object, 0.0, r_factor=found)
    shown = comparison.compare([arm], None, region, registration_max_px=0, covered=covered, empty_r_factor=empty)
    plots = PlotsConfig()
    bounds = (region[0].start, region[0].stop - 1, region[1].start, region[1].stop - 1)
    style.save_figure(
        reconstructions.comparison_figure(shown.objects, shown.metrics, title, plots, bounds), path, plots
    )


entry = entry_point(main, build_parser)
