import numpy as np
import pandas as pd
import pytest

from ptycho.config.schema import PlotsConfig
from ptycho.errors import InputError
from ptycho.plotting import matrix
from ptycho.study import test_sets

PLOTS = PlotsConfig()


def rows(name, phase, status="ok", arm="pinn", sizes=(16, 32), trials=(1, 2, 3)):
    return [
        {"test_set": name, "train_size": size, "trial": trial, "model_type": arm, "variant": "", "arm": arm,
         "status": status, "rmse_amp": phase / 10, "rmse_phase": phase + 0.01 * trial}
        for size in sizes for trial in trials
    ]  # fmt: skip


@pytest.fixture
def wide():
    return pd.DataFrame(
        [
            *rows("held_out", 0.1), *rows("held_out", 0.2, arm="baseline"), *rows("held_out", 0.3, arm="iterative"),
            *rows("d_1", 0.4), *rows("d_1", 0.5, arm="baseline"), *rows("d_1_exact_in_network", 0.2),
            *rows("d_2", 0.8), *rows("d_2", np.nan, "failed", "baseline"), *rows("scan", np.nan, "no_truth"),
        ]
    )  # fmt: skip


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_the_matrix_states_value_and_loss_of_each_set_and_model(wide):
    figure = matrix.matrix_figure(test_sets.matrix(wide), PLOTS)
    phase, amplitude = figure.axes
    assert phase.get_title() == "Phase RMSE (rad)"
    assert amplitude.get_title() == "Amplitude RMSE"
    assert [label.get_text() for label in phase.get_yticklabels()] == list(dict.fromkeys(wide["test_set"]))
    found = texts(phase)
    assert "0.12 rad" in found  # held out: 0.11, 0.12, 0.13
    assert "0.42 rad (+0.300)" in found
    assert "failed" in found
    assert "no ground truth" in found
    hatched = [patch for patch in phase.patches if patch.get_hatch()]
    assert len(hatched) == 1
    assert len(phase.patches) == 5 * 3


def test_worse_cells_are_red_and_missing_ones_grey(wide):
    axes = matrix.matrix_figure(test_sets.matrix(wide), PLOTS).axes[0]
    colors = {patch.get_xy(): patch.get_facecolor()[:3] for patch in axes.patches}
    red = colors[0, 1]
    assert red[0] == 1
    assert red[1] < 0.6
    assert colors[0, 0] == (1, 1, 1)
    assert colors[2, 3] == pytest.approx((0.85,) * 3)  # the iterative arm has no result of d_2


def test_no_metric_is_one_line(wide):
    with pytest.raises(InputError, match="no RMSE"):
        matrix.matrix_figure(test_sets.matrix(wide.drop(columns=["rmse_amp", "rmse_phase"])), PLOTS)


def test_each_set_has_a_panel_on_common_axes(wide):
    figure = matrix.by_test_set_figure(wide, "rmse", "phase", PLOTS)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == list(dict.fromkeys(wide["test_set"]))
    assert len({axes.get_ylim() for axes in shown}) == 1
    medians = [line.get_ydata() for line in shown[0].lines]
    np.testing.assert_allclose(medians[0], [0.12, 0.12])
    assert "no ground truth" in texts(shown[-1])


def test_strengths_are_drawn_with_the_held_out_half_at_zero_and_the_twins_dashed(wide):
    axes = matrix.strength_figure(wide, "defocus_rad", {"d_1": 1.0, "d_2": 2.0}, PLOTS).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(lines["PtychoPINN"].get_xdata(), [0, 1, 2])
    np.testing.assert_allclose(lines["PtychoPINN"].get_ydata(), [0.12, 0.42, 0.82])
    twin = lines["PtychoPINN, exact probe in the network"]
    np.testing.assert_allclose(twin.get_ydata(), [0.12, 0.22])
    assert twin.get_linestyle() == "--"
    np.testing.assert_allclose(lines["Baseline"].get_xdata(), [0, 1])  # failed at 2
    assert axes.get_xlabel().startswith("Defocus (rad")


@pytest.mark.parametrize(("failed", "expected"), [((3,), [0, 1, 2]), ((2, 3), [0, 1])])
def test_a_failed_trial_counts_as_the_worst_at_a_strength(wide, failed, expected):
    lost = (wide["test_set"] == "d_2") & (wide["arm"] == "pinn") & wide["trial"].isin(failed)
    wide.loc[lost, "status"] = "failed"
    wide.loc[lost, "rmse_phase"] = np.nan
    axes = matrix.strength_figure(wide, "defocus_rad", {"d_1": 1.0, "d_2": 2.0}, PLOTS).axes[0]
    (line,) = [line for line in axes.lines if line.get_label() == "PtychoPINN"]
    assert line.get_xdata().tolist() == expected
    if 2 in expected:
        assert line.get_ydata()[-1] == pytest.approx(0.82)  # of 0.81, 0.82 and a failure


@pytest.mark.parametrize(("band", "drawn"), [("iqr", [0.115, 0.125]), ("range", [0.11, 0.13]), ("none", None)])
def test_bands_are_those_of_the_configuration(wide, band, drawn):
    plots = PlotsConfig(band=band)
    strengths = matrix.strength_figure(wide, "defocus_rad", {"d_1": 1.0}, plots)
    for axes in (matrix.by_test_set_figure(wide, "rmse", "phase", plots).axes[0], strengths.axes[0]):
        areas = [area for area in axes.collections if type(area).__name__ == "FillBetweenPolyCollection"]
        assert bool(areas) == bool(drawn)
        if drawn:
            heights = areas[0].get_paths()[0].vertices[:, 1]
            assert heights.min() == pytest.approx(drawn[0])
            assert np.isclose(heights, drawn[1]).any()
    words = strengths.get_supxlabel()
    assert words.startswith({"iqr": "median and quartiles", "range": "median and range", "none": "median of"}[band])


def test_strengths_without_results_are_one_line(wide):
    with pytest.raises(InputError, match="no results of the test sets e_1"):
        matrix.strength_figure(wide, "defocus_rad", {"e_1": 1.0}, PLOTS)
