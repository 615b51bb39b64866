import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho.config.schema import MeasuredConfig, StudyConfig
from ptycho.errors import InputError
from ptycho.io import npz
from ptycho.preparation.load import load_scan
from ptycho.study import preflight
from ptycho.study.preflight import check_and_estimate, foreign_data


def study(**keys):
    defaults = {"train_sizes": [10], "num_trials": 1, "simulation": {"n_images": 100}}
    return StudyConfig.from_mapping({**defaults, **keys})


def write(path, leave_out=(), n=20, probe_px=16):
    arrays = {
        "diffraction": np.ones((n, probe_px, probe_px), np.float32),
        "objectGuess": np.ones((60, 60), np.complex64),
        "probeGuess": np.ones((probe_px, probe_px), np.complex64),
        "Y": np.ones((n, probe_px, probe_px), np.complex64),
        "xcoords": np.full(n, 20.0),
        "ycoords": np.full(n, 20.0),
    }
    np.savez(path, **{key: value for key, value in arrays.items() if key not in leave_out})
    return str(path)


def refusal(configuration):
    with pytest.raises(InputError) as error:
        check_and_estimate(configuration)
    assert "\n" not in str(error.value)
    return str(error.value)


# sizes ---------------------------------------------------------------------------------------------------


def test_a_size_too_large_names_both_numbers_and_the_remedy():
    message = refusal(study(train_sizes=[10, 4096], simulation={"n_images": 2020}))
    # half of 2020; 4096 / 0.5
    assert "requested 4096, but the prepared training data will hold 1010" in message
    assert "raise simulation.n_images to at least 8192, or drop 4096 from train_sizes" in message


@settings(max_examples=100, deadline=None)
@given(
    size=st.integers(1, 10_000),
    fraction=st.floats(0.01, 0.99),
    n_images=st.integers(2, 500),
)
def test_the_number_of_images_advised_is_enough(size, fraction, n_images):
    keys = {"train_sizes": [size], "preparation": {"split_fraction": fraction}}
    try:
        check_and_estimate(study(**keys, simulation={"n_images": n_images}))
    except InputError as error:
        needed = int(re.search(r"at least (\d+)", str(error)).group(1))
        assert needed > n_images
        check_and_estimate(study(**keys, simulation={"n_images": needed}))
    else:
        assert size <= max(1, n_images * fraction + 0.5)


def test_half_of_the_data_from_a_file_is_told(tmp_path):
    path = write(tmp_path / "data.npz")
    (line,) = preflight.warnings(study(train_data=path))
    assert line.startswith("train_data is given, test_data is not: the other half is simulated, from the procedural")
    (line,) = preflight.warnings(study(test_data=path, input="object.npz"))
    assert line.startswith("test_data is given, train_data is not: the other half is simulated, from object.npz")
    assert preflight.warnings(study(train_data=path, test_data=path)) == preflight.warnings(study()) == []


def test_images_of_a_file_are_counted(tmp_path):
    path = write(tmp_path / "train.npz", probe_px=64)
    check_and_estimate(study(train_data=path, train_sizes=[20]))
    message = refusal(study(train_data=path, train_sizes=[21]))
    assert f"requested 21, but {path} will hold 20: drop 21 from train_sizes" in message
    assert "n_images" not in message


# files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["input", "train_data", "test_data"])
def test_a_missing_file_is_named(tmp_path, key):
    path = str(tmp_path / "nowhere.npz")
    assert f"{path}: no such file" in refusal(study(**{key: path}))


@pytest.mark.parametrize(
    ("key", "left_out"),
    [
        ("input", "objectGuess"),
        ("input", "probeGuess"),
        ("input", "ycoords"),
        ("train_data", "diffraction"),
        ("train_data", "probeGuess"),
        ("test_data", "diffraction"),
    ],
)
def test_what_a_file_lacks_is_named_with_what_it_holds(tmp_path, key, left_out):
    path = write(tmp_path / "some.npz", leave_out=(left_out,))
    message = refusal(study(**{key: path}))
    assert f"{path}: {left_out} missing; the file holds" in message
    assert "xcoords" in message.partition("holds")[2]


@pytest.mark.parametrize("key", ["input", "train_data", "test_data"])
def test_a_damaged_file_is_refused(tmp_path, key):
    path = tmp_path / "short.npz"
    write(path)
    path.write_bytes(path.read_bytes()[:5000])
    assert str(path) in refusal(study(**{key: str(path)}))


def test_measured_training_data_needs_no_truth(tmp_path):
    path = write(tmp_path / "train.npz", leave_out=("objectGuess", "Y"), probe_px=64)
    assert check_and_estimate(study(train_data=path, arms=["pinn"]))
    reason = "neither Y nor objectGuess: the baseline has nothing to learn from"
    assert f"{path}: {reason}" in refusal(study(train_data=path))


def test_halves_of_different_windows_are_refused(tmp_path):
    path = write(tmp_path / "train.npz", probe_px=16)
    assert f"{path}: patterns of 16 px, but the other half is prepared with 64 px" in refusal(study(train_data=path))


def test_other_formats_are_refused(tmp_path):
    path = tmp_path / "data.h5"
    path.write_bytes(b"something")
    assert f"{path}: damaged, or not an npz file" in refusal(study(train_data=str(path)))


# windows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window_px", "preparation", "patterns"),
    [
        (64, {"zoom_factor": 1.1}, "35.2"),
        (64, {"zoom_factor": 1, "crop_factor": 3, "bin_factor": 3}, "21.3333"),
        (64, {"zoom_factor": 1, "crop_factor": 16, "bin_factor": 16}, "4"),
    ],
)
def test_windows_must_be_multiples_of_eight(window_px, preparation, patterns):
    message = refusal(study(specimen={"window_px": window_px}, preparation=preparation))
    assert f"a probe of {window_px} px" in message
    assert f"gives patterns of {patterns} px: expected a multiple of 8" in message
    assert "change preparation.zoom_factor or the probe's size" in message


@pytest.mark.parametrize(("zoom_factor", "window_px"), [(1.5, 48), (1.25, 40)])
def test_other_windows_are_counted_on_disk(zoom_factor, window_px):
    line = check_and_estimate(study(preparation={"zoom_factor": zoom_factor}, simulation={"n_images": 10_000}))
    megabytes = 10_000 * window_px**2 * 12 / 1e6 + 10
    assert f"{megabytes:.0f} MB on disk" in line


def test_the_probe_of_the_input_counts_after_padding(tmp_path):
    path = write(tmp_path / "odd.npz", probe_px=15)
    assert check_and_estimate(study(input=path, evaluation={"stitch_crop_px": 16}))  # padded to 16
    message = refusal(study(input=path, evaluation={"stitch_crop_px": 18}))
    assert "stitch_crop_px is 18, expected at most 16" in message
    assert "a probe of 18 px" in refusal(study(input=write(tmp_path / "even.npz", probe_px=18)))


# cost ----------------------------------------------------------------------------------------------------


def test_the_cost_of_the_demo_by_hand():
    line = check_and_estimate(
        study(
            output_dir="results/demo",
            train_sizes=[64, 192, 512],
            num_trials=2,
            simulation={"n_images": 2000},
            preparation={"keep_stages": True},
            training={"epochs": 20},
        )
    )
    # 3 sizes x 2 trials x 2 models = 12 trainings; 8 preparations + 12 + 6 comparisons + 3 sizes + 20 = 49 jobs;
    # 20 epochs x 2 models x 2 trials x 768 images = 61,440 patterns; 2000 x 64^2 x 12 bytes = 98 MB of final data,
    # as much cropped, 2000 x 128^2 x 4 = 131 MB before cropping: 328 MB, and 6 trials of 10 MB
    assert line.startswith("study: results/demo: about 39 jobs, 12 trainings (61,440 patterns")
    assert "2,000 images to simulate, 388 MB on disk (up to 388 MB on the way)" in line
    assert "\n" not in line


def test_stages_that_are_not_kept_cost_on_the_way_only():
    line = check_and_estimate(study(train_sizes=[512, 1024, 2048, 4096], num_trials=5, simulation={"n_images": 20_000}))
    # 20,000 x 64^2 x 12 = 0.98 GB, and 5 times as much on the way; 20 trials of 10 MB
    assert "1.2 GB on disk (up to 3.5 GB on the way)" in line
    assert "40 trainings" in line


def test_what_is_given_is_not_simulated(tmp_path):
    path = write(tmp_path / "data.npz")
    line = check_and_estimate(study(train_data=path, test_data=path, arms=["pinn"], evaluation={"stitch_crop_px": 16}))
    # 2 imports + 1 training + 1 comparison + 1 size + 20
    assert "about 15 jobs, 1 trainings" in line
    assert "0 images to simulate, 10 MB on disk (up to 10 MB on the way)" in line


@pytest.mark.parametrize(("left_out", "megabytes"), [((), 61 + 10), (("Y",), 20 + 10)])
def test_imported_data_are_counted_on_disk(tmp_path, left_out, megabytes):
    path = write(tmp_path / "test.npz", leave_out=left_out, n=20_000)
    line = check_and_estimate(study(train_data=own(tmp_path / "train.npz"), test_data=path))
    # 20,000 x 16^2 pixels of 4 bytes, and of 8 more where there is Y; 10 MB of the trial
    assert f" {megabytes} MB on disk (up to {megabytes} MB on the way)" in line
    assert "about 15 jobs" in line  # 1 import + 2 trainings + 1 comparison + 1 size + 10


def own(path):
    """Write a dataset in the study's format."""
    npz.write_dataset(path, load_scan(write(path), MeasuredConfig(quantity="counts", dc="centre")))
    return str(path)


def test_only_files_of_other_formats_are_imported(tmp_path):
    foreign, ours = write(tmp_path / "train.npz"), own(tmp_path / "test.npz")
    assert foreign_data(study()) == {}
    assert foreign_data(study(train_data=foreign)) == {"train": foreign}
    assert foreign_data(study(train_data=foreign, test_data=ours)) == {"train": foreign}
    assert foreign_data(study(train_data=foreign, test_data=foreign)) == {"train": foreign, "test": foreign}


# arms ----------------------------------------------------------------------------------------------------


def test_iterative_alone_trains_nothing():
    line = check_and_estimate(study(arms=["iterative"], train_sizes=[10, 20], num_trials=3))
    # no trainings: 8 preparations + 6 comparisons + 2 sizes + 20
    assert "about 26 jobs, 0 trainings (0 patterns" in line


@pytest.mark.parametrize(
    ("arms", "trained"),
    [
        (["pinn"], 1),
        (["refined"], 1),
        (["pinn", "refined"], 1),
        (["pinn", "iterative"], 1),
        (["baseline", "refined"], 2),
        (["pinn", "baseline", "iterative", "refined"], 2),
    ],
)
def test_refined_starts_from_the_pinn_which_is_trained_once(arms, trained):
    settings = {"train_sizes": [10, 20], "num_trials": 3, "training": {"epochs": 7}}
    line = check_and_estimate(study(arms=arms, **settings))
    # 2 sizes x 3 trials; 7 epochs x 3 trials x 30 images
    assert f", {6 * trained} trainings ({630 * trained:,} patterns" in line
    # 8 preparations, a comparison of each trial and a retrieval that refines it, 2 sizes, 10
    jobs = 8 + 6 * (trained + ("refined" in arms) + 1) + 2 + 10
    assert f"about {jobs} jobs" in line


def test_refined_needs_no_truth_to_train_by(tmp_path):
    path = write(tmp_path / "train.npz", leave_out=("objectGuess", "Y"), probe_px=64)
    assert check_and_estimate(study(train_data=path, arms=["refined", "iterative"]))


def test_training_and_test_data_of_different_patterns_are_refused(tmp_path):
    train, test = (write(tmp_path / f"{name}.npz", probe_px=px) for name, px in (("train", 32), ("test", 16)))
    with pytest.raises(InputError, match=r"test\.npz: patterns of 16 px, but .*train\.npz has 32 px"):
        check_and_estimate(study(train_data=train, test_data=test))
