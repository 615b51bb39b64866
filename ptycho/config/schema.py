"""The study's configuration: validated once, frozen, passed by section, never global.

The dataclasses below are the single definition of every key: its type, bounds, default and meaning. The JSON
schema in ``workflow/schemas`` and the flags of the commands are made from them; a test holds
``config/config.yaml`` to the same defaults.
"""

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ptycho.errors import InputError

Arm = Literal["pinn", "baseline", "iterative", "refined"]
Activation = Literal["softplus", "sigmoid", "exponential"]
Precision = Literal["auto", "float32", "mixed_bfloat16"]
VARIED = ("pinn", "baseline", "training")  # sections that a variant may change
_strict = ConfigDict(extra="forbid", allow_inf_nan=False, defer_build=True)


def _key(default: Any, meaning: str, **bounds: Any) -> Any:
    return Field(default, description=meaning, **bounds)


@dataclass(frozen=True, config=_strict)
class SimulationConfig:
    n_images: int = _key(20_000, "diffraction patterns to simulate, training and test together", ge=2)
    n_photons: float = _key(1e9, "mean expected photons of a pattern, before the detector is cropped", gt=0, le=1e15)
    region: Literal["object", "scan"] = _key(
        "object",
        "where positions fall: the whole object less half a window, or the box of the input's positions",
    )
    buffer_px: float = _key(0.0, "margin kept free inside the region, in pixels of the zoomed object", ge=0)
    background_counts: float = _key(0.0, "mean stray photons of a detector pixel", ge=0, le=1e15)
    readout_noise_counts: float = _key(0.0, "standard deviation of a pixel's read-out noise, counts", ge=0, le=1e15)
    saturation_counts: float | None = _key(None, "most a pixel can count; null for no limit", gt=0)
    bad_pixels: str | None = _key(None, "mask of dead pixels: npy, or npz with bad_pixels, of the simulated detector")


@dataclass(frozen=True, config=_strict)
class PreparationConfig:
    zoom_factor: float = _key(2.0, "interpolation of object and probe before the simulation", ge=1)
    smooth_object_sigma: float = _key(0.5, "Gaussian blur of the zoomed object in its pixels; 0 for none", ge=0)
    crop_factor: int = _key(2, "central part of the detector kept: 1/crop_factor of its side", ge=1)
    bin_factor: int = _key(2, "pixels of object and probe averaged on a side; equals crop_factor", ge=1)
    downsample_method: Literal["bin", "fourier"] = _key(
        "bin", "how the probe's pixels grow: averaged, or its spectrum cropped as the detector is"
    )
    split_fraction: float = _key(0.5, "share of the images that go to training", gt=0, lt=1)
    split_axis: Literal["x", "y"] = _key("y", "axis along which training (low) and test (high) are parted")
    split_gap_px: float = _key(0.0, "test patterns closer than this to the training half are left out, pixels", ge=0)
    keep_stages: bool = _key(False, "keep the large intermediate files (simulated, downsampled)")


@dataclass(frozen=True, config=_strict)
class SpecimenConfig:
    size_px: int = _key(896, "side of the procedural object, pixels; at least 2 N", ge=64)
    window_px: int = _key(64, "side N of the probe and of the patterns, pixels; a multiple of 8", ge=32, multiple_of=8)
    phase_rad: float = _key(1.5, "range of the object's phase, radians; below pi: no wraps", gt=0, le=3)
    absorption: float = _key(0.3, "largest loss of amplitude in the object, 0 to 1", ge=0, lt=1)
    object: Literal["dead_leaves", "lines", "gaussian_field", "siemens_star", "cells"] = _key(
        "dead_leaves", "what the procedural object shows; pictures in docs/specimens.md"
    )
    probe: Literal["zone_plate", "gaussian", "disk"] = _key("zone_plate", "the beam on it")


@dataclass(frozen=True, config=_strict)
class MeasuredConfig:
    quantity: Literal["auto", "amplitude", "intensity", "counts"] = _key(
        "auto", "what the patterns of measured files are; auto: what the file states, else judged and logged"
    )
    dc: Literal["auto", "centre", "corner"] = _key("auto", "where the undiffracted beam is in their patterns")
    positions: Literal["auto", "pixels", "metres"] = _key("auto", "unit of their xcoords and ycoords")
    pixel_size_m: float | None = _key(None, "pixel of the object, metres; needed for positions in metres", gt=0)
    bad_pixels: str | None = _key(None, "mask of bad pixels: npy, or npz with bad_pixels; True is bad")


@dataclass(frozen=True, config=_strict)
class PinnConfig:
    n_filters_scale: float = _key(0.5, "multiplies every number of filters (1: 32, 64, 128)", gt=0)
    gridsize: int = _key(1, "a patch is told from gridsize**2 neighbouring patterns: 1 is each for itself", ge=1, le=5)
    amplitude_activation: Activation = _key("softplus", "what keeps the amplitude positive; all start at 1")
    overlap_weight: float = _key(1.0, "weight of the likelihood of neighbouring patches merged on a canvas", ge=0)
    pattern_weight: float = _key(0.5, "weight of the likelihood of each patch alone", ge=0)
    amplitude_weight: float = _key(0.0, "weight of the mean absolute error of the patterns' amplitudes", ge=0)
    real_space_weight: float = _key(0.3, "weight of the error of the patches of made images, which are known", ge=0)
    trainable_intensity_scale: bool = _key(True, "learn the scale between probe and measured intensity")
    trainable_probe: bool = _key(False, "refine the probe of the physics; the one that patterns are prepared by stays")


@dataclass(frozen=True, config=_strict)
class BaselineConfig:
    n_filters_scale: float = _key(0.5, "as for pinn: the same network", gt=0)
    gridsize: int = _key(1, "as for pinn", ge=1, le=5)
    amplitude_activation: Activation = _key("softplus", "as for pinn")


@dataclass(frozen=True, config=_strict)
class TrainingConfig:
    epochs: int = _key(50, "passes over the training images", ge=1)
    batch_size: int = _key(16, "patterns a step", ge=1)
    learning_rate: float = _key(2e-3, "peak step of Adam", gt=0)
    validation_fraction: float = _key(0.05, "share of a trial's images held out to pick the best epoch", ge=0, lt=0.5)
    patience_epochs: int | None = _key(
        None, "epochs without a better validation after which a training ends; null: it runs to the end", ge=1
    )
    turned_images: float = _key(
        0.0,
        "data augmentation: augmented patterns for each measured one, windows of the training area as it is known, "
        "rotated, mirrored and measured anew; 0: none",
        ge=0,
        le=16,
    )
    synthetic_images: float = _key(
        0.0, "images made for each measured one, of random objects of many kinds", ge=0, le=16
    )
    retrieval_sweeps: int = _key(5, "sweeps of phase retrieval by which PtychoPINN knows its training area", ge=1)
    precision: Precision = _key("auto", "auto: bfloat16 convolutions where the hardware computes them")


@dataclass(frozen=True, config=_strict)
class EvaluationConfig:
    stitch_crop_px: int | None = _key(
        None, "side of the centre of a patch that is stitched, pixels; null: N/2, where the probe lights best", ge=2
    )
    registration_max_px: float = _key(3.0, "registration may move an image by this at most, pixels", ge=0)
    n_test_images: int | None = _key(None, "test patterns to evaluate, drawn at random; null for all", ge=1)
    custom_metrics: str | None = _key(None, "python file whose functions (target, prediction) -> float are metrics too")

    def crop_px(self, window_px: int) -> int:
        """Return the side of the centre of a patch of ``window_px`` that is stitched, pixels."""
        return window_px // 2 if self.stitch_crop_px is None else self.stitch_crop_px


@dataclass(frozen=True, config=_strict)
class IterativeConfig:
    iterations: int = _key(20, "sweeps over the test patterns of the reference without a network (rPIE)", ge=1)
    refined_iterations: int = _key(6, "sweeps that start from PtychoPINN's object: the arm refined", ge=1)
    alpha: float = _key(0.3, "care of each step where the probe is dim: near 0 bold, 1 as in ePIE", gt=0, le=1)


@dataclass(frozen=True, config=_strict)
class PlotsConfig:
    style: Literal["whitegrid", "ticks", "darkgrid", "white"] = _key("whitegrid", "seaborn style")
    palette: str = _key("colorblind", "seaborn palette")
    formats: tuple[Literal["png", "pdf", "svg"], ...] = _key(
        ("png", "pdf"), "files written for each figure; png always", min_length=1
    )
    dpi: int = _key(300, "resolution of png files, dots an inch", ge=50, le=1200)
    width_in: float = _key(5.2, "width of the plots against training images, inches", gt=1, le=30)
    height_in: float = _key(3.8, "their height, inches", gt=1, le=30)
    band: Literal["iqr", "range", "none"] = _key("iqr", "band over trials: quartiles, extremes or none")


@dataclass(frozen=True, config=_strict)
class StudyConfig:
    input: str | None = _key(None, "reconstruction npz to start from; null for the procedural specimen")
    output_dir: str = _key("results/study", "directory of everything the study writes", min_length=1)
    existing: str | None = _key(
        None,
        "study made before, here or elsewhere: tables, plots and summary of it go to its folder analysis; no training",
        min_length=1,
    )
    datasets_dir: str | None = _key(None, "where datasets are kept; null for {output_dir}/datasets")
    train_data: str | None = _key(None, "training dataset npz that replaces the prepared one")
    test_data: str | None = _key(None, "test dataset npz that replaces the prepared one")
    train_sizes: tuple[Annotated[int, Field(ge=1)], ...] = _key(
        (512, 1024, 2048, 4096), "numbers of training images to compare", min_length=1
    )
    num_trials: int = _key(5, "independent repetitions of every training", ge=1)
    seed: int = _key(42, "every other seed derives from this one", ge=0)
    variants: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")], dict[str, dict[str, Any]]] = _key(
        {}, "named settings of pinn, baseline or training that the study is run for, too: {wide: {pinn: {...}}}"
    )
    gpu_memory_mb: int | None = _key(
        None, "most that a training takes of a GPU's memory, MB; null: what it needs", ge=256
    )
    arms: tuple[Arm, ...] = _key(("pinn", "baseline"), "what is compared", min_length=1)
    specimen: SpecimenConfig = Field(default_factory=SpecimenConfig)
    simulation: SimulationConfig = Field(default_factory=SimulationConfig)
    preparation: PreparationConfig = Field(default_factory=PreparationConfig)
    measured: MeasuredConfig = Field(default_factory=MeasuredConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    pinn: PinnConfig = Field(default_factory=PinnConfig)
    baseline: BaselineConfig = Field(default_factory=BaselineConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    iterative: IterativeConfig = Field(default_factory=IterativeConfig)
    plots: PlotsConfig = Field(default_factory=PlotsConfig)

    def __post_init__(self) -> None:
        if self.preparation.crop_factor != self.preparation.bin_factor:
            raise InputError(
                f"preparation.crop_factor is {self.preparation.crop_factor} and preparation.bin_factor is "
                f"{self.preparation.bin_factor}: a detector cropped by k has pixels k times larger, so make them equal"
            )
        for name in ("output_dir", "datasets_dir", "existing"):
            value = getattr(self, name) or ""
            if "{" in value or "}" in value:
                raise InputError(f"{name} is {value}: braces mean something to Snakemake; name it without")
        for name in ("train_sizes", "arms"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise InputError(f"{name} is {list(values)}: each value once only")

        if "pinn" in self.arms:
            require_a_loss(self.pinn, self.training)
        for name, sections in self.variants.items():
            for section in sections:
                if section not in VARIED:
                    raise InputError(f"variants.{name}.{section}: a variant changes {', '.join(VARIED)}; not {section}")
            self.variant(name)
            if not self.varied_arms(name):
                raise InputError(f"variants.{name}: it changes none of the arms, which are {', '.join(self.arms)}")

    def variant(self, name: str) -> "StudyConfig":
        """Return the study with the settings of one of its variants.

        Raises
        ------
        InputError : a setting that a section does not know, or out of bounds
        """
        changed = {
            section: checked(
                type(getattr(self, section)),
                {**dataclasses.asdict(getattr(self, section)), **values},
                f"variants.{name}.{section}.",
            )
            for section, values in self.variants[name].items()
        }
        return dataclasses.replace(self, variants={}, **changed)

    def varied_arms(self, name: str) -> list[Arm]:
        """Return the arms that a variant changes: what it leaves as it is stands in the study already."""
        sections = self.variants[name]
        sources = {"pinn": "pinn", "baseline": "baseline", "refined": "pinn"}
        return [arm for arm in self.arms if arm in sources and ("training" in sections or sources[arm] in sections)]

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "StudyConfig":
        """Check a configuration as read from YAML; keys of sections may be dotted (``training.epochs``).

        Raises
        ------
        InputError : one line that names the key, what was found and what was expected
        """
        try:
            return TypeAdapter(cls).validate_python(nested(mapping))
        except ValidationError as error:
            raise InputError(_one_line(cls, error)) from None


def require_a_loss(pinn: PinnConfig, training: TrainingConfig) -> None:
    """Raise InputError where no term of PtychoPINN's loss has a weight."""
    made = training.turned_images or training.synthetic_images
    if not (pinn.overlap_weight or pinn.pattern_weight or (pinn.real_space_weight and made)):
        raise InputError(
            "overlap_weight and pattern_weight are 0 and there are no made images with a real_space_weight: PtychoPINN "
            "has nothing to learn from; raise one of them"
        )


def nested(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``mapping`` with dotted keys moved into their sections."""
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


def _keys(kind: Any, prefix: str = "") -> dict[str, str]:
    """Return every key of a configuration class, dotted, with its last part."""
    found = {}
    for name, hint in typing.get_type_hints(kind).items():
        found[prefix + name] = name
        if dataclasses.is_dataclass(hint):
            found |= _keys(hint, f"{prefix}{name}.")
    return found


def _one_line(kind: Any, error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if "error" in first.get("ctx", {}) and isinstance(first["ctx"]["error"], InputError):
        return f"configuration: {first['ctx']['error']}"
    if first["type"] == "unexpected_keyword_argument":
        known = _keys(kind)
        end = key.rpartition(".")[2]
        near = [dotted for dotted, name in known.items() if name == end]  # the right key in the wrong section
        near = near or difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        last = difflib.get_close_matches(end, known.values(), n=1, cutoff=0.6)
        near = near or [dotted for dotted, name in known.items() if name in last][:1]
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(typing.get_type_hints(kind))}"
        return f"configuration: unknown key {key}: {hint}"
    return f"configuration: {key} is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def checked(section: Any, values: Mapping[str, Any], where: str) -> Any:
    """Return a section of the configuration from its values; ``where`` stands before the key in errors.

    Raises
    ------
    InputError : an unknown key, or a value out of bounds
    """
    try:
        return TypeAdapter(section).validate_python(dict(values), strict=False)
    except ValidationError as error:
        raise InputError(_one_line(section, error).replace("configuration: ", where)) from None


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration, for editors and workflow catalogs."""
    schema = TypeAdapter(StudyConfig).json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema
