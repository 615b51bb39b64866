"""Files of other programs, made from their public description (docs/formats.md), not by our own writers."""

import json

import h5py
import numpy as np
import pytest

from ptycho.config.schema import MeasuredConfig
from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.data.metadata import Metadata
from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.preparation.load import load_content
from ptycho.preparation.normalize import lit_factor

SIDE, COUNT = 8, 5
PIXEL_M = 1e-8
PLAIN = MeasuredConfig()
CORNERS = np.array([[0, 0], [3, 2], [7, 12], [16, 5], [9, 1]])  # first row, first column of whole-pixel windows
X_PX, Y_PX = CORNERS[:, 1] + SIDE / 2, CORNERS[:, 0] + SIDE / 2
# 10 keV and 1 m: wavelength 1.2398420e-10 m (h c / E); detector pixel 1e-4 m: 1.2398420e-10 / (8 * 1e-4) m
ENERGY_J, CXI_PIXEL_M = 1.602176634e-15, 1.5498025e-07


def specimen():
    """An object of level 1 and mean phase 0 where the scan lights it, as every object is brought to."""
    rng = np.random.default_rng(0)
    amplitude, phase = rng.uniform(0.5, 1, (24, 20)), rng.uniform(-1, 1, (24, 20))
    image = amplitude * np.exp(1j * phase)
    return (image / lit_factor(image, beam(), X_PX, Y_PX)).astype(np.complex64)


def beam():
    """A curved Gaussian spot off the middle, so that no mirror image or transpose of it is the same."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    spot = np.exp(-((x - 0.5) ** 2 + (y + 0.3) ** 2 + 0.4 * x * y) / 6 + 0.1j * (x**2 + 2 * y**2 + x))
    return (90 * spot).astype(np.complex64)


def true_windows():
    return np.stack([specimen()[r : r + SIDE, c : c + SIDE] for r, c in CORNERS])


def far_field_counts(*, centred=True):
    """Return |FFT(probe x window)|^2 / N^2, DC in the centre or, as numpy has it, in the corner."""
    counts = np.square(np.abs(np.fft.fft2(beam() * true_windows(), norm="ortho")))
    return np.fft.fftshift(counts, axes=(-2, -1)) if centred else counts


def dataset(**changes):
    arguments = {
        "diffraction": np.sqrt(far_field_counts()).astype(np.float32) / 40,
        "xcoords": X_PX,
        "ycoords": Y_PX,
        "probe": beam() / 40,
        "object": specimen(),
        "patches": None,
        "scan_index": np.array([9, 7, 5, 3, 1]),
        "metadata": Metadata(counts_scale=40.0, n_photons=1e5, pixel_size_m=PIXEL_M),
        "bad_pixels": np.eye(SIDE, dtype=bool) & False,
    }
    return Dataset(**{**arguments, **changes})


def reconstruction(**changes):
    arguments = {"object": specimen(), "probe": beam(), "xcoords": X_PX, "ycoords": Y_PX}
    return Reconstruction(**{**arguments, "metadata": Metadata(pixel_size_m=PIXEL_M), **changes})


# the formats, as their projects describe them -------------------------------------------------------------


def product():
    """A ptychodus product: object centred at (2e-7, -1e-7) m, so x_px = (x_m - 2e-7) / 1e-8 + 10."""
    return {
        "name": np.array("a scan"),
        "comments": np.array(""),
        "probe_energy_eV": np.array(10e3),
        "detector_object_distance_m": np.array(1.0),
        "probe_photon_count": np.array(1e5),
        "exposure_time_s": np.array(0.1),
        "probe_position_indexes": np.array([4, 7, 9, 2, 3]),
        "probe_position_x_m": (X_PX - 10) * PIXEL_M + 2e-7,
        "probe_position_y_m": (Y_PX - 12) * PIXEL_M - 1e-7,
        "probe": beam()[None, None],
        "probe_pixel_width_m": np.array(PIXEL_M),
        "probe_pixel_height_m": np.array(PIXEL_M),
        "object": specimen()[None],
        "object_center_x_m": np.array(2e-7),
        "object_center_y_m": np.array(-1e-7),
        "object_pixel_width_m": np.array(PIXEL_M),
        "object_pixel_height_m": np.array(PIXEL_M),
        "object_layer_spacing_m": np.zeros(0),
        "costs": np.zeros(3),
    }


def patterns():
    return {
        "patterns": far_field_counts(),
        "indexes": np.array([4, 7, 9, 2, 3]),
        "bad_pixels": np.zeros((SIDE, SIDE), bool),
    }


def cxi():
    """A CXI scan; with the default basis vectors x and y run along columns and rows."""
    detector, source = "entry_1/instrument_1/detector_1", "entry_1/instrument_1/source_1"
    translation = np.stack([X_PX * CXI_PIXEL_M, Y_PX * CXI_PIXEL_M, np.zeros(COUNT)], axis=1)
    return {
        "cxi_version": np.array(160),
        "entry_1/data_1/data": far_field_counts(),
        "entry_1/data_1/translation": translation,
        f"{detector}/distance": np.array(1.0),
        f"{detector}/x_pixel_size": np.array(1e-4),
        f"{detector}/y_pixel_size": np.array(1e-4),
        f"{detector}/mask": np.zeros((SIDE, SIDE), np.uint32),
        f"{source}/energy": np.array(ENERGY_J),
        f"{source}/illumination": beam(),
    }


def tike():
    return {
        "data": far_field_counts(centred=False)[None].astype(np.float32),
        "scan": CORNERS[None].astype(np.float32),
        "probe": beam()[None, None, None, None],
        "psi": specimen(),
    }


def ptychonn():
    windows = true_windows()
    return {
        "reciprocal": np.rint(far_field_counts()),
        "real": np.stack([np.angle(windows), np.abs(windows)], axis=1),
        "scan": CORNERS.astype(float),
    }


def study():
    return {
        "diffraction": np.rint(far_field_counts()).astype(np.uint16),
        "xcoords": X_PX,
        "ycoords": Y_PX,
        "probeGuess": beam(),
        "objectGuess": specimen(),
        "Y": true_windows()[..., None],
        "scan_index": np.arange(COUNT),
    }


def training():
    """training.h5: patterns and positions in pixels together, counted to the middle of the window, (N - 1)/2."""
    return {
        "patterns": far_field_counts(),
        "bad_pixels": np.zeros((SIDE, SIDE), bool),
        "probe": np.stack([0.01 * beam(), beam()]),
        "object": specimen(),
        "probe_position_x_px": X_PX - 0.5,
        "probe_position_y_px": Y_PX - 0.5,
        "object_pixel_width_m": np.array(PIXEL_M),
        "object_pixel_height_m": np.array(PIXEL_M),
        "detector_object_distance_m": np.array(1.0),
        "photon_energy_eV": np.array(10e3),
    }


def for_ptychopinn():
    """What ptychodus 1.7 writes for PtychoPINN: positions as in its training data, a scan number for each pattern."""
    positions = {"xcoords": X_PX - 0.5, "ycoords": Y_PX - 0.5}
    return {
        **positions,
        **{f"{key}_start": value for key, value in positions.items()},
        "diff3d": far_field_counts(),
        "bad_pixels": np.zeros((SIDE, SIDE), bool),
        "probeGuess": np.stack([0.01 * beam(), beam()]),
        "objectGuess": specimen(),
        "scan_index": np.zeros(COUNT, int),
    }


def continual():
    """Training data of its continual learning: positions (n, 2), y and x in metres, and the pixel size."""
    positions = np.stack([(Y_PX - 12) * PIXEL_M, (X_PX - 10) * PIXEL_M], axis=1)
    return {
        "reciprocal": np.rint(far_field_counts()).astype(np.float32),
        "real": true_windows(),
        "position": positions,
        "pixelsize": np.array(PIXEL_M),
    }


def own():
    """A dataset npz of this project, which says of itself that it keeps the study's conventions."""
    content = dataset()
    return {
        "diffraction": content.diffraction,
        "xcoords": X_PX,
        "ycoords": Y_PX,
        "probeGuess": content.probe,
        "objectGuess": content.object,
        "scan_index": content.scan_index,
        "bad_pixels": content.bad_pixels,
        "metadata": np.array(json.dumps({"format": npz.FORMAT, "counts_scale": 40.0})),
    }


def write(path, arrays):
    """Write what a format holds; in HDF5 ``name@attribute`` is an attribute."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
        return path
    with h5py.File(path, "w") as file:
        for name in sorted(arrays, key=lambda name: "@" in name):
            node, _, attribute = name.partition("@")
            value = np.asarray(arrays[name])
            value = np.char.encode(value) if value.dtype.kind == "U" else value  # HDF5 text of fixed length
            if attribute:
                (file[node] if node else file).attrs[attribute] = value
            else:
                file[name] = value
    return path


def load(path, **options):
    return load_content(path, options.pop("config", PLAIN), **options)


def refusal(call, *arguments, **options):
    with pytest.raises(InputError) as error:
        call(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def assert_explained(found):
    """Assert that probe, object and positions give the patterns: no convention was mistaken."""
    assert found.metadata.model_mismatch < 1e-3
