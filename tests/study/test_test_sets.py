"""The configuration of test sets, the data they share, and the tables of what models lose, by hand."""

import numpy as np
import pandas as pd
import pytest

from ptycho.config.schema import StudyConfig
from ptycho.config.test_sets import resolved, token
from ptycho.errors import InputError
from ptycho.results import layout
from ptycho.study import data_sets, test_sets
from ptycho.study.costs import read_costs

SPECIMEN = {"specimen": {"object": "lines"}}


def study(sets, **keys):
    return StudyConfig.from_mapping({"test_sets": sets, **keys})


def refusal(sets, **keys):
    with pytest.raises(InputError) as error:
        study(sets, **keys)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix("configuration: ")


# configuration -------------------------------------------------------------------------------------------


def test_a_study_has_no_test_sets_by_default():
    assert resolved(StudyConfig()) == []


def test_a_set_is_the_study_with_its_changes():
    (one,) = resolved(study({"a": {"simulation": {"n_photons": 1e5}, "seed": 7}}, seed=3))
    assert one.study.simulation.n_photons == 1e5
    assert one.study.simulation.n_images == StudyConfig().simulation.n_images
    assert (one.study.seed, one.own_data, one.probe_error.is_zero) == (7, True, True)


def test_dotted_keys_are_understood():
    (one,) = resolved(study({"a": {"simulation.n_photons": 1e5}}))
    assert one.study.simulation.n_photons == 1e5


def test_another_specimen_replaces_an_input():
    (one,) = resolved(study({"a": SPECIMEN}, input="scan.npz"))
    assert one.study.input is None
    (dose,) = resolved(study({"a": {"simulation": {"n_photons": 1}}}, input="scan.npz"))
    assert dose.study.input == "scan.npz"


def test_a_list_of_strengths_is_a_set_each_with_a_twin_whose_network_is_exact():
    sets = resolved(study({"d": {"probe_error": {"defocus_rad": [0, 0.5], "shift_px": 0}}}))
    assert [(one.name, one.strength, one.network_is_exact) for one in sets] == [
        ("d_0", ("defocus_rad", 0.0), False),
        ("d_0p5", ("defocus_rad", 0.5), False),
        ("d_0p5_exact_in_network", ("defocus_rad", 0.5), True),
    ]
    assert {one.group for one in sets} == {"d"}


def test_jitter_of_positions_has_no_twin():
    assert [one.name for one in resolved(study({"j": {"probe_error": {"position_jitter_px": 1}}}))] == ["j"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (0.5, "0p5"), (-2.0, "m2"), (1e5, "100000"), (1e9, "1e9"), (1e-5, "1em5"), ("a-b", "amb")],
)
def test_values_become_parts_of_names(value, text):
    assert token(value) == text


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({"a": {"specimn": {}}}, "unknown key test_sets.a.specimn: did you mean test_sets.a.specimen?"),
        ({"a": {"specimen": {"objct": 1}}}, "unknown key test_sets.a.specimen.objct: did you mean"),
        ({"a": {"probe_error": {"defocus": 1}}}, "did you mean test_sets.a.probe_error.defocus_rad?"),
        ({"a": {"probe_error": {"defocus_rad": 1e9}}}, "test_sets.a.probe_error.defocus_rad is 1000000000.0: "),
        ({"a": {"probe_error": {"amplitude_blur_px": -1}}}, "test_sets.a.probe_error.amplitude_blur_px is -1: "),
        ({"a": {"probe_error": {"defocus_rad": [1]}}}, "expected two different strengths or more"),
        ({"a": {"probe_error": {"defocus_rad": [1, 1]}}}, "expected two different strengths or more"),
        ({"a": {"probe_error": {"defocus_rad": [1, 2], "shift_px": [1, 2]}}}, "defocus_rad and shift_px are lists"),
        ({"a": {}}, "test_sets.a: it changes nothing"),
        ({"a": {**SPECIMEN, "test_data": "x.npz"}}, "a set is either measured or simulated"),
        ({"a": {**SPECIMEN, "measured": {"dc": "corner"}}}, "test_sets.a.measured: conventions of test_data"),
        ({"held_out": SPECIMEN}, "two sets would be called held_out"),
        ({"a": {"probe_error": {"shift_px": [1, 2]}}, "a_1": SPECIMEN}, "two sets would be called a_1"),
        ({"a": {"test_data": "{x}.npz"}}, "test_sets.a.test_data is {x}.npz: it must not contain { or }"),
        ({"a": {"simulation": {"bad_pixels": "{x}.npy"}}}, "test_sets.a.simulation.bad_pixels is {x}.npy: it must not"),
        ({"A": SPECIMEN}, "test_sets.A"),
    ],
)
def test_an_unusable_set_is_one_line(sets, message):
    assert message in refusal(sets)


def test_measured_data_cannot_be_simulated_at_another_dose():
    message = refusal({"a": {"simulation": {"n_photons": 1}}}, train_data="a.npz", test_data="b.npz")
    assert "the study's test data are measured" in message


# data ----------------------------------------------------------------------------------------------------


def key(sets, name, **keys):
    base = study(sets, **keys)
    one = next(one for one in resolved(base) if one.name == name)
    return data_sets.data_key(one.study, base)


def test_the_data_of_a_set_depend_on_its_recipe_alone():
    alone = key({"a": SPECIMEN}, "a")
    assert len(alone) == data_sets.KEY_DIGITS
    others = {"first": {"simulation": {"n_photons": 9}}, "a": SPECIMEN, "z": {"probe_error": {"shift_px": 1}}}
    assert key(others, "a") == alone
    assert key({"b": {**SPECIMEN, "probe_error": {"shift_px": 1}}}, "b") == alone  # shared
    assert key({"a": SPECIMEN}, "a", training={"epochs": 3}) == alone
    assert key({"a": {"specimen": {"object": "cells"}}}, "a") != alone
    assert key({"a": SPECIMEN}, "a", seed=1) != alone
    assert key({"a": SPECIMEN}, "a", preparation={"keep_stages": True}) == alone


def test_a_set_on_the_held_out_half_shares_the_data_of_the_study():
    assert key({"a": {"probe_error": {"shift_px": 1}}}, "a") == ""


# tables --------------------------------------------------------------------------------------------------


def write(directory, model_rows):
    directory.mkdir(parents=True)
    rows = [(model, "rmse", phase / 10, phase, None, status) for model, phase, status in model_rows]
    table = pd.DataFrame(rows, columns=["model", "metric", "amplitude", "phase", "value", "status"])
    table.to_csv(directory / "comparison_metrics.csv", index=False)


@pytest.fixture
def made(tmp_path):
    """Two sizes, three trials; at the larger one known errors."""
    for size in (16, 32):
        for trial in (1, 2, 3):
            place = tmp_path / f"train_{size}" / f"trial_{trial}"
            write(place, [("PtychoPINN", 0.10 * trial, "ok"), ("Baseline", 0.5, "ok")])
            grown = {1: 0.05, 2: 0.30, 3: 0.01}[trial]
            write(place / "test_b", [("PtychoPINN", 0.10 * trial + grown, "ok"), ("Baseline", 0.25, "ok")])
            write(place / "test_scan", [("PtychoPINN", np.nan, "no_truth"), ("Baseline", np.nan, "no_truth")])
            failed = ("Baseline", np.nan, "failed") if trial < 3 else ("Baseline", 0.9, "ok")
            write(place / "test_hard", [("PtychoPINN", 0.4, "ok"), failed])
    return tmp_path


@pytest.fixture
def losses(made):
    return test_sets.matrix(test_sets.all_trials(test_sets.read_test_sets(made, sets=["b", "scan", "hard"])))


def cell(losses, name, arm, part="phase"):
    (row,) = losses[
        (losses["test_set"] == name) & (losses["arm"] == arm) & (losses["metric"] == "rmse") & (losses["part"] == part)
    ].to_dict("records")
    return row


def test_the_loss_is_the_median_of_the_differences_within_each_trial(losses):
    row = cell(losses, "b", "pinn")
    # 0.1, 0.2, 0.3 on the held-out half; 0.15, 0.5, 0.31 here: differences 0.05, 0.3, 0.01
    assert (row["value"], row["held_out"], row["loss"]) == pytest.approx((0.31, 0.2, 0.05))
    assert (row["n_pairs"], row["train_size"], row["status"]) == (3, 32, "ok")
    assert cell(losses, "b", "baseline")["loss"] == pytest.approx(-0.25)
    assert cell(losses, "b", "pinn", "amp")["loss"] == pytest.approx(0.005)
    assert cell(losses, "held_out", "pinn")["loss"] == 0


def test_a_metric_of_which_more_is_better_loses_where_it_falls(made):
    wide = test_sets.all_trials(test_sets.read_test_sets(made)).rename(
        columns=lambda name: name.replace("rmse", "psnr")
    )
    found = test_sets.matrix(wide)
    rows = found[(found["test_set"] == "b") & (found["part"] == "phase")].set_index("arm")
    assert rows["loss"]["pinn"] == pytest.approx(-0.05)


def test_a_failed_trial_counts_as_the_worst(losses):
    row = cell(losses, "hard", "baseline")
    assert (row["value"], row["n_failed"], row["n_trials"]) == (np.inf, 2, 3)
    assert test_sets.cell_text(row, "rmse", "phase") == "failed"


@pytest.mark.parametrize(
    ("value", "loss", "expected"),
    [
        (0.1971, 0.0000941, "0.197 rad (+0.000)"),
        (0.3212, 0.1241, "0.321 rad (+0.124)"),
        (1.4498, -1.19, "1.45 rad (-1.19)"),
        (0.2, 0.0349, "0.2 rad (+0.035)"),
        (0.0999, 0.5, "0.0999 rad (+0.5000)"),
        (2.0, 0.314, "2 rad (+0.31)"),
        (1.23e-5, 9e-6, "1.23e-05 rad (+9e-06)"),
        (0.0, 0.1, "0 rad (+0.1)"),
    ],
)
def test_the_loss_has_the_decimals_of_the_value(value, loss, expected):
    row = {"status": "ok", "test_set": "b", "value": value, "loss": loss, "n_failed": 0}
    assert test_sets.cell_text(row, "rmse", "phase") == expected


def test_figures_leave_out_sweeps_and_lists_of_strengths():
    sets, variants = ["held_out", "b", "d_1", "d_1_exact_in_network"], ["", "fine", "n_photons_1000"]
    table = pd.DataFrame([{"test_set": name, "variant": variant} for name in sets for variant in variants])
    shown = test_sets.drawn(table, ["n_photons_1000"], ["d_1"])
    assert sorted(zip(shown["test_set"], shown["variant"], strict=True)) == [
        ("b", ""), ("b", "fine"), ("held_out", ""), ("held_out", "fine"),
    ]  # fmt: skip
    alone = test_sets.drawn(table[table["test_set"] != "b"], [], ["d_1"])
    assert set(alone["test_set"]) == {"held_out", "d_1", "d_1_exact_in_network"}


def test_a_set_without_a_truth_is_marked_and_holds_no_number(losses):
    row = cell(losses, "scan", "pinn")
    assert row["status"] == "no_truth"
    assert np.isnan([row["value"], row["loss"]]).all()
    assert test_sets.cell_text(row, "rmse", "phase") == "no ground truth"


def test_the_long_tables_have_a_column_of_the_test_set(made):
    by_set = test_sets.read_test_sets(made, sets=["hard", "b"])
    wide = test_sets.all_trials(by_set)
    assert list(wide.columns[:2]) == ["test_set", "train_size"]
    assert list(dict.fromkeys(wide["test_set"])) == ["held_out", "hard", "b"]
    assert len(wide) == 3 * 2 * 3 * 2
    summarized = test_sets.set_results(by_set).set_index(["test_set", "train_size", "model_type"])
    assert summarized.loc[("b", 32, "pinn"), "rmse_phase_median"] == pytest.approx(0.31)


def test_trials_can_be_selected(made):
    wide = test_sets.all_trials(test_sets.read_test_sets(made, sizes=[16], num_trials=2))
    assert set(wide["train_size"]) == {16}
    assert set(wide["trial"]) == {1, 2}


def test_a_study_without_test_sets_is_told_so(tmp_path):
    write(tmp_path / "train_16" / "trial_1", [("PtychoPINN", 0.1, "ok")])
    with pytest.raises(InputError, match="no test sets; looked for"):
        test_sets.read_test_sets(tmp_path)


def test_the_section_of_the_summary_names_who_loses_what(losses):
    text = test_sets.summary_section(losses)["Other test sets"]
    assert "| b | 0.31 rad (+0.050) | 0.25 rad (-0.250) |" in text
    assert "b: PtychoPINN loses 0.05 rad (0.2 to 0.31), Baseline gains 0.25 rad (0.5 to 0.25)" in text
    assert "Lowest phase RMSE: Baseline" in text
    assert "| scan | no ground truth | no ground truth |" in text
    assert "scan: no ground truth, so nothing is scored" in text
    assert test_sets.summary_section(None) == {}


def test_the_matrix_survives_its_file(losses, tmp_path):
    losses.to_csv(tmp_path / layout.MATRIX, index=False)
    read = test_sets.read_matrix(tmp_path / layout.MATRIX)
    pd.testing.assert_frame_equal(read, losses, check_dtype=False)
    assert test_sets.summary_section(read) == test_sets.summary_section(losses)


def test_costs_do_not_take_a_strength_or_a_key_for_a_number_of_images(tmp_path):
    names = ("iterative_test_defocus_1", "prepare_12345678", "import_test_set_scan_2", "compare_test_sets_16_3")
    (tmp_path / "benchmarks").mkdir()
    for name in names:
        (tmp_path / "benchmarks" / f"{name}.tsv").write_text("s\tcpu_time\tmax_rss\n1\t1\t1\n")
    table = read_costs(tmp_path).table.set_index("job")
    assert set(table.index) == {"iterative_test_set", "prepare_data", "import_test_set", "compare_test_sets"}
    assert table["train_size"].dropna().to_dict() == {"compare_test_sets": 16}
    assert table["trial"].dropna().to_dict() == {"compare_test_sets": 3}
