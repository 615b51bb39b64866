"""Procedural specimen: the embedded default input, drawn anew from a seed.

Every shape has its own random place, size, orientation and tone, so that no feature of the test half repeats one
of the training half.
"""

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from ptycho.data.dataset import Reconstruction
from ptycho.errors import InputError

LEAF_RADIUS_PX = (6.0, 40.0)  # from details of a few pixels to shapes that fill a window of 64
LEAVES = 6  # how densely they lie: about an eighth of the ground stays bare, at a middle tone
EDGE_BLUR_PX = 0.8  # keeps edges sharp, yet sampled


def dead_leaves(shape: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw opaque ellipses and bars of random tone over each other on a ground of middle tone.

    Radii follow the power law r**-3 that gives an image statistics without a scale (A. B. Lee, D. Mumford,
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
        centre_y, centre_x = rng.random(2) * shape
        aspect, angle, tone = rng.uniform(0.2, 1.0), rng.uniform(0, np.pi), rng.random()
        top, left = max(int(centre_y - 1.5 * radius), 0), max(int(centre_x - 1.5 * radius), 0)
        box = image[top : int(centre_y + 1.5 * radius) + 2, left : int(centre_x + 1.5 * radius) + 2]
        y, x = np.ogrid[
            top - centre_y : top - centre_y + box.shape[0], left - centre_x : left - centre_x + box.shape[1]
        ]
        y, x = y[: box.shape[0]], x[:, : box.shape[1]]
        u = (x * np.cos(angle) + y * np.sin(angle)) / radius
        v = (y * np.cos(angle) - x * np.sin(angle)) / (radius * aspect)
        inside = np.maximum(np.abs(u), np.abs(v)) < 0.9 if rng.random() < 0.5 else u**2 + v**2 < 1
        box[inside] = tone
    return ndimage.gaussian_filter(image, EDGE_BLUR_PX)


def texture(shape: tuple[int, int], rng: np.random.Generator, correlation_px: float = 4.0) -> npt.NDArray[np.float64]:
    """Draw a Gaussian random field of zero mean and unit variance, correlated over ``correlation_px``."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), correlation_px / 2, mode="wrap")
    return (field - field.mean()) / field.std()


def specimen_object(
    size_px: int, phase_rad: float, absorption: float, rng: np.random.Generator
) -> npt.NDArray[np.complex64]:
    """Return a transmission with edges of every direction and texture.

    Parameters
    ----------
    size_px : side of the square object
    phase_rad : range of the phase; the phase runs from 0 to ``phase_rad``
    absorption : the amplitude runs from ``1 - absorption`` to 1

    Returns
    -------
    (size_px, size_px) complex64
    """
    shape = (size_px, size_px)
    shared, own = dead_leaves(shape, rng), dead_leaves(shape, rng)
    thickness = np.clip(shared + 0.05 * texture(shape, rng), 0, 1)
    loss = np.clip(0.5 * shared + 0.5 * own + 0.05 * texture(shape, rng), 0, 1)  # other materials, other shapes
    return ((1 - absorption * loss) * np.exp(1j * phase_rad * thickness)).astype(np.complex64)


def defocused_probe(window_px: int, rng: np.random.Generator) -> npt.NDArray[np.complex64]:
    """Return the defocused focus of an aberrated lens with a central stop, of unit peak amplitude.

    The pupil is an annulus of 0.36 of the detector's side; defocus spreads the beam over about half the window
    and a smooth random pupil phase gives it structure, without which single patterns are ambiguous.

    Returns
    -------
    (N, N) complex64, centred on ``[N/2, N/2]``
    """
    y, x = (np.indices((window_px, window_px)) - window_px / 2) / window_px
    radius = np.hypot(y, x)
    edge = 1.0 / window_px
    pupil = np.clip((0.36 - radius) / edge, 0, 1) * np.clip((radius - 0.06) / edge, 0, 1)
    aberration = 1.2 * texture((window_px, window_px), rng, correlation_px=window_px / 8)
    defocus = np.pi * 0.62 * window_px * radius**2  # a ray at r lands 0.62 N r from the axis
    wave = pupil * np.exp(1j * (defocus + aberration))
    probe = fft.fftshift(fft.ifft2(fft.ifftshift(wave)))
    return (probe / np.abs(probe).max()).astype(np.complex64)


def specimen(size_px: int, window_px: int, phase_rad: float, absorption: float, seed: int) -> Reconstruction:
    """Return a procedural object and probe as if they had been reconstructed from a scan of the whole object.

    Raises
    ------
    InputError : the object is smaller than a window
    """
    if size_px < window_px:
        raise InputError(f"a specimen of {size_px} px is smaller than its windows of {window_px} px: raise its size")
    rng = np.random.default_rng(seed)
    half = window_px / 2
    xcoords, ycoords = rng.uniform(half, size_px - half, (2, max((size_px // 6) ** 2, 1)))
    parameters = {
        "size_px": size_px, "window_px": window_px, "phase_rad": phase_rad, "absorption": absorption, "seed": seed,
    }  # fmt: skip
    return Reconstruction(
        object=specimen_object(size_px, phase_rad, absorption, rng),
        probe=defocused_probe(window_px, rng),
        xcoords=xcoords,
        ycoords=ycoords,
        metadata={"source": "procedural specimen"},
    ).after("specimen", parameters)
