import numpy as np
import pandas as pd
import pytest

from ptycho.config.schema import PlotsConfig
from ptycho.evaluation.spread import Part
from ptycho.plotting import style
from ptycho.plotting.uncertainty import MOST_PIXELS, NOTHING, Maps, calibration_figure, maps_figure

PLOTS = PlotsConfig(dpi=50)


@pytest.fixture
def table():
    """The table of two models of two sizes, without Baseline at the smaller one; ten bins each."""
    same = {"variant": "", "trials": 5, "excluded": 0, "note": "", "pixels": 40}
    rows = []
    for size, arm in ((64, "pinn"), (128, "pinn"), (128, "baseline")):
        for part in ("amplitude", "phase"):
            model = {**same, "train_size": size, "model_type": arm, "arm": arm, "part": part}
            rows.append({**model, "row": "all", "spread": 0.25, "rmse_mean": 0.5, "rmse_trial": 0.75})
            rows += [
                {**model, "row": "bin", "bin": n, "spread": 0.1 * n, "rmse_mean": 0.2 * n, "rmse_trial": 0.3 * n}
                for n in range(1, 11)
            ]
            rows += [
                {
                    **model,
                    "row": "coverage",
                    "sigmas": sigmas,
                    "coverage": 0.2 * sigmas,
                    "expected_coverage": 0.4 * sigmas,
                }
                for sigmas in (1, 2)
            ]
    rows += [{**same, "train_size": 64, "model_type": "baseline", "arm": "baseline", "part": "phase", "row": "all"}]
    return pd.DataFrame(rows)


@pytest.fixture
def maps():
    shape = (12, 20)
    used = np.ones(shape, bool)
    used[:2, :3] = False
    spread = np.linspace(0.1, 0.4, 240).reshape(shape)
    part = Part(np.where(used, -2 * spread, 0), np.where(used, spread, 0), np.where(used, 3 * spread, 0), used)
    return Maps.of(np.exp(1j * spread), {"amplitude": part, "phase": part})


def test_maps_are_blank_where_pixels_do_not_count(maps):
    assert np.isnan(maps.spread["phase"][:2, :3]).all()
    assert np.isnan(maps.mean[:2, :3]).all()
    assert maps.error["phase"][-1, -1] == pytest.approx(0.8)
    assert maps.spread["amplitude"][-1, -1] == pytest.approx(0.4)


def test_large_maps_are_thinned():
    side = 2 * MOST_PIXELS + 1
    used = np.ones((side, 4), bool)
    part = Part(np.zeros(used.shape), np.arange(side * 4.0).reshape(side, 4), np.zeros(used.shape), used)
    thin = Maps.of(np.ones(used.shape, complex), {"amplitude": part, "phase": part})
    assert thin.mean.shape == thin.spread["phase"].shape == (401, 2)
    assert thin.spread["phase"][1, 1] == part.spread[3, 3]


@pytest.mark.parametrize("part", ["amp", "phase"])
def test_each_size_has_a_row_with_mean_spread_and_error_of_each_model(maps, table, part, tmp_path):
    figure = maps_figure({128: {"pinn": maps, "baseline": maps}, 64: {"pinn": maps}}, table, part, PLOTS)
    panels = [axes for axes in figure.axes if axes.get_subplotspec() and axes.get_label() != "<colorbar>"][:12]
    assert [len(axes.images) for axes in panels] == [1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert [axes.get_ylabel() for axes in panels[::6]] == ["64 images", "128 images"]
    unit = " rad" if part == "phase" else ""
    assert [axes.get_xlabel() for axes in panels[:3]] == ["5 trials", f"rms 0.25{unit}", f"rms 0.5{unit}"]
    assert "too few trials" in [text.get_text() for axes in panels[3:6] for text in axes.texts]
    spread, error = (axes.images[0] for axes in panels[1:3])
    assert spread.norm.vmin == error.norm.vmin == 0
    assert spread.norm.vmax == error.norm.vmax
    assert np.nanmax(error.get_array()) == pytest.approx(0.8)
    style.save_figure(figure, tmp_path / "maps.png", PLOTS)


def test_the_calibration_has_a_curve_of_each_size_and_the_coverage(table, tmp_path):
    figure = calibration_figure(table, PLOTS)
    grid = np.array(figure.axes).reshape(2, 3)
    assert [axes.get_title() for axes in grid[1]] == ["PtychoPINN, phase", "Baseline, phase", "Coverage, phase"]
    lines = grid[1, 0].lines
    assert len(lines) == 2 * 2 + 1  # mean and single trials of two sizes, and what to expect
    assert lines[0].get_xdata() == pytest.approx(0.1 * np.arange(1, 11))
    assert lines[0].get_ydata() == pytest.approx(0.2 * np.arange(1, 11))
    assert lines[1].get_ydata() == pytest.approx(0.3 * np.arange(1, 11))
    assert lines[-1].get_ydata() / lines[-1].get_xdata() == pytest.approx(np.sqrt(1 + 1 / 5))
    assert len(grid[1, 1].lines) == 2 + 1
    shares = {tuple(line.get_ydata()) for line in grid[0, 2].lines}
    assert shares == {(0.2, 0.2), (0.4, 0.4), (0.8, 0.8), (0.2,), (0.4,), (0.8,)}
    style.save_figure(figure, tmp_path / "calibration.png", PLOTS)


def test_without_any_spread_the_figures_say_so(table):
    nothing = table[table["row"] == "all"]
    for figure in (calibration_figure(nothing, PLOTS), maps_figure({}, nothing, "phase", PLOTS)):
        assert [text.get_text() for text in figure.axes[0].texts] == [NOTHING]
