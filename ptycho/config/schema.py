"""The configuration of a study: validated once, immutable, passed on by section, never global.

The dataclasses below are the only definition of every key: its type, bounds, default and description. The JSON
schema in ``workflow/schemas`` and the flags of the commands are generated from them; a test checks that
``config/config.yaml`` has the same defaults.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ptycho.config import keys
from ptycho.config.keys import checked
from ptycho.errors import InputError

Arm = Literal["pinn", "baseline", "iterative", "refined"]
Activation = Literal["softplus", "sigmoid", "exponential"]
Precision = Literal["auto", "float32", "mixed_bfloat16"]
VARIED = ("pinn", "baseline", "training")  # sections that a variant may change
_strict = ConfigDict(extra="forbid", allow_inf_nan=False, defer_build=True)


def _key(default: Any, description: str, **bounds: Any) -> Any:
    return Field(default, description=description, **bounds)


@dataclass(frozen=True, config=_strict)
class SimulationConfig:
    """How the diffraction patterns are simulated: number, dose, scan positions and detector."""

    n_images: int = _key(20_000, "number of diffraction patterns to simulate, for training and test together", ge=2)
    n_photons: float = _key(
        1e9, "expected photons per pattern, averaged over the scan, before the detector is cropped", gt=0, le=1e15
    )
    region: Literal["object", "scan"] = _key(
        "object",
        "where scan positions are drawn: object: whole object less half a window; scan: bounding box of the input scan",
    )
    buffer_px: float = _key(
        0.0, "margin inside the region without scan positions, in pixels of the zoomed object", ge=0
    )
    background_counts: float = _key(0.0, "mean background per detector pixel, counts", ge=0, le=1e15)
    readout_noise_counts: float = _key(
        0.0, "standard deviation of the read-out noise per detector pixel, counts", ge=0, le=1e15
    )
    saturation_counts: float | None = _key(None, "saturation level of a detector pixel, counts; null: no limit", gt=0)
    bad_pixels: str | None = _key(
        None, "mask of bad pixels of the simulated detector: npy file, or npz file with bad_pixels"
    )


@dataclass(frozen=True, config=_strict)
class PreparationConfig:
    """How object and probe are resampled before and after the simulation, and how the data are split."""

    zoom_factor: float = _key(2.0, "factor by which object and probe are interpolated before the simulation", ge=1)
    smooth_object_sigma: float = _key(
        0.5, "standard deviation of the Gaussian blur of the zoomed object, in its pixels; 0: none", ge=0
    )
    crop_factor: int = _key(2, "crop the detector to the central 1/crop_factor of its side", ge=1)
    bin_factor: int = _key(2, "bin object and probe by this factor; must equal crop_factor", ge=1)
    downsample_method: Literal["bin", "fourier"] = _key(
        "bin", "how the probe is downsampled: bin: averaging of pixels; fourier: cropping of its spectrum"
    )
    split_fraction: float = _key(0.5, "fraction of the images in the training half", gt=0, lt=1)
    split_axis: Literal["x", "y"] = _key(
        "y", "axis of the split: low coordinates are for training, high ones for testing"
    )
    split_gap_px: float = _key(0.0, "exclude test patterns closer than this to the training half, pixels", ge=0)
    keep_stages: bool = _key(False, "keep the large intermediate files (simulated.npz, downsampled.npz)")


@dataclass(frozen=True, config=_strict)
class SpecimenConfig:
    """The procedural object and probe that replace an input reconstruction."""

    size_px: int = _key(896, "side length of the procedural object, pixels; at least 2 N", ge=64)
    window_px: int = _key(
        64, "side length N of probe and diffraction patterns, pixels; a multiple of 8", ge=32, multiple_of=8
    )
    phase_rad: float = _key(
        1.5, "range of the phase of the object, radians; below pi there are no phase wraps", gt=0, le=3
    )
    absorption: float = _key(0.3, "largest reduction of the amplitude of the object, 0 to 1", ge=0, lt=1)
    object: Literal["dead_leaves", "lines", "gaussian_field", "siemens_star", "cells"] = _key(
        "dead_leaves", "kind of procedural object; pictures in docs/specimens.md"
    )
    probe: Literal["zone_plate", "gaussian", "disk"] = _key(
        "zone_plate", "kind of procedural probe; pictures in docs/specimens.md"
    )


@dataclass(frozen=True, config=_strict)
class MeasuredConfig:
    """The conventions of measured data, where the file does not state them."""

    quantity: Literal["auto", "amplitude", "intensity", "counts"] = _key(
        "auto", "quantity of the measured patterns; auto: as stated in the file, otherwise inferred and logged"
    )
    dc: Literal["auto", "centre", "corner"] = _key("auto", "place of the direct beam in the measured patterns")
    positions: Literal["auto", "pixels", "metres"] = _key("auto", "unit of xcoords and ycoords in the measured files")
    pixel_size_m: float | None = _key(
        None, "pixel size of the object, metres; required if positions are in metres", gt=0
    )
    bad_pixels: str | None = _key(None, "mask of bad pixels: npy file, or npz file with bad_pixels; True: bad")


@dataclass(frozen=True, config=_strict)
class PinnConfig:
    """Network and loss of PtychoPINN."""

    n_filters_scale: float = _key(0.5, "factor on the number of filters of every convolution (1: 32, 64, 128)", gt=0)
    gridsize: int = _key(1, "patterns per input group: gridsize squared; 1: single patterns", ge=1, le=5)
    amplitude_activation: Activation = _key(
        "softplus", "activation of the amplitude output; the initial amplitude is 1 for each"
    )
    projections: int = _key(
        4,
        "iterations of phase retrieval in which the network's patch is corrected by its measured pattern",
        ge=0,
        le=100,
    )
    overlap_weight: float = _key(
        1.0, "weight of the Poisson likelihood of overlapping patches merged on a canvas", ge=0
    )
    pattern_weight: float = _key(0.5, "weight of the Poisson likelihood of each patch on its own", ge=0)
    amplitude_weight: float = _key(0.0, "weight of the mean absolute error of the diffraction amplitudes", ge=0)
    real_space_weight: float = _key(
        0.3, "weight of the patch error of augmented patterns, whose patches are known", ge=0
    )
    trainable_intensity_scale: bool = _key(True, "train the scale between probe and measured intensity")
    trainable_probe: bool = _key(
        False, "refine the probe of the forward model; the probe used to prepare the network input is fixed"
    )


@dataclass(frozen=True, config=_strict)
class BaselineConfig:
    """Network of the supervised baseline."""

    n_filters_scale: float = _key(0.5, "as for pinn: both models use the same network", gt=0)
    gridsize: int = _key(1, "as for pinn", ge=1, le=5)
    amplitude_activation: Activation = _key("softplus", "as for pinn")
    projections: int = _key(4, "as for pinn", ge=0, le=100)
    pattern_weight: float = _key(
        0.0, "weight of the Poisson likelihood of each patch, added to the supervised loss; 0: none, as published", ge=0
    )


@dataclass(frozen=True, config=_strict)
class TrainingConfig:
    """How both models are trained."""

    epochs: int = _key(50, "passes over the training images", ge=1)
    batch_size: int = _key(16, "patterns per optimization step", ge=1)
    learning_rate: float = _key(2e-3, "peak learning rate of Adam", gt=0)
    validation_fraction: float = _key(
        0.05, "fraction of the images of a trial held out to select the best epoch", ge=0, lt=0.5
    )
    patience_epochs: int | None = _key(
        None, "stop after this many epochs without a lower validation loss; null: train for all epochs", ge=1
    )
    augmentation_ratio: float = _key(
        0.0,
        "augmented patterns per measured pattern, simulated from rotated and mirrored windows of the training object "
        "as estimated by each model; 0: no augmentation",
        ge=0,
        le=16,
    )
    synthetic_augmentation_ratio: float = _key(
        0.0, "augmented patterns of random procedural objects per measured pattern; 0: none", ge=0, le=16
    )
    phase_retrieval_iterations: int = _key(
        5, "rPIE iterations that estimate the training object for the data augmentation of PtychoPINN", ge=1
    )
    precision: Precision = _key("auto", "precision of the convolutions; auto: bfloat16 where the hardware supports it")


@dataclass(frozen=True, config=_strict)
class EvaluationConfig:
    """How reconstructions are stitched, registered and scored."""

    stitch_crop_px: int | None = _key(
        None,
        "side length of the central part of a patch used for stitching, pixels; null: N/2, the brightest part",
        ge=2,
    )
    synchronize_phases: bool = _key(
        False, "choose the constant phase of each patch such that overlapping patches agree, before they are stitched"
    )
    registration_max_px: float = _key(3.0, "largest shift that the registration may apply, pixels", ge=0)
    n_test_images: int | None = _key(None, "number of test patterns to evaluate, drawn at random; null: all", ge=1)
    custom_metrics: str | None = _key(
        None, "python file whose functions (target, prediction) -> float are further metrics"
    )

    def crop_px(self, window_px: int) -> int:
        """Return the side length of the stitched central part of a patch, pixels, for windows of ``window_px``."""
        return window_px // 2 if self.stitch_crop_px is None else self.stitch_crop_px


@dataclass(frozen=True, config=_strict)
class IterativeConfig:
    """Phase retrieval (rPIE) of the test patterns: the arms iterative and refined."""

    iterations: int = _key(20, "rPIE iterations of the arm iterative, from an empty object", ge=1)
    refined_iterations: int = _key(6, "rPIE iterations of the arm refined, from the reconstruction of PtychoPINN", ge=1)
    alpha: float = _key(
        0.3, "rPIE regularization: 1 is ePIE, smaller takes larger steps where the probe is weak", gt=0, le=1
    )


@dataclass(frozen=True, config=_strict)
class PlotsConfig:
    """Appearance and formats of the figures."""

    style: Literal["whitegrid", "ticks", "darkgrid", "white"] = _key("whitegrid", "seaborn style")
    palette: str = _key("colorblind", "seaborn palette")
    formats: tuple[Literal["png", "pdf", "svg"], ...] = _key(
        ("png", "pdf"), "file formats of each figure; png is always written", min_length=1
    )
    dpi: int = _key(300, "resolution of png files, dots per inch", ge=50, le=1200)
    width_in: float = _key(5.2, "width of the plots of a metric against training images, inches", gt=1, le=30)
    height_in: float = _key(3.8, "height of these plots, inches", gt=1, le=30)
    band: Literal["iqr", "range", "none"] = _key("iqr", "band of the trials: interquartile range, full range or none")


@dataclass(frozen=True, config=_strict)
class StudyConfig:
    """The whole configuration of a study."""

    input: str | None = _key(None, "reconstruction npz to start from; null: the procedural specimen")
    output_dir: str = _key("results/study", "directory for all files of the study", min_length=1)
    existing: str | None = _key(None, "directory of a finished study to analyse without training", min_length=1)
    analysis_dir: str | None = _key(None, "directory of its tables and plots; null: {existing}/analysis", min_length=1)
    datasets_dir: str | None = _key(None, "directory of the prepared datasets; null: {output_dir}/datasets")
    train_data: str | None = _key(None, "training dataset npz to use instead of the prepared one")
    test_data: str | None = _key(None, "test dataset npz to use instead of the prepared one")
    train_sizes: tuple[Annotated[int, Field(ge=1)], ...] = _key(
        (512, 1024, 2048, 4096), "training-set sizes to compare, in images", min_length=1
    )
    num_trials: int = _key(5, "independent repetitions of every training", ge=1)
    seed: int = _key(42, "seed of the study, from which all other seeds are derived", ge=0)
    variants: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")], dict[str, dict[str, Any]]] = _key(
        {}, "named further settings of pinn, baseline or training to run the study with: {wide: {pinn: {...}}}"
    )
    gpu_memory_mb: int | None = _key(None, "limit of the GPU memory of a training, MB; null: no limit", ge=256)
    arms: tuple[Arm, ...] = _key(("pinn", "baseline"), "methods to compare", min_length=1)
    claims: tuple[Literal["guide", "published"], ...] = _key(
        ("guide",), "claims that the summary checks: of the study guide (always), of arXiv 2602.21361", min_length=1
    )
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
        keys.check_paths(self)
        for name in ("train_sizes", "arms", "claims"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise InputError(f"{name} is {list(values)}: it contains a value more than once")

        if "pinn" in self.arms:
            require_a_loss(self.pinn, self.training)
        for name, sections in self.variants.items():
            for section in sections:
                if section not in VARIED:
                    raise InputError(
                        f"variants.{name}.{section}: a variant may change {', '.join(VARIED)}, but not {section}"
                    )
            self.variant(name)
            if not self.varied_arms(name):
                raise InputError(f"variants.{name}: it changes none of the arms ({', '.join(self.arms)})")

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
        try:
            return dataclasses.replace(self, variants={}, **changed)
        except InputError as error:
            raise InputError(f"variants.{name}: {error}") from None

    def varied_arms(self, name: str) -> list[Arm]:
        """Return the arms that a variant changes; the others have the same results as in the study itself."""
        sections = self.variants[name]
        sources = {"pinn": "pinn", "baseline": "baseline", "refined": "pinn"}
        return [arm for arm in self.arms if arm in sources and ("training" in sections or sources[arm] in sections)]

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "StudyConfig":
        """Return the configuration of a mapping read from YAML; keys of sections may be dotted (``training.epochs``).

        Former key names (:data:`ptycho.config.keys.RENAMED`) are accepted with a logged warning.

        Raises
        ------
        InputError : one line that names the key, what was found and what was expected
        """
        try:
            defaults = dataclasses.asdict(TrainingConfig())
            return TypeAdapter(cls).validate_python(keys.with_present_names(keys.nested(mapping), defaults))
        except ValidationError as error:
            raise InputError(f"configuration: {keys.one_line(cls, error)}") from None
        except InputError as error:  # of __post_init__
            raise InputError(f"configuration: {error}") from None


def require_a_loss(pinn: PinnConfig, training: TrainingConfig) -> None:
    """Raise InputError where no term of PtychoPINN's loss has a weight."""
    augmented = training.augmentation_ratio or training.synthetic_augmentation_ratio
    if not (pinn.overlap_weight or pinn.pattern_weight or (pinn.real_space_weight and augmented)):
        raise InputError(
            "overlap_weight and pattern_weight are 0, and there are no augmented patterns with a real_space_weight: "
            "PtychoPINN has nothing to learn from; raise one of them"
        )


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration, for editors and workflow catalogs."""
    schema = TypeAdapter(StudyConfig).json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema
