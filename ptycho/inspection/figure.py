"""Figure of a data file: object and positions, counts of each pattern, probe, patterns."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from ptycho.config.schema import PlotsConfig
from ptycho.data.dataset import ComplexArray, Dataset, FloatArray, Reconstruction
from ptycho.inspection import measure
from ptycho.inspection.measure import Patterns, Scan
from ptycho.io import files
from ptycho.plotting.panels import (
    BOTTOM_IN,
    FOOT_IN,
    GAP_IN,
    HEAD_IN,
    LEFT_IN,
    RIGHT_IN,
    TICKS_IN,
    TOP_IN,
    WIDTH_IN,
    Box,
    Page,
    circle_ticks,
    colour_wheel,
    coordinates,
    power_of_ten,
    row,
    scale_bar,
    superscript,
)
from ptycho.plotting.scales import CYCLIC_FROM
from ptycho.plotting.style import require_format, style

ASPECT = (0.3, 1.3)  # range of the object's panels; a narrower object is centred in its panel
DPI = 170
SHOWN_PX = 1600  # of an object's side; larger ones are subsampled
MAX_DOTS = 2000  # positions drawn on the object at most; more would hide it
BAD_COLOR = "#22d3ee"  # not a colour of the patterns' scale
DECADES = 6  # of counts shown at most
PERCENTILES = {"low": 5, "median": 50, "high": 95}  # of the counts: the patterns shown
FADE = 0.7  # power of the relative amplitude by which the probe's phase fades to black
Content = Dataset | Reconstruction
OBJECT = ("object_phase", "object_amplitude")
PROBE = ("probe_amplitude", "probe_phase")
PATTERNS = ("mean", *PERCENTILES)


def dataset_figure(content: Content, title: str, patterns: Patterns | None = None) -> Figure:
    """Draw object, positions, probe and patterns, as far as present.

    Parameters
    ----------
    title : above the panels, usually the name of the file
    patterns : what :func:`ptycho.inspection.measure.survey_patterns` returned, if computed already
    """
    if isinstance(content, Dataset):
        patterns = patterns or measure.survey_patterns(content)
    boxes, height = _boxes(content)
    scan = measure.scan_of(content)
    with style(PlotsConfig(style="white")):
        page = Page(Figure(figsize=(WIDTH_IN, height)), boxes)
        if content.object is not None:
            _draw_object(page, content, content.object)
        _draw_probe(page, content.probe, scan.diameter_px)
        if isinstance(content, Dataset) and patterns is not None:
            photons = measure.in_photons(content.metadata, patterns.whole)
            _draw_map(page, content, patterns, "photons per pattern" if photons else "a. u.")
            _draw_patterns(page, content, patterns, "photons per pixel" if photons else "amplitude², a. u.", photons)
        page.text(LEFT_IN, 0.3, title, fontsize=13, fontweight="bold")
        page.text(LEFT_IN, 0.55, " · ".join(_summary(content, patterns, scan)), fontsize=10, color="0.3")
    return page.figure


def save(figure: Figure, path: Path | str) -> None:
    """Write a figure, complete or not at all.

    Raises
    ------
    InputError : the extension is of no format that matplotlib writes
    """
    path = Path(path)
    require_format(figure, path)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI)


def _summary(content: Content, patterns: Patterns | None, scan: Scan) -> list[str]:
    side, pixel = content.probe.shape[0], content.metadata.pixel_size_m
    words = [f"{scan.n_positions} {'positions, probe of' if patterns is None else 'patterns of'} {side} × {side} px"]
    if patterns is not None and measure.in_photons(content.metadata, patterns.whole):
        words.append(f"{power_of_ten(patterns.counts.mean())} photons per pattern")
    if patterns is not None and patterns.index.size < scan.n_positions:
        words.append(f"{patterns.index.size} examined")
    if scan.n_distinct > 1:
        words.append(f"spacing {scan.spacing_px:.3g} px, overlap {scan.overlap:.2f}")
    if pixel is not None and pixel < 1:
        words.append(f"pixel {1e9 * pixel:.4g} nm")
    if patterns is not None and content.object is None:
        words.append("no object")
    return words


def _boxes(content: Content) -> tuple[dict[str, Box], float]:
    """Return the place of each panel, and the height of the page, inches."""
    if content.object is None:
        upper, top = row(("map", *PROBE), TOP_IN, 1.0, True)
        lower, top = row(PATTERNS, top, 1.0)
        return upper | lower, top + BOTTOM_IN
    aspect = float(np.clip(content.object.shape[0] / content.object.shape[1], *ASPECT))
    if isinstance(content, Reconstruction):
        return _beside(aspect)
    upper, top = row((*OBJECT, "map"), TOP_IN, aspect, True)
    lower, top = row((*PROBE, *PATTERNS), top, 1.0)
    return upper | lower, top + BOTTOM_IN


def _beside(aspect: float) -> tuple[dict[str, Box], float]:
    """Return the object's panels side by side, and next to them the probe's in a column of the same height."""
    aspect = max(aspect, 0.8)
    between = FOOT_IN + HEAD_IN
    room = WIDTH_IN - LEFT_IN - RIGHT_IN  # 2 wide + 2 gaps + small; and 2 small + between = wide * aspect + ticks
    wide = (room - 2 * GAP_IN + (between - TICKS_IN) / 2) / (2 + aspect / 2)
    small = (wide * aspect + TICKS_IN - between) / 2
    top, left = TOP_IN + HEAD_IN, LEFT_IN + 2 * (wide + GAP_IN)
    boxes = {
        name: Box(LEFT_IN + index * (wide + GAP_IN), top, wide, wide * aspect, True)
        for index, name in enumerate(OBJECT)
    }
    boxes |= {name: Box(left, top + index * (small + between), small, small) for index, name in enumerate(PROBE)}
    return boxes, top + wide * aspect + TICKS_IN + FOOT_IN + BOTTOM_IN


def _draw_object(page: Page, content: Content, image: ComplexArray) -> None:
    thin, extent = _thinned(image)
    phase, note, phase_norm = _shown_phase(thin)
    amplitude = np.abs(thin)
    cyclic = phase_norm.vmax == np.pi
    shown = (
        (OBJECT[0], "Object phase", note, phase, phase_norm, "twilight" if cyclic else "viridis"),
        (OBJECT[1], "Object amplitude", "", amplitude, Normalize(*_grey_range(amplitude)), "gray"),
    )
    rows, columns = image.shape
    for name, title, words, values, norm, cmap in shown:
        axes = page.panel(name, title, words)
        axes.imshow(values, cmap=cmap, norm=norm, interpolation="nearest", extent=extent)
        _dots(axes, content, page.boxes[name].width * 72 / columns, "white" if name == OBJECT[0] else "#ff8c1a")
        coordinates(axes, (-0.5, -0.5), (columns - 0.5, rows - 0.5), name == OBJECT[0])
        if name == OBJECT[0]:
            scale_bar(axes, columns, content.metadata.pixel_size_m)
        bar = page.bar((name,), norm, cmap)
        if cyclic and name == OBJECT[0]:
            circle_ticks(bar)


def _thinned(image: ComplexArray) -> tuple[ComplexArray, tuple[float, float, float, float]]:
    """Return a large image subsampled to ``SHOWN_PX``, and the extent of the whole."""
    step = -(-max(image.shape) // SHOWN_PX)
    return image[::step, ::step], (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)


def _shown_phase(image: ComplexArray) -> tuple[FloatArray, str, Normalize]:
    """Return the phase, its unit and its scale: less its mean where that avoids a wrap, else -pi to pi."""
    for values, note in ((np.angle(image), "rad"), (np.angle(image * np.conj(image.sum())), "rad, less its mean")):
        low, high = (float(edge) for edge in np.percentile(values, (0.1, 99.9)))
        if high - low < CYCLIC_FROM:
            return values, note, Normalize(low - 1e-6, high + 1e-6)
    return np.angle(image), "rad", Normalize(-np.pi, np.pi)


def _dots(axes: Axes, content: Content, points_a_pixel: float, color: str) -> None:
    """Mark positions, evenly subsampled where there are many, by dots that leave the object visible."""
    some = measure.spread(content.xcoords.size, MAX_DOTS)
    size = float(np.clip(0.3 * _room_px(content, some.size) * points_a_pixel, 0.9, 3.0))
    axes.scatter(
        content.xcoords[some], content.ycoords[some], s=size**2, color=color, alpha=0.7, linewidths=0, gid="positions"
    )


def _draw_map(page: Page, dataset: Dataset, patterns: Patterns, unit: str) -> None:
    """Colour the examined positions by their counts; the other positions and the object are in the background, pale."""
    power = int(np.floor(np.log10(max(patterns.counts.max(), 1e-9))))
    power = power if not -2 <= power <= 3 else 0
    counts = patterns.counts / 10.0**power
    axes = page.panel("map", "Counts by position", f"10{superscript(power)} {unit}" if power else unit)
    box, low, high = page.boxes["map"], *_limits(dataset)
    if dataset.object is not None:
        _faint(axes, dataset.object)
    points_a_pixel = 72 * min(box.width / (high[0] - low[0]), box.height / (high[1] - low[1]))
    size = float(np.clip(0.8 * _room_px(dataset, patterns.index.size) * points_a_pixel, 2.0, 14.0))
    if patterns.index.size < len(dataset):
        axes.scatter(dataset.xcoords, dataset.ycoords, s=1, color="0.75", linewidths=0, rasterized=True)
    norm = Normalize(*_apart(counts))
    order = np.argsort(counts)
    some = patterns.index[order]
    axes.scatter(
        dataset.xcoords[some], dataset.ycoords[some], c=counts[order], s=size**2, cmap="plasma", norm=norm,
        linewidths=0, gid="light",
    )  # fmt: skip
    coordinates(axes, low, high, first=dataset.object is None)
    page.bar(("map",), norm, "plasma")


def _limits(dataset: Dataset) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the corners (x, y) of the map: those of the object, or around the positions where there is none."""
    if dataset.object is not None:
        return (-0.5, -0.5), (dataset.object.shape[1] - 0.5, dataset.object.shape[0] - 0.5)
    x, y = dataset.xcoords, dataset.ycoords
    margin = 0.04 * max(float(np.ptp(x)), float(np.ptp(y)), 1.0)
    return (x.min() - margin, y.min() - margin), (x.max() + margin, y.max() + margin)


def _room_px(content: Content, count: int) -> float:
    """Return the side of the square of the mean area per position, pixels."""
    width, height = (max(float(np.ptp(values)), 1.0) for values in (content.xcoords, content.ycoords))
    return float(np.sqrt(width * height / count))


def _faint(axes: Axes, image: ComplexArray) -> None:
    thin, extent = _thinned(image)
    amplitude = np.abs(thin)
    axes.imshow(
        amplitude,
        cmap="gray",
        norm=Normalize(*_grey_range(amplitude)),
        alpha=0.25,
        extent=extent,
        interpolation="nearest",
    )


def _grey_range(amplitude: FloatArray) -> tuple[float, float]:
    """Return the range of nearly all amplitudes, at least a tenth of the largest: noise of a flat image stays grey."""
    low, high = (float(edge) for edge in np.percentile(amplitude, (0.1, 99.9)))
    spare = max(0.1 * high - (high - low), 1e-6 - (high - low), 0) / 2
    return low - spare, high + spare


def _apart(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the range of nearly all values, widened a little where all are equal."""
    low, high = (float(edge) for edge in np.percentile(values, (0.5, 99.5)))
    return (low, high) if high > low else (0.99 * low - 1e-9, 1.01 * high + 1e-9)


def _draw_probe(page: Page, probe: ComplexArray, diameter_px: float) -> None:
    amplitude = np.abs(probe).astype(np.float64)
    axes = page.panel(PROBE[0], "Probe amplitude")
    norm = Normalize(0, amplitude.max())
    axes.imshow(amplitude, cmap="magma", norm=norm, interpolation="nearest")
    rows, columns = np.indices(probe.shape)
    energy = amplitude**2 / (amplitude**2).sum()
    centre = float((columns * energy).sum()), float((rows * energy).sum())
    axes.add_patch(Circle(centre, diameter_px / 2, fill=False, color="white", linewidth=0.9, linestyle=(0, (4, 3))))
    axes.text(0.97, 0.035, f"⌀ {diameter_px:.3g} px", transform=axes.transAxes, ha="right", fontsize=9, color="white")
    page.bar((PROBE[0],), norm, "magma")
    first = axes
    axes = page.panel(PROBE[1], "Probe phase", "rad")
    wheel, turn = colour_wheel(), Normalize(-np.pi, np.pi)
    colours = wheel(turn(np.angle(probe)))
    bright = amplitude / np.percentile(amplitude[energy > 1e-3 * energy.max()], 95)
    colours[..., :3] *= np.clip(bright, 0, 1)[..., None] ** FADE
    axes.imshow(colours, interpolation="nearest")
    circle_ticks(page.bar((PROBE[1],), turn, wheel))
    if page.boxes[PROBE[0]].ticks:
        for panel in (first, axes):
            coordinates(panel, (-0.5, -0.5), (probe.shape[0] - 0.5,) * 2, first=False)


def _draw_patterns(page: Page, dataset: Dataset, patterns: Patterns, unit: str, photons: bool) -> None:
    """Show the mean pattern and those of low, median and high counts, on one logarithmic scale."""
    chosen = {name: _nearest(patterns.counts, percent) for name, percent in PERCENTILES.items()}
    rows = np.asarray(dataset.diffraction[patterns.index[list(chosen.values())]])
    counts = np.square(np.nan_to_num(rows, nan=0, posinf=0, neginf=0).astype(np.float64) * dataset.counts_scale)
    images = {"mean": patterns.mean} | dict(zip(chosen, counts, strict=True))
    bad = np.zeros(patterns.mean.shape, bool) if dataset.bad_pixels is None else dataset.bad_pixels
    norm = _log_norm([image[~bad] for image in images.values()], photons)
    cmap = colormaps["magma"].with_extremes(bad=colormaps["magma"](0.0), under=colormaps["magma"](0.0))
    for name, image in images.items():
        note = f"Σ {power_of_ten(patterns.counts[chosen[name]])}" if name in chosen else ""
        axes = page.panel(name, name.capitalize(), note)
        axes.imshow(image, cmap=cmap, norm=norm, interpolation="nearest")
        if bad.any():
            axes.imshow(np.where(bad[..., None], to_rgba(BAD_COLOR), 0.0), interpolation="nearest")
    if bad.any():
        page.note("mean", f"■ {bad.sum()} bad", "#0891b2")  # a shade darker, to be read on white
    page.bar(PATTERNS, norm, cmap, unit)


def _nearest(counts: npt.NDArray[np.float64], percent: float) -> int:
    return int(np.abs(counts - np.percentile(counts, percent)).argmin())


def _log_norm(values: list[npt.NDArray[np.float64]], photons: bool) -> LogNorm:
    lit = np.concatenate([image[image > 0] for image in values])
    if not lit.size:
        return LogNorm(0.1, 1)
    high = float(lit.max())
    low = max(0.5 * float(np.percentile(lit, 1)), high / 10**DECADES, 0.3 if photons else 0)
    return LogNorm(min(low, high / 2), high)
