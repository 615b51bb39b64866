"""A page of panels placed in inches, each with its colour bar below, so that edges align."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, ScalarFormatter

WIDTH_IN = 11.0
LEFT_IN, RIGHT_IN, TOP_IN, BOTTOM_IN = 0.66, 0.2, 0.66, 0.04
GAP_IN = 0.3  # between columns
HEAD_IN = 0.28  # above a panel, for its title
BAR_IN = 0.09  # height of a colour bar
FOOT_IN = 0.46  # below a panel, for its colour bar and the bar's numbers
TICKS_IN = 0.4  # more, below a panel with coordinates
LABEL_IN = 1.3  # left of a colour bar that serves several panels, for its label
FEW_DECADES = 2.5  # below, their scale is marked at 1, 2 and 5
HUES = {"lightness": 0.74, "chroma": 0.124}  # of the colour wheel: as strong as sRGB holds at every hue
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Box:
    """Place of a panel, inches from the page's left and top; ``ticks`` where it carries coordinates below."""

    left: float
    top: float
    width: float
    height: float
    ticks: bool = False


def row(names: tuple[str, ...], top: float, aspect: float, ticks: bool = False) -> tuple[dict[str, Box], float]:
    """Return panels of equal width that fill the page's, and where the next row starts."""
    width = (WIDTH_IN - LEFT_IN - RIGHT_IN - (len(names) - 1) * GAP_IN) / len(names)
    boxes = {
        name: Box(LEFT_IN + index * (width + GAP_IN), top + HEAD_IN, width, width * aspect, ticks)
        for index, name in enumerate(names)
    }
    return boxes, top + HEAD_IN + width * aspect + FOOT_IN + TICKS_IN * ticks


class Page:
    """A figure on which panels, colour bars and words are placed in inches from its left and top.

    Parameters
    ----------
    boxes : place of each panel by name
    """

    def __init__(self, figure: Figure, boxes: Mapping[str, Box]) -> None:
        """Take the size of the page, inches, from the figure."""
        self.figure, self.boxes = figure, boxes
        self.width, self.height = figure.get_size_inches()

    def _axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return new axes at a place, inches from the left and the top of the page."""
        bottom = self.height - top - height
        return self.figure.add_axes((left / self.width, bottom / self.height, width / self.width, height / self.height))

    def text(self, left: float, top: float, words: str, **options: Any) -> None:
        """Write words whose base line starts at a place, inches from the left and the top of the page."""
        place = left / self.width, 1 - top / self.height
        self.figure.text(*place, words, va="baseline", parse_math=False, **options)  # names may hold dollar signs

    def panel(self, name: str, title: str, note: str = "") -> Axes:
        """Return new axes at the box of ``name``, with a title above at the left and a note at the right."""
        box = self.boxes[name]
        axes = self._axes(box.left, box.top, box.width, box.height)
        axes.set(xticks=[], yticks=[], gid=name)
        axes.spines[:].set(linewidth=0.6, color="0.6")
        self.text(box.left, box.top - 0.08, title, fontsize=10.5, fontweight="bold")
        self.note(name, note)
        return axes

    def note(self, name: str, words: str, color: str = "0.35") -> None:
        """Write above the panel ``name``, at the right."""
        box = self.boxes[name]
        self.text(box.left + box.width, box.top - 0.08, words, fontsize=9.5, color=color, ha="right")

    def bar(self, names: tuple[str, ...], norm: Normalize, cmap: Colormap | str, label: str = "") -> Any:
        """Return a new colour bar below one panel, or several in a row, with its label at the left."""
        first, last = self.boxes[names[0]], self.boxes[names[-1]]
        top = first.top + first.height + 0.1 + TICKS_IN * first.ticks
        left = first.left + (LABEL_IN if label else 0)
        axes = self._axes(left, top, last.left + last.width - left, BAR_IN)
        bar = self.figure.colorbar(ScalarMappable(norm, cmap), cax=axes, orientation="horizontal")
        bar.outline.set(linewidth=0.5, edgecolor="0.6")
        if not isinstance(norm, LogNorm):
            plain = 1e-2 <= max(abs(norm.vmin or 0), abs(norm.vmax or 0)) < 1e4
            bar.locator = MaxNLocator(4)
            bar.formatter = (
                ScalarFormatter(useOffset=False) if plain else FuncFormatter(lambda value, _: f"{value:.3g}")
            )
        elif np.ptp(np.log10([norm.vmin or 1, norm.vmax or 1])) < FEW_DECADES:
            bar.locator, bar.formatter = LogLocator(subs=(1, 2, 5)), FuncFormatter(lambda value, _: f"{value:g}")
        else:
            bar.locator = LogLocator(numticks=9)
        bar.update_ticks()
        axes.minorticks_off()
        axes.tick_params(labelsize=9, length=2.5, width=0.6, pad=2)
        self.text(first.left, top + BAR_IN + 0.01, label, fontsize=9.5, color="0.3")
        return bar


def circle_ticks(bar: Any) -> None:
    """Mark a colour bar of phases, rad, at -pi, 0 and pi."""
    bar.set_ticks([-np.pi, 0, np.pi], labels=["−π", "0", "π"])


def coordinates(axes: Axes, low: tuple[float, float], high: tuple[float, float], first: bool) -> None:
    """Show pixel coordinates along both sides, from one corner (x, y) to the other.

    ``first``: whether this is the first panel of a row, the only one with numbers along y.
    """
    axes.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.tick_params(left=True, bottom=True, labelleft=first, labelsize=9, length=2.5, width=0.6, pad=2, color="0.6")
    axes.set_xlabel("x (px)", fontsize=9, labelpad=1)
    if first:
        axes.set_ylabel("y (px)", fontsize=9, labelpad=2)


def scale_bar(axes: Axes, width_px: int, pixel_m: Any) -> None:
    """Draw a scale bar of a round length, a third of the panel at most, where the pixel size (m) is known."""
    if not isinstance(pixel_m, (int, float)) or not 0 < pixel_m < 1:
        return
    most_um = 1e6 * pixel_m * width_px / 3 * (1 + 1e-9)
    power = 10.0 ** np.floor(np.log10(most_um))
    length_um = max(n for n in (1, 2, 5) if n * power <= most_um) * power
    look: dict[str, Any] = {"color": "white", "path_effects": [withStroke(linewidth=2.5, foreground="0.15")]}
    start, place = 0.05 * width_px, axes.get_xaxis_transform()
    axes.plot([start, start + length_um / (1e6 * pixel_m)], [0.06, 0.06], linewidth=2, transform=place, **look)
    words = f"{length_um:g} µm" if length_um >= 0.1 else f"{1e3 * length_um:g} nm"
    axes.annotate(words, (start, 0.06), (0, 4), xycoords=place, textcoords="offset points", fontsize=9, **look)


def colour_wheel() -> ListedColormap:
    """Return a cyclic map of one lightness, so that brightness is free to show amplitude.

    Hues at equal steps about the grey axis of Oklab (B. Ottosson, A perceptual color space for image processing,
    2020), whose matrices these are.
    """
    angle = np.linspace(-np.pi, np.pi, 256)
    lightness = np.full_like(angle, HUES["lightness"])
    a, b = HUES["chroma"] * np.cos(angle), HUES["chroma"] * np.sin(angle)
    lms = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    to_linear = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(to_linear @ lms**3, 0, 1).T
    return ListedColormap(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def power_of_ten(value: float) -> str:
    """Return a number with three or four digits, large and small ones as ``9.97×10⁸``."""
    if value == 0 or 1e-2 <= abs(value) < 1e4:
        return f"{value:.4g}"
    mantissa, power = f"{value:.2e}".split("e")
    return f"{mantissa}×10{superscript(int(power))}"


def superscript(number: int) -> str:
    """Return an integer in superscript digits."""
    return str(number).translate(SUPERSCRIPT)
