"""Sweeps of a key: each value becomes a variant of the study, with a name made of the key and the value."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptycho.config.keys import checked
from ptycho.config.test_sets import token
from ptycho.errors import InputError

if TYPE_CHECKING:
    from ptycho.config.schema import StudyConfig


def sections_of(key: str, study: "StudyConfig", known: tuple[str, ...]) -> tuple[str, str]:
    """Return section and name of a swept key; InputError where no variant can change it."""
    section, dot, name = key.partition(".")
    if not dot or section not in known:
        raise InputError(
            f"sweep.{key}: expected a key of {', '.join(known)} with its section, such as simulation.n_photons"
        )
    kinds = type(getattr(study, section))
    checked(kinds, {name: getattr(getattr(study, section), name, None)}, f"sweep.{section}.")  # is there such a key?
    return section, name


def points(study: "StudyConfig", known: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return, for each swept key, the value of each variant; that of the study itself, where swept, under "".

    Parameters
    ----------
    known : sections that a variant may change

    Raises
    ------
    InputError : a key that does not exist or no variant may change, a value out of bounds, or fewer than two values
    """
    split = {key: sections_of(key, study, known) for key in study.sweep}
    ends = [name for _, name in split.values()]
    found: dict[str, dict[str, Any]] = {}
    for key, (section, name) in split.items():
        own = getattr(study, section)
        values = [getattr(checked(type(own), {name: v}, f"sweep.{section}."), name) for v in study.sweep[key]]
        if len(values) < 2 or len(set(map(str, values))) < len(values):
            raise InputError(
                f"sweep.{key} is {list(study.sweep[key])}: expected two different values or more; one value is no sweep"
            )
        start = f"{section}_{name}" if ends.count(name) > 1 else name
        found[key] = {"" if value == getattr(own, name) else f"{start}_{token(value)}": value for value in values}
        if len(found[key]) < len(values):
            raise InputError(f"sweep.{key} is {list(study.sweep[key])}: two values have one name: round them")
    return found


def variants(study: "StudyConfig", known: tuple[str, ...]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return the variants that the sweeps of a study stand for, see :func:`points`."""
    result: dict[str, dict[str, Mapping[str, Any]]] = {}
    for key, values in points(study, known).items():
        section, name = key.split(".", 1)
        result |= {variant: {section: {name: value}} for variant, value in values.items() if variant}
    return result
