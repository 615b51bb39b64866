import re

import numpy as np
import pandas as pd
import pytest

from ptycho.config.schema import TARGETS
from ptycho.errors import InputError
from ptycho.study import scaling_table
from ptycho.study.scaling_section import scaling_section

SIZES = (512, 1024, 2048, 4096)
METRICS = {"rmse": lambda e: e, "psnr": lambda e: -20 * np.log10(e), "ssim": lambda e: 1 - e}


def wide(error, trials=6, sizes=SIZES, spread=0.03, failed=(), arms=("pinn", "baseline")):
    """Return trials whose error follows a law, the amplitude half of the phase; ``failed`` are (size, trial)."""
    rng, rows = np.random.default_rng(1), []
    for arm in arms:
        for size in sizes:
            for trial in range(1, trials + 1):
                lost = (size, trial) in failed
                e = np.nan if lost else error(size) * (1 + spread * rng.normal())
                row = {"train_size": size, "trial": trial, "model_type": arm, "variant": "", "arm": arm}
                row["status"] = "failed" if lost else "ok"
                for metric, of in METRICS.items():
                    row |= {f"{metric}_amp": of(e / 2), f"{metric}_phase": of(e)}
                rows.append(row)
    return pd.DataFrame(rows)


def falling(size):
    return 0.05 + 8 * size**-0.7


def found(table, quantity, metric="rmse", part="phase", arm="pinn"):
    rows = table[(table["quantity"] == quantity) & (table["metric"] == metric) & (table["part"] == part)]
    (row,) = rows[rows["arm"] == arm].to_dict("records")
    return row


def test_each_model_and_metric_has_its_law():
    table = scaling_table.scaling_laws(wide(falling), {})
    assert list(table.columns) == scaling_table.COLUMNS
    assert len(table) == 2 * 3 * 2 * 5  # models, metrics, parts; a, b, c, forecast, back-test
    c = found(table, "c")
    assert c["ci_low"] < 0.7 < c["ci_high"]
    assert (c["n"], c["verdict"]) == (24, "resolved")
    forecast = found(table, "forecast")
    assert forecast["train_size"] == 8192
    assert forecast["ci_low"] < falling(8192) < forecast["ci_high"]
    test = found(table, "back_test")
    rmse = wide(falling)
    rmse = rmse.loc[(rmse["train_size"] == 4096) & (rmse["arm"] == "pinn"), "rmse_phase"]
    assert (test["train_size"], test["n"], test["measured"]) == (4096, 18, pytest.approx(rmse.mean()))
    assert test["ci_low"] < test["measured"] < test["ci_high"]
    assert test["verdict"].startswith("as predicted")


def test_psnr_and_ssim_have_the_law_of_their_error():
    table = scaling_table.scaling_laws(wide(falling), {})
    rmse, psnr, ssim = (found(table, "forecast", metric) for metric in METRICS)
    assert psnr["estimate"] == pytest.approx(-20 * np.log10(rmse["estimate"]))
    assert psnr["ci_low"] == pytest.approx(-20 * np.log10(rmse["ci_high"]))
    assert ssim["ci_low"] == pytest.approx(1 - rmse["ci_high"])
    assert found(table, "c", "psnr")["estimate"] == pytest.approx(found(table, "c")["estimate"])


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"rmse_phase": 0.10}, "reached within the measured sizes"),  # (8 / 0.05)**(1 / 0.7) = 1409
        ({"rmse_phase": 0.07}, "beyond the measured sizes, by a factor of 1."),  # (8 / 0.02)**(1 / 0.7) = 5208
        ({"rmse_phase": 0.01}, "never reached"),
        ({"rmse_phase": 0.2}, "reached with fewer images than were measured"),  # 199
    ],
)
def test_images_for_a_target(target, words):
    table = scaling_table.scaling_laws(wide(falling), target)
    row = found(table, "images_for_target")
    assert row["verdict"].startswith(words)
    (error,) = target.values()
    assert row["target"] == error
    true = (8 / (error - 0.05)) ** (1 / 0.7) if error > 0.05 else np.inf
    assert row["ci_low"] <= true <= row["ci_high"]
    same = scaling_table.scaling_laws(wide(falling), {"psnr_phase": -20 * np.log10(error)})
    assert found(same, "images_for_target", "psnr")["estimate"] == pytest.approx(row["estimate"])


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (wide(falling, sizes=SIZES[:3]), "no fit: 3 sizes, and 4 are needed"),
        (wide(falling, failed=[(2048, n) for n in (1, 2, 3)]), "no fit: half of the trials or more failed with 2048"),
        (wide(falling, failed=[(2048, 1), (512, 2)]), "resolved; 2 failed trials left out"),
        (wide(lambda size: 0.1), "flat: no change with the number of images is resolved"),
        (wide(lambda size: 0.1 * size**0.3), "flat"),
        (wide(lambda size: 0.2 if size < 1000 else 0.1), "the exponent is at its bound, 3"),
        (wide(falling, trials=1, spread=0.1), "the exponent is not determined, [0.01, 3] within"),
        (wide(lambda size: 0.2 if size < 2000 else 0.1), "the means do not follow it (lack of fit, p = "),
        (wide(lambda size: 0.2 * size**-0.03, spread=0.15), "the interval of the forecast is wider than the range"),
    ],
)
def test_a_fit_that_says_nothing_says_so(made, words):
    table = scaling_table.scaling_laws(made, {"rmse_phase": 0.06})
    assert words in found(table, "c")["verdict"]
    assert words.removeprefix("resolved; ") in found(table, "images_for_target")["verdict"]
    assert "nan" not in scaling_section(table)


def test_a_wrong_forecast_is_called_so():
    table = scaling_table.scaling_laws(wide(lambda size: 0.3 if size == 4096 else falling(size)), {})
    assert found(table, "back_test")["verdict"].startswith("error higher than predicted")


def test_models_without_training_and_unknown_targets():
    made = wide(falling, arms=("pinn", "iterative"))
    assert set(scaling_table.scaling_laws(made, {})["arm"]) == {"pinn"}
    with pytest.raises(InputError, match="target frc50_phase: not a metric with a scaling law: give one of rmse_amp"):
        scaling_table.scaling_laws(made, {"frc50_phase": 3.0})
    with pytest.raises(InputError, match="target mae_phase"):
        scaling_table.scaling_laws(made, {"mae_phase": 3.0})


def test_the_configuration_takes_the_targets_that_have_a_law():
    for metric in scaling_table.FITTED:
        assert re.fullmatch(TARGETS, f"{metric}_phase")
    names = re.findall(r"\w+", TARGETS.partition(")")[0])
    assert set(names) == set(scaling_table.FITTED)


def test_metrics_and_their_errors_are_inverse():
    errors = np.array([0.5, 0.1, 0.01])
    for metric in scaling_table.FITTED:
        there = scaling_table.from_error(metric, errors)
        assert scaling_table.as_error(metric, there) == pytest.approx(errors)
    assert scaling_table.from_error("psnr", np.array(0.1)) == pytest.approx(20)


def test_the_section_of_the_summary():
    text = scaling_section(scaling_table.scaling_laws(wide(falling), {"rmse_phase": 0.07, "psnr_phase": 40.0}))
    assert "| Phase RMSE (rad) of PtychoPINN | 0.0" in text
    assert "with 8192 images" in text
    assert "Phase RMSE of 0.07 rad, PtychoPINN: " in text
    assert "Phase PSNR of 40.00 dB, Baseline: never reached: the limit of the error is above the target." in text
    few = scaling_section(scaling_table.scaling_laws(wide(falling, sizes=(512,)), {}))
    assert "Phase RMSE (rad) of PtychoPINN: no fit: 1 size, and 4 are needed." in few
    assert "a + b" not in few
    assert scaling_section(None) == "No metric of the tables has a scaling law."


def test_a_table_that_was_cut_is_refused():
    table = scaling_table.scaling_laws(wide(falling), {})
    with pytest.raises(InputError, match=r"no row forecast of Phase RMSE .rad. of PtychoPINN: make the tables again"):
        scaling_section(table[table["quantity"] != "forecast"])
