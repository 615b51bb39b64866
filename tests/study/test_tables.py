import numpy as np
import pandas as pd
import pytest

from ptycho.errors import InputError
from ptycho.io import text
from ptycho.study import tables
from ptycho.study.trials import read_trials


def row(results, size, kind):
    return results[(results["train_size"] == size) & (results["model_type"] == kind)].iloc[0]


def test_all_trials_side_by_side(known):
    wide = tables.results_all_trials(read_trials(known))
    assert list(wide.columns) == [
        "train_size", "trial", "model_type", "variant", "arm", "status",
        "psnr_amp", "psnr_phase", "mae_amp", "mae_phase", "computation_time_s",
    ]  # fmt: skip
    assert wide["model_type"].tolist() == ["pinn", "baseline"] * 4
    assert wide["status"].tolist() == ["ok", "ok", "ok", "collapsed", "ok", "failed", "ok", "ok"]
    assert wide["psnr_amp"].tolist()[:4] == [28, 18, 30, 22]
    assert wide["computation_time_s"].tolist() == [1.5] * 8


def test_results_are_the_hand_calculation(known):
    results = tables.results(read_trials(known))
    assert results[["train_size", "model_type"]].to_numpy().tolist() == [
        [64, "pinn"], [64, "baseline"], [1024, "pinn"], [1024, "baseline"],
    ]  # fmt: skip
    pinn, baseline, large = row(results, 64, "pinn"), row(results, 64, "baseline"), row(results, 1024, "pinn")
    assert (pinn.n_trials, pinn.n_failed) == (3, 0)
    # 30, 32, 37: mean 99/3, quartiles half way to the neighbours
    found = pinn[[f"psnr_phase_{key}" for key in ("mean", "median", "p25", "p75", "n_valid")]]
    assert found.tolist() == [33, 32, 31, 34.5, 3]
    assert pinn.psnr_amp_mean == 31
    # 10/30 = 0.33333, 10/32 = 0.3125, 10/37 = 0.27027: mean 0.30537; p25 between the two smallest
    assert pinn.mae_phase_mean == pytest.approx(0.30537, abs=1e-5)
    assert pinn.mae_phase_p25 == pytest.approx((0.3125 + 0.27027) / 2, abs=1e-5)
    # the collapsed 24 counts beside 20; the failed trial has no value and ranks below both
    assert (baseline.n_trials, baseline.n_failed, baseline.psnr_phase_n_valid) == (3, 2, 2)
    assert baseline[[f"psnr_phase_{key}" for key in ("mean", "median", "p25", "p75")]].tolist() == [22, 20, -np.inf, 22]
    # of an error the worst is the largest: 10/24, 10/20, inf
    assert baseline[["mae_phase_median", "mae_phase_p75"]].tolist() == [0.5, np.inf]
    # one trial: everything is its value
    assert large[[f"psnr_phase_{key}" for key in ("mean", "median", "p25", "p75")]].tolist() == [40] * 4


def test_a_trial_without_truth_is_no_failure_and_has_no_value(truthless):
    trials = read_trials(truthless)
    results = tables.results(trials)
    assert results["n_trials"].tolist() == [2, 2, 1, 1]
    assert results["n_failed"].tolist() == [0, 1, 0, 0]
    columns = [name for name in results if name.startswith(("psnr", "mae"))]
    valid = [name for name in columns if name.endswith("n_valid")]
    assert len(valid) == 4
    assert (results[valid] == 0).all(axis=None)
    assert results[[name for name in columns if name not in valid]].isna().all(axis=None)
    wide = tables.results_all_trials(trials)
    assert tables.metric_parts(wide) == [("psnr", "amp"), ("psnr", "phase"), ("mae", "amp"), ("mae", "phase")]
    assert wide["computation_time_s"].tolist() == [1.5] * 6


def test_unscored_is_a_study_without_any_value(truthless):
    wide = tables.results_all_trials(read_trials(truthless))
    assert tables.unscored(wide)
    assert not tables.unscored(wide.assign(status="failed"))
    wide.loc[0, ["psnr_phase", "status"]] = [30.0, "ok"]
    assert not tables.unscored(wide)


@pytest.mark.parametrize("q", [0.25, 0.5, 0.75])
def test_quantile_is_numpys_and_takes_infinite_values(q):
    values = np.random.default_rng(0).normal(size=6)
    assert tables.quantile(values, q) == pytest.approx(np.quantile(values, q))
    assert tables.quantile(np.array([np.inf, np.inf]), q) == np.inf


def test_infinite_psnr_counts_and_nothing_at_all_is_nan():
    summary = tables.summarize(*2 * [np.array([10, np.inf, 20, np.nan])])
    # sorted 10, 20, inf: the median is 20, a quarter of the way lies 15, three quarters infinite
    assert summary == {"mean": np.inf, "median": 20, "p25": 15, "p75": np.inf, "n_valid": 3}
    nothing = tables.summarize(*2 * [np.array([np.nan])])
    assert nothing.pop("n_valid") == 0
    assert np.isnan(list(nothing.values())).all()


def test_external_models_custom_metrics_and_models_without_any_number(write_study):
    study = write_study({(64, 1): {"My Net-2": 30.0, "Refined": 31.0, "PtychoPINN": 29.0}})
    path = study / "train_64" / "trial_1" / "comparison_metrics.csv"
    rows = text.read_csv(path)
    rows.loc[len(rows)] = ["PtychoPINN", "edge", 0.5, np.nan, np.nan, "ok"]
    rows.loc[len(rows)] = ["Iterative", np.nan, np.nan, np.nan, np.nan, "failed"]
    text.write_csv(path, rows)
    wide = tables.results_all_trials(read_trials(study))
    assert wide["model_type"].tolist() == ["pinn", "iterative", "refined", "my_net_2"]
    assert wide["status"].tolist() == ["ok", "failed", "ok", "ok"]
    assert wide["edge_amp"].tolist()[0] == 0.5
    assert wide["edge_phase"].isna().all()
    assert ("edge", "amp") in tables.metric_parts(wide)


def test_the_worst_row_decides_the_status(known):
    trials = read_trials(known)
    trials.loc[:2, "status"] = ["ok", "diverged", "collapsed"]
    assert tables.results_all_trials(trials)["status"].iloc[0] == "diverged"


def test_a_metric_that_stands_twice_is_refused(known):
    trials = read_trials(known)
    with pytest.raises(InputError, match=r"train_64, trial 1: psnr of pinn appears twice"):
        tables.results_all_trials(pd.concat([trials, trials.iloc[:1]]))
