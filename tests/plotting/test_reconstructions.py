import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color

from ptycho.config.schema import PlotsConfig
from ptycho.errors import InputError
from ptycho.plotting import frc, object_panels, reconstructions, style

PLOTS = PlotsConfig(dpi=60)


def images(figure):
    return {(a.get_subplotspec().rowspan.start, a.get_subplotspec().colspan.start): a.images[0]
            for a in figure.axes if a.get_subplotspec() and a.images}  # fmt: skip


def without_truth(objects):
    return {name: array for name, array in objects.items() if name != "ground_truth"}


def test_comparison_shows_the_truth_and_both_errors(objects, metrics, tmp_path):
    figure = reconstructions.comparison_figure(objects, metrics, "A trial", PLOTS, region_px=(8, 31, 5, 44))
    panels = images(figure)
    assert set(panels) == {(r, c) for r in range(4) for c in range(3)} - {(2, 0), (3, 0)}
    truth = objects["ground_truth"]
    assert np.allclose(panels[0, 0].get_array(), np.angle(truth))
    assert np.allclose(panels[0, 1].get_array(), np.angle(truth) + 0.01)
    assert np.allclose(panels[2, 1].get_array(), 0.01)
    assert np.allclose(panels[2, 2].get_array(), 0.1)
    assert np.allclose(panels[3, 2].get_array(), 0.1 * np.abs(truth))
    for row in range(4):
        assert len({panels[place].get_clim() for place in panels if place[0] == row}) == 1
    heads = [axes.get_title() for axes in figure.axes[:3]]
    assert heads == ["Ground truth", "PtychoPINN", "Baseline (collapsed)"]
    words = [axes.get_xlabel() for axes in figure.axes]
    assert "RMSE 0.01 rad, SSIM 0.950" in words
    assert "rows 8 to 31, columns 5 to 44" in words
    style.save_figure(figure, tmp_path / "c.png", PLOTS)
    assert (tmp_path / "c.png").stat().st_size > 1000


def test_names_may_be_those_of_the_models_and_a_failed_model_keeps_its_column(objects, metrics):
    some = {"Ground truth": objects["ground_truth"], "PtychoPINN": objects["pinn"]}
    figure = reconstructions.comparison_figure(some, metrics, "A trial", PLOTS)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts.count("no reconstruction") == 4
    nan = {**objects, "baseline": np.full_like(objects["pinn"], np.nan)}
    figure = reconstructions.comparison_figure(nan, metrics, "A trial", PLOTS)
    assert [text.get_text() for axes in figure.axes for text in axes.texts].count("no reconstruction") == 4


def test_flat_objects_and_tiny_ones_are_drawn(metrics, tmp_path):
    flat = {name: np.ones((3, 2), complex) for name in ("ground_truth", "pinn")}
    style.save_figure(reconstructions.comparison_figure(flat, metrics, "Flat", PLOTS), tmp_path / "d.png", PLOTS)


def test_without_a_truth_the_models_are_shown_alone_on_shared_scales(objects, tmp_path, unscored):
    alone = without_truth(objects)
    figure = reconstructions.comparison_figure(
        alone, unscored("no_truth", "no_truth"), "A trial", PLOTS, (8, 31, 5, 44)
    )
    panels = images(figure)
    assert set(panels) == {(r, c) for r in range(2) for c in range(2)}
    for column, name in enumerate(("pinn", "baseline")):
        assert np.allclose(panels[0, column].get_array(), np.angle(alone[name]))
        assert np.allclose(panels[1, column].get_array(), np.abs(alone[name]))
    for row in range(2):
        assert panels[row, 0].get_clim() == panels[row, 1].get_clim()
    assert panels[1, 0].get_clim()[1] == pytest.approx(1.1, abs=0.01)  # of the baseline, the brighter one
    assert [axes.get_title() for axes in figure.axes[:2]] == ["PtychoPINN", "Baseline"]
    assert figure.get_supxlabel() == "not compared with a ground truth: no error metrics"
    assert "rows 8 to 31, columns 5 to 44" in [axes.get_xlabel() for axes in figure.axes]
    style.save_figure(figure, tmp_path / "f.png", PLOTS)


def test_without_a_truth_a_failed_model_sets_no_scale(objects, tmp_path, unscored):
    wild = {"pinn": objects["pinn"], "baseline": 1e6 * objects["baseline"]}
    panels = images(reconstructions.comparison_figure(wild, unscored("no_truth", "diverged"), "", PLOTS))
    assert panels[1, 0].get_clim()[1] == pytest.approx(1, abs=0.01)
    assert panels[1, 1].get_clim() == panels[1, 0].get_clim()
    broken = {"pinn": np.full((24, 40), np.nan + 0j), "baseline": objects["baseline"]}
    for statuses in (("failed", "no_truth"), ("failed", "failed")):
        figure = reconstructions.comparison_figure(broken, unscored(*statuses), "", PLOTS)
        panels = images(figure)
        assert set(panels) == {(0, 1), (1, 1)}
        assert panels[1, 1].get_clim()[1] == pytest.approx(1.1, abs=0.01)  # where all failed, their own
        (bar,) = [axes for axes in figure.axes if any(text.get_text() == "10 px" for text in axes.texts)]
        assert bar is panels[0, 1].axes
        style.save_figure(figure, tmp_path / "g.png", PLOTS)


def test_objects_that_do_not_belong_together_are_refused(objects, metrics):
    with pytest.raises(InputError, match="no object to show"):
        reconstructions.comparison_figure({}, metrics, "", PLOTS)
    with pytest.raises(InputError, match="ground_truth holds NaN"):
        reconstructions.comparison_figure({**objects, "ground_truth": objects["pinn"] * np.nan}, metrics, "", PLOTS)
    with pytest.raises(InputError, match=r"object pinn is complex128 \(2, 2\), expected complex \(24, 40\)"):
        reconstructions.comparison_figure({**objects, "pinn": np.ones((2, 2), complex)}, metrics, "", PLOTS)


# resolution ----------------------------------------------------------------------------------------------


@pytest.fixture
def curves():
    """Two models, a ring of 10 rings each, of a region of 20 px; the pixels are of 20 nm."""
    rings = np.arange(1, 11)
    correlation = {
        ("Baseline", "amplitude"): 1 - rings / 10,
        ("Baseline", "phase"): 1 - rings / 20,
        ("PtychoPINN", "amplitude"): 1 - rings / 40,
        ("PtychoPINN", "phase"): 1 - rings / 80,
    }
    tables = [
        {"model": model, "part": part, "ring_px": rings, "cycles_per_px": rings / 20, "half_period_nm": 200 / rings}
        | {"correlation": values}
        for (model, part), values in correlation.items()
    ]
    return pd.concat(map(pd.DataFrame, tables), ignore_index=True)


def drawn(axes):
    """Return the curves of some axes by label; what has no label of its own is left out."""
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_frc_shows_a_curve_of_each_model_for_both_parts(curves, tmp_path):
    figure = frc.frc_figure(curves, "A trial", PLOTS)
    titles = [
        "Amplitude: correlation with the ground truth",
        "Phase: correlation with the ground truth",
        "Phase: spectrum of the error",
    ]
    assert [axes.get_title() for axes in figure.axes] == titles
    rings = np.arange(1, 11)
    for axes, strength in zip(figure.axes[:2], (1, 2), strict=True):
        lines = drawn(axes)
        assert list(lines) == ["PtychoPINN", "Baseline"]
        np.testing.assert_allclose(lines["Baseline"].get_xdata(), rings / 20)
        np.testing.assert_allclose(lines["Baseline"].get_ydata(), 1 - rings / 10 / strength)
        np.testing.assert_allclose(lines["PtychoPINN"].get_ydata(), 1 - rings / 40 / strength)
        (threshold,) = set(axes.lines) - set(lines.values())
        assert set(threshold.get_ydata()) == {0.5}
        assert axes.get_xlim() == (0, 0.5)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["PtychoPINN", "Baseline"]
    assert figure.get_suptitle() == "A trial"
    looks = style.model_looks(["pinn", "baseline"], PLOTS)
    assert same_color(drawn(figure.axes[1])["Baseline"].get_color(), looks["baseline"]["color"])
    style.save_figure(figure, tmp_path / "frc.png", PLOTS)


def test_frc_states_half_periods_where_the_pixel_size_is_known(curves):
    for axes in frc.frc_figure(curves, "", PLOTS).axes[:2]:
        (above,) = axes.child_axes
        assert above.get_xlabel() == "half-period (nm)"
        ticks = dict(zip(above.get_xticks(), (tick.get_text() for tick in above.get_xticklabels()), strict=True))
        # half a period of a cycle in f pixels is 20 nm / (2 f); Nyquist's is a pixel
        assert ticks == {0.125: "80", 0.25: "40", 0.375: "26.7", 0.5: "20"}
    for axes in frc.frc_figure(curves.assign(half_period_nm=np.nan), "", PLOTS).axes:
        assert axes.child_axes == []


def test_the_spectrum_of_the_phase_error_stands_beside_that_of_the_truth(curves):
    powers = curves.assign(error_power=curves["ring_px"] / 100, truth_power=1.0)
    axes = frc.frc_figure(powers, "", PLOTS).axes[2]
    pinn, baseline, truth = axes.lines
    looks = style.model_looks(["pinn", "baseline"], PLOTS)
    for line, kind in ((pinn, "pinn"), (baseline, "baseline")):
        assert same_color(line.get_color(), looks[kind]["color"])
        np.testing.assert_allclose(line.get_ydata(), np.arange(1, 11) / 100)
    assert set(truth.get_ydata()) == {1.0}
    assert axes.get_yscale() == "log"


def test_pixels_that_no_scan_covers_are_left_blank(objects):
    holed = {**objects, "pinn": np.where(np.arange(40) < 5, 0, objects["pinn"])}
    named = object_panels.checked_objects(holed)
    assert np.isnan(named["pinn"][:, :5]).all()
    assert np.isfinite(named["pinn"][:, 5:]).all()
    np.testing.assert_array_equal(named["ground_truth"], objects["ground_truth"])


def test_frc_without_a_curve_says_so(curves, tmp_path):
    figure = frc.frc_figure(curves.iloc[:0], "Nothing", PLOTS)
    for axes, absent in zip(figure.axes, ("curve", "curve", "spectrum"), strict=True):
        assert [text.get_text() for text in axes.texts] == [f"no {absent}: nothing to compare"]
        assert len(axes.lines) == 0
        assert axes.get_legend() is None
    style.save_figure(figure, tmp_path / "frc.png", PLOTS)


def test_beneath_the_truth_stand_the_frc_and_the_map_of_the_scan(objects, metrics, curves, tmp_path):
    scan = {"test": np.array([[10.0, 9.0], [40.0, 30.0], [20.0, 12.0]]), "training": np.array([[5.0, 3.0]])}
    figure = reconstructions.comparison_figure(
        objects, metrics, "A trial", PLOTS, (8, 31, 5, 44), frc_curves=curves, scan_px=scan
    )
    places = {(a.get_subplotspec().rowspan.start, a.get_subplotspec().colspan.start): a
              for a in reversed(figure.axes) if a.get_subplotspec()}  # fmt: skip
    frc, chart = places[2, 0], places[3, 0]
    lines = drawn(frc)
    assert list(lines) == ["PtychoPINN", "Baseline"]
    np.testing.assert_allclose(lines["Baseline"].get_ydata(), 1 - np.arange(1, 11) / 20)  # of the phase
    assert frc.get_title() == "Phase FRC"
    shown = {points.get_label(): np.asarray(points.get_offsets()) for points in chart.collections}
    assert set(shown) == set(scan)
    for name, positions in scan.items():
        np.testing.assert_array_equal(shown[name], positions)
    (box,) = chart.patches
    assert box.get_bbox().extents.tolist() == [5, 8, 44, 31]
    assert {text.get_text() for text in chart.get_legend().get_texts()} == set(scan)
    style.save_figure(figure, tmp_path / "i.png", PLOTS)
    low, high = chart.get_ylim()
    assert low > high  # rows count downwards, as in the images


@pytest.mark.parametrize("given", [{}, {"frc_curves": pd.DataFrame(columns=["model", "part"]), "scan_px": {}}])
def test_without_curves_and_positions_nothing_stands_beneath_the_truth(objects, metrics, given):
    figure = reconstructions.comparison_figure(objects, metrics, "A trial", PLOTS, **given)
    hidden = [axes for axes in figure.axes if not axes.axison]
    assert len(hidden) == 2
    assert not any(axes.lines or axes.collections for axes in hidden)


def test_without_a_truth_curves_and_positions_have_no_place(objects, curves, unscored):
    figure = reconstructions.comparison_figure(
        without_truth(objects), unscored("no_truth", "no_truth"), "", PLOTS, scan_px={"test": np.ones((3, 2))}
    )
    assert set(images(figure)) == {(r, c) for r in range(2) for c in range(2)}
