"""The scaling law of each model of a study: its parameters, a forecast, a test of it, and the images for a target."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ptycho.errors import InputError
from ptycho.results.schema import IDENTITY, PARTS, models
from ptycho.study import scaling
from ptycho.study.resampling import Values
from ptycho.study.scaling import EXPONENTS, Estimate, Law
from ptycho.study.tables import metric_parts

FITTED = ("rmse", "psnr", "ssim", "ms_ssim", "mae", "mse")  # metrics that are errors, or that an error follows from
MISFIT = 0.01  # p-value below which the law does not describe the means; of many fits, 5 % would doubt some each time
RESOLVED = "resolved"
NO_FIT = "no fit"
PARAMETERS = ("a", "b", "c")
FORECAST = "forecast"
BACK_TEST = "back_test"
NEEDED = "images_for_target"
COLUMNS = [
    "metric", "part", "model_type", *IDENTITY, "quantity", "train_size", "target", "estimate", "ci_low", "ci_high",
    "measured", "n", "verdict",
]  # fmt: skip


def as_error(metric: str, values: Values) -> Values:
    """Return a metric as the error that the law is about: RMSE over the range for PSNR, 1 less an SSIM."""
    return 10 ** (-values / 20) if metric == "psnr" else 1 - values if metric.endswith("ssim") else values


def from_error(metric: str, errors: Values) -> Values:
    """Return the metric of an error, see :func:`as_error`; that of 0 may be infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return -20 * np.log10(errors) if metric == "psnr" else 1 - errors if metric.endswith("ssim") else errors


def parse_target(name: str, columns: Any = None) -> tuple[str, str]:
    """Return metric and part of a target such as ``rmse_phase``.

    Parameters
    ----------
    columns : of the wide table of the study, in which it must be; None: not known yet

    Raises
    ------
    InputError : no such metric and part, or one that a law is not fitted to
    """
    metric, _, part = name.rpartition("_")
    if metric not in FITTED or part not in PARTS or (columns is not None and name not in columns):
        known = [f"{m}_{p}" for m in FITTED for p in PARTS]
        known = [word for word in known if columns is None or word in columns]
        raise InputError(f"target {name}: not a metric with a scaling law: give one of {', '.join(known) or 'none'}")
    return metric, part


@dataclass(frozen=True)
class FittedModel:
    """The law of a metric of a model, or why there is none.

    Parameters
    ----------
    metric : its name
    images, errors : (n,), of the trials with a value
    failed : trials without
    law : None where it cannot be fitted
    reason : why it says nothing, or what speaks against it; empty where nothing does
    """

    metric: str
    images: Values
    errors: Values
    failed: int
    law: Law | None
    reason: str

    @classmethod
    def of(cls, rows: pd.DataFrame, metric: str, part: str) -> "FittedModel":
        """Return the fit to the rows of a model in a wide table."""
        values = rows[f"{metric}_{part}"].to_numpy(float)
        with np.errstate(over="ignore"):
            errors = as_error(metric, values)
        finite = np.isfinite(errors)
        images = rows["train_size"].to_numpy(float)
        lost = [size for size in np.unique(images) if np.mean(finite[images == size]) <= 0.5]
        kept, errors = images[finite], errors[finite]
        reason = scaling.unfit(kept, errors)
        if lost:
            reason = f"half of the trials or more failed with {lost[0]:.0f} images"
        law = None if reason else scaling.fit(kept, errors)
        return cls(metric, kept, errors, int((~finite).sum()), law, reason or (doubts(law) if law else ""))

    def curve(self, images: Values) -> Values:
        """Return the law in the unit of the metric, (3, k): estimate, low, high; it must have been fitted."""
        assert self.law is not None
        estimate, *bounds = from_error(self.metric, self.law.curve(images))
        return np.stack([estimate, np.min(bounds, axis=0), np.max(bounds, axis=0)])


def doubts(law: Law) -> str:
    """Return in words why a law says nothing, or what speaks against it; empty where nothing does."""
    found = []
    if law.flat:
        found.append("flat: no change with the number of images is resolved")
    _, low, high = law.parameters()["c"]
    if law.c <= EXPONENTS[0] * 1.001 or law.c >= EXPONENTS[1] * 0.999:
        found.append(f"the exponent is at its bound, {law.c:.3g}")
    elif low <= EXPONENTS[0] * 1.001 or high >= EXPONENTS[1] * 0.999:
        found.append(f"the exponent is not determined, [{low:.2g}, {high:.2g}] within bounds of {EXPONENTS}")
    (_,), (low,), (high,) = law.curve(law.data.sizes[-1:] * 2)
    if high - low > np.ptp(law.data.means):
        found.append("the interval of the forecast is wider than the range of the data")
    if law.lack_of_fit < MISFIT:
        found.append(f"the means do not follow it (lack of fit, p = {law.lack_of_fit:.2g})")
    return "; ".join(found)


def scaling_laws(trials_wide: pd.DataFrame, targets: Mapping[str, float]) -> pd.DataFrame:
    """Fit the law to the trials of each model that depends on the training images, and each of its errors.

    Parameters
    ----------
    trials_wide : as :func:`ptycho.study.tables.results_all_trials` makes it
    targets : values to reach, by metric and part (``rmse_phase``), in the unit of the metric

    Returns
    -------
    DataFrame : metric, part, model_type, variant, arm, quantity: ``a``, ``b`` (of the error, see :func:`as_error`) and
        ``c``; ``forecast`` (the metric with twice the images of the largest size, in train_size); ``back_test`` (the
        metric at the largest size, predicted from the others; ``measured``: the mean of its trials);
        ``images_for_target`` (images at which ``target`` is reached; infinite: never). estimate, ci_low, ci_high (95 %;
        empty where no law can be fitted), n (trials it was fitted to), verdict: ``resolved``, or what speaks against it

    Raises
    ------
    InputError : a target that the study has no law of
    """
    for name in targets:
        parse_target(name, trials_wide.columns)
    rows: list[dict[str, Any]] = []
    for kind, model in models(trials_wide).items():
        if model.arm == "iterative":
            continue
        own = trials_wide[trials_wide["model_type"] == kind]
        for metric, part in metric_parts(own):
            if metric in FITTED and own[f"{metric}_{part}"].notna().any():
                who = {"metric": metric, "part": part, "model_type": kind, "variant": model.variant, "arm": model.arm}
                target = targets.get(f"{metric}_{part}")
                rows += [who | row for row in _rows(FittedModel.of(own, metric, part), target)]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"train_size": "Int64"})


def _rows(fitted: FittedModel, target: float | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a metric of a model."""
    law, n = fitted.law, fitted.images.size
    wanted = [] if target is None else [{"quantity": NEEDED, "target": target, "n": n}]
    if law is None:
        for row in ({"quantity": "c", "n": n}, *wanted):
            yield row | {"verdict": f"{NO_FIT}: {fitted.reason}"}
        return
    left_out = f"; {fitted.failed} failed trial{'s' * (fitted.failed > 1)} left out" if fitted.failed else ""
    words = (fitted.reason or RESOLVED) + left_out
    for name, parameter in law.parameters().items():
        yield {"quantity": name, "n": n, "verdict": words} | _cells(parameter)
    double = law.data.sizes[-1:] * 2
    forecast = _cells(fitted.curve(double)[:, 0])
    yield {"quantity": FORECAST, "train_size": int(double[0]), "n": n, "verdict": words} | forecast
    yield _back_test(fitted)
    for row in wanted:
        found = law.images_for(float(as_error(fitted.metric, np.array(target))))
        yield row | _cells(found) | {"verdict": _reached(found, law, words)}


def _cells(estimate: Estimate | Values) -> dict[str, float]:
    """Return the cells of an estimate and its interval."""
    return dict(zip(("estimate", "ci_low", "ci_high"), map(float, estimate), strict=True))


def _reached(found: Estimate, law: Law, words: str) -> str:
    """Say whether a target is reached within the measured sizes."""
    estimate, low, high = found
    largest = law.data.sizes[-1]
    if np.isinf(low):
        said = "never reached: the limit of the error is above the target"
    elif np.isinf(estimate):
        said = "not reached by the fit; the interval does not exclude it"
    elif np.isinf(high):
        said = "it may never be reached: the interval has no upper end"
    elif estimate < law.data.sizes[0]:
        said = "reached with fewer images than were measured"
    elif estimate <= largest:
        said = "reached within the measured sizes"
    else:
        said = f"beyond the measured sizes, by a factor of {estimate / largest:.3g}"
    return said if words == RESOLVED else f"{said}; {words}"


def _back_test(fitted: FittedModel) -> dict[str, Any]:
    """Return the row on how well the largest size is predicted by the law of the others.

    The interval is that of the mean of as many trials as were measured: the uncertainty of the curve and of this mean
    add in squares.
    """
    largest = fitted.images.max()
    held_out = fitted.images == largest
    mean = fitted.errors[held_out].mean()
    row = {"quantity": BACK_TEST, "train_size": int(largest), "n": int((~held_out).sum())}
    row["measured"] = float(from_error(fitted.metric, mean))
    images, errors = fitted.images[~held_out], fitted.errors[~held_out]
    reason = scaling.unfit(images, errors, scaling.MIN_SIZES - 1)
    if reason:
        return row | {"verdict": f"{NO_FIT}: {reason}"}
    law = scaling.fit(images, errors)
    estimate, low, high = law.curve(np.array([largest]))[:, 0]
    noise = stats.t.ppf(0.975, law.data.freedom) * law.spread * estimate / np.sqrt(held_out.sum())
    low = max(estimate - np.hypot(estimate - low, noise), 0.0)
    high = estimate + np.hypot(high - estimate, noise)
    said = "as predicted" if low <= mean <= high else f"error {'higher' if mean > high else 'lower'} than predicted"
    if high - low > np.ptp(law.data.means):
        said += "; the prediction is wider than the range of the other sizes"
    ends = sorted(from_error(fitted.metric, np.array([low, high])))
    return row | _cells((float(from_error(fitted.metric, estimate)), *ends)) | {"verdict": said}
