#!/usr/bin/env python
"""Draw docs/images/specimens.png: every procedural object, and every probe with a pattern it gives."""

import argparse
from pathlib import Path
from typing import Any, cast

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image
from scipy.spatial import cKDTree

from ptycho.config.schema import SimulationConfig, SpecimenConfig
from ptycho.physics import diffraction
from ptycho.physics.objects import OBJECTS, specimen_object
from ptycho.physics.probes import PROBES

SEED = 3
DPI = 100
MARGIN_PX, GAP_PX, ROW_GAP_PX, TITLE_PX, BAR_PX = 10, 10, 10, 42, 110
OBJECT_PX, PROBE_PX = 264, 192  # sides of panels: a pixel of the picture is one of the object, 3 x 3 one of the probe
BLOCK_PX = len(OBJECTS) * (OBJECT_PX + GAP_PX) - GAP_PX
KEY_PX = 104
PAIR_GAP_PX = (BLOCK_PX - KEY_PX - len(PROBES) * (2 * PROBE_PX + GAP_PX)) / len(PROBES)
WIDTH_PX = MARGIN_PX + BLOCK_PX + BAR_PX
HEIGHT_PX = 2 * TITLE_PX + 2 * OBJECT_PX + ROW_GAP_PX + PROBE_PX + 2 * MARGIN_PX
FONT_PX = 22  # readable at half the size
PHASES, AMPLITUDES, COUNTS = (matplotlib.colormaps[name].resampled(36) for name in ("viridis", "gray", "magma"))
MOST_COUNTS = 3e6

Floats = npt.NDArray[np.floating]


class Sheet:
    """A figure on which panels are placed by pixels from the upper left corner."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self.width, self.height = width_px, height_px
        self.figure = Figure((width_px / DPI, height_px / DPI), dpi=DPI)

    def panel(
        self, left: float, top: float, width: float, height: float, title: str = "", family: str | None = None
    ) -> Axes:
        bottom = self.height - top - height
        axes = self.figure.add_axes((left / self.width, bottom / self.height, width / self.width, height / self.height))
        axes.set_axis_off()
        axes.set_title(title, fontsize=points(FONT_PX), pad=points(8), family=family)
        return axes

    def bar(self, top: float, height: float, colours: ScalarMappable, label: str, ticks: list[float]) -> None:
        axes = self.panel(MARGIN_PX + BLOCK_PX + GAP_PX, top + 8, 16, height - 16)
        axes.set_axis_on()
        bar = self.figure.colorbar(colours, cax=axes, ticks=ticks)
        bar.outline.set_visible(False)
        bar.minorticks_off()
        bar.ax.tick_params(labelsize=points(FONT_PX - 3), length=3, pad=3)
        bar.set_label(label, fontsize=points(FONT_PX - 1), labelpad=4)


def show(axes: Axes, image: npt.NDArray[Any], colours: ScalarMappable) -> None:
    axes.imshow(image, norm=cast(Normalize, colours.norm), cmap=colours.cmap, interpolation="nearest")


def points(pixels: float) -> float:
    return pixels * 72 / DPI


def complex_colours(wave: npt.NDArray[np.complexfloating]) -> Floats:
    """Return (..., 3) sRGB in 0 to 1: lightness says amplitude, 0 to 1; hue says phase, red for 0.

    In OKLCh, where equal steps look equal (B. Ottosson, bottosson.github.io/posts/oklab, public domain).
    """
    strength, hue = np.abs(wave) ** 0.5, np.angle(wave) + np.deg2rad(25)  # the power shows the probe's faint parts
    lab = np.stack([0.8 * strength, 0.125 * strength * np.cos(hue), 0.125 * strength * np.sin(hue)], axis=-1)
    to_cones = [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
    to_rgb = [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
    linear = np.clip((lab @ np.transpose(to_cones)) ** 3 @ np.transpose(to_rgb), 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def draw_key(sheet: Sheet, top: float) -> None:
    """Draw the disk of all amplitudes and phases, which is the key to the probes' colours."""
    axes = sheet.panel(MARGIN_PX, top + (PROBE_PX - KEY_PX) / 2, KEY_PX, KEY_PX)
    imaginary, real = np.mgrid[1 : -1 : 2j * KEY_PX, -1 : 1 : 2j * KEY_PX]
    wave = real + 1j * imaginary
    amplitude = np.abs(wave)
    opacity = np.clip((1 - amplitude) * KEY_PX / 2, 0, 1)
    axes.imshow(np.dstack([complex_colours(wave / np.maximum(amplitude, 1)), opacity]))
    for text, x, y, align in (
        ("hue:\nphase", 0.5, 1.03, "bottom"),
        ("light:\namplitude", 0.5, -0.04, "top"),
        ("0", 0.91, 0.5, "center"),
        ("π", 0.1, 0.5, "center"),
    ):
        axes.text(x, y, text, fontsize=points(FONT_PX - 3), ha="center", va=align, transform=axes.transAxes)


def draw_window(axes: Axes, window_px: int) -> None:
    """Mark the size of a window on an object."""
    side = window_px / OBJECT_PX
    for width, colour in ((3.5, "black"), (1.5, "white")):
        axes.add_patch(Rectangle((0.04, 0.04), side, side, fill=False, ec=colour, lw=width, transform=axes.transAxes))
    text = axes.text(0.04 + side / 2, 0.04 + side / 2, f"{window_px} px", color="white", fontsize=points(FONT_PX - 4))
    text.set(
        ha="center", va="center", transform=axes.transAxes, path_effects=[withStroke(linewidth=2.5, foreground="black")]
    )


def draw_objects(sheet: Sheet, default: SpecimenConfig) -> None:
    phases = ScalarMappable(Normalize(0, default.phase_rad), PHASES)
    amplitudes = ScalarMappable(Normalize(1 - default.absorption, 1), AMPLITUDES)
    lower = TITLE_PX + OBJECT_PX + ROW_GAP_PX
    for column, name in enumerate(OBJECTS):
        rng = np.random.default_rng(SEED)
        shown = specimen_object(OBJECT_PX, default.phase_rad, default.absorption, rng, name)
        left = MARGIN_PX + column * (OBJECT_PX + GAP_PX)
        first = sheet.panel(left, TITLE_PX, OBJECT_PX, OBJECT_PX, name, family="monospace")
        show(first, np.angle(shown), phases)
        if column == 0:
            draw_window(first, default.window_px)
        show(sheet.panel(left, lower, OBJECT_PX, OBJECT_PX), np.abs(shown), amplitudes)
    sheet.bar(TITLE_PX, OBJECT_PX, phases, "phase (rad)", [0, 0.5, 1, 1.5])
    sheet.bar(lower, OBJECT_PX, amplitudes, "amplitude", [0.7, 0.8, 0.9, 1])


def draw_probes(sheet: Sheet, default: SpecimenConfig, n_photons: float) -> None:
    top = 2 * TITLE_PX + 2 * OBJECT_PX + ROW_GAP_PX + MARGIN_PX
    rng = np.random.default_rng(SEED)
    part = specimen_object(default.window_px, default.phase_rad, default.absorption, rng)
    counts = ScalarMappable(LogNorm(1, MOST_COUNTS), COUNTS)
    draw_key(sheet, top)
    for column, (name, draw) in enumerate(PROBES.items()):
        probe = draw(default.window_px, np.random.default_rng(SEED))
        expected = np.square(diffraction.diffraction_amplitude(probe, part), dtype=float)
        pattern = rng.poisson(n_photons * expected / expected.sum())
        left = MARGIN_PX + KEY_PX + PAIR_GAP_PX + column * (2 * PROBE_PX + GAP_PX + PAIR_GAP_PX)
        first = sheet.panel(left, top, PROBE_PX, PROBE_PX, name, family="monospace")
        first.imshow(complex_colours(probe), interpolation="nearest")
        second = sheet.panel(left + PROBE_PX + GAP_PX, top, PROBE_PX, PROBE_PX, "a pattern of it")
        show(second, np.maximum(pattern, 1), counts)
    sheet.bar(top, PROBE_PX, counts, "photons", [1, 1e2, 1e4, 1e6])


def save(sheet: Sheet, path: Path) -> None:
    """Write a png of 256 colours, a third as large as one of all: those of the colour maps, and a disk of 21 x 7."""
    canvas = FigureCanvasAgg(sheet.figure)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[..., :3]
    maps = [colours(range(colours.N))[:, :3] for colours in (PHASES, AMPLITUDES, COUNTS)]
    strengths, phases = np.linspace(1 / 7, 1, 7) ** 2, 2 * np.pi * np.arange(21) / 21
    disk = complex_colours(np.outer(strengths, np.exp(1j * phases))).reshape(-1, 3)
    palette = np.rint(255 * np.vstack([*maps, disk])).astype(np.uint8)
    nearest = cKDTree(palette).query(picture)[1]
    image = Image.fromarray(nearest.astype(np.uint8))
    image.putpalette(palette.tobytes())
    image.save(path, optimize=True)


def main(path: Path) -> None:
    sheet = Sheet(WIDTH_PX, HEIGHT_PX)
    draw_objects(sheet, SpecimenConfig())
    draw_probes(sheet, SpecimenConfig(), SimulationConfig().n_photons)
    save(sheet, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", default=Path(__file__).parent / "images" / "specimens.png")
    main(parser.parse_args().path)
