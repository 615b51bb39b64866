"""Data augmentation: patterns simulated from windows of a known object, rotated and mirrored, or of synthetic objects.

A single pattern barely constrains the low spatial frequencies of the phase: a network fills them in from the structures
of its training data, and a scan shows few structures in few orientations. Augmented patterns show more, and their
patches are known. The known object depends on the model: for PtychoPINN it is a phase retrieval from its own training
patterns, for the baseline the ground truth that it is trained on.
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

JITTER_PX = 4  # largest distance of a window from its scan position, along each axis
SYNTHETIC_SIDE = 4  # side of a synthetic object, in windows
SYNTHETIC_OBJECTS = 48  # at most: some thousand different windows
SYNTHETIC_PX = 48 * 256**2  # of all synthetic objects: there are fewer of larger windows
TONES = 64  # different transmissions of a synthetic object
SPARSE = 1.5  # R-factor of held-out patterns over that of the fitted ones: benchmarks/retrieval_density.py
RETRIEVAL_ALPHA = 0.1  # of rPIE: larger steps where the probe is weak, as few iterations are run
MAX_SCENE_PX = 2**28  # of a training area: 2 GiB
COUNTABLE = 1e15  # counts; the noise of more is far below the resolution of float32
Groups = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class AugmentationSource:
    """An object and the positions of the windows that are taken from it.

    Parameters
    ----------
    object : (H, W) complex64, with a margin around every window
    centres_px : (m, 2) float64, (x, y) in pixels of ``object``: the scan positions in their order, or random ones
    """

    object: ComplexArray
    centres_px: npt.NDArray[np.float64]


class AugmentedPatterns:
    """Simulated patterns and their patches; those of a batch depend only on (seed, epoch, index of the batch).

    Parameters
    ----------
    scenes : each batch is drawn from one of them
    like : measured patterns, whose probe, photons, bad pixels and distances between neighbours are used
    gridsize : patterns per input group: gridsize squared
    seed : of all draws
    """

    def __init__(self, scenes: Sequence[AugmentationSource], like: Dataset, gridsize: int, seed: int) -> None:
        self.scenes, self.seed = scenes, seed
        self.padded = [pad_edges(scene.object) for scene in scenes]  # once, not in every batch
        self.probe, self.window_px = like.probe, like.window_px
        stated = like.metadata
        counts_known = stated.counts_scale is not None if stated.counts_known is None else stated.counts_known
        self.counts_scale = like.counts_scale if counts_known else None
        self.detector = detector_of(like)
        _, self.offsets_px = neighbour_groups(like.xcoords, like.ycoords, gridsize**2, like.window_px)

    def draw(self, epoch: int, batch: int, count: int) -> tuple[Groups, npt.NDArray[np.complex64]]:
        """Return ``count`` pattern groups and their patches.

        Parameters
        ----------
        epoch, batch : from 0; the same two give the same patterns

        Returns
        -------
        groups : ``diffraction`` (count, g**2, N, N), ``offsets_px`` (count, g**2, 2), (x, y) relative to the first
            pattern of each group; float32
        patches : (count, N, N) complex64, of the first pattern of each group
        """
        rng = np.random.default_rng([self.seed, epoch, batch])
        number = int(rng.integers(len(self.scenes)))
        centres_px = self.scenes[number].centres_px
        chosen = rng.integers(len(centres_px), size=count)
        offsets = self.offsets_px[chosen % len(self.offsets_px)]  # for scan positions, their own
        centres = np.rint(centres_px[chosen]) + rng.integers(-JITTER_PX, JITTER_PX + 1, (count, 2))
        positions = np.reshape(centres[:, None] + offsets, (-1, 2))
        windows = extract_from_padded(self.padded[number], positions[:, 0], positions[:, 1], self.window_px)
        patches = np.reshape(windows, (*offsets.shape[:2], self.window_px, self.window_px))
        for i, symmetry in enumerate(rng.integers(8, size=count)):
            patches[i], offsets[i] = rotate_flip(patches[i], offsets[i], int(symmetry))
        return {"diffraction": self._simulate(patches, rng), "offsets_px": offsets}, patches[:, 0]

    def _simulate(self, patches: ComplexArray, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Return ``diffraction`` (..., N, N) of patches as the detector measures it, with its noise and bad pixels."""
        intensity = diffraction.diffraction_intensity(self.probe, patches)
        if self.counts_scale is not None:
            counts = intensity.astype(np.float64) * self.counts_scale**2
            if counts.max(initial=0) < COUNTABLE:
                intensity = detector.photon_counts(counts, rng, self.detector) / self.counts_scale**2
        if self.detector.bad_pixels is not None:
            intensity[..., self.detector.bad_pixels] = 0
        return np.sqrt(intensity).astype(np.float32)


def rotate_flip(
    patches: ComplexArray, offsets_px: npt.NDArray[np.float32], symmetry: int
) -> tuple[ComplexArray, npt.NDArray[np.float32]]:
    """Return a group of patches and its offsets, rotated and mirrored.

    Parameters
    ----------
    patches : (g, N, N)
    offsets_px : (g, 2), (x, y) relative to the first pattern
    symmetry : 0 ... 7, one of the symmetries of a square: rotation by ``symmetry % 4`` times 90 degrees, from 4 on then
        transposed

    Returns
    -------
    patches, offsets_px : of the same shapes
    """
    x, y = offsets_px[:, 0], offsets_px[:, 1]
    for _ in range(symmetry % 4):
        x, y = y, -x  # as np.rot90 does
    rotated = np.rot90(patches, symmetry % 4, axes=(-2, -1))
    if symmetry < 4:
        return rotated, np.stack([x, y], axis=1)
    return np.swapaxes(rotated, -2, -1), np.stack([y, x], axis=1)


def scan_source(images: Dataset, sweeps: int, seed: int, unseen: Dataset | None = None) -> AugmentationSource:
    """Return the object of the training area: merged from the patches of a dataset, or by phase retrieval without them.

    Parameters
    ----------
    images : training patterns; with ``patches`` only for a model that is trained on ground truth
    sweeps : iterations over all patterns
    seed : of their order in each iteration
    unseen : held-out patterns of the same area. If the retrieved object fits them much worse than those it was
        retrieved from, the scan is too sparse to determine it, and a warning is logged

    Raises
    ------
    InputError : positions so far apart that the area would not fit into memory
    """
    half = images.window_px // 2
    corner = [np.floor(coordinates.min()) - half for coordinates in (images.xcoords, images.ycoords)]
    shifted = replace(images, xcoords=images.xcoords - corner[0], ycoords=images.ycoords - corner[1], object=None)
    height, width = shifted.object_shape
    if height * width > MAX_SCENE_PX:
        raise InputError(
            f"the training positions span {width} x {height} pixels, at most {MAX_SCENE_PX} in all can be kept as one "
            "area: are they pixels of the object? augmentation_ratio: 0 trains without it"
        )
    empty, rng = np.ones((height, width), np.complex64), np.random.default_rng(seed)
    estimate = phase_retrieval.rpie if images.patches is None else phase_retrieval.fit_patches
    started = time.perf_counter()
    image = estimate(empty, shifted, sweeps, rng, RETRIEVAL_ALPHA)
    logger.info("estimated the training object in %.1f s (%s)", time.perf_counter() - started, estimate.__name__)
    if unseen is not None and images.patches is None:
        _warn_if_sparse(
            image, shifted, replace(unseen, xcoords=unseen.xcoords - corner[0], ycoords=unseen.ycoords - corner[1])
        )
    return _with_margin(image, np.stack([shifted.xcoords, shifted.ycoords], axis=1), shifted.window_px)


def _warn_if_sparse(image: ComplexArray, fitted: Dataset, unseen: Dataset) -> None:
    """Log a warning if an object fits the patterns that it was retrieved from much better than others of its area."""
    half = unseen.window_px / 2
    inside = (unseen.xcoords >= half) & (unseen.ycoords >= half)
    inside &= (unseen.xcoords <= image.shape[1] - half) & (unseen.ycoords <= image.shape[0] - half)
    if not inside.any():
        return
    held_out = unseen.take(np.flatnonzero(inside))
    own, other = misfit.r_factor(image, fitted), misfit.r_factor(image, held_out)
    logger.info("R-factor of the training object: %.4f of its own patterns, %.4f of held-out ones", own, other)
    if own > 0 and other > SPARSE * own:
        logger.warning(
            "the scan is too sparse for phase retrieval (%.1f patterns per pixel): the R-factor of held-out patterns "
            "is %.1f times that of the training patterns, and data augmentation may degrade the training; use more "
            "images, or augmentation_ratio: 0",
            patterns_per_pixel(fitted.xcoords, fitted.ycoords, fitted.probe),
            other / own,
        )


def synthetic_sources(known: AugmentationSource, window_px: int, seed: int) -> list[AugmentationSource]:
    """Return objects of random shapes with the transmissions of ``known``, and random positions of windows on them.

    Parameters
    ----------
    known : the training area
    window_px : N
    seed : of shapes and positions

    Returns
    -------
    list : 4 to :data:`SYNTHETIC_OBJECTS` sources, fewer of larger windows
    """
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
    """Return the transmissions of pixels, quantized by phase into TONES equally frequent values, in order of phase.

    Each is the mean phase and mean amplitude of its pixels. Fewer pixels than TONES give as many values as pixels.
    """
    around = np.angle(pixels.mean())
    phase, amplitude = np.angle(pixels * np.exp(-1j * around)).ravel(), np.abs(pixels).ravel()
    groups = np.array_split(np.argsort(phase), min(TONES, phase.size))
    tones = [amplitude[group].mean() * np.exp(1j * (phase[group].mean() + around)) for group in groups]
    return np.array(tones, np.complex64)


def _with_margin(image: ComplexArray, centres_px: npt.NDArray[np.float64], window_px: int) -> AugmentationSource:
    """Return a source with a margin for the neighbours of a window, whose offset is less than N along each axis."""
    margin = window_px + JITTER_PX
    return AugmentationSource(np.pad(image, margin, mode="edge").astype(np.complex64), centres_px + margin)


def augmentation_sources(
    images: Dataset, config: TrainingConfig, gridsize: int, seed: int, unseen: Dataset | None = None
) -> list[tuple[float, AugmentedPatterns]]:
    """Return the sources of augmented patterns, each with its number of augmented patterns per measured one.

    Parameters
    ----------
    images : training patterns; with ``patches`` only for a model that is trained on ground truth
    config : the ratios, and the iterations of phase retrieval
    gridsize : patterns per input group: gridsize squared
    seed : of all draws
    unseen : held-out patterns, see :func:`scan_source`

    Raises
    ------
    InputError : see :func:`scan_source`
    """
    if not (config.augmentation_ratio or config.synthetic_augmentation_ratio):
        return []
    known = scan_source(images, config.phase_retrieval_iterations, derive_seed(seed, "retrieval"), unseen)
    sources = []  # the words in derive_seed are kept from earlier versions: others would change every draw
    if config.augmentation_ratio:
        source = AugmentedPatterns([known], images, gridsize, derive_seed(seed, "turned"))
        sources.append((config.augmentation_ratio, source))
    if config.synthetic_augmentation_ratio:
        scenes = synthetic_sources(known, images.window_px, derive_seed(seed, "shapes"))
        source = AugmentedPatterns(scenes, images, gridsize, derive_seed(seed, "synthetic"))
        sources.append((config.synthetic_augmentation_ratio, source))
    return sources
