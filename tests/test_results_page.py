"""The page of the published studies: tables are those of the files beside it, the headline that of the statistics."""

import runpy
from pathlib import Path

import pandas as pd
import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "results.md").read_text(encoding="utf-8")
STUDIES = sorted(path.name for path in (DOCS / "results").iterdir())


@pytest.mark.parametrize("study", STUDIES)
def test_the_table_of_a_study_is_that_of_its_file(study):
    table = runpy.run_path(str(DOCS / "make_study_pictures.py"))["medians"](
        pd.read_csv(DOCS / "results" / study / "results.csv")
    )
    assert f"<!-- {study}: begin -->\n{table}\n<!-- {study}: end -->" in PAGE
    assert "_" not in table  # labels, not names of columns


@pytest.mark.parametrize(
    ("metric", "part", "form"),
    [("rmse", "phase", "+.4f"), ("ssim", "phase", "+.3f"), ("frc50", "phase", "+.1f"), ("rmse", "amp", "+.4f"),
     ("frc50", "amp", "+.1f")],
)  # fmt: skip
def test_the_headline_states_the_effects_over_all_sizes(metric, part, form):
    table = pd.read_csv(DOCS / "results/standard/statistics.csv")
    (row,) = table[
        (table["metric"] == metric) & (table["part"] == part) & (table["quantity"] == "pinn_minus_baseline_all_sizes")
    ].to_dict("records")
    label = {"amp": "amplitude", "phase": "phase"}[part] + f" {metric.upper()} |"
    (line,) = [line for line in PAGE.split("## The study")[0].splitlines() if line.startswith(f"| {label}")]
    effect, p = (line.split("|")[column].strip().split(" ")[0] for column in (2, 4))
    assert effect == format(row["estimate"], form)
    assert float(p) == pytest.approx(row["p_holm"], rel=0.15)
    assert ("not resolved" in line) == (row["verdict"] == "not resolved")


def test_the_summary_has_no_paths_of_a_machine():
    for study in STUDIES:
        assert "/tmp/" not in (DOCS / "results" / study / "STUDY_SUMMARY.md").read_text(encoding="utf-8")
