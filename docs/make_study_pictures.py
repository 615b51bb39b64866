#!/usr/bin/env python
"""Put pictures of finished studies into docs/images, smaller, and tables into docs/results and its page.

Studies that do not exist are left out.

Run it after `make study`; for docs/generalization.md and docs/uncertainty.md after
`make study CONFIG=config/studies/generalization.yaml` and `snakemake uncertainty` with the same configuration; for
docs/results.md after the commands there. --results names another directory than results/ of this clone.
"""

import argparse
import shutil
import sys
from pathlib import Path

import pandas as pd
from PIL import Image

from ptycho.results.layout import COSTS, RESULTS, SUMMARY, TABLES
from ptycho.results.schema import models

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from panel_report import insert, markdown  # noqa: E402

STUDY = {  # of every study: name here without the directory's: file of the study, width in pixels
    "by_size": ("reconstructions_by_size.png", 1600),
    "rmse_phase": ("rmse_phase_generalization.png", 900),
    "overview": ("overview.png", 1600),
    "training_curves": ("training_curves.png", 1200),
}
PICTURES = {  # by directory in results
    "demo": STUDY
    | {
        "comparison": ("train_512/trial_1/comparison_plot.png", 1600),
        "frc": ("train_512/trial_1/frc_curves.png", 1600),
        "psnr_phase": ("psnr_phase_generalization.png", 900),
        "costs": ("costs.png", 1200),
    },
    "standard": STUDY | {"comparison": ("train_4096/trial_1/comparison_plot.png", 1600)},
    "augmented": {"rmse_phase": STUDY["rmse_phase"]},
    "real": {"rmse_phase": STUDY["rmse_phase"]},  # no reconstructions: its data are not public
    "generalization": {
        "matrix": ("generalization_matrix.png", 1400),
        "test_sets": ("rmse_phase_test_sets.png", 1400),
        "other_object": ("train_512/trial_1/test_other_object/comparison_plot.png", 1400),
        "defocus": ("probe_error_defocus.png", 900),
        "dose": ("sweep_simulation_n_photons.png", 1400),
        "calibration": ("uncertainty_calibration.png", 1200),
        "uncertainty_phase": ("uncertainty_phase_by_size.png", 1200),
    },
}

PUBLISHED = ("standard", "augmented", "real")  # their tables are published, too
PAGE = ROOT / "docs" / "results.md"
COLUMNS = {  # of results.csv, in the tables of the page: head, format
    "rmse_phase": ("phase RMSE (rad)", ".3f"),
    "rmse_amp": ("amplitude RMSE", ".4f"),
    "ssim_phase": ("phase SSIM", ".3f"),
    "frc50_phase": ("phase FRC50 (rings)", ".0f"),
    "frc50_amp": ("amplitude FRC50 (rings)", ".0f"),
}
RECONSTRUCTIONS = ("comparison_plot", "reconstructions_by_size", "uncertainty_phase_by_size")  # shades, not lines


def palette_of(file: str) -> Image.Quantize:
    """Return how the 256 colours of a picture are chosen: by area for images, by distance for the lines of plots."""
    return Image.Quantize.MEDIANCUT if Path(file).stem in RECONSTRUCTIONS else Image.Quantize.MAXCOVERAGE


def medians(results: pd.DataFrame) -> str:
    """Return a table of medians and quartiles, in Markdown: a row for each size and model, of ``results.csv``."""
    heads = [title for title, _ in COLUMNS.values()]
    known, lines = models(results[["model_type", "variant", "arm"]]), []
    for _, row in results.iterrows():
        cells = [
            f"{row[f'{column}_median']:{form}} [{row[f'{column}_p25']:{form}}, {row[f'{column}_p75']:{form}}]"
            for column, (_, form) in COLUMNS.items()
        ]
        failed = f", {row['n_failed']} failed" if row["n_failed"] else ""
        lines.append([f"{row['train_size']:,}", known[row["model_type"]].label, f"{row['n_trials']}{failed}", *cells])
    return markdown(["images", "model", "trials", *heads], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="default: %(default)s")
    results = parser.parse_args().results
    for study in PUBLISHED:
        if not (results / study).is_dir():
            continue
        (PAGE.with_suffix("") / study).mkdir(parents=True, exist_ok=True)
        for name in (SUMMARY, *TABLES, COSTS):
            shutil.copyfile(results / study / name, PAGE.with_suffix("") / study / name)
        insert(study, medians(pd.read_csv(results / study / RESULTS)), PAGE)
    for study, pictures in PICTURES.items():
        folder = results / study
        for name, (file, width) in pictures.items() if folder.is_dir() else ():
            with Image.open(folder / file) as picture:
                height = round(picture.height * width / picture.width)
                small = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
                small.quantize(256, palette_of(file)).save(
                    ROOT / "docs" / "images" / f"{study}_{name}.png", optimize=True
                )


if __name__ == "__main__":
    main()
