"""PtychoPINN: patches learned from diffraction alone, by the physics that produced it.

O. Hoidn, A. A. Mishra, A. Mehta, Sci. Rep. 13, 22789 (2023): a network maps a pattern to a patch; the patches of
neighbouring patterns are merged, diffracted again and compared with the measurement. No ground truth is seen.
"""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho.config import PinnConfig
from ptycho.models import losses
from ptycho.models.layers import Diffraction, OverlapCanvas
from ptycho.models.networks import encoder_decoder


class PtychoPINN(keras.Model):
    """The network, and the physics it is trained through.

    Called on (n, N, N) float32 patterns it returns ``amplitude`` and ``phase``, (n, N, N) float32 each. A batch
    of training holds neighbouring patterns; its ``y`` is ``{"diffraction": (n, N, N), "positions_px": (n, 2)}``,
    the positions (x, y) relative to the middle of the group.
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
        self.network = encoder_decoder(probe, config.n_filters_scale, policy, seed)
        self.diffraction = Diffraction(probe, config.trainable_intensity_scale, name="diffraction_model")
        self.canvas = OverlapCanvas(probe, canvas_px or probe.shape[0], name="overlap")

    def build(self, input_shape: Any) -> None:
        """All layers were built by the constructor."""
        self.built = True

    def call(self, diffraction: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        return self.network(diffraction, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Return the Poisson deviance of the merged patches plus, weighted, that of each patch alone.

        In validation the patterns are no neighbours, and each patch answers for itself.
        """
        del x, sample_weight
        patches = tf.complex(
            y_pred["amplitude"] * tf.cos(y_pred["phase"]), y_pred["amplitude"] * tf.sin(y_pred["phase"])
        )
        measured = y["diffraction"] ** 2
        alone = self._deviance(measured, patches)
        if not training or self.config.overlap_weight == 0:
            return alone
        merged = self._deviance(measured, self.canvas(patches, y["positions_px"]))
        return self.config.overlap_weight * merged + self.config.pattern_weight * alone

    def _deviance(self, measured: tf.Tensor, patches: tf.Tensor) -> tf.Tensor:
        """Return the Poisson deviance of patches, bad pixels left out."""
        expected = self.diffraction(patches)
        if self.counted is not None:
            measured, expected = measured * self.counted, expected * self.counted
        return losses.poisson_deviance(measured, expected)


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
