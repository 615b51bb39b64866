"""Small undamaged files of every kind that is read, with their readers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ptycho.commands.inference import read_scan, training_status
from ptycho.config.schema import MeasuredConfig, StudyConfig
from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.data.metadata import Metadata
from ptycho.io import formats, npz, text
from ptycho.physics.diffraction import diffraction_amplitude
from ptycho.physics.patches import extract_patches
from ptycho.preparation.load import load_content, read_reconstruction

SIDE, COUNT = 8, 6


def arrays() -> dict[str, Any]:
    """Return the arrays of a scan of 6 patterns of 8 pixels."""
    rng = np.random.default_rng(0)
    y, x = np.indices((SIDE, SIDE)) - SIDE // 2
    probe = np.exp(-(x**2 + y**2) / 8 + 0j).astype(np.complex64)
    image = np.exp(1j * rng.normal(0, 0.3, (20, 24))).astype(np.complex64)
    xcoords, ycoords = rng.uniform(5, 18, COUNT), rng.uniform(5, 14, COUNT)
    return {
        "diffraction": diffraction_amplitude(probe, extract_patches(image, xcoords, ycoords, SIDE)).astype(np.float32),
        "xcoords": xcoords,
        "ycoords": ycoords,
        "probeGuess": probe,
        "objectGuess": image,
    }


def scan() -> Dataset:
    """Return the scan as a dataset of the study, at the level that it is read with."""
    given = arrays()
    metadata = Metadata(counts_scale=3.0, pixel_size_m=1e-8, energy_eV=9e3, lit_factor=(1.0, 0.0))
    dataset = Dataset(
        diffraction=given["diffraction"],
        xcoords=given["xcoords"],
        ycoords=given["ycoords"],
        probe=given["probeGuess"],
        object=given["objectGuess"],
        patches=extract_patches(given["objectGuess"], given["xcoords"], given["ycoords"], SIDE),
        scan_index=np.arange(COUNT),
        metadata=metadata.with_step("split", {"axis": "y"}),
    )
    return replace(dataset, bad_pixels=np.zeros((SIDE, SIDE), bool))


def reconstruction() -> Reconstruction:
    """Return the object, probe and positions of the scan."""
    given = arrays()
    keys = ("objectGuess", "probeGuess", "xcoords", "ycoords")
    return Reconstruction(*(given[key] for key in keys), Metadata(pixel_size_m=1e-8, energy_eV=9e3))


def read_own(path: Path) -> Any:
    """Return a scan as train.py and the other commands that use its patterns read it."""
    return read_scan(path, MeasuredConfig()).loaded()


def read_any(path: Path) -> Any:
    """Return a scan or a reconstruction as convert_dataset.py reads it."""
    content = load_content(path, MeasuredConfig(quantity="counts", dc="centre", positions="pixels", pixel_size_m=1e-8))
    content = replace(content, metadata=replace(content.metadata, source=None))  # the path of the file
    return content.loaded() if isinstance(content, Dataset) else content


def read_config(path: Path) -> Any:
    """Return a configuration as the workflow checks it."""
    from ptycho.commands.summarize import _configuration

    return _configuration(path)


def read_status(path: Path) -> Any:
    """Return how a training ended, of the history in a directory."""
    return training_status(path.parent)


def write(directory: Path) -> dict[str, tuple[Path, Any]]:
    """Write one file of each kind that needs no TensorFlow; return path and reader by name."""
    directory.mkdir(parents=True, exist_ok=True)
    npz.write_dataset(directory / "own.npz", scan())
    given = arrays()
    np.savez_compressed(directory / "foreign.npz", **{**given, "diffraction": np.rint(1e4 * given["diffraction"] ** 2)})
    npz.write_reconstruction(directory / "reconstruction.npz", reconstruction())
    formats.save(directory / "scan.cxi", scan())
    formats.save(directory / "product.h5", reconstruction())
    text.write_json(
        directory / "history.json",
        {"loss": [0.5, 0.3], "val_loss": [0.6, None], "epoch_seconds": [1.5, 1.0], "best_epoch": 1, "status": "ok"},
    )
    config = {"train_sizes": [16, 32], "num_trials": 2, "arms": ["pinn"], "training": {"epochs": 3}, "seed": 4}
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    return {
        "own": (directory / "own.npz", read_own),
        "own, converted": (directory / "own.npz", read_any),
        "arrays": (directory / "own.npz", npz.read_npz),
        "foreign": (directory / "foreign.npz", read_any),
        "reconstruction": (directory / "reconstruction.npz", read_reconstruction),
        "cxi": (directory / "scan.cxi", read_any),
        "ptychodus": (directory / "product.h5", read_any),
        "history": (directory / "history.json", read_status),
        "json": (directory / "history.json", text.read_json),
        "configuration": (directory / "config.yaml", read_config),
    }


def study(mapping: Any) -> StudyConfig:
    """Return the configuration of a mapping that YAML or JSON holds."""
    return StudyConfig.from_mapping(mapping)


def metadata_text(**changes: Any) -> str:
    """Return the metadata of the scan as JSON, with changes."""
    return json.dumps({**json.loads(text.metadata_json(scan().metadata)), **changes})
