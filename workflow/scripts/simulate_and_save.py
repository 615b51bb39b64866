#!/usr/bin/env python
"""Simulate a scan of a reconstruction: random positions, far-field patterns, Poisson noise."""

import argparse
from pathlib import Path

from _command import run

from ptycho.config import SimulationConfig, StudyConfig
from ptycho.data import simulation, store


def build_parser() -> argparse.ArgumentParser:
    defaults = SimulationConfig()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input-file", type=Path, required=True, help="reconstruction npz")
    parser.add_argument("--output-file", type=Path, required=True, help="dataset npz")
    parser.add_argument(
        "--n-images", type=int, default=defaults.n_images, help="diffraction patterns (default: %(default)s)"
    )
    parser.add_argument(
        "--n-photons",
        type=float,
        default=defaults.n_photons,
        help="mean photons a pattern (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=StudyConfig().seed, help="default: %(default)s")
    parser.add_argument(
        "--region", choices=("object", "scan"), default=defaults.region,
        help="where positions fall: the whole object, or the box of the input's positions (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--buffer",
        type=float,
        default=defaults.buffer_px,
        help="margin inside the region, pixels (default: %(default)s)",
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    reconstruction = store.read_reconstruction(arguments.input_file)
    dataset = simulation.simulate(
        reconstruction,
        arguments.n_images,
        arguments.n_photons,
        arguments.seed,
        arguments.region,
        arguments.buffer,
    )
    store.write_dataset(arguments.output_file, dataset)


if __name__ == "__main__":
    run(main, build_parser())
