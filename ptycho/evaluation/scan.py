"""Arms compared on the data of a scan: the region and the pixels that it covers, and misfits to its patterns."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ptycho.config.schema import EvaluationConfig
from ptycho.data.dataset import Dataset
from ptycho.errors import InputError
from ptycho.evaluation import comparison
from ptycho.evaluation.metrics import Metric
from ptycho.physics import misfit, stitching

FLAT = 1e-5  # relative difference below which the truth has no structure: rounding of complex64


class ScanComparison:
    """What a scan determines of a comparison, computed once; then any arms are compared on it.

    Parameters
    ----------
    test : patterns in memory; without an object nothing is scored
    settings : how reconstructions are stitched and registered
    path : of the data, named in errors

    Raises
    ------
    InputError : the evaluated region is empty, or the object is the same number all over it
    """

    def __init__(self, test: Dataset, settings: EvaluationConfig, path: Path) -> None:
        crop_px = settings.crop_px(test.window_px)
        self.test, self.settings = test, settings
        self.region = stitching.evaluated_region(test.xcoords, test.ycoords, crop_px, test.object_shape)
        self.covered = stitching.covered_pixels(test.xcoords, test.ycoords, test.probe, test.object_shape, crop_px)
        _require_structure(test, self.covered, self.region, path)

    def compare(
        self,
        arms: Sequence[comparison.Arm],
        custom: Mapping[str, Metric] = MappingProxyType({}),
        *,
        register: bool = True,
    ) -> comparison.Comparison:
        """Return the comparison of arms, with their R-factors on the scan's patterns under its probe.

        Parameters
        ----------
        custom : further metrics, by name
        register : shift each object to match the truth, within the bounds of the settings

        Raises
        ------
        InputError : see :func:`ptycho.evaluation.comparison.compare`
        """
        images = [*(arm.object for arm in arms), np.ones(self.test.object_shape, np.complex64)]
        *factors, empty = misfit.covered_r_factors(images, self.test, self.covered)
        return comparison.compare(
            [replace(arm, r_factor=factor) for arm, factor in zip(arms, factors, strict=True)],
            self.test.object,
            self.region,
            registration_max_px=self.settings.registration_max_px if register else 0.0,
            pixel_size_m=self.test.metadata.pixel_size_m,
            custom=custom,
            covered=self.covered,
            window_px=self.test.window_px,
            empty_r_factor=empty,
        )


def _require_structure(test: Dataset, covered: npt.NDArray[np.bool_], region: stitching.Region, path: Path) -> None:
    """Raise InputError where the truth is the same number all over the evaluated region, so that no score means any."""
    if test.object is None or not covered[region].any():
        return
    seen = test.object[region][covered[region]].astype(np.complex128)
    if np.abs(seen - seen.mean()).max() <= FLAT * np.abs(seen).max():
        raise InputError(
            f"{path}: objectGuess is the same everywhere in the evaluated region, so that no metric can distinguish a "
            "reconstruction from an empty one: give the true object, or remove it to compare without scores"
        )
