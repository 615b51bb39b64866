"""Report on a data file as text: its content in sections, and problems with their remedies.

The numbers come from :mod:`ptycho.inspection.measure`. Control characters are removed from text that comes from a file.
"""

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import ComplexArray, Dataset, Reconstruction
from ptycho.data.metadata import Metadata
from ptycho.inspection import checks, measure, mismatch
from ptycho.inspection.measure import Patterns, Scan, number
from ptycho.inspection.mismatch import Mismatch
from ptycho.io import files, hdf5, npz
from ptycho.io.hdf5_links import hdf5_names

UNITS = {
    "xcoords": "px of the object, along columns", "ycoords": "px of the object, along rows",
    "probeGuess": "complex amplitude", "objectGuess": "complex transmission", "probe": "complex amplitude",
    "object": "complex transmission", "Y": "complex transmission in each window", "psi": "complex transmission",
    "scan_index": "number in the scan", "bad_pixels": "True is bad", "metadata": "JSON",
}  # fmt: skip
SUFFIXES = {"_m": "m", "_eV": "eV", "_s": "s", "_deg": "degrees", "_m2_kg": "m^2/kg"}
OWN_UNITS = {"diffraction": "amplitude: sqrt(counts) / counts_scale"}  # of files in the study's format
Lines = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Section:
    """A title, and lines of a label and a value."""

    title: str
    lines: Lines


@dataclass(frozen=True)
class Inspection:
    """Content of a file, and its problems: one line per problem, with its remedy."""

    sections: tuple[Section, ...]
    problems: tuple[str, ...]

    def text(self) -> str:
        """Return the report as text, labels aligned."""
        blocks = [self._block(section) for section in self.sections]
        listed = [f"  {number}. {problem}" for number, problem in enumerate(self.problems, start=1)]
        blocks.append("\n".join([f"Problems ({len(listed)})", *listed] if listed else ["No problems found"]))
        return "\n\n".join(blocks)

    @staticmethod
    def _block(section: Section) -> str:
        width = max((len(label) for label, _ in section.lines), default=0)
        return "\n".join([section.title, *(f"  {label:<{width}}  {value}" for label, value in section.lines)])


def contents(path: Path | str, form: str) -> Section:
    """Return every array of a file with shape, type and unit, read from headers alone.

    Parameters
    ----------
    form : name of the format

    Raises
    ------
    InputError : no file, damaged, or neither npz nor HDF5
    """
    path = files.require_file(path)
    if zipfile.is_zipfile(path):
        own = npz.is_dataset(path)
        units = UNITS | (OWN_UNITS if own else {})
        entries = [
            (key, member.shape, member.dtype, "pickled: never read" if member.dtype.hasobject else _unit(key, units))
            for key, member in npz.npz_members(path).items()
        ]
        form += ", in the study's conventions" if own else ""
    else:
        entries = _hdf5_entries(path)
    lines = [(key, f"{shape!s:<18}{dtype!s:<12}{unit}".rstrip()) for key, shape, dtype, unit in entries]
    return Section(
        f"{clean(path.name)}: {form}, {_bytes(path.stat().st_size)}", tuple((clean(key), line) for key, line in lines)
    )


def _hdf5_entries(path: Path) -> list[tuple[str, Any, Any, str]]:
    entries: list[tuple[str, Any, Any, str]] = []
    with hdf5.open_hdf5(path) as file:
        for name, place in hdf5_names(file).items():
            shape, dtype, unit = ("", "", "") if place.problem else _described(file, place.path)
            unit = clean(unit) or _unit(name.rpartition("/")[2], UNITS) if dtype else ""
            entries.append((place.displayed(name), shape, dtype, unit))
    return entries


def _described(file: Any, path: str) -> tuple[Any, Any, str]:
    """Return shape, type and stated unit of a data set of an HDF5 file; empty texts where numpy has no such type."""
    try:
        node = file[path]
        unit = node.attrs.get("units", "")
        return node.shape, node.dtype, unit.decode("utf-8", "replace") if isinstance(unit, bytes) else str(unit)
    except hdf5.HDF5_ERRORS:
        return "", "", ""


def _unit(key: str, units: Mapping[str, str]) -> str:
    return units.get(key) or next((unit for end, unit in SUFFIXES.items() if key.endswith(end)), "")


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def clean(value: Any, length: int = 100) -> str:
    """Return a value that came from a file as one printable line of up to ``length`` characters."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= length else text[: length - 4] + " ..."


def inspect(content: Dataset | Reconstruction, patterns: Patterns | None = None) -> Inspection:
    """Return content and problems of data, in memory or lazy.

    Parameters
    ----------
    patterns : what :func:`ptycho.inspection.measure.survey_patterns` returned, if computed already
    """
    scan = measure.scan_of(content)
    sections = [_scan(content, scan), *([_object(content.object)] if content.object is not None else [])]
    found = [*checks.check_windows(content), *checks.check_scan(scan)]
    if isinstance(content, Dataset):
        patterns = patterns or measure.survey_patterns(content)
        found = [*checks.check_pixels(patterns), *found]
        content, patterns = without_suspects(content, patterns)
        photons = measure.in_photons(content.metadata, patterns.whole)
        model = mismatch.mismatch(content, photons)
        unit = "photons" if photons else "counts of an unknown unit"
        sections = [_patterns(content, patterns, unit), *sections, _probe(content, unit), _model(model)]
        found = [*checks.check_patterns(content, patterns, photons), *found, *_check_model(content, patterns, model)]
        found += checks.check_truth(content)
    else:
        sections.append(_probe(content, ""))
    facts = (*sections, _origin(content.metadata), _history(content.metadata))
    return Inspection(tuple(section for section in facts if section.lines), tuple(found))


def without_suspects(dataset: Dataset, patterns: Patterns) -> tuple[Dataset, Patterns]:
    """Return a dataset with its hot pixels and those at an integer type's maximum marked as bad, and its patterns."""
    suspects = patterns.suspects
    bad = suspects if dataset.bad_pixels is None else suspects | dataset.bad_pixels
    if not suspects.any() or bad.all():
        return dataset, patterns
    marked = replace(dataset, bad_pixels=bad)
    return marked, measure.survey_patterns(marked)


def _check_model(dataset: Dataset, patterns: Patterns, model: Mismatch | None) -> Iterable[str]:
    """Yield the problems of the model or, where none is known or none is found, of the place of DC."""
    fitted = dataset.metadata.last_step("read") is not None
    sample = mismatch.sample(dataset)
    lines = [*checks.check_patches(dataset), *checks.check_model(dataset, model, sample, fitted)]
    yield from lines
    if not lines and patterns.largest > 0:
        yield from checks.check_beam(dataset, patterns)


def _patterns(dataset: Dataset, patterns: Patterns, unit: str) -> Section:
    count, examined = len(dataset), patterns.index.size
    bad = 0 if dataset.bad_pixels is None else int(dataset.bad_pixels.sum())
    lines = [
        ("patterns", f"{count} of {dataset.window_px} x {dataset.window_px} pixels (N = {dataset.window_px})"),
        ("examined", "all" if examined == count else f"{examined} of {count}, evenly spread; values are of these"),
        ("diffraction", f"{number(patterns.amplitude[0])} to {number(patterns.amplitude[1])} (amplitude)"),
        ("counts per pattern", f"{_mean_range(patterns.counts)} {unit}: (counts_scale * diffraction)**2, summed"),
        ("brightest pixel", f"{number(patterns.largest)} {unit}"),
        ("counts_scale", number(dataset.counts_scale)),
        ("dark pixels", f"{100 * patterns.dark_share:.3g} % of the good pixels are 0"),
        ("bad pixels", f"{bad} ({100 * bad / dataset.window_px**2:.2g} %)" if bad else "none marked"),
    ]
    return Section("Patterns", tuple(lines))


def _mean_range(values: npt.NDArray[np.float64]) -> str:
    return f"{number(values.mean())} on average, {number(values.min())} to {number(values.max())}"


def _scan(content: Dataset | Reconstruction, scan: Scan) -> Section:
    pixel = content.metadata.pixel_size_m
    width, height = float(np.ptp(content.xcoords)), float(np.ptp(content.ycoords))
    again = "" if scan.n_distinct == scan.n_positions else f", {scan.n_distinct} distinct"
    lines = [
        ("positions", f"{scan.n_positions}{again}"),
        ("x", f"{content.xcoords.min():.6g} to {content.xcoords.max():.6g} px{_in_um(width, pixel, ' across')}"),
        ("y", f"{content.ycoords.min():.6g} to {content.ycoords.max():.6g} px{_in_um(height, pixel, ' across')}"),
    ]
    if scan.n_distinct > 1:
        spacing = f"{scan.spacing_px:.3g} px to the nearest neighbour, on average{_in_um(scan.spacing_px, pixel)}"
        overlap = f"{scan.overlap:.2f} = 1 - spacing / diameter of the probe (which contains 90 % of its energy)"
        lines += [("spacing", spacing), ("overlap", overlap)]
    lit = f"{number(scan.lit_px)} px^2" + (f" = {number(scan.lit_px * (1e6 * pixel) ** 2)} um^2" if pixel else "")
    if content.object is not None:
        lit += f", {100 * min(scan.lit_px / content.object.size, 1):.3g} % of the object"
    return Section("Scan", (*lines, ("area covered", f"{lit}, by discs with the diameter of the probe")))


def _in_um(length_px: float, pixel_m: float | None, what: str = "") -> str:
    return f" ({number(1e6 * length_px * pixel_m)} um{what})" if pixel_m and length_px else ""


def _object(image: ComplexArray) -> Section:
    amplitude, phase = np.abs(image), np.angle(image)
    return Section(
        "Object",
        (
            ("shape", f"{image.shape[0]} x {image.shape[1]} px (rows x columns)"),
            ("amplitude", _with_middle(amplitude)),
            ("phase", f"{_with_middle(phase)} rad"),
        ),
    )


def _with_middle(values: npt.NDArray[Any]) -> str:
    low, high = np.percentile(values, (1, 99))
    return f"{number(values.min())} to {number(values.max())}, 98 % of pixels {number(low)} to {number(high)}"


def _probe(content: Dataset | Reconstruction, unit: str) -> Section:
    probe = content.probe
    energy = float(np.sum(np.square(np.abs(probe), dtype=np.float64)))
    scale = f"its summed square is {number(energy)}"
    if isinstance(content, Dataset):
        scale += f": {number(energy * content.counts_scale**2)} {unit} per pattern without an object"
    return Section(
        "Probe",
        (
            ("size", f"{probe.shape[0]} x {probe.shape[1]} px"),
            ("diameter", f"{measure.probe_diameter_px(probe):.3g} px: circle that contains 90 % of its energy"
             + _in_um(measure.probe_diameter_px(probe), content.metadata.pixel_size_m)),
            ("central half", f"{100 * measure.central_share(probe, 0.5):.3g} % of its energy within N/2 x N/2"),
            ("scale", scale),
        ),
    )  # fmt: skip


def _model(model: Mismatch | None) -> Section:
    if model is None:
        return Section("Model", ())
    lines = [("mismatch", f"{100 * model.relative:.3g} % = ||(|FFT(probe Y)| / N) - diffraction|| / ||diffraction||")]
    lines.append(("compared", f"{model.n_patterns} patterns"))
    if np.isfinite(model.noise):
        lines.append(("photon noise", f"alone would give {100 * model.noise:.3g} %"))
    return Section("Model", tuple(lines))


def _origin(metadata: Metadata) -> Section:
    """Return the single values of the metadata that no other section shows."""
    pixel = metadata.pixel_size_m
    lines = [("pixel size", f"{number(1e9 * pixel)} nm" if pixel else "not stated: lengths are in pixels only")]
    named = {"energy_eV": ("photon energy", "eV"), "distance_m": ("detector distance", "m")}
    shown_elsewhere = ("pixel_size_m", "counts_scale", "format")
    for key, value in metadata.as_mapping().items():
        if key not in shown_elsewhere and isinstance(value, (str, int, float, bool)) and value != "":
            label, unit = named.get(key, (clean(key, 24), ""))
            lines.append((label, f"{clean(value)} {unit}".rstrip()))
    return Section("Origin", tuple(lines[:20]))


def _history(metadata: Metadata) -> Section:
    lines = []
    for order, entry in enumerate(metadata.steps, start=1):
        words = ", ".join(f"{key} {value}" for key, value in entry.parameters.items() if value is not None)
        version = "" if entry.version is None else f"(version {clean(entry.version, 20)}) "
        lines.append((f"{order}. {clean(entry.step, 30)}", f"{version}{clean(words, 160)}".rstrip()))
    return Section("History", tuple(lines))
