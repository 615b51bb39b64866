import numpy as np
import pytest
from skimage.color import rgb2lab

from ptycho.data.dataset import Dataset, Reconstruction
from ptycho.data.lazy import LazyArray
from ptycho.data.metadata import Metadata
from ptycho.errors import InputError
from ptycho.inspection import figure as figure_module
from ptycho.inspection import measure
from ptycho.inspection.figure import MAX_DOTS, _boxes, dataset_figure, save
from ptycho.plotting.panels import (
    FOOT_IN,
    GAP_IN,
    HEAD_IN,
    LEFT_IN,
    RIGHT_IN,
    TICKS_IN,
    TOP_IN,
    WIDTH_IN,
    colour_wheel,
    power_of_ten,
)

SIDE = 16
OBJECT, PROBE, PATTERNS = figure_module.OBJECT, figure_module.PROBE, figure_module.PATTERNS


def content(shape=(40, 60), **changes):
    """Patterns of 1, 2, ... 30 counts a pixel, left to right; an object whose phase goes from 0 to 2 down the rows."""
    rows, columns = shape
    phase = np.linspace(0, 2, rows)[:, None] * np.ones(columns)
    counts = np.arange(1, 31)[:, None, None] * np.ones((1, SIDE, SIDE))
    probe = np.exp(-((np.indices((SIDE, SIDE)) - 8) ** 2).sum(0) / 18) * np.exp(0.7j)
    arguments = {
        "diffraction": (np.sqrt(counts) / 2).astype(np.float32),
        "xcoords": np.linspace(10, columns - 10, 30),
        "ycoords": np.linspace(10, rows - 10, 30),
        "probe": probe.astype(np.complex64),
        "object": (0.7 * np.exp(1j * phase)).astype(np.complex64),
        "patches": None,
        "scan_index": np.arange(30),
        "metadata": Metadata(counts_scale=2.0),
    }
    return Dataset(**{**arguments, **changes})


def reconstruction():
    data = content()
    return Reconstruction(data.object, data.probe, data.xcoords, data.ycoords)


def panels(figure):
    return {axes.get_gid(): axes for axes in figure.axes if axes.get_gid()}


def words(figure):
    return [text.get_text() for text in figure.texts]


def points(axes, gid):
    (found,) = (collection for collection in axes.collections if collection.get_gid() == gid)
    return found


# what is shown -------------------------------------------------------------------------------------------


def test_a_dataset_shows_object_light_probe_and_patterns():
    data = content()
    figure = dataset_figure(data, "scan.npz")
    shown = panels(figure)
    assert list(shown) == [*OBJECT, *PROBE, "map", *PATTERNS]
    assert np.allclose(shown["object_phase"].images[0].get_array(), np.angle(data.object))
    assert np.allclose(shown["object_amplitude"].images[0].get_array(), 0.7)
    assert np.allclose(shown["probe_amplitude"].images[0].get_array(), np.abs(data.probe))
    assert np.allclose(shown["mean"].images[0].get_array(), 15.5)
    assert np.allclose(points(shown["object_phase"], "positions").get_offsets()[:, 0], data.xcoords)
    assert {"scan.npz", "photons per pixel"} <= set(words(figure))
    assert any(text.startswith("30 patterns of 16 × 16 px · 3968 photons per pattern") for text in words(figure))


def test_patterns_of_little_median_and_much_light_share_one_logarithmic_scale():
    shown = panels(dataset_figure(content(), "x"))
    values = [float(shown[name].images[0].get_array()[0, 0]) for name in PATTERNS[1:]]
    assert values == pytest.approx([2, 15, 29], abs=1)  # 5, 50 and 95 % of 1 to 30
    assert len({shown[name].images[0].norm for name in PATTERNS}) == 1
    assert type(shown["mean"].images[0].norm).__name__ == "LogNorm"


def test_positions_are_coloured_by_their_light():
    light = points(panels(dataset_figure(content(), "x"))["map"], "light")
    places, counts = np.asarray(light.get_offsets()), np.asarray(light.get_array())
    assert np.allclose(counts * 1e3 if counts.max() < 100 else counts, 256 * np.arange(1, 31))  # N^2 pixels
    assert np.allclose(places[:, 0], content().xcoords)


def test_large_counts_are_told_by_a_power_of_ten():
    figure = dataset_figure(content(metadata=Metadata(counts_scale=2e4)), "x")
    assert "10¹¹ photons per pattern" in words(figure)
    assert points(panels(figure)["map"], "light").get_array().max() == pytest.approx(7.68)  # 256 x 30 x 1e8


def test_counts_of_an_unknown_unit_are_not_called_photons():
    strange = content(metadata=Metadata(), diffraction=np.full((30, SIDE, SIDE), 0.83, np.float32))
    assert not any("photon" in text for text in words(dataset_figure(strange, "x")))


def test_bad_pixels_are_marked_on_every_pattern():
    bad = np.zeros((SIDE, SIDE), bool)
    bad[3, 4] = bad[5, 6] = True
    figure = dataset_figure(content(bad_pixels=bad), "x")
    for name in PATTERNS:
        assert np.array_equal(panels(figure)[name].images[1].get_array()[..., 3] > 0, bad)
    assert "■ 2 bad" in words(figure)


def test_without_an_object_its_panels_are_left_out():
    figure = dataset_figure(content(object=None), "x")
    assert set(panels(figure)) == {"map", *PROBE, *PATTERNS}
    assert any(text.endswith("no object") for text in words(figure))


def test_a_reconstruction_shows_object_and_probe():
    figure = dataset_figure(reconstruction(), "x")
    assert set(panels(figure)) == {*OBJECT, *PROBE}
    assert any(text.startswith("30 positions, probe of 16 × 16 px") for text in words(figure))


def test_large_scans_are_thinned_and_it_is_said():
    data = content().select(np.arange(3000) % 30)
    figure = dataset_figure(data, "x", measure.survey_patterns(data, at_most=100))
    shown = panels(figure)
    assert len(points(shown["object_phase"], "positions").get_offsets()) == MAX_DOTS
    assert len(points(shown["map"], "light").get_offsets()) == 100
    assert any("100 examined" in text for text in words(figure))


def test_patterns_are_looked_at_once_where_they_were_before():
    data = content()
    known = measure.survey_patterns(data)
    asked = []

    def make(rows):
        asked.append(rows)
        return data.diffraction[rows]

    lazy = content(diffraction=LazyArray(data.diffraction.shape, np.dtype(np.float32), make))
    dataset_figure(lazy, "x", known)
    assert sum(rows.size for rows in asked) == 3


# colours -------------------------------------------------------------------------------------------------


def phase_colours(image):
    data = reconstruction()
    figure = dataset_figure(Reconstruction(image, data.probe, data.xcoords, data.ycoords), "x")
    return panels(figure)["object_phase"].images[0], words(figure)


def test_the_phase_is_cyclic_only_where_it_fills_the_circle():
    ramp = np.linspace(0, 1, 2400).reshape(40, 60)
    image, _ = phase_colours(np.exp(2j * ramp))
    assert image.get_cmap().name == "viridis"
    image, _ = phase_colours(np.exp(7j * ramp))
    assert image.get_cmap().name == "twilight"
    assert image.get_clim() == (-np.pi, np.pi)


def test_a_phase_across_the_wrap_is_turned_by_its_mean():
    ramp = np.linspace(-0.5, 0.5, 2400).reshape(40, 60)
    image, said = phase_colours(np.exp(1j * (ramp + np.pi)))
    assert image.get_cmap().name == "viridis"
    assert np.allclose(image.get_array(), ramp, atol=1e-6)
    assert "rad, less its mean" in said


def test_the_phase_of_the_probe_fades_where_it_is_dark():
    colours = np.asarray(panels(dataset_figure(reconstruction(), "x"))["probe_phase"].images[0].get_array())
    assert colours[8, 8, :3].max() > 0.5
    assert colours[0, 0, :3].max() < 0.05


def test_the_wheel_is_equally_light_all_around_and_closes():
    colours = np.array(colour_wheel().colors)
    lightness = rgb2lab(colours[None])[0, :, 0]
    assert np.ptp(lightness) < 6  # of 100; CIELAB and Oklab differ a little
    steps = np.linalg.norm(np.diff(colours, axis=0), axis=1)
    assert np.linalg.norm(colours[0] - colours[-1]) < 2 * steps.max()
    assert steps.max() < 3 * np.median(steps)
    assert colours.min() > 0
    assert colours.max() < 1


# the page ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 60), (60, 60), (200, 40), (40, 400)])
@pytest.mark.parametrize("kind", ["dataset", "no object", "reconstruction"])
def test_panels_lie_on_the_page_and_not_on_each_other(kind, shape):
    data = content(shape, **({"object": None} if kind == "no object" else {}))
    if kind == "reconstruction":
        data = Reconstruction(data.object, data.probe, data.xcoords, data.ycoords)
    boxes, height = _boxes(data)
    ends = [b.top + b.height + TICKS_IN * b.ticks for b in boxes.values()]  # below: colour bar, next panel's title
    edges = [(b.left, b.left + b.width, b.top, end) for b, end in zip(boxes.values(), ends, strict=True)]
    assert min(edge[0] for edge in edges) == pytest.approx(LEFT_IN)
    assert max(edge[1] for edge in edges) == pytest.approx(WIDTH_IN - RIGHT_IN)
    assert min(edge[2] for edge in edges) >= TOP_IN + HEAD_IN
    assert max(edge[3] for edge in edges) + FOOT_IN <= height
    for index, (left, right, top, bottom) in enumerate(edges):
        for other in edges[:index]:
            beside = left >= other[1] + 0.9 * GAP_IN or other[0] >= right + 0.9 * GAP_IN
            below = top >= other[3] + FOOT_IN + 0.9 * HEAD_IN
            assert beside or below or other[2] >= bottom + FOOT_IN


@pytest.mark.parametrize(
    "changes",
    [
        {"diffraction": np.zeros((30, SIDE, SIDE), np.float32)},
        {"object": np.ones((40, 60), np.complex64)},
        {"metadata": Metadata(pixel_size_m=2.0)},
        {"metadata": Metadata(pixel_size_m=1e-9)},
        {"xcoords": np.full(30, 20.0), "ycoords": np.full(30, 20.0)},
        {
            "diffraction": LazyArray(
                (30, SIDE, SIDE), np.dtype(np.float32), lambda rows: np.full((rows.size, SIDE, SIDE), np.nan)
            )
        },
    ],
)
def test_odd_data_are_drawn_as_well(changes, tmp_path):
    save(dataset_figure(content(**changes), "odd"), tmp_path / "odd.png")
    assert (tmp_path / "odd.png").stat().st_size > 10_000


def test_one_position_is_drawn(tmp_path):
    one = content().take(np.arange(1))
    save(dataset_figure(one, r"$\one$ \frac{.npz"), tmp_path / "one.png")


def test_a_scale_bar_has_a_round_length():
    axes = panels(dataset_figure(content(metadata=Metadata(pixel_size_m=1e-7)), "x"))["object_phase"]
    assert [text.get_text() for text in axes.texts] == ["2 µm"]  # 60 px are 6 um, a third is 2
    assert np.ptp(axes.lines[0].get_xdata()) == pytest.approx(20)


def test_a_name_without_a_format_is_refused_and_nothing_written(tmp_path):
    figure = dataset_figure(reconstruction(), "x")
    with pytest.raises(InputError, match="no figure format in the name"):
        save(figure, tmp_path / "picture.txt")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_writing_leaves_the_old_picture(tmp_path, monkeypatch):
    figure = dataset_figure(reconstruction(), "x")
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

    def fail(target, **_):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save(figure, path)
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "0"), (3968, "3968"), (9.974e8, "9.97×10⁸"), (-2.5e-7, "-2.50×10⁻⁷"), (0.25, "0.25")]
)
def test_numbers_are_readable(value, expected):
    assert power_of_ten(value) == expected
