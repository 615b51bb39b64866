"""Checks of data: one line per problem, with what was found and what to do about it."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.inspection import measure, mismatch
from ptycho.inspection.measure import Patterns, Scan, number
from ptycho.inspection.mismatch import Mismatch

WINDOW_MULTIPLE = 8  # the networks halve a pattern three times
LOW_OVERLAP = 0.4  # below, neighbouring windows barely constrain each other
HIGH_MISMATCH = 0.2  # of the amplitude; sound scans and their reconstructions are below
FEW_PHOTONS = 1e3  # per pattern; below, shot noise dominates
CONTAINED = 0.02  # fraction of the probe's energy near the window's border above which it counts as cut off
BORDER = 1 / 8  # of the window's side, both borders together
DIM = 0.1  # of the median counts; patterns below are reported as dark


def check_windows(content: Dataset | Reconstruction) -> Iterable[str]:
    """Check sizes, and whether the window contains the probe; yield one line per problem."""
    side = content.probe.shape[0]
    sides = {"probeGuess": content.probe.shape}
    if isinstance(content, Reconstruction):
        sides["objectGuess"] = content.object.shape
    odd = [f"{name} {shape[0]} x {shape[1]}" for name, shape in sides.items() if any(n % 2 for n in shape)]
    if odd:
        remedy = "crop the patterns to an even side" if isinstance(content, Dataset) else "run pad_to_even_tool.py"
        yield f"odd sizes: {', '.join(odd)}; {remedy}"
    if side % WINDOW_MULTIPLE:
        lower = side // WINDOW_MULTIPLE * WINDOW_MULTIPLE
        yield (
            f"a window of {side} pixels is no multiple of {WINDOW_MULTIPLE}, which the networks require: crop the "
            f"detector to {lower} around the beam, or pad it to {lower + WINDOW_MULTIPLE} with bad pixels"
        )
    cut = 1 - measure.central_share(content.probe, 1 - BORDER)
    if cut > CONTAINED:
        remedy = "" if isinstance(content, Dataset) else ", or prepare_data_tool.py --apodize --target probe"
        yield (
            f"the probe is not contained: {100 * cut:.2g} % of its energy lies within N/{2 / BORDER:.0f} of the "
            f"window's border, where it wraps around; use a larger window{remedy}"
        )


def check_scan(scan: Scan) -> Iterable[str]:
    """Check that windows lie on the object, and that positions are distinct and overlap; yield one line per problem."""
    if scan.outside:
        yield (
            f"{scan.outside} of {scan.n_positions} windows extend beyond objectGuess by more than a pixel: check that "
            "positions are its pixels, x along columns, or remove these"
        )
    if scan.n_distinct < scan.n_positions:
        yield (
            f"{scan.n_positions - scan.n_distinct} positions are repeated (within {measure.SAME_PX} px): average "
            "their patterns, so that none is in both training and test data"
        )
    if scan.overlap < LOW_OVERLAP:
        yield (
            f"low overlap: {scan.overlap:.2f} (spacing {scan.spacing_px:.3g} px, probe {scan.diameter_px:.3g} px), "
            f"below {LOW_OVERLAP}: scan more densely, or simulate more images of the same object"
        )


def check_patterns(dataset: Dataset, patterns: Patterns, photons: bool) -> Iterable[str]:
    """Check values, intensity, detector and beam; yield one line per problem.

    Parameters
    ----------
    patterns : of the same dataset, see :func:`ptycho.inspection.measure.survey_patterns`
    photons : whether counts are photons, see :func:`ptycho.inspection.measure.in_photons`
    """
    examined = f"of {patterns.index.size} examined patterns"
    if not patterns.largest > 0:
        yield f"no light: all {examined} are 0; check that these are the patterns, and the mask of bad pixels"
        return
    for count, what in ((patterns.not_finite, "NaN or infinite"), (patterns.negative, "negative")):
        if count:
            yield f"{count} {examined} hold {what} values: set them to 0 and mark their pixels (--bad_pixels)"
    if not photons:
        yield (
            "the unit of the counts is unknown, so noise and the likelihood of PtychoPINN have no scale: state "
            "--quantity counts, or counts_scale in the metadata"
        )
    elif patterns.counts.mean() < FEW_PHOTONS:
        yield f"few photons: {number(patterns.counts.mean())} per pattern, below {FEW_PHOTONS:g}: expose longer, or bin"
    dim = int((patterns.counts < DIM * np.median(patterns.counts)).sum())
    if dim:
        yield f"{dim} {examined} have less than {100 * DIM:.0f} % of the median counts: remove them (beam lost?)"
    full = measure.saturated_share(patterns.brightest)
    if full:
        yield (
            f"saturation suspected: in {100 * full:.0f} % {examined} pixels are limited to {number(patterns.largest)} "
            "counts: attenuate the beam, or mark these pixels (--bad_pixels)"
        )
    dead = measure.dead_pixels(patterns, dataset.bad_pixels) if photons else np.zeros(1, bool)
    if dead.any():
        yield f"{dead.sum()} unmarked pixels are always 0 although their neighbours are not: mark them (--bad_pixels)"
    yield from _check_beam(dataset, patterns)


def _check_beam(dataset: Dataset, patterns: Patterns) -> Iterable[str]:
    shift, half = measure.beam_shift(patterns.mean, dataset.probe), dataset.window_px // 2
    if min(abs(part) for part in shift) >= 0.75 * half:
        yield (
            "DC is in the corner of the patterns: shift them by half their side (numpy.fft.fftshift), or state "
            "--dc corner where the file does not"
        )
    elif max(abs(part) for part in shift) > max(2, half // 32):
        yield (
            f"the patterns are shifted by {shift[0]} rows and {shift[1]} columns from the probe's far field: DC is "
            f"expected at [{half}, {half}]; crop them again around the beam, or check the probe"
        )


def check_model(dataset: Dataset, model: Mismatch | None) -> Iterable[str]:
    """Check how well probe times object explains the patterns, and search for a convention that does.

    Parameters
    ----------
    model : of the same dataset, see :func:`ptycho.inspection.mismatch.mismatch`
    """
    if model is None or model.relative <= HIGH_MISMATCH or model.relative < 1.5 * model.noise:
        return
    start = f"probe times object leaves {100 * model.relative:.3g} % of the amplitude unexplained"
    if model.fitted < 0.5 * model.relative:
        yield f"{start}, {100 * model.fitted:.3g} % with the probe times {model.factor:.4g}: scale probeGuess by it"
        return
    fits = mismatch.conventions(dataset)
    best = min(fits, key=lambda name: fits[name], default="")
    if best and fits[best] < 0.5 * model.fitted:
        yield f"{start}, but {100 * fits[best]:.3g} % with {best}: convert the data accordingly"
    else:
        yield f"{start}: check quantity, DC, saturation, direction of positions, and that the object is of this scan"


def check_truth(dataset: Dataset) -> Iterable[str]:
    """Report what is impossible without the object; yield one line."""
    if dataset.object is None and dataset.patches is None:
        yield (
            "no objectGuess: the baseline cannot train and errors cannot be measured, as both need the truth; add a "
            "reconstruction as objectGuess, or study PtychoPINN alone (arms: [pinn])"
        )
    elif dataset.object is None:
        yield "no objectGuess: the baseline can train on Y, but errors cannot be measured; add the whole object"


def check_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[str, ...]:
    """Return the problems of arrays, under the study's names and positions in pixels, that are refused as data."""
    found = []
    for key, array in arrays.items():
        if array.dtype.kind in "fc" and (broken := int((~np.isfinite(array)).sum())):
            found.append(f"{key} holds {broken} NaN or infinite values: replace them; in patterns, mark them as bad")
        if key == "diffraction" and array.dtype.kind in "if" and (negative := int((array < 0).sum())):
            found.append(f"{key} holds {negative} negative values: set them to 0 and mark their pixels (--bad_pixels)")
        if key in ("objectGuess", "probeGuess") and any(side % 2 for side in array.shape):
            found.append(f"{key} has odd sides, {array.shape}: run pad_to_even_tool.py")
    counts = {key: arrays[key].size for key in ("xcoords", "ycoords") if key in arrays}
    if len(set(counts.values())) > 1:
        found.append(f"{counts['xcoords']} xcoords and {counts['ycoords']} ycoords: one of each per pattern is needed")
    image, probe = arrays.get("objectGuess"), arrays.get("probeGuess")
    if image is not None and probe is not None and image.ndim == probe.ndim == 2:
        half = probe.shape[0] / 2
        for key, side in (("xcoords", image.shape[1]), ("ycoords", image.shape[0])):
            values = arrays.get(key, np.zeros(0))
            outside = int(((values < half - 1) | (values > side - half + 1)).sum())
            if outside:
                found.append(f"{outside} {key} put windows outside objectGuess, expected {half:g} to {side - half:g}")
    return tuple(found)
