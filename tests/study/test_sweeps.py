"""Sweeps and variants that change data: their configuration, their tables, and their figure."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from ptycho.config.schema import PlotsConfig, StudyConfig
from ptycho.config.test_sets import resolved
from ptycho.errors import InputError
from ptycho.plotting.sweep import sweep_figure
from ptycho.study import data_sets, sweeps

DOSE = "simulation.n_photons"


def study(**keys):
    return StudyConfig.from_mapping(keys)


# configuration -------------------------------------------------------------------------------------------


def test_each_value_is_a_variant_but_that_of_the_study():
    found = study(sweep={DOSE: [1e3, "1e5", 1e9]})
    assert found.variants == {
        "n_photons_1000": {"simulation": {"n_photons": 1e3}},
        "n_photons_100000": {"simulation": {"n_photons": 1e5}},
    }
    assert sweeps.points(found) == {DOSE: {"n_photons_1000": 1e3, "n_photons_100000": 1e5, "": 1e9}}
    assert found.variant("n_photons_1000").simulation.n_photons == 1e3


def test_a_configuration_survives_being_written():
    found = study(sweep={DOSE: [1e3, 1e9]}, variants={"slim": {"pinn": {"n_filters_scale": 0.25}}})
    assert StudyConfig.from_mapping(dataclasses.asdict(found)) == found
    assert list(found.variants) == ["slim", "n_photons_1000"]


def test_a_default_study_has_no_variants_of_another_ones_sweep():
    study(sweep={DOSE: [1e3, 1e9]})
    assert StudyConfig().variants == {}


def test_equal_keys_of_two_sections_are_told_apart():
    found = study(sweep={"pinn.gridsize": [1, 2], "baseline.gridsize": [1, 2]})
    assert list(found.variants) == ["pinn_gridsize_2", "baseline_gridsize_2"]
    assert found.varied_arms("pinn_gridsize_2") == ["pinn"]


def test_words_can_be_swept():
    found = study(sweep={"specimen.object": ["lines", "dead_leaves"]})
    assert found.variant("object_lines").specimen.object == "lines"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"sweep": {"simulation.n_photon": [1, 2]}}, "did you mean sweep.simulation.n_photons?"),
        ({"sweep": {"n_photons": [1, 2]}}, "sweep.n_photons: expected a key of pinn, baseline, training, "),
        ({"sweep": {"simulatoin.n_photons": [1, 2]}}, "sweep.simulatoin.n_photons: expected a key of"),
        ({"sweep": {"evaluation.stitch_crop_px": [8, 16]}}, "sweep.evaluation.stitch_crop_px: expected a key of"),
        ({"sweep": {DOSE: [1e3]}}, "expected two different values or more; one value is no sweep"),
        ({"sweep": {DOSE: [1e3, 1e3]}}, "expected two different values or more"),
        ({"sweep": {DOSE: [1e3, -1]}}, "sweep.simulation.n_photons is -1: "),
        ({"sweep": {DOSE: [1000.0, 1000.00001]}}, "two values have one name: round them"),
        ({"sweep": {DOSE: 5}}, "sweep.simulation.n_photons is 5"),
        ({"sweep": {DOSE: [1, 2]}, "variants": {"n_photons_1": {"pinn": {"gridsize": 2}}}}, "rename it"),
        ({"variants": {"a": {"simulation": {"n_photon": 1}}}}, "did you mean variants.a.simulation.n_photons?"),
        ({"variants": {"a": {"preparation": {"keep_stages": True}}}}, "it changes none of the arms"),
        ({"variants": {"a": {"evaluation": {}}}}, "variants.a.evaluation: a variant may change"),
        ({"variants": {"a": {"simulation": {"n_photons": 1}}}, "test_data": "x.npz"}, "train_data or test_data are"),
    ],
)  # fmt: skip
def test_an_unusable_sweep_or_variant_is_one_line(keys, message):
    with pytest.raises(InputError) as error:
        study(**keys)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_variant_that_changes_the_data_runs_every_arm_again():
    found = study(
        arms=["pinn", "iterative"], variants={"low": {"simulation": {"n_photons": 1e3}}, "a": {"pinn": {"gridsize": 2}}}
    )
    assert found.varied_arms("low") == ["pinn", "iterative"]
    assert (found.varies_data("low"), found.varies_data("a")) == (True, False)
    assert data_sets.data_key(found.variant("a"), found) == ""
    assert len(data_sets.data_key(found.variant("low"), found)) == data_sets.KEY_DIGITS


def test_variants_and_test_sets_of_one_recipe_share_their_data():
    low = {"simulation": {"n_photons": 1e3}}
    found = study(variants={"low": low}, test_sets={"dim": low})
    (one,) = resolved(found)
    assert data_sets.data_key(one.study, found) == data_sets.data_key(found.variant("low"), found)


# tables and figure ---------------------------------------------------------------------------------------


def rows(variant, arm, phase, size=16):
    return [
        {"train_size": size, "trial": trial, "model_type": f"{arm}_{variant}" if variant else arm, "variant": variant,
         "arm": arm, "status": "ok", "rmse_amp": phase / 10, "rmse_phase": phase + trial / 100}
        for trial in (1, 2, 3)
    ]  # fmt: skip


@pytest.fixture
def wide():
    return pd.DataFrame(
        [
            *rows("", "pinn", 0.1), *rows("", "baseline", 0.2), *rows("", "pinn", 0.05, 32),
            *rows("low", "pinn", 0.5), *rows("mid", "pinn", 0.3), *rows("mid", "baseline", 0.4),
        ]
    )  # fmt: skip


VALUES = {"low": 1e3, "mid": 1e5, "": 1e9}


def test_the_table_holds_the_trials_of_each_value(wide):
    table = sweeps.sweep_trials(wide, VALUES, {})
    pinn = table[(table["arm"] == "pinn") & (table["train_size"] == 16)].groupby("value")["rmse_phase"].median()
    assert pinn.to_dict() == pytest.approx({1e3: 0.52, 1e5: 0.32, 1e9: 0.12})
    baseline = table[table["arm"] == "baseline"].groupby("value")["rmse_phase"].median()
    assert baseline.to_dict() == pytest.approx({1e5: 0.42, 1e9: 0.22})  # its result of low is missing
    unchanged = wide[(wide["arm"] == "pinn") | (wide["variant"] == "")]  # the key concerns PtychoPINN alone
    table = sweeps.sweep_trials(unchanged, VALUES, {})
    baseline = table[table["arm"] == "baseline"].groupby("value")["rmse_phase"].median()
    assert baseline.to_dict() == pytest.approx({1e3: 0.22, 1e5: 0.22, 1e9: 0.22})


def test_a_failed_trial_counts_as_the_worst_in_the_figure(wide):
    failed = (wide["variant"] == "mid") & (wide["arm"] == "pinn") & (wide["trial"] > 1)
    wide.loc[failed, "status"] = "failed"
    wide.loc[failed, ["rmse_amp", "rmse_phase"]] = np.nan
    figure = sweep_figure(sweeps.sweep_trials(wide, VALUES, {}), DOSE, PlotsConfig())
    phase = next(axes for axes in figure.axes if axes.get_ylabel() == "Phase RMSE (rad)")
    (levels,) = [line.get_ydata() for line in phase.lines if np.isclose(line.get_ydata()[0], 0.52)]
    np.testing.assert_allclose(levels, [0.52, np.nan, 0.12])  # two of three failed


def test_words_stand_side_by_side(wide):
    table = sweeps.sweep_trials(wide, {"low": "lines", "": "cells"}, {})
    assert table.groupby("value")["x"].first().to_dict() == {"lines": 0, "cells": 1}


def test_no_trial_is_one_line(wide):
    with pytest.raises(InputError, match="no trials of the variants far"):
        sweeps.sweep_trials(wide, {"far": 1.0}, {})


def test_the_mean_spacing_is_the_root_of_the_area_of_a_position(tmp_path):
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 40, 5), np.linspace(0, 10, 4)))
    np.savez(tmp_path / "a.npz", xcoords=x, ycoords=y)
    assert sweeps.mean_spacing_px(tmp_path / "a.npz") == pytest.approx(np.sqrt(400 / 20))


def test_the_figure_draws_each_model_and_size_on_a_logarithmic_axis_of_the_dose(wide):
    figure = sweep_figure(sweeps.sweep_trials(wide, VALUES, {}), DOSE, PlotsConfig())
    phase = next(axes for axes in figure.axes if axes.get_ylabel() == "Phase RMSE (rad)")
    amplitude = next(axes for axes in figure.axes if axes.get_ylabel() == "Amplitude RMSE")
    assert phase.get_xscale() == "log"
    assert phase.get_xlabel() or amplitude.get_xlabel() == "Photons per pattern"
    lines = [(list(line.get_xdata()), list(np.round(line.get_ydata(), 6))) for line in phase.lines]
    assert ([1e3, 1e5, 1e9], [0.52, 0.32, 0.12]) in lines
    assert len(lines) == 3  # PtychoPINN at two sizes, the baseline at one
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["PtychoPINN", "Baseline", "16 images", "32 images"]


def test_overlap_is_drawn_as_the_spacing(wide):
    table = sweeps.sweep_trials(wide, VALUES, {"low": 8.0, "mid": 4.0, "": 2.0})
    axes = sweep_figure(table, "simulation.n_images", PlotsConfig()).axes[-1]
    assert axes.get_xscale() == "linear"
    assert axes.get_xlabel() == "Mean spacing of the positions (px)"
    assert list(axes.lines[0].get_xdata()) == [2, 4, 8]
