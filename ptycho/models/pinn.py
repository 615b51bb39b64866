"""PtychoPINN: a network trained on diffraction patterns alone, through the physics that produced them.

O. Hoidn, A. A. Mishra, A. Mehta, Sci. Rep. 13, 22789 (2023): a network maps a pattern to a patch; the patches of
neighbouring patterns are merged, diffracted again and compared with the measurement, without ground truth.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho.config.schema import PinnConfig
from ptycho.models import losses
from ptycho.models.layers import Diffraction, OverlapCanvas, valid_pixel_mask
from ptycho.models.networks import PatchModel, complex_patches, encoder_decoder


class PtychoPINN(PatchModel):
    """The network, and the physics through which it is trained.

    Inputs and outputs are those of :func:`~ptycho.models.networks.encoder_decoder`. A training batch holds ``n``
    neighbouring patterns, then ``m`` augmented ones. Its targets ``y`` are ``diffraction``, (n, N, N) float32,
    ``positions_px``, (n, 2) float32, (x, y) relative to the centre of the canvas, and ``patches``, (m, N, N)
    complex64, of the augmented patterns.

    Parameters
    ----------
    probe, config, policy, seed, canvas_px, bad_pixels : see :func:`build`
    """

    config: PinnConfig

    def __init__(
        self,
        probe: npt.NDArray[np.complex64],
        config: PinnConfig,
        *,
        policy: str = "float32",
        seed: int = 0,
        canvas_px: int | None = None,
        bad_pixels: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        super().__init__(name="ptychopinn")
        self.config = config
        self.valid_pixel_mask = valid_pixel_mask(bad_pixels)
        self.network = encoder_decoder(
            probe, config.n_filters_scale, policy, seed,
            gridsize=config.gridsize, convolution_activation=config.convolution_activation,
            amplitude_activation=config.amplitude_activation,
            projections=config.projections, bad_pixels=bad_pixels,
        )  # fmt: skip
        self.diffraction = Diffraction(
            probe, config.trainable_intensity_scale, config.trainable_probe, name="diffraction_model"
        )
        self.canvas = OverlapCanvas(probe, canvas_px or probe.shape[0], name="overlap")

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Return the loss of a batch, a float32 scalar.

        In a training it is the weighted sum of the data fidelity of the merged patches, that of each patch by itself,
        and the error of the augmented patches. In a validation, whose batches are neither neighbours nor augmented, it
        is the data fidelity of each patch by itself.
        """
        del x, sample_weight
        patches = complex_patches(y_pred)
        measured = y["diffraction"] ** 2
        if not training:
            return self.data_fidelity_loss(measured, patches)
        n = tf.shape(measured)[0]
        weight = self.canvas.normalized_intensity
        loss = self.config.real_space_weight * losses.patch_error(patches[n:], y["patches"], weight)
        if self.config.pattern_weight:
            loss += self.config.pattern_weight * self.data_fidelity_loss(measured, patches[:n])
        if self.config.overlap_weight:
            merged = self.canvas(patches[:n], y["positions_px"])
            loss += self.config.overlap_weight * self.data_fidelity_loss(measured, merged)
        return loss

    def data_fidelity_loss(self, measured: tf.Tensor, patches: tf.Tensor) -> tf.Tensor:
        """Return the error of the patterns that patches give, a float32 scalar; bad pixels are masked.

        Parameters
        ----------
        measured : (n, N, N) float32 intensities, ``diffraction ** 2``
        patches : (n, N, N) complex64
        """
        expected = self.diffraction(patches)
        measured, expected = measured * self.valid_pixel_mask, expected * self.valid_pixel_mask
        loss = losses.poisson_deviance(measured, expected)
        if self.config.amplitude_weight:
            loss += self.config.amplitude_weight * losses.amplitude_error(measured, expected)
        return loss


def build(
    probe: npt.NDArray[np.complex64],
    config: PinnConfig,
    *,
    policy: str = "float32",
    seed: int = 0,
    canvas_px: int | None = None,
    bad_pixels: npt.NDArray[np.bool_] | None = None,
) -> PtychoPINN:
    """Return an untrained PtychoPINN whose variables exist.

    Parameters
    ----------
    probe : (N, N) complex64, scaled as in a dataset; N a multiple of 8
    config : size of the network and weights of the loss
    policy : precision of the convolutions, ``float32`` or ``mixed_bfloat16``
    seed : of the initial weights
    canvas_px : side of the canvas of a training batch; not needed for inference
    bad_pixels : (N, N) bool, True where a detector pixel is masked, in the loss and in the projections, whose mask is
        saved with the weights
    """
    model = PtychoPINN(probe, config, policy=policy, seed=seed, canvas_px=canvas_px, bad_pixels=bad_pixels)
    model.build(None)
    return model
