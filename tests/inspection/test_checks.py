import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from ptycho.data.dataset import Reconstruction
from ptycho.data.lazy import LazyArray
from ptycho.data.metadata import Metadata
from ptycho.inspection import checks, report
from ptycho.physics.detector import Detector
from ptycho.physics.probes import gaussian_probe
from ptycho.preparation.normalize import with_patches
from ptycho.preparation.scan import simulate

SIDE = 32


def reconstruction(side=SIDE):
    rng = np.random.default_rng(3)
    phase, loss = (ndimage.gaussian_filter(rng.normal(size=(80, 96)), 1.5) for _ in range(2))
    image = (0.8 + 0.3 * loss) * np.exp(4j * phase)
    return Reconstruction(image, gaussian_probe(side, rng), np.array([40.0, 44.0]), np.array([40.0, 44.0]))


def other_object():
    rng = np.random.default_rng(8)
    return np.exp(2j * ndimage.gaussian_filter(rng.normal(size=(80, 96)), 1.5)).astype(np.complex64)


def shuffled(dataset):
    return dataset.diffraction[np.random.default_rng(1).permutation(len(dataset))]


def scan(photons=1e6, count=60, detector=None):
    return replace(simulate(reconstruction(), count, photons, seed=5, detector=detector), patches=None).loaded()


def unchecked(dataset, patterns):
    """Patterns that are read when they are indexed, as from a file: their values are not checked before."""
    return replace(dataset, diffraction=LazyArray(patterns.shape, np.dtype(np.float32), lambda rows: patterns[rows]))


def changed(dataset, place, value):
    patterns = dataset.diffraction.copy()
    patterns[place] = value
    return unchecked(dataset, patterns)


def some(dataset, count):
    return dataset.take(np.arange(count))


def unstated(dataset):
    """Amplitudes in a unit that nothing states, and no whole counts."""
    return replace(
        dataset, diffraction=dataset.diffraction * np.float32(1.3), probe=dataset.probe * 1.3, metadata=Metadata()
    )


def found(content):
    lines = report.inspect(content).problems
    assert not any("\n" in line for line in lines)
    return lines


def test_a_sound_scan_and_a_sound_reconstruction_have_none():
    assert found(scan()) == ()
    assert found(reconstruction()) == ()


DEFECTS = {
    "NaN": (lambda d: changed(d, (3, 2, 2), np.nan), "1 of 60 examined patterns hold NaN"),
    "negative": (lambda d: changed(d, (slice(2), 2, 2), -1), "2 of 60 examined patterns hold negative"),
    "dark": (lambda d: replace(d, diffraction=d.diffraction * 0), "no light"),
    "beam lost": (lambda d: changed(d, slice(2), 0), "2 of 60 examined patterns have less than 10 %"),
    "dead": (lambda d: changed(d, (slice(None), 16, 17), 0), "1 unmarked pixels are always 0"),
    "shifted": (
        lambda d: unchecked(d, np.roll(d.diffraction, (4, -3), (1, 2))),
        "with the patterns moved by -4 rows and 3 columns",
    ),
    "corner": (
        lambda d: unchecked(d, np.fft.fftshift(d.diffraction, (1, 2))),
        "with DC moved from the corner to the centre (--dc corner)",
    ),
    "corner, no object": (
        lambda d: replace(unchecked(d, np.fft.fftshift(d.diffraction, (1, 2))), object=None),
        "DC is in the corner",
    ),
    "shifted, no object": (
        lambda d: replace(unchecked(d, np.roll(d.diffraction, (4, -3), (1, 2))), object=None),
        "4 rows and -3 columns",
    ),
    "intensity": (lambda d: unchecked(d, d.diffraction**2), "--quantity intensity"),
    "probe": (lambda d: replace(d, probe=d.probe * 2), "with the probe times 0."),
    "object": (lambda d: replace(d, object=d.object[::-1]), "with objectGuess mirrored along y"),
    "another object": (lambda d: replace(d, object=other_object()), "it explains less than half of what"),
    "shuffled": (lambda d: unchecked(d, shuffled(d)), "the patterns do not belong to their positions"),
    "Y": (lambda d: replace(d, patches=with_patches(d).patches[np.arange(60)].conj()), "Y is not objectGuess"),
    "unit": (unstated, "the unit of the counts is unknown"),
    "again": (lambda d: d.take(np.r_[:60, :3]), "3 positions are repeated"),
    "sparse": (lambda d: some(d, 4), "low overlap"),
    "no object": (lambda d: replace(d, object=None), "no objectGuess: the baseline cannot train and errors cannot"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_is_reported_in_one_line(name):
    change, expected = DEFECTS[name]
    assert [line for line in found(change(scan())) if expected in line], found(change(scan()))


@pytest.mark.parametrize("name", ["NaN", "dark", "beam lost", "unit", "again", "sparse", "no object", "probe"])
def test_a_defect_is_reported_alone(name):
    change, _ = DEFECTS[name]
    assert len(found(change(scan()))) == 1, found(change(scan()))


def test_few_photons_are_reported_but_not_their_noise_as_mismatch():
    (line,) = found(scan(photons=500))
    assert 490 < float(re.fullmatch(r"few photons: (\S+) per pattern, below 1000: .*", line)[1]) < 510
    assert found(scan(photons=2000)) == ()


def test_saturation_is_reported_with_the_count_at_which_pixels_stop():
    lines = found(scan(photons=2e4, detector=Detector(saturation_counts=20)))
    assert "pixels are limited to 20 counts" in lines[0]


def test_patches_replace_the_object_where_the_baseline_trains():
    dataset = scan()
    truth = np.ones(dataset.diffraction.shape, np.complex64)
    assert any("the baseline can train on Y" in line for line in found(replace(dataset, object=None, patches=truth)))


def test_sizes_that_the_networks_cannot_take():
    lines = found(replace(reconstruction(36), object=reconstruction().object[:79]))
    assert lines[0] == "odd sizes: objectGuess 79 x 96; run pad_to_even_tool.py"
    assert "36 pixels is no multiple of 8" in lines[1]
    assert "crop the detector to 32 around the beam, or pad it to 40" in lines[1]


def test_a_probe_that_its_window_cuts_off():
    wide = replace(reconstruction(), probe=np.ones((SIDE, SIDE), complex))
    (line,) = found(wide)
    assert "23 % of its energy lies within N/16" in line  # 1 - (7/8)^2


def test_windows_outside_of_a_reconstruction():
    outside = replace(reconstruction(), xcoords=np.array([81.0, 81.1]))  # 16 to 80 fit, and a pixel more
    assert found(outside)[0].startswith("1 of 2 windows extend beyond objectGuess")


def test_overlap_is_checked_at_its_threshold():
    near, far = (replace(reconstruction(), xcoords=np.array([40.0, 40.0 + step]), ycoords=np.full(2, 40.0))
                 for step in spacings(0.41, 0.39))  # fmt: skip
    assert found(near) == ()
    assert "low overlap: 0.39" in found(far)[0]


def spacings(*overlaps):
    from ptycho.inspection.measure import probe_diameter_px

    return [(1 - overlap) * probe_diameter_px(reconstruction().probe) for overlap in overlaps]


# files that cannot be read -------------------------------------------------------------------------------


def test_everything_wrong_with_arrays_is_reported_at_once():
    patterns = np.ones((3, 8, 8), np.float32)
    patterns[0, 0, :2], patterns[1] = np.nan, -1
    lines = checks.check_arrays(
        {
            "diffraction": patterns,
            "objectGuess": np.full((20, 21), np.inf, complex),
            "probeGuess": np.ones((8, 8), complex),
            "xcoords": np.array([2.9, 3.0, 18.1]),  # 4 to 17 fit, and a pixel more
            "ycoords": np.array([4.0, 5.0]),
        }
    )
    assert [line.partition(":")[0] for line in lines] == [
        "diffraction holds 2 NaN or infinite values",
        "diffraction holds 64 negative values",
        "objectGuess holds 420 NaN or infinite values",
        "objectGuess has odd sides, (20, 21)",
        "3 xcoords and 2 ycoords",
        "2 xcoords put windows outside objectGuess, expected 4 to 17",
    ]


def test_arrays_of_any_kind_and_shape_are_examined():
    assert checks.check_arrays({}) == ()
    assert checks.check_arrays({"metadata": np.asarray("{}"), "diffraction": np.ones((2, 3), np.uint16)}) == ()
    assert checks.check_arrays({"objectGuess": np.ones(4), "probeGuess": np.ones((2, 2)), "xcoords": np.ones(1)}) == ()
