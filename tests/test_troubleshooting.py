"""docs/troubleshooting.md: every message that it quotes is provoked, and compared with the page.

A message is a line of a block ``text`` of the page, with the indented lines that continue it; ``...`` stands for what
varies. A case of this file provokes it: a function that returns what is printed, under a part of the message that
identifies it. For the commands of all pages, see tests/test_documented_commands.py.
"""

import argparse
import fcntl
import functools
import io
import logging
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from running import run_here, snakemake

from ptycho.commands import cli, compare, inference, training
from ptycho.config.schema import MeasuredConfig, StudyConfig
from ptycho.data.dataset import Reconstruction
from ptycho.errors import InputError
from ptycho.evaluation import comparison
from ptycho.io import files, npz
from ptycho.models import gpu_lock
from ptycho.physics import stitching
from ptycho.preparation.load import load_scan
from ptycho.preparation.scan import simulate
from ptycho.study import directories, installation, job_code, preflight, trials

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
MESSAGES = [line for block in BLOCKS for line in re.sub(r"\n {4}", " ", block).splitlines()]
COUNT, SIDE = 30, 16  # of the scan


@dataclass(frozen=True)
class Case:
    """What a case may use: an empty directory, monkeypatch, and a true object with its specimen as a function."""

    path: Path
    patch: pytest.MonkeyPatch
    truth: Any
    specimen: Callable[..., Any]


CASES: dict[str, Callable[[Case], str]] = {}


def provokes(part: str) -> Callable[[Callable[[Case], str]], Callable[[Case], str]]:
    """Register the case of the one message of the page that contains ``part``."""

    def register(case: Callable[[Case], str]) -> Callable[[Case], str]:
        assert part not in CASES
        CASES[part] = case
        return case

    return register


def found_by(part: str) -> list[str]:
    return [message for message in MESSAGES if part in message]


def pattern(message: str) -> re.Pattern[str]:
    """Return what matches a line that ends with the message; before it is the name of a command, or a time."""
    return re.compile(re.escape(message).replace(r"\.\.\.", ".+?") + "$", re.MULTILINE)


def output(function: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """Return what a function logs, and the error that it ends with."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        function(*arguments, **options)
    except InputError as error:
        stream.write(f"{error}\n")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    return stream.getvalue()


def study(**keys: Any) -> StudyConfig:
    return StudyConfig.from_mapping(keys)


def checked(**keys: Any) -> str:
    """Return what a run prints on its configuration, before any job."""
    return output(lambda: preflight.check_and_estimate(study(**keys)))


@functools.cache
def scan() -> Any:
    rng = np.random.default_rng(0)
    y, x = np.indices((SIDE, SIDE)) - SIDE / 2
    image = np.exp(0.5j * np.cumsum(np.cumsum(rng.normal(size=(48, 64)), axis=0), axis=1) / 20)
    probe = np.exp(-(x**2 + y**2) / 20 + 0.05j * (x**2 - y * x))
    start = Reconstruction(image.astype(np.complex64), probe.astype(np.complex64), np.full(3, 30.0), np.full(3, 20.0))
    return simulate(start, COUNT, 1e5, seed=1).loaded()


def arrays(**changes: Any) -> dict[str, Any]:
    """Return the arrays of a file of counts that states no convention; None leaves one out."""
    counts = np.rint(np.square(scan().counts_scale * scan().diffraction.astype(float)))
    found = {
        "diffraction": counts.astype(np.uint32), "xcoords": scan().xcoords, "ycoords": scan().ycoords,
        "probeGuess": scan().probe, "objectGuess": scan().object,
    }  # fmt: skip
    return {key: array for key, array in {**found, **changes}.items() if array is not None}


def written(path: Path, **changes: Any) -> str:
    np.savez(path, **arrays(**changes))
    return str(path)


def loaded(case: Case, config: MeasuredConfig | None = None, **changes: Any) -> str:
    """Return what reading a file of these arrays logs or raises."""
    return output(load_scan, written(case.path / "scan.npz", **changes), config or MeasuredConfig())


def run(case: Case, *words: Any) -> str:
    return run_here(*words, directory=case.path).stderr


# before a run --------------------------------------------------------------------------------------------

RULES = """
rule prepare:
    output: "made"
    params: config.get("word")
    shell: "touch {output}"

rule broken:
    output: "never"
    shell: "false"
"""


def small(case: Case, *words: str, cores: tuple[str, ...] = ("--cores", "1")) -> str:
    """Return what Snakemake itself prints, on a workflow of two rules."""
    (case.path / "Snakefile").write_text(RULES)
    (case.path / "some.yaml").write_text("word: 1\n")
    result = snakemake(*words, *cores, directory=case.path, snakefile=case.path / "Snakefile")
    return result.stdout + result.stderr


@provokes("this workflow belongs to")
def _(case):
    (case.path / "ptycho").mkdir()
    return output(installation.check, case.path)


@provokes("the code in")
def _(case):
    return output(job_code.check_job, {"PTYCHO_CODE": "of another version"})


@provokes("the command of")
def _(case):
    return output(installation.check, case.path, str(case.path))


@provokes("compare_models.py: error: unrecognized arguments")
def _(case):
    return run(case, "compare_models.py", "--test_data", "x.npz", "--output_dir", "out", "--n_images", "512")


@provokes("ModuleNotFoundError: No module named 'ptycho'")
def _(case):
    script = [sys.executable, "-I", "-S", str(ROOT / "workflow/scripts/train.py"), "--help"]  # without its packages
    return subprocess.run(script, cwd=case.path, capture_output=True, text=True, check=False).stderr


@provokes("Invalid config definition")
def _(case):
    return small(case, "--config", "word=2", "prepare")


@provokes("FileNotFoundError")
def _(case):
    return small(case, "--configfile", "some.yaml", "prepare")


@provokes("No Snakefile found")
def _(case):
    return snakemake("--cores", "1", directory=case.path, snakefile=None).stderr


@provokes("cores have to be specified")
def _(case):
    return small(case, "prepare", cores=())


@provokes("MissingRuleException")
def _(case):
    return small(case, "results/study/psnr_phas_generalization.png")


@provokes("No rule to produce")
def _(case):
    return small(case, "results/study/psnr_phas_generalization.png")


@provokes("unknown key train_size")
def _(case):
    return output(lambda: study(train_size=512))


@provokes("expected a list")
def _(case):
    return output(lambda: study(train_sizes="512 1024"))


@provokes("no such file")
def _(case):
    return checked(input=str(case.path / "nowhere.npz"))


@provokes("the file is empty")
def _(case):
    (case.path / "empty.npz").touch()
    return checked(train_data=str(case.path / "empty.npz"))


@provokes("but the prepared training data will hold")
def _(case):
    return checked(train_sizes=[512, 16384])


@provokes("training and test data must come from one preparation")
def _(case):
    train = written(case.path / "train.npz", probeGuess=np.ones((32, 32), complex))
    return checked(train_data=train, test_data=written(case.path / "test.npz"), train_sizes=[10])


@provokes("expected a multiple of 8; change preparation.zoom_factor")
def _(case):
    return checked(preparation={"zoom_factor": 1.1})


@provokes("give this study another datasets_dir")
def _(case):
    shared = study(datasets_dir=str(case.path))
    npz.write_dataset(preflight.prepared_data(shared, "train"), scan())
    return output(preflight.check_and_estimate, shared)


@provokes("Directory cannot be locked")
def _(case):
    locks = case.path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("made\n")
    return small(case, "prepare")


@provokes("another run writes there")
def _(case):
    with (case.path / ".study.lock").open("w") as lock:  # another description of the file, as of another process
        fcntl.flock(lock, fcntl.LOCK_EX)
        return output(directories.lock_results, study(output_dir=str(case.path)))


@provokes("it cannot be written to; choose another output_dir")
def _(case):
    (case.path / "file").touch()
    return output(directories.lock_results, study(output_dir=f"{case.path}/file/out"))


# preparation and measured data ---------------------------------------------------------------------------


@provokes("Error in rule")
def _(case):
    return small(case, "never")


@provokes("an HDF5 file: convert it")
def _(case):
    (case.path / "scan.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    return checked(train_data=str(case.path / "scan.h5"))


@provokes("probeGuess missing")
def _(case):
    return loaded(case, probeGuess=None)


@provokes("the quantity of the patterns is not stated")
def _(case):
    return loaded(case)


@provokes("the position of DC is not stated")
def _(case):
    return loaded(case)


@provokes("misses the patterns by ... %...: wrong")
def _(case):
    noise = np.random.default_rng(1).normal(size=scan().object.shape)
    return loaded(case, objectGuess=np.exp(2j * noise) * scan().object)


@provokes("is the mask inverted?")
def _(case):
    mask = np.ones((SIDE, SIDE), bool)
    mask[6:10, 6:10] = False
    np.save(case.path / "mask.npy", mask)
    return loaded(case, MeasuredConfig(bad_pixels=str(case.path / "mask.npy")))


@provokes("only: metres?")
def _(case):
    return loaded(case, xcoords=1e-8 * scan().xcoords, ycoords=1e-8 * scan().ycoords)


@provokes("the pixel size of the object is not stated")
def _(case):
    return loaded(case, MeasuredConfig(positions="metres"))


@provokes("such as micrometres?")
def _(case):
    return loaded(case, xcoords=1e3 * scan().xcoords, ycoords=1e3 * scan().ycoords, objectGuess=None)


@provokes("stay inside objectGuess")
def _(case):
    return loaded(case, xcoords=scan().xcoords + 1000)


def spoiled(value: float) -> Any:
    """Return the patterns as floating-point numbers, number 5 of them filled with a value."""
    patterns = arrays()["diffraction"].astype(np.float32)
    patterns[5] = value
    return patterns


@provokes("diffraction holds NaN or infinite values")
def _(case):
    written(case.path / "scan.npz", diffraction=spoiled(np.nan))
    return run(case, "convert_dataset.py", "scan.npz", "out.npz", "--trainable")


@provokes("nothing can be learned from them")
def _(case):
    written(case.path / "scan.npz", diffraction=spoiled(0))
    return run(case, "convert_dataset.py", "scan.npz", "out.npz", "--trainable")


@provokes("leaves no test pattern")
def _(case):
    written(case.path / "scan.npz")
    return run(case, "split_dataset_tool.py", "scan.npz", "out", "--split-gap", "1000")


@provokes("train PtychoPINN alone with arms: [pinn]")
def _(case):
    data = written(case.path / "scan.npz", objectGuess=None)
    return checked(train_data=data, test_data=data, train_sizes=[10])


# training ------------------------------------------------------------------------------------------------


@provokes("another training writes here")
def _(case):
    case.patch.setattr(training, "_held", [])
    with (case.path / training.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return output(training.lock_output_dir, case.path)


@provokes("the training starts from the beginning")
def _(case):
    from ptycho.config.schema import TrainingConfig
    from ptycho.models.checkpoints import CheckpointCallback

    path = case.path / "checkpoint-0.h5"
    path.write_bytes(b"no HDF5")
    model = SimpleNamespace(weights=[], optimizer=SimpleNamespace(variables=[]))
    return output(CheckpointCallback(TrainingConfig(), "loss", path).resume, model)


@provokes("or make the dataset larger (simulation.n_images)")
def _(case):
    written(case.path / "scan.npz")
    return run(case, "train.py", "--train_data_file", "scan.npz", "--n_images", "31", "--output_dir", "model")


def out_of_memory(advice: str) -> str:
    import tensorflow as tf

    from ptycho.models import devices

    def exhausted() -> None:
        with devices.explain_out_of_memory(getattr(devices, advice)):
            lines = "Graph execution error:\n\nOOM when allocating tensor with shape[16,64] and type float\nHint: ..."
            raise tf.errors.ResourceExhaustedError(None, None, lines)

    return output(exhausted)


@provokes("the same training in parts (--micro_batches 2)")
def _(case):
    return out_of_memory("TRAINING_ADVICE")


@provokes("or inference on the CPU")
def _(case):
    return out_of_memory("INFERENCE_ADVICE")


@provokes("error: not enough memory")
def _(case):
    def main(arguments):
        raise MemoryError("Unable to allocate 9.00 GiB")

    case.patch.setattr("sys.argv", ["simulate_and_save.py"])
    before = signal.getsignal(signal.SIGTERM)
    try:
        cli.run(main, argparse.ArgumentParser())
    except SystemExit as stop:
        return str(stop.code)
    finally:
        signal.signal(signal.SIGTERM, before)
    return ""


@provokes("of memory that this machine has free: split the file")
def _(case):
    return output(files.require_memory, "scan.npz", "diffraction", 1 << 60)


def training_that_ends(case: Case, losses: list[float], *, collapsed: bool) -> str:
    """Return the log of the end of a training whose losses are given: all epochs are done, none is trained."""
    from ptycho.config.schema import TrainingConfig
    from ptycho.models import training as loop

    done = SimpleNamespace(
        history={"loss": losses, "val_loss": losses}, seconds=[1.0] * len(losses), best_epoch=1,
        resume=lambda model: len(losses), finish=lambda model: None,
    )  # fmt: skip
    case.patch.setattr(loop, "CheckpointCallback", lambda *arguments, **options: done)
    case.patch.setattr(loop, "_collapsed", lambda model, validation: "all the same" if collapsed else None)
    case.patch.setattr(loop.keras.optimizers, "Adam", lambda rate, beta_2: None)
    model = SimpleNamespace(
        compile=lambda **options: None, optimizer=SimpleNamespace(build=lambda variables: None),
        trainable_variables=[], layers=[],
    )  # fmt: skip
    return output(loop.fit, model, [0], [0], TrainingConfig(epochs=len(losses)))


@provokes("% of their amplitude")
def _(case):
    good = scan()
    npz.write_dataset(case.path / "wrong.npz", replace(good, metadata=replace(good.metadata, model_mismatch=0.9)))
    study_of_it = study(train_data=str(case.path / "wrong.npz"), test_data=str(case.path / "wrong.npz"))
    return "\n".join(f"warning: {line}" for line in preflight.warnings(study_of_it))


@provokes("the training diverged")
def _(case):
    return training_that_ends(case, [0.5, float("nan")], collapsed=False)


@provokes("the training collapsed")
def _(case):
    return training_that_ends(case, [0.5, 0.4], collapsed=True)


def compared(case: Case, image: Any, **options: Any) -> str:
    """Return what the comparison of an object with the true one logs."""
    arm, region = comparison.Arm("Baseline", image, 1.0), (slice(12, 108), slice(15, 125))
    return output(comparison.compare, [arm], case.truth, region, **{"registration_max_px": 3.0, **options})


@provokes("Baseline: contrast")
def _(case):
    return compared(case, np.full_like(case.truth, 0.5))


@provokes("Params have changed since last execution")
def _(case):
    small(case, "prepare", "--config", "word=1")
    assert (case.path / "made").exists()
    return small(case, "prepare", "--dry-run", "--config", "word=2")


@provokes("but TensorFlow finds no GPU")
def _(case):
    import tensorflow as tf

    from ptycho.models import devices

    case.patch.setenv("CUDA_VISIBLE_DEVICES", "1")
    case.patch.delenv("OMP_NUM_THREADS", raising=False)
    case.patch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
    case.patch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    return output(devices.configure)


@provokes("run fewer at a time (--resources gpu)")
def _(case):
    locks = [gpu_lock.take(["0"], case.path)[1] for _ in range(gpu_lock.SLOTS)]
    try:
        return output(gpu_lock.take, ["0"], case.path)
    finally:
        for lock in locks:
            lock.close()


# comparison ----------------------------------------------------------------------------------------------


@provokes("no wts.h5.zip there")
def _(case):
    from ptycho.models import serialization

    return output(serialization.load, case.path, "pinn")


@provokes("neither wts.h5.zip nor baseline_model.h5 there")
def _(case):
    return output(inference.model_kind, case.path)


@provokes("not the history of a training")
def _(case):
    (case.path / "history.json").write_text("{}")
    return output(inference.training_status, case.path)


@provokes("use data of the same preparation")
def _(case):
    return output(inference.TrainedModel(case.path, None, 64, None).in_its_unit, scan())


@provokes("nothing to compare")
def _(case):
    return run(case, "compare_models.py", "--test_data", "x.npz", "--output_dir", "out")


@provokes("objectGuess missing")
def _(case):
    def stop(*arguments):
        raise InputError("the warning precedes the comparison")

    case.patch.setattr(compare, "ScanComparison", stop)
    data = written(case.path / "test.npz", objectGuess=None)
    words = ["--recon", "other.npz", "--test_data", data, "--output_dir", "out"]
    return output(compare.main, compare.build_parser().parse_args(words))


@provokes("NaN or infinite values within the evaluated region")
def _(case):
    return compared(case, np.full_like(case.truth, np.nan))


@provokes("registration refused")
def _(case):
    return compared(case, case.specimen(np.arange(120.0)[:, None] - 20, np.arange(140.0)))


@provokes("the test scan covers")
def _(case):
    covered = np.arange(140) < np.full((120, 1), 100)
    return compared(case, case.truth, covered=covered)


@provokes("the test positions span")
def _(case):
    return output(stitching.evaluated_region, np.full(3, 20.0), np.full(3, 20.0), 8, (48, 64))


# analysis ------------------------------------------------------------------------------------------------


def tabled(case: Case) -> Path:
    """Make a study of one trial of 64 images, and return the directory of the trial."""
    trial = case.path / "train_64" / "trial_1"
    trial.mkdir(parents=True)
    (trial / "comparison_metrics.csv").write_text("model,metric,amplitude,phase\nPtychoPINN,psnr,30,20\n")
    return trial


@provokes("no results; looked for")
def _(case):
    return output(trials.read_trials, case.path)


@provokes("no results for sizes")
def _(case):
    tabled(case)
    return output(trials.select, trials.read_trials(case.path), [512], 3)


@provokes("its metrics are excluded from all tables")
def _(case):
    run_dir = tabled(case) / "pinn_run"
    run_dir.mkdir()
    (run_dir / "training.log").touch()
    return output(trials.read_trials, case.path)


# speed and memory ----------------------------------------------------------------------------------------


@provokes("images to simulate")
def _(case):
    return preflight.check_and_estimate(study())


# the page ------------------------------------------------------------------------------------------------


def test_every_message_of_the_page_has_one_case():
    assert len(MESSAGES) > 50
    assert [message for message in MESSAGES if sum(part in message for part in CASES) != 1] == []
    assert [part for part in CASES if len(found_by(part)) != 1] == []


@pytest.mark.parametrize("part", CASES)
def test_the_message_is_what_the_program_prints(part, tmp_path, monkeypatch, truth, specimen):
    (message,) = found_by(part)
    printed = CASES[part](Case(tmp_path, monkeypatch, truth, specimen))
    assert pattern(message).search(printed), printed[-2000:]


def test_a_message_that_differs_is_noticed():
    assert pattern("...: no such file; check the path").search("error: a.npz: no such file; check the path\n")
    assert not pattern("...: no such file; check the path").search("error: a.npz: no such file; check the paths\n")
    assert not pattern("...: no such file").search("error: a.npz: no such file; check the path\n")
