"""What the tables of a study hold: columns, statuses, and the names of metrics, parts and models, once for all."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

COLUMNS = ["model", "metric", "amplitude", "phase", "value", "status"]
NUMBERS = ["amplitude", "phase", "value"]
NO_TRUTH = "no_truth"  # status of a model that nothing was there to score by: no failure
FAILURES = ("collapsed", "diverged", "failed")
STATUSES = ("ok", NO_TRUTH, *FAILURES)  # from best to worst
KEYS = ["train_size", "trial", "model_type"]
MODEL_TYPES = {"PtychoPINN": "pinn", "Baseline": "baseline", "Iterative": "iterative", "Refined": "refined"}
TRAINED = ("pinn", "baseline")
PARTS = {"amp": "Amplitude", "phase": "Phase"}
VALUES = (  # rows of one number for the whole object
    "registration_offset_dy", "registration_offset_dx", "computation_time_s", "amplitude_scale", "phase_offset_rad",
    "phase_slope_y", "phase_slope_x", "registration_refused", "covered_share", "r_factor",
)  # fmt: skip
MARKS = ("frc50_at_nyquist", "frc50_cycles_per_px", "frc50_half_period_nm")  # of both parts: in tables, not plotted
OVERVIEW = ("rmse", "psnr", "ssim", "ms_ssim", "frc50", "mae")


@dataclass(frozen=True)
class Metric:
    """How a metric is named and read; ``unit`` is that of the amplitude and of the phase."""

    label: str
    unit: tuple[str, str] = ("", "")
    higher_is_better: bool | None = None
    format: str = ".3g"
    detail: str = ""  # what a reader must know to compare it with other studies

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


def model_type(model: str) -> str:
    """Return the name that tables and files use.

    ``PtychoPINN`` is ``pinn``, of the variant wide ``PtychoPINN (wide)`` is ``pinn_wide``, ``Pty-chi (ePIE)`` is
    ``pty_chi_epie``.
    """
    base, _, variant = model.partition(" (")
    if variant and base in MODEL_TYPES:
        return f"{MODEL_TYPES[base]}_{model_type(variant)}"
    return MODEL_TYPES.get(model, re.sub(r"[^0-9a-z]+", "_", model.lower()).strip("_"))


def of_variant(kind: str) -> tuple[str, str]:
    """Return the model type without its variant, and the variant: ``pinn_wide`` is ``pinn`` of ``wide``."""
    base, _, variant = kind.partition("_")
    return (base, variant) if base in MODEL_TYPES.values() else (kind, "")


def model_label(kind: str) -> str:
    """Return the name that figures and reports use: ``pinn`` is ``PtychoPINN``."""
    base, variant = of_variant(kind)
    label = next((name for name, known in MODEL_TYPES.items() if known == base), kind)
    return f"{label} ({variant})" if variant else label


def ordered_models(kinds: Iterable[str]) -> list[str]:
    """Return each model once: pinn, baseline, iterative, refined, each before its variants, then others by name."""
    known = list(MODEL_TYPES.values())

    def place(kind: str) -> tuple[int, str]:
        base, _ = of_variant(kind)
        return (known.index(base) if base in known else len(known), kind)

    return sorted(set(kinds), key=place)
