"""The configuration of a study: validated once, immutable, passed on by section, never global.

The dataclasses here, in :mod:`ptycho.config.sections` and in :mod:`ptycho.config.test_sets` are the only definition of
every key: its type, bounds, default and description. The JSON schema in ``workflow/schemas`` and the flags of the
commands are generated from them; a test checks that ``config/config.yaml`` has the same defaults.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ptycho.config import keys
from ptycho.config import sweep as sweeps
from ptycho.config.keys import checked
from ptycho.config.sections import (
    STRICT,
    Activation,
    BaselineConfig,
    ConvolutionActivation,
    EvaluationConfig,
    IterativeConfig,
    MeasuredConfig,
    PinnConfig,
    PlotsConfig,
    Precision,
    PreparationConfig,
    SimulationConfig,
    SpecimenConfig,
    TrainingConfig,
    key,
)
from ptycho.config.test_sets import NAME, resolved
from ptycho.errors import InputError

__all__ = [
    "Activation",
    "Arm",
    "BaselineConfig",
    "ConvolutionActivation",
    "EvaluationConfig",
    "IterativeConfig",
    "MeasuredConfig",
    "PinnConfig",
    "PlotsConfig",
    "Precision",
    "PreparationConfig",
    "SimulationConfig",
    "SpecimenConfig",
    "StudyConfig",
    "TrainingConfig",
    "check_pinn",
    "json_schema",
]  # fmt: skip

Arm = Literal["pinn", "baseline", "iterative", "refined"]
TARGETS = r"^(rmse|psnr|ssim|ms_ssim|mae|mse)_(amp|phase)$"  # metrics that have a scaling law
DATA = ("specimen", "simulation", "preparation")  # sections that describe the data
VARIED = ("pinn", "baseline", "training", *DATA)  # sections that a variant may change


@dataclass(frozen=True, config=STRICT)
class StudyConfig:
    """The whole configuration of a study."""

    input: str | None = key(None, "reconstruction npz to start from; null: the procedural specimen")
    output_dir: str = key("results/study", "directory for all files of the study", min_length=1)
    existing: str | None = key(None, "directory of a finished study to analyse without training", min_length=1)
    analysis_dir: str | None = key(None, "directory of its tables and plots; null: {existing}/analysis", min_length=1)
    datasets_dir: str | None = key(None, "directory of the prepared datasets; null: {output_dir}/datasets")
    train_data: str | None = key(None, "training dataset npz to use instead of the prepared one")
    test_data: str | None = key(None, "test dataset npz to use instead of the prepared one")
    train_sizes: tuple[Annotated[int, Field(ge=1)], ...] = key(
        (512, 1024, 2048, 4096), "training-set sizes to compare, in images", min_length=1
    )
    num_trials: int = key(6, "independent repetitions of every training", ge=1)
    seed: int = key(42, "seed of the study, from which all other seeds are derived", ge=0)
    variants: dict[Annotated[str, Field(pattern=NAME)], dict[str, dict[str, Any]]] = key(
        {}, "named further settings of models, training or data to run the study with: {wide: {pinn: {...}}}"
    )
    sweep: dict[str, list[Any]] = key(
        {}, "values of single keys, each of which becomes a variant: {simulation.n_photons: [1.0e3, 1.0e5]}"
    )
    test_sets: dict[Annotated[str, Field(pattern=NAME)], dict[str, Any]] = key(
        {}, "further test data on which every model is scored: {low_dose: {simulation: {n_photons: 1.0e5}}}"
    )
    gpu_memory_mb: int | None = key(None, "limit of the GPU memory of a training, MB; null: no limit", ge=256)
    arms: tuple[Arm, ...] = key(("pinn", "baseline"), "methods to compare", min_length=1)
    claims: tuple[Literal["guide", "published"], ...] = key(
        ("guide",), "claims that the summary checks: of the study guide (always), of arXiv 2602.21361", min_length=1
    )
    target: dict[Annotated[str, Field(pattern=TARGETS)], Annotated[float, Field(gt=0)]] = key(
        {}, "values of metrics for which the number of training images is estimated: {rmse_phase: 0.15}"
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
            check_pinn(self.pinn, self.training)
        swept = sweeps.variants(self, VARIED)
        for name in swept.keys() & self.variants.keys():
            if self.variants[name] != swept[name]:
                raise InputError(f"variants.{name}: a sweep makes a variant of this name: rename it")
        object.__setattr__(self, "variants", {**self.variants, **swept})
        for name, sections in self.variants.items():
            for section in sections:
                if section not in VARIED:
                    raise InputError(
                        f"variants.{name}.{section}: a variant may change {', '.join(VARIED)}, but not {section}"
                    )
                if section in DATA and (self.train_data or self.test_data):
                    raise InputError(
                        f"variants.{name}.{section}: train_data or test_data are given, so that nothing is prepared "
                        "that a variant could change: remove them, or this section"
                    )
            self.variant(name)
            if not self.varied_arms(name):
                raise InputError(f"variants.{name}: it changes none of the arms ({', '.join(self.arms)})")
        resolved(self)

    def changed(self, sections: Mapping[str, Mapping[str, Any]], where: str) -> "StudyConfig":
        """Return the study with some keys of its sections changed; ``where`` precedes the keys in error messages.

        Raises
        ------
        InputError : a key that a section does not know, or a value out of bounds
        """
        values = {
            name: checked(
                type(getattr(self, name)),
                {**dataclasses.asdict(getattr(self, name)), **keys_of_section},
                f"{where}{name}.",
            )
            for name, keys_of_section in sections.items()
        }
        source = None if "specimen" in sections else self.input
        try:
            return dataclasses.replace(self, variants={}, test_sets={}, sweep={}, input=source, **values)
        except InputError as error:
            raise InputError(f"{where.rstrip('.')}: {error}") from None

    def variant(self, name: str) -> "StudyConfig":
        """Return the study with the settings of one of its variants.

        Raises
        ------
        InputError : a setting that a section does not know, or out of bounds
        """
        return self.changed(self.variants[name], f"variants.{name}.")

    def varies_data(self, name: str) -> bool:
        """Tell whether a variant has data of its own, so that all arms are run again."""
        varied = self.variant(name)
        return any(_settings(varied, part) != _settings(self, part) for part in DATA)

    def varied_arms(self, name: str) -> list[Arm]:
        """Return the arms that a variant changes; the others have the same results as in the study itself."""
        sections = self.variants[name]
        if self.varies_data(name):
            return list(self.arms)
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


def _settings(study: StudyConfig, section: str) -> dict[str, Any]:
    """Return the keys of a section on which the data depend."""
    values = dataclasses.asdict(getattr(study, section))
    values.pop("keep_stages", None)
    return values


def check_pinn(pinn: PinnConfig, training: TrainingConfig) -> None:
    """Raise InputError where no term of PtychoPINN's loss has a weight, or where the projections exclude an option."""
    augmented = training.augmentation_ratio or training.synthetic_augmentation_ratio
    if not (pinn.overlap_weight or pinn.pattern_weight or (pinn.real_space_weight and augmented)):
        raise InputError(
            "overlap_weight and pattern_weight are 0, and there are no augmented patterns with a real_space_weight: "
            "PtychoPINN has nothing to learn from; raise one of them"
        )
    if pinn.trainable_probe and pinn.projections:
        raise InputError(
            f"trainable_probe refines the probe of the forward model, but the {pinn.projections} projections of the "
            "network would keep the given one: set pinn.projections: 0 (--projections 0), or trainable_probe: false"
        )


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration, for editors and workflow catalogs."""
    schema = TypeAdapter(StudyConfig).json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema
