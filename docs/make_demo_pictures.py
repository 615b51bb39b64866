#!/usr/bin/env python
"""Put the pictures of the demo study into docs/images, smaller. Run it after `make study`."""

import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PICTURES = {  # name here: file of the study, width in pixels
    "demo_comparison": ("train_512/trial_1/comparison_plot.png", 1600),
    "demo_frc": ("train_512/trial_1/frc_curves.png", 1600),
    "demo_by_size": ("reconstructions_by_size.png", 1600),
    "demo_psnr_phase": ("psnr_phase_generalization.png", 900),
    "demo_rmse_phase": ("rmse_phase_generalization.png", 900),
    "demo_overview": ("overview.png", 1600),
    "demo_training_curves": ("training_curves.png", 1200),
    "demo_costs": ("costs.png", 1200),
}


def main() -> None:
    study = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "results" / "demo"
    for name, (file, width) in PICTURES.items():
        with Image.open(study / file) as picture:
            height = round(picture.height * width / picture.width)
            small = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
            small.quantize(256).save(ROOT / "docs" / "images" / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
