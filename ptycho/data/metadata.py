"""Metadata of a file: one JSON object, parsed into typed values once, with the history of processing steps."""

import json
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy.typing as npt

from ptycho.config.keys import checked
from ptycho.config.schema import MeasuredConfig
from ptycho.errors import InputError

MAX_SCALE = 1e30  # limit of numbers in the metadata: their squares are finite
BAD_FIT = 0.5  # of the amplitude; an empty object under the right probe misses patterns by less
MAX_DEPTH = 50  # levels of lists and objects within each other
Factor = tuple[float, float]  # a complex factor: amplitude, phase in radians


@dataclass(frozen=True)
class Step:
    """A processing step of the history.

    Parameters
    ----------
    step : its name
    parameters : by name, values that JSON can hold; read-only
    version : of the software that made the step; None if unknown
    other : further entries that another program wrote, kept on writing; read-only
    """

    step: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    version: str | None = None
    other: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _make_read_only(self, "parameters", "other")

    def as_mapping(self) -> dict[str, Any]:
        """Return the step under the names of the file."""
        version = {} if self.version is None else {"version": self.version}
        return {"step": self.step, "parameters": dict(self.parameters), **version, **self.other}


@dataclass(frozen=True)
class Metadata:
    """What a file states of its data; None where it does not. Written in the order of the fields.

    Parameters
    ----------
    format : name of the file format, of datasets in the study's format (:data:`ptycho.io.npz.FORMAT`)
    source : origin of the data
    steps : processing so far, oldest first
    removed_factor : what was divided out of the first object, see :mod:`ptycho.preparation.normalize`
    energy_eV, distance_m, detector_pixel_m, exposure_time_s : photon energy, distance of the detector from the
        specimen, side of a detector pixel, exposure of a pattern
    pixel_size_m : side of a pixel of the object
    counts_known : False where the unit of the counts is unknown, so that they are no photons
    n_photons : mean photons per pattern, as simulated
    counts_scale : counts are ``(counts_scale * diffraction)**2``
    seed : of the simulation
    lit_factor : level of the object when the dataset was written, see :mod:`ptycho.preparation.normalize`
    model_mismatch : relative l2 misfit of probe times object to the amplitudes
    split, part : parameters of the split, and the half that these data are
    quantity, dc, positions : conventions of data that are not yet converted, as in ``MeasuredConfig``
    scan_index : (n,) number of each position in its scan, where they are not in order (of a reconstruction)
    other : keys of other programs, kept on writing; read-only
    """

    format: str | None = None
    source: str | None = None
    steps: tuple[Step, ...] = ()
    removed_factor: Factor | None = None
    energy_eV: float | None = None
    distance_m: float | None = None
    detector_pixel_m: float | None = None
    exposure_time_s: float | None = None
    pixel_size_m: float | None = None
    counts_known: bool | None = None
    n_photons: float | None = None
    counts_scale: float | None = None
    seed: int | None = None
    lit_factor: Factor | None = None
    model_mismatch: float | None = None
    split: Mapping[str, Any] | None = None
    part: str | None = None
    quantity: Literal["amplitude", "intensity", "counts"] | None = None
    dc: Literal["centre", "corner"] | None = None
    positions: Literal["pixels", "metres"] | None = None
    scan_index: tuple[int, ...] | None = None
    other: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bad_fit(self) -> str | None:
        """A sentence where probe times object does not explain the patterns at all; None elsewhere."""
        if self.model_mismatch is None or self.model_mismatch < BAD_FIT:
            return None
        return (
            f"probe times object misses the patterns by {self.model_mismatch:.1%} of their amplitude: wrong quantity, "
            "DC, axes or positions? inspect_dataset.py finds the convention that fits"
        )

    def __post_init__(self) -> None:
        _make_read_only(self, "other", *(["split"] if self.split is not None else []))

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any]) -> "Metadata":
        """Return the metadata of the content of a JSON object; null stands for a value that is not stated.

        Raises
        ------
        InputError : a value of another type, or out of range
        """
        own = {key: value for key, value in content.items() if key in OWN_KEYS and value is not None}
        for keys, fits, expected in CHECKS:
            for key in keys:
                if key in own and not fits(own[key]):
                    raise InputError(f"{key} in the metadata is {reprlib.repr(own[key])}, expected {expected}")
        stated = checked(MeasuredConfig, {key: own[key] for key in CONVENTIONS if key in own}, "metadata: ")
        own |= {key: None for key in CONVENTIONS if getattr(stated, key) == "auto"}
        own["steps"] = _steps(own.get("steps", []))
        own |= {key: tuple(own[key]) for key in ("lit_factor", "removed_factor", "scan_index") if key in own}
        return cls(**own, other={key: value for key, value in content.items() if key not in OWN_KEYS})

    def as_mapping(self) -> dict[str, Any]:
        """Return the stated values under the names of the file, in the order in which they are written."""
        own = {key: getattr(self, key) for key in OWN_KEYS}
        own["steps"] = [step.as_mapping() for step in self.steps] or None
        own["split"] = None if self.split is None else dict(self.split)
        return {key: value for key, value in own.items() if value is not None} | dict(self.other)

    def with_step(self, step: str, parameters: Mapping[str, Any]) -> "Metadata":
        """Return a copy with an entry appended to ``steps``: its name, parameters and the software version."""
        from ptycho import __version__

        return replace(self, steps=(*self.steps, Step(step, parameters, __version__)))

    def last_step(self, name: str) -> Step | None:
        """Return the latest step of a name, or None."""
        return next((step for step in reversed(self.steps) if step.step == name), None)


CONVENTIONS = ("quantity", "dc", "positions")
OWN_KEYS = tuple(item.name for item in fields(Metadata) if item.name != "other")


def parse_metadata(arrays: Mapping[str, npt.NDArray[Any]]) -> Metadata:
    """Return the content of ``metadata``, one JSON string, of the arrays of a file; empty where missing.

    Raises
    ------
    InputError : see :func:`parse_metadata_text`
    """
    return parse_metadata_text(str(arrays["metadata"])) if "metadata" in arrays else Metadata()


def parse_metadata_text(text: str, name: str = "metadata") -> Metadata:
    """Return metadata from their JSON text; ``name`` is that of the text in error messages.

    Raises
    ------
    InputError : not a JSON object, a value of another type, or out of range
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not a JSON string ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{name} is a JSON {type(content).__name__}, expected an object")
    if _is_deep(content):
        raise InputError(f"{name} holds lists or objects nested more than {MAX_DEPTH} deep: make the file again")
    return Metadata.from_mapping(content)


def _is_deep(content: Any) -> bool:
    """Tell whether JSON content is nested more than :data:`MAX_DEPTH` deep, which would exhaust the stack later."""
    level = [content]
    for _ in range(MAX_DEPTH):
        nested = [item for item in level if isinstance(item, (dict, list))]
        level = [child for item in nested for child in (item.values() if isinstance(item, dict) else item)]
    return any(isinstance(item, (dict, list)) for item in level)


def _make_read_only(instance: Any, *names: str) -> None:
    """Replace mappings of a frozen dataclass by read-only copies."""
    for name in names:
        object.__setattr__(instance, name, MappingProxyType(dict(getattr(instance, name))))


def _steps(entries: Any) -> tuple[Step, ...]:
    """Return the history; InputError where it is not a list of steps."""
    if not isinstance(entries, list) or not all(map(_is_step, entries)):
        raise InputError("steps in the metadata is not a list of steps, each with step, parameters and version")
    own = ("step", "parameters", "version")
    return tuple(
        Step(
            entry["step"],
            entry.get("parameters") or {},
            entry.get("version"),
            {key: value for key, value in entry.items() if key not in own},
        )
        for entry in entries
    )


def _is_step(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("step"), str)
        and isinstance(value.get("parameters"), dict | None)
        and isinstance(value.get("version"), str | None)
        and (value["step"] != "simulate" or _is_detector(value.get("parameters") or {}))
    )


def _is_detector(parameters: Mapping[str, Any]) -> bool:
    """Tell whether the parameters of a simulated detector, by which augmented patterns are made, are numbers."""
    values = [parameters.get(f"{name}_counts") for name in ("background", "readout_noise", "saturation")]
    return all(value is None or (_is_number(value) and 0 <= value < MAX_SCALE) for value in values)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and 0 < value < MAX_SCALE


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_factor(pair: Any) -> bool:
    return 0 < pair[0] < MAX_SCALE and abs(pair[1]) < MAX_SCALE


def _is_index(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and abs(number) < 2**63 for number in value)


MEASURES = ("energy_eV", "distance_m", "detector_pixel_m", "exposure_time_s")
FACTORS = ("lit_factor", "removed_factor")
CHECKS: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (  # keys, condition, what is expected
    (("format", "source", "part"), lambda value: isinstance(value, str), "text"),
    (FACTORS, _is_pair, "[amplitude, phase in radians]"),
    (FACTORS, _is_factor, "an amplitude above 0 and a finite phase"),
    (("counts_scale", "pixel_size_m", "n_photons", *MEASURES), _is_positive, "a number above 0"),
    (("model_mismatch",), lambda value: _is_number(value) and 0 <= value < MAX_SCALE, "a number of 0 or more"),
    (("counts_known",), lambda value: isinstance(value, bool), "true or false"),
    (("seed",), lambda value: type(value) is int, "a whole number"),
    (("split",), lambda value: isinstance(value, dict), "an object of parameters"),
    (("scan_index",), _is_index, "a list of whole numbers"),
)
