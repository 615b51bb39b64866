"""The command, with the flags that a user gives it."""

import subprocess
import sys
from pathlib import Path

import pytest

from ptycho.io import npz, text
from ptycho.results import schema

SCRIPT = Path(__file__).parents[2] / "workflow" / "scripts" / "aggregate_and_plot_results.py"


@pytest.fixture
def run(command):
    """Run the command in this process; return None, or what it says as it fails."""
    return command("aggregate_and_plot_results")


def test_no_flags_write_every_table_and_plot(run, known):
    assert run(known, "--dpi", 50) is None
    assert {path.name for path in known.iterdir() if path.is_file()} == {
        "results.csv", "results_all_trials.csv", "statistics.csv", "times.csv",
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
    assert results[1].startswith("64,pinn,2,0,,,,,0,,,,,0,")
    assert text.read_csv(truthless / "statistics.csv")["n"].eq(0).all()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--metric", "psnr"), "--metric and --part go together"),
        (("--size", 64, "--tables-only"), "each make one thing: give one of them"),
        (("--metric", "frc50", "--part", "amp"), "metric frc50, part amp: not among the results"),
        (("--dpi", 10), "--dpi is 10"),
    ],
)
def test_flags_that_cannot_be(run, known, words, line):
    message = run(known, *words)
    assert line in message
    assert "\n" not in message


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
