#!/usr/bin/env python
"""Put pictures of finished studies into docs/images, smaller; for those whose directory exists.

Run it after `make study` and, for docs/generalization.md and docs/uncertainty.md, after
`make study CONFIG=config/studies/generalization.yaml` and `snakemake uncertainty` with the same configuration.
"""

from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PICTURES = {  # directory in results: name here without the directory's: file of the study, width in pixels
    "demo": {
        "comparison": ("train_512/trial_1/comparison_plot.png", 1600),
        "frc": ("train_512/trial_1/frc_curves.png", 1600),
        "by_size": ("reconstructions_by_size.png", 1600),
        "psnr_phase": ("psnr_phase_generalization.png", 900),
        "rmse_phase": ("rmse_phase_generalization.png", 900),
        "overview": ("overview.png", 1600),
        "training_curves": ("training_curves.png", 1200),
        "costs": ("costs.png", 1200),
    },
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

RECONSTRUCTIONS = ("comparison_plot", "reconstructions_by_size", "uncertainty_phase_by_size")  # shades, not lines


def palette_of(file: str) -> Image.Quantize:
    """Return how the 256 colours of a picture are chosen: by area for images, by distance for the lines of plots."""
    return Image.Quantize.MEDIANCUT if Path(file).stem in RECONSTRUCTIONS else Image.Quantize.MAXCOVERAGE


def main() -> None:
    for study, pictures in PICTURES.items():
        folder = ROOT / "results" / study
        for name, (file, width) in pictures.items() if folder.is_dir() else ():
            with Image.open(folder / file) as picture:
                height = round(picture.height * width / picture.width)
                small = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
                small.quantize(256, palette_of(file)).save(
                    ROOT / "docs" / "images" / f"{study}_{name}.png", optimize=True
                )


if __name__ == "__main__":
    main()
