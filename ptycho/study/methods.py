"""The sections of the summary that follow from the configuration: data, methods, and all keys."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ptycho.results.schema import models
from ptycho.study.markdown import listed, table
from ptycho.study.tables import unscored

SCORED = (
    "registered to the ground truth within bounds and their amplitude scaled by the ratio of means. Mean and "
    "least-squares plane of the phase difference, which ptychography leaves undetermined, were removed, as were those "
    "of the ground truth's own phase. All metrics are computed over the pixels that the test scan covers. PSNR takes "
    "the range of the ground truth there as its peak. FRC50 is the first ring at which the Fourier ring correlation, "
    "smoothed over five rings, falls to 0.5; the search starts at the ring whose period is one diffraction window. "
    "Every trial counts, whatever its status. Differences are those of the two models within each trial: "
    "Hodges-Lehmann estimates with the exact 95 % interval of Wilcoxon's signed-rank test at each size, and their mean "
    "over the sizes with a BCa bootstrap interval. p-values are two-sided: the signed-rank test at each size, a "
    "sign-flip permutation test stratified by size over all sizes, and both after Holm's correction for the "
    "comparisons of a table."
)
SCORED_BEFORE = (
    "and scored by another version of this software, or by other software, whose definitions of the metrics may differ."
)
UNSCORED = (
    "and mean and least-squares plane of their phase removed. The figures show the region that the test scan covers, "
    "without registration or scaling of the amplitude."
)

AUGMENTATION = {
    "augmentation_ratio": "rotated and mirrored patterns of the training object",
    "synthetic_augmentation_ratio": "patterns of random objects with the tones of the training object",
}


def data_section(config: Mapping[str, Any]) -> str:
    """Return the table on the data of a study."""
    flat = flat_config(config)
    names = {
        "input": "reconstruction (null: the procedural specimen)",
        "train_data": "training data, where it replaces the prepared one",
        "test_data": "test data, where it replaces the prepared one",
        "train_sizes": "training images compared",
        "num_trials": "trials of each size",
        "simulation.n_images": "patterns simulated",
        "simulation.n_photons": "mean photons of a pattern",
        "preparation.split_axis": "axis of the split into training and test",
    }
    measured = [key for key in ("train_data", "test_data") if flat.get(key, "null") != "null"]
    if len(measured) == 2:  # then nothing was prepared
        names = {key: text for key, text in names.items() if not key.startswith(("input", "simulation", "preparation"))}
    if measured:
        names |= {f"measured.{key}": f"measured data: {key}" for key in ("quantity", "dc", "positions", "bad_pixels")}
    return table(["", ""], [(text, flat[key]) for key, text in names.items() if key in flat]) or "Not given."


def methods_section(config: Mapping[str, Any], trials_wide: pd.DataFrame) -> str:
    """Return how the study was made and scored."""
    if not config:
        return "The study came without its configuration: how it was made and scored is unknown."
    flat = flat_config(config)
    trials = trials_wide.groupby("train_size")["trial"].nunique()
    sizes = ", ".join(str(size) for size in trials.index)
    names = listed([model.label for model in models(trials_wide).values()])
    epochs = f" for {flat['training.epochs']} epochs" if "training.epochs" in flat else ""
    further = _augmentation(flat) + _variants(config)
    seed = f" All seeds derive from {flat['seed']}." if "seed" in flat else ""
    count = f"{trials.min()}" if trials.min() == trials.max() else f"{trials.min()} to {trials.max()}"
    treatment = UNSCORED if unscored(trials_wide) else SCORED if "covered_share" in trials_wide else SCORED_BEFORE
    verb = "was trained" if trials_wide["model_type"].nunique() == 1 else "were compared"
    return (
        f"{names} {verb} on {sizes} training images (diffraction patterns), with {count} trials for each "
        f"size. The models of a trial train on the same images{epochs}, and the images of a size include "
        f"those of the smaller sizes.{further}{seed} Reconstructions were stitched, {treatment}"
    )


def _variants(config: Mapping[str, Any]) -> str:
    """Return a sentence on the settings in which the variants differ from the study."""
    told = [f"{name} has {listed([f'{key} {value}' for key, value in flat_config(keys).items()])}"
            for name, keys in config.get("variants", {}).items()]  # fmt: skip
    return f" Of the variants, {'; '.join(told)}." if told else ""


def _augmentation(flat: Mapping[str, str]) -> str:
    """Return a sentence on the data augmentation with which both models train."""
    ratios = [(flat.get(f"training.{key}", "0"), words) for key, words in AUGMENTATION.items()]
    parts = [f"{ratio} {words}" for ratio, words in ratios if float(ratio)]
    if not parts:
        return ""
    return (
        f" Both models train with data augmentation: for each measured pattern {' and '.join(parts)}. The baseline "
        "takes the training object from its ground-truth patches, PtychoPINN from phase retrieval on its own patterns."
    )


def flat_config(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a nested configuration with dotted keys and its values as text."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flat_config(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            flat[prefix + key] = ", ".join(map(str, value))
        elif isinstance(value, float) and float(f"{value:g}") == value:
            flat[prefix + key] = f"{value:g}"
        else:
            flat[prefix + key] = "null" if value is None else str(value)
    return flat


def used_config(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the flat configuration without the specimen where the study has data of its own."""
    own = config.get("input") or (config.get("train_data") and config.get("test_data"))
    return {key: text for key, text in flat_config(config).items() if not (own and key.startswith("specimen."))}
