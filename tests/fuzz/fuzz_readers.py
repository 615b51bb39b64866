"""Fuzz the readers of files: `make fuzz`. Coverage-guided where atheris is installed, otherwise by plain mutation.

A finding is an exception other than InputError, a message of several lines, code that ran, or a reader that hangs. The
input that caused it is kept in .fuzz/ and can be given again: `fuzz_readers.py .fuzz/crash-...`.
"""

import argparse
import contextlib
import io
import logging
import os
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
try:
    import atheris
except ImportError:
    atheris = None
with atheris.instrument_imports(include=["ptycho"]) if atheris else contextlib.nullcontext():
    import damage
    import samples

    from ptycho.commands.summarize import _configuration
    from ptycho.config.schema import StudyConfig
    from ptycho.data.metadata import parse_metadata_text
    from ptycho.io import files, hdf5, npz, text
    from ptycho.study import artifacts, metric_tables

KEPT = ROOT / ".fuzz"
WIDE = b"train_size,trial,model_type,variant,arm,status,psnr_amp\n16,1,pinn,,pinn,ok,3.5\n"
RESULTS = (
    b"train_size,model_type,variant,arm,n_trials,n_failed,psnr_amp_mean,psnr_amp_median,psnr_amp_p25,psnr_amp_p75,"
    b"psnr_amp_n_valid\n16,pinn,,pinn,1,0,3.5,3.5,3.5,3.5,1\n"
)
METRICS = b"model,metric,amplitude,phase,value,status\nPtychoPINN,psnr,1.5,2.5,,ok\nBaseline,psnr,1,2,,failed\n"


def read_tables(path: Path) -> Any:
    """Read a table of each kind, and check it against one that it belongs to."""
    other = path.with_name("results_all_trials.csv")
    other.write_bytes(WIDE)
    results = metric_tables.read_study_table(path, ["wide"])
    metric_tables.require_same_trials(path, results, metric_tables.read_study_table(other, ["wide"]))
    return results


def read_member(path: Path) -> Any:
    """Read a file as the patterns of an npz whose checksums are right."""
    content = path.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(samples_npz) as whole, zipfile.ZipFile(buffer, "w") as changed:
        for name in whole.namelist():
            changed.writestr(name, content if name == "xcoords.npy" else whole.read(name))
    path.write_bytes(buffer.getvalue())
    return samples.read_own(path)


def read_settings(path: Path) -> Any:
    """Read a file as metadata, as a configuration in JSON, and as the history of a training."""
    content = text.read_json(path)
    artifacts._is_history(content)
    if isinstance(content, dict):
        with contextlib.suppress(damage.InputError):
            StudyConfig.from_mapping(content)
    return parse_metadata_text(path.read_text(errors="replace"))


def read_weights(path: Path) -> Any:
    """Read a file as the weights of a model or as a checkpoint, without its checksum."""
    content, _ = files.without_checksum(path.read_bytes(), path)
    return hdf5.unpack_h5(content, path)


def without_trailer(content: bytes) -> bytes:
    """Return the content of a file without the checksum behind it, as other programs write it."""
    return content.rpartition(files.CHECKSUM)[0] or content


def targets(directory: Path) -> list[tuple[str, Any, bytes]]:
    """Return suffix, reader and an undamaged file of each kind."""
    written = samples.write(directory)
    content = {name: path.read_bytes() for name, (path, _) in written.items()}
    weights = hdf5.pack_h5({"layer/kernel": np.ones((3, 3), np.float32), "layer/bias": np.zeros(3)}, {"params": "{}"})
    member = io.BytesIO()
    np.save(member, np.arange(6.0))
    metadata = samples.metadata_text().encode()
    return [
        (".npz", samples.read_own, content["own"]),
        (".npz", samples.read_any, content["foreign"]),
        (".npz", read_member, member.getvalue()),
        (".cxi", samples.read_any, without_trailer(content["cxi"])),
        (".h5", samples.read_any, without_trailer(content["ptychodus"])),
        (".h5", read_weights, weights),
        (".json", read_settings, content["history"]),
        (".json", read_settings, metadata),
        (".yaml", _configuration, content["configuration"]),
        (".csv", metric_tables.read_metrics, METRICS),
        (".csv", metric_tables.read_wide, WIDE),
        ("results.csv", read_tables, RESULTS),
        (".npy", npz.read_npy, member.getvalue()),
    ]


def main() -> None:
    """Fuzz for the given time, or read the given inputs once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", nargs="*", type=Path, help="inputs that caused a finding, to be read again")
    parser.add_argument("--seconds", type=int, default=600)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    KEPT.mkdir(exist_ok=True)
    shared_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shared_memory) as name:
        global samples_npz
        directory = Path(name)
        kinds = targets(directory / "samples")
        samples_npz = directory / "samples/own.npz"

        def one_input(data: bytes) -> None:
            """Read an input: its first byte chooses the reader, the others are the file."""
            if len(data) < 2:
                return
            suffix, read, _ = kinds[data[0] % len(kinds)]
            path = directory / (suffix if not suffix.startswith(".") else f"file{suffix}")
            path.write_bytes(data[1:])
            damage.outcome(read, path)

        seeds = [bytes([number]) + content for number, (_, _, content) in enumerate(kinds)]
        for seed in seeds:  # what is imported late is imported now
            with contextlib.suppress(AssertionError):
                one_input(seed)
        if arguments.inputs:
            for path in arguments.inputs:
                one_input(path.read_bytes())
            return
        if atheris:
            corpus = directory / "corpus"
            corpus.mkdir()
            for number, seed in enumerate(seeds):
                (corpus / str(number)).write_bytes(seed)
            options = [f"-max_total_time={arguments.seconds}", "-max_len=40000", "-timeout=20", "-rss_limit_mb=4096"]
            atheris.Setup([sys.argv[0], str(corpus), f"-artifact_prefix={KEPT}/", *options], one_input)
            atheris.Fuzz()
        else:
            sys.stderr.write("atheris is not installed: plain mutation\n")
            mutate(seeds, one_input, arguments.seconds)


def mutate(seeds: list[bytes], one_input: Any, seconds: float) -> None:
    """Read damaged files, one after the other, for some time."""
    stop, number = time.monotonic() + seconds, 0
    while time.monotonic() < stop:
        data = damage.damaged(seeds[number % len(seeds)], number // len(seeds), slice(1, None))
        try:
            one_input(data)
        except Exception:
            (KEPT / f"crash-{number}").write_bytes(data)
            raise
        number += 1
    sys.stderr.write(f"{number} damaged files: no finding\n")


if __name__ == "__main__":
    main()
