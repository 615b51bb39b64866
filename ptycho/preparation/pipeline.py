"""The whole preparation of data in one process: what the rules of the workflow do in a file each, and the same data."""

import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from ptycho.config.schema import PreparationConfig, SimulationConfig, SpecimenConfig
from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.io import files, npz
from ptycho.physics.detector import Detector
from ptycho.preparation import resample
from ptycho.preparation.load import read_arrays, read_reconstruction
from ptycho.preparation.masks import read_mask
from ptycho.preparation.normalize import normalize_object
from ptycho.preparation.scan import simulate
from ptycho.preparation.specimen import specimen
from ptycho.preparation.split import split


class Drawn(NamedTuple):
    """A procedural specimen: its settings, and the seed that it is drawn with."""

    config: SpecimenConfig
    seed: int


def drawn_specimen(wanted: Drawn, probe_of: Drawn | None = None) -> Reconstruction:
    """Return a procedural specimen, where possible under the probe of another one.

    Parameters
    ----------
    wanted : the specimen; an object of the same settings and seed is the same under any probe
    probe_of : a specimen whose probe is used if it is of the same kind and size; another object alone does then not
        change the probe
    """
    found = specimen(**asdict(wanted.config), seed=wanted.seed)
    if probe_of is None or probe_of == wanted:
        return found
    kind = [(one.config.probe, one.config.window_px) for one in (wanted, probe_of)]
    if kind[0] != kind[1]:
        return found
    probe = specimen(**asdict(probe_of.config), seed=probe_of.seed).probe
    return found.after("probe_of", {**asdict(probe_of.config), "seed": probe_of.seed}, probe=probe)


def prepare(
    source: Path | Reconstruction, simulation: SimulationConfig, preparation: PreparationConfig, seed: int
) -> tuple[Dataset, Dataset]:
    """Return training and test half of a simulated scan, patterns lazily: they are simulated when they are read.

    Parameters
    ----------
    source : reconstruction npz, or a specimen
    seed : of positions and noise

    Raises
    ------
    InputError : the reconstruction or a setting cannot be used, see the steps
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        path = directory / "specimen.npz"
        if isinstance(source, Reconstruction):
            npz.write_reconstruction(path, source)
        else:
            path = source
        fine = _resampled(path, directory, preparation)
    detector = Detector(
        simulation.background_counts,
        simulation.readout_noise_counts,
        simulation.saturation_counts,
        read_mask(simulation.bad_pixels) if simulation.bad_pixels else None,
    )
    scan = simulate(
        fine, simulation.n_images, simulation.n_photons, seed, simulation.region, simulation.buffer_px, detector
    )
    scan = normalize_object(replace(scan, patches=None))  # as a file is read
    small = resample.downsample(scan, preparation.crop_factor, preparation.bin_factor, preparation.downsample_method)
    return split(normalize_object(small), preparation.split_fraction, preparation.split_axis, preparation.split_gap_px)


def _resampled(path: Path, directory: Path, preparation: PreparationConfig) -> Reconstruction:
    """Return the padded, interpolated and smoothed reconstruction; each step is read as the rules read its file."""
    arrays = read_arrays(path)
    with files.error_context(path):
        padded = resample.pad_to_even(arrays, files.sha256(path))
        arrays = resample.transpose_rename_convert(padded)
    stage = directory / "stage.npz"
    npz.write_npz(stage, arrays)
    npz.write_reconstruction(stage, resample.interpolate(read_reconstruction(stage), preparation.zoom_factor))
    sigma = preparation.smooth_object_sigma
    npz.write_reconstruction(stage, resample.smooth(read_reconstruction(stage), "object", sigma))
    return read_reconstruction(stage)
