#!/usr/bin/env python
"""Convergence of rPIE on the real test half, from an empty object and from PtychoPINN's, for docs/performance.md.

    python benchmarks/iterative.py TEST.npz PINN_RUN [--write]

TEST.npz is the test half of a prepared dataset, PINN_RUN the directory of a PtychoPINN trained on the other half (as
written by benchmarks/models.py to --work).
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ptycho.config.schema import EvaluationConfig, IterativeConfig, MeasuredConfig
from ptycho.data.dataset import Dataset
from ptycho.data.seeds import derive_seed
from ptycho.evaluation import comparison
from ptycho.physics import phase_retrieval, stitching
from ptycho.physics.stitching import stitch
from ptycho.preparation import normalize
from ptycho.preparation.load import load_scan

ROOT = Path(__file__).resolve().parents[1]
SWEEPS = (1, 2, 3, 6, 10, 20, 50, 100)
ALPHAS = (0.1, 0.3, 1.0)


def score(image: Any, test: Dataset) -> tuple[float, float]:
    """Return amplitude and phase RMSE after alignment, in the region that compare_models.py evaluates."""
    crop_px = EvaluationConfig().crop_px(test.window_px)
    region = stitching.evaluated_region(test.xcoords, test.ycoords, crop_px, test.object_shape)
    covered = stitching.covered_pixels(test.xcoords, test.ycoords, test.probe, test.object_shape, crop_px)
    arm = comparison.Arm("rPIE", image, 0.0)
    found = comparison.compare(
        [arm], test.object, region, registration_max_px=3, covered=covered, window_px=test.window_px
    )
    table = found.metrics.set_index("metric")
    return float(table.loc["rmse", "amplitude"]), float(table.loc["rmse", "phase"])


def pinn_object(directory: Path, test: Dataset) -> Any:
    from ptycho.models import devices, serialization
    from ptycho.models.inference import reconstruct_patches

    devices.configure(use_gpu=False)
    model, params = serialization.load(directory, "pinn")
    seen = normalize.match_counts_scale(test, params["counts_scale"])
    crop_px = EvaluationConfig().crop_px(test.window_px)
    patches = reconstruct_patches(model, seen)
    stitched = stitch(patches, seen.xcoords, seen.ycoords, seen.probe, seen.object_shape, crop_px)
    return phase_retrieval.fill_uncovered(stitched.object, stitched.weight)


def converge(start: Any, test: Dataset, alpha: float) -> dict[int, tuple[float, float]]:
    rng = np.random.default_rng(derive_seed(42, "iterative"))
    image, done, scores = start, 0, {}
    for sweeps in SWEEPS:
        image = phase_retrieval.rpie(image, test, sweeps - done, rng, alpha)
        done, scores[sweeps] = sweeps, score(image, test)
    return scores


def draw(table: pd.DataFrame, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn as sns

    sns.set_theme(style="whitegrid", palette="colorblind", context="paper")
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), constrained_layout=True)
    for axis, part, unit in zip(axes, ("amplitude", "phase"), ("", " (rad)"), strict=True):
        for (start, alpha), rows in table.groupby(["start", "alpha"], sort=False):
            style = "-" if start == "empty" else "--"
            axis.plot(rows["sweeps"], rows[part], style, marker="o", ms=3, label=f"{start}, alpha {alpha:g}")
        axis.set(xscale="log", yscale="log", xlabel="sweeps", ylabel=f"{part} RMSE{unit}")
    axes[0].legend(fontsize="x-small")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test", type=Path)
    parser.add_argument("pinn_run", type=Path)
    parser.add_argument("--write", action="store_true", help="write table and figure to docs/")
    arguments = parser.parse_args()
    test = load_scan(arguments.test, MeasuredConfig()).loaded()
    starts = {"empty": np.ones(test.object_shape, np.complex64), "PtychoPINN's": pinn_object(arguments.pinn_run, test)}
    rows = [
        (start, alpha, sweeps, *errors)
        for start, image in starts.items()
        for alpha in (ALPHAS if start == "empty" else [IterativeConfig().alpha])
        for sweeps, errors in converge(image, test, alpha).items()
    ]
    table = pd.DataFrame(rows, columns=["start", "alpha", "sweeps", "amplitude", "phase"])
    lines = [
        "| start | alpha | " + " | ".join(f"{sweeps} sweeps" for sweeps in SWEEPS) + " |",
        "|" + "---|" * (len(SWEEPS) + 2),
    ]
    for (start, alpha), group in table.groupby(["start", "alpha"], sort=False):
        cells = [f"{row.amplitude:.3f} / {row.phase:.3f}" for row in group.itertuples()]
        lines.append(f"| {start} | {alpha:g} | " + " | ".join(cells) + " |")
    text = "\n".join(lines)
    print(text)
    if arguments.write:
        document = ROOT / "docs" / "performance.md"
        before, rest = document.read_text(encoding="utf-8").split("<!-- iterative: begin -->\n")
        after = rest.split("<!-- iterative: end -->")[1]
        document.write_text(
            f"{before}<!-- iterative: begin -->\n{text}\n<!-- iterative: end -->{after}", encoding="utf-8"
        )
        draw(table, document.parent / "images" / "iterative.png")


if __name__ == "__main__":
    main()
