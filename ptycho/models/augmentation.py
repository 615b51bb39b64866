"""Images made for training: objects that are known, turned, and measured anew by the physics.

One pattern hardly tells the slow part of its patch's phase: a network guesses it from what it has seen, and a scan
shows few structures in few orientations. Made images show more, and their patches are known. What is known depends
on the model: PtychoPINN knows what phase retrieval makes of its own patterns, the baseline the truth it is given.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ptycho.config.schema import TrainingConfig
from ptycho.data.dataset import ComplexArray, Dataset
from ptycho.data.sampling import neighbour_groups
from ptycho.data.seeds import derive_seed
from ptycho.errors import InputError
from ptycho.physics import detector, diffraction, misfit, phase_retrieval
from ptycho.physics.objects import OBJECTS
from ptycho.physics.patches import extract_from_padded, extract_patches, pad_edges
from ptycho.physics.stitching import patterns_per_pixel
from ptycho.preparation.scan import detector_of

logger = logging.getLogger(__name__)

JITTER_PX = 4  # windows lie this far at most from a position of the scan, along each axis
SYNTHETIC_SIDE = 4  # windows along the side of a synthetic object
SYNTHETIC_OBJECTS = 48  # in all: some thousand different windows
SYNTHETIC_PX = 48 * 256**2  # of all of them; of larger windows there are fewer objects
TONES = 64  # of a synthetic object
SPARSE = 1.5  # R-factor of held-out patterns over that of its own: benchmarks/retrieval_density.py
MAX_SCENE_PX = 2**28  # 2 GiB
COUNTABLE = 1e15  # counts beyond which their noise is far below what float32 tells apart
Groups = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class AugmentationSource:
    """An object and the windows that may be made of it.

    Parameters
    ----------
    object : (H, W) complex64, with room around every window
    centres_px : (m, 2) float64, (x, y) on it; those of the scan in its order, or any
    """

    object: ComplexArray
    centres_px: npt.NDArray[np.float64]


class AugmentedPatterns:
    """Patterns and patches of known objects; those of a batch depend on (seed, epoch, number of the batch) alone.

    Parameters
    ----------
    scenes : each batch is drawn from one of them
    like : the measured images, whose probe, photons, bad pixels and distances between neighbours are taken
    gridsize : a view holds ``gridsize**2`` neighbouring patterns
    """

    def __init__(self, scenes: Sequence[AugmentationSource], like: Dataset, gridsize: int, seed: int) -> None:
        self.scenes, self.seed = scenes, seed
        self.padded = [pad_edges(scene.object) for scene in scenes]  # once, not in every batch
        self.probe, self.window_px = like.probe, like.window_px
        counted = like.metadata.get("counts_known", "counts_scale" in like.metadata)
        self.counts_scale = like.counts_scale if counted else None
        self.detector = detector_of(like)
        _, self.offsets_px = neighbour_groups(like.xcoords, like.ycoords, gridsize**2, like.window_px)

    def draw(self, epoch: int, batch: int, count: int) -> tuple[Groups, npt.NDArray[np.complex64]]:
        """Return ``count`` views, as those of :class:`ptycho.models.loaders.PatternGroups`, and their patches.

        Returns
        -------
        views : ``diffraction`` (count, g**2, N, N), ``offsets_px`` (count, g**2, 2)
        patches : (count, N, N) complex64, of the first pattern of each view
        """
        rng = np.random.default_rng([self.seed, epoch, batch])
        number = int(rng.integers(len(self.scenes)))
        centres_px = self.scenes[number].centres_px
        chosen = rng.integers(len(centres_px), size=count)
        offsets = self.offsets_px[chosen % len(self.offsets_px)]  # on the scan, those of that very position
        centres = np.rint(centres_px[chosen]) + rng.integers(-JITTER_PX, JITTER_PX + 1, (count, 2))
        positions = np.reshape(centres[:, None] + offsets, (-1, 2))
        cut = extract_from_padded(self.padded[number], positions[:, 0], positions[:, 1], self.window_px)
        patches = np.reshape(cut, (*offsets.shape[:2], self.window_px, self.window_px))
        for i, turn in enumerate(rng.integers(8, size=count)):
            patches[i], offsets[i] = rotate_flip(patches[i], offsets[i], int(turn))
        return {"diffraction": self._measure(patches, rng), "offsets_px": offsets}, patches[:, 0]

    def _measure(self, patches: ComplexArray, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Return the amplitudes that the detector of the measured images gives of patches, its noise included."""
        intensity = diffraction.diffraction_intensity(self.probe, patches)
        if self.counts_scale is not None:
            counts = intensity.astype(np.float64) * self.counts_scale**2
            if counts.max(initial=0) < COUNTABLE:
                intensity = detector.photon_counts(counts, rng, self.detector) / self.counts_scale**2
        if self.detector.bad_pixels is not None:
            intensity[..., self.detector.bad_pixels] = 0
        return np.sqrt(intensity).astype(np.float32)


def rotate_flip(
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


def scan_source(images: Dataset, sweeps: int, seed: int, unseen: Dataset | None = None) -> AugmentationSource:
    """Return the area of the images, as it is known: by their patches where they are given, else by phase retrieval.

    Parameters
    ----------
    unseen : other patterns of the same area. Where the retrieved object misses them by far more than its own, the scan
        is too sparse to determine it, and a warning says so

    Raises
    ------
    InputError : positions so far apart that the area would not fit into memory
    """
    half = images.window_px // 2
    corner = [np.floor(coordinates.min()) - half for coordinates in (images.xcoords, images.ycoords)]
    here = replace(images, xcoords=images.xcoords - corner[0], ycoords=images.ycoords - corner[1], object=None)
    height, width = here.object_shape
    if height * width > MAX_SCENE_PX:
        raise InputError(
            f"the training positions span {width} x {height} pixels, at most {MAX_SCENE_PX} in all can be kept as one "
            "area: are they pixels of the object? turned_images: 0 does without"
        )
    empty, rng = np.ones((height, width), np.complex64), np.random.default_rng(seed)
    known = phase_retrieval.rpie if images.patches is None else phase_retrieval.fit_patches
    started = time.perf_counter()
    image = known(empty, here, sweeps, rng)
    logger.info("the training area is known after %.1f s (%s)", time.perf_counter() - started, known.__name__)
    if unseen is not None and images.patches is None:
        _warn_if_sparse(
            image, here, replace(unseen, xcoords=unseen.xcoords - corner[0], ycoords=unseen.ycoords - corner[1])
        )
    return _with_margin(image, np.stack([here.xcoords, here.ycoords], axis=1), here.window_px)


def _warn_if_sparse(image: ComplexArray, seen: Dataset, unseen: Dataset) -> None:
    """Warn where an object explains the patterns that it was retrieved from far better than others of its area."""
    half = unseen.window_px / 2
    inside = (unseen.xcoords >= half) & (unseen.ycoords >= half)
    inside &= (unseen.xcoords <= image.shape[1] - half) & (unseen.ycoords <= image.shape[0] - half)
    if not inside.any():
        return
    others = unseen.take(np.flatnonzero(inside))
    own, other = misfit.r_factor(image, seen), misfit.r_factor(image, others)
    logger.info("R-factor of the retrieved area: %.4f of its own patterns, %.4f of held-out ones", own, other)
    if own > 0 and other > SPARSE * own:
        logger.warning(
            "the scan is too sparse for phase retrieval (%.1f patterns a pixel): the retrieved training area misses "
            "held-out patterns by %.1f times as much as its own, and augmentation by it may do harm; use more images, "
            "or turned_images: 0",
            patterns_per_pixel(seen.xcoords, seen.ycoords, seen.probe),
            other / own,
        )


def synthetic_sources(known: AugmentationSource, window_px: int, seed: int) -> list[AugmentationSource]:
    """Return objects of random shapes, made of what ``known`` is made of; windows may lie anywhere on them."""
    rng = np.random.default_rng(seed)
    side, half = SYNTHETIC_SIDE * window_px, window_px / 2
    x, y = known.centres_px.T
    tones = _tones(extract_patches(known.object, x, y, max(2, window_px // 4)))
    scenes = []
    for _ in range(min(SYNTHETIC_OBJECTS, max(4, SYNTHETIC_PX // side**2))):
        thickness, _ = OBJECTS[str(rng.choice(sorted(OBJECTS)))]((side, side), rng)
        image = tones[np.rint(thickness * (len(tones) - 1)).astype(int)]
        scenes.append(_with_margin(image, rng.uniform(half, side - half, (256, 2)), window_px))
    return scenes


def _tones(pixels: ComplexArray) -> npt.NDArray[np.complex64]:
    """Return TONES transmissions, from the least phase of the pixels to the largest, each of equally many.

    The amplitude of each is the mean of what has that phase. Of fewer pixels there are fewer.
    """
    around = np.angle(pixels.mean())
    phase, amplitude = np.angle(pixels * np.exp(-1j * around)).ravel(), np.abs(pixels).ravel()
    groups = np.array_split(np.argsort(phase), min(TONES, phase.size))
    tones = [amplitude[group].mean() * np.exp(1j * (phase[group].mean() + around)) for group in groups]
    return np.array(tones, np.complex64)


def _with_margin(image: ComplexArray, centres_px: npt.NDArray[np.float64], window_px: int) -> AugmentationSource:
    """Return a scene around which neighbours of a window, which stand out by less than its side, have room."""
    margin = window_px + JITTER_PX
    return AugmentationSource(np.pad(image, margin, mode="edge").astype(np.complex64), centres_px + margin)


def augmentation_sources(
    images: Dataset, config: TrainingConfig, gridsize: int, seed: int, unseen: Dataset | None = None
) -> list[tuple[float, AugmentedPatterns]]:
    """Return what images are made of, and how many of each stand beside a measured one.

    ``images`` hold patches only for a model that is given the truth; ``unseen`` are held out of both.
    """
    if not (config.turned_images or config.synthetic_images):
        return []
    known = scan_source(images, config.retrieval_sweeps, derive_seed(seed, "retrieval"), unseen)
    made = []
    if config.turned_images:
        source = AugmentedPatterns([known], images, gridsize, derive_seed(seed, "turned"))
        made.append((config.turned_images, source))
    if config.synthetic_images:
        scenes = synthetic_sources(known, images.window_px, derive_seed(seed, "shapes"))
        source = AugmentedPatterns(scenes, images, gridsize, derive_seed(seed, "synthetic"))
        made.append((config.synthetic_images, source))
    return made
