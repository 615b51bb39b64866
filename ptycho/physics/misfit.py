"""How far the diffraction of an object is from the measured patterns."""

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import ComplexArray, Dataset, FloatArray
from ptycho.physics import diffraction
from ptycho.physics.patches import extract_patches
from ptycho.physics.stitching import light_share

JUDGED = 256  # patterns that the R-factor is of, at most, spread over the scan


def r_factor(image: ComplexArray, dataset: Dataset) -> float:
    """Return ``sum | |F| - diffraction | / sum diffraction`` over a sample of the patterns, bad pixels left out.

    The misfit that crystallographers call R: 0 where the object explains the patterns; photon noise sets a floor.
    """
    sample = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), JUDGED)).astype(int))
    measured: FloatArray = dataset.diffraction[sample]
    patches = extract_patches(image, dataset.xcoords[sample], dataset.ycoords[sample], dataset.window_px)
    off = np.abs(diffraction.diffraction_amplitude(dataset.probe, patches) - measured)
    if dataset.bad_pixels is not None:
        off, measured = off[:, ~dataset.bad_pixels], measured[:, ~dataset.bad_pixels]
    light = float(measured.sum(dtype=float))
    return float(off.sum(dtype=float)) / light if light else float("nan")


LIT_SHARE = 0.99  # of a pattern's light


def covered_r_factor(image: ComplexArray, dataset: Dataset, covered: npt.NDArray[np.bool_]) -> float:
    """Return the R-factor of the patterns whose light falls on covered pixels; NaN where there are none.

    See :func:`ptycho.physics.misfit.r_factor`.

    Parameters
    ----------
    image : (H, W) complex; pixels that are not covered may hold anything
    covered : (H, W) bool
    """
    inside = np.flatnonzero(light_share(dataset.xcoords, dataset.ycoords, dataset.probe, covered) >= LIT_SHARE)
    if not inside.size or not np.isfinite(image[covered]).all():
        return float("nan")
    return r_factor(np.where(covered, image, image[covered].mean()), dataset.select(inside))
