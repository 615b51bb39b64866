"""The scan that a reconstruction assumes: the data themselves, or with errors of the probe and of the positions."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ptycho.config.test_sets import ProbeErrorConfig
from ptycho.data.dataset import Dataset
from ptycho.data.metadata import Metadata
from ptycho.data.seeds import derive_seed
from ptycho.physics.probe_errors import jittered_positions, wrong_probe


def assumed_probe_of(probe: Any, error: ProbeErrorConfig, seed: int) -> Any:
    """Return a probe, (N, N) complex64, with the errors of a test set; the probe itself where there are none.

    Parameters
    ----------
    seed : of the study, from which the phase noise is drawn: the same field for every strength and every probe
    """
    errors = {name: value for name, value in asdict(error).items() if name != "position_jitter_px"}
    return wrong_probe(probe, np.random.default_rng(derive_seed(seed, "probe_error", "phase")), **errors)


def assumed(test: Dataset, error: ProbeErrorConfig, seed: int) -> Dataset:
    """Return the scan that a reconstruction assumes: true patterns, but the probe and the positions with errors.

    Parameters
    ----------
    test : the true scan; returned itself where there are no errors
    seed : of the study, from which noise and jitter are drawn
    """
    if error.is_zero:
        return test
    rng = np.random.default_rng(derive_seed(seed, "probe_error", "positions"))
    x, y = jittered_positions(
        test.xcoords, test.ycoords, error.position_jitter_px, rng, test.object_shape, test.window_px
    )
    return replace(test, probe=assumed_probe_of(test.probe, error, seed), xcoords=x, ycoords=y)


def in_training_unit(test: Dataset, training: Metadata) -> Dataset:
    """Return a test scan whose counts are related to those of the training data, so that models see it in their unit.

    The unit is an amplitude at which a pattern of mean dose has the summed square ``(N/2)**2``. Of two simulated scans
    the ratio of the doses is known, and divided out exactly. Else each scan is in the unit of its own mean energy.

    Parameters
    ----------
    test : scan whose ``counts_scale`` belongs to its own counts
    training : metadata of the training data
    """
    if training.counts_scale is None:
        return test
    scale = training.counts_scale
    if test.metadata.n_photons and training.n_photons:
        scale = test.counts_scale * float(np.sqrt(training.n_photons / test.metadata.n_photons))
    return replace(test, metadata=replace(test.metadata, counts_scale=scale))
