"""Mistakes planted in files one by one: inspect_dataset.py names each, and finds nothing in the file without one.

The table in docs/inspection.md lists them. The data come from the real input where PTYCHO_REAL_INPUT is set, by the
commands of the study guide, and from a procedural specimen.
"""

import importlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
REAL = os.environ.get("PTYCHO_REAL_INPUT")
IMAGES, PHOTONS = 400, 1e9


def run(name, *words):
    """Run a command of the workflow in this process."""
    module = importlib.import_module(name)
    module.main(module.build_parser().parse_args([*map(str, words)]))


@pytest.fixture(scope="module", params=["specimen", "real"])
def arrays(request, tmp_path_factory):
    """The arrays of the training half that the study guide's commands make."""
    if request.param == "real" and not REAL:
        pytest.skip("PTYCHO_REAL_INPUT is not set")
    if request.param == "specimen" and REAL and not os.environ.get("PTYCHO_LONG_TESTS"):
        pytest.skip("the real input stands for it; make test-long runs both")
    at = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        simulate = ("--output-file", at / "simulated.npz", "--n-images", IMAGES, "--n-photons", PHOTONS)
        if request.param == "specimen":
            run("make_specimen", at / "specimen.npz", "--size_px", 200, "--window_px", 64, "--seed", 3)
        run("pad_to_even_tool", REAL if request.param == "real" else at / "specimen.npz", at / "padded.npz")
        run("transpose_rename_convert_tool", at / "padded.npz", at / "t.npz")
        run("prepare_data_tool", at / "t.npz", at / "i.npz", "--interpolate", "--zoom-factor", 2.0)
        run("simulate_and_save", "--input-file", at / "i.npz", *simulate)
        run("downsample_data_tool", at / "simulated.npz", at / "small.npz", "--crop-factor", 2, "--bin-factor", 2)
        run("split_dataset_tool", at / "small.npz", at, "--split-fraction", 0.5)
    with np.load(at / "small_train.npz") as archive:
        return {key: archive[key] for key in archive}


@pytest.fixture
def inspected(command, tmp_path, monkeypatch, capsys):
    """Return a function that writes arrays to a file and returns what inspect_dataset.py reports of it."""
    monkeypatch.chdir(tmp_path)
    inspect = command("inspect_dataset")

    def report(content):
        np.savez(tmp_path / "scan.npz", **content)
        capsys.readouterr()
        inspect(tmp_path / "scan.npz", "--no-picture")  # one that is refused is reported, too
        text = capsys.readouterr().out
        return text[max(text.find("\nProblems"), text.find("\nNo problems")) :]

    return report


def inside(content, shift_px):
    """The patterns whose windows lie on the object after their positions were scaled or shifted."""
    height, width = content["objectGuess"].shape
    half = content["probeGuess"].shape[0] / 2 + shift_px
    x, y = content["xcoords"], content["ycoords"]
    return np.flatnonzero((x >= half) & (x <= width - half) & (y >= half) & (y <= height - half))


def rows(content, index):
    """The patterns of an index; without ``Y``, which the commands compute from the object."""
    per_pattern = {"diffraction", "xcoords", "ycoords", "scan_index"}
    return {key: array[index] if key in per_pattern else array for key, array in content.items() if key != "Y"}


def patterns(function):
    return lambda content: content | {"diffraction": function(content["diffraction"])}


def moved(dx, dy):
    def plant(content):
        some = rows(content, inside(content, max(abs(dx), abs(dy))))
        return some | {"xcoords": some["xcoords"] + dx, "ycoords": some["ycoords"] + dy}

    return plant


def scaled(content):
    some = rows(content, inside(content, 6))
    middle = {key: some[key].mean() for key in ("xcoords", "ycoords")}
    far = {key: middle[key] + 1.05 * (some[key] - middle[key]) for key in middle}
    return rows(some | far, inside(some | far, 0))


def swapped(content):
    height, width = content["objectGuess"].shape
    half = content["probeGuess"].shape[0] / 2
    fit = (content["xcoords"] <= height - half) & (content["ycoords"] <= width - half)
    some = rows(content, np.flatnonzero(fit))
    return some | {"xcoords": some["ycoords"], "ycoords": some["xcoords"]}


def in_micrometres(content):
    return content | {key: 0.02 * content[key] for key in ("xcoords", "ycoords")}  # pixels of 20 nm


def counts(content):
    scale = json.loads(str(content["metadata"]))["counts_scale"]
    return np.rint((scale * content["diffraction"].astype(float)) ** 2)


def with_hot_pixel(content):
    """Counts of a foreign file, which states no conventions."""
    found = counts(content).astype(np.uint32)
    found[7, 3, 5] = 4_000_000_000
    kept = ("xcoords", "ycoords", "probeGuess", "objectGuess")
    return {key: content[key] for key in kept} | {"diffraction": found}


def with_columns_at_maximum(content):
    scale = json.loads(str(content["metadata"]))["counts_scale"]
    found = content["diffraction"].copy()
    found[:, :, 40:42] = np.sqrt(2.0**32 - 1) / scale
    return content | {"diffraction": found}


def odd(content):
    return rows(content, slice(None)) | {
        "diffraction": content["diffraction"][:, 1:, 1:],
        "probeGuess": content["probeGuess"][1:, 1:],
    }


def probe(function):
    return lambda content: content | {"probeGuess": np.ascontiguousarray(function(content["probeGuess"]))}


def shuffle(array):
    return array[np.random.default_rng(7).permutation(len(array))]


PLANTED = {
    "patterns shuffled": (patterns(shuffle), "the patterns do not belong to their positions"),
    "patterns transposed": (patterns(lambda d: d.transpose(0, 2, 1)), "with the patterns transposed"),
    "patterns mirrored along x": (patterns(lambda d: d[:, :, ::-1]), "with the patterns mirrored along x"),
    "patterns mirrored along y": (patterns(lambda d: d[:, ::-1]), "with the patterns mirrored along y"),
    "object conjugated": (
        lambda content: rows(content, slice(None)) | {"objectGuess": content["objectGuess"].conj()},
        "with objectGuess conjugated",
    ),
    "positions off by a pixel": (moved(1, 0), "with the positions moved by X-1"),
    "positions off by half a pixel": (moved(0.5, 0.5), "with the positions moved by X-0.5"),
    "x and y swapped": (swapped, "with xcoords and ycoords swapped"),
    "positions in micrometres": (in_micrometres, "are they micrometres"),
    "patterns shifted by fftshift": (patterns(lambda d: np.fft.ifftshift(d, (1, 2))), "with DC moved from the corner"),
    "DC off by a pixel": (patterns(lambda d: np.roll(d, 1, 2)), "with the patterns moved by 0 rows and -1 columns"),
    "probe shifted by fftshift": (probe(np.fft.fftshift), "with probeGuess moved to the middle"),
    "intensities as amplitudes": (patterns(np.square), "(--quantity intensity)"),
    "a hot pixel in one pattern": (with_hot_pixel, "1 isolated hot pixels, in up to 1 of"),
    "columns at the type's maximum": (with_columns_at_maximum, "128 unmarked pixels are always 4294967295"),
    "odd N": (odd, "63 x 63"),
    "positions scaled by 5 %": (scaled, "with the positions multiplied by 0.95"),
    "probe conjugated": (probe(np.conj), "with probeGuess conjugated"),
    "probe mirrored": (probe(np.fliplr), "with probeGuess mirrored along x"),
    "patterns one position late": (
        patterns(lambda d: np.roll(d, 1, 0)),
        "with the patterns moved to the position before",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_named(arrays, inspected, name):
    plant, expected = PLANTED[name]
    problems = inspected(plant(arrays))
    start, _, shift_px = expected.partition("X")
    assert start in problems, problems
    if shift_px:
        found = float(problems.partition(start)[2].split()[0])
        assert found == pytest.approx(float(shift_px), abs=0.15)


def test_nothing_is_found_in_the_file_without_a_mistake(arrays, inspected):
    assert inspected(arrays).strip() == "No problems found"
