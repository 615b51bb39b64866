"""Which model a row is about is written in columns, and never read out of a name."""

import pandas as pd
import pytest

from ptycho.errors import InputError
from ptycho.evaluation import metrics
from ptycho.io import text
from ptycho.results import layout, schema
from ptycho.results.schema import Model
from ptycho.study import artifacts, statistics, summary, tables
from ptycho.study.trials import read_trials

FOREIGN = ["Baseline U-Net", "PINN v2", "Pty-chi (ePIE)", "PtychoPINN (wide)"]


def put(path, models, psnr=30.0):
    rows = [(model, "psnr", psnr, psnr + 1, float("nan"), "ok") for model in models]
    text.write_csv(path / layout.COMPARISON_METRICS, pd.DataFrame(rows, columns=schema.COLUMNS))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("PtychoPINN", "pinn"),
        ("Baseline U-Net", "baseline_u_net"),
        ("PINN v2", "pinn_v2"),
        ("Pty-chi (ePIE)", "pty_chi_epie"),
        ("PtychoPINN (wide)", "ptychopinn_wide"),
    ],
)
def test_a_name_is_an_arm_of_the_study_itself_whatever_it_holds(name, kind):
    model = Model.named(name)
    assert (model.arm, model.variant, model.model_type) == (kind, "", kind)
    assert model.label == (name if name == "PtychoPINN" else kind)


def test_models_of_somebody_elses_study_are_no_variants(tmp_path):
    put(tmp_path / "train_64" / "trial_1", [*FOREIGN, "PtychoPINN"])
    wide = tables.results_all_trials(read_trials(tmp_path))
    assert list(wide.columns[:6]) == ["train_size", "trial", "model_type", "variant", "arm", "status"]
    assert set(wide["variant"]) == {""}
    assert wide["arm"].tolist() == wide["model_type"].tolist()
    assert wide["model_type"].tolist() == ["pinn", "baseline_u_net", "pinn_v2", "pty_chi_epie", "ptychopinn_wide"]
    results = tables.results(read_trials(tmp_path))
    found = summary.study_summary({}, results, statistics.study_statistics(wide, 0), wide, [], {})
    assert found.startswith(
        "# Generalization study: PtychoPINN, baseline_u_net, pinn_v2, pty_chi_epie and ptychopinn_wide\n"
    )


def test_a_variant_may_be_called_as_an_arm_is(tmp_path):
    for branch in (tmp_path, tmp_path / "variants" / "refined"):
        put(branch / "train_64" / "trial_1", ["PtychoPINN", "Refined"])
        text.write_json(branch / "train_64/trial_1/pinn_run/history.json", {"epoch_seconds": [len(branch.parts)]})
    wide = tables.results_all_trials(read_trials(tmp_path))
    assert wide["model_type"].tolist() == ["pinn", "pinn_refined", "refined", "refined_refined"]
    assert wide["arm"].tolist() == ["pinn", "pinn", "refined", "refined"]
    assert wide["variant"].tolist() == ["", "refined", "", "refined"]
    depth = len(tmp_path.parts)
    assert tables.times(tmp_path, wide)["training_s"].tolist() == [depth, depth + 2, depth, depth + 2]
    histories = artifacts.read_histories(tmp_path, wide)
    assert set(histories) == {(64, 1, Model("pinn")), (64, 1, Model("pinn", "refined"))}


def test_every_table_has_the_identity_in_columns(tmp_path):
    put(tmp_path / "train_64" / "trial_1", ["PtychoPINN", "Baseline"])
    put(tmp_path / "variants/wide/train_64/trial_1", ["PtychoPINN"])
    trials = read_trials(tmp_path)
    wide = tables.results_all_trials(trials)
    assert list(trials.columns) == ["train_size", "trial", "variant", "arm", *schema.COLUMNS]
    for table in (wide, tables.results(trials), tables.times(tmp_path, wide)):
        place = list(table.columns).index("model_type")
        assert list(table.columns[place : place + 3]) == ["model_type", "variant", "arm"]
        assert table["variant"].tolist() == ["", "wide", ""]
        assert table["arm"].tolist() == ["pinn", "pinn", "baseline"]
    found = statistics.study_statistics(wide, 0).drop_duplicates("quantity")
    assert found[["quantity", "variant", "arm"]].to_numpy().tolist() == [
        ["pinn_median", "", "pinn"],
        ["pinn_wide_median", "wide", "pinn"],
        ["baseline_median", "", "baseline"],
        ["pinn_minus_baseline", "", ""],
        ["baseline_images_over_pinn", "", ""],
    ]


def test_two_models_of_one_model_type_are_refused(tmp_path):
    put(tmp_path / "train_64" / "trial_1", ["PtychoPINN", "PINN v2"])
    put(tmp_path / "variants/v2/train_64/trial_1", ["PtychoPINN"])
    with pytest.raises(InputError, match=r"pinn_v2 would be both PtychoPINN \(v2\) and pinn_v2: rename"):
        tables.results_all_trials(read_trials(tmp_path))


def test_a_table_without_these_columns_is_still_read():
    old = pd.DataFrame({"train_size": [64, 64], "model_type": ["tike", "pinn"], "n_trials": [1, 1]})
    assert list(schema.with_identity(old)) == ["train_size", "model_type", "variant", "arm", "n_trials"]
    assert schema.models(old) == {"pinn": Model("pinn"), "tike": Model("tike")}


def test_the_metrics_that_are_computed_are_those_that_are_described():
    assert set(schema.METRICS) == set(metrics.METRICS)
