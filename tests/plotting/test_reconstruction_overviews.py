import numpy as np
import pandas as pd
import pytest

from ptycho.config.schema import PlotsConfig
from ptycho.errors import InputError
from ptycho.plotting import reconstruction_overviews, style
from ptycho.results import schema

PLOTS = PlotsConfig(dpi=60)


def images(figure):
    return {(a.get_subplotspec().rowspan.start, a.get_subplotspec().colspan.start): a.images[0]
            for a in figure.axes if a.get_subplotspec() and a.images}  # fmt: skip


def without_truth(objects):
    return {name: array for name, array in objects.items() if name != "ground_truth"}


def test_overview_has_a_row_a_trial(objects, metrics, tmp_path):
    table = pd.concat([metrics.assign(trial=1), metrics.assign(trial=3)])
    without = {name: array for name, array in objects.items() if name != "baseline"}
    figure = reconstruction_overviews.size_overview_figure({3: without, 1: objects}, table, "64 images", PLOTS)
    panels = images(figure)
    assert set(panels) == {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)}
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()][:2] == ["Trial 1", "Trial 3"]
    assert "RMSE 0.1 rad, collapsed" in [axes.get_xlabel() for axes in figure.axes]
    style.save_figure(figure, tmp_path / "e.png", PLOTS)


def test_overview_without_a_truth_shows_the_models_of_every_trial(objects, tmp_path, unscored):
    first, second = unscored("no_truth", "no_truth").assign(trial=1), unscored("no_truth", "diverged").assign(trial=2)
    alone = without_truth(objects)
    both = {1: alone, 2: {**alone, "baseline": np.exp(1j * np.linspace(-3.1, 3.1, 960)).reshape(24, 40)}}
    figure = reconstruction_overviews.size_overview_figure(both, pd.concat([first, second]), "64 images", PLOTS)
    panels = images(figure)
    assert set(panels) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert np.allclose(panels[1, 0].get_array(), np.angle(alone["pinn"]))
    assert {panel.get_clim() for panel in panels.values()} == {panels[0, 0].get_clim()}
    assert panels[0, 0].get_cmap().name == "viridis"  # the diverged one alone has wraps
    assert figure.get_supxlabel() == "not compared with a ground truth: no error metrics"
    assert "diverged" in [axes.get_xlabel() for axes in figure.axes]
    assert "no_truth" not in [axes.get_xlabel() for axes in figure.axes]
    style.save_figure(figure, tmp_path / "h.png", PLOTS)


def test_the_strip_has_a_row_a_model_a_column_a_size_and_the_reference_beneath_the_truth(objects):
    objects = objects | {"iterative": objects["pinn"]}
    rows = pd.DataFrame(
        [(size, model, "rmse", 0.1, value, np.nan, status)
         for size, value, status in ((64, 0.25, "collapsed"), (128, 0.125, "ok"))
         for model in ("PtychoPINN", "Baseline", "Iterative")],
        columns=["train_size", *schema.COLUMNS],
    )  # fmt: skip
    figure = reconstruction_overviews.strip_figure({128: objects, 64: objects}, rows, "Sizes", PLOTS)
    panels = [axes for axes in figure.axes if axes.get_images()]
    assert [axes.get_title() for axes in panels] == ["64 images", "128 images", "Ground truth", "", "", "Iterative"]
    assert [axes.get_ylabel() for axes in panels] == ["PtychoPINN", "", "", "Baseline", "", ""]
    scores = ["RMSE 0.25 rad, collapsed", "RMSE 0.125 rad"]
    assert [axes.get_xlabel() for axes in panels] == [*scores, "", *scores, "RMSE 0.125 rad"]


def test_a_strip_shows_the_centre_of_a_large_region(objects, monkeypatch):
    monkeypatch.setattr(reconstruction_overviews, "DETAIL_PX", 30)
    rows = pd.DataFrame(columns=["train_size", *schema.COLUMNS])
    figure = reconstruction_overviews.strip_figure({64: objects}, rows, "Sizes", PLOTS)
    assert figure.get_suptitle() == "Sizes; centre, 24 × 30 of 24 × 40 px"
    truth = images(figure)[0, 1]
    assert np.array_equal(truth.get_array(), np.angle(objects["ground_truth"])[:, 5:35])
    low, high = np.percentile(np.angle(objects["ground_truth"]), (0.1, 99.9))  # of the whole region
    assert truth.get_clim() == pytest.approx((low, high))
    monkeypatch.setattr(reconstruction_overviews, "DETAIL_PX", 40)
    assert reconstruction_overviews.strip_figure({64: objects}, rows, "Sizes", PLOTS).get_suptitle() == "Sizes"


def test_a_strip_without_a_truth_says_so(objects):
    rows = pd.DataFrame(columns=["train_size", *schema.COLUMNS])
    figure = reconstruction_overviews.strip_figure({64: {"pinn": objects["pinn"]}}, rows, "Sizes", PLOTS)
    assert figure.get_supxlabel() == "not compared with a ground truth: no error metrics"
    with pytest.raises(InputError, match="nothing to show"):
        reconstruction_overviews.strip_figure({}, rows, "Sizes", PLOTS)


def test_without_any_trial_there_is_no_overview(metrics):
    with pytest.raises(InputError, match="no trial to show"):
        reconstruction_overviews.size_overview_figure({}, metrics.assign(trial=1), "", PLOTS)


def test_a_reference_beside_one_model_has_its_panel_and_is_marked_where_it_failed(objects):
    objects = {"ground_truth": objects["ground_truth"], "pinn": objects["pinn"], "iterative": objects["pinn"]}
    rows = pd.DataFrame(
        [(64, "PtychoPINN", "rmse", 0.1, 0.25, np.nan, "ok"), (64, "Iterative", "rmse", 0.1, 0.5, np.nan, "failed")],
        columns=["train_size", *schema.COLUMNS],
    )
    figure = reconstruction_overviews.strip_figure({64: objects}, rows, "Sizes", PLOTS)
    assert "RMSE 0.5 rad, failed" in [axes.get_xlabel() for axes in figure.axes]
    shown = {place: axes.axison for place, axes in zip(np.ndindex(2, 2), figure.axes[:4], strict=True)}
    assert shown == {(0, 0): True, (0, 1): True, (1, 0): False, (1, 1): True}
    alone = {name: image for name, image in objects.items() if name != "ground_truth"}
    figure = reconstruction_overviews.strip_figure({64: alone}, rows, "Sizes", PLOTS)
    assert len([axes for axes in figure.axes if axes.get_images()]) == 1
