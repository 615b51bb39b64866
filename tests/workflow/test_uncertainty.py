"""The spread over trials as a target of the workflow."""

import pytest
from jobs import jobs_of
from running import snakemake

pytestmark = pytest.mark.workflow


def test_the_target_needs_every_trial_and_nothing_else_needs_it(tmp_path):
    words = ["--dry-run", "--quiet", "rules", "--cores", "1", "--config", "train_sizes=[64,128]", "num_trials=3"]
    result = snakemake("uncertainty", *words, directory=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    jobs = jobs_of(result.stdout + result.stderr)
    assert [jobs[rule] for rule in ("compare_trial", "tables", "uncertainty")] == [6, 1, 1]
    assert not jobs.keys() & {"generalization_plot", "figure", "summary"}
    result = snakemake(*words, directory=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "uncertainty" not in jobs_of(result.stdout + result.stderr)


def test_the_target_analyses_an_existing_study(tmp_path):
    found = tmp_path / "theirs" / "train_64"
    found.mkdir(parents=True)
    (found / "comparison_metrics.csv").write_text("model,metric,amplitude,phase\nPtychoPINN,psnr,30,20\n")
    words = ["--cores", "1", "--config", f"existing={found.parent}", "output_dir=analysis"]
    result = snakemake("uncertainty", *words, directory=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    (table,) = tmp_path.rglob("uncertainty.csv")
    assert "0 of at least 3 trials; trial 1: no reconstructions.npz" in table.read_text()
