"""From a reconstruction to training and test data: pad, canonicalize, interpolate, smooth, downsample, split.

All pixel grids of a file (object, windows, probe) are resampled by one map that keeps pixel edges: zoom by z sends
pixel p to ``(p + 1/2) z - 1/2``. A position is the first pixel of its window plus N/2; first pixels scale as
edges do, so positions scale as ``x -> z x``, and binning by b as ``x -> x / b``. A windowed object therefore stays
equal to the windows that were resampled with it.
"""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ptycho.config import n_train
from ptycho.data.dataset import Dataset, Reconstruction, with_step
from ptycho.data.optics import diffraction_amplitude
from ptycho.errors import InputError

LEGACY_NAMES = {"diff3d": "diffraction"}
CHUNK = 256  # patterns diffracted at a time
COMPLEX_KEYS = ("objectGuess", "probeGuess", "Y")


def pad_to_even(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Make the sides of object and probe even.

    The object gains its last row or column again at the far edge, so positions stay; the probe gains a row or
    column of zeros before the first, so its centre stays on index N/2. Other arrays pass through.
    """
    result = dict(arrays)
    for key, side, mode in (("objectGuess", 1, "edge"), ("probeGuess", 0, "constant")):
        if key in arrays:
            odd = [size % 2 for size in arrays[key].shape]
            widths = [(0, extra) if side else (extra, 0) for extra in odd]
            result[key] = np.pad(arrays[key], widths, mode=mode)  # type: ignore[call-overload]
    pattern = arrays.get("diffraction", arrays.get("diff3d"))
    if pattern is not None and arrays["probeGuess"].shape[0] % 2:
        raise InputError(
            f"patterns of an odd size {pattern.shape} cannot be padded without moving their centre: crop them"
        )
    return result


def canonicalize(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Bring names, axis order and types to the format of :mod:`ptycho.data.dataset`.

    ``diff3d`` becomes ``diffraction``; patterns stored (N, N, n) become (n, N, N); a trailing axis of ``Y``
    goes; patterns become float32, complex arrays complex64, positions float64. Other arrays pass through.
    """
    result = {LEGACY_NAMES.get(key, key): value for key, value in arrays.items()}
    count = result["xcoords"].size
    if "Y" in result and result["Y"].ndim == 4 and result["Y"].shape[-1] == 1:
        result["Y"] = result["Y"][..., 0]
    for key in ("diffraction", "Y"):
        if key in result:
            result[key] = _pattern_axis_first(result[key], count, key)
    for key in result.keys() & set(COMPLEX_KEYS):
        result[key] = result[key].astype(np.complex64)
    if "diffraction" in result:
        result["diffraction"] = result["diffraction"].astype(np.float32)
    for key in ("xcoords", "ycoords"):
        result[key] = result[key].astype(np.float64)
    return result


def _pattern_axis_first(stack: npt.NDArray[Any], count: int, key: str) -> npt.NDArray[Any]:
    if stack.ndim == 3 and stack.shape[0] == count and stack.shape[1] == stack.shape[2]:
        return stack
    if stack.ndim == 3 and stack.shape[2] == count and stack.shape[0] == stack.shape[1]:
        return np.ascontiguousarray(np.moveaxis(stack, 2, 0))
    raise InputError(f"{key} has shape {stack.shape}, expected ({count}, N, N) or (N, N, {count}): one a position")


def _zoom(image: npt.NDArray[Any], zoom: float) -> npt.NDArray[np.complex64]:
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
    return reconstruction.after(
        "interpolate",
        {"zoom_factor": zoom_factor},
        object=_zoom(reconstruction.object, zoom_factor),
        probe=_zoom(reconstruction.probe, zoom_factor),
        xcoords=reconstruction.xcoords * zoom_factor,
        ycoords=reconstruction.ycoords * zoom_factor,
    )


def smooth(reconstruction: Reconstruction, target: Literal["object", "probe"], sigma_px: float) -> Reconstruction:
    """Blur the complex object or probe with a Gaussian of ``sigma_px`` pixels; 0 changes nothing."""
    image = getattr(reconstruction, target)
    blurred = ndimage.gaussian_filter(image, sigma_px, mode="nearest") if sigma_px > 0 else image
    return reconstruction.after("smooth", {"target": target, "sigma_px": sigma_px}, **{target: blurred})


def bin_pixels(array: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    """Average blocks of ``factor`` x ``factor`` pixels of the last two axes; what does not fill a block is cut."""
    height, width = (size // factor for size in array.shape[-2:])
    cut = array[..., : height * factor, : width * factor]
    return cut.reshape(*array.shape[:-2], height, factor, width, factor).mean(axis=(-3, -1), dtype=array.dtype)


def downsample(dataset: Dataset, crop_factor: int, bin_factor: int) -> Dataset:
    """Keep the central ``1/crop_factor`` of the detector and average ``bin_factor`` pixels of the object plane.

    A detector cropped by k sees the object with pixels k times larger, so both factors must agree. The unitary
    transform of a wave averaged over b x b pixels is about 1/b of the central part of the fine one (averaging
    dims high frequencies); the probe takes up the factor that fits ``|FFT(probe * Y)| / N`` best to the
    amplitudes. What cannot be fitted, as averaging is not a band limit, is kept as ``model_mismatch``. Amplitudes
    and probe are scaled to a mean summed square of ``(N/2)**2``.
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
    diffraction = dataset.diffraction[:, centre, centre]
    scale = amplitude_scale(diffraction)
    parameters = {"crop_factor": crop_factor, "bin_factor": bin_factor}
    metadata = {**dataset.metadata, "counts_scale": dataset.counts_scale * scale}
    small = replace(
        dataset,
        diffraction=diffraction / np.float32(scale),
        xcoords=dataset.xcoords / bin_factor,
        ycoords=dataset.ycoords / bin_factor,
        probe=(bin_pixels(dataset.probe, bin_factor) * (bin_factor / scale)).astype(np.complex64),
        object=None if dataset.object is None else bin_pixels(dataset.object, bin_factor),
        patches=None if dataset.patches is None else bin_pixels(dataset.patches, bin_factor),
        metadata=with_step(metadata, "downsample", parameters),
    )
    return small if small.patches is None else fit_probe(small)


def fit_probe(dataset: Dataset) -> Dataset:
    """Scale the probe by the factor that fits the expected amplitudes to the measured ones in least squares.

    The relative error that remains, ``||expected - measured|| / ||measured||``, goes into the metadata as
    ``model_mismatch``: noise, and what the pixels of the object cannot express.
    """
    assert dataset.patches is not None
    products = np.zeros(3)
    for start in range(0, len(dataset), CHUNK):
        part = slice(start, start + CHUNK)
        expected = diffraction_amplitude(dataset.probe, dataset.patches[part])
        measured = dataset.diffraction[part]
        pairs = ((expected, measured), (expected, expected), (measured, measured))
        products += [np.einsum("nij,nij->", a, b, dtype=np.float64) for a, b in pairs]
    both, own, energy = products
    mismatch = float(np.sqrt(max(1 - both**2 / (own * energy), 0)))
    return replace(
        dataset,
        probe=(dataset.probe * (both / own)).astype(np.complex64),
        metadata={**dataset.metadata, "model_mismatch": mismatch},
    )


def amplitude_scale(diffraction: npt.NDArray[np.floating[Any]]) -> float:
    """Return what to divide (n, N, N) amplitudes by so that their mean summed square is ``(N/2)**2``."""
    energy = np.einsum("nij,nij->", diffraction, diffraction, dtype=np.float64) / len(diffraction)
    if energy <= 0:
        raise InputError("diffraction is zero everywhere: there is nothing to learn from")
    return float(np.sqrt(energy) / (diffraction.shape[-1] / 2))


def split(
    dataset: Dataset, fraction: float, axis: Literal["x", "y"] = "y", gap_px: float = 0.0
) -> tuple[Dataset, Dataset]:
    """Part a dataset by position into training (low coordinates) and test (high ones).

    Parameters
    ----------
    fraction : share of the patterns that go to training; their number is ``config.n_train``, whatever the gap
    gap_px : test patterns closer than this to the last training position are left out

    Raises
    ------
    InputError : nothing would be left to test on
    """
    coordinate = dataset.xcoords if axis == "x" else dataset.ycoords
    if len(dataset) < 2 or not 0 < fraction < 1:
        raise InputError(
            f"{len(dataset)} patterns cannot be split at {fraction:g}: expected a fraction between 0 and 1"
        )
    count = n_train(len(dataset), fraction)
    order = np.argsort(coordinate, kind="stable")
    boundary = float(coordinate[order[count - 1]])
    train = np.sort(order[:count])
    test = np.sort(order[count:])
    test = test[coordinate[test] >= boundary + gap_px] if gap_px > 0 else test
    if test.size == 0:
        raise InputError(f"a gap of {gap_px:g} px leaves no test pattern: lower split_gap_px")
    parameters = {"fraction": fraction, "axis": axis, "gap_px": gap_px, "boundary_px": boundary}
    metadata = with_step({**dataset.metadata, "split": parameters}, "split", parameters)
    parts = (dataset.take(train), dataset.take(test))
    names = ("train", "test")
    first, second = (
        replace(part, metadata={**metadata, "part": name}) for part, name in zip(parts, names, strict=True)
    )
    return first, second
