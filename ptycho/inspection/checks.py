"""Checks of data: one line per problem, with what was found and what to do about it."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.inspection import alternatives, measure, mismatch, pixels
from ptycho.inspection.measure import Patterns, Scan, number
from ptycho.inspection.mismatch import Mismatch, Sample
from ptycho.physics.misfit import BRIGHT_TIMES_ALONE, HALF, NOTICEABLE, OrderTest
from ptycho.physics.patches import extract_patches

WINDOW_MULTIPLE = 8  # the networks halve a pattern three times
LOW_OVERLAP = 0.4  # below, neighbouring windows barely constrain each other
ORDERS = 8  # patterns from which their order can be judged
NARROW = 0.1  # of the probe's diameter; positions that span less are in another unit
WIDE = 10.0  # diameters of the probe from a position to the next; more are in another unit
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
    if cut > CONTAINED and 1 - measure.central_share(np.fft.fftshift(content.probe), 1 - BORDER) < CONTAINED:
        yield (
            "the probe is in the corners of its window, expected in the middle: shift probeGuess by half its side "
            "(numpy.fft.fftshift)"
        )
    elif cut > CONTAINED:
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
    if scan.n_distinct > 1 and scan.span_px < NARROW * scan.diameter_px:
        yield (
            f"positions span {scan.span_px:.3g} px only, but the probe has a diameter of {scan.diameter_px:.3g} px: "
            "are they micrometres or another unit? Convert them to pixels, or state --positions metres, --pixel_size_m"
        )
    elif scan.spacing_px > WIDE * scan.diameter_px:
        yield (
            f"neighbouring positions are {scan.spacing_px:.3g} px apart, but the probe has a diameter of "
            f"{scan.diameter_px:.3g} px: are they nanometres or another unit? Convert them to pixels"
        )
    elif scan.overlap < LOW_OVERLAP:
        yield (
            f"low overlap: {scan.overlap:.2f} (spacing {scan.spacing_px:.3g} px, probe {scan.diameter_px:.3g} px), "
            f"below {LOW_OVERLAP}: scan more densely, or simulate more images of the same object"
        )


def check_patterns(dataset: Dataset, patterns: Patterns, photons: bool) -> Iterable[str]:
    """Check values, intensity and detector; yield one line per problem.

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
    bright = int((patterns.counts > BRIGHT_TIMES_ALONE * np.median(patterns.counts)).sum())
    if bright:
        yield (
            f"{bright} {examined} have more than {BRIGHT_TIMES_ALONE:g} times the median counts: remove them "
            "(overexposed?)"
        )
    full = measure.saturated_share(patterns.brightest)
    if full:
        yield (
            f"saturation suspected: in {100 * full:.0f} % {examined} pixels are limited to {number(patterns.largest)} "
            "counts: attenuate the beam, or mark these pixels (--bad_pixels)"
        )
    dead = measure.dead_pixels(patterns, dataset.bad_pixels) if photons else np.zeros(1, bool)
    if dead.any():
        yield f"{dead.sum()} unmarked pixels are always 0 although their neighbours are not: mark them (--bad_pixels)"


def check_beam(dataset: Dataset, patterns: Patterns) -> Iterable[str]:
    """Check where DC is by the far field of the probe; yield one line at most."""
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


def check_pixels(patterns: Patterns) -> Iterable[str]:
    """Report hot pixels and those at the largest value of the detector's data type; yield one line per kind.

    Parameters
    ----------
    patterns : before these pixels are excluded
    """
    full, value = pixels.at_type_maximum(patterns.mean)
    if full.any():
        yield (
            f"{full.sum()} unmarked pixels are always {value:.0f}, the maximum of an integer type: they are bad or "
            "saturated; mark them (--bad_pixels; --write_mask FILE writes a mask)"
        )
    hot = patterns.hot * ~full
    if hot.any():
        place = np.argwhere(hot)[0]
        yield (
            f"{np.count_nonzero(hot)} isolated hot pixels, in up to {hot.max()} of {patterns.index.size} examined "
            f"patterns (first at row {place[0]}, column {place[1]}; up to {number(patterns.largest)} counts): "
            "mark them (--bad_pixels; --write_mask FILE writes a mask)"
        )


def check_model(dataset: Dataset, model: Mismatch | None, sample: Sample | None, refit: bool = False) -> Iterable[str]:
    """Check how well probe times object explains the patterns, and search for the mistake that explains the rest.

    Parameters
    ----------
    model : of the same dataset, see :func:`ptycho.inspection.mismatch.mismatch`
    sample : of the same dataset, see :func:`ptycho.inspection.mismatch.sample`
    refit : whether the probe's scale is to be ignored, as bad pixels were found after it was fitted
    """
    if model is None or sample is None:
        return
    known = np.isfinite(model.noise)
    if not refit and model.relative > NOTICEABLE * np.nan_to_num(model.noise) and model.fitted < 0.5 * model.relative:
        yield (
            f"probe times object leaves {100 * model.relative:.3g} % of the amplitude unexplained, "
            f"{100 * model.fitted:.3g} % with the probe times {model.factor:.4g}: scale probeGuess by it"
        )
    found = mismatch.compare(sample)
    start = "probe times object does not explain the patterns"
    if found is None:
        yield f"{start}: where one is bright the other is dark; check probe, DC and positions"
        return
    noise = model.noise if known else 0.0
    better = alternatives.better(dataset, sample, noise)
    if better and _order(better[-1].sample).slope > HALF:
        steps = ", and then ".join(f"{100 * step.comparison.relative:.3g} % with {step.name}" for step in better)
        yield (
            f"probe times object leaves {100 * found.relative:.3g} % of the amplitude unexplained, but {steps}: "
            "convert the data accordingly"
        )
    elif len(sample.rows) >= ORDERS:
        yield from _check_order(_order(sample), found.relative, noise)


def _order(sample: Sample) -> OrderTest:
    """Return the comparison of a sample with its patterns in other orders, the probe's scale fitted."""
    found = mismatch.compare(sample)
    return OrderTest.of(sample.expected, sample.patterns * sample.good, 1.0 if found is None else found.factor)


def _check_order(test: OrderTest, relative: float, noise: float) -> Iterable[str]:
    """Report a model that explains the patterns hardly better than patterns in another order; yield one line."""
    start = (
        f"probe times object leaves {100 * relative:.3g} % of the amplitude unexplained, "
        f"{100 * np.sqrt(test.other_residual):.3g} % in a random order"
    )
    verdict = test.verdict(relative, noise)
    if verdict == "unrelated":
        yield (
            f"{start}: the patterns do not belong to their positions; check the order of patterns and positions, and "
            "that the object is of this scan"
        )
    elif verdict == "poor":
        yield (
            f"{start}: it explains less than half of what distinguishes the patterns; check quantity, DC, saturation, "
            "the unit and direction of positions, and that object and probe are of this scan"
        )


def check_patches(dataset: Dataset) -> Iterable[str]:
    """Check that ``Y`` is the object in each window; yield one line."""
    if dataset.object is None or dataset.patches is None or len(dataset) < 2:
        return
    rows = mismatch.sample_rows(dataset)
    given = np.asarray(dataset.patches[rows])
    seen = extract_patches(dataset.object, dataset.xcoords[rows], dataset.ycoords[rows], dataset.window_px)
    light = np.square(np.abs(dataset.probe))
    apart, others = (np.sum(light * np.square(np.abs(seen - other))) for other in (given, np.roll(given, 1, axis=0)))
    if apart > HALF * others > 0:
        yield (
            "Y is not objectGuess at the positions: check both and the positions, or remove Y, which is then computed "
            "from objectGuess"
        )


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
        found += _misplaced(arrays, image.shape, probe.shape[0])
    return tuple(found)


def _misplaced(arrays: Mapping[str, npt.NDArray[Any]], shape: tuple[int, int], window_px: int) -> list[str]:
    """Return the problems of positions whose windows, of N pixels, lie outside of an object of a shape (H, W)."""
    found = []
    sides = {"xcoords": shape[1], "ycoords": shape[0]}
    half = window_px / 2
    values = {key: arrays.get(key, np.zeros(0)) for key in sides}
    for key, side in sides.items():
        outside = int(((values[key] < half - 1) | (values[key] > side - half + 1)).sum())
        if outside:
            found.append(f"{outside} {key} put windows outside objectGuess, expected {half:g} to {side - half:g}")
    if not found or any(array.size < 2 for array in values.values()):
        return found
    span, room = max(float(np.ptp(array)) for array in values.values()), max(shape) - window_px
    if span < HALF * room:
        found.append(
            f"positions span {span:.3g} only, objectGuess has room for {room} pixels: are they micrometres, metres or "
            "from another origin? Convert them to pixels, or state --positions metres and --pixel_size_m"
        )
    elif span > 2 * max(shape):
        found.append(
            f"positions span {span:.4g}, objectGuess has room for {room} pixels: are they nanometres or another unit? "
            "Convert them to pixels"
        )
    swapped = {"xcoords": values["ycoords"], "ycoords": values["xcoords"]}
    if all(half - 1 <= v.min() and v.max() <= sides[key] - half + 1 for key, v in swapped.items()):
        found.append("all windows lie on objectGuess with xcoords and ycoords swapped: swap them")
    return found
