import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from ptycho.errors import InputError
from ptycho.models import gpu_lock

HOLD = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("leases", sys.argv[1])  # TensorFlow is not needed
leases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(leases)
number, lock = leases.take(["0", "1"], pathlib.Path(sys.argv[2]))
print(number, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path):
    """Start a process that takes one of two devices and holds it; return it and the device's number."""
    processes = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, gpu_lock.__file__, str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_two_at_a_time_never_meet_and_a_killed_one_frees_its_device(hold):
    running = dict([hold(), hold()])
    assert sorted(running.values()) == [0, 1]
    for number in range(8):  # ten jobs in all, two at a time
        process, device = list(running.items())[number % 2]
        del running[process]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        following, taken = hold()
        assert taken == device
        running[following] = taken


def test_the_next_takes_the_device_with_the_fewest(tmp_path):
    taken = [gpu_lock.take(["a", "b"], tmp_path) for _ in range(4)]
    assert [number for number, _ in taken] == [0, 1, 0, 1]
    for number in (0, 1, 3):
        taken[number][1].close()
    assert gpu_lock.take(["a", "b"], tmp_path)[0] == 1


def test_more_processes_than_devices_share_them_evenly(hold):
    found = [hold()[1] for _ in range(10)]
    assert Counter(found) == {0: 5, 1: 5}
    assert sorted(found[:2]) == [0, 1]


def test_a_lock_that_is_closed_is_free(tmp_path):
    first, lock = gpu_lock.take(["a"], tmp_path)
    lock.close()
    second, again = gpu_lock.take(["a"], tmp_path)
    assert (first, second) == (0, 0)
    again.close()


@pytest.mark.parametrize(
    ("count", "visible", "expected"),
    [
        (2, None, ["0", "1"]), (2, "3,5", ["3", "5"]), (1, "GPU-1a, GPU-2b", ["GPU-1a"]), (2, "", ["0", "1"]),
        (2, "4", ["0", "1"]),
    ],
)  # fmt: skip
def test_devices_are_known_by_their_names_on_the_machine(count, visible, expected):
    assert gpu_lock.names(count, visible) == expected


def test_no_place_for_locks_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="the lock files of GPUs are kept there"):
        gpu_lock.take(["0"], tmp_path / "file" / "locks")
