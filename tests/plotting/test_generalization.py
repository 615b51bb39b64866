import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color

from ptycho.config.schema import PlotsConfig
from ptycho.errors import InputError
from ptycho.plotting import generalization, style
from ptycho.results.schema import Model
from ptycho.study import tables
from ptycho.study.trials import read_trials

PLOTS = PlotsConfig(dpi=60)


@pytest.fixture
def wide(known):
    return tables.results_all_trials(read_trials(known))


def points(axes, gid):
    return np.concatenate([np.asarray(c.get_offsets()) for c in axes.collections if c.get_gid() == gid])


def test_every_trial_is_a_point_on_a_log2_axis_of_the_sizes(wide):
    (axes,) = generalization.generalization_figure(wide, "psnr", "phase", PLOTS, "A study").axes
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["64", "1024"]
    assert axes.get_xticks().tolist() == [64, 1024]
    assert sorted(points(axes, "ok")[:, 1]) == [20, 30, 32, 37, 40, 50]
    assert points(axes, "not ok")[:, 1].tolist() == [24]
    medians = [line.get_ydata().tolist() for line in axes.lines]
    assert medians == [[32, 40], [20, 50]]  # of 20, 24 and a failed trial, which ranks last: 20
    assert "dB" in axes.get_ylabel()
    assert "higher is better" in axes.get_ylabel()


def test_the_band_follows_the_configuration(wide):
    def extent(band):
        plots = PlotsConfig(band=band)
        (axes,) = generalization.generalization_figure(wide, "psnr", "phase", plots).axes
        bands = [c for c in axes.collections if type(c).__name__ == "FillBetweenPolyCollection"]
        ys = [path.vertices[:, 1] for c in bands for path in c.get_paths()]
        return [(y.min(), y[:].max()) for y in ys]

    assert extent("iqr")[0] == (31, 40)  # from the lower quartile at 64 to the single trial at 1024
    assert extent("range")[0] == (30, 40)
    assert extent("none") == []


def test_what_is_left_out_is_noted(wide):
    wide.loc[(wide["train_size"] == 1024) & (wide["model_type"] == "pinn"), "psnr_phase"] = np.inf
    figure = generalization.generalization_figure(wide, "psnr", "phase", PLOTS)
    note = figure.get_supxlabel()
    assert "1 of PtychoPINN at 1024" in note
    assert "1 of Baseline at 64" in note
    assert "range of the truth" in note
    assert len(points(figure.axes[0], "ok")) == 5


def test_a_runaway_trial_does_not_flatten_the_rest(wide):
    wide.loc[wide["status"] == "collapsed", "psnr_phase"] = -1e6
    figure = generalization.generalization_figure(wide, "psnr", "phase", PLOTS)
    (axes,) = figure.axes
    assert points(axes, "not ok")[0, 1] == 20 - (50 - 20)  # the ok trials span 20 to 50
    assert axes.get_ylim()[0] > -40
    assert "out of range: 1" in figure.get_supxlabel()


def test_nothing_finite_is_said_and_saved(wide, tmp_path):
    figure = generalization.generalization_figure(wide.assign(psnr_phase=np.nan), "psnr", "phase", PLOTS)
    assert "no finite value" in [text.get_text() for text in figure.axes[0].texts]
    style.save_figure(figure, tmp_path / "a.png", PLOTS)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_study_without_truth_is_an_empty_plot_that_says_so(truthless, tmp_path):
    wide = tables.results_all_trials(read_trials(truthless))
    figure = generalization.generalization_figure(wide, "psnr", "phase", PLOTS)
    (axes,) = figure.axes
    (words,) = [text.get_text().replace("\n", " ") for text in axes.texts]
    assert words == "no error metrics: the test data holds no ground truth"
    assert figure.get_supxlabel() == ""
    assert len(points(axes, "ok")) == len(points(axes, "not ok")) == 0
    assert not any(np.isfinite(line.get_ydata()).any() for line in axes.lines)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["64", "128"]
    style.save_figure(figure, tmp_path / "t.png", PLOTS)


def test_one_trial_of_one_size_and_models_keep_their_colours(wide):
    both = style.model_looks(["pinn", "baseline"], PLOTS)
    one = wide[(wide["train_size"] == 1024) & (wide["model_type"] == "baseline")]
    (axes,) = generalization.generalization_figure(one, "mae", "amp", PLOTS).axes
    assert same_color(axes.lines[0].get_color(), both["baseline"]["color"])
    assert points(axes, "ok")[:, 1].tolist() == [0.1]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["Baseline"]
    assert axes.get_ylabel() == "Amplitude MAE\nlower is better"


def test_long_names_in_the_legend_leave_the_axes_their_width(wide):
    long = wide.assign(model_type=wide["model_type"] + "_augmented_by_half", variant="augmented_by_half")
    figure = generalization.generalization_figure(pd.concat([wide, long]), "psnr", "phase", PlotsConfig())
    figure.draw_without_rendering()
    assert figure.axes[0].bbox.width > 0.7 * figure.bbox.width


def test_files_in_each_format_at_the_configured_resolution(wide, tmp_path):
    before = dict(mpl.rcParams)
    plots = PlotsConfig(formats=("pdf", "svg"), dpi=60, style="ticks", palette="deep")
    style.save_figure(
        generalization.generalization_figure(wide, "mae", "phase", plots), tmp_path / "b.png", plots, plots.formats
    )
    assert sorted(path.name for path in tmp_path.glob("b.*")) == ["b.pdf", "b.png", "b.svg"]
    assert dict(mpl.rcParams) == before
    assert mpl.pyplot.get_fignums() == []


def test_bad_requests_say_what_there_is(wide, tmp_path):
    with pytest.raises(InputError, match=r"metric psnrr, part phase: .* psnr amp, psnr phase, mae amp"):
        generalization.generalization_figure(wide, "psnrr", "phase", PLOTS)
    with pytest.raises(InputError, match="palette is mud"):
        generalization.generalization_figure(wide, "psnr", "phase", PlotsConfig(palette="mud"))
    figure = generalization.generalization_figure(wide, "psnr", "phase", PLOTS)
    with pytest.raises(InputError, match="no figure format"):
        style.save_figure(figure, tmp_path / "plot", PLOTS)


# what needs no training ----------------------------------------------------------------------------------


@pytest.fixture
def untrained(write_study):
    """Two sizes of PtychoPINN beside Iterative, which is the same whatever the size; its median is 26."""
    study = write_study(
        {
            (64, 1): {"PtychoPINN": 20.0, "Iterative": 25.0},
            (64, 2): {"PtychoPINN": 22.0, "Iterative": 26.0},
            (1024, 1): {"PtychoPINN": 30.0, "Iterative": 28.0},
        }
    )
    return tables.results_all_trials(read_trials(study))


def test_iterative_is_one_dashed_line_at_its_median(untrained, tmp_path):
    figure = generalization.generalization_figure(untrained, "psnr", "phase", PLOTS)
    (axes,) = figure.axes
    (level,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert list(level.get_ydata()) == [26, 26]
    assert list(level.get_xdata()) == [0, 1]  # of the width of the plot
    assert same_color(level.get_color(), style.model_looks(["iterative"], PLOTS)["iterative"]["color"])
    assert sorted(points(axes, "ok")[:, 1]) == [20, 22, 30]
    assert len(axes.lines) == 2
    bands = [c for c in axes.collections if type(c).__name__ == "FillBetweenPolyCollection"]
    assert len(bands) == 1
    style.save_figure(figure, tmp_path / "i.png", PLOTS)


def test_the_legend_shows_a_dashed_line_for_iterative_alone(untrained):
    (axes,) = generalization.generalization_figure(untrained, "psnr", "phase", PLOTS).axes
    handles = axes.get_legend().legend_handles
    looks = {handle.get_label(): (handle.get_linestyle(), handle.get_marker()) for handle in handles}
    assert looks == {"PtychoPINN": ("-", "o"), "Iterative": ("--", "")}


def test_iterative_alone_is_a_line_and_its_sizes_are_on_the_axis(untrained, tmp_path):
    alone = untrained[untrained["model_type"] == "iterative"]
    figure = generalization.generalization_figure(alone, "psnr", "phase", PLOTS)
    (axes,) = figure.axes
    (level,) = axes.lines
    assert list(level.get_ydata()) == [26, 26]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["64", "1024"]
    assert not axes.texts
    style.save_figure(figure, tmp_path / "j.png", PLOTS)


def test_iterative_without_a_finite_value_is_no_line(untrained):
    untrained.loc[untrained["model_type"] == "iterative", "psnr_phase"] = np.nan
    (axes,) = generalization.generalization_figure(untrained, "psnr", "phase", PLOTS).axes
    assert [line.get_linestyle() for line in axes.lines] == ["-"]


def test_refined_has_points_as_the_trained_have(write_study):
    study = write_study({(64, 1): {"PtychoPINN": 20.0, "Refined": 25.0}, (128, 1): {"PtychoPINN": 22.0, "Refined": 27}})
    wide = tables.results_all_trials(read_trials(study))
    (axes,) = generalization.generalization_figure(wide, "psnr", "phase", PLOTS).axes
    assert sorted(points(axes, "ok")[:, 1]) == [20, 22, 25, 27]
    assert {line.get_linestyle() for line in axes.lines} == {"-"}


def test_the_overview_has_a_column_a_metric_and_a_row_a_part(wide):
    figure = generalization.overview_figure(wide, PLOTS, "All")
    assert [axes.get_ylabel().split("\n")[0] for axes in figure.axes] == [
        "Amplitude PSNR (dB)", "Amplitude MAE", "Phase PSNR (dB)", "Phase MAE (rad)",
    ]  # fmt: skip
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["PtychoPINN", "Baseline", "collapsed trial"]
    with pytest.raises(InputError, match="no metric to show"):
        generalization.overview_figure(wide[["train_size", "trial", "model_type", "status"]], PLOTS)


def test_training_curves_mark_the_weights_that_were_kept():
    histories = {
        (64, 1, Model("pinn")): {"loss": [4.0, 3], "val_loss": [2.0, 1.0, 1.5], "best_epoch": 2},
        (64, 2, Model("pinn")): {"loss": [3.0, 2], "best_epoch": 1},  # nothing held out
        (128, 1, Model("baseline")): {"loss": [1.0, np.nan], "val_loss": [5.0, np.nan], "best_epoch": 1},
    }
    left, right = generalization.training_curves_figure(histories, PLOTS).axes
    assert [axes.get_title() for axes in (left, right)] == ["PtychoPINN", "Baseline"]
    lines = [line.get_xydata().tolist() for line in left.lines]
    assert lines == [[[1, 2], [2, 1], [3, 1.5]], [[2, 1]], [[1, 3], [2, 2]], [[1, 3]]]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["64 images", "128 images", "weights kept"]
    with pytest.raises(InputError, match=r"no history\.json"):
        generalization.training_curves_figure({}, PLOTS)


# the scaling law -----------------------------------------------------------------------------------------


@pytest.fixture
def falling(write_study):
    """Four sizes, three trials; the error of PtychoPINN is 0.05 + n**-0.5, that of Baseline does not fall."""
    trials = {
        (size, n): {
            "PtychoPINN": -20 * np.log10((0.05 + size**-0.5) * (1 + n / 100)),
            "Baseline": -20 * np.log10(0.2 * (1 + n / 100)),
        }
        for size in (64, 128, 256, 512)
        for n in (-1, 0, 1)
    }
    return tables.results_all_trials(read_trials(write_study(trials)))


def test_the_scaling_law_is_drawn_on_request_alone(falling, tmp_path):
    plain = generalization.generalization_figure(falling, "psnr", "phase", PLOTS)
    assert {line.get_linestyle() for line in plain.axes[0].lines} == {"-"}
    figure = generalization.generalization_figure(falling, "psnr", "phase", PlotsConfig(dpi=60, scaling_law=True))
    (axes,) = figure.axes
    dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert len(dotted) == 2
    images, values = dotted[0].get_data()
    expected = -20 * np.log10(0.05 + np.asarray(images) ** -0.5)
    assert np.abs(values - expected).max() < 0.1  # dB; of nine trials with a spread of 1 %
    assert (images[0], images[-1]) == (64, pytest.approx(axes.get_xlim()[1]))
    bands = [c for c in axes.collections if c.get_gid() == "law"]
    assert len(bands) == 2
    assert axes.get_ylim() == plain.axes[0].get_ylim()
    note = " ".join(figure.get_supxlabel().split())
    assert "scaling law of Baseline: flat" in note
    assert "scaling law of PtychoPINN" not in note
    style.save_figure(figure, tmp_path / "law.png", PLOTS)


def test_a_plot_without_a_law_says_why(wide):
    plots = PlotsConfig(dpi=60, scaling_law=True)
    figure = generalization.generalization_figure(wide, "psnr", "phase", plots)
    assert "scaling law of PtychoPINN: 2 sizes, and 4 are needed" in " ".join(figure.get_supxlabel().split())
    assert not [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    frc = wide.rename(columns={"psnr_phase": "frc50_phase"})
    figure = generalization.generalization_figure(frc, "frc50", "phase", plots)
    assert "no scaling law of FRC50" in figure.get_supxlabel()
