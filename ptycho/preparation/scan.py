"""Simulated scans: positions and noisy far-field patterns of a known object under a known probe."""

import hashlib
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import ComplexArray, Dataset, FloatArray, Reconstruction
from ptycho.data.lazy import LazyArray, map_chunks
from ptycho.data.seeds import derive_seed
from ptycho.errors import InputError
from ptycho.physics import diffraction
from ptycho.physics.detector import Detector, photon_counts
from ptycho.physics.patches import lazy_patches
from ptycho.preparation.normalize import note_lit_factor

MAX_PHOTONS = 1e15  # far more than any source gives; numpy's Poisson generator is limited to about 9e18


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
    buffer_px : margin inside the region without positions, pixels

    Returns
    -------
    xcoords, ycoords : (n_images,) float64, pixels

    Raises
    ------
    InputError : the region is too small for a window
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
    detector: Detector | None = None,
) -> Dataset:
    """Simulate a scan with Poisson noise; its patterns are computed when they are indexed.

    The probe is scaled so that the expected photons, averaged over the patterns, sum to ``n_photons``; amplitudes
    are the square root of the counts over one scalar, so that their mean summed square is ``(N/2)**2`` (but for the
    detector's imperfections). The noise of a pattern depends only on ``seed`` and its number.

    Parameters
    ----------
    n_photons : expected per pattern, on average
    seed : of positions and noise
    region, buffer_px : see :func:`scan_positions`
    detector : background, read-out noise, saturation and bad pixels; None for an ideal one

    Raises
    ------
    InputError : n_images or n_photons of 0 or less, too many photons, no light on the object, a region too small
        for a window, or a mask of another size
    """
    if n_images < 1 or not 0 < n_photons <= MAX_PHOTONS:
        raise InputError(
            f"n_images is {n_images} and n_photons is {n_photons:g}: both must be positive, n_photons at most "
            f"{MAX_PHOTONS:g}"
        )
    window = reconstruction.probe.shape[0]
    bad_pixels = None if detector is None else detector.bad_pixels
    if bad_pixels is not None and bad_pixels.shape != (window, window):
        raise InputError(f"the mask of bad pixels has shape {bad_pixels.shape}, the patterns {(window, window)}")
    rng = np.random.default_rng(derive_seed(seed, "positions"))
    xcoords, ycoords = scan_positions(reconstruction, n_images, region, buffer_px, rng)
    image = reconstruction.object.astype(np.complex64)
    patches = lazy_patches(image, xcoords, ycoords, window)
    energy = _mean_energy(reconstruction.probe, patches)
    if energy <= 0:
        raise InputError("objectGuess is zero wherever the probe falls: nothing to simulate")
    probe = (reconstruction.probe * np.sqrt(n_photons / energy)).astype(np.complex64)
    counts_scale = float(np.sqrt(n_photons) / (window / 2))
    parameters = {
        "n_images": n_images, "n_photons": n_photons, "seed": seed, "region": region, "buffer_px": buffer_px,
        **_detector_parameters(detector),
    }  # fmt: skip
    metadata = replace(reconstruction.metadata, n_photons=n_photons, counts_scale=counts_scale, seed=seed)
    scan = Dataset(
        diffraction=_noisy_amplitudes(probe, patches, counts_scale, derive_seed(seed, "noise"), detector),
        xcoords=xcoords,
        ycoords=ycoords,
        probe=(probe / counts_scale).astype(np.complex64),
        object=image,
        patches=patches,
        scan_index=np.arange(n_images),
        metadata=metadata.with_step("simulate", parameters),
        bad_pixels=bad_pixels,
    )
    return note_lit_factor(scan)


def _noisy_amplitudes(
    probe: ComplexArray, patches: LazyArray, counts_scale: float, noise_seed: int, detector: Detector | None
) -> LazyArray:
    """Return the amplitudes of noisy patterns, (n, N, N) float32, lazily: each pattern has a generator of its own."""

    def amplitudes(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        expected = diffraction.diffraction_intensity(probe, patches[numbers]).astype(np.float64)
        for pattern, number in zip(expected, numbers, strict=True):
            own = np.random.Generator(np.random.PCG64([noise_seed, number]))
            pattern[:] = photon_counts(pattern, own, detector)
        return (np.sqrt(expected) / counts_scale).astype(np.float32)

    return LazyArray(patches.shape, np.dtype(np.float32), amplitudes)


def _mean_energy(probe: ComplexArray, patches: LazyArray) -> float:
    """Return the summed square of probe times patch, averaged over the patches: by Parseval, that of a pattern."""

    def energy(part: slice) -> float:
        waves = probe * patches[part]
        return float(np.sum(waves.real**2 + waves.imag**2, dtype=np.float64))

    return sum(map_chunks(energy, len(patches))) / len(patches)


def mask_sha256(mask: npt.NDArray[np.bool_]) -> str:
    """Return the SHA-256 of a mask's bits, row by row, to identify the mask in the history."""
    return hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()


def detector_of(dataset: Dataset) -> Detector:
    """Return the detector with which a dataset was simulated; of a measured one only its bad pixels are known."""
    step = dataset.metadata.last_step("simulate")
    found = {} if step is None else step.parameters
    known = {
        key: found[key]
        for key in ("background_counts", "readout_noise_counts", "saturation_counts")
        if found.get(key) is not None
    }
    return Detector(**known, bad_pixels=dataset.bad_pixels)


def _detector_parameters(detector: Detector | None) -> dict[str, Any]:
    detector = detector or Detector()
    bad = detector.bad_pixels
    return {
        "background_counts": detector.background_counts,
        "readout_noise_counts": detector.readout_noise_counts,
        "saturation_counts": detector.saturation_counts,
        "bad_pixels": None if bad is None else {"count": int(bad.sum()), "sha256": mask_sha256(bad)},
    }
