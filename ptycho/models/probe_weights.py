"""The probe that a network holds among its weights, and uses to prepare its input and to correct its patches."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from ptycho.models.layers import ProbeLayer
from ptycho.models.networks import PatchModel


def _layers(model: PatchModel) -> list[ProbeLayer]:
    """Return the layers of the network that hold the probe; those of the loss are not used in an inference."""
    return [layer for layer in model.network.layers if isinstance(layer, ProbeLayer)]


def network_probe(model: PatchModel) -> npt.NDArray[np.complex64]:
    """Return the probe of a network, (N, N) complex64: that of the training data."""
    parts = _layers(model)[0].parts.numpy()
    return (parts[..., 0] + 1j * parts[..., 1]).astype(np.complex64)


@contextmanager
def assumed_probe(model: PatchModel, probe: npt.NDArray[np.complex64]) -> Iterator[None]:
    """Let a network use another probe, (N, N) complex64 in the unit of its training data, within a with statement."""
    layers = _layers(model)
    before = [layer.parts.numpy() for layer in layers]
    try:
        for layer in layers:
            layer.parts.assign(np.stack([probe.real, probe.imag], axis=-1).astype(np.float32))
        yield
    finally:
        for layer, parts in zip(layers, before, strict=True):
            layer.parts.assign(parts)
