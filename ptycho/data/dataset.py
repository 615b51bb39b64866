"""The data model: a reconstruction, and diffraction data simulated from it or measured.

Axis order is (row, column) = (y, x) everywhere. A position ``(x, y)`` is the pixel of the object on which the
centre index ``N // 2`` of a window falls, so a window covers ``x - N/2 ... x + N/2 - 1``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.lazy import Index, LazyArray, lazy_take, map_chunks
from ptycho.data.metadata import Metadata
from ptycho.errors import InputError

FloatArray = npt.NDArray[np.floating[Any]]
ComplexArray = npt.NDArray[np.complexfloating[Any, Any]]


def _require(condition: bool, message: str) -> None:
    """Raise InputError with ``message`` unless the condition holds."""
    if not condition:
        raise InputError(message)


def _check_positions(xcoords: FloatArray, ycoords: FloatArray) -> None:
    """Raise InputError unless both are (n,), n > 0, and finite."""
    _require(
        xcoords.ndim == 1 and xcoords.shape == ycoords.shape,
        f"xcoords {xcoords.shape} and ycoords {ycoords.shape} must be one-dimensional and equally long",
    )
    _require(xcoords.size > 0, "xcoords and ycoords are empty, expected at least one position")
    _require(
        bool(np.isfinite(xcoords).all() and np.isfinite(ycoords).all()),
        "xcoords or ycoords hold NaN or infinite values: remove these positions",
    )


def _check_image(array: npt.NDArray[Any], name: str) -> None:
    """Raise InputError unless the array is two-dimensional, complex and finite."""
    _require(array.ndim == 2, f"{name} has shape {array.shape}, expected two dimensions (rows, columns)")
    _require(np.iscomplexobj(array), f"{name} is {array.dtype}, expected complex: amplitude times exp(i phase)")
    _require(bool(np.isfinite(array).all()), f"{name} holds NaN or infinite values")


def _check_object(image: npt.NDArray[Any]) -> None:
    """Raise InputError unless the object is a complex image that transmits light somewhere."""
    _check_image(image, "objectGuess")
    _require(
        bool(image.any()),
        "objectGuess is zero everywhere, which no specimen is: give the reconstructed object, or remove it from the "
        "file where it is unknown",
    )


def _check_windows(xcoords: FloatArray, ycoords: FloatArray, shape: tuple[int, ...], window_px: int) -> None:
    """Raise InputError where a window lies outside the object by more than one pixel."""
    half = window_px / 2
    for name, values, size in (("xcoords", xcoords, shape[1]), ("ycoords", ycoords, shape[0])):
        low, high = float(values.min()), float(values.max())
        _require(
            low >= half - 1 and high <= size - half + 1,
            f"{name} run from {low:.6g} to {high:.6g}, but windows of {window_px} pixels stay inside objectGuess "
            f"{shape} from {half:g} to {size - half:g} only: are they pixels of this object, x along columns? Those in "
            "metres count from its centre",
        )


def _check_probe(probe: ComplexArray) -> None:
    """Raise InputError unless the probe is a square image that is not zero everywhere."""
    _check_image(probe, "probeGuess")
    _require(
        probe.shape[0] == probe.shape[1],
        f"probeGuess has shape {probe.shape}, expected a square of N x N pixels",
    )
    _require(bool(np.abs(probe).any()), "probeGuess is zero everywhere")


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A ptychographic reconstruction: the input and output of every preparation step.

    Parameters
    ----------
    object : (H, W) complex, transmission of the specimen
    probe : (N, N) complex, N even after padding
    xcoords, ycoords : (n,) float64, positions in pixels of ``object`` (see the module)
    metadata : origin of the data and processing so far

    Raises
    ------
    InputError : arrays of other shapes or types, NaN or infinite values, or positions outside the object
    """

    object: ComplexArray
    probe: ComplexArray
    xcoords: FloatArray
    ycoords: FloatArray
    metadata: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        _check_object(self.object)
        _check_probe(self.probe)
        _check_positions(self.xcoords, self.ycoords)
        n = self.probe.shape[0]
        _require(
            min(self.object.shape) >= n,
            f"objectGuess {self.object.shape} is smaller than probeGuess {self.probe.shape}",
        )
        for name, values, size in (
            ("xcoords", self.xcoords, self.object.shape[1]),
            ("ycoords", self.ycoords, self.object.shape[0]),
        ):
            _require(
                bool(values.min() >= 0 and values.max() <= size),
                f"{name} run from {values.min():.6g} to {values.max():.6g}, outside objectGuess {self.object.shape}: "
                "positions are expected in pixels of the object, x along columns",
            )

    def after(self, step: str, parameters: Mapping[str, Any], **changes: Any) -> "Reconstruction":
        """Return a copy with the fields ``changes`` replaced, and the step appended to ``metadata.steps``."""
        return replace(self, metadata=self.metadata.with_step(step, parameters), **changes)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Diffraction patterns with positions, probe and, where they are known, object and patches.

    ``diffraction`` and ``patches`` may be a :class:`~ptycho.data.lazy.LazyArray`, read or computed when indexed; the
    values of its rows are checked only when :meth:`take` brings them into memory.

    Parameters
    ----------
    diffraction : (n, N, N) float32, amplitude (square root of the counts over one scalar), DC at ``[N/2, N/2]``;
        the mean over all patterns of its summed square is ``(N/2)**2`` where the whole file was normalized
    xcoords, ycoords : (n,) float64, pixels of ``object``
    probe : (N, N) complex64, scaled so that ``|FFT(probe * Y)| / N`` is the expected ``diffraction``
    object : (H, W) complex64, ground truth or None
    patches : (n, N, N) complex64, ``Y``: the object in each window, without the probe, or None
    scan_index : (n,) int64, the index of each pattern in its original scan
    metadata : scale of the counts, pixel size, origin, processing so far, ...
    bad_pixels : (N, N) bool, True for masked detector pixels (their ``diffraction`` is 0), or None

    Raises
    ------
    InputError : arrays of other shapes or types, values out of range, or windows outside the object
    """

    diffraction: npt.NDArray[Any] | LazyArray
    xcoords: FloatArray
    ycoords: FloatArray
    probe: ComplexArray
    object: ComplexArray | None
    patches: npt.NDArray[Any] | LazyArray | None
    scan_index: npt.NDArray[np.int64]
    metadata: Metadata = field(default_factory=Metadata)
    bad_pixels: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        _check_probe(self.probe)
        _check_positions(self.xcoords, self.ycoords)
        n, size = self.xcoords.size, self.probe.shape[0]
        expected = (n, size, size)
        _require(
            self.diffraction.shape == expected,
            f"diffraction has shape {self.diffraction.shape}, expected {expected}: one N x N pattern "
            f"a position, N = {size} as probeGuess",
        )
        if isinstance(self.diffraction, np.ndarray):
            _require(bool(np.isfinite(self.diffraction).all()), "diffraction holds NaN or infinite values")
            _require(bool((self.diffraction >= 0).all()), "diffraction holds negative values: amplitudes are expected")
        _require(self.scan_index.shape == (n,), f"scan_index has shape {self.scan_index.shape}, expected {(n,)}")
        if self.object is not None:
            _check_object(self.object)
            _check_windows(self.xcoords, self.ycoords, self.object.shape, size)
        if self.patches is not None:
            _require(
                self.patches.shape == expected and self.patches.dtype.kind == "c",
                f"Y has shape {self.patches.shape} and dtype {self.patches.dtype}, expected {expected} complex",
            )
        if isinstance(self.patches, np.ndarray):
            _require(bool(np.isfinite(self.patches).all()), "Y holds NaN or infinite values")
        if self.bad_pixels is not None:
            _require(
                self.bad_pixels.shape == (size, size) and self.bad_pixels.dtype == bool,
                f"bad_pixels has shape {self.bad_pixels.shape} and dtype {self.bad_pixels.dtype}, expected "
                f"({size}, {size}) bool, True where a pixel is bad",
            )
            _require(not self.bad_pixels.all(), "bad_pixels marks every pixel: is the mask inverted?")

    def __len__(self) -> int:
        """Return n, the number of patterns."""
        return int(self.xcoords.size)

    @property
    def window_px(self) -> int:
        """N, the side of a pattern in pixels."""
        return int(self.probe.shape[0])

    @property
    def object_shape(self) -> tuple[int, int]:
        """(H, W) of the object in pixels; without an object, the smallest that contains every window."""
        if self.object is not None:
            return self.object.shape
        half = self.window_px / 2
        return int(np.ceil(self.ycoords.max() + half)) + 1, int(np.ceil(self.xcoords.max() + half)) + 1

    @property
    def counts_scale(self) -> float:
        """Square root of counts per unit of ``diffraction``; 1 where the metadata does not give it."""
        return 1.0 if self.metadata.counts_scale is None else float(self.metadata.counts_scale)

    def take(self, index: Index) -> "Dataset":
        """Return the patterns of a slice or of an array of row numbers, in that order, in memory."""
        return self._indexed(index, self.diffraction[index], None if self.patches is None else self.patches[index])

    def select(self, indices: npt.NDArray[np.integer[Any]]) -> "Dataset":
        """Return the patterns of ``indices``, in that order, their arrays lazy."""
        patches = None if self.patches is None else lazy_take(self.patches, indices)
        return self._indexed(indices, lazy_take(self.diffraction, indices), patches)

    def _indexed(self, index: Index, diffraction: Any, patches: Any) -> "Dataset":
        """Return the rows ``index`` of every other array with the given rows of ``diffraction`` and ``patches``."""
        return replace(
            self,
            diffraction=diffraction,
            xcoords=self.xcoords[index],
            ycoords=self.ycoords[index],
            patches=patches,
            scan_index=self.scan_index[index],
        )

    def loaded(self) -> "Dataset":
        """Return the dataset with every row in memory."""
        return self.take(slice(None))


def dark_patterns(dataset: Dataset) -> npt.NDArray[np.bool_]:
    """Read every pattern of a dataset, and return which hold no counts at all, (n,) bool."""
    patterns = dataset.diffraction
    return np.concatenate(list(map_chunks(lambda part: ~patterns[part].any(axis=(1, 2)), len(dataset))))


def require_counts(dataset: Dataset) -> int:
    """Read every pattern of a dataset, and return how many of them hold no counts at all.

    Raises
    ------
    InputError : none holds any; a pattern of a file holds NaN, infinite or negative values
    """
    dark = int(dark_patterns(dataset).sum())
    if dark == len(dataset):
        raise InputError(f"diffraction is zero everywhere in all {dark} patterns: was the beam off, or the file cut?")
    return dark
