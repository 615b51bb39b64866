#!/usr/bin/env python
"""Measure the run time of each preparation command of the study guide, including process start.

    python benchmarks/preparation.py RECONSTRUCTION.npz [--n-images 2000 10000 40000] [--repeat 3]

Prints, for each number of images and command, the shortest wall time over the repeats, the CPU time and the peak
memory of that run, and the disk space used at the end. Nothing else should run at the same time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow" / "scripts"


def commands(source: Path, n_images: int) -> list[tuple[str, list[str]]]:
    """Return the six commands of the study guide, and the smoothing that the workflow adds."""
    return [
        ("pad", ["pad_to_even_tool.py", str(source), "padded.npz"]),
        ("transpose", ["transpose_rename_convert_tool.py", "padded.npz", "transposed.npz"]),
        ("interpolate", ["prepare_data_tool.py", "transposed.npz", "interpolated.npz", "--interpolate"]),
        ("smooth", ["prepare_data_tool.py", "interpolated.npz", "smoothed.npz", "--smooth"]),
        (
            "simulate",
            ["simulate_and_save.py", "--input-file", "smoothed.npz", "--output-file", "simulated.npz",
             "--n-images", str(n_images)],
        ),
        ("downsample", ["downsample_data_tool.py", "simulated.npz", "downsampled.npz"]),
        ("split", ["split_dataset_tool.py", "downsampled.npz", "final"]),
    ]  # fmt: skip


def run(words: list[str], directory: Path) -> tuple[float, float, float]:
    """Run a command and return its wall time (s), CPU time (s) and peak memory (MB)."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, str(SCRIPTS / words[0]), *words[1:]], cwd=directory,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"failed: {' '.join(words)}; run it by hand to see the error")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3


def measure(source: Path, n_images: int, repeat: int) -> None:
    best: dict[str, tuple[float, float, float]] = {}
    totals = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for _ in range(repeat):
            results = {step: run(words, directory) for step, words in commands(source, n_images)}
            totals.append(sum(result[0] for result in results.values()))
            best = {step: min(best.get(step, result), result) for step, result in results.items()}
        final = sum(path.stat().st_size for path in (directory / "final").iterdir())
        passing = sum((directory / f"{stage}.npz").stat().st_size for stage in ("simulated", "downsampled"))
    print(
        f"\n{n_images:,} images ({repeat} runs)\n\n| step | wall (s) | CPU (s) | peak memory (MB) |\n|---|---|---|---|"
    )
    for step, (wall, cpu, memory) in best.items():
        print(f"| {step} | {wall:.2f} | {cpu:.2f} | {memory:.0f} |")
    peak = max(result[2] for result in best.values())
    print(f"| **all, one run** | **{min(totals):.2f}** (to {max(totals):.2f}) | | {peak:.0f} |")
    print(f"\n{final / 1e6:.0f} MB of final data; {passing / 1e6:.0f} MB of intermediate stages")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="reconstruction npz")
    parser.add_argument("--n-images", type=int, nargs="+", default=[2000], help="default: %(default)s")
    parser.add_argument("--repeat", type=int, default=3, help="number of runs of each (default: %(default)s)")
    arguments = parser.parse_args()
    for n_images in arguments.n_images:
        measure(arguments.source.resolve(), n_images, arguments.repeat)


if __name__ == "__main__":
    main()
