#!/usr/bin/env python
"""Errors of the phase retrieval used for data augmentation against the density of the scan.

    python benchmarks/retrieval_density.py

Five sweeps of rPIE from an empty object, as PtychoPINN's augmentation does, on every pair of three procedural objects
and three probes at 1e9 photons, a twentieth of the patterns held out. ``overfit`` is the R-factor of the held-out
patterns divided by that of the patterns used: the training computes it and warns above
ptycho.models.augmentation.SPARSE. ``phase error`` is the standard deviation of the phase error divided by that of the
phase of the ground truth: 1 is an empty object.
"""

import itertools

import numpy as np
import pandas as pd

from ptycho.config.schema import SpecimenConfig, TrainingConfig
from ptycho.evaluation import alignment
from ptycho.models.augmentation import RETRIEVAL_ALPHA
from ptycho.physics import misfit, phase_retrieval, stitching
from ptycho.preparation import specimen
from ptycho.preparation.scan import simulate

N, SIDE = 64, 256
IMAGES = (64, 128, 256, 512, 1024)
OBJECTS = ("dead_leaves", "lines", "cells")
PROBES = ("zone_plate", "gaussian", "disk")


def row(kind: str, probe: str, n_images: int) -> dict[str, object]:
    """Return the density of a scan and the errors of the object retrieved from it."""
    defaults = SpecimenConfig()
    drawn = specimen.specimen(SIDE, N, defaults.phase_rad, defaults.absorption, 1, kind, probe)
    scan = simulate(drawn, n_images, 1e9, seed=2).loaded()
    assert scan.object is not None
    held_out = np.arange(n_images) % 20 == 0
    used, unseen = scan.take(np.flatnonzero(~held_out)), scan.take(np.flatnonzero(held_out))
    empty, sweeps = np.ones(scan.object.shape, np.complex64), TrainingConfig().phase_retrieval_iterations
    image = phase_retrieval.rpie(empty, used, sweeps, np.random.default_rng(0), RETRIEVAL_ALPHA)
    region = stitching.evaluated_region(scan.xcoords, scan.ycoords, N // 2, scan.object_shape)
    covered = stitching.covered_pixels(scan.xcoords, scan.ycoords, scan.probe, scan.object_shape, N // 2)
    aligned = alignment.align(image, scan.object, region, 0.0, covered)
    inside = aligned.covered
    return {
        "object": kind, "probe": probe, "images": n_images,
        "patterns a pixel": stitching.patterns_per_pixel(scan.xcoords, scan.ycoords, scan.probe),
        "overfit": misfit.r_factor(image, unseen) / misfit.r_factor(image, used),
        "phase error": float(aligned.phase_difference[inside].std() / aligned.truth_phase[inside].std()),
    }  # fmt: skip


def main() -> None:
    table = pd.DataFrame([row(*case) for case in itertools.product(OBJECTS, PROBES, IMAGES)])
    print(table.round(2).to_string(index=False))
    wide = table.pivot_table(index="images", columns="probe", values=["patterns a pixel", "overfit", "phase error"])
    print("\nmean over the objects\n" + wide.round(2).to_string())


if __name__ == "__main__":
    main()
