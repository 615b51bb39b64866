"""Common style of all figures; neither pyplot nor a display is used."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import seaborn as sns
from matplotlib.figure import Figure

from ptycho.config.schema import PlotsConfig
from ptycho.errors import InputError
from ptycho.io import files
from ptycho.results.schema import MODEL_TYPES

logger = logging.getLogger(__name__)

MARKERS = "osD^vPX*"
UNTRAINED = {"iterative": {"marker": "", "linestyle": "--"}}  # independent of the training images: a line


@contextmanager
def style(plots: PlotsConfig) -> Iterator[None]:
    """Apply the configured seaborn style while a figure is made, and to nothing else."""
    fine = {"grid.linewidth": 0.6, "axes.linewidth": 0.8}
    with sns.axes_style(plots.style), sns.plotting_context("paper", font_scale=1.15, rc=fine):
        yield


def model_looks(kinds: Sequence[str], plots: PlotsConfig) -> dict[str, dict[str, Any]]:
    """Return colour and marker of each model type; the known ones keep theirs whichever others are shown.

    Raises
    ------
    InputError : seaborn has no such palette
    """
    names = [*MODEL_TYPES.values(), *(kind for kind in kinds if kind not in MODEL_TYPES.values())]
    try:
        colors = sns.color_palette(plots.palette, len(names))
    except ValueError as error:
        raise InputError(f"plots.palette is {plots.palette}: {error}; try colorblind, deep or Set2") from error
    return {
        name: {"color": color, "marker": MARKERS[index % len(MARKERS)]}
        for index, (name, color) in enumerate(zip(names, colors, strict=True))
    }


def require_format(figure: Figure, path: Path) -> None:
    """Raise InputError where the ending of a file name is no format that matplotlib writes."""
    known = figure.canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise InputError(f"{path}: no figure format in the name; expected one of {', '.join(sorted(known))}")


def save_figure(figure: Figure, path: Path | str, plots: PlotsConfig, also: Sequence[str] = ()) -> None:
    """Write a figure to ``path``, and beside it in further formats.

    Parameters
    ----------
    also : file name extensions of the further formats, without a dot

    Raises
    ------
    InputError : the ending of the file name is no format that matplotlib writes
    """
    path = Path(path)
    require_format(figure, path)
    for target in dict.fromkeys([path, *(path.with_suffix(f".{extension}") for extension in also)]):
        with files.replacing(target) as temporary:
            figure.savefig(temporary, dpi=plots.dpi, bbox_inches="tight", pad_inches=0.05)
        logger.info("wrote %s", target)
