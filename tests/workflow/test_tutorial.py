"""The commands of docs/tutorial.md in their order, on a smaller scan."""

import os
import re
import shlex
from pathlib import Path

import pytest
from running import SNAKEFILE, run_here, snakemake

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
SMALLER = {
    "--size_px 384": "--size_px 160", "--n-images 1200": "--n-images 200", "n_images: 2000": "n_images: 200",
    "train_sizes: [128, 512]": "train_sizes: [16, 32]", "epochs: 30": "epochs: 2",
    'train_sizes="[128,256,512]"': 'train_sizes="[16,24,32]"', 'train_sizes="[128,512]"': 'train_sizes="[16,32]"',
    "num_trials: 2": "num_trials: 1", "--split-gap 32": "--split-gap 8",
    "split_gap_px: 32": "split_gap_px: 8", "train_512/": "train_32/",
}  # fmt: skip

pytestmark = pytest.mark.workflow


def blocks():
    """Return (language, content) of the blocks of the page, on a smaller scale."""
    text = PAGE
    for long, short in SMALLER.items():
        assert long in text, long
        text = text.replace(long, short)
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_tutorial(tmp_path):
    """Scripts run; Snakemake plans, and with PTYCHO_LONG_TESTS runs, too, which the last scripts need."""
    whole, written = bool(os.environ.get("PTYCHO_LONG_TESTS")), ""
    for language, content in blocks():
        if language == "yaml":
            written += content
            (tmp_path / "mine.yaml").write_text(written)
        elif language == "python":
            (tmp_path / "my_metrics.py").write_text(content)
        for line in content.replace("\\\n", " ").splitlines() if language == "bash" else ():
            program, *words = shlex.split(line)
            if program == "snakemake":
                only_planned = [] if whole or "--dry-run" in words else ["--dry-run"]
                done = snakemake(*only_planned, *words, directory=tmp_path)
            elif whole or "results/" not in line:
                done = run_here(Path(words[0]).name, *words[1:], directory=tmp_path)
            assert done.returncode == 0, f"{line}\n{done.stderr[-3000:]}"
    assert "slow" in written
    assert (tmp_path / "scan_inspection.png").exists()
    if whole:
        assert (tmp_path / "results/mine/train_24/comparison_plot.png").exists()
        table = (tmp_path / "results/mine/train_32/trial_1/comparison_metrics.csv").read_text()
        assert "median_error" in table
        assert "pinn_slow" in (tmp_path / "results/mine/results.csv").read_text()
        assert (tmp_path / "object.png").exists()
        assert (tmp_path / "results/measured/STUDY_SUMMARY.md").exists()


def test_the_pictures_that_the_tutorial_names_are_those_of_a_study():
    named = set(re.findall(r"`(?:train_512/trial_1/)?(\w+\.png)`", PAGE)) - {"scan_inspection.png"}
    assert len(named) == 5
    rules = "".join(path.read_text() for path in (SNAKEFILE, *SNAKEFILE.parent.glob("rules/*.smk")))
    figures = (ROOT / "docs/figures.md").read_text(encoding="utf-8") + rules
    assert [name for name in named if name not in figures and name.replace("rmse", "psnr") not in figures] == []
