"""Checks of a study's inputs before it runs, and an estimate of its cost."""

import dataclasses
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ptycho.config.schema import StudyConfig
from ptycho.config.test_sets import TestSet, resolved
from ptycho.data.sampling import n_train
from ptycho.errors import InputError
from ptycho.io import files, npz
from ptycho.physics.stitching import evaluated_region
from ptycho.preparation.load import load_scan, read_reconstruction
from ptycho.preparation.masks import mask_record, read_mask
from ptycho.study.data_sets import data_key, foreign_test_sets, needs_iterative

WINDOW_MULTIPLE = 8  # the networks halve a pattern three times
STAGE_JOBS = 7  # pad, transpose, interpolate, smooth, simulate, downsample, split
TRIAL_BYTES = 10e6  # models and reconstructions of a trial
SIMULATED_BYTES_A_PIXEL = 4  # of a pattern whose patches are not stored: float32 diffraction
BYTES_A_PIXEL = 12  # of a pattern on disk: float32 diffraction and complex64 Y


def check_and_estimate(study: StudyConfig) -> str:
    """Check the configured inputs against the configuration and return one line on the cost of the study.

    Raises
    ------
    InputError : a file is missing or damaged, does not fit the configuration, or holds too few images
    """
    window = _prepared_window(study) if not (study.train_data and study.test_data) else 0
    available, source = (
        n_train(study.simulation.n_images, study.preparation.split_fraction),
        "the prepared training data",
    )
    if study.train_data:
        available = _count(study.train_data, window, truth="baseline" in study.arms)
        source = study.train_data
    if study.test_data:
        _count(study.test_data, window, truth=False)
    if study.train_data and study.test_data and _side(study.train_data) != _side(study.test_data):
        raise InputError(
            f"{study.test_data}: patterns of {_side(study.test_data)} px, but {study.train_data} has "
            f"{_side(study.train_data)} px: training and test data must come from one preparation"
        )
    for path in filter(None, (study.train_data, study.test_data)):
        if npz.is_dataset(path):  # the rule import_data reads and checks other files
            load_scan(path)
    if window and study.datasets_dir:
        _check_shared(study)
    _check_masks(study, window)
    _check_sizes(study, available, source)
    side = window_px(study)
    if study.evaluation.crop_px(side) > side:
        raise InputError(
            f"evaluation.stitch_crop_px is {study.evaluation.stitch_crop_px}, expected at most {side}, "
            "the side of the patterns"
        )
    _check_region(study, side)
    for one in resolved(study):
        _check_test_set(one, side)
    for name in filter(study.varies_data, study.variants):
        _check_variant(study, name)
    return _estimate(study, window, side)


def warnings(study: StudyConfig) -> list[str]:
    """Return what the configured data make doubtful, a line each; data that still have to be imported are not read."""
    given = [path for path in dict.fromkeys((study.train_data, study.test_data)) if path and npz.is_dataset(path)]
    lines = [f"{path}: {bad_fit}" for path in given if (bad_fit := npz.read_metadata(path).bad_fit)]
    if bool(study.train_data) != bool(study.test_data):
        present, absent = ("train_data", "test_data") if study.train_data else ("test_data", "train_data")
        lines.append(
            f"{present} is given, {absent} is not: the other half is simulated, from "
            f"{study.input or 'the procedural specimen'}; give both, or input, where both are to show one specimen"
        )
    return lines


def _check_sizes(study: StudyConfig, available: int, source: str) -> None:
    """Refuse more training images than ``source`` will hold."""
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


def _check_variant(study: StudyConfig, name: str) -> None:
    """Refuse a variant whose own data cannot be prepared, hold too few images, or do not fit its test sets."""
    varied = study.variant(name)
    try:
        side = _prepared_window(varied)
        _check_masks(varied, side)
        available = n_train(varied.simulation.n_images, varied.preparation.split_fraction)
        _check_sizes(varied, available, "its prepared training data")
        for one in resolved(dataclasses.replace(varied, test_sets=study.test_sets)):
            _check_test_set(one, side)
    except InputError as error:
        raise InputError(f"variants.{name}: {error}") from None


def _check_test_set(one: TestSet, side: int) -> None:
    """Refuse a test set whose data are of another N than ``side``, or cannot be used."""
    where = f"test_sets.{one.group}"
    if not one.own_data:
        return
    if one.test_data:
        _count(one.test_data, 0, truth=False)
        found, what = _side(one.test_data), one.test_data
        _check_region(dataclasses.replace(one.study, test_data=one.test_data, train_data=None), found)
    else:
        try:
            found, what = _prepared_window(one.study), "it prepares"
            _check_masks(dataclasses.replace(one.study, train_data=None, test_data=None), found)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    if found != side:
        raise InputError(
            f"{where}: {what} patterns of {found} px, but the models are trained on {side} px: crop or pad the "
            "patterns, or leave specimen.window_px as it is"
        )


def _check_region(study: StudyConfig, side: int) -> None:
    """Refuse test data, in the study's format, whose evaluated region is empty."""
    if study.test_data and npz.is_dataset(study.test_data):
        test = load_scan(study.test_data)
        with files.error_context(study.test_data):
            evaluated_region(test.xcoords, test.ycoords, study.evaluation.crop_px(side), test.object_shape)


def _check_masks(study: StudyConfig, window: int) -> None:
    """Refuse masks whose shape is not that of their patterns."""
    simulated = window * study.preparation.crop_factor
    halves = [path for path in (study.train_data, study.test_data) if path]
    for key, path, sides in (
        ("simulation.bad_pixels", study.simulation.bad_pixels, {simulated} - {0}),
        ("measured.bad_pixels", study.measured.bad_pixels, {_side(half) for half in halves}),
    ):
        shape = read_mask(path).shape if path else None
        for side in sides:
            if shape not in (None, (side, side)):
                raise InputError(f"{key}: {path} is a mask of {shape}, but the patterns it masks have {side} x {side}")


def _side(path: str) -> int:
    """Return N of a dataset, from its header."""
    return npz.npz_members(path)["probeGuess"].shape[-1]


def prepared_data(study: StudyConfig, part: str) -> Path:
    """Return the path of the prepared data of a part, ``train`` or ``test``."""
    name = Path(study.input).stem if study.input else "specimen"
    root = Path(study.datasets_dir or Path(study.output_dir) / "datasets")
    return root / f"{name}_prepared" / f"{name}_final_downsampled_data_{part}.npz"


def foreign_data(study: StudyConfig) -> dict[str, str]:
    """Return the configured ``train`` and ``test`` data that are not in the study's format, so must be imported.

    Raises
    ------
    InputError : a configured file is missing or damaged
    """
    given = {"train": study.train_data, "test": study.test_data}
    return {half: path for half, path in given.items() if path and not npz.is_dataset(path)}


def _check_shared(study: StudyConfig) -> None:
    """Refuse shared data that were prepared with other parameters: preparing them anew would affect other studies."""
    path = prepared_data(study, "train")
    if not path.exists():
        return
    found = {step.step: step.parameters for step in load_scan(path).metadata.steps}
    for step, parameters in _recipe(study).items():
        for key, value in parameters.items():
            before = found.get(step, {}).get(key)
            if before != value:
                raise InputError(
                    f"{path}: made with {step} {key} {before}, but this study has {value}; other studies may need it "
                    "as it is: give this study another datasets_dir"
                )


def _recipe(study: StudyConfig) -> dict[str, dict[str, Any]]:
    """Return the parameters of each preparation step, as the history in the metadata has them."""
    simulation, preparation = study.simulation, study.preparation
    bad_pixels = None if simulation.bad_pixels is None else mask_record(simulation.bad_pixels)
    return {
        "specimen": {} if study.input else {**asdict(study.specimen), "seed": study.seed},
        "pad_to_even": {"input_sha256": files.sha256(study.input)} if study.input else {},
        "interpolate": {"zoom_factor": preparation.zoom_factor},
        "smooth": {"target": "object", "sigma_px": preparation.smooth_object_sigma},
        "simulate": {**asdict(simulation), "bad_pixels": bad_pixels, "seed": study.seed},
        "downsample": {"crop_factor": preparation.crop_factor, "method": preparation.downsample_method},
        "split": {
            "fraction": preparation.split_fraction,
            "axis": preparation.split_axis,
            "gap_px": preparation.split_gap_px,
        },
    }


def window_px(study: StudyConfig) -> int:
    """Return N, the side of the study's patterns, pixels; InputError where they cannot be prepared or read."""
    measured = study.train_data and study.test_data
    return _side(str(study.test_data)) if measured else _prepared_window(study)


def _prepared_window(study: StudyConfig) -> int:
    """Return N of the prepared data."""
    if study.input is None:
        probe = study.specimen.window_px
        if study.specimen.size_px < 2 * probe:
            raise InputError(
                f"specimen.size_px is {study.specimen.size_px}, expected at least {2 * probe}: two windows side by side"
            )
    else:
        probe = read_reconstruction(study.input).probe.shape[0]
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


def _count(path: str, window: int, *, truth: bool) -> int:
    """Return the number of patterns of a dataset; ``window`` is the N it must have, 0 for any."""
    members = npz.npz_members(path)
    patterns = next((members[key] for key in ("diffraction", "diff3d") if key in members), None)
    missing = [key for key in ("xcoords", "ycoords", "probeGuess") if key not in members]
    missing += [] if patterns else ["diffraction"]
    if missing or patterns is None:
        raise InputError(f"{path}: {', '.join(missing)} missing; the file holds {', '.join(sorted(members))}")
    if truth and not members.keys() & {"Y", "objectGuess"}:
        raise InputError(
            f"{path}: neither Y nor objectGuess: the baseline has nothing to learn from; train PtychoPINN alone with "
            "arms: [pinn], or add the object to the file"
        )
    side = members["probeGuess"].shape[-1] if members["probeGuess"].shape else 0
    if side % WINDOW_MULTIPLE:
        raise InputError(f"{path}: patterns of {side} px, expected a multiple of {WINDOW_MULTIPLE}: crop or pad them")
    if window and side != window:
        raise InputError(f"{path}: patterns of {side} px, but the other half is prepared with {window} px")
    return math.prod(members["xcoords"].shape)


def _estimate(study: StudyConfig, window: int, side: int) -> str:
    trials = len(study.train_sizes) * study.num_trials
    trained = _trained(study)
    epochs = [study.training.epochs] * len(trained)  # of each model that is trained
    for name in study.variants:
        varied = [arm for arm in study.varied_arms(name) if arm in ("pinn", "baseline")]
        epochs += [study.variant(name).training.epochs] * len(varied)
    trainings = trials * len(epochs)
    sets = resolved(study)
    jobs_a_trial = trainings // trials + ("refined" in study.arms) + 1 + (len(study.variants) + 1) * bool(sets)
    stages = STAGE_JOBS + (study.input is None) if window else 0
    images = study.simulation.n_images if window else 0
    final = images * window**2 * BYTES_A_PIXEL
    passing = final + images * (window * study.preparation.crop_factor) ** 2 * SIMULATED_BYTES_A_PIXEL
    kept, peak = float(final), float(final + passing)
    if study.preparation.keep_stages:
        kept = peak
    foreign = foreign_data(study)
    imported = sum(_imported_bytes(path) for path in foreign.values())
    kept, peak = kept + imported, peak + imported
    prepared = {data_key(one.study, study): one.study for one in sets if one.own_data and not one.test_data}
    prepared.pop("", None)
    halves = sum(one.simulation.n_images * (1 - one.preparation.split_fraction) for one in prepared.values())
    further = {data_key(one, study): one for one in map(study.variant, filter(study.varies_data, study.variants))}
    halves += sum(one.simulation.n_images for one in further.values())
    prepared |= further
    simulated = images + sum(one.simulation.n_images for one in prepared.values())
    kept += halves * side**2 * BYTES_A_PIXEL
    peak += halves * side**2 * BYTES_A_PIXEL
    set_jobs = len(prepared) + len(foreign_test_sets(study)) + bool(sets)
    set_jobs += len(further) * ("iterative" in study.arms) + sum(needs_iterative(one, study) for one in sets)
    per_trial = TRIAL_BYTES * (1 + len(sets) / 3)
    jobs = f"about {stages + len(foreign) + set_jobs + trials * jobs_a_trial + len(study.train_sizes) + 10} jobs"
    passes = sum(epochs) * study.num_trials * sum(study.train_sizes)
    return (
        f"study: {study.output_dir}: {jobs}, {trainings} trainings ({passes:,} patterns through the networks), "
        f"{simulated:,} images to simulate, "
        + (f"{len(sets)} test sets, " if sets else "")
        + f"{_size(kept + trials * per_trial)} on disk (up to {_size(peak + trials * per_trial)} on the way)"
    )


def _imported_bytes(path: str) -> int:
    """Return the size of a scan once it is imported: float32 patterns, and complex64 ``Y`` where the file holds it."""
    members = npz.npz_members(path)
    pixels = math.prod(members["xcoords"].shape) * _side(path) ** 2
    return pixels * (BYTES_A_PIXEL if "Y" in members else SIMULATED_BYTES_A_PIXEL)


def _trained(study: StudyConfig) -> set[str]:
    """Return the models that are trained: ``refined`` starts from PtychoPINN's object."""
    return {"pinn" if arm == "refined" else arm for arm in study.arms if arm != "iterative"}


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
