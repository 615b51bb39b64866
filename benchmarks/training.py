#!/usr/bin/env python
"""CPU and wall time of a training step of both models, and where it goes; for docs/performance.md.

    python benchmarks/training.py [--windows 64 128 256] [--threads 1 2] [--checkout FOLDER ...] [--profile] [--write]

Trains on a simulated specimen with the defaults of config/config.yaml. A step is one batch; its time is that of whole
epochs, validation and checkpoint included, by the difference of a long and a short training in a process of its own.
--checkout runs the same in other checkouts of this project, taking turns, so that all see the same machine.
--profile prints the milliseconds of each kind of TensorFlow operation in a step. --write writes the tables to docs/.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
from panel_report import insert, markdown  # beside this script

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("pinn", "baseline")
EPOCHS = (2, 8)  # of the short and the long training
STEPS = 20  # of a profile
FAMILIES = {  # kinds of operations, by the names that TensorFlow gives them
    "convolutions": r"Conv2D",
    "matrix products of the canvas": r"MatMul",
    "Fourier transforms": r"FFT2D",
    "pooling, resizing, layout": r"Pool|Resize|SpaceToDepth|DepthToSpace|Pack|Concat|Tile|Slice|Transpose|Roll|Pad",
    "element by element": r".*",
}


def measure(model: str, window_px: int, n_images: int, profile: bool) -> dict[str, object]:
    """Return times of this process's code: ``cpu_ms`` and ``wall_ms`` a step, or of each family of operations."""
    import tempfile
    import time

    from ptycho.models import devices

    devices.configure(use_gpu=False)
    from ptycho.config.schema import BaselineConfig, PinnConfig, TrainingConfig
    from ptycho.models import run
    from ptycho.preparation.scan import simulate
    from ptycho.preparation.specimen import specimen

    data = simulate(specimen(6 * window_px, window_px, 1.5, 0.3, seed=1), n_images, 1e9, seed=2).loaded()
    config = PinnConfig() if model == "pinn" else BaselineConfig()
    if profile:
        return _profile(data, config)
    times = []
    for epochs in EPOCHS:
        with tempfile.TemporaryDirectory() as folder:
            started = time.process_time(), time.perf_counter()
            run.train(
                data, config, TrainingConfig(epochs=epochs), n_images=n_images, seed=1, trial=1,
                checkpoint_dir=Path(folder),
            )  # fmt: skip
            times.append((time.process_time() - started[0], time.perf_counter() - started[1]))
    batch = TrainingConfig().batch_size
    steps = (EPOCHS[1] - EPOCHS[0]) * (int(n_images * (1 - TrainingConfig().validation_fraction)) // batch)
    cpu, wall = ((after - before) / steps * 1e3 for before, after in zip(*times, strict=True))
    return {"cpu_ms": cpu, "wall_ms": wall, "cpu_ms_a_sample": cpu / batch}


def _profile(data: Any, config: Any) -> dict[str, object]:
    """Return the milliseconds a step of each family of operations, as TensorFlow's profiler tells them."""
    import tempfile

    import keras
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    from ptycho.config.schema import PinnConfig, TrainingConfig
    from ptycho.models import devices, run
    from ptycho.preparation.normalize import with_patches

    kind = "pinn" if isinstance(config, PinnConfig) else "baseline"
    data = data if kind == "pinn" else with_patches(data).loaded()
    batches = run._training_batches(kind, data, TrainingConfig().batch_size, 1, config.gridsize, [])
    model = run._untrained(config, data, devices.convolution_policy("auto"), 1, batches)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    batch = next(iter(batches.epochs()))
    step = tf.function(lambda: model.train_step(batch))
    for _ in range(3):
        step()
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(STEPS):
            step()
        tf.profiler.experimental.stop()
        space = xplane_pb2.XSpace()
        space.ParseFromString(next(Path(folder).rglob("*.xplane.pb")).read_bytes())
    spent: Counter[str] = Counter()
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            name = plane.event_metadata[event.metadata_id].name
            if re.fullmatch(r"[^$:]+:\w+", name) and not name.startswith("Eager"):
                family = next(family for family, names in FAMILIES.items() if re.search(names, name.split(":")[1]))
                spent[family] += event.duration_ps / 1e9 / STEPS
    return {family: round(spent[family], 2) for family in FAMILIES}


def in_process(checkout: Path, threads: int, arguments: list[str]) -> dict[str, object]:
    """Return what :func:`measure` returns in a new process, of the code of a checkout and with that many threads."""
    environment = {
        **os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(checkout), "TF_CPP_MIN_LOG_LEVEL": "3",
    }  # fmt: skip
    called = [sys.executable, str(Path(__file__).resolve()), "--measure", *arguments]
    done = subprocess.run(called, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"failed: {' '.join(called)}\n{done.stderr[-2000:]}")
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def version(checkout: Path) -> str:
    """Return the commit of a checkout."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def times(arguments: argparse.Namespace) -> pd.DataFrame:
    """Return a row for each model, window, number of threads and checkout: medians of the repetitions."""
    rows = []
    for model in MODELS:
        for window in arguments.windows:
            for threads in arguments.threads:
                for repetition in range(arguments.repeat):
                    for checkout in (ROOT, *arguments.checkout):
                        key = {"model": model, "N": window, "threads": threads, "commit": version(checkout)}
                        given = [model, str(window), str(arguments.n_images)]
                        rows.append(key | in_process(checkout, threads, given))
                        print(repetition + 1, rows[-1], file=sys.stderr, flush=True)
    return pd.DataFrame(rows).groupby(["model", "N", "threads", "commit"], sort=False).median().reset_index()


def profiles(arguments: argparse.Namespace) -> pd.DataFrame:
    """Return the milliseconds a step of each family of operations, one thread, N = 64; a column a model."""
    found = {model: in_process(ROOT, 1, [model, "64", str(arguments.n_images), "--profile"]) for model in MODELS}
    return pd.DataFrame(found).rename_axis("ms a step").reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--windows", nargs="+", type=int, default=(64,), help="pixels of a pattern's side (default: 64)"
    )
    parser.add_argument("--threads", nargs="+", type=int, default=(1,), help="of TensorFlow (default: 1)")
    parser.add_argument("--n_images", type=int, default=256, help="training images (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="processes of each kind (default: %(default)s)")
    parser.add_argument("--checkout", nargs="+", type=Path, default=(), help="other checkouts to compare with")
    parser.add_argument("--profile", action="store_true", help="operations of a step, too")
    parser.add_argument("--write", action="store_true", help="write the tables to docs/performance.md")
    arguments = parser.parse_args()
    sections = {"training": times(arguments).round(1)}
    if arguments.profile:
        sections["training_profile"] = profiles(arguments)
    for name, table in sections.items():
        text = markdown(list(table.columns), table.astype(str).to_numpy().tolist())
        print(text)
        if arguments.write:
            insert(name, text, ROOT / "docs" / "performance.md")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        kind, window, n_images, *options = sys.argv[2:]
        print(json.dumps(measure(kind, int(window), int(n_images), "--profile" in options)))
    else:
        main()
