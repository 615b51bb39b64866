"""Images made for training: objects that are known, turned, and measured anew by the physics.

One pattern hardly tells the slow part of its patch's phase: a network guesses it from what it has seen, and a scan
shows few structures in few orientations. Made images show more, and their patches are known. What is known depends
on the model: PtychoPINN knows what phase retrieval makes of its own patterns, the baseline the truth it is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ptycho.config import TrainingConfig
from ptycho.data import optics, retrieval, stitching
from ptycho.data.dataset import ComplexArray, Dataset
from ptycho.data.sampling import neighbour_groups
from ptycho.data.specimen import OBJECTS

JITTER_PX = 4  # windows lie this far at most from a position of the scan, along each axis
SYNTHETIC_SIDE = 4  # windows along the side of a synthetic object
TONES = 64  # of a synthetic object
SYNTHETIC_OBJECTS = 48  # in all: some thousand different windows

Views = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Scene:
    """An object and the windows that may be made of it.

    Parameters
    ----------
    object : (H, W) complex64, with a margin of JITTER_PX around every window
    centres_px : (m, 2) float64, (x, y) on it
    """

    object: ComplexArray
    centres_px: npt.NDArray[np.float64]


class MadeImages:
    """Patterns and patches of known objects; those of a batch depend on (seed, epoch, number of the batch) alone.

    Parameters
    ----------
    scenes : each batch is drawn from one of them
    like : the measured images, whose probe, photons, bad pixels and distances between neighbours are taken
    gridsize : a view holds ``gridsize**2`` neighbouring patterns
    """

    def __init__(self, scenes: Sequence[Scene], like: Dataset, gridsize: int, seed: int) -> None:
        self.scenes, self.seed = scenes, seed
        self.probe, self.window_px = like.probe, like.window_px
        self.counts_scale = like.counts_scale if "counts_scale" in like.metadata else None
        self.bad_pixels = like.bad_pixels
        _, self.offsets_px = neighbour_groups(like.xcoords, like.ycoords, gridsize**2, like.window_px)

    def draw(self, epoch: int, batch: int, count: int) -> tuple[Views, npt.NDArray[np.complex64]]:
        """Return ``count`` views, as those of :class:`ptycho.models.batches.Views`, and their patches.

        Returns
        -------
        views : ``diffraction`` (count, g**2, N, N), ``offsets_px`` (count, g**2, 2)
        patches : (count, N, N) complex64, of the first pattern of each view
        """
        rng = np.random.default_rng([self.seed, epoch, batch])
        scene = self.scenes[int(rng.integers(len(self.scenes)))]
        centres = np.rint(scene.centres_px[rng.integers(len(scene.centres_px), size=count)])
        centres += rng.integers(-JITTER_PX, JITTER_PX + 1, centres.shape)
        offsets = self.offsets_px[rng.integers(len(self.offsets_px), size=count)]
        positions = np.reshape(centres[:, None] + offsets, (-1, 2))
        cut = optics.cut_patches(scene.object, positions[:, 0], positions[:, 1], self.window_px)
        patches = np.reshape(cut, (*offsets.shape[:2], self.window_px, self.window_px))
        for i, turn in enumerate(rng.integers(8, size=count)):
            patches[i], offsets[i] = turned(patches[i], offsets[i], int(turn))
        return {"diffraction": self._measure(patches, rng), "offsets_px": offsets}, patches[:, 0]

    def _measure(self, patches: ComplexArray, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        intensity = optics.diffraction_intensity(self.probe, patches)
        if self.counts_scale is not None:
            intensity = rng.poisson(intensity * self.counts_scale**2) / self.counts_scale**2
        if self.bad_pixels is not None:
            intensity[..., self.bad_pixels] = 0
        return np.sqrt(intensity).astype(np.float32)


def turned(
    patches: ComplexArray, offsets_px: npt.NDArray[np.float32], turn: int
) -> tuple[ComplexArray, npt.NDArray[np.float32]]:
    """Return windows (g, N, N) and offsets (g, 2), (x, y), turned by ``turn`` right angles, and from 4 on mirrored."""
    x, y = offsets_px[:, 0], offsets_px[:, 1]
    for _ in range(turn % 4):
        x, y = y, -x  # as np.rot90 moves columns and rows
    rotated = np.rot90(patches, turn % 4, axes=(-2, -1))
    if turn < 4:
        return rotated, np.stack([x, y], axis=1)
    return np.swapaxes(rotated, -2, -1), np.stack([y, x], axis=1)


def scan_scene(images: Dataset, sweeps: int, seed: int) -> Scene:
    """Return the area of the images, as it is known: by the true patches, else by ``sweeps`` of phase retrieval."""
    corner = [np.floor(coordinates.min()) - images.window_px // 2 for coordinates in (images.xcoords, images.ycoords)]
    here = replace(images, xcoords=images.xcoords - corner[0], ycoords=images.ycoords - corner[1], object=None)
    if here.patches is not None:
        patches, (x, y) = np.asarray(here.patches), (here.xcoords, here.ycoords)
        known = stitching.stitch(patches, x, y, here.probe, here.object_shape, here.window_px)
        image = np.where(known.weight > 0, known.object, np.complex64(1))
    else:
        empty = np.ones(here.object_shape, np.complex64)
        image = retrieval.pie_sweeps(empty, here, sweeps, np.random.default_rng(seed))
    return _with_margin(image, np.stack([here.xcoords, here.ycoords], axis=1), here.window_px)


def synthetic_scenes(known: Scene, window_px: int, seed: int) -> list[Scene]:
    """Return objects of random shapes, made of what ``known`` is made of; windows may lie anywhere on them."""
    rng = np.random.default_rng(seed)
    side, half = SYNTHETIC_SIDE * window_px, window_px / 2
    (left, top), (right, bottom) = (known.centres_px.min(axis=0).astype(int), known.centres_px.max(axis=0).astype(int))
    tones = _tones(known.object[top : bottom + 1, left : right + 1])
    scenes = []
    for _ in range(SYNTHETIC_OBJECTS):
        thickness, _ = OBJECTS[str(rng.choice(sorted(OBJECTS)))]((side, side), rng)
        image = tones[np.rint(thickness * (len(tones) - 1)).astype(int)]
        scenes.append(_with_margin(image, rng.uniform(half, side - half, (256, 2)), window_px))
    return scenes


def _tones(image: ComplexArray) -> npt.NDArray[np.complex64]:
    """Return TONES transmissions, from the least phase of an object to the largest, as frequent as there.

    The amplitude of each is the mean of what has that phase. Of fewer pixels there are fewer.
    """
    around = np.angle(image.mean())
    phase = np.angle(image * np.exp(-1j * around)).ravel()
    groups = np.array_split(np.argsort(phase), min(TONES, phase.size))
    return np.array(
        [np.abs(image).ravel()[group].mean() * np.exp(1j * (phase[group].mean() + around)) for group in groups],
        np.complex64,
    )


def _with_margin(image: ComplexArray, centres_px: npt.NDArray[np.float64], margin: int) -> Scene:
    """Return a scene around which neighbours of a window, which stand out by less than its side, have room."""
    return Scene(np.pad(image, margin, mode="edge").astype(np.complex64), centres_px + margin)


def sources(images: Dataset, config: TrainingConfig, gridsize: int, seed: int) -> list[tuple[float, MadeImages]]:
    """Return what images are made of, and how many for each measured one; ``images.patches`` only where it is known."""
    if not (config.turned_images or config.synthetic_images):
        return []
    known = scan_scene(images, config.retrieval_sweeps, seed)
    made = []
    if config.turned_images:
        made.append((config.turned_images, MadeImages([known], images, gridsize, seed)))
    if config.synthetic_images:
        scenes = synthetic_scenes(known, images.window_px, seed)
        made.append((config.synthetic_images, MadeImages(scenes, images, gridsize, seed + 1)))
    return made
