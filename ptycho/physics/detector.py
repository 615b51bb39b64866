"""Detector model: counts for expected photons."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import FloatArray
from ptycho.errors import InputError


@dataclass(frozen=True, eq=False)
class Detector:
    """Imperfections of a detector: background, read-out noise, saturation and bad pixels.

    Parameters
    ----------
    background_counts : mean background photons per pixel, Poisson-distributed
    readout_noise_counts : standard deviation of the Gaussian read-out noise, counts; the sum is rounded and clipped
        at 0
    saturation_counts : largest count of a pixel, or None
    bad_pixels : (N, N) bool, pixels that count nothing, DC in the centre, or None

    Raises
    ------
    InputError : values that are negative or not finite, or a saturation of 0
    """

    background_counts: float = 0.0
    readout_noise_counts: float = 0.0
    saturation_counts: float | None = None
    bad_pixels: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        limits = (self.background_counts, self.readout_noise_counts, self.saturation_counts or 0.0)
        if not all(0 <= value < np.inf for value in limits) or self.saturation_counts == 0:
            raise InputError(
                f"background {self.background_counts:g}, read-out noise {self.readout_noise_counts:g}, saturation "
                f"{self.saturation_counts}: expected counts of 0 or more, and more than 0 for the saturation"
            )


def photon_counts(
    intensity: FloatArray, rng: np.random.Generator, detector: Detector | None = None
) -> npt.NDArray[np.floating[Any]]:
    """Draw the counts of a detector for expected photons: Poisson-distributed, with the detector's imperfections.

    Parameters
    ----------
    intensity : (..., N, N) expected photons per pixel
    rng : draws the noise
    detector : None for an ideal one

    Returns
    -------
    (..., N, N) float64, counts
    """
    if detector is None:
        return rng.poisson(intensity).astype(np.float64)
    counts = rng.poisson(intensity + detector.background_counts).astype(np.float64)
    if detector.readout_noise_counts:
        counts += rng.normal(0, detector.readout_noise_counts, counts.shape)
    counts = np.clip(np.rint(counts), 0, detector.saturation_counts)
    return counts if detector.bad_pixels is None else np.where(detector.bad_pixels, 0, counts)
