"""What the tables of a study hold: columns, statuses, and the names of metrics, parts and models.

This is the only place that defines them; commands, tables, plots and rules import them from here.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

COLUMNS = ["model", "metric", "amplitude", "phase", "value", "status"]  # of a trial's comparison_metrics.csv
NUMBERS = ["amplitude", "phase", "value"]
IDENTITY = ["variant", "arm"]  # which model a row is about; variant is empty for the study itself
TRIAL_COLUMNS = ["train_size", "trial", *IDENTITY, *COLUMNS]  # of all trials together
KEYS = ["train_size", "trial", "model_type"]
FRC_COLUMNS = [
    "model", "part", "ring_px", "cycles_per_px", "half_period_nm", "correlation", "error_power", "truth_power",
]  # fmt: skip
NO_TRUTH = "no_truth"  # status of a model that could not be scored for want of a ground truth: not a failure
FAILURES = ("collapsed", "diverged", "failed")
STATUSES = ("ok", NO_TRUTH, *FAILURES)  # from best to worst
TRAINING_STATUSES = ("ok", *FAILURES)  # how a training may end, before its model is compared
TRUTH = "ground_truth"  # name of the true object beside those of the models
MODEL_TYPES = {"PtychoPINN": "pinn", "Baseline": "baseline", "Iterative": "iterative", "Refined": "refined"}
MODEL_NAMES = {arm: name for name, arm in MODEL_TYPES.items()}
TRAINED = ("pinn", "baseline")  # the arms that train a network
PARTS = {"amp": "Amplitude", "phase": "Phase"}
PART_COLUMNS = {"amp": "amplitude", "phase": "phase"}  # of a tidy table
VALUES = (  # rows of one number for the whole object
    "registration_offset_dy", "registration_offset_dx", "computation_time_s", "amplitude_scale", "phase_offset_rad",
    "phase_slope_y", "phase_slope_x", "registration_refused", "covered_share", "r_factor",
)  # fmt: skip
MARKS = ("frc50_at_nyquist", "frc50_cycles_per_px", "frc50_half_period_nm")  # of both parts: in tables, not plotted
OVERVIEW = ("rmse", "psnr", "ssim", "ms_ssim", "frc50", "mae")
COVERED_ENOUGH = 0.99  # share of the evaluated region that the test scan should cover


@dataclass(frozen=True)
class Metric:
    """How a metric is named and read.

    Parameters
    ----------
    label : its name in figures and reports
    unit : of the amplitude, and of the phase; empty where it has none
    higher_is_better : None where it is not known
    format : of its numbers
    detail : what a reader must know to compare it with other studies
    """

    label: str
    unit: tuple[str, str] = ("", "")
    higher_is_better: bool | None = None
    format: str = ".3g"
    detail: str = ""

    def axis_label(self, part: str) -> str:
        """Return e.g. ``Phase PSNR (dB)``."""
        unit = self.unit[list(PARTS).index(part)]
        return f"{PARTS[part]} {self.label}" + (f" ({unit})" if unit else "")

    def value(self, number: float, part: str) -> str:
        """Return e.g. ``31.25 dB``."""
        unit = self.unit[list(PARTS).index(part)].partition(",")[0]
        return f"{number:{self.format}}" + (f" {unit}" if unit else "")


METRICS = {
    "rmse": Metric("RMSE", ("", "rad"), False),
    "psnr": Metric("PSNR", ("dB", "dB"), True, ".2f", "PSNR: peak = range of the truth"),
    "ssim": Metric("SSIM", higher_is_better=True, format=".3f"),
    "ms_ssim": Metric("MS-SSIM", higher_is_better=True, format=".3f"),
    "frc50": Metric("FRC50", ("rings, px",) * 2, True, ".1f"),
    "mae": Metric("MAE", ("", "rad"), False),
    "mse": Metric("MSE", ("", "rad²"), False),
    "psnr_peak255": Metric("PSNR, peak 255", ("dB", "dB"), True, ".2f", "PSNR: peak = 255"),
    "frc50_first": Metric("FRC50, unsmoothed", ("rings, px",) * 2, True, ".1f"),
    "frc1over7": Metric("FRC 1/7", ("rings, px",) * 2, True, ".1f"),
}


def describe(metric: str) -> Metric:
    """Return what is known of a metric; a custom one goes by its own name."""
    return METRICS.get(metric, Metric(metric))


@dataclass(frozen=True, order=True)
class Model:
    """Which model a row of a table is about.

    Parameters
    ----------
    arm : ``pinn``, ``baseline``, ``iterative``, ``refined``, or the name of another model in lower case, with
        underscores for everything but letters and digits
    variant : name of the variant of the study that it belongs to; empty for the study itself
    """

    arm: str
    variant: str = ""

    @classmethod
    def named(cls, name: str, variant: str = "") -> "Model":
        """Return the model of a display name: ``PtychoPINN`` is the arm ``pinn``, any other name an arm of its own.

        No variant is ever read out of a name: ``Pty-chi (ePIE)`` is the arm ``pty_chi_epie``.
        """
        return cls(MODEL_TYPES.get(name, _identifier(name)), variant)

    @classmethod
    def of_type(cls, model_type: str, variants: Iterable[str]) -> "Model":
        """Return the model of a model type in a table of an earlier version, which states neither variant nor arm.

        It is an arm of this project in one of ``variants``, or else an arm of its own: ``pinn_wide`` is PtychoPINN in
        the variant wide only where the study has this variant.
        """
        known = (cls(arm, variant) for variant in variants for arm in MODEL_NAMES)
        return next((model for model in known if model.model_type == model_type), cls(model_type))

    @property
    def model_type(self) -> str:
        """The name that tables use: ``pinn``, of the variant wide ``pinn_wide``."""
        return f"{self.arm}_{_identifier(self.variant)}" if self.variant else self.arm

    @property
    def label(self) -> str:
        """The name that figures and reports use: ``PtychoPINN``, of the variant wide ``PtychoPINN (wide)``."""
        name = MODEL_NAMES.get(self.arm, self.arm)
        return f"{name} ({self.variant})" if self.variant else name


def _identifier(name: str) -> str:
    """Return a name in lower case, with underscores for everything but letters and digits."""
    return re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")


def model_type(name: str) -> str:
    """Return the name that tables and files use for a model of the study itself, see :class:`Model`."""
    return Model.named(name).model_type


def model_label(arm: str) -> str:
    """Return the name that figures and reports use for an arm of the study itself, see :class:`Model`."""
    return Model(arm).label


def ordered(models: Iterable[Model]) -> list[Model]:
    """Return each model once: pinn, baseline, iterative, refined, each before its variants, then others by name."""
    known = list(MODEL_TYPES.values())

    def place(model: Model) -> tuple[int, str]:
        """Return what models are sorted by."""
        return (known.index(model.arm) if model.arm in known else len(known), model.model_type)

    return sorted(set(models), key=place)


def ordered_models(arms: Iterable[str]) -> list[str]:
    """Return each arm of the study itself once, in the order of :func:`ordered`."""
    return [model.arm for model in ordered(Model(arm) for arm in arms)]


def text_column(column: pd.Series) -> pd.Series:
    """Return a column as text; a missing value, as an empty field of a csv file is read, is empty text."""
    return column.astype(object).where(column.notna(), "").astype(str)


def with_identity(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the columns ``variant`` and ``arm``, as text, right after ``model_type``.

    In a table of another tool, or of an earlier version, that lacks them each model type is an arm of its own.
    """
    kinds = table["model_type"].astype(str)
    variant = text_column(table["variant"]) if "variant" in table else pd.Series("", table.index)
    arm = text_column(table["arm"]) if "arm" in table else kinds
    others = table.drop(columns=[name for name in IDENTITY if name in table]).assign(model_type=kinds)
    place = others.columns.get_loc("model_type")
    assert isinstance(place, int)
    others.insert(place + 1, "variant", variant)
    others.insert(place + 2, "arm", arm)
    return others


def models(table: pd.DataFrame) -> dict[str, Model]:
    """Return the models of a table with a column ``model_type``, by model type, in the order of :func:`ordered`."""
    rows = with_identity(table)[["model_type", *IDENTITY]].drop_duplicates().itertuples(index=False, name=None)
    found = {Model(arm, variant): kind for kind, variant, arm in rows}
    return {found[model]: model for model in ordered(found)}
