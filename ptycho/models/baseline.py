"""The supervised baseline, after PtychoNN: trained on ground-truth patches.

M. J. Cherukara et al., Appl. Phys. Lett. 117, 044103 (2020). Network, precision, schedule and images are those of
PtychoPINN; only the ground truth is added.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho.config.schema import BaselineConfig
from ptycho.models import losses
from ptycho.models.networks import PatchModel, encoder_decoder


class Baseline(PatchModel):
    """The network, trained on targets ``y``: ``amplitude`` and ``phase`` (radians), (n, N, N) float32 each.

    Inputs and outputs are those of :func:`~ptycho.models.networks.encoder_decoder`.

    Parameters
    ----------
    probe, config, policy, seed : see :func:`build`
    """

    config: BaselineConfig

    def __init__(
        self,
        probe: npt.NDArray[np.complex64],
        config: BaselineConfig,
        *,
        policy: str = "float32",
        seed: int = 0,
    ) -> None:
        super().__init__(name="baseline")
        self.config = config
        self.network = encoder_decoder(
            probe, config.n_filters_scale, policy, seed,
            gridsize=config.gridsize, activation=config.amplitude_activation,
        )  # fmt: skip

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Return the mean absolute error of amplitude plus that of phase, a float32 scalar."""
        del x, sample_weight, training
        return losses.real_space_error(y_pred["amplitude"], y_pred["phase"], y["amplitude"], y["phase"])


def build(
    probe: npt.NDArray[np.complex64], config: BaselineConfig, *, policy: str = "float32", seed: int = 0
) -> Baseline:
    """Return an untrained baseline whose variables exist.

    Parameters
    ----------
    probe : (N, N) complex64, scaled as in a dataset; N a multiple of 8
    config : size of the network
    policy : precision of the convolutions, ``float32`` or ``mixed_bfloat16``
    seed : of the initial weights
    """
    model = Baseline(probe, config, policy=policy, seed=seed)
    model.build(None)
    return model
