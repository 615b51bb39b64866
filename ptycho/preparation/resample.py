"""Pixel grids: even sides, mirrored axes, interpolation, smoothing, downsampling.

All pixel grids of a file (object, windows, probe) are resampled by one map that keeps pixel edges: zoom by z sends
pixel p to ``(p + 1/2) z - 1/2``. A position is the first pixel of its window plus N/2; first pixels scale as
edges do, so positions scale as ``x -> z x``, and binning by b as ``x -> x / b``. Patches extracted
from a resampled object therefore equal the resampled patches.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.data.metadata import Metadata, parse_metadata
from ptycho.errors import InputError
from ptycho.io.conventions import Arrays, arrange, cast, require_light
from ptycho.io.text import metadata_json
from ptycho.preparation.normalize import (
    map_rows,
    normalize_and_fit_probe,
    normalize_object_arrays,
    note_lit_factor,
    with_patches,
)


def _after(arrays: Arrays, step: str, parameters: Mapping[str, Any]) -> Arrays:
    return {**arrays, "metadata": np.asarray(metadata_json(parse_metadata(arrays).with_step(step, parameters)))}


def pad_to_even(arrays: Arrays, sha256: str | None = None) -> Arrays:
    """Make the sides of object and probe even.

    The last row or column of the object is repeated, so positions are unchanged; a row or column of zeros is added
    before the first of the probe, so its centre remains at index N/2. Other arrays pass through.

    Parameters
    ----------
    arrays : by name; ``objectGuess`` and ``probeGuess`` where present
    sha256 : of the file of the arrays, noted in the history

    Raises
    ------
    InputError : an image is not two-dimensional, or there are patterns of an odd size
    """
    result = dict(arrays)
    added = {}
    for key, far in (("objectGuess", True), ("probeGuess", False)):
        if key not in arrays:
            continue
        if arrays[key].ndim != 2:
            raise InputError(f"{key} has shape {arrays[key].shape}, expected two dimensions (rows, columns)")
        odd = [size % 2 for size in arrays[key].shape]
        widths = [(0, extra) if far else (extra, 0) for extra in odd]
        result[key] = np.pad(arrays[key], widths, mode="edge" if far else "constant")
        added[key] = odd
    pattern = arrays.get("diffraction", arrays.get("diff3d"))
    if pattern is not None and "probeGuess" in added and any(added["probeGuess"]):
        raise InputError(
            f"patterns of an odd size {pattern.shape} cannot be padded without moving their centre: crop them"
        )
    return _after(result, "pad_to_even", {"rows_columns_added": added, "input_sha256": sha256})


def mirrored(patterns: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    """Mirror patterns, (..., N, N), about their centre pixel N/2 along ``axis``."""
    return np.roll(np.flip(patterns, axis), 1, axis)


def flip(arrays: Arrays, axis: str) -> Arrays:
    """Mirror a canonical scan along ``x`` (columns) or ``y`` (rows): object, probe, patches, patterns, positions.

    A window on pixels f to f + N - 1 of a side of W pixels begins at W - f - N afterwards, so a position x becomes
    W - x. Patterns are mirrored about their centre pixel N/2, as a mirrored wave diffracts.

    Raises
    ------
    InputError : no object, within which positions are mirrored
    """
    if "objectGuess" not in arrays:
        raise InputError("objectGuess missing: positions are mirrored within it")
    result = dict(arrays)
    last = -1 if axis == "x" else -2
    for key in result.keys() & {"objectGuess", "probeGuess", "Y"}:
        result[key] = np.flip(result[key], last)
    for key in result.keys() & {"diffraction", "bad_pixels"}:
        result[key] = mirrored(result[key], last)
    coordinate = f"{axis}coords"
    result[coordinate] = result["objectGuess"].shape[last] - result[coordinate]
    return result


def transpose_rename_convert(arrays: Arrays, *, flipx: bool = False, flipy: bool = False) -> Arrays:
    """Convert a file's arrays to the study's names, axis order and types, at level 1 and mean phase 0.

    Parameters
    ----------
    flipx, flipy : mirror the scan along columns, along rows

    Raises
    ------
    InputError : see :func:`ptycho.io.conventions.canonicalize`; values or positions that do not fit
    """
    arranged = arrange(arrays)
    result = cast(arranged)
    Reconstruction(result["objectGuess"], result["probeGuess"], result["xcoords"], result["ycoords"])  # checks them
    require_light(result.get("diffraction", np.zeros(1)))
    leveled, metadata = normalize_object_arrays(arranged, parse_metadata(arrays))
    result = cast({**leveled, "metadata": np.asarray(metadata_json(metadata))})
    for axis, wanted in (("x", flipx), ("y", flipy)):
        if wanted:
            result = flip(result, axis)
    return _after(result, "transpose_rename_convert", {"flipx": flipx, "flipy": flipy})


def _zoom(image: npt.NDArray[Any], zoom: float) -> npt.NDArray[np.complex64]:
    from scipy import ndimage  # here: the other steps start faster without it

    shape = tuple(int(size * zoom + 1e-9) for size in image.shape)
    return ndimage.affine_transform(
        image, [1 / zoom] * 2, offset=(1 / zoom - 1) / 2, output_shape=shape, order=3, mode="nearest"
    ).astype(np.complex64)


def interpolate(reconstruction: Reconstruction, zoom_factor: float) -> Reconstruction:
    """Resample object and probe on pixels ``zoom_factor`` times finer, by cubic splines.

    Raises
    ------
    InputError : the zoomed probe would not have an even number of whole pixels
    """
    side = reconstruction.probe.shape[0] * zoom_factor
    if not 1 <= zoom_factor < np.inf or abs(side - 2 * round(side / 2)) > 1e-6:
        raise InputError(
            f"zoom factor {zoom_factor:g} turns a probe of {reconstruction.probe.shape[0]} pixels into {side:g}: "
            "choose a factor of at least 1 that gives an even whole number"
        )
    finer = replace(reconstruction, metadata=_pixel_times(reconstruction.metadata, 1 / zoom_factor))
    return finer.after(
        "interpolate",
        {"zoom_factor": zoom_factor},
        object=_zoom(reconstruction.object, zoom_factor),
        probe=_zoom(reconstruction.probe, zoom_factor),
        xcoords=reconstruction.xcoords * zoom_factor,
        ycoords=reconstruction.ycoords * zoom_factor,
    )


def smooth(reconstruction: Reconstruction, target: Literal["object", "probe"], sigma_px: float) -> Reconstruction:
    """Blur the complex object or probe with a Gaussian of ``sigma_px`` pixels; 0 changes nothing."""
    from scipy import ndimage

    image = getattr(reconstruction, target)
    blurred = ndimage.gaussian_filter(image, sigma_px, mode="nearest") if sigma_px > 0 else image
    return reconstruction.after("smooth", {"target": target, "sigma_px": sigma_px}, **{target: blurred})


def apodize(reconstruction: Reconstruction, target: Literal["object", "probe"], alpha: float) -> Reconstruction:
    """Multiply the object or the probe by a Tukey window, which is 0 at the border.

    Parameters
    ----------
    alpha : fraction of each side over which it tapers, half at either end; 0 changes nothing, 1 is a Hann window

    Raises
    ------
    InputError : ``alpha`` outside of 0 to 1
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha:g}, expected 0 to 1: the fraction of a side over which the image tapers")
    from scipy.signal.windows import tukey

    image = getattr(reconstruction, target)
    fade = np.outer(*(tukey(size, alpha) for size in image.shape))
    return reconstruction.after(
        "apodize", {"target": target, "alpha": alpha}, **{target: (image * fade).astype(image.dtype)}
    )


def bin_pixels(array: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    """Average blocks of ``factor`` x ``factor`` pixels of the last two axes; incomplete blocks are dropped."""
    height, width = (size // factor * factor for size in array.shape[-2:])
    total = sum(array[..., row:height:factor, column:width:factor] for row in range(factor) for column in range(factor))
    return (total / array.dtype.type(factor**2)).astype(array.dtype, copy=False)


def fourier_crop(image: npt.NDArray[Any], factor: int) -> npt.NDArray[np.complex64]:
    """Keep the central ``1/factor`` of the spectrum of a square image: pixels ``factor`` times larger, band-limited.

    The new pixels lie in the middle of the blocks that :func:`bin_pixels` would average.

    Parameters
    ----------
    image : (N, N) complex, N a multiple of ``2 * factor``

    Returns
    -------
    (N / factor, N / factor) complex64
    """
    size = image.shape[0]
    frequency = np.fft.fftfreq(size)
    kept = np.abs(frequency) < 0.5 / factor
    filtered = np.where(kept, np.exp(1j * np.pi * (factor - 1) * frequency), 0)  # shifts by half a block less a pixel
    spectrum = np.fft.fft2(image) * np.outer(filtered, filtered)
    return np.fft.ifft2(spectrum)[::factor, ::factor].astype(np.complex64)


def downsample(
    dataset: Dataset, crop_factor: int, bin_factor: int, method: Literal["bin", "fourier"] = "bin"
) -> Dataset:
    """Crop the detector to its central ``1/crop_factor`` and enlarge the pixels of the object by ``bin_factor``.

    A detector cropped by k resolves the object with pixels k times larger, so both factors must agree. Patches and
    object are averaged over blocks; the probe too (``bin``), or its spectrum is cropped as the detector is
    (``fourier``), which gives a far smaller mismatch, as averaging attenuates the probe's high frequencies. Amplitudes
    are scaled and the probe is fitted by :func:`ptycho.preparation.normalize.normalize_and_fit_probe`. Patterns are
    computed when they are indexed.

    Raises
    ------
    InputError : factors that differ or do not divide the patterns, or nothing but dark patterns
    """
    window = dataset.window_px
    if crop_factor != bin_factor:
        raise InputError(f"crop factor {crop_factor} and bin factor {bin_factor} differ: make them equal")
    if crop_factor < 1 or window % (2 * crop_factor):
        raise InputError(
            f"factor {crop_factor} does not divide patterns of {window} x {window} pixels into an even number: "
            f"choose a divisor of {window // 2}"
        )
    size = window // crop_factor
    centre = slice(window // 2 - size // 2, window // 2 + size // 2)
    probe = fourier_crop(dataset.probe, bin_factor) if method == "fourier" else bin_pixels(dataset.probe, bin_factor)
    probe = probe * np.float32(bin_factor)  # keeps the energy in the unitary transform of fewer pixels
    fine = with_patches(dataset).patches
    small = replace(
        dataset,
        diffraction=map_rows(dataset.diffraction, lambda part: part[:, centre, centre], size),
        xcoords=dataset.xcoords / bin_factor,
        ycoords=dataset.ycoords / bin_factor,
        probe=probe,
        object=None if dataset.object is None else bin_pixels(dataset.object, bin_factor),
        patches=None if fine is None else map_rows(fine, lambda part: bin_pixels(part, bin_factor), size),
        bad_pixels=None if dataset.bad_pixels is None else dataset.bad_pixels[centre, centre],
    )
    parameters = {"crop_factor": crop_factor, "bin_factor": bin_factor, "method": method}
    metadata = _pixel_times(dataset.metadata, bin_factor).with_step("downsample", parameters)
    return note_lit_factor(normalize_and_fit_probe(replace(small, metadata=metadata)))


def _pixel_times(metadata: Metadata, factor: float) -> Metadata:
    size = metadata.pixel_size_m
    return metadata if size is None else replace(metadata, pixel_size_m=size * factor)
