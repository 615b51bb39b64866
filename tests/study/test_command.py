"""The command, with the flags that a user gives it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ptycho.errors import InputError
from ptycho.io import npz, text
from ptycho.results import layout, schema
from ptycho.study import tables
from ptycho.study.trials import read_results_all_trials, read_trials, select

SCRIPT = Path(__file__).parents[2] / "workflow" / "scripts" / "aggregate_and_plot_results.py"


@pytest.fixture
def run(command):
    """Run the command in this process; return None, or what it says as it fails."""
    return command("aggregate_and_plot_results")


def test_no_flags_write_every_table_and_plot(run, known):
    assert run(known, "--dpi", 50) is None
    assert {path.name for path in known.iterdir() if path.is_file()} == {
        "results.csv", "results_all_trials.csv", "statistics.csv", "times.csv", "scaling_law.csv",
        *(f"{name}_generalization.{end}" for name in ("psnr_amp", "psnr_phase", "mae_amp", "mae_phase")
          for end in ("png", "pdf")),
        "overview.png", "overview.pdf",
    }  # fmt: skip
    results = text.read_csv(known / "results.csv")
    assert results["psnr_phase_median"].tolist() == [32, 20, 40, 50]


def test_one_plot_with_the_flags_of_the_guide(run, known):
    words = (known, "--metric", "psnr", "--part", "phase", "--dpi", 50)
    assert run(*words, "--output", "mine.png", "--formats", "png", "svg", "--style", "ticks") is None
    assert (known / "mine.svg").is_file()
    assert not (known / "results.csv").exists()


def test_the_files_of_one_size(run, known, objects):
    arrays = {f"{name}_complex": array for name, array in objects.items()}
    for trial in (1, 2, 3):
        npz.write_npz(known / "train_64" / f"trial_{trial}" / "reconstructions.npz", arrays)
    assert run(known, "--size", 64, "--dpi", 50) is None
    table = text.read_csv(known / "train_64" / "comparison_metrics.csv")
    assert list(table.columns) == ["trial", *schema.COLUMNS]
    assert table["trial"].unique().tolist() == [1, 2, 3]
    assert (known / "train_64" / "comparison_plot.png").is_file()


def test_a_study_without_truth_goes_on_to_the_end(run, truthless, objects):
    arrays = {f"{name}_complex": objects[name] for name in ("pinn", "baseline")}
    for trial in (1, 2):
        npz.write_npz(truthless / "train_64" / f"trial_{trial}" / "reconstructions.npz", arrays)
    assert run(truthless, "--dpi", 50) is None
    assert run(truthless, "--size", 64, "--dpi", 50) is None
    assert (truthless / "psnr_phase_generalization.png").is_file()
    assert (truthless / "train_64" / "comparison_plot.png").is_file()
    results = (truthless / "results.csv").read_text().splitlines()
    assert results[1].startswith("64,pinn,,pinn,2,0,,,,,0,,,,,0,")
    assert text.read_csv(truthless / "statistics.csv")["n"].eq(0).all()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--metric", "psnr"), "--metric and --part go together"),
        (("--size", 64, "--tables-only"), "choose what is made: give one of them"),
        (("--plots", "psnr_phase", "--figure", "overview"), "choose what is made: give one of them"),
        (("--plots", "psnr_phase", "psnr"), "--plots names psnr, expected a metric and a part"),
        (("--plots", "psnr_phase", "_amp"), "--plots names _amp, expected a metric and a part"),
        (("--metric", "frc50", "--part", "amp"), "metric frc50, part amp: not among the results"),
        (("--dpi", 10), "--dpi is 10"),
    ],
)
def test_flags_that_cannot_be(run, known, words, line):
    message = run(known, *words)
    assert line in message
    assert "\n" not in message


def test_several_plots_are_those_that_one_makes_alone(run, known, tmp_path):
    names = ["psnr_phase", "psnr_amp"]
    assert run(known, "--plots", *names, "--output_dir", tmp_path / "together", "--dpi", 50) is None
    for name in names:
        metric, part = name.split("_")
        path = tmp_path / f"{name}.png"
        assert run(known, "--metric", metric, "--part", part, "--output", path, "--dpi", 50) is None
        assert path.read_bytes() == (tmp_path / "together" / f"{name}_generalization.png").read_bytes()
    assert len(list((tmp_path / "together").glob("*.png"))) == len(names)


def test_a_wrong_directory_is_one_line_and_tensorflow_is_not_imported(tmp_path):
    done = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "no results; looked for" in done.stderr
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import aggregate_and_plot_results; "
        "print([m for m in sys.modules if m.split('.')[0] in ('tensorflow', 'keras', 'snakemake')"
        " or m.startswith(('ptycho.models', 'ptycho.evaluation'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# the table of all trials is read instead of every trial's own ------------------------------------------------


@pytest.fixture
def tabled(run, known):
    """A study with a variant whose tables were written; its numbers take every digit that a float has."""
    rng = np.random.default_rng(4)
    for source in sorted(known.glob("train_*/trial_*/comparison_metrics.csv")):
        table = text.read_csv(source)
        table[["amplitude", "phase"]] *= rng.uniform(0.9, 1.1, (len(table), 2))
        text.write_csv(source, table)
        text.write_csv(known / "variants/wide" / source.relative_to(known), table)
    assert run(known, "--tables-only") is None
    return known


def read_all(study, variants=None, sizes=None, num_trials=None):
    trials = select(read_trials(study, variants), sizes, num_trials)
    return tables.results_all_trials(trials)


def read_table(study, variants=None, sizes=None, num_trials=None):
    return read_results_all_trials(study / layout.ALL_TRIALS, study, variants, sizes, num_trials)


def test_the_table_holds_just_what_the_trials_give(tabled):
    pd.testing.assert_frame_equal(read_table(tabled), read_all(tabled), check_exact=True)


@pytest.mark.parametrize("selection", [([], None, None), (None, [64], None), (None, None, 1)])
def test_the_table_of_other_trials_is_not_used(run, tabled, selection):
    assert read_table(tabled, *selection) is None
    variants, sizes, num_trials = selection
    words = [] if variants is None else ["--variants"]
    words += [] if sizes is None else ["--train-sizes", *sizes]
    words += [] if num_trials is None else ["--num-trials", num_trials]
    assert run(tabled, "--tables-only", *words) is None
    pd.testing.assert_frame_equal(read_table(tabled, *selection), read_all(tabled, *selection), check_exact=True)


def newer_trial(study):
    os.utime(study / "train_64/trial_2/comparison_metrics.csv")


def newer_trial_of_a_variant(study):
    os.utime(study / "variants/wide/train_64/trial_2/comparison_metrics.csv")


def one_more_trial(study):
    old = study / "train_64/trial_2/comparison_metrics.csv"
    text.write_csv(study / "train_64/trial_9/comparison_metrics.csv", text.read_csv(old))
    os.utime(study / "train_64/trial_9/comparison_metrics.csv", ns=(1, 1))


def trained_in_vain(study):
    (study / "train_64/trial_2/pinn_run").mkdir()
    (study / "train_64/trial_2/pinn_run/training.log").touch()


def of_an_earlier_version(study):
    table = text.read_csv(study / layout.ALL_TRIALS)
    text.write_csv(study / layout.ALL_TRIALS, table.drop(columns=["variant", "arm"]))


def no_table(study):
    (study / layout.ALL_TRIALS).write_text("nonsense")


def flat(study):
    old = study / "train_64/trial_2/comparison_metrics.csv"
    text.write_csv(study / "train_32/comparison_metrics.csv", text.read_csv(old))
    os.utime(study / "train_32/comparison_metrics.csv", ns=(1, 1))


@pytest.mark.parametrize(
    "change",
    [newer_trial, newer_trial_of_a_variant, one_more_trial, trained_in_vain, of_an_earlier_version, no_table, flat],
)
def test_a_table_that_is_out_of_date_is_not_used(run, tabled, change):
    change(tabled)
    assert read_table(tabled) is None
    assert run(tabled, "--metric", "psnr", "--part", "phase", "--dpi", 50, "--formats", "svg") is None


def test_plots_read_no_trial_where_the_table_is_up_to_date(run, tabled, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere" / "p.png"
    words = ("--metric", "psnr", "--part", "phase", "--dpi", 50)
    drawn = []
    monkeypatch.setattr(
        "ptycho.plotting.generalization.generalization_figure",
        lambda wide, *options: drawn.append(wide) or (_ for _ in ()).throw(InputError("drawn")),
    )
    assert "drawn" in run(tabled, *words)
    monkeypatch.setattr("ptycho.study.trials.read_metrics", lambda path: pytest.fail(f"{path} was read"))
    assert "drawn" in run(tabled, *words)
    assert "drawn" in run(tabled, *words, "--output", elsewhere)
    for wide in drawn[1:]:
        pd.testing.assert_frame_equal(wide, drawn[0], check_exact=True)
