"""Procedural objects: random shapes drawn from a seed.

Every shape has its own random position, size, orientation and tone, so that no feature of the test half repeats one
of the training half.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from ptycho.physics.probes import texture

Image = npt.NDArray[np.float64]
EDGE_BLUR_PX = 0.8  # keeps edges sharp, yet sampled
LEAF_RADIUS_PX = (6.0, 40.0)  # from details of a few pixels to shapes that fill a window of 64
LEAVES = 6  # layers of them on average: about an eighth of the background stays uncovered, at a middle tone
BAR_WIDTH_PX = (2.0, 12.0)
BAR_LENGTH_PX = (24.0, 140.0)
BARS = 1.3  # layers of them on average: exp(-1.3), a quarter of the background, stays uncovered
FIELD_SCALE_PX = 10.0  # at this distance the field still correlates by 0.6
STAR_RADIUS_PX = (12.0, 90.0)
SPOKE_PERIOD_PX = (7.0, 22.0)  # a spoke and a gap at the rim of a star; finer and finer towards its hub
CELL_RADIUS_PX = (14.0, 44.0)


def dead_leaves(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Draw opaque ellipses and bars of random tone over each other on a background of middle tone.

    Radii follow the power law r**-3 of scale-invariant image statistics (A. B. Lee, D. Mumford,
    J. Huang, Int. J. Comput. Vis. 41, 35 (2001)).

    Returns
    -------
    (H, W) float64 tones in 0 to 1
    """
    height, width = shape
    low, high = LEAF_RADIUS_PX
    image = np.full(shape, 0.5)
    for _ in range(int(LEAVES * height * width / (np.pi * low * high))):
        radius = (low**-2 - rng.random() * (low**-2 - high**-2)) ** -0.5
        centre = rng.random(2) * shape
        aspect, angle, tone = rng.uniform(0.2, 1.0), rng.uniform(0, np.pi), rng.random()
        box, y, x = _around(image, centre, 1.5 * radius)
        u, v = _rotated(y, x, angle)
        u, v = u / radius, v / (radius * aspect)
        inside = np.maximum(np.abs(u), np.abs(v)) < 0.9 if rng.random() < 0.5 else u**2 + v**2 < 1
        box[inside] = tone
    return ndimage.gaussian_filter(image, EDGE_BLUR_PX)


def lines(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Draw translucent straight bars of random width, length, direction and tone on an empty background.

    In the manner of the line objects of O. Hoidn, A. A. Mishra, A. Mehta, Sci. Rep. 13, 22789 (2023). Where bars
    cross, their transmissions multiply, so that both stay visible and no tone exceeds 1.

    Returns
    -------
    (H, W) float64 tones in 0 to 1
    """
    transmission = np.ones(shape)
    narrow, wide = BAR_WIDTH_PX
    mean_area = np.mean(BAR_LENGTH_PX) * (wide - narrow) / np.log(wide / narrow)  # widths are log-uniform
    beyond = max(BAR_LENGTH_PX) / 2  # bars reach in from outside too
    for _ in range(int(BARS * np.prod(np.add(shape, 2 * beyond)) / mean_area)):
        centre = rng.uniform(-beyond, np.add(shape, beyond))
        half_length, half_width = rng.uniform(*BAR_LENGTH_PX) / 2, narrow * (wide / narrow) ** rng.random() / 2
        angle, tone = rng.uniform(0, np.pi), rng.uniform(0.1, 0.8)
        box, y, x = _around(transmission, centre, half_length + half_width)
        u, v = _rotated(y, x, angle)
        box *= 1 - tone * _filled(half_length - np.abs(u)) * _filled(half_width - np.abs(v))
    return ndimage.gaussian_filter(1 - transmission, EDGE_BLUR_PX)


def gaussian_field(shape: tuple[int, int], rng: np.random.Generator, scale_px: float = FIELD_SCALE_PX) -> Image:
    """Draw clouds: a Gaussian random field with the correlation ``(r/s) K1(r/s)`` over r pixels, s the scale.

    Its power falls as k**-4 above 1/s: it solves ``field - s**2 laplacian(field) = white noise`` (P. Whittle,
    Biometrika 41, 434 (1954)). Tones are 0.5 + field / 5, field in standard deviations: one in 80 is clipped.

    Returns
    -------
    (H, W) float64 tones in 0 to 1
    """
    margin = int(10 * scale_px)  # beyond it, the wrap-around of the transform is negligible
    padded = [fft.next_fast_len(n + margin, real=True) for n in shape]
    k = 2 * np.pi * np.hypot(fft.fftfreq(padded[0])[:, None], fft.rfftfreq(padded[1]))
    spectrum = fft.rfft2(rng.standard_normal(padded)) / (1 + (k * scale_px) ** 2)
    field = fft.irfft2(spectrum, s=padded)[: shape[0], : shape[1]]
    return np.clip(0.5 + 0.2 * (field - field.mean()) / field.std(), 0, 1)


def siemens_stars(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Draw Siemens stars of many sizes and numbers of spokes side by side, each on an absorbing pad.

    A star of n spokes has the period 2 pi r / n at r pixels from its hub: every period from ``SPOKE_PERIOD_PX``
    at the rim down to those below the resolution of the pixels.

    Returns
    -------
    (2, H, W) float64 tones in 0 to 1: thickness of the spokes, and how strongly the round pads absorb
    """
    layers = np.zeros((2, *shape))
    for centre_y, centre_x, radius in packed_disks(shape, STAR_RADIUS_PX, rng):
        spokes = round(2 * np.pi * radius / rng.uniform(*SPOKE_PERIOD_PX))
        box, y, x = _around(layers, (centre_y, centre_x), radius)
        pad = _filled(radius - np.hypot(y, x))
        box[0] += rng.uniform(0.5, 1.0) * star_tones(y, x, spokes, rng.uniform(0, 2 * np.pi)) * pad
        box[1] += rng.random() * pad
    return ndimage.gaussian_filter(layers, (0, EDGE_BLUR_PX, EDGE_BLUR_PX))


def star_tones(y: Image, x: Image, spokes: int, turn_rad: float) -> Image:
    """Return an unbounded star around the origin: 1 in a spoke, 0 in a gap, the mean where pixels do not resolve them.

    Parameters
    ----------
    y, x : broadcastable, offsets from the hub, pixels
    spokes : their number
    turn_rad : rotation of the star
    """
    to_edge_rad = np.arcsin(np.cos(spokes * np.arctan2(y, x) + turn_rad)) / spokes
    return _filled(np.hypot(y, x) * to_edge_rad)


def cells(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Draw rounded cells with membrane, nucleus and organelles on an empty background.

    Returns
    -------
    (2, H, W) float64 tones in 0 to 1: thickness, and absorption of the stain in the same parts
    """
    layers = np.zeros((2, *shape))
    for centre_y, centre_x, radius in packed_disks(shape, CELL_RADIUS_PX, rng):
        _draw_cell(layers, np.array([centre_y, centre_x]), radius, rng)
    return ndimage.gaussian_filter(layers, (0, EDGE_BLUR_PX, EDGE_BLUR_PX))


def _draw_cell(layers: Image, centre: Image, radius_px: float, rng: np.random.Generator) -> None:
    def within(share: float) -> Image:
        angle = rng.uniform(0, 2 * np.pi)
        return centre + share * radius_px * np.sqrt(rng.random()) * np.array([np.sin(angle), np.cos(angle)])

    body = rng.uniform(0.25, 0.5, 2)
    _paint_blob(layers, centre, radius_px, body, rng, membrane=0.3)
    for _ in range(int(0.02 * radius_px**2)):
        _paint_blob(layers, within(0.8), rng.uniform(1.2, 1.5 + 0.1 * radius_px), rng.uniform(0.05, 0.95, 2), rng)
    nucleus = within(0.35)
    _paint_blob(layers, nucleus, rng.uniform(0.28, 0.4) * radius_px, body + rng.uniform(0, 0.4, 2), rng, membrane=0.15)
    _paint_blob(layers, nucleus + 0.1 * radius_px * rng.uniform(-1, 1, 2), 0.1 * radius_px, body + 0.5, rng)


def _paint_blob(
    layers: Image, centre: Image, radius_px: float, tones: Image, rng: np.random.Generator, membrane: float = 0.0
) -> None:
    """Cover a part of ``layers`` with a rounded body that thins towards its edge, with a membrane of 2 px."""
    box, y, x = _around(layers, centre, 1.5 * radius_px)
    angle, outline = np.arctan2(y, x), np.ones(box.shape[1:])
    for lobes in range(2, 6):
        outline += 0.2 / lobes * rng.standard_normal() * np.cos(lobes * angle + rng.uniform(0, 2 * np.pi))
    depth = radius_px * np.clip(outline, 0.6, 1.4) - np.hypot(y, x)
    dome = 0.75 + 0.4 * np.sqrt(np.clip(depth / radius_px, 0, 1))
    body = tones[:, None, None] * dome + membrane * np.exp(-((depth - 1.5) ** 2))
    box += _filled(depth) * (np.clip(body, 0, 1) - box)


def _two_drawn(draw: Callable[[tuple[int, int], np.random.Generator], Image]) -> Callable[..., Image]:
    """Return a function that draws the two layers independently: other materials, other shapes."""
    return lambda shape, rng: np.stack([draw(shape, rng), draw(shape, rng)])


OBJECTS: dict[str, Callable[[tuple[int, int], np.random.Generator], Image]] = {  # (2, H, W): thickness, absorption
    "dead_leaves": _two_drawn(dead_leaves),
    "lines": _two_drawn(lines),
    "gaussian_field": _two_drawn(gaussian_field),
    "siemens_star": siemens_stars,
    "cells": cells,
}


def packed_disks(shape: tuple[int, int], radius_px: tuple[float, float], rng: np.random.Generator) -> Image:
    """Return disjoint disks at random positions, smaller ones between larger ones, some extending beyond the border.

    Returns
    -------
    (n, 3) float64: y and x of the centre, radius; pixels
    """
    smallest, largest = radius_px
    disks = np.empty((0, 3))
    for radius in np.geomspace(largest, smallest, 32):
        tries = int(0.5 * np.prod(np.add(shape, 2 * radius)) / (np.pi * radius**2))  # leaves room for smaller ones
        for centre in rng.uniform(-radius, np.add(shape, radius), (tries, 2)):
            y, x, radii = disks.T
            if ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 > (radii + radius + 1) ** 2).all():
                disks = np.vstack([disks, [*centre, radius]])
    return disks


def _around(image: Image, centre: Any, reach_px: float) -> tuple[Image, Image, Image]:
    """Return a view of ``image`` (..., H, W) around a centre, and the offsets (y, x) of its pixels from it."""
    top, left = np.maximum(np.subtract(centre, reach_px), 0).astype(int)
    bottom, right = np.maximum(np.add(centre, reach_px) + 2, 0).astype(int)
    box = image[..., top:bottom, left:right]
    height, width = box.shape[-2:]
    return box, np.arange(height)[:, None] + (top - centre[0]), np.arange(width) + (left - centre[1])


def _rotated(y: Image, x: Image, angle_rad: float) -> tuple[Image, Image]:
    """Return coordinates along and across a direction."""
    return x * np.cos(angle_rad) + y * np.sin(angle_rad), y * np.cos(angle_rad) - x * np.sin(angle_rad)


def _filled(depth_px: Image) -> Image:
    """Return the fraction of a pixel covered by a shape whose edge is ``depth_px`` beyond the pixel's centre."""
    return np.clip(depth_px + 0.5, 0, 1)


def specimen_object(
    size_px: int, phase_rad: float, absorption: float, rng: np.random.Generator, object: str = "dead_leaves"
) -> npt.NDArray[np.complex64]:
    """Return the transmission of one of ``OBJECTS``, with a faint texture added.

    Parameters
    ----------
    size_px : side of the square object
    phase_rad : range of the phase; the phase runs from 0 to ``phase_rad``
    absorption : the amplitude runs from ``1 - absorption`` to 1
    object : a key of ``OBJECTS``

    Returns
    -------
    (size_px, size_px) complex64
    """
    shape = (size_px, size_px)
    shared, own = OBJECTS[object](shape, rng)
    thickness = np.clip(shared + 0.05 * texture(shape, rng), 0, 1)
    loss = np.clip(0.5 * shared + 0.5 * own + 0.05 * texture(shape, rng), 0, 1)
    return ((1 - absorption * loss) * np.exp(1j * phase_rad * thickness)).astype(np.complex64)
