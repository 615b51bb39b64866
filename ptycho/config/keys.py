"""Names of configuration keys: dotted, former and misspelt ones; the error message of an invalid value."""

import dataclasses
import difflib
import logging
import operator
import os
import re
import reprlib
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ptycho.errors import InputError

logger = logging.getLogger(__name__)

PATHS = (  # keys of files and directories
    "input", "output_dir", "existing", "analysis_dir", "datasets_dir", "train_data", "test_data",
    "simulation.bad_pixels", "measured.bad_pixels", "evaluation.custom_metrics",
)  # fmt: skip
RENAMED = {  # keys of the section training: former name, present name; the former ones are read in version 0.1 only
    "turned_images": "augmentation_ratio",
    "synthetic_images": "synthetic_augmentation_ratio",
    "retrieval_sweeps": "phase_retrieval_iterations",
}


def renamed(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the section ``training`` under the present names of their keys."""
    return {RENAMED.get(key, key): value for key, value in training.items()}


def _present_names(training: Any, where: str, defaults: Mapping[str, Any]) -> Any:
    """Return a section ``training`` under present names; values of present names that are defaults are ignored."""
    if not isinstance(training, Mapping) or not RENAMED.keys() & training.keys():
        return training
    settings = dict(training)
    for former, present in RENAMED.items():
        if former not in settings:
            continue
        if present in settings and (present not in defaults or settings[present] != defaults[present]):
            raise InputError(f"{where}.{former} is the former name of {where}.{present}: remove it")
        logger.warning("configuration: %s.%s is now called %s.%s: rename it", where, former, where, present)
        settings.pop(present, None)
    return renamed(settings)


def with_present_names(mapping: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested configuration with the present key names in ``training`` and in its variants.

    A former name is logged as a warning. ``defaults`` are those of the section ``training``, which
    ``config/config.yaml`` states beside whatever a user configures.

    Raises
    ------
    InputError : a former and a present name of the same key are both given
    """
    result = dict(mapping)
    if "training" in result:
        result["training"] = _present_names(result["training"], "training", defaults)
    if isinstance(result.get("variants"), Mapping):
        result["variants"] = {
            name: {
                section: _present_names(values, f"variants.{name}.training", {}) if section == "training" else values
                for section, values in sections.items()
            }
            if isinstance(sections, Mapping)
            else sections
            for name, sections in result["variants"].items()
        }
    return result


def nested(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with dotted keys moved into their sections, those of variants and test sets too."""
    result = _sections(mapping)
    for part in ("variants", "test_sets"):
        if isinstance(result.get(part), Mapping):
            named = _sections(result[part]).items()
            result[part] = {name: _sections(keys) if isinstance(keys, Mapping) else keys for name, keys in named}
    return result


def _sections(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``mapping`` with each key divided at its first dot into a section and a key of it."""
    result: dict[str, Any] = {}
    for key, value in mapping.items():
        section, dot, name = str(key).partition(".")
        before = {} if result.get(section) is None else result[section]
        if not isinstance(before, dict):
            continue  # not a section: the check will say so
        if dot:
            result[section] = {**before, name: value}
        elif isinstance(value, Mapping):
            result[section] = {**before, **value}
        else:
            result[section] = value
    return result


def check_paths(study: Any) -> None:
    """Check the paths of a :class:`~ptycho.config.schema.StudyConfig`; None is no path.

    Raises
    ------
    InputError : Snakemake or a command would read a path as something else, or ``analysis_dir`` without ``existing``
    """
    paths = {key: operator.attrgetter(key)(study) for key in PATHS}
    for name, values in study.test_sets.items():
        paths[f"test_sets.{name}.test_data"] = values.get("test_data")
    for part, named in (("test_sets", study.test_sets), ("variants", study.variants)):
        for name, sections in named.items():
            for section in ("simulation", "measured"):
                found = sections.get(section)
                mask = found.get("bad_pixels") if isinstance(found, Mapping) else None
                paths[f"{part}.{name}.{section}.bad_pixels"] = mask
    for key, given in paths.items():
        value = None if given is None else str(given)
        if value is not None and ("{" in value or "}" in value):
            raise InputError(f"{key} is {value}: it must not contain {{ or }}: Snakemake reads them as wildcards")
        if value is not None and os.path.normpath(value).startswith("-"):
            raise InputError(
                f"{key} is {value}: it must not start with -, which commands read as an option: write the absolute path"
            )
    if study.analysis_dir is not None and study.existing is None:
        raise InputError(
            f"analysis_dir is {study.analysis_dir}, but existing is not set: the files of a study go to output_dir"
        )


def _keys(kind: Any, prefix: str = "") -> dict[str, str]:
    """Return every key of a configuration class, dotted, with its last part."""
    found = {}
    for name, hint in typing.get_type_hints(kind).items():
        found[prefix + name] = name
        if dataclasses.is_dataclass(hint):
            found |= _keys(hint, f"{prefix}{name}.")
    return found


def one_line(kind: Any, error: ValidationError, where: str = "") -> str:
    """Return the first error of a validation as one line: the key, the value found and what is expected.

    ``where`` is what precedes the keys of ``kind``: ``variants.wide.pinn.``, ``--``, or nothing.
    """
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "unexpected_keyword_argument":
        known = _keys(kind)
        end = RENAMED.get(key.rpartition(".")[2], key.rpartition(".")[2])
        near = [dotted for dotted, name in known.items() if name == end]  # the right key in the wrong section
        near = near or difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        last = difflib.get_close_matches(end, known.values(), n=1, cutoff=0.6)
        near = near or [dotted for dotted, name in known.items() if name in last][:1]
        hint = f"did you mean {where}{near[0]}?" if near else f"known keys: {', '.join(typing.get_type_hints(kind))}"
        return f"unknown key {where}{key}: {hint}"
    if first["type"] == "dataclass_type":
        empty = "nothing" if first["input"] is None else reprlib.repr(first["input"])
        return f"{where}{key} is {empty}: expected keys and values below it, see config/config.yaml, or leave {key} out"
    if first["type"] == "tuple_type":
        return f"{where}{key} is {reprlib.repr(first['input'])}: {_list_spelling(key, first['input'])}"
    if isinstance(first["loc"][-1], int) and isinstance(first["input"], str) and len(_items(first["input"])) > 1:
        key = key.rpartition(".")[0]
        return f"{where}{key} is [{reprlib.repr(first['input'])}]: {_list_spelling(key, first['input'])}"
    return f"{where}{key} is {reprlib.repr(first['input'])}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _items(value: Any) -> list[str]:
    """Return the items of what was probably meant as a list: a number, or words between spaces, commas or brackets."""
    return [item for item in re.split(r"[\s,;()\[\]]+", str(value)) if item]


def _list_spelling(key: str, value: Any) -> str:
    """Return how to write a value as a list, on the command line and in a file."""
    number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**15
    items = _items(value) if number or (isinstance(value, str) and len(value) <= 100) else []
    text = f"[{','.join(items)}]" if items else "[...]"
    section, _, name = key.rpartition(".")
    option = f"{section}='{{{name}: {text}}}'" if section else f'{name}="{text}"'
    return f"expected a list: write --config {option}, or in a file {name}: {text}"


def checked(section: Any, values: Mapping[str, Any], where: str) -> Any:
    """Return a section of the configuration from its values; ``where`` is the prefix of the key in error messages.

    Raises
    ------
    InputError : an unknown key, or a value out of bounds
    """
    try:
        return TypeAdapter(section).validate_python(dict(values), strict=False)
    except ValidationError as error:
        raise InputError(one_line(section, error, where)) from None
