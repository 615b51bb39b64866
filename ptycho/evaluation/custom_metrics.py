"""User-defined metrics: the functions of a Python file, ``f(target, prediction) -> float``.

Each function whose name does not begin with an underscore is a metric of that name. It is called with two real images,
(h, w), of one unit: amplitude, or phase in radians. If it takes a third argument, that is the mask of the pixels that
the scan covers, (h, w) bool; otherwise pixels that are not covered hold the same value in both images.
"""

import ast
import inspect
import logging
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np

from ptycho.errors import InputError
from ptycho.evaluation.metrics import METRICS, Images, Metric
from ptycho.results.schema import IDENTITY, KEYS, MARKS, VALUES

logger = logging.getLogger(__name__)

TRIED_PX = 64  # side of the images that a metric is tested with
TAKEN = (*METRICS, *VALUES, *MARKS, *KEYS, *IDENTITY, "model", "status")  # names in the tables


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
    """Run a file and return its metrics by name, each tested with two small images.

    Returns
    -------
    dict : functions of :class:`ptycho.evaluation.metrics.Images` that return a float, or raise InputError that names
        the file and the function

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
    images = Images.of(*np.random.default_rng(0).random((2, TRIED_PX, TRIED_PX)))
    for metric in metrics.values():
        metric(images)
    return metrics


def _number(value: Any) -> Any:
    """Return a value; TypeError for text, which float() would convert."""
    if isinstance(value, (str, bytes)):
        raise TypeError(f"it returned text, {value!r}")
    return value


def _guarded(name: str, function: Any, path: Path | str) -> Metric:
    """Return a metric that raises InputError where the user's function raises or returns no number."""
    takes_covered = _takes_three(function)

    def metric(images: Images) -> float:
        """Call the function; InputError that names it where it fails."""
        given: list[Any] = [images.target.copy(), images.prediction.copy()]
        given += [images.covered.copy()] if takes_covered else []
        if not takes_covered and not images.covered.all():
            logger.warning(
                "custom_metrics: %s takes no third argument covered: the %.1f %% of the region that the scan does not "
                "cover count in it as equal pixels",
                name,
                100 * (1 - images.covered.mean()),
            )
        try:
            return float(_number(function(*given)))
        except (Exception, SystemExit) as error:  # whatever a user's function does
            raise InputError(
                f"custom_metrics: {path}: {name}(target, prediction), of images {images.target.shape}, expected to "
                f"return a number: {type(error).__name__}: {error}"
            ) from error

    return metric


def _takes_three(function: Any) -> bool:
    """Return whether a function takes a third argument by position, without a default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in kinds and parameter.default is parameter.empty for parameter in parameters) >= 3
