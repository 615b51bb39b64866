"""Further test data of a study, and errors of the probe and positions that reconstructions assume."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from ptycho.config.keys import checked
from ptycho.config.sections import STRICT, key
from ptycho.errors import InputError

if TYPE_CHECKING:
    from ptycho.config.schema import StudyConfig

HELD_OUT = "held_out"  # name of the study's own test half among the test sets
EXACT_IN_NETWORK = "exact_in_network"  # suffix of the counterpart of a set, whose network keeps the exact probe
NAME = r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$"
SIMULATED = ("specimen", "simulation", "seed")  # keys of a set that has simulated data of its own


@dataclass(frozen=True, config=STRICT)
class ProbeErrorConfig:
    """Errors of the probe and of the positions that models and iterative reconstruction assume; 0: none."""

    defocus_rad: float = key(
        0.0, "defocus: quadratic phase at the edge of the detector, radians, 0 at its centre", ge=-1000, le=1000
    )
    amplitude_blur_px: float = key(0.0, "standard deviation of the Gaussian blur of the amplitude, pixels", ge=0, le=64)
    phase_noise_rad: float = key(0.0, "standard deviation of a smooth random phase of the probe, radians", ge=0, le=10)
    shift_px: float = key(0.0, "shift of the probe within its window, along x, pixels", ge=-64, le=64)
    position_jitter_px: float = key(
        0.0, "standard deviation of random errors of each coordinate of the scan positions, pixels", ge=0, le=64
    )

    @property
    def of_probe(self) -> bool:
        """Whether the probe itself is wrong, not the positions alone."""
        return any(value for name, value in dataclasses.asdict(self).items() if name != "position_jitter_px")

    @property
    def is_zero(self) -> bool:
        """Whether there is no error at all."""
        return not any(dataclasses.asdict(self).values())


@dataclass(frozen=True, config=STRICT)
class TestSetConfig:
    """A further test set: what it changes in the study's data, or a measured scan; and an error of the probe."""

    specimen: dict[str, Any] = key({}, "keys of the section specimen that differ")
    simulation: dict[str, Any] = key({}, "keys of the section simulation that differ")
    seed: int | None = key(None, "seed of specimen, positions and noise; null: that of the study", ge=0)
    test_data: str | None = key(None, "scan to test on, npz (docs/formats.md)", min_length=1)
    measured: dict[str, Any] = key({}, "keys of the section measured that differ for test_data")
    probe_error: dict[str, Any] = key({}, "errors of the assumed probe; one of them may be a list of strengths")


@dataclasses.dataclass(frozen=True)
class TestSet:
    """A test set as it is run.

    Parameters
    ----------
    name : of its directory, ``test_{name}``
    group : its name in the configuration, which the sets of a list of strengths share
    study : the study with the changes of the set; its sections describe the data
    test_data : measured scan, or None where the data are simulated
    probe_error : of the probe and positions that models and iterative reconstruction assume
    strength : key and value of the entry of a list of strengths; None where there is no list
    network_is_exact : the network keeps the exact probe, and only the stitching assumes the wrong one
    own_data : whether the set has data of its own; else it uses the held-out half
    """

    name: str
    group: str
    study: "StudyConfig"
    test_data: str | None
    probe_error: ProbeErrorConfig
    strength: tuple[str, float] | None = None
    network_is_exact: bool = False
    own_data: bool = False


def resolved(study: "StudyConfig") -> list[TestSet]:
    """Return the test sets of a study as they are run, those of lists of strengths one by one, in their order.

    Raises
    ------
    InputError : an unknown key, a value out of bounds, a set that changes nothing, or two sets of one name
    """
    found: list[TestSet] = []
    for name, values in study.test_sets.items():
        found += _sets(study, name, values)
    names = [one.name for one in found]
    twice = next((name for name in names if names.count(name) > 1 or name == HELD_OUT), None)
    if twice:
        raise InputError(f"test_sets: two sets would be called {twice}: rename one of them")
    return found


def _sets(study: "StudyConfig", name: str, values: Mapping[str, Any]) -> Iterable[TestSet]:
    """Yield the sets that one entry of ``test_sets`` stands for."""
    where = f"test_sets.{name}."
    config = checked(TestSetConfig, values, where)
    simulated = [part for part in SIMULATED if values.get(part) not in (None, {})]
    if config.test_data and simulated:
        raise InputError(f"{where}test_data and {where}{simulated[0]}: a set is either measured or simulated: drop one")
    if config.measured and not config.test_data:
        raise InputError(f"{where}measured: conventions of test_data, which is not set: add it, or drop this section")
    if not (simulated or config.test_data or config.probe_error):
        raise InputError(
            f"test_sets.{name}: it changes nothing: give specimen, simulation, seed, test_data or probe_error"
        )
    if simulated and study.test_data and not (study.input or config.specimen):
        raise InputError(
            f"{where}{simulated[0]}: the study's test data are measured, so that nothing is simulated that it could "
            f"change: give {where}specimen, which is simulated, or {where}test_data"
        )
    sections = {part: getattr(config, part) for part in ("specimen", "simulation", "measured") if getattr(config, part)}
    changed = study.changed(sections, where)
    seed = study.seed if config.seed is None else config.seed
    changed = dataclasses.replace(changed, seed=seed)
    own = bool(simulated or config.test_data)
    if not config.probe_error:
        yield TestSet(name, name, changed, config.test_data, ProbeErrorConfig(), own_data=own)
        return
    for suffix, strength, error in _strengths(config.probe_error, where):
        one = TestSet(name + suffix, name, changed, config.test_data, error, strength, own_data=own)
        yield one
        if error.of_probe:
            yield dataclasses.replace(one, name=f"{one.name}_{EXACT_IN_NETWORK}", network_is_exact=True)


def _strengths(
    values: Mapping[str, Any], where: str
) -> Iterable[tuple[str, tuple[str, float] | None, ProbeErrorConfig]]:
    """Yield suffix of the name, key and value, and errors of each entry of the list among ``values``, if any."""
    lists = [name for name, value in values.items() if isinstance(value, (list, tuple))]
    if len(lists) > 1:
        raise InputError(
            f"{where}probe_error: {' and '.join(lists)} are lists: give one list, and make further sets of the others"
        )
    if not lists:
        yield "", None, checked(ProbeErrorConfig, values, f"{where}probe_error.")
        return
    (name,) = lists
    if len(values[name]) < 2 or len(set(map(str, values[name]))) < len(values[name]):
        raise InputError(
            f"{where}probe_error.{name} is {list(values[name])}: expected two different strengths or more; write one "
            "as a number"
        )
    for value in values[name]:
        error = checked(ProbeErrorConfig, {**values, name: value}, f"{where}probe_error.")
        number = float(getattr(error, name))
        yield f"_{token(number)}", (name, number), error


def token(value: Any) -> str:
    """Return a value as part of a name, of small letters, digits and underscores: 0.5 is ``0p5``, -1e-3 ``m0p001``."""
    text = f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value).lower()
    text = text.replace("e+0", "e").replace("e+", "e").replace("e-0", "em").replace("-", "m").replace(".", "p")
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in text).strip("_")
