import pandas as pd
import pytest

from ptycho.config.schema import PlotsConfig
from ptycho.errors import InputError
from ptycho.plotting.costs import costs_figure
from ptycho.study import costs

HEAD = "s\th:m:s\tmax_rss\tcpu_time\n"


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def study(tmp_path):
    put(tmp_path / "benchmarks/train_pinn_64_2.tsv", HEAD + "12.5\t0:00:12\t700.25\t20.0\n")
    put(tmp_path / "benchmarks/train_pinn_128_1.tsv", HEAD + "20\t0:00:20\t-\t30\n")
    put(tmp_path / "benchmarks/compare_64.tsv", HEAD + "3\t0:00:03\t100\t2\n")
    put(tmp_path / "benchmarks/plot_psnr_phase.tsv", HEAD + "4\t0:00:04\t200\t3\n")
    put(tmp_path / "benchmarks/tables.tsv", "")  # just begun
    put(tmp_path / "variants/wide/benchmarks/train_pinn_64_1.tsv", HEAD + "30\t0:00:30\t900\t50\n")
    return tmp_path


def test_each_job_is_told_with_its_size_trial_and_variant(study):
    table, skipped = costs.read_costs(study)
    assert list(table) == costs.COLUMNS
    rows = [[None if pd.isna(cell) else cell for cell in row] for row in table.to_numpy().tolist()]
    assert rows == [
        ["compare", "", "", 64, None, 3, 2, 100],
        ["plot", "", "", None, None, 4, 3, 200],
        ["train_pinn", "", "pinn", 128, 1, 20, 30, None],
        ["train_pinn", "", "pinn", 64, 2, 12.5, 20, 700.25],
        ["train_pinn", "wide", "pinn", 64, 1, 30, 50, 900],
    ]
    assert skipped == ["benchmarks/tables.tsv: no measurement (No columns to parse from file): missing from the costs."]


def test_what_is_skipped_is_logged(study, caplog):
    put(study / "variants/wide/benchmarks/compare_64.tsv", "a\tb\n1\t2\n")
    put(study / "benchmarks/plot_psnr_amp.tsv", HEAD)
    _, skipped = costs.read_costs(study)
    assert [line.split(":")[0] for line in skipped] == [
        "benchmarks/plot_psnr_amp.tsv", "benchmarks/tables.tsv", "variants/wide/benchmarks/compare_64.tsv",
    ]  # fmt: skip
    assert caplog.text.count("missing from the costs") == 3


def test_the_figure_shows_the_jobs_of_trials(study):
    figure = costs_figure(costs.read_costs(study).table, PlotsConfig())
    seconds = figure.axes[0]
    assert sorted(seconds.lines[0].get_ydata()) == [12.5, 20, 30]
    assert seconds.lines[1].get_xydata().tolist() == [[64, 21.25], [128, 20]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train_pinn"]


def test_a_study_without_benchmarks(tmp_path):
    table, skipped = costs.read_costs(tmp_path)
    assert table.empty
    assert skipped == []
    with pytest.raises(InputError, match="no benchmark of a trial"):
        costs_figure(table, PlotsConfig())
