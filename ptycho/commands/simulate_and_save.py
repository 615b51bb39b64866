"""Simulate a scan of a reconstruction: random positions, far-field patterns, Poisson noise."""

import argparse
from dataclasses import replace
from pathlib import Path

from ptycho.commands.cli import check_output, entry_point
from ptycho.config.flags import add_flags, from_flags
from ptycho.config.schema import SimulationConfig, StudyConfig
from ptycho.io import files, npz
from ptycho.physics.detector import Detector
from ptycho.preparation.load import load_scan, read_reconstruction
from ptycho.preparation.masks import read_mask
from ptycho.preparation.scan import simulate


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input-file", type=Path, required=True, help="reconstruction npz")
    parser.add_argument("--output-file", type=Path, required=True, help="dataset npz; Y is extracted when needed")
    parser.add_argument("--seed", type=int, default=StudyConfig().seed, help="default: %(default)s")
    add_flags(parser, SimulationConfig, skip=("buffer_px",), dashes=True)
    parser.add_argument(
        "--buffer", dest="buffer_px", type=float, default=SimulationConfig().buffer_px,
        help="margin inside the region without positions, pixels of the input (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--visualize", action="store_true", help="also draw the dataset, as a png beside it")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Simulate the scan and write it, with a figure where asked for."""
    check_output(arguments.output_file, arguments.input_file)
    config = from_flags(SimulationConfig, arguments)
    reconstruction = read_reconstruction(arguments.input_file)
    detector = Detector(
        config.background_counts,
        config.readout_noise_counts,
        config.saturation_counts,
        read_mask(config.bad_pixels) if config.bad_pixels else None,
    )
    with files.error_context(arguments.input_file):
        dataset = simulate(
            reconstruction,
            config.n_images,
            config.n_photons,
            arguments.seed,
            config.region,
            config.buffer_px,
            detector,
        )
    npz.write_dataset(arguments.output_file, replace(dataset, patches=None))
    if arguments.visualize:
        from ptycho.inspection import figure

        picture = figure.dataset_figure(load_scan(arguments.output_file), arguments.output_file.name)
        figure.save(picture, arguments.output_file.with_suffix(".png"))


entry = entry_point(main, build_parser)
