import numpy as np
import pandas as pd
import pytest

from ptycho.study import image_counts, statistics, tables
from ptycho.study.trials import read_trials

SIZES = np.array([64.0, 128, 256, 512])


@pytest.mark.parametrize(
    ("target", "images"),
    [(20, 64), (19, 0), (22, 128), (21, 64 * 2**0.5), (25, 256 * 2**0.25), (28, 512), (29, np.inf), (np.nan, np.nan)],
)
def test_images_needed_are_interpolated_over_octaves(target, images):
    medians = np.array([20.0, 22, 24, 28])
    assert image_counts.images_needed(SIZES, medians, target, True) == pytest.approx(images, nan_ok=True)
    assert image_counts.images_needed(SIZES, -medians, -target, False) == pytest.approx(images, nan_ok=True)


def test_the_first_crossing_counts():
    assert image_counts.images_needed(SIZES, np.array([20.0, 24, 21, 28]), 22, True) == pytest.approx(64 * 2**0.5)


@pytest.mark.parametrize(
    ("medians", "size"),
    [
        ([20, 20.4, 20.5, 20.6], 64),
        ([20, 21, 21.2, 21.3], 128),
        ([20, 21, 21.1, 22], np.inf),
        ([20, 19, 20, 20.1], 256),
    ],
)
def test_enough_is_from_where_no_doubling_gains_half_a_decibel(medians, size):
    assert image_counts.enough_images(SIZES, np.array(medians, float)) == size


def study_of(pinn, baseline, write_study):
    """Trials with a phase PSNR as given, by size: {64: [20, 21, 22], ...}."""
    trials = {
        (size, n): {"PtychoPINN": p, "Baseline": b}
        for size in pinn
        for n, (p, b) in enumerate(zip(pinn[size], baseline[size], strict=True), 1)
    }
    return tables.results_all_trials(read_trials(write_study(trials)))


def factors(table):
    rows = table[
        (table["quantity"] == image_counts.EFFICIENCY) & (table["metric"] == "psnr") & (table["part"] == "phase")
    ]
    return rows.set_index("train_size")


def test_a_baseline_that_needs_twice_the_images(write_study):
    pinn = {64: [22.0, 22, 22], 128: [24.0, 24, 24], 256: [26.0, 26, 26]}
    baseline = {64: [20.0, 20, 20], 128: [22.0, 22, 22], 256: [24.0, 24, 24]}
    found = factors(statistics.study_statistics(study_of(pinn, baseline, write_study), 0))
    assert found.loc[[64, 128], "estimate"].tolist() == [2, 2]
    assert found.loc[64, ["ci_low", "ci_high"]].tolist() == [2, 2]
    assert found.loc[64, "verdict"] == "Baseline needs more images"
    assert found.loc[256, "estimate"] == np.inf
    assert found.loc[256, "verdict"].endswith("not reached with 256 images: more than 1")


def test_a_baseline_that_needs_fewer_and_one_that_is_not_told_apart(write_study):
    pinn = {64: [20.0, 20, 20], 128: [22.0, 22, 22]}
    fewer = factors(statistics.study_statistics(study_of(pinn, {64: [23.0] * 3, 128: [24.0] * 3}, write_study), 0))
    assert fewer.loc[128, "estimate"] == 0
    assert fewer.loc[128, "verdict"] == "PtychoPINN needs more images; reached with 64 images already: less than 0.5"
    noisy = {64: [15.0, 20, 30], 128: [16.0, 22, 31]}
    same = factors(statistics.study_statistics(study_of(pinn, noisy, write_study), 0))
    assert same.loc[64, "verdict"].startswith("not resolved")


def test_two_trials_resolve_nothing(write_study):
    pinn, baseline = {64: [22.0, 22], 128: [24.0, 24]}, {64: [20.0, 20], 128: [22.0, 22]}
    found = factors(statistics.study_statistics(study_of(pinn, baseline, write_study), 0))
    assert found.loc[64, "estimate"] == 2
    assert np.isnan(found.loc[64, "ci_low"])
    assert found.loc[64, "verdict"].startswith("not resolved")


def test_enough_images_of_a_study(write_study):
    pinn = {64: [20.0, 20, 20], 128: [22.0, 22, 22], 256: [22.1, 22.1, 22.1]}
    table = statistics.study_statistics(study_of(pinn, pinn, write_study), 0)
    row = table[(table["quantity"] == "pinn_images_enough") & (table["part"] == "phase")].iloc[0]
    assert (row["estimate"], row["ci_low"], row["ci_high"], row["verdict"]) == (128, 128, 128, "resolved")
    assert pd.isna(row["train_size"])


def test_two_models_that_do_the_same_need_the_same(write_study):
    same = {64: [20.0, 21, 22], 128: [23.0, 24, 25]}
    found = factors(statistics.study_statistics(study_of(same, same, write_study), 0))
    assert found["estimate"].tolist() == [1, 1]
    assert found["verdict"].tolist() == ["not resolved", "not resolved"]


def test_figures_of_many_resamples_are_those_of_each():
    medians = np.random.default_rng(2).normal(20, 2, (50, 4))
    medians[3, 1], medians[4, 2], medians[5, 0] = -np.inf, np.inf, np.nan
    target = np.random.default_rng(3).normal(20, 2, 50)
    needed = image_counts.images_needed(SIZES, medians, target, True)
    enough = image_counts.enough_images(SIZES, medians)
    for i in range(50):
        np.testing.assert_equal(needed[i], image_counts.images_needed(SIZES, medians[i], target[i], True))
        np.testing.assert_equal(enough[i], image_counts.enough_images(SIZES, medians[i]))
