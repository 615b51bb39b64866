import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import tensorflow as tf

from ptycho.errors import InputError
from ptycho.models import devices, gpu_lock


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Replace everything that configures TensorFlow by a record of what was asked for."""
    record = SimpleNamespace(determinism=0, intra=[], inter=[], visible=[], growth=[], capped=[], gpus=[])
    experimental, threading = tf.config.experimental, tf.config.threading
    monkeypatch.setattr(experimental, "enable_op_determinism", lambda: setattr(record, "determinism", 1))
    monkeypatch.setattr(experimental, "set_memory_growth", lambda *arguments: record.growth.append(arguments))
    monkeypatch.setattr(threading, "set_intra_op_parallelism_threads", record.intra.append)
    monkeypatch.setattr(threading, "set_inter_op_parallelism_threads", record.inter.append)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: record.gpus)
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *arguments: record.visible.append(arguments))
    monkeypatch.setattr(tf.config, "set_logical_device_configuration", lambda *given: record.capped.append(given))
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "PTYCHO_GPU_MEMORY_MB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(gpu_lock, "directory", lambda: tmp_path / "locks")
    monkeypatch.setattr(devices, "_held", [])
    return record


def gpu(number):
    return SimpleNamespace(name=f"/physical_device:GPU:{number}")


# configure -----------------------------------------------------------------------------------------------


def test_a_process_takes_one_gpu_that_grows_its_memory(calls):
    calls.gpus = [gpu(number) for number in range(3)]
    devices.configure()
    assert calls.growth == [(calls.gpus[0], True)]
    assert calls.visible == [([calls.gpus[0]], "GPU")]
    assert calls.determinism


def test_the_next_process_takes_the_next_gpu(calls, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    calls.gpus = [gpu(0), gpu(1)]
    _, other = gpu_lock.take(["5"], gpu_lock.directory())  # as another process would
    devices.configure()
    other.close()
    assert calls.visible == [([calls.gpus[1]], "GPU")]


def test_a_cap_instead_of_growth(calls, monkeypatch):
    calls.gpus = [gpu(0)]
    monkeypatch.setenv("PTYCHO_GPU_MEMORY_MB", "4000")
    devices.configure()
    assert calls.growth == []
    assert [(device, limits[0].memory_limit) for device, limits in calls.capped] == [(calls.gpus[0], 4000)]


def test_without_a_gpu_the_assigned_device_is_logged(calls, monkeypatch, caplog):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with caplog.at_level("INFO"):
        devices.configure()
    assert "CUDA_VISIBLE_DEVICES is 1, but TensorFlow finds no GPU" in caplog.text
    assert calls.visible == []


@pytest.mark.parametrize(
    ("advice", "end"),
    [
        (devices.TRAINING_ADVICE, r".*gpu=1.*--micro_batches 2.* batch_size"),
        (devices.INFERENCE_ADVICE, r".*gpu=1.*CUDA_VISIBLE_DEVICES=-1.*"),
    ],
)
def test_out_of_memory_is_explained(advice, end):
    expected = pytest.raises(InputError, match=rf"^out of memory \(OOM when allocating\): {end}$")
    with expected, devices.explain_out_of_memory(advice):
        raise tf.errors.ResourceExhaustedError(None, None, "Graph execution error:\n\nOOM when allocating\nmore lines")


def test_gpus_can_be_left_alone(calls):
    calls.gpus = [gpu(0)]
    devices.configure(use_gpu=False)
    assert calls.visible == [([], "GPU")]
    assert calls.growth == []


@pytest.mark.parametrize(
    ("value", "intra", "inter"), [("3", [3], [3]), ("0", [], []), ("", [], []), ("many", [], []), ("-2", [], [])]
)
def test_threads_follow_the_environment(calls, monkeypatch, value, intra, inter):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    devices.configure()
    assert (calls.intra, calls.inter) == (intra, inter)


def test_threads_are_tensorflows_where_the_environment_says_nothing(calls):
    devices.configure()
    assert (calls.intra, calls.inter) == ([], [])


IN_A_NEW_PROCESS = """
import json
import tensorflow as tf
from ptycho.models import devices

devices.configure()
tf.reduce_sum(tf.ones((300, 300)) @ tf.ones((300, 300)))
try:
    tf.nn.max_pool_with_argmax(tf.ones((1, 4, 4, 1)), 2, 2, "VALID")
    tf.random.uniform(())
    deterministic = False
except RuntimeError as error:
    deterministic = "determinism" in str(error)
threading = tf.config.threading
threads = threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads()
print(json.dumps([*threads, deterministic]))
"""


def test_tensorflow_itself_takes_the_threads_and_is_deterministic():
    # under op determinism TensorFlow refuses random numbers without a seed
    result = subprocess.run(
        [sys.executable, "-c", IN_A_NEW_PROCESS],
        env={**os.environ, "OMP_NUM_THREADS": "3"},
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert json.loads(result.stdout.splitlines()[-1]) == [3, 3, True]


# precision -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (set(), "float32"),
        ({"avx2", "avx512f"}, "float32"),
        ({"avx512f", "avx512_bf16"}, "mixed_bfloat16"),
        ({"amx_bf16"}, "mixed_bfloat16"),
    ],
)
def test_precision_of_a_cpu(monkeypatch, flags, expected):
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])
    monkeypatch.setattr(devices, "_cpu_flags", lambda: flags)
    assert devices.convolution_policy("auto") == expected


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"compute_capability": (7, 5)}, "float32"),
        ({"compute_capability": (8, 0)}, "mixed_bfloat16"),
        ({"compute_capability": (9, 0)}, "mixed_bfloat16"),
        ({}, "float32"),
    ],
)
def test_precision_of_a_gpu(monkeypatch, details, expected):
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [gpu(0)])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: details)
    monkeypatch.setattr(devices, "_cpu_flags", lambda: {"avx512_bf16"} if expected == "float32" else set())
    assert devices.convolution_policy("auto") == expected  # the CPU has no say


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_precision_that_was_asked_for_is_taken(monkeypatch, precision):
    other = {"avx512_bf16"} if precision == "float32" else set()
    monkeypatch.setattr(devices, "_cpu_flags", lambda: other)
    assert devices.convolution_policy(precision) == precision


def test_flags_of_cpuinfo(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: x\nvmx flags\t: vnmi\nflags\t\t: fpu avx512_bf16\n\nflags\t\t: fpu other\n")
    assert {"fpu", "avx512_bf16"} <= devices._cpu_flags(path)
    assert not {"vnmi", "other"} & devices._cpu_flags(path)
    path.write_text("Features\t: fp asimd bf16\n")  # ARM
    assert devices._cpu_flags(path) == set()
    assert devices._cpu_flags(tmp_path / "missing") == set()
