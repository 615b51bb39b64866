"""Colour scales of phase, amplitude and errors, shared by panels, and the phase that a panel shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

CYCLIC_FROM = 0.9 * 2 * np.pi  # phase range, radians, from which the two ends of the scale must meet
Image = npt.NDArray[np.floating[Any]]
Object = npt.NDArray[Any]  # (h, w) complex


@dataclass(frozen=True)
class Scale:
    """Colour scale of one quantity, shared by all its panels: label, colour map, lowest and highest value."""

    label: str
    cmap: str
    low: float
    high: float

    def show(self, axes: Axes, image: Image) -> None:
        """Draw an image, (h, w), in these colours."""
        axes.imshow(image, cmap=self.cmap, vmin=self.low, vmax=self.high, interpolation="nearest")

    def bar(self, figure: Figure, axes: npt.NDArray[Any]) -> None:
        """Add one colour bar to the right of a block of panels."""
        mappable = ScalarMappable(Normalize(self.low, self.high), self.cmap)
        bar = figure.colorbar(mappable, ax=axes, fraction=0.05, pad=0.015, aspect=16 * np.atleast_2d(axes).shape[0])
        bar.set_label(self.label)
        bar.outline.set_visible(False)
        bar.locator = MaxNLocator(5)
        bar.update_ticks()


def phase_error(prediction: Object, truth: Object) -> Image:
    """Return the angle of prediction times conjugate truth, (h, w), radians in (-pi, pi]."""
    return np.angle(prediction * np.conj(truth))


def shown_phase(prediction: Object, truth: Object | None) -> Image:
    """Return the true phase plus the error of the prediction, (h, w), radians: no wraps that the truth lacks.

    Where the true phase itself spans nearly 2 pi, the sum is wrapped again; without a truth it is the phase itself.
    """
    if truth is None:
        return np.angle(prediction)
    angle = np.angle(truth)
    total = angle + phase_error(prediction, truth)
    return np.angle(np.exp(1j * total)) if _span([angle]) > CYCLIC_FROM else total


def _range(images: list[Image], low: float, high: float) -> tuple[float, float]:
    """Return two percentiles of the finite pixels, slightly apart where the images are flat."""
    values = np.concatenate([np.empty(0), *(image[np.isfinite(image)] for image in images)])
    start, stop = np.percentile(values, (low, high)) if values.size else (0.0, 1.0)
    return (float(start), float(stop)) if stop - start > 1e-6 else (float(start) - 0.05, float(start) + 0.05)


def _span(images: list[Image]) -> float:
    """Return the range of the values without a few outliers."""
    low, high = _range(images, 0.1, 99.9)
    return high - low


def phase_scale(*references: Object) -> Scale:
    """Return the colour scale of phases, rad: cyclic only where those of the references span nearly 2 pi."""
    angles = [np.angle(image) for image in references]
    if _span(angles) > CYCLIC_FROM:
        return Scale("phase (rad)", "twilight", -np.pi, np.pi)
    return Scale("phase (rad)", "viridis", *_range(angles, 0.1, 99.9))


def amplitude_scale(references: Sequence[Object]) -> Scale:
    """Return the colour scale of amplitudes."""
    return Scale("amplitude", "gray", *_range([np.abs(image) for image in references], 0.1, 99.9))


def error_scale(label: str, errors: list[Image]) -> Scale:
    """Return the colour scale of absolute errors, from 0."""
    return Scale(label, "magma", 0.0, _range(errors, 0, 99.5)[1])
