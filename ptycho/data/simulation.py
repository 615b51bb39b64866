"""Simulated scans: positions and noisy far-field patterns of a known object under a known probe."""

import logging
from typing import Literal

import numpy as np

from ptycho.data import optics
from ptycho.data.dataset import Dataset, FloatArray, Reconstruction, with_step
from ptycho.errors import InputError

logger = logging.getLogger(__name__)

CHUNK = 256  # patterns at a time: some 50 MB of temporaries at N = 128
MAX_PHOTONS = 1e15  # far more than any source gives; numpy's Poisson numbers end near 9e18


def scan_positions(
    reconstruction: Reconstruction,
    n_images: int,
    region: Literal["object", "scan"],
    buffer_px: float,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Draw positions uniformly over the region in which whole windows fit.

    Parameters
    ----------
    region : ``object`` for the whole object, ``scan`` for the box of the reconstruction's own positions
    buffer_px : margin kept free inside the region, pixels

    Returns
    -------
    xcoords, ycoords : (n_images,) float64, pixels

    Raises
    ------
    InputError : no room is left
    """
    if not buffer_px >= 0:
        raise InputError(f"the buffer is {buffer_px:g} px: expected 0 or more")
    half = reconstruction.probe.shape[0] / 2
    coordinates = []
    for name, size, known in (
        ("x", reconstruction.object.shape[1], reconstruction.xcoords),
        ("y", reconstruction.object.shape[0], reconstruction.ycoords),
    ):
        low, high = half, size - half
        if region == "scan":
            low, high = max(low, known.min()), min(high, known.max())
        low, high = low + buffer_px, high - buffer_px
        if low > high:
            raise InputError(
                f"no room for positions along {name}: object of {size} px, windows of {2 * half:g} px, buffer of "
                f"{buffer_px:g} px; lower the buffer or start from a larger object"
            )
        coordinates.append(rng.uniform(low, high, n_images))
    return coordinates[0], coordinates[1]


def simulate(
    reconstruction: Reconstruction,
    n_images: int,
    n_photons: float,
    seed: int,
    region: Literal["object", "scan"] = "object",
    buffer_px: float = 0.0,
) -> Dataset:
    """Simulate a scan with Poisson noise.

    The probe is scaled so that the expected counts, averaged over the patterns, sum to ``n_photons``; amplitudes
    are the square root of the counts over one scalar, so that their mean summed square is ``(N/2)**2``.

    Raises
    ------
    InputError : n_images or n_photons of 0 or less, too many photons to count, no light on the object, or no room
        for positions
    """
    if n_images < 1 or not 0 < n_photons <= MAX_PHOTONS:
        raise InputError(
            f"n_images is {n_images} and n_photons is {n_photons:g}: both must be positive, n_photons at most "
            f"{MAX_PHOTONS:g}"
        )
    rng = np.random.default_rng(seed)
    xcoords, ycoords = scan_positions(reconstruction, n_images, region, buffer_px, rng)
    window = reconstruction.probe.shape[0]
    patches = optics.cut_patches(reconstruction.object, xcoords, ycoords, window)
    brightness = np.abs(reconstruction.probe.astype(np.complex128)) ** 2
    energy = np.einsum("nij,ij->n", np.abs(patches) ** 2, brightness, dtype=np.float64)  # Parseval: that of the pattern
    if energy.mean() <= 0:
        raise InputError("objectGuess is zero wherever the probe falls: there is nothing to simulate")
    probe = reconstruction.probe * np.sqrt(n_photons / energy.mean())
    counts_scale = float(np.sqrt(n_photons) / (window / 2))
    diffraction = np.empty(patches.shape, np.float32)
    for start in range(0, n_images, CHUNK):
        part = slice(start, start + CHUNK)
        expected = optics.diffraction_amplitude(probe, patches[part])
        np.sqrt(optics.photon_counts(expected, rng), out=diffraction[part])
        logger.info("simulated %d of %d patterns", min(start + CHUNK, n_images), n_images)
    diffraction /= np.float32(counts_scale)
    parameters = {
        "n_images": n_images, "n_photons": n_photons, "seed": seed, "region": region, "buffer_px": buffer_px,
    }  # fmt: skip
    metadata = {**reconstruction.metadata, "n_photons": n_photons, "counts_scale": counts_scale, "seed": seed}
    return Dataset(
        diffraction=diffraction,
        xcoords=xcoords,
        ycoords=ycoords,
        probe=(probe / counts_scale).astype(np.complex64),
        object=reconstruction.object.astype(np.complex64),
        patches=patches,
        scan_index=np.arange(n_images),
        metadata=with_step(metadata, "simulate", parameters),
    )
