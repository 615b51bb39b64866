"""From a reconstruction to training and test data: interpolate, smooth, apodize, downsample, split.

All pixel grids of a file (object, windows, probe) are resampled by one map that keeps pixel edges: zoom by z sends
pixel p to ``(p + 1/2) z - 1/2``. A position is the first pixel of its window plus N/2; first pixels scale as
edges do, so positions scale as ``x -> z x``, and binning by b as ``x -> x / b``. A windowed object therefore stays
equal to the windows that were resampled with it.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Dataset, Reconstruction, with_step
from ptycho.data.level import with_note
from ptycho.data.optics import diffraction_amplitude
from ptycho.data.rows import Rows, in_chunks
from ptycho.data.sampling import n_train
from ptycho.data.simulation import windows
from ptycho.errors import InputError

logger = logging.getLogger(__name__)

SAME_LIGHT = 2.0  # ratio of the patterns' energies within which they count as one scan's


def _zoom(image: npt.NDArray[Any], zoom: float) -> npt.NDArray[np.complex64]:
    from scipy import ndimage  # here, as the other steps start faster without it

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
    """Let the object or the probe fade to 0 at its border by a Tukey window.

    Parameters
    ----------
    alpha : share of each side over which it fades, half at either end; 0 changes nothing, 1 is a Hann window
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha:g}, expected 0 to 1: the share of a side over which the image fades")
    from scipy.signal.windows import tukey

    image = getattr(reconstruction, target)
    fade = np.outer(*(tukey(size, alpha) for size in image.shape))
    return reconstruction.after(
        "apodize", {"target": target, "alpha": alpha}, **{target: (image * fade).astype(image.dtype)}
    )


def bin_pixels(array: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    """Average blocks of ``factor`` x ``factor`` pixels of the last two axes; what does not fill a block is cut."""
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
    filtered = np.where(kept, np.exp(1j * np.pi * (factor - 1) * frequency), 0)  # moves by half a block less a pixel
    spectrum = np.fft.fft2(image) * np.outer(filtered, filtered)
    return np.fft.ifft2(spectrum)[::factor, ::factor].astype(np.complex64)


def downsample(
    dataset: Dataset, crop_factor: int, bin_factor: int, method: Literal["bin", "fourier"] = "bin"
) -> Dataset:
    """Keep the central ``1/crop_factor`` of the detector and make pixels ``bin_factor`` times larger.

    A detector cropped by k sees the object with pixels k times larger, so both factors must agree. Windows and
    object are averaged over blocks; the probe too (``bin``), or its spectrum is cropped as the detector was
    (``fourier``), which leaves far less mismatch, as averaging dims the probe's high frequencies. The probe takes up
    the factor that fits ``|FFT(probe * Y)| / N`` best to the amplitudes, in least squares; the relative error that
    remains, ``||expected - measured|| / ||measured||``, is kept as ``model_mismatch``. Amplitudes and probe are
    scaled to a mean summed square of ``(N/2)**2``. Patterns are computed when they are asked for.

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
    fine = with_truth(dataset).patches
    small = replace(
        dataset,
        diffraction=each(dataset.diffraction, lambda part: part[:, centre, centre], size),
        xcoords=dataset.xcoords / bin_factor,
        ycoords=dataset.ycoords / bin_factor,
        probe=probe,
        object=None if dataset.object is None else bin_pixels(dataset.object, bin_factor),
        patches=None if fine is None else each(fine, lambda part: bin_pixels(part, bin_factor), size),
        bad_pixels=None if dataset.bad_pixels is None else dataset.bad_pixels[centre, centre],
    )
    parameters = {"crop_factor": crop_factor, "bin_factor": bin_factor, "method": method}
    metadata = _pixel_times(dataset.metadata, bin_factor)
    return with_note(with_unit_energy(replace(small, metadata=with_step(metadata, "downsample", parameters))))


def _pixel_times(metadata: Mapping[str, Any], factor: float) -> dict[str, Any]:
    size = metadata.get("pixel_size_m")
    return {**metadata, **({} if size is None else {"pixel_size_m": size * factor})}


def each(array: npt.NDArray[Any] | Rows, function: Any, size: int) -> Rows:
    """Return ``function`` of every row, (n, size, size), computed when it is asked for."""
    return Rows((len(array), size, size), array.dtype, lambda numbers: function(array[numbers]))


def with_truth(dataset: Dataset) -> Dataset:
    """Return the dataset with ``patches``, cut from the object where it has none and the object is known."""
    if dataset.patches is not None or dataset.object is None:
        return dataset
    return replace(dataset, patches=windows(dataset.object, dataset.xcoords, dataset.ycoords, dataset.window_px))


def with_unit_energy(dataset: Dataset) -> Dataset:
    """Scale amplitudes to a mean summed square of ``(N/2)**2``, and the probe with them.

    Where the truth is known, the probe's scale is fitted to the amplitudes first.

    Raises
    ------
    InputError : the patterns are dark, or the probe is where the object is
    """
    measured = dataset.diffraction
    patches = with_truth(dataset).patches
    good = None if dataset.bad_pixels is None else ~dataset.bad_pixels

    def products(part: slice) -> npt.NDArray[np.float64]:
        found = measured[part]
        energy = np.einsum("nij,nij->", found, found, dtype=np.float64)
        if patches is None:
            return np.array([0.0, 0.0, energy])
        expected = diffraction_amplitude(dataset.probe, patches[part])
        expected = expected if good is None else expected * good
        pairs = ((expected, found), (expected, expected))
        return np.array([*(np.einsum("nij,nij->", a, b, dtype=np.float64) for a, b in pairs), energy])

    both, own, energy = sum(in_chunks(products, len(dataset)), np.zeros(3))
    if not np.isfinite([both, own, energy]).all():
        raise InputError("diffraction, Y or probeGuess hold NaN, infinite or far too large values")
    if not energy > 0:
        raise InputError("diffraction is zero everywhere: there is nothing to learn from")
    scale = float(np.sqrt(energy / len(dataset)) / (dataset.window_px / 2))
    metadata = {**dataset.metadata, "counts_scale": dataset.counts_scale * scale}
    factor = 1.0
    if patches is not None and own > 0:
        factor = both / own
        metadata["model_mismatch"] = float(np.sqrt(max(1 - both**2 / (own * energy), 0)))
    elif patches is not None:
        raise InputError("objectGuess is zero wherever the probe falls: it cannot explain the patterns")
    return replace(
        dataset,
        diffraction=each(measured, lambda part: part / np.float32(scale), dataset.window_px),
        probe=(dataset.probe * (factor / scale)).astype(np.complex64),
        metadata=metadata,
    )


def in_unit_of(dataset: Dataset, counts_scale: float) -> Dataset:
    """Return the patterns in the unit of others, so that equal counts are equal amplitudes.

    Halves of one scan share their light; where it differs by more than a factor of 2, each was scaled to its own
    energy, in units that need not be counts, and stays as it is.

    Parameters
    ----------
    counts_scale : square root of counts per unit of the other patterns
    """
    ratio = dataset.counts_scale / counts_scale
    if not 1 / SAME_LIGHT <= ratio**2 <= SAME_LIGHT:
        logger.warning(
            "the test patterns hold %.3g times the light of the training patterns: each is scaled to its own energy",
            ratio**2,
        )
    if ratio == 1 or not 1 / SAME_LIGHT <= ratio**2 <= SAME_LIGHT:
        return dataset
    scaled = each(dataset.diffraction, lambda part: part * np.float32(ratio), dataset.window_px)
    metadata = {**dataset.metadata, "counts_scale": counts_scale}
    return replace(dataset, diffraction=scaled, probe=dataset.probe * np.float32(ratio), metadata=metadata)


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
    if not gap_px >= 0:
        raise InputError(f"the gap is {gap_px:g} px, expected 0 or more")
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
    parts = (dataset.select(train), dataset.select(test))
    names = ("train", "test")
    first, second = (
        with_note(replace(part, metadata={**metadata, "part": name})) for part, name in zip(parts, names, strict=True)
    )
    return first, second
