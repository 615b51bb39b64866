"""Numbers to Markdown: the report of a study, written from its tables alone, whoever wins."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ptycho.results.schema import FAILURES, PARTS, describe, model_label, ordered_models
from ptycho.study.statistics import DIFFERENCE, EFFICIENCY, ENOUGH, MIN_PAIRS, NOT_RESOLVED, SMALL_GAIN_DB
from ptycho.study.tables import Trial, metric_parts, missing_trials, models_without_result, unscored

REPORTED = ("rmse", "psnr", "ssim", "mae", "frc50")

COVERED_ENOUGH = 0.99  # share of the evaluated region

SCORED = (
    "registered to the truth within bounds, their amplitude scaled by the ratio of means, and mean and least-squares "
    "plane of the phase difference removed, as were those of the truth's own phase, which ptychography leaves free; "
    "all metrics are of the pixels that the test scan covers. PSNR takes the range of the truth there as its peak. "
    "FRC50 is the ring at which the Fourier ring correlation, smoothed over five rings, first falls to 0.5, from the "
    "ring of the period of one diffraction window on. "
    "Every trial counts, whatever its status. Intervals are 95 % percentile bootstrap intervals of the median; of a "
    "handful of trials they are about the range. p-values are of the two-sided Wilcoxon signed-rank test on the paired "
    "differences."
)
SCORED_BEFORE = (
    "and scored by another version of this software, or by another one, whose definitions of the metrics may differ."
)
UNSCORED = (
    "and mean and least-squares plane of their phase removed; shown is the region that the test scan covers, with no "
    "registration and amplitudes as they came."
)

MADE_IMAGES = {
    "turned_images": "made images of windows of the training area, turned and mirrored",
    "synthetic_images": "made images of random objects of the area's tones",
}

CITATION = """```bibtex
@misc{ptychopinn_generalization_study,
    title={PtychoPINN Model Generalization Study Framework},
    author={[Your Name]},
    year={2025},
    note={Available at: https://github.com/your-repo/PtychoPINN}
}
```"""


def study_summary(
    config: Mapping[str, Any],
    results: pd.DataFrame,
    statistics: pd.DataFrame,
    trials_wide: pd.DataFrame,
    expected_trials: Collection[Trial],
    facts: Mapping[str, str],
    warnings: Sequence[str] = (),
    times: pd.DataFrame | None = None,
) -> str:
    """Write STUDY_SUMMARY.md.

    Parameters
    ----------
    config : the resolved configuration, sections nested; keys that it lacks are not spoken of
    results, trials_wide : as :mod:`ptycho.study.tables` makes them
    statistics : as :func:`ptycho.study.statistics.study_statistics` makes it
    expected_trials : (size, trial) that were configured; missing ones are named
    facts : hardware, versions, commit, times: what to state, by name
    warnings : further ones, a line each
    times : as :func:`ptycho.study.tables.times` makes it

    Returns
    -------
    str : Markdown
    """
    models = _listed([model_label(kind) for kind in ordered_models(trials_wide["model_type"])])
    sections = {
        "Findings": findings(statistics, trials_wide),
        "Results": _results_section(results, trials_wide),
        "Time to an answer": _times_section(times),
        "Warnings": _bullets([*study_warnings(results, trials_wide, expected_trials), *warnings]) or "None.",
        "Data": _data(config),
        "Hardware and versions": _table(["", ""], facts.items()) if facts else "Not recorded.",
        "Methods": _methods(config, trials_wide),
        "Configuration": _table(["key", "value"], _flat(config).items()) if config else "Not given.",
        "Citation": f"Fill in the name and the address before use.\n\n{CITATION}",
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"# Generalization study: {models}\n\n{body}\n"


# findings --------------------------------------------------------------------------------------------------


def findings(statistics: pd.DataFrame, trials_wide: pd.DataFrame) -> str:
    """Return what the paired differences show, then how each model changes with the training images."""
    if unscored(trials_wide):
        return "The test data holds no ground truth, so nothing is scored: see the pictures in `train_*`."
    paired = statistics[(statistics["quantity"] == DIFFERENCE) & statistics["metric"].isin(REPORTED)]
    trends = _bullets(_trends(statistics))
    if paired.empty:
        return f"PtychoPINN and Baseline were not both run, so there is no comparison between them.\n\n{trends}"
    counts = paired["verdict"].value_counts().to_dict()
    tally = ", ".join(f"{verdict} in {n}" for verdict, n in counts.items())
    sizes = sorted(set(paired["train_size"]))
    heads = ["", *(f"{size} images" for size in sizes)]
    rows = [
        [describe(str(metric)).axis_label(str(part)), *(_difference(group, size) for size in sizes)]
        for (metric, part), group in paired.groupby(["metric", "part"], sort=False)
    ]
    return (
        f"Of {len(paired)} comparisons ({len(rows)} quantities at {len(sizes)} sizes): {tally}.\n\n"
        "Median of the differences PtychoPINN - Baseline within each trial, with its 95 % interval, p-value "
        f"and number of pairs:\n\n{_table(heads, rows)}\n\n"
        f"*{NOT_RESOLVED}*: the trials do not tell the models apart. *Ahead in every trial*: with "
        f"{MIN_PAIRS} pairs p cannot fall below 0.0625, so this is as much as {MIN_PAIRS} trials can show. "
        f"p-values are not corrected for the number of comparisons.\n\n{trends}\n\n"
        f"{_bullets([*_efficiency(statistics), *_enough(statistics)])}".rstrip()
    )


def _difference(group: pd.DataFrame, size: int) -> str:
    rows = group[group["train_size"] == size]
    if rows.empty:
        return "no data"
    row, metric = rows.iloc[0], describe(str(rows.iloc[0]["metric"]))
    if not row["n"]:
        return f"{row['verdict']}: no pair"
    number, low, high = (
        f"{row[key]:+{metric.format}}" if np.isfinite(row[key]) else "one failed"
        for key in ("estimate", "ci_low", "ci_high")
    )
    interval = "" if np.isnan(row["ci_low"]) else f" [{low}, {high}]"
    p = f"p = {row['p_value']:.3g}, " if np.isfinite(row["p_value"]) else ""
    return f"**{row['verdict']}**: {number}{interval}, {p}n = {row['n']}"


def _efficiency(statistics: pd.DataFrame) -> Iterable[str]:
    """Yield how many times as many images the baseline needs, by the PSNR."""
    rows = statistics[(statistics["quantity"] == EFFICIENCY) & (statistics["metric"] == "psnr")]
    for row in rows.to_dict("records"):
        size, part = row["train_size"], PARTS[row["part"]].lower()
        of = f"For the {part} PSNR of PtychoPINN with {size} images Baseline needs"
        if np.isfinite(row["estimate"]) and row["estimate"] > 0:
            yield f"{of} {row['estimate']:.2g} times as many{_factor_interval(row)}: {row['verdict']}."
        elif not np.isnan(row["estimate"]):
            yield f"{of}, as far as was measured, an unknown multiple{_factor_interval(row)}: {row['verdict']}."


def _factor_interval(row: Mapping[Any, Any]) -> str:
    low, high = row["ci_low"], row["ci_high"]
    if np.isnan([low, high]).any():
        return ""
    return f" [{f'{low:.2g}' if low > 0 else 'less'}, {f'{high:.2g}' if np.isfinite(high) else 'more'}]"


def _enough(statistics: pd.DataFrame) -> Iterable[str]:
    """Yield from which size on more images bring little."""
    rows = statistics[statistics["quantity"].str.endswith(f"_{ENOUGH}")]
    for row in rows.to_dict("records"):
        of = f"{PARTS[row['part']]} PSNR of {model_label(str(row['quantity']).removesuffix(f'_{ENOUGH}'))}"
        if np.isinf(row["estimate"]):
            yield f"{of}: the last doubling still brings {SMALL_GAIN_DB} dB or more ({row['verdict']})."
        elif np.isfinite(row["estimate"]):
            interval = "" if np.isnan(row["ci_low"]) else f", between {row['ci_low']:.0f} and {_size(row['ci_high'])}"
            yield (
                f"{of}: from {row['estimate']:.0f} images on{interval}, a doubling brings less than {SMALL_GAIN_DB} dB "
                f"({row['verdict']})."
            )


def _size(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else "more than were measured"


def _trends(statistics: pd.DataFrame) -> Iterable[str]:
    """Yield, for each model and the PSNR of each part, its median at the smallest and the largest size."""
    rows = statistics[statistics["quantity"].str.endswith("_median") & (statistics["metric"] == "psnr")]
    for (part, quantity), group in rows[rows["n"] > 0].groupby(["part", "quantity"], sort=False):
        first, last = group.iloc[0], group.iloc[-1]
        name, metric = model_label(str(quantity).removesuffix("_median")), describe("psnr")
        start, stop = (
            metric.value(row["estimate"], str(part)) if np.isfinite(row["estimate"]) else "failed"
            for row in (first, last)
        )
        of = f"{PARTS[str(part)]} PSNR of {name}: median {start}"
        if quantity == "iterative_median":
            yield f"{of}, whatever the training images."
        else:
            more = f", {stop} with {last['train_size']}" if len(group) > 1 else ""
            yield f"{of} with {first['train_size']} images{more}."


# results and warnings --------------------------------------------------------------------------------------


def _results_section(results: pd.DataFrame, trials_wide: pd.DataFrame) -> str:
    pairs = [(metric, part) for metric, part in metric_parts(trials_wide) if metric in REPORTED]
    heads = ["images", "model", "trials", "failed", *(describe(m).axis_label(part) for m, part in pairs)]
    rows = [
        [row["train_size"], model_label(row["model_type"]), row["n_trials"], row["n_failed"]]
        + [_median(row, metric, part) for metric, part in pairs]
        for row in results.to_dict("records")
    ]
    return (
        "Median [quartiles] over the trials, failed ones included where they have a value (n where some have "
        f"none). PSNR: peak = range of the truth. All metrics: `results.csv`.\n\n{_table(heads, rows)}"
    )


def _median(row: Mapping[Any, Any], metric: str, part: str) -> str:
    name, form = f"{metric}_{part}", describe(metric).format
    if not row[f"{name}_n_valid"]:
        return "no value"
    median, low, high = (_figure(row[f"{name}_{key}"], metric, form) for key in ("median", "p25", "p75"))
    n = row[f"{name}_n_valid"]
    return f"{median} [{low}, {high}]" + (f" (n = {n})" if n < row["n_trials"] else "")


def _figure(value: float, metric: str, form: str) -> str:
    """Return a quantile, or ``failed`` where it falls on trials without a value, which rank as the worst."""
    better = describe(metric).higher_is_better
    failed = better is not None and value == (-np.inf if better else np.inf)
    return "failed" if failed else f"{value:{form}}"


def _times_section(times: pd.DataFrame | None) -> str:
    if times is None or times[["training_s", "answer_s"]].isna().all(axis=None):
        return "Not recorded."
    heads = ["images", "model", "training (s)", "an answer (s)", "scans until it pays"]
    rows = [
        [row["train_size"], model_label(row["model_type"]), _seconds(row["training_s"]), _seconds(row["answer_s"]),
         _scans(row["scans_to_pay"])]
        for row in times.to_dict("records")
    ]  # fmt: skip
    return (
        "Medians over the trials, wall time. Training: all epochs. An answer: from the test patterns "
        "to the object, the model loaded. A network pays once it has reconstructed so many scans of this size that "
        "training and answers together took less time than the iterative reconstructions of them; never, where its "
        f"answer alone takes longer.\n\n{_table(heads, rows)}"
    )


def _seconds(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3g}"


def _scans(value: float) -> str:
    return "" if np.isnan(value) else "never" if np.isinf(value) else f"{int(np.ceil(value)):,}"


def study_warnings(results: pd.DataFrame, trials_wide: pd.DataFrame, expected_trials: Collection[Trial]) -> list[str]:
    """Return what a reader must know before believing the tables: a line each."""
    lines = []
    few = results[results["n_trials"] < MIN_PAIRS]
    if len(few):
        sizes = ", ".join(str(size) for size in sorted(set(few["train_size"])))
        lines.append(f"Fewer than {MIN_PAIRS} trials at {sizes} images: no difference can be resolved there.")
    for row in trials_wide[trials_wide["status"].isin(FAILURES)].to_dict("records"):
        model = model_label(row["model_type"])
        lines.append(f"{model}, {row['train_size']} images, trial {row['trial']}: {row['status']}.")
    if "covered_share" in trials_wide:
        lines += _uncovered(trials_wide)
    if "registration_refused" in trials_wide:
        for row in trials_wide[trials_wide["registration_refused"] > 0].to_dict("records"):
            model = model_label(row["model_type"])
            lines.append(
                f"{model}, {row['train_size']} images, trial {row['trial']}: registration refused, not applied."
            )
    for size, trial in missing_trials(trials_wide, expected_trials):
        lines.append(f"{size} images, trial {trial}: configured, but no result was found.")
    for size, trial, kind in models_without_result(trials_wide):
        lines.append(f"{model_label(kind)}, {size} images, trial {trial}: no result, though the trial has others.")
    for size, trial in _unexpected(trials_wide, expected_trials):
        lines.append(f"{size} images, trial {trial}: found and counted, but not configured.")
    return lines


def _uncovered(trials_wide: pd.DataFrame) -> Iterable[str]:
    """Yield a line where the test scan leaves part of the evaluated region out: the scan is that of every trial."""
    share = trials_wide["covered_share"].min()
    if share < COVERED_ENOUGH:
        yield (
            f"The test scan covers {share:.1%} of the evaluated region; the rest counts in no metric. More test "
            "patterns, or a larger evaluation.stitch_crop_px, would cover it."
        )


def _unexpected(trials_wide: pd.DataFrame, expected_trials: Collection[Trial]) -> list[Trial]:
    found = set(zip(trials_wide["train_size"], trials_wide["trial"], strict=True))
    return sorted(found - set(expected_trials)) if expected_trials else []


# for the paper ---------------------------------------------------------------------------------------------


def results_tex(results: pd.DataFrame, trials_wide: pd.DataFrame) -> str:
    """Return the results as a LaTeX table (booktabs): median and quartiles over the trials of each size and model."""
    pairs = [(metric, part) for metric, part in metric_parts(trials_wide) if metric in REPORTED]
    heads = ["images", "model", *(describe(m).axis_label(part) for m, part in pairs)]
    lines = [
        " & ".join(map(_tex, heads)) + r" \\",
        r"\midrule",
        *(
            " & ".join(
                _tex(str(cell))
                for cell in [row["train_size"], model_label(row["model_type"])]
                + [_median(row, metric, part) for metric, part in pairs]
            )
            + r" \\"
            for row in results.to_dict("records")
        ),
    ]
    body = "\n".join(lines)
    return (
        "% median [quartiles] over the trials; needs \\usepackage{booktabs}\n"
        f"\\begin{{tabular}}{{rl{'c' * len(pairs)}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"
    )


def _tex(text: str) -> str:
    escaped: dict[str, str | int | None] = {letter: f"\\{letter}" for letter in "&%_#${}"}
    escaped |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "²": "$^2$"}
    return text.translate(str.maketrans(escaped))


# configuration and methods ---------------------------------------------------------------------------------


def _data(config: Mapping[str, Any]) -> str:
    flat = _flat(config)
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
    return _table(["", ""], [(text, flat[key]) for key, text in names.items() if key in flat]) or "Not given."


def _methods(config: Mapping[str, Any], trials_wide: pd.DataFrame) -> str:
    if not config:
        return "The study came without its configuration: how it was made and scored is not known here."
    flat = _flat(config)
    trials = trials_wide.groupby("train_size")["trial"].nunique()
    sizes = ", ".join(str(size) for size in trials.index)
    models = _listed([model_label(kind) for kind in ordered_models(trials_wide["model_type"])])
    epochs = f" for {flat['training.epochs']} epochs" if "training.epochs" in flat else ""
    made = _made_images(flat) + _variants(config)
    seed = f" All seeds derive from {flat['seed']}." if "seed" in flat else ""
    count = f"{trials.min()}" if trials.min() == trials.max() else f"{trials.min()} to {trials.max()}"
    treatment = UNSCORED if unscored(trials_wide) else SCORED if "covered_share" in trials_wide else SCORED_BEFORE
    verb = "was trained" if trials_wide["model_type"].nunique() == 1 else "were compared"
    return (
        f"{models} {verb} on {sizes} training images (diffraction patterns), {count} trials a "
        f"size. The models of a trial train on the same images{epochs}, and the images of a size include "
        f"those of the smaller ones.{made}{seed} Reconstructions were stitched, {treatment}"
    )


def _variants(config: Mapping[str, Any]) -> str:
    """Return a sentence on what the variants do otherwise."""
    told = [f"{name} has {_listed([f'{key} {value}' for key, value in _flat(keys).items()])}"
            for name, keys in config.get("variants", {}).items()]  # fmt: skip
    return f" Of the variants, {'; '.join(told)}." if told else ""


def _made_images(flat: Mapping[str, str]) -> str:
    """Return a sentence on images made for training, which both models see beside the measured ones."""
    shares = [(flat.get(f"training.{kind}", "0"), words) for kind, words in MADE_IMAGES.items()]
    made = [f"{share} {words}" for share, words in shares if float(share)]
    known = "as the baseline knows it by its true patches and PtychoPINN by phase retrieval of its own patterns"
    return f" Beside each of them stand {' and '.join(made)}, the area {known}." if made else ""


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            flat[prefix + key] = ", ".join(map(str, value))
        else:
            flat[prefix + key] = "null" if value is None else str(value)
    return flat


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(heads: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a Markdown table; nothing where there are no rows."""
    body = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [heads, ["---"] * len(heads), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if body else ""
