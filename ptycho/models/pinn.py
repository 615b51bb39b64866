"""PtychoPINN: patches learned from diffraction alone, by the physics that produced it.

O. Hoidn, A. A. Mishra, A. Mehta, Sci. Rep. 13, 22789 (2023): a network maps a pattern to a patch; the patches of
neighbouring patterns are merged, diffracted again and compared with the measurement. No ground truth is seen.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho.config.schema import PinnConfig
from ptycho.models import losses
from ptycho.models.layers import Diffraction, OverlapCanvas
from ptycho.models.networks import PatchModel, encoder_decoder


class PtychoPINN(PatchModel):
    """The network, and the physics it is trained through.

    Called on (n, N, N) float32 patterns it returns ``amplitude`` and ``phase``, (n, N, N) float32 each (with a
    gridsize above 1, see :func:`~ptycho.models.networks.encoder_decoder`). A batch of training holds ``n``
    neighbouring patterns and ``m`` made ones; its ``y`` is ``{"diffraction": (n, N, N), "positions_px": (n, 2),
    "patches": (m, N, N)}``: positions (x, y) relative to the middle of the group, and the patches of the made ones.
    """

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
        self.counted = None if bad_pixels is None else tf.constant((~bad_pixels).astype(np.float32))
        self.network = encoder_decoder(
            probe, config.n_filters_scale, policy, seed,
            gridsize=config.gridsize, activation=config.amplitude_activation,
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
        """Return the error of the merged patches plus, weighted, that of each alone, and that of made patches.

        In validation there are no neighbours and no made images: each patch answers for itself.
        """
        del x, sample_weight
        patches = tf.complex(
            y_pred["amplitude"] * tf.cos(y_pred["phase"]), y_pred["amplitude"] * tf.sin(y_pred["phase"])
        )
        measured = y["diffraction"] ** 2
        if not training:
            return self._misfit(measured, patches)
        n = tf.shape(measured)[0]
        loss = self.config.real_space_weight * losses.patch_error(patches[n:], y["patches"], self.canvas.share)
        if self.config.pattern_weight:
            loss += self.config.pattern_weight * self._misfit(measured, patches[:n])
        if self.config.overlap_weight:
            merged = self.canvas(patches[:n], y["positions_px"])
            loss += self.config.overlap_weight * self._misfit(measured, merged)
        return loss

    def _misfit(self, measured: tf.Tensor, patches: tf.Tensor) -> tf.Tensor:
        """Return how badly the diffraction of patches fits, bad pixels left out."""
        expected = self.diffraction(patches)
        if self.counted is not None:
            measured, expected = measured * self.counted, expected * self.counted
        misfit = losses.poisson_deviance(measured, expected)
        if self.config.amplitude_weight:
            misfit += self.config.amplitude_weight * losses.amplitude_error(measured, expected)
        return misfit


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
    probe : (N, N) complex64, scaled as in a dataset
    policy : precision of the convolutions, ``float32`` or ``mixed_bfloat16``
    seed : of the initial weights
    canvas_px : side of the canvas that holds a training batch; needed for training only
    bad_pixels : (N, N) bool, left out of the loss; needed for training only
    """
    model = PtychoPINN(probe, config, policy=policy, seed=seed, canvas_px=canvas_px, bad_pixels=bad_pixels)
    model.build(None)
    return model
