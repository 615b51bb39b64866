"""Figures of the phases of many reconstructions: of all trials of a size, and of a trial of each size."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ptycho.config.schema import PlotsConfig
from ptycho.errors import InputError
from ptycho.plotting.object_panels import (
    PANEL_IN,
    WARNING_COLOR,
    checked_objects,
    draw_panel,
    draw_scale_bar,
    failure_of,
    models_shown,
    note_missing_truth,
    panel_grid,
    scale_references,
    scores,
    shape_of,
)
from ptycho.plotting.scales import Object, Scale, phase_scale, shown_phase
from ptycho.plotting.style import UNTRAINED, style
from ptycho.results import layout
from ptycho.results.schema import TRUTH, model_label, ordered_models

SMALL_PANEL_IN = 0.85 * PANEL_IN
DETAIL_PX = 256  # largest side of the region in the strip: beyond it neighbouring pixels merge in print


@dataclass(frozen=True, eq=False)
class _Overview:
    """The objects of several trials, with what all their panels share.

    Parameters
    ----------
    objects : complex (h, w) by name, of each trial or size, in order
    metrics : tidy, of each of them
    kinds : every model with an object or metrics
    scale : colours of the phase
    shape : of the first object
    """

    objects: dict[int, dict[str, Object]]
    metrics: dict[int, pd.DataFrame]
    kinds: list[str]
    scale: Scale
    shape: tuple[int, ...]

    @classmethod
    def of(cls, objects: Mapping[int, Mapping[str, Object]], metrics: pd.DataFrame, column: str) -> "_Overview":
        """Return the overview of objects by ``column`` of the metrics; there must be some."""
        named = {key: checked_objects(images) for key, images in sorted(objects.items())}
        rows = {key: metrics[metrics[column] == key] for key in named}
        kinds = ordered_models(kind for images in named.values() for kind in models_shown(images, metrics))
        references = [image for key, images in named.items() for image in scale_references(images, rows[key])]
        scale = phase_scale(*(references or [image for images in named.values() for image in images.values()]))
        return cls(named, rows, kinds, scale, shape_of(next(iter(named.values()))))

    @property
    def truths(self) -> list[Object]:
        """The ground truth of every trial or size that has one."""
        return [images[TRUTH] for images in self.objects.values() if TRUTH in images]

    def detail(self) -> "_Overview":
        """Return the central part of every object, of at most DETAIL_PX a side, on the same scale."""
        objects = {
            key: {name: _central(image) for name, image in images.items()} for key, images in self.objects.items()
        }
        return replace(self, objects=objects, shape=shape_of(next(iter(objects.values()))))

    def draw(self, axes: Axes, key: int, kind: str) -> None:
        """Draw the phase of a model of a trial or size, with its score and its failure below."""
        images, metrics = self.objects[key], self.metrics[key]
        phase = shown_phase(images[kind], images.get(TRUTH)) if kind in images else None
        draw_panel(axes, phase, self.scale, self.shape)
        failure = failure_of(metrics, kind)
        words = filter(None, [scores(metrics, kind, "phase", ("rmse",)), failure])
        axes.set_xlabel(", ".join(words), fontsize=8, color=WARNING_COLOR if failure else "black")


def _central(image: Object) -> Object:
    """Return the central DETAIL_PX x DETAIL_PX pixels of an object, or all rows or columns where it has fewer."""
    top, left = (max(side - DETAIL_PX, 0) // 2 for side in image.shape)
    return image[top : top + DETAIL_PX, left : left + DETAIL_PX]


def size_overview_figure(
    objects_by_trial: Mapping[int, Mapping[str, Object]],
    metrics: pd.DataFrame,
    title: str,
    plots: PlotsConfig,
) -> Figure:
    """Show the phase of the ground truth, where it is known, and of each model, a row for each trial.

    Parameters
    ----------
    objects_by_trial : for each trial, objects as :func:`ptycho.plotting.reconstructions.comparison_figure` takes them
    metrics : tidy with a column ``trial``: the ``comparison_metrics.csv`` of the size
    title : above the panels

    Raises
    ------
    InputError : no trial, or objects of a trial that do not match each other
    """
    if not objects_by_trial:
        raise InputError("no trial to show: the size has no reconstructions; run its comparisons first")
    shown = _Overview.of(objects_by_trial, metrics, "trial")
    names = [TRUTH, *shown.kinds] if shown.truths else shown.kinds
    with style(plots):
        figure, axes = panel_grid(shown.shape, len(shown.objects), len(names), SMALL_PANEL_IN)
        for row, trial in zip(axes, shown.objects, strict=True):
            for panel, name in zip(row, names, strict=True):
                shown.draw(panel, trial, name)
            row[0].set_ylabel(f"Trial {trial}")
        for panel, name in zip(axes[0], names, strict=True):
            panel.set_title("Ground truth" if name == TRUTH else model_label(name), fontweight="bold")
        if not shown.truths:
            note_missing_truth(figure)
        draw_scale_bar(axes[0], shown.shape)
        shown.scale.bar(figure, axes)
        figure.suptitle(title, fontsize="medium")
    return figure


def strip_figure(
    objects_by_size: Mapping[int, Mapping[str, Object]],
    metrics: pd.DataFrame,
    title: str,
    plots: PlotsConfig,
) -> Figure:
    """Show how the phases change with the training images: a row for each model, a column for each size.

    Of a large region the centre is shown, so that its pixels can be seen; the scores are those of the whole region.

    Parameters
    ----------
    objects_by_size : of one trial of each size, as :func:`ptycho.plotting.reconstructions.comparison_figure` takes them
    metrics : tidy with a column ``train_size``, of these trials
    title : above the panels

    Raises
    ------
    InputError : no size, or objects that do not match each other
    """
    if not objects_by_size:
        raise InputError(f"nothing to show: no {layout.RECONSTRUCTIONS} of any size; run the comparisons first")
    whole = _Overview.of(objects_by_size, metrics, "train_size")
    shown = whole.detail()
    if shown.shape != whole.shape:
        title += "; centre, {} × {} of {} × {} px".format(*shown.shape, *whole.shape)
    kinds = [kind for kind in shown.kinds if kind not in UNTRAINED] or shown.kinds
    untrained = [kind for kind in shown.kinds if kind not in kinds]  # below the truth: the same for every size
    sizes, truths = list(shown.objects), shown.truths
    with style(plots):
        rows, columns = max(len(kinds), (1 + len(untrained)) * bool(truths)), len(sizes) + bool(truths)
        figure, axes = panel_grid(shown.shape, rows, columns, SMALL_PANEL_IN)
        for panel in axes[len(kinds) :, : len(sizes)].flat:  # beside further references
            panel.set_axis_off()
        for line, kind in zip(axes, kinds, strict=False):
            for panel, size in zip(line, sizes, strict=False):
                shown.draw(panel, size, kind)
            line[0].set_ylabel(model_label(kind), fontweight="bold")
        for panel, size in zip(axes[0], sizes, strict=False):
            panel.set_title(f"{size} images", fontsize="medium")
        if truths:
            draw_panel(axes[0, -1], np.angle(truths[-1]), shown.scale, shown.shape)
            axes[0, -1].set_title("Ground truth", fontsize="medium", fontweight="bold")
            for panel, kind in itertools.zip_longest(axes[1:, -1], untrained):
                if kind is None or kind not in shown.objects[sizes[-1]]:
                    panel.set_axis_off()
                    continue
                shown.draw(panel, sizes[-1], kind)
                panel.set_title(model_label(kind), fontsize="medium", fontweight="bold")
        else:
            note_missing_truth(figure)
        draw_scale_bar(axes[0], shown.shape)
        shown.scale.bar(figure, axes)
        figure.suptitle(title, fontsize="medium")
    return figure
