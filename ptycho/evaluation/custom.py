"""Metrics of a user's own: the functions of a python file, ``f(target, prediction) -> float``.

Each function whose name does not begin with an underscore is a metric of that name, given what the metrics of
:mod:`ptycho.evaluation.metrics` are given: two real images, (h, w), of one unit; amplitude, or phase in radians.
"""

import ast
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np

from ptycho.errors import InputError

TRIED_PX = 64  # side of the images that a metric is tried on
TAKEN = (  # by the study's own metrics and values
    "mae", "mse", "rmse", "psnr", "psnr_peak255", "ssim", "ms_ssim", "frc50", "frc1over7", "frc50_at_nyquist",
    "registration_offset_dy", "registration_offset_dx", "computation_time_s", "amplitude_scale", "phase_offset_rad",
    "phase_slope_y", "phase_slope_x", "registration_refused", "train_size", "trial", "model_type", "model", "status",
)  # fmt: skip


def names(path: Path | str) -> list[str]:
    """Return the names of the metrics that a file defines, without running it.

    Raises
    ------
    InputError : no such file, not python, no function in it, or a name that is taken
    """
    path = Path(path)
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"custom_metrics: {path}: {error.strerror}: expected a python file of functions") from error
    except (SyntaxError, ValueError) as error:
        raise InputError(f"custom_metrics: {path}: not python ({error})") from error
    found = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    if not found:
        raise InputError(f"custom_metrics: {path}: no function: expected some def metric(target, prediction)")
    for name in found:
        if not re.fullmatch(r"[A-Za-z](\w*[A-Za-z0-9])?", name, re.ASCII):
            raise InputError(
                f"custom_metrics: {path}: the name {name}: files and tables bear letters a to z, digits, underscores "
                "between them: give that function such a name"
            )
        if name in TAKEN or found.count(name) > 1:
            raise InputError(f"custom_metrics: {path}: the name {name} is taken: give that function another one")
    return found


def load(path: Path | str) -> dict[str, Any]:
    """Run a file and return its metrics by name, each tried on two small images and telling of its own failures.

    Raises
    ------
    InputError : as :func:`names`; or running the file, or one of its metrics, failed
    """
    wanted = names(path)
    try:
        found = runpy.run_path(str(path), run_name="custom_metrics")
    except (Exception, SystemExit) as error:  # whatever a user's file does
        raise InputError(f"custom_metrics: {path}: {type(error).__name__}: {error}") from error
    lost = [name for name in wanted if not callable(found.get(name))]
    if lost:
        raise InputError(f"custom_metrics: {path}: {lost[0]} is no function any more once the file has run")
    metrics = {name: _guarded(name, found[name], path) for name in wanted}
    target, prediction = np.random.default_rng(0).random((2, TRIED_PX, TRIED_PX))
    for metric in metrics.values():
        metric(target, prediction)
    return metrics


def _number(value: Any) -> Any:
    if isinstance(value, (str, bytes)):
        raise TypeError(f"it returned text, {value!r}")
    return value


def _guarded(name: str, function: Any, path: Path | str) -> Any:
    """Return a metric that raises InputError where the user's function raises or returns no number."""

    def metric(target: Any, prediction: Any) -> float:
        try:
            return float(_number(function(target.copy(), prediction.copy())))
        except (Exception, SystemExit) as error:  # whatever a user's function does
            raise InputError(
                f"custom_metrics: {path}: {name}(target, prediction), of images {target.shape}, expected to return a "
                f"number: {type(error).__name__}: {error}"
            ) from error

    return metric
