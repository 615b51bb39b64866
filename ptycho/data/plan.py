"""Before a study runs: can it, and what will it cost?"""

import math

from ptycho.config import StudyConfig
from ptycho.data import store
from ptycho.errors import InputError

WINDOW_MULTIPLE = 8  # the networks halve a pattern three times
STAGE_JOBS = 7  # pad, transpose, interpolate, smooth, simulate, downsample, split
TRIAL_BYTES = 10e6  # models and reconstructions of a trial
BYTES_A_PIXEL = 12  # of a pattern on disk: float32 diffraction and complex64 Y


def check_and_estimate(study: StudyConfig) -> str:
    """Check the configured inputs against the configuration and return one line on the cost of the study.

    Raises
    ------
    InputError : a file is missing or damaged, or fewer images than the largest size will be there
    """
    window = _prepared_window(study) if not (study.train_data and study.test_data) else 0
    available, source = study.n_train_images, "the prepared training data"
    if study.train_data:
        available, source = (
            _count(study.train_data, window, "Y" if "baseline" in study.arms else None),
            study.train_data,
        )
    if study.test_data:
        _count(study.test_data, window, "objectGuess")
    largest = max(study.train_sizes)
    if largest > available:
        remedy = ""
        if not study.train_data:
            needed = math.ceil(largest / study.preparation.split_fraction)
            remedy = f"raise simulation.n_images to at least {needed}, or "
        raise InputError(
            f"Not enough training images: requested {largest}, but {source} will hold {available}: "
            f"{remedy}drop {largest} from train_sizes"
        )
    if window and study.evaluation.stitch_crop_px > window:
        raise InputError(
            f"evaluation.stitch_crop_px is {study.evaluation.stitch_crop_px}, expected at most {window}, "
            "the side of the patterns"
        )
    return _estimate(study, window)


def _prepared_window(study: StudyConfig) -> int:
    """Return N of the prepared data."""
    if study.input is None:
        probe = study.specimen.window_px
        if study.specimen.size_px < 2 * probe:
            raise InputError(
                f"specimen.size_px is {study.specimen.size_px}, expected at least {2 * probe}: two windows side by side"
            )
    else:
        probe = store.read_reconstruction(study.input).probe.shape[0]
        probe += probe % 2
    zoomed = probe * study.preparation.zoom_factor
    window = zoomed / study.preparation.crop_factor
    if zoomed % (2 * study.preparation.crop_factor) or window % WINDOW_MULTIPLE:
        raise InputError(
            f"a probe of {probe} px, zoomed by {study.preparation.zoom_factor:g} and cropped by "
            f"{study.preparation.crop_factor}, gives patterns of {window:g} px: expected a multiple of "
            f"{WINDOW_MULTIPLE}; change preparation.zoom_factor or the probe's size"
        )
    return int(window)


def _count(path: str, window: int, truth: str | None) -> int:
    """Return the number of patterns of a dataset; ``window`` is the N it must have, 0 for any."""
    shapes = store.npz_shapes(path)
    wanted = ["diffraction", "xcoords", "ycoords", "probeGuess", *([truth] if truth else [])]
    missing = [key for key in wanted if key not in shapes]
    if missing:
        raise InputError(f"{path}: {', '.join(missing)} missing; the file holds {', '.join(sorted(shapes))}")
    found = shapes["diffraction"]
    if window and found[-1] != window:
        raise InputError(f"{path}: patterns of {found[-1]} px, but the other half is prepared with {window} px")
    return found[0]


def _estimate(study: StudyConfig, window: int) -> str:
    trials = len(study.train_sizes) * study.num_trials
    trainings = trials * len(study.arms)
    stages = STAGE_JOBS + (study.input is None) if window else 0
    images = study.simulation.n_images if window else 0
    final = images * window**2 * BYTES_A_PIXEL
    passing = final * (1 + study.preparation.crop_factor**2)
    kept, peak = final, final + passing
    if study.preparation.keep_stages:
        kept = peak
    jobs = f"about {stages + trainings + trials + len(study.train_sizes) + 20} jobs"
    passes = study.training.epochs * len(study.arms) * study.num_trials * sum(study.train_sizes)
    return (
        f"study: {study.output_dir}: {jobs}, {trainings} trainings ({passes:,} patterns through the networks), "
        f"{images:,} images to simulate, "
        f"{_size(kept + trials * TRIAL_BYTES)} on disk (up to {_size(peak + trials * TRIAL_BYTES)} on the way)"
    )


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
