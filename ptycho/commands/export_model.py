"""Export a trained model as ONNX, for servers that have neither TensorFlow nor this package.

Writes OUTPUT (NAME.onnx) and beside it NAME.onnx.json, a text that says what the numbers mean. Input: diffraction
(n, 1, N, N) float32, amplitudes. Output: object (n, 2, N, N) float32, amplitude and phase (radians) of each pattern's
patch. The file is compared with the model before it is written. Needs the extra onnx: pip install --editable '.[onnx]'
"""

import argparse
import logging
from pathlib import Path
from typing import Any

from ptycho.commands.cli import check_output, entry_point
from ptycho.commands.inference import NAMES, add_model_flag, known_status, model_kind
from ptycho.errors import InputError
from ptycho.io import files, text
from ptycho.preparation import masks

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_flag(parser)
    parser.add_argument("--output", type=Path, required=True, help="file to write, name.onnx")
    parser.add_argument(
        "--bad_pixels", type=Path,
        help="npy file, (N, N) bool, direct beam in the centre: pixels of the detector that the projections leave out; "
        "their amplitudes have to be 0 in the input",
    )  # fmt: skip
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Export the model and say how far the exported one is from it.

    Raises
    ------
    InputError : no model there, one of groups of patterns, a mask of another size, or missing packages
    """
    output: Path = arguments.output
    if output.suffix != ".onnx":
        raise InputError(f"--output: {output}: expected a name that ends in .onnx; NAME.onnx.json goes beside it")
    check_output(output)
    kind = model_kind(arguments.model_dir)
    bad_pixels = None if arguments.bad_pixels is None else masks.read_mask(arguments.bad_pixels)
    known_status(arguments.model_dir)
    from ptycho.models import onnx_export, serialization

    model, params = serialization.load(arguments.model_dir, kind, precision="float32")  # type: ignore[arg-type]
    window = params["window_px"]
    if params["config"].get("gridsize", 1) != 1:
        raise InputError(
            f"{arguments.model_dir}: its input is a group of {params['config']['gridsize'] ** 2} patterns and their "
            "positions; only models of single patterns (gridsize: 1) can be exported"
        )
    if bad_pixels is not None and bad_pixels.shape != (window, window):
        found, expected = bad_pixels.shape, (window, window)
        raise InputError(f"{arguments.bad_pixels}: a mask of shape {found}, expected that of a pattern, {expected}")
    facts = manifest(kind, params, bad_pixels is not None)
    content, difference, largest = onnx_export.converted(model.network, facts, bad_pixels)
    files.write_bytes(output, content)
    files.write_bytes(output.with_name(f"{output.name}.json"), text.as_json(facts).encode())
    logger.info(
        "%s: %d kB; differs from the model, in float32, by %.1e (root mean square; at most %.1e)",
        output, len(content) >> 10, difference, largest,
    )  # fmt: skip


def manifest(kind: str, params: dict[str, Any], masked: bool) -> dict[str, Any]:
    """Return what a user of the exported model has to know, builtin types.

    Parameters
    ----------
    kind : ``pinn`` or ``baseline``
    params : of :func:`ptycho.models.serialization.load`
    masked : whether bad pixels are left out
    """
    from ptycho.models import serialization

    window, scale = params["window_px"], params.get("counts_scale")
    unit = f"divided by counts_scale ({scale!r})" if scale else "in the unit of the training data"
    return {
        "format": 1,
        "model": NAMES[kind],
        "input": {
            "name": "diffraction", "shape": ["n", 1, window, window], "dtype": "float32",
            "axes": ["pattern", "1", "y", "x"],
            "unit": f"amplitude: square root of the photon counts, {unit}",
            "direct_beam": [window // 2, window // 2],
            "bad_pixels": "left out; their amplitudes have to be 0" if masked else "none",
        },
        "output": {
            "name": "object", "shape": ["n", 2, window, window], "dtype": "float32",
            "axes": ["pattern", "amplitude and phase", "y", "x"],
            "unit": "amplitude: 1 is the object's root mean square amplitude; phase: radians, up to one constant",
            "use": f"the central {window // 2} x {window // 2} pixels, where the probe is bright",
        },
        "counts_scale": scale, "n_images": params["n_images"], "trial": params["trial"], "config": params["config"],
        "versions": serialization.versions(),
    }  # fmt: skip


entry = entry_point(main, build_parser)
