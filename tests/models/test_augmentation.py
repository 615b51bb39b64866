from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from ptycho.config.schema import TrainingConfig
from ptycho.data.dataset import Dataset
from ptycho.data.metadata import Metadata
from ptycho.data.sampling import neighbour_groups
from ptycho.data.seeds import derive_seed
from ptycho.models import augmentation
from ptycho.models.augmentation import (
    RETRIEVAL_ALPHA,
    AugmentationSource,
    AugmentedPatterns,
    augmentation_sources,
    rotate_flip,
    scan_source,
)
from ptycho.physics import patches, phase_retrieval
from ptycho.physics.detector import Detector
from ptycho.physics.patches import extract_patches
from ptycho.physics.probes import defocused_probe
from ptycho.preparation.load import dataset_from
from ptycho.preparation.scan import detector_of, simulate
from ptycho.preparation.specimen import specimen

SIDE = 16
MARGIN = SIDE + augmentation.JITTER_PX


@pytest.fixture(scope="module")
def data():
    return simulate(specimen(48, SIDE, 1.5, 0.3, seed=3), 32, 1e6, seed=4).loaded()


@pytest.fixture
def few_objects(monkeypatch):
    monkeypatch.setattr(augmentation, "SYNTHETIC_OBJECTS", 3)


def noiseless(data):
    return replace(data, metadata=Metadata())


def random_object(height=40, width=50, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(height, width)) + 1j * rng.normal(size=(height, width))).astype(np.complex64)


def cut(image, positions):
    return extract_patches(np.ascontiguousarray(image), positions[:, 0], positions[:, 1], SIDE)


def numpy_patterns(probe, patches):
    """|FFT(probe patch)| / N in float64, DC in the middle."""
    return np.abs(np.fft.fftshift(np.fft.fft2(probe.astype(complex) * patches), axes=(-2, -1))) / SIDE


# turns ---------------------------------------------------------------------------------------------------


def quarter_turn(image, positions):
    """Turn an object to the left; the middle of a window, x pixels from its left edge, is then x from the bottom."""
    x, y = positions.T
    return image.T[::-1], np.stack([y, image.shape[1] - x], axis=1)


def turned_object(image, positions, turn):
    for _ in range(turn % 4):
        image, positions = quarter_turn(image, positions)
    return (image.T, positions[:, ::-1]) if turn >= 4 else (image, positions)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("turn", range(8))
def test_turned_windows_are_the_windows_of_the_turned_object(turn, whole):
    image, rng = random_object(), np.random.default_rng(1)
    positions = np.stack([rng.uniform(8, 42, 5), rng.uniform(8, 32, 5)], axis=1)
    positions = np.rint(positions) if whole else positions
    offsets_px = (positions - positions[0]).astype(np.float32)
    windows, moved = rotate_flip(cut(image, positions), offsets_px, turn)
    image, positions = turned_object(image, positions, turn)
    np.testing.assert_allclose(windows, cut(image, positions), atol=1e-5)
    np.testing.assert_allclose(moved, positions - positions[0], atol=1e-5)


def test_there_are_eight_turns_and_the_first_changes_nothing():
    patches, offsets_px = random_object(SIDE, SIDE)[None], np.array([[1, 3]], np.float32)
    turns = [rotate_flip(patches, offsets_px, turn) for turn in range(8)]
    np.testing.assert_array_equal(turns[0][0], patches)
    np.testing.assert_array_equal(turns[0][1], offsets_px)
    assert len({windows.tobytes() for windows, _ in turns}) == 8
    assert len({tuple(moved[0].tolist()) for _, moved in turns}) == 8


# what is drawn -------------------------------------------------------------------------------------------


def same(first, second):
    views = [np.array_equal(first[0][name], second[0][name]) for name in ("diffraction", "offsets_px")]
    return all([*views, np.array_equal(first[1], second[1])])


def test_a_draw_depends_on_seed_epoch_and_batch_alone(data):
    scenes = [scan_source(data, 1, 0), AugmentationSource(random_object(96, 96), np.full((3, 2), 48.0))]
    source, again = (AugmentedPatterns(scenes, data, 2, seed=7) for _ in range(2))
    first = source.draw(3, 5, 6)
    again.draw(0, 0, 4)
    assert same(again.draw(3, 5, 6), first)
    assert same(source.draw(3, 5, 6), first)
    others = [source.draw(4, 5, 6), source.draw(3, 6, 6), source.draw(5, 3, 6)]
    assert not any(same(other, first) for other in [*others, AugmentedPatterns(scenes, data, 2, seed=8).draw(3, 5, 6)])


@pytest.mark.parametrize("gridsize", [1, 2])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_the_shapes_of_a_draw(data, gridsize, count):
    views, patches = AugmentedPatterns([scan_source(data, 1, 0)], data, gridsize, seed=0).draw(0, 0, count)
    members = gridsize**2
    assert views["diffraction"].shape == (count, members, SIDE, SIDE)
    assert views["offsets_px"].shape == (count, members, 2)
    assert patches.shape == (count, SIDE, SIDE)
    assert views["diffraction"].dtype == views["offsets_px"].dtype == np.float32
    assert patches.dtype == np.complex64


def places(scene, patch):
    """Return the turned object and the position of a patch on it, for each turn by which it may have been rotated."""
    found = []
    for turn in range(8):
        image, _ = turned_object(scene.object, np.zeros((1, 2)), turn)
        for row, column in np.argwhere(np.isclose(image, patch[0, 0], rtol=0, atol=1e-6)):
            window = image[row : row + SIDE, column : column + SIDE]
            if window.shape == patch.shape and np.allclose(window, patch, atol=1e-6):
                found.append((image, np.array([column, row]) + SIDE / 2))
    return found


def test_every_view_holds_neighbours_of_one_turned_object(data):
    # each middle is found again on the object, at whole pixels; its neighbours must lie around it
    like = noiseless(data)
    scene = AugmentationSource(random_object(96, 96), np.random.default_rng(2).uniform(40, 56, (20, 2)))
    views, patches = AugmentedPatterns([scene], like, 2, seed=0).draw(0, 0, 24)
    for pattern, offsets_px, patch in zip(views["diffraction"], views["offsets_px"], patches, strict=True):
        ((image, position),) = places(scene, patch)
        expected = numpy_patterns(like.probe, cut(image, position + offsets_px))
        np.testing.assert_allclose(pattern, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(views["offsets_px"][:, 1:]).max(axis=-1).min() > 0


def test_neighbours_are_as_far_as_those_of_the_scan(data):
    _, measured_offsets = neighbour_groups(data.xcoords, data.ycoords, 4, SIDE)
    known = {tuple(np.sort(np.hypot(*group.T)).round(3).tolist()) for group in measured_offsets}
    drawn = AugmentedPatterns([scan_source(data, 1, 0)], data, 2, seed=0).draw(0, 0, 200)[0]["offsets_px"]
    found = {tuple(np.sort(np.hypot(*group.T)).round(3).tolist()) for group in drawn}
    assert found <= known
    assert len(found) > 0.9 * len(known)
    np.testing.assert_array_equal(drawn[:, 0], 0)


def test_windows_lie_around_positions_of_the_scan_in_all_turns_alike(data):
    # pixels that say where they are: the mean of a window is its place, and the steps from pixel to pixel its turn
    y, x = np.mgrid[:60, :70]
    scene = AugmentationSource((x + 1j * y).astype(np.complex64), np.array([[30.3, 20.8], [40.0, 33.0]]))
    _, patches = AugmentedPatterns([scene], noiseless(data), 1, seed=0).draw(0, 0, 3000)
    middle = patches.mean(axis=(1, 2)) + 0.5 + 0.5j
    middle = np.stack([middle.real, middle.imag], axis=1)
    np.testing.assert_allclose(middle, np.rint(middle), atol=1e-3)
    jitter = np.arange(-augmentation.JITTER_PX, augmentation.JITTER_PX + 1)
    expected = {(cx + dx, cy + dy) for cx, cy in [(30, 21), (40, 33)] for dx in jitter for dy in jitter}
    assert {tuple(place) for place in np.rint(middle).tolist()} == expected
    steps = np.stack([patches[:, 0, 1] - patches[:, 0, 0], patches[:, 1, 0] - patches[:, 0, 0]], axis=1)
    turns, counts = np.unique(np.rint(steps.view(np.float32)), axis=0, return_counts=True)
    assert len(turns) == 8
    assert stats.chisquare(counts).pvalue > 1e-3


def test_every_scene_is_drawn_from(data):
    scenes = [AugmentationSource(np.full((48, 48), value, np.complex64), np.full((1, 2), 24.0)) for value in (1, 2, 3)]
    source = AugmentedPatterns(scenes, data, 1, seed=0)
    found = set()
    for batch in range(30):
        patches = source.draw(0, batch, 4)[1]
        assert len(np.unique(patches)) == 1  # one scene a batch
        found.add(int(patches[0, 0, 0].real))
    assert found == {1, 2, 3}


@pytest.mark.parametrize("side", [8, 16, 64])
@pytest.mark.parametrize("gridsize", [1, 3])
def test_no_window_leaves_its_scene(side, gridsize, monkeypatch):
    # positions in the corners of the scan, neighbours as far as they may be
    rng, reach = np.random.default_rng(0), 0.749 * side
    ends = side / 2 + np.array([0, reach, 2 * reach])
    x, y = (axis.ravel() for axis in np.meshgrid(ends, ends + 0.3))
    patterns = np.ones((9, side, side), np.float32)
    like = Dataset(patterns, x, y, defocused_probe(side, rng), None, patterns.astype(np.complex64), np.arange(9))
    seen = []

    def watched(image, xcoords, ycoords, window_px):
        for positions, size in ((xcoords, image.shape[1] - 3), (ycoords, image.shape[0] - 3)):  # padded by 1 and 2
            seen.extend([positions.min() - window_px / 2, size - window_px / 2 - positions.max()])
        return np.ones((xcoords.size, window_px, window_px), np.complex64)

    monkeypatch.setattr(patches, "extract_from_padded", watched)
    monkeypatch.setattr(augmentation, "SYNTHETIC_OBJECTS", 1)
    config = TrainingConfig(augmentation_ratio=1, synthetic_augmentation_ratio=1)
    for _, source in augmentation_sources(like, config, gridsize, seed=0):
        for batch in range(20):
            source.draw(0, batch, 100)
    assert min(seen) >= -1  # to a pixel, as cut_patches says


# how it is measured --------------------------------------------------------------------------------------


def test_without_counts_there_is_no_noise(data):
    like = noiseless(data)
    views, patches = AugmentedPatterns([scan_source(data, 1, 0)], like, 1, seed=0).draw(0, 0, 50)
    expected = numpy_patterns(like.probe, patches)
    assert expected.std() > 0.1
    np.testing.assert_allclose(views["diffraction"][:, 0], expected, rtol=1e-4, atol=1e-5)


def counts_of(data, n_photons, bad_pixels=None):
    """Return counts and what is expected of them where every window is empty and so every draw the same, (n, N, N)."""
    scale = np.sqrt(n_photons) / np.linalg.norm(data.probe)
    like = replace(data, metadata=Metadata(counts_scale=float(scale)), bad_pixels=bad_pixels)
    scene = AugmentationSource(np.ones((48, 48), np.complex64), np.full((1, 2), 24.0))
    patterns = AugmentedPatterns([scene], like, 1, seed=1).draw(0, 0, 4000)[0]["diffraction"][:, 0]
    return (patterns.astype(float) * scale) ** 2, (numpy_patterns(data.probe, np.ones((SIDE, SIDE))) * scale) ** 2


@pytest.mark.parametrize("n_photons", [1e2, 1e4])
def test_photons_are_counted_as_poisson_numbers(data, n_photons):
    counts, expected = counts_of(data, n_photons)
    n, lit = len(counts), expected > 1e-3 * expected.max()
    assert lit.sum() > 50
    assert expected.sum() == pytest.approx(n_photons, rel=1e-5)
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-2)  # of thousands, in float32
    z = (counts.mean(axis=0) - expected)[lit] / np.sqrt(expected[lit] / n)
    assert np.abs(z).max() < 5
    # the sample variance of Poisson numbers of mean m has the variance (m + 2 m^2) / n
    z = (counts.var(axis=0) - expected)[lit] / np.sqrt((expected + 2 * expected**2)[lit] / n)
    assert np.abs(z).max() < 6
    assert abs(z.mean()) < 5 / np.sqrt(lit.sum())
    neighbours = np.corrcoef(counts[:, lit][:, :2].T)[0, 1]  # each pixel for itself
    assert abs(neighbours) < 5 / np.sqrt(n)


def test_bad_pixels_are_0_and_others_as_they_were(data):
    mask = np.zeros((SIDE, SIDE), bool)
    good, expected = counts_of(data, 1e4)
    brightest = np.unravel_index(expected.argmax(), expected.shape)
    mask[brightest] = mask[3, 7] = True
    counts, _ = counts_of(data, 1e4, mask)
    assert good[:, *brightest].all()
    assert not counts[:, mask].any()
    np.testing.assert_array_equal(counts[:, ~mask], good[:, ~mask])
    views, _ = AugmentedPatterns([scan_source(data, 1, 0)], replace(noiseless(data), bad_pixels=mask), 2, 0).draw(
        0, 0, 5
    )
    assert not views["diffraction"][..., mask].any()


def test_augmented_patterns_come_from_the_detector_of_the_measured_ones():
    """Background and saturation at the rim and in the middle of the mean pattern; read-out noise where it is dark."""
    known = Detector(background_counts=20.0, readout_noise_counts=3.0, saturation_counts=400.0)
    like = simulate(specimen(48, SIDE, 1.5, 0.3, seed=3), 200, 1e5, seed=4, detector=known).loaded()
    assert asdict(detector_of(like)) == asdict(known)
    step = like.metadata.last_step("simulate")
    unknown = replace(like.metadata, steps=(replace(step, parameters={**step.parameters, "background_counts": None}),))
    assert detector_of(replace(like, metadata=unknown)).background_counts == 0
    views, _ = AugmentedPatterns([scan_source(like.take(slice(0, 60)), 1, 0)], like, 1, seed=0).draw(0, 0, 200)
    made_counts, counts = (np.square(p.astype(float)) * like.counts_scale**2 for p in
                           (views["diffraction"][:, 0], like.diffraction))  # fmt: skip
    np.testing.assert_allclose(made_counts, np.rint(made_counts), atol=1e-2)
    assert made_counts.max() == pytest.approx(400, abs=0.1)
    rim = np.ones((SIDE, SIDE), bool)
    rim[1:-1, 1:-1] = False
    assert made_counts[:, rim].mean() == pytest.approx(counts[:, rim].mean(), rel=0.1)
    assert made_counts[:, rim].mean() > 20  # more than the light there alone


def test_a_scan_that_does_not_determine_its_object_is_warned_of(caplog):
    scan = simulate(specimen(64, SIDE, 1.5, 0.3, seed=3), 800, 1e7, seed=4).loaded()
    without_truth = replace(scan, patches=None, object=None)
    unseen = without_truth.take(slice(760, 800))
    scan_source(without_truth.take(slice(0, 40)), 5, 0, unseen)
    assert "the scan is too sparse for phase retrieval" in caplog.text
    caplog.clear()
    scan_source(without_truth.take(slice(0, 760)), 5, 0, unseen)
    assert "too sparse" not in caplog.text
    scan_source(scan.take(slice(0, 40)), 5, 0, scan.take(slice(760, 800)))  # the truth needs no retrieval
    assert "too sparse" not in caplog.text


def test_made_patterns_are_as_bright_as_measured_ones(data):
    views, _ = AugmentedPatterns([scan_source(data, 1, 0)], data, 1, seed=0).draw(0, 0, 200)
    energy = (views["diffraction"] ** 2).sum(axis=(-2, -1)).mean()
    assert energy == pytest.approx((data.diffraction**2).sum(axis=(1, 2)).mean(), rel=0.05)


@pytest.mark.parametrize("quantity", ["intensity", "amplitude"])
def test_patterns_whose_photons_nobody_knows_are_made_without_noise(data, quantity):
    # intensities in any unit: taken for counts, these would be the noise of a tenth of a photon a pattern
    values = 1e-3 * data.diffraction.astype(float) ** (2 if quantity == "intensity" else 1)
    arrays = {"diffraction": values, "xcoords": data.xcoords, "ycoords": data.ycoords, "probeGuess": data.probe}
    read = dataset_from(arrays, Metadata(quantity=quantity, dc="centre", positions="pixels"), None, "file")
    views, patches = AugmentedPatterns([scan_source(read, 1, 0)], read, 1, seed=0).draw(0, 0, 20)
    expected = numpy_patterns(read.probe, patches)
    np.testing.assert_allclose(views["diffraction"][:, 0], expected, rtol=1e-4, atol=1e-5)


# what is known of the training area ----------------------------------------------------------------------


def whole_pixels(data):
    """Return windows of the same object at whole pixels, which are put together without blur."""
    x, y = np.rint(data.xcoords), np.rint(data.ycoords)
    return replace(data, xcoords=x, ycoords=y, patches=extract_patches(data.object, x, y, SIDE))


def light(data):
    return np.abs(data.probe) ** 2 / (np.abs(data.probe) ** 2).sum()


def spectrum(patches):
    return np.abs(np.fft.fft2(np.hanning(SIDE) * np.hanning(SIDE)[:, None] * patches)).mean(axis=0)[1 : SIDE // 2, 0]


@pytest.mark.parametrize("whole", [True, False])
def test_the_windows_of_a_scene_are_the_patches_that_are_known(data, whole):
    known = whole_pixels(data) if whole else data
    scene = scan_source(known, 20, 0)
    assert scene.object.dtype == np.complex64
    found = cut(scene.object, scene.centres_px)
    assert (light(data) * np.abs(found - known.patches)).sum(axis=(1, 2)).mean() < 3e-3
    ratio = spectrum(found) / spectrum(known.patches)  # what is known is not blurred
    assert ratio.min() > 0.95
    assert ratio.max() < 1.3


def test_the_baselines_scene_is_empty_where_nothing_was_seen(data):
    scene = scan_source(whole_pixels(data).take(np.array([0, 3, 5])), 5, 0)
    lit = np.zeros(scene.object.shape, bool)
    for x, y in scene.centres_px.astype(int) - SIDE // 2:
        lit[y : y + SIDE, x : x + SIDE] = True
    inside = np.zeros_like(lit)
    inside[MARGIN:-MARGIN, MARGIN:-MARGIN] = True
    assert (inside & ~lit).any()
    np.testing.assert_array_equal(scene.object[inside & ~lit], 1)


def test_without_truth_the_scene_is_that_of_phase_retrieval(data):
    without_truth = replace(data, patches=None, object=None)
    scene = scan_source(without_truth, 3, seed=9)
    here = replace(without_truth, xcoords=scene.centres_px[:, 0] - MARGIN, ycoords=scene.centres_px[:, 1] - MARGIN)
    inner = scene.object[MARGIN:-MARGIN, MARGIN:-MARGIN]
    expected = phase_retrieval.rpie(np.ones_like(inner), here, 3, np.random.default_rng(9), RETRIEVAL_ALPHA)
    np.testing.assert_array_equal(inner, expected)
    assert np.abs(inner - 1).max() > 0.3
    assert not np.array_equal(scan_source(without_truth, 4, seed=9).object, scene.object)
    np.testing.assert_array_equal(np.pad(inner, MARGIN, mode="edge"), scene.object)


def test_an_object_that_is_known_but_whose_patches_are_not_is_not_looked_at(data):
    without_truth = replace(data, patches=None, object=None)
    nonsense = np.full((500, 500), 3j, np.complex64)
    first, second = scan_source(without_truth, 2, 0), scan_source(replace(without_truth, object=nonsense), 2, 0)
    np.testing.assert_array_equal(first.object, second.object)
    np.testing.assert_array_equal(first.centres_px, second.centres_px)


@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize("offset_px", [-200, -20, 3, 1000])
def test_files_may_count_positions_from_anywhere(data, truth, offset_px):
    images = data if truth else replace(data, patches=None)
    images = replace(images, object=None)
    expected = scan_source(images, 2, 0)
    moved = replace(images, xcoords=images.xcoords + offset_px, ycoords=images.ycoords + 2 * offset_px)
    scene = scan_source(moved, 2, 0)
    assert scene.object.shape == expected.object.shape
    np.testing.assert_allclose(scene.object, expected.object, atol=1e-4)
    np.testing.assert_allclose(scene.centres_px, expected.centres_px, atol=1e-9)


# synthetic objects ---------------------------------------------------------------------------------------


def synthetic(images, seed):
    config = TrainingConfig(augmentation_ratio=0, synthetic_augmentation_ratio=1)
    ((_, source),) = augmentation_sources(images, config, 2, seed)
    return source


def test_synthetic_scenes_come_from_the_seed(data, few_objects):
    first, again, other = (synthetic(data, seed) for seed in (5, 5, 6))
    for scene, same_scene in zip(first.scenes, again.scenes, strict=True):
        np.testing.assert_array_equal(scene.object, same_scene.object)
        np.testing.assert_array_equal(scene.centres_px, same_scene.centres_px)
    assert len({scene.object.tobytes() for scene in [*first.scenes, *other.scenes]}) == 6
    assert same(first.draw(1, 2, 5), again.draw(1, 2, 5))


def test_synthetic_objects_have_the_tones_of_the_known_area(data, few_objects):
    known = scan_source(data, 5, 0)
    middle = extract_patches(known.object, *known.centres_px.T, SIDE // 4)
    low, high = np.angle(middle).min(), np.angle(middle).max()  # 0 to 1.5 rad: they do not wrap
    scenes = synthetic(data, 0).scenes
    phases, amplitudes = (
        np.concatenate([part(scene.object).ravel() for scene in scenes]) for part in (np.angle, np.abs)
    )
    assert low - 0.02 <= phases.min() < low + 0.2
    assert high - 0.2 < phases.max() <= high + 0.02
    assert amplitudes.min() >= np.abs(middle).min() - 0.02
    assert amplitudes.max() <= np.abs(middle).max() + 0.02


@pytest.mark.parametrize("n_images", [1, 2, 32])
def test_synthetic_windows_are_whole_and_as_dim_as_a_specimen(data, monkeypatch, n_images):
    monkeypatch.setattr(augmentation, "SYNTHETIC_OBJECTS", 12)
    scenes = synthetic(data.take(np.arange(n_images)), 0).scenes
    assert len(scenes) == 12
    for scene in scenes:
        assert np.isfinite(scene.object).all()
        assert np.abs(scene.object).max() <= 1.01
        size = scene.object.shape[0] - 2 * MARGIN
        assert scene.object.shape == (size + 2 * MARGIN,) * 2
        assert scene.centres_px.min() >= MARGIN + SIDE / 2  # but for jitter and neighbours
        assert scene.centres_px.max() <= MARGIN + size - SIDE / 2
    if n_images == 32:  # of one image there is one tone
        assert len({scene.object.tobytes() for scene in scenes}) == 12


# what a training is given --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "synthetic", "shares"),
    [(0, 0, []), (1, 0, [1]), (0, 0.5, [0.5]), (0.25, 2, [0.25, 2])],
)
def test_there_is_a_source_for_every_kind_that_is_asked_for(data, few_objects, ratio, synthetic, shares):
    config = TrainingConfig(augmentation_ratio=ratio, synthetic_augmentation_ratio=synthetic)
    found = augmentation_sources(data, config, 2, seed=3)
    assert [share for share, _ in found] == shares
    assert [len(source.scenes) for _, source in found] == [1] * bool(ratio) + [3] * bool(synthetic)
    assert all(source.draw(0, 0, 1)[0]["diffraction"].shape[1] == 4 for _, source in found)


def test_the_sweeps_are_those_of_the_configuration(data):
    without_truth = replace(data, patches=None, object=None)
    for sweeps in (1, 3):
        ((_, source),) = augmentation_sources(
            without_truth, TrainingConfig(augmentation_ratio=1, phase_retrieval_iterations=sweeps), 1, seed=3
        )
        np.testing.assert_array_equal(
            source.scenes[0].object, scan_source(without_truth, sweeps, derive_seed(3, "retrieval")).object
        )


def test_turned_and_synthetic_images_are_drawn_apart(data, few_objects):
    (_, turned_source), (_, synthetic_source) = augmentation_sources(
        data, TrainingConfig(augmentation_ratio=1, synthetic_augmentation_ratio=1), 2, seed=3
    )
    assert turned_source.seed != synthetic_source.seed


def test_nothing_is_retrieved_where_no_images_are_made(data, monkeypatch):
    monkeypatch.setattr(augmentation, "scan_source", lambda *arguments: pytest.fail("a source was built"))
    config = TrainingConfig(augmentation_ratio=0, synthetic_augmentation_ratio=0)
    assert augmentation_sources(data, config, 1, seed=3) == []
