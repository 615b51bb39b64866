import math

import pytest

from ptycho.study.concurrency import needed_mb, trainings_at_a_time, visible_gpus


@pytest.mark.parametrize(
    ("visible", "count"),
    [(None, 3), ("", 0), ("-1", 0), ("0", 1), ("0,2", 2), ("0,1,2", 3), ("0,-1,2", 1), ("GPU-5f3a", 1), ("0,1,2,3", 3)],
)
def test_gpus_are_device_files_that_cuda_may_see(tmp_path, visible, count):
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm", "nvidia-caps"):
        (tmp_path / name).touch()
    assert visible_gpus(visible, tmp_path) == count


def test_no_device_file_is_no_gpu(tmp_path):
    assert visible_gpus(None, tmp_path) == visible_gpus("0", tmp_path) == 0


@pytest.mark.parametrize(
    ("cores", "gpus", "memory_mb", "n_images", "window_px", "count"),
    [
        (4, 0, math.inf, 512, 64, 4),
        (64, 4, math.inf, 512, 64, 4),  # one a GPU
        (2, 4, 100, 512, 64, 4),
        (64, 0, 10_000, 500, 64, 7),  # 80 % of the memory, 700 + 300 + 0.2 * 500 MB each
        (64, 0, 10_000, 500, 128, 3),  # 700 + 4 * 400 MB
        (64, 0, 100, 500, 64, 1),  # one always
    ],
)
def test_trainings_at_a_time(cores, gpus, memory_mb, n_images, window_px, count):
    assert trainings_at_a_time(cores, gpus, 1e6 * memory_mb, n_images, window_px, 16) == count


def test_a_larger_batch_takes_more_memory():
    assert trainings_at_a_time(64, 0, 10_000e6, 500, 64, 256) == 1  # 700 + 4,800 + 100 MB
    assert needed_mb(500, 64, 16) == pytest.approx(1100)
