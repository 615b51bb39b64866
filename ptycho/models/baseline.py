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
from ptycho.models.layers import Diffraction, valid_pixel_mask
from ptycho.models.networks import PatchModel, complex_patches, encoder_decoder


class Baseline(PatchModel):
    """The network, trained on targets ``y``: ``amplitude`` and ``phase`` (radians), (n, N, N) float32 each.

    Inputs and outputs are those of :func:`~ptycho.models.networks.encoder_decoder`.

    Parameters
    ----------
    probe, config, policy, seed, bad_pixels : see :func:`build`
    """

    config: BaselineConfig

    def __init__(
        self,
        probe: npt.NDArray[np.complex64],
        config: BaselineConfig,
        *,
        policy: str = "float32",
        seed: int = 0,
        bad_pixels: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        super().__init__(name="baseline")
        self.config = config
        self.valid_pixel_mask = valid_pixel_mask(bad_pixels)
        # without it the model has the weights of a supervised network only
        self.diffraction = Diffraction(probe, False, name="diffraction_model") if config.pattern_weight else None
        self.network = encoder_decoder(
            probe, config.n_filters_scale, policy, seed,
            gridsize=config.gridsize, convolution_activation=config.convolution_activation,
            amplitude_activation=config.amplitude_activation,
            projections=config.projections, bad_pixels=bad_pixels,
        )  # fmt: skip

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Return the mean absolute error of amplitude plus that of phase, a float32 scalar.

        With a ``pattern_weight`` the data fidelity of each patch is added; both hold for augmented patterns, too.
        """
        del sample_weight, training
        loss = losses.real_space_error(y_pred["amplitude"], y_pred["phase"], y["amplitude"], y["phase"])
        if self.diffraction is None:
            return loss
        measured = x["diffraction"][:, 0] if isinstance(x, dict) else x
        expected = self.diffraction(complex_patches(y_pred))
        fidelity = losses.poisson_deviance(measured**2 * self.valid_pixel_mask, expected * self.valid_pixel_mask)
        return loss + self.config.pattern_weight * fidelity


def build(
    probe: npt.NDArray[np.complex64],
    config: BaselineConfig,
    *,
    policy: str = "float32",
    seed: int = 0,
    bad_pixels: npt.NDArray[np.bool_] | None = None,
) -> Baseline:
    """Return an untrained baseline whose variables exist.

    Parameters
    ----------
    probe : (N, N) complex64, scaled as in a dataset; N a multiple of 8
    config : size of the network
    policy : precision of the convolutions, ``float32`` or ``mixed_bfloat16``
    seed : of the initial weights
    bad_pixels : (N, N) bool, True where a detector pixel is masked, in the projections, whose mask is saved with
        the weights, and in the likelihood
    """
    model = Baseline(probe, config, policy=policy, seed=seed, bad_pixels=bad_pixels)
    model.build(None)
    return model
