import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

from ptycho.config.schema import StudyConfig
from ptycho.io.text import write_json
from ptycho.study import statistics, summary
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
    assert f"Of 4 comparisons (4 quantities at 1 sizes): {winner} better in 4." in found
    assert f"{loser} better" not in found
    sign = "+" if winner == "PtychoPINN" else "-"
    assert f"**{winner} better**: {sign}12.50" in found  # 10, 11, ..., 15
    assert "p = 0.0312, n = 6" in found


def test_the_tables_are_those_of_the_study(known):
    text = summarize(known)
    assert "| 64 | PtychoPINN | 3 | 0 | 30.00 [29.00, 32.50] | 32.00 [31.00, 34.50] |" in text
    assert "| 64 | Baseline | 3 | 2 | 18.00 [failed, 20.00] (n = 2) | 20.00 [failed, 22.00] (n = 2) |" in text
    assert "Phase PSNR of PtychoPINN: median 32.00 dB with 64 images, 40.00 dB with 1024." in text
    assert "not resolved in 8" in text
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
         "answer_s": [7.0, 27], "scans_to_pay": [5.0, np.nan]}
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
        {"train_size": [64], "model_type": ["pinn"], "training_s": [100.0], "answer_s": [7.0], "scans_to_pay": [5.0]}
    )
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
    for name in ("results.csv", "results_all_trials.csv", "statistics.csv", "times.csv"):
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
    title = (tmp_path / "STUDY_SUMMARY.md").read_text().splitlines()[0]
    assert title.count("PtychoPINN") == 2
    assert f"PtychoPINN ({variant})" in title
