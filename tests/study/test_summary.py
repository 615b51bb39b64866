import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from ptycho.config.schema import StudyConfig
from ptycho.io.text import write_json
from ptycho.results.schema import Model
from ptycho.study import statistics, summary
from ptycho.study.methods import used_config
from ptycho.study.tables import results, results_all_trials
from ptycho.study.trials import read_trials


def summarize(study, expected=(), **options):
    trials = read_trials(study)
    wide = results_all_trials(trials)
    tables = results(trials), statistics.study_statistics(wide, 0), wide
    config = dataclasses.asdict(StudyConfig())
    return summary.study_summary(config, *tables, expected, {"CPU": "2 cores", "commit": "abc"}, **options)


def pairs(pinn, baseline):
    return {(64, n): {"PtychoPINN": p, "Baseline": b} for n, (p, b) in enumerate(zip(pinn, baseline, strict=True), 1)}


@pytest.mark.parametrize(("winner", "loser"), [("PtychoPINN", "Baseline"), ("Baseline", "PtychoPINN")])
def test_whoever_wins_is_named(write_study, winner, loser):
    good, bad = [30.0, 31, 32, 33, 34, 35], [20.0, 20, 20, 20, 20, 20]
    text = summarize(write_study(pairs(good, bad) if winner == "PtychoPINN" else pairs(bad, good)))
    found = text.split("## Results")[0]
    assert f"Of 4 comparisons: {winner} ahead in every trial in 4." in found
    assert f"{loser} better" not in found
    sign = "+" if winner == "PtychoPINN" else "-"
    assert f"**{winner} ahead in every trial**: {sign}12.50" in found  # 10, 11, ..., 15
    assert "p = 0.0312 (Holm 0.12), n = 6" in found  # 4 * 2 / 2**6


def test_the_tables_are_those_of_the_study(known):
    text = summarize(known)
    assert "| 64 | PtychoPINN | 3 | 0 | 30.00 [29.00, 32.50] | 32.00 [31.00, 34.50] |" in text
    assert "| 64 | Baseline | 3 | 2 | 18.00 [failed, 20.00] (n = 2) | 20.00 [failed, 22.00] (n = 2) |" in text
    assert "Phase PSNR of PtychoPINN: median 32.00 dB with 64 images, 40.00 dB with 1024." in text
    assert "Of 8 comparisons at 2 sizes: not resolved in 8." in text
    for words in (
        "| training.epochs | 50 |",
        "| CPU | 2 cores |",
        "All seeds derive from 42",
        "@misc{ptychopinn_gen",
    ):
        assert words in text
    assert "nan" not in text


def test_warnings_name_what_is_few_failed_missing_or_too_much(known):
    text = summarize(known, [(64, 1), (64, 2), (64, 3), (64, 4)], warnings=["The disk was full."])
    warnings = text.split("## Warnings")[1].split("##")[0].strip().splitlines()
    assert warnings == [
        "- Fewer than 5 trials at 64, 1024 images: no difference can be resolved there.",
        "- Baseline, 64 images, trial 2: collapsed.",
        "- Baseline, 64 images, trial 3: failed.",
        "- 64 images, trial 4: configured, but no result was found.",
        "- 1024 images, trial 1: found and counted, but not configured.",
        "- The disk was full.",
    ]


def test_a_study_without_truth_says_so_in_one_line_and_compares_nothing(truthless):
    text = summarize(truthless)
    findings = text.split("## Findings")[1].split("##")[0].strip()
    assert findings.startswith("The test data holds no ground truth, so nothing is scored")
    assert "\n" not in findings
    warnings = text.split("## Warnings")[1].split("##")[0].strip().splitlines()
    assert warnings[1:] == ["- Baseline, 64 images, trial 2: diverged."]
    assert "| 64 | PtychoPINN | 2 | 0 | no value |" in text
    methods = text.split("## Methods")[1].split("##")[0]
    for words in ("registered to", "Wilcoxon", "p-values"):
        assert words not in methods
    assert "nan" not in text


def test_one_model_alone_is_not_compared(write_study):
    text = summarize(write_study({(512, 1): {"PtychoPINN": 30.0}}))
    assert "no comparison between them" in text
    assert "better" not in text.split("## Results")[0]
    found = text.split("## Claims")[1].split("## Results")[0]
    assert "Of 9 claims 1 is not resolved and 8 cannot be checked." in found
    assert "**not resolved** (one trial) | MAE (rad): PtychoPINN 0.333 with 512 images |" in found  # 10 / 30


def test_a_model_missing_in_one_trial_is_named(write_study):
    study = write_study({(64, 1): {"PtychoPINN": 30.0, "Baseline": 20.0}, (64, 2): {"PtychoPINN": 30.0}})
    assert "Baseline, 64 images, trial 2: no result, though the trial has others." in summarize(study)


def test_findings_say_how_many_images_and_what_an_answer_costs(write_study):
    trials = {
        (size, n): {"PtychoPINN": psnr + 2, "Baseline": psnr}
        for size, psnr in ((64, 20.0), (128, 22.0), (256, 24.0))
        for n in (1, 2, 3)
    }
    times = pd.DataFrame(
        {"train_size": [64, 64], "model_type": ["pinn", "iterative"], "training_s": [100, np.nan],
         "reconstruction_s": [7.0, 27], "break_even_scans": [5.0, np.nan]}
    )  # fmt: skip
    text = summarize(write_study(trials), times=times)
    assert (
        "For the phase PSNR of PtychoPINN with 64 images Baseline needs 2 times as many [2, 2]: Baseline needs" in text
    )
    assert "not reached with 256 images: more than 1" in text
    assert "Phase PSNR of PtychoPINN: the last doubling still brings 0.5 dB or more" in text
    assert "| 64 | PtychoPINN | 100 | 7 | 5 |" in text
    assert "| 64 | iterative | | 27 | |" in text.replace("Iterative", "iterative").replace("|  |", "| |")


def test_the_table_for_a_paper(known):
    trials = read_trials(known)
    text = summary.results_tex(results(trials), results_all_trials(trials))
    lines = text.splitlines()
    assert lines[1] == r"\begin{tabular}{rlcccc}"
    assert lines[3] == r"images & model & Amplitude PSNR (dB) & Phase PSNR (dB) & Amplitude MAE & Phase MAE (rad) \\"
    assert r"64 & PtychoPINN & 30.00 [29.00, 32.50] & 32.00 [31.00, 34.50]" in text
    assert "20.00 [failed, 22.00]" in text
    assert text.count(r" \\") == 5


def test_a_study_without_its_configuration_claims_no_method(known):
    trials = read_trials(known)
    wide = results_all_trials(trials)
    text = summary.study_summary({}, results(trials), statistics.study_statistics(wide, 0), wide, [], {})
    assert "how it was made and scored is unknown" in text
    assert "Wilcoxon" not in text.split("## Methods")[1]


def test_it_speaks_of_data_augmentation_and_break_even(known):
    trials = read_trials(known)
    wide = results_all_trials(trials)
    config = dataclasses.asdict(StudyConfig())
    config["training"] |= {"augmentation_ratio": 0.5, "synthetic_augmentation_ratio": 0.25}
    times = pd.DataFrame(
        {"train_size": [64], "model_type": ["pinn"], "training_s": [100.0],
         "reconstruction_s": [7.0], "break_even_scans": [5.0]}
    )  # fmt: skip
    statistic = statistics.study_statistics(wide, 0)
    text = summary.study_summary(config, results(trials), statistic, wide, [], {}, times=times)
    assert (
        "Both models train with data augmentation: for each measured pattern 0.5 rotated and mirrored patterns of the "
        "training object and 0.25 patterns of random objects with the tones of the training object." in text
    )
    assert "| time to reconstruction (s) | break-even number of scans |" in text
    assert "## Time to reconstruction" in text
    plain = summary.study_summary(dataclasses.asdict(StudyConfig()), results(trials), statistic, wide, [], {})
    assert "augmentation:" not in plain


@pytest.fixture
def summarize_study(command, known):
    """Run the commands of the tables and the summary, and return the summary."""

    def run():
        assert command("aggregate_and_plot_results")(known, "--tables-only") is None
        assert command("summarize_study")(known) is None
        return (known / "STUDY_SUMMARY.md").read_text()

    return run


def test_it_says_what_could_not_be_read(summarize_study, known):
    (known / "study_config.txt").write_text("a list\n")
    (known / "benchmarks").mkdir()
    (known / "benchmarks/compare_64.tsv").touch()
    write_json(known / "train_64/trial_1/pinn_run/params.json", [1])
    write_json(known / "train_64/trial_1/pinn_run/history.json", {})
    warnings = summarize_study().split("## Warnings")[1].split("##")[0]
    assert "- study_config.txt is not a configuration of this version (str, expected keys and values)" in warnings
    assert "- benchmarks/compare_64.tsv: no measurement" in warnings
    assert "- train_64/trial_1/pinn_run/params.json: not the settings of a training" in warnings


def test_a_variant_keeps_its_label_through_the_csv_files(summarize_study, known):
    shutil.copytree(known / "train_64", known / "variants/wide/train_64")
    text = summarize_study()
    assert "| 64 | PtychoPINN (wide) | 3 | 0 |" in text
    assert "Phase PSNR of PtychoPINN (wide): median 32.00 dB with 64 images." in text


def test_variants_keep_their_labels_in_tables_of_an_earlier_version(summarize_study, command, known):
    for variant in ("wide", "wide_2"):
        shutil.copytree(known / "train_64", known / "variants" / variant / "train_64")
    text = summarize_study()
    for name in ("results.csv", "results_all_trials.csv", "statistics.csv", "times.csv", "scaling_law.csv"):
        table = pd.read_csv(known / name)
        table.drop(columns=["variant", "arm"]).to_csv(known / name, index=False)
    assert command("summarize_study")(known) is None
    found = (known / "STUDY_SUMMARY.md").read_text()
    assert found.count("PtychoPINN (wide_2)") == text.count("PtychoPINN (wide_2)") > 3
    assert found == text
    shutil.rmtree(known / "variants")  # without its directory it is a model of its own
    assert command("summarize_study")(known) is None
    assert "PtychoPINN (wide)" not in (known / "STUDY_SUMMARY.md").read_text()


def test_a_table_of_something_else_is_refused(summarize_study, command, known):
    summarize_study()
    (known / "results.csv").write_text("a,b\n1,2\n")
    assert "column model_type missing, found a,b: make the tables again" in command("summarize_study")(known)


@pytest.mark.parametrize("variant", ["nan", "null", "2", "true"])
def test_variants_of_any_name_stay_apart_from_the_study(variant, tmp_path, command):
    for folder, psnr in (("", 30.0), (f"variants/{variant}", 20.0)):
        rows = ["model,metric,amplitude,phase,value,status"]
        rows += [f"{model},psnr,{psnr},{psnr},,ok" for model in ("PtychoPINN", "Baseline")]
        path = tmp_path / folder / "train_64" / "trial_1"
        path.mkdir(parents=True)
        (path / "comparison_metrics.csv").write_text("\n".join(rows) + "\n")
    assert command("aggregate_and_plot_results")(tmp_path, "--tables-only") is None
    assert command("summarize_study")(tmp_path) is None
    title, *lines = (tmp_path / "STUDY_SUMMARY.md").read_text().splitlines()
    assert title == "# Generalization study: PtychoPINN and Baseline; 1 variant"
    assert any(line.startswith(f"- Phase PSNR of PtychoPINN ({variant}): median 20") for line in lines)
    assert any(line.startswith("- Phase PSNR of PtychoPINN: median 30") for line in lines)


# the first lines -----------------------------------------------------------------------------------------


def first_lines(text):
    found = text.split("## Findings")[1].split("\n\n")[1].strip().splitlines()
    return {line.partition(":**")[0].removeprefix("- **"): line.partition(":** ")[2] for line in found}


def sizes(*gains):
    """A study of six trials, PtychoPINN ahead by these PSNR at 64, 128, ... images, more in later trials."""
    return {
        (64 * 2**i, n): {"PtychoPINN": 30 + gain + n / 10 * np.sign(gain), "Baseline": 30.0}
        for i, gain in enumerate(gains)
        for n in range(6)
    }


def test_the_first_lines_say_who_where_how_much_and_how_sure(write_study):
    lines = first_lines(summarize(write_study(sizes(3, 2, 1, 0.5))))
    assert lines["Who is ahead"] == "PtychoPINN, over all sizes, by the phase PSNR."
    assert lines["Where"] == "PtychoPINN ahead in every trial with 64, 128, 256 and 512 images."
    # gains of 3, 3.1, ..., 3.5: the median of their means of two is 3.25; over the sizes (3 + 2 + 1 + 0.5) / 4 + 0.25
    assert lines["By how much"].startswith("PtychoPINN - Baseline +3.25 dB [+3.00, +3.50] with 64 images, +2.25 dB")
    assert "mean over the sizes +1.88 dB [" in lines["By how much"]
    assert lines["By how much"].endswith("Positive values favour PtychoPINN.")
    # 2 / 2**24; PSNR and MAE, amplitude and phase: 4 comparisons
    assert lines["How sure"].startswith(
        "over all sizes p = 1.2e-07 (sign-flip test, 24 pairs), 4.8e-07 after Holm's correction for 4 comparisons; at "
        "one size p = 0.0312 or more (6 pairs allow 0.0312). Of 4 comparisons over all sizes: PtychoPINN better in 4."
    )


def test_each_may_be_ahead_somewhere(write_study):
    lines = first_lines(summarize(write_study(sizes(3, -3))))
    assert lines["Who is ahead"] == "not resolved over all sizes, by the phase PSNR."
    assert lines["Where"] == (
        "PtychoPINN ahead in every trial with 64 images; Baseline ahead in every trial with 128 images."
    )


def test_one_trial_says_what_it_shows_and_no_more(write_study):
    study = {(64, 1): {"PtychoPINN": 31.0, "Baseline": 30.0}, (128, 1): {"PtychoPINN": 31.0, "Baseline": 33.0}}
    text = summarize(write_study(study))
    lines = first_lines(text)
    assert lines["Who is ahead"] == (
        "not known: there is one trial of each size. In it, by the phase PSNR: PtychoPINN with 64 images; Baseline "
        "with 128 images."
    )
    assert lines["By how much"].startswith("PtychoPINN - Baseline +1.00 dB with 64 images, -2.00 dB with 128 images.")
    assert "one trial gives no estimate of the spread" in lines["How sure"]
    for words in ("nan", "p =", "better in", "inf"):
        assert words not in text.split("## Results")[0]


def test_two_trials_and_failed_ones(write_study):
    nan = float("nan")
    study = {(64, n): {"PtychoPINN": 31.0 + n, "Baseline": (nan, "failed") if n == 2 else 30.0} for n in (1, 2)}
    lines = first_lines(summarize(write_study(study)))
    assert lines["Who is ahead"].startswith("not resolved at the one size")
    assert lines["By how much"].startswith("PtychoPINN - Baseline not finite, as trials failed, with 64 images")
    assert lines["How sure"].startswith("at one size no test: 5 pairs are needed")


def test_the_summary_has_the_scaling_law_and_its_target(command, write_study):
    trials = {(64 * 2**i, n): {"PtychoPINN": 20.0 + i * 2 + n / 10} for i in range(4) for n in (1, 2, 3)}
    study = write_study(trials)
    assert command("aggregate_and_plot_results")(study, "--tables-only", "--target", "psnr_phase=25") is None
    assert command("summarize_study")(study) is None
    section = (study / "STUDY_SUMMARY.md").read_text().split("## Scaling law")[1].split("## ")[0]
    assert "| Phase PSNR (dB) of PtychoPINN |" in section
    assert "Phase PSNR of 25.00 dB, PtychoPINN: " in section


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--target", "psnr_phase"], "--target is psnr_phase, expected a metric, a part and a value"),
        (["--target", "psnr_phase=high"], "--target is psnr_phase=high, expected"),
        (["--target", "frc50_phase=3"], "target frc50_phase: not a metric with a scaling law"),
        (["--target", "rmse_phase=0.1"], "target rmse_phase: not a metric with a scaling law: give one of psnr_amp"),
        (["--width", "0"], "--width: rmse phase is not among the results"),
        (["--width", "1", "--metric", "psnr", "--part", "phase"], "1 paired trials with 1024 images, expected 3"),
    ],
)
def test_targets_and_widths_that_cannot_be(command, known, words, line):
    message = command("aggregate_and_plot_results")(known, *words)
    assert line in message
    assert "\n" not in message


def test_the_number_of_trials_is_printed_and_nothing_is_written(command, write_study, capsys):
    study = write_study(sizes(3, 2))
    before = sorted(study.rglob("*"))
    words = ("--width", 0.4, "--at_most", 40, "--metric", "psnr", "--part", "phase")
    assert command("aggregate_and_plot_results")(study, *words) is None
    lines = capsys.readouterr().out.splitlines()
    # differences 0, 0.1, ..., 0.5: variance 0.035; pi / 3 * (2 * 2.5706 * 0.1871 / 0.4)**2 = 6.05
    assert lines == [
        "64 images: interval with 6 trials 0.5 wide; 7 trials are needed",
        "128 images: interval with 6 trials 0.5 wide; 7 trials are needed",
        "num_trials=7",
    ]
    assert sorted(study.rglob("*")) == before


def histories(*lowest, arm="pinn", size=64):
    """Return histories of trials 1, 2, ...; None for a training without a finite loss."""
    losses = [[None, float("nan")] if low is None else [0.9, low, 1.5 * low] for low in lowest]
    return {(size, trial, Model(arm)): {"val_loss": values} for trial, values in enumerate(losses, start=1)}


def test_a_training_whose_loss_ends_far_above_the_others_is_named():
    (line,) = summary.loss_warnings(histories(0.4, 0.62, 0.38) | histories(0.1, 0.11, 0.1, arm="baseline"))
    assert line.startswith("PtychoPINN, 64 images, trial 2: its lowest validation loss is 1.55 times the median")
    assert summary.loss_warnings(histories(0.04, 0.062, 0.038)) == [line]  # whatever the unit of the loss


@pytest.mark.parametrize("lowest", [(0.4, 0.62), (0.4, 0.45, 0.4), (0.4, 0.2, 0.4), (0.4,), (0.4, None, 0.4), ()])
def test_trainings_that_are_few_or_alike_or_better_are_not(lowest):
    assert summary.loss_warnings(histories(*lowest)) == []


def test_sizes_and_models_are_compared_among_themselves():
    assert (
        summary.loss_warnings(histories(0.4, 0.4) | histories(0.9, 0.9, size=16) | histories(2, 2, arm="baseline"))
        == []
    )


def test_the_citation_is_that_of_the_repository():
    known = yaml.safe_load((Path(__file__).parents[2] / "CITATION.cff").read_text())
    (author,) = known["authors"]
    for words in (known["title"], author["name"], known["version"], str(known["date-released"].year), known["license"]):
        assert words in summary.CITATION


@pytest.mark.parametrize(
    ("changes", "there"),
    [
        ({}, True), ({"input": "mine.npz"}, False), ({"train_data": "a.npz"}, True),
        ({"train_data": "a.npz", "test_data": "b.npz"}, False),
    ],
)  # fmt: skip
def test_the_specimen_is_in_the_configuration_only_where_it_is_used(changes, there):
    config = dataclasses.asdict(dataclasses.replace(StudyConfig(), **changes))
    assert ("specimen.size_px" in used_config(config)) == there
    assert used_config(config)["simulation.n_photons"] == "1e+09"
    assert used_config({"a": {"b": 0.1234567, "c": 3, "d": None}}) == {"a.b": "0.1234567", "a.c": "3", "a.d": "null"}
