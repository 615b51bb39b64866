"""What may go wrong with data: one line a problem, what was found and what to do about it."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.inspection import measure
from ptycho.inspection.measure import Mismatch, Patterns, Scan, number

WINDOW_MULTIPLE = 8  # the networks halve a pattern three times
LOW_OVERLAP = 0.4  # below, neighbouring windows hardly constrain each other
HIGH_MISMATCH = 0.2  # of the amplitude: what an honest scan and its reconstruction stay below
FEW_PHOTONS = 1e3  # a pattern; below, shot noise hides most of it
CONTAINED = 0.02  # share of the probe's energy near the window's border from which it is cut off
BORDER = 1 / 8  # of the window's side, both borders together
DIM = 0.1  # of the median counts, below which a pattern is called dark


def check_windows(content: Dataset | Reconstruction) -> Iterable[str]:
    """Judge sizes, and whether the window holds the probe."""
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
            f"a window of {side} pixels is no multiple of {WINDOW_MULTIPLE}, which the networks need: crop the "
            f"detector to {lower} about the beam, or pad it to {lower + WINDOW_MULTIPLE} with bad pixels"
        )
    cut = 1 - measure.central_share(content.probe, 1 - BORDER)
    if cut > CONTAINED:
        remedy = "" if isinstance(content, Dataset) else ", or prepare_data_tool.py --apodize --target probe"
        yield (
            f"the probe is not contained: {100 * cut:.2g} % of its energy lies within N/{2 / BORDER:.0f} of the "
            f"window's border, where it wraps around; take a larger window{remedy}"
        )


def check_scan(scan: Scan) -> Iterable[str]:
    """Judge where the positions are and how close."""
    if scan.outside:
        yield (
            f"{scan.outside} of {scan.n_positions} windows leave objectGuess by more than a pixel: check that "
            "positions are its pixels, x along columns, or leave these out"
        )
    if scan.n_distinct < scan.n_positions:
        yield (
            f"{scan.n_positions - scan.n_distinct} positions are taken again (within {measure.SAME_PX} px): average "
            "their patterns, so that none is in training and test"
        )
    if scan.overlap < LOW_OVERLAP:
        yield (
            f"low overlap: {scan.overlap:.2f} (spacing {scan.spacing_px:.3g} px, probe {scan.diameter_px:.3g} px), "
            f"below {LOW_OVERLAP}: scan more densely, or simulate more images of the same object"
        )


def check_patterns(dataset: Dataset, patterns: Patterns, photons: bool) -> Iterable[str]:
    """Judge values, light, detector and beam; ``photons`` tells whether counts are photons."""
    looked = f"of {patterns.index.size} patterns looked at"
    if not patterns.largest > 0:
        yield f"no light: all {looked} hold nothing; check that these are the patterns, and the mask of bad pixels"
        return
    for count, what in ((patterns.not_finite, "NaN or infinite"), (patterns.negative, "negative")):
        if count:
            yield f"{count} {looked} hold {what} values: set them to 0 and mark their pixels (--bad_pixels)"
    if not photons:
        yield (
            "the unit of the counts is unknown, so noise and the likelihood of PtychoPINN have no scale: state "
            "--quantity counts, or counts_scale in the metadata"
        )
    elif patterns.counts.mean() < FEW_PHOTONS:
        yield f"few photons: {number(patterns.counts.mean())} a pattern, below {FEW_PHOTONS:g}: expose longer, or bin"
    dim = int((patterns.counts < DIM * np.median(patterns.counts)).sum())
    if dim:
        yield f"{dim} {looked} hold less than {100 * DIM:.0f} % of the median light: leave them out (beam lost?)"
    full = measure.saturated_share(patterns.brightest)
    if full:
        yield (
            f"saturation suspected: in {100 * full:.0f} % {looked} pixels stop at the same {number(patterns.largest)} "
            "counts: attenuate the beam, or mark these pixels (--bad_pixels)"
        )
    dead = measure.dead_pixels(patterns, dataset.bad_pixels) if photons else np.zeros(1, bool)
    if dead.any():
        yield f"{dead.sum()} unmarked pixels never count though their neighbours do: mark them (--bad_pixels)"
    yield from _check_beam(dataset, patterns)


def _check_beam(dataset: Dataset, patterns: Patterns) -> Iterable[str]:
    shift, half = measure.beam_shift(patterns.mean, dataset.probe), dataset.window_px // 2
    if min(abs(part) for part in shift) >= 0.75 * half:
        yield (
            "DC is in the corner of the patterns: shift them by half their side (numpy.fft.fftshift), or state "
            "--dc corner where the file does not say"
        )
    elif max(abs(part) for part in shift) > max(2, half // 32):
        yield (
            f"the patterns lie {shift[0]} rows and {shift[1]} columns beside the far field of the probe: DC belongs at "
            f"[{half}, {half}]; crop them again about the beam, or check the probe"
        )


def check_model(dataset: Dataset, model: Mismatch | None) -> Iterable[str]:
    """Judge how well probe times object explains the patterns, and look for the convention that would."""
    if model is None or model.relative <= HIGH_MISMATCH or model.relative < 1.5 * model.noise:
        return
    start = f"probe times object leaves {100 * model.relative:.3g} % of the amplitude unexplained"
    if model.fitted < 0.5 * model.relative:
        yield f"{start}, {100 * model.fitted:.3g} % were the probe scaled by {model.factor:.4g}: scale probeGuess by it"
        return
    fits = measure.conventions(dataset)
    best = min(fits, key=lambda name: fits[name], default="")
    if best and fits[best] < 0.5 * model.fitted:
        yield f"{start}, but {100 * fits[best]:.3g} % with {best}: convert the data so"
    else:
        yield f"{start}: check quantity, DC, saturation, which way positions run, and that the object is this scan's"


def check_truth(dataset: Dataset) -> Iterable[str]:
    """Say what is impossible without the truth."""
    if dataset.object is None and dataset.patches is None:
        yield (
            "no objectGuess: the baseline cannot train and errors cannot be measured, as both need the truth; add a "
            "reconstruction as objectGuess, or study PtychoPINN alone (arms: [pinn])"
        )
    elif dataset.object is None:
        yield "no objectGuess: the baseline can train on Y, but errors cannot be measured; add the whole object"


def check_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[str, ...]:
    """Return what is wrong with arrays under the study's names that cannot be read as data; positions in pixels."""
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
        found.append(f"{counts['xcoords']} xcoords and {counts['ycoords']} ycoords: one of each a pattern is needed")
    image, probe = arrays.get("objectGuess"), arrays.get("probeGuess")
    if image is not None and probe is not None and image.ndim == probe.ndim == 2:
        half = probe.shape[0] / 2
        for key, side in (("xcoords", image.shape[1]), ("ycoords", image.shape[0])):
            values = arrays.get(key, np.zeros(0))
            outside = int(((values < half - 1) | (values > side - half + 1)).sum())
            if outside:
                found.append(f"{outside} {key} put windows outside of objectGuess, {half:g} to {side - half:g} fit")
    return tuple(found)
