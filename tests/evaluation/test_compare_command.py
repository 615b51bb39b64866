"""The command that compares, on a small network that nobody trained."""

import importlib
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import fourier_shift

from ptycho.data.dataset import Dataset
from ptycho.data.lazy import LazyArray
from ptycho.errors import InputError
from ptycho.io import npz, text
from ptycho.models import inference, serialization
from ptycho.plotting import reconstructions
from ptycho.preparation.normalize import lit_factor
from ptycho.results.schema import FRC_COLUMNS

SIDE, COUNT = 16, 60  # of the scan


@pytest.fixture
def command(monkeypatch):
    return importlib.import_module("ptycho.commands.compare")


@pytest.fixture
def compare(command, trained, tmp_path):
    """Compare on a dataset, and return the directory of the results."""

    def call(dataset, *words):
        npz.write_dataset(tmp_path / "test.npz", dataset)
        paths = ["--pinn_dir", trained, "--test_data", tmp_path / "test.npz", "--output_dir", tmp_path / "out"]
        words = (*paths, "--dpi", 60, "--stitch_crop_px", 12, *words)
        command.main(command.build_parser().parse_args([str(word) for word in words]))
        return tmp_path / "out"

    return call


@pytest.fixture
def seen(monkeypatch):
    """Return the patterns that networks are given, which give windows of a little structure back."""

    patterns = []

    def patches_of(model, dataset):
        patterns.append(dataset.diffraction[:])
        return np.exp(1j * dataset.diffraction[:]).astype(np.complex64)

    monkeypatch.setattr(inference, "reconstruct_patches", patches_of)
    return patterns


def test_test_data_without_truth_gives_pictures_and_no_score(compare, scan):
    out = compare(scan)
    table = text.read_csv(out / "comparison_metrics.csv")
    assert set(table["status"]) == {"no_truth"}
    assert table[["amplitude", "phase"]].isna().all(axis=None)
    known = table.loc[table["value"].notna()].set_index("metric")["value"]
    assert known.index.tolist() == ["computation_time_s", "covered_share", "r_factor"]
    assert known["r_factor"] < 1
    assert (out / "frc_curves.csv").read_text() == f"{','.join(FRC_COLUMNS)}\n"
    arrays = npz.read_npz(out / "reconstructions.npz")
    assert set(arrays) == {"pinn_complex", "pinn_raw", "region"}
    top, bottom, left, right = arrays["region"]
    assert arrays["pinn_complex"].shape == arrays["pinn_raw"].shape == (bottom - top, right - left)
    assert (out / "comparison_plot.png").read_bytes().startswith(b"\x89PNG")


def test_with_the_truth_the_same_scan_is_scored(compare, scan, seen):
    rng = np.random.default_rng(1)
    truth = np.exp(1j * rng.normal(0, 0.1, (80, 80))).astype(np.complex64)
    out = compare(replace(scan, object=truth))
    table = text.read_csv(out / "comparison_metrics.csv").set_index("metric")
    assert set(table["status"]) == {"ok"}
    assert np.isfinite(table.loc["rmse", ["amplitude", "phase"]].to_numpy(float)).all()
    assert "ground_truth_complex" in npz.read_npz(out / "reconstructions.npz")


def test_networks_see_the_patterns_in_the_unit_of_their_training(compare, scan, seen):
    compare(scan)
    np.testing.assert_allclose(seen[0], 1.2 * scan.diffraction, rtol=1e-6)


def test_an_archive_that_names_no_unit_sees_them_as_they_are(compare, scan, seen, monkeypatch):

    load = serialization.load
    monkeypatch.setattr(serialization, "load", lambda *words: (load(*words)[0], {"window_px": SIDE}))
    compare(scan)
    np.testing.assert_array_equal(seen[0], scan.diffraction)


def test_a_sample_of_the_test_images_is_in_order_and_the_seed_decides(compare, scan, seen):
    numbered = replace(scan, diffraction=np.ones_like(scan.diffraction) * np.arange(COUNT)[:, None, None] * 0.01)
    for seed in (1, 1, 2):
        compare(numbered, "--n_test_images", 40, "--seed", seed)
    first, again, other = (patterns[:, 0, 0] for patterns in seen)
    assert len(first) == 40
    assert (np.diff(first) > 0).all()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    compare(numbered, "--n_test_images", 2 * COUNT)
    assert len(seen[-1]) == COUNT


def test_patterns_that_are_no_numbers_are_the_datas_fault_not_the_models(compare, scan):
    broken = scan.diffraction.copy()
    broken[5, 3, 3] = np.nan
    unchecked = LazyArray(broken.shape, broken.dtype, lambda numbers: broken[numbers])
    with pytest.raises(InputError, match=r"test\.npz: diffraction holds NaN"):
        compare(replace(scan, diffraction=unchecked))


@pytest.mark.parametrize("history", [[], {"status": "great"}, {"status": None}, "ok"])
def test_a_history_that_is_none_is_one_line(compare, scan, trained, history):
    (trained / "history.json").write_text(json.dumps(history))
    with pytest.raises(InputError, match=r"history\.json: not the history of a training: expected .*diverged") as error:
        compare(scan)
    assert "\n" not in str(error.value)


def test_the_status_of_the_training_is_kept(compare, scan, trained):
    (trained / "history.json").write_text(json.dumps({"status": "diverged"}))
    assert set(text.read_csv(compare(scan) / "comparison_metrics.csv")["status"]) == {"diverged"}


# reconstructions of other engines ------------------------------------------------------------------------

PROBE = np.ones((SIDE, SIDE), np.complex64)
Y, X = (array.ravel() for array in np.mgrid[20:101:8, 20:121:8].astype(float))


@pytest.fixture
def truth(truth):
    """The specimen at level 1 and mean phase 0 where the scan lights it, as it is read."""
    return (truth / lit_factor(truth, PROBE, X, Y)).astype(np.complex64)


@pytest.fixture
def score(command, truth, tmp_path):
    """Score without a model; return the table by model and metric. The patterns matter to nobody."""
    n = len(X)
    scan = Dataset(np.ones((n, SIDE, SIDE), np.float32), X, Y, PROBE, truth, None, np.arange(n))
    npz.write_dataset(tmp_path / "test.npz", scan)

    def call(*words, evaluation=("--stitch_crop_px", 12)):
        words = (
            "--test_data",
            tmp_path / "test.npz",
            "--output_dir",
            tmp_path / "out",
            "--dpi",
            60,
            *evaluation,
            *words,
        )
        command.main(command.build_parser().parse_args([str(word) for word in words]))
        return text.read_csv(tmp_path / "out" / "comparison_metrics.csv").set_index(["model", "metric"])

    return call


@pytest.fixture
def recon(tmp_path):
    """Write a reconstruction, and return its path."""

    def write(image, name="engine.npz", **more):
        path = tmp_path / name
        npz.write_npz(path, {"reconstructed_object": image, **more})
        return path

    return write


def moved(image, dy, dx):
    """Return an image moved by a part of a pixel, mirrored at its edges."""
    wide = np.fft.fft2(np.pad(image, 20, mode="symmetric"))
    return np.fft.ifft2(fourier_shift(wide, (dy, dx)))[20:-20, 20:-20].astype(np.complex64)


def offset(table, model="engine"):
    return [table.value[model, f"registration_offset_{axis}"] for axis in ("dy", "dx")]


def test_nothing_given_is_one_line(score):
    with pytest.raises(
        InputError, match=r"nothing to compare: give .*--iterative_dir, --refined_dir or --recon"
    ) as error:
        score()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (("engine.npz", "other/engine.npz"), "the name engine cannot be distinguished from engine"),
        (("My-net.npz", "my_net.npz"), "the name my_net cannot be distinguished from My-net"),
        (("Ground-truth.npz",), "the name Ground-truth cannot be distinguished from the ground truth"),
        (("_run.npz",), "the name _run does not begin with a letter"),
        (("é.npz",), "the name é does not begin with a letter"),
        (("PINN.npz",), "the name PINN cannot be distinguished from PtychoPINN"),
        (("iterative.npz",), "the name iterative cannot be distinguished from Iterative"),
    ],
)
def test_names_that_nothing_could_tell_apart_are_refused(score, recon, truth, tmp_path, files, words):
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match=f"--recon: {words}"):
        score(*(word for name in files for word in ("--recon", recon(truth, name))))
    assert not (tmp_path / "out").exists()


def test_the_truth_from_another_engine_is_perfect(score, recon, truth, tmp_path):
    table = score("--recon", recon(truth, "my engine.npz", computation_time_s=2.5))
    assert set(table.index.get_level_values("model")) == {"my engine"}
    assert set(table["status"]) == {"ok"}
    for metric, value in {"rmse": 0, "mae": 0, "psnr": np.inf, "ssim": 1, "frc50_at_nyquist": 1}.items():
        assert table.loc[("my engine", metric), ["amplitude", "phase"]].tolist() == pytest.approx([value, value])
    assert table.value["my engine", "computation_time_s"] == 2.5
    assert offset(table, "my engine") == [0, 0]
    arrays = npz.read_npz(tmp_path / "out" / "reconstructions.npz")
    assert set(arrays) == {"ground_truth_complex", "my engine_complex", "my engine_raw", "region"}
    top, bottom, left, right = arrays["region"]
    np.testing.assert_array_equal(arrays["my engine_raw"], truth[top:bottom, left:right])
    curves = text.read_csv(tmp_path / "out" / "frc_curves.csv")
    assert set(curves["model"]) == {"my engine"}
    assert curves["correlation"].tolist() == pytest.approx([1] * len(curves))
    assert (tmp_path / "out" / "frc_curves.png").read_bytes().startswith(b"\x89PNG")


def test_what_ptychography_leaves_free_is_taken_out(score, recon, truth):
    y, x = np.mgrid[: truth.shape[0], : truth.shape[1]]
    free = 1.7 * moved(truth, 0.6, -1.3) * np.exp(1j * (0.02 * y - 0.01 * x + 2))
    table = score("--recon", recon(free.astype(np.complex64)))
    assert offset(table) == pytest.approx([-0.6, 1.3], abs=0.051)
    assert table.loc[("engine", "rmse"), ["amplitude", "phase"]].max() < 0.01
    assert table.value["engine", "amplitude_scale"] == pytest.approx(1 / 1.7, rel=1e-3)
    assert table.value["engine", "phase_slope_y"] == pytest.approx(0.02, abs=1e-4)
    assert table.value["engine", "registration_refused"] == 0


def test_a_time_that_is_not_told_is_left_open(score, recon, truth):
    assert np.isnan(score("--recon", recon(truth)).value["engine", "computation_time_s"])


def test_registration_may_be_skipped(score, recon, truth):
    path = recon(moved(truth, 2, -1))
    found = score("--recon", path)
    assert offset(found) == pytest.approx([-2, 1])
    left = score("--recon", path, "--skip-registration")
    assert offset(left) == [0, 0]
    assert left.value["engine", "registration_refused"] == 0
    assert left.phase["engine", "rmse"] > 20 * found.phase["engine", "rmse"]


def test_what_lies_too_far_is_refused_and_stays(score, recon, truth, specimen):
    far = specimen(np.arange(120.0)[:, None] - 20, np.arange(140.0)).astype(np.complex64)
    table = score("--recon", recon(far))
    assert table.value["engine", "registration_refused"] == 1
    assert offset(table) == [0, 0]
    assert table.phase["engine", "rmse"] > 0.1
    assert set(table["status"]) == {"ok"}


def test_a_reconstruction_that_is_no_number_fails_and_the_others_do_not(score, recon, truth, tmp_path):
    broken = recon(np.full_like(truth, np.nan), "broken.npz")
    table = score("--recon", broken, "--recon", recon(truth))
    assert set(table.loc["broken", "status"]) == {"failed"}
    assert table.loc["broken", ["amplitude", "phase"]].isna().all(axis=None)
    assert set(table.loc["engine", "status"]) == {"ok"}
    assert table.phase["engine", "rmse"] == pytest.approx(0)
    assert set(text.read_csv(tmp_path / "out" / "frc_curves.csv")["model"]) == {"engine"}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda truth: truth[1:], "reconstructed_object is complex64 (119, 140)"),
        (lambda truth: truth[None], "reconstructed_object is complex64 (1, 120, 140)"),
        (lambda truth: truth.T, "reconstructed_object is complex64 (140, 120)"),
        (np.abs, "reconstructed_object is float32 (120, 140)"),
    ],
)
def test_an_object_that_does_not_fit_is_refused(score, recon, truth, change, found):
    path = recon(change(truth))
    with pytest.raises(InputError) as error:
        score("--recon", path)
    assert str(error.value).startswith(f"{path}: {found}, expected complex (120, 140)")


@pytest.mark.parametrize("seconds", [np.array([1.0, 2.0]), np.array("fast"), np.array(1j), np.array([])])
def test_a_time_that_is_no_number_is_refused(score, recon, truth, seconds):
    path = recon(truth, computation_time_s=seconds)
    with pytest.raises(InputError) as error:
        score("--recon", path)
    expected = f"{path}: computation_time_s is {seconds.dtype} {seconds.shape}, expected one number"
    assert str(error.value) == expected


def test_a_file_without_an_object_says_what_it_holds(score, truth, tmp_path):
    path = tmp_path / "engine.npz"
    npz.write_npz(path, {"image": truth, "probe": truth})
    with pytest.raises(InputError) as error:
        score("--recon", path)
    assert str(error.value) == f"{path}: reconstructed_object missing; the file holds image, probe"
    with pytest.raises(InputError, match=r"nowhere\.npz: no such file"):
        score("--recon", tmp_path / "nowhere.npz")


def test_iterative_and_refined_are_named_so(score, recon, truth, tmp_path):
    for kind in ("iterative", "refined"):
        (tmp_path / kind).mkdir()
        recon(truth, f"{kind}/reconstruction.npz", computation_time_s=len(kind))
    words = [word for kind in ("iterative", "refined") for word in (f"--{kind}_dir", tmp_path / kind)]
    table = score(*words, "--recon", recon(0.5 * truth))
    assert list(dict.fromkeys(table.index.get_level_values("model"))) == ["Iterative", "Refined", "engine"]
    assert table.value["Iterative", "computation_time_s"] == 9
    assert table.value["engine", "amplitude_scale"] == pytest.approx(2)
    keys = npz.read_npz(tmp_path / "out" / "reconstructions.npz").keys()
    assert {"iterative_complex", "iterative_raw", "refined_complex", "refined_raw"} < set(keys)


def test_a_reconstruction_stands_beside_a_model(compare, scan, seen, recon):
    rng = np.random.default_rng(1)
    truth = np.exp(1j * rng.normal(0, 0.1, (80, 80))).astype(np.complex64)
    out = compare(replace(scan, object=truth), "--recon", recon(truth))
    table = text.read_csv(out / "comparison_metrics.csv").set_index(["model", "metric"])
    assert list(dict.fromkeys(table.index.get_level_values("model"))) == ["PtychoPINN", "engine"]
    assert table.phase["engine", "rmse"] == pytest.approx(0, abs=1e-6)
    assert table.phase["PtychoPINN", "rmse"] > 0.01


# metrics of a user's own ---------------------------------------------------------------------------------


def test_a_users_metric_is_a_row_of_amplitude_and_phase(score, recon, truth, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def worst(target, prediction):\n    return abs(prediction - target).max()\n"
        "def high(target, prediction):\n    return target.max()\n"
    )
    spot = truth.copy()
    spot[60, 70] *= 1.5 * np.exp(0.5j)
    table = score("--recon", recon(spot), "--skip-registration", "--custom-metrics", tmp_path / "mine.py")
    arrays = npz.read_npz(tmp_path / "out" / "reconstructions.npz")
    target, aligned = arrays["ground_truth_complex"], arrays["engine_complex"]
    worst = np.abs(np.abs(aligned) - np.abs(target)).max(), np.abs(np.angle(aligned * target.conj())).max()
    assert worst == pytest.approx((0.5 * np.abs(truth[60, 70]), 0.5), rel=1e-2)
    assert table.loc[("engine", "worst"), ["amplitude", "phase"]].tolist() == pytest.approx(worst, rel=1e-3)
    highest = np.abs(target).max(), np.angle(target).max()
    assert table.loc[("engine", "high"), ["amplitude", "phase"]].tolist() == pytest.approx(highest)
    assert np.isnan(table.value["engine", "worst"])


def test_a_users_metric_that_fails_is_one_line_before_anything_is_read(score, recon, truth, tmp_path):
    (tmp_path / "mine.py").write_text("def poor(target, prediction):\n    return None\n")
    with pytest.raises(InputError, match=r"mine\.py: poor\(target, prediction\).*expected to return a number"):
        score("--recon", tmp_path / "nowhere.npz", "--custom_metrics", tmp_path / "mine.py")


# flags ---------------------------------------------------------------------------------------------------


def test_no_reconstructions_are_written_where_none_are_wanted(score, recon, truth, tmp_path):
    score("--recon", recon(truth), "--no-save-npz")
    assert not (tmp_path / "out" / "reconstructions.npz").exists()
    assert (tmp_path / "out" / "comparison_plot.png").exists()


def test_the_guides_flags_are_those_of_the_configuration(score, recon, truth, tmp_path):
    path = recon(truth)

    def region(*flags):
        score("--recon", path, evaluation=flags)
        return npz.read_npz(tmp_path / "out" / "reconstructions.npz")["region"].tolist()

    # positions from 20 to 100 and from 20 to 116, less 7 and plus 6, and 8 within on each side
    assert region("--stitch-crop-size", 14) == region("--stitch_crop_px", 14) == [21, 99, 21, 115]
    few = region("--stitch_crop_px", 14, "--n_test_images", 9)
    assert region("--stitch_crop_px", 14, "--n-test-images", 9) == few != [21, 99, 21, 115]


def test_the_map_shows_the_training_positions_too(compare, scan, seen, tmp_path, monkeypatch):

    drawn, draw = [], reconstructions.comparison_figure
    monkeypatch.setattr(
        reconstructions, "comparison_figure", lambda *w, **k: drawn.append(k["scan_px"]) or draw(*w, **k)
    )
    truth = np.exp(1j * np.random.default_rng(1).normal(0, 0.1, (80, 80))).astype(np.complex64)
    known = replace(scan, object=truth)
    npz.write_dataset(tmp_path / "train.npz", known.take([3, 1]))
    compare(known, "--train_data", tmp_path / "train.npz")
    positions = np.stack([scan.xcoords, scan.ycoords], axis=1)
    np.testing.assert_allclose(drawn[0]["test"], positions)
    np.testing.assert_allclose(drawn[0]["training"], positions[[3, 1]])
