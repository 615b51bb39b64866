"""Convert a data set between the study's npz and the field's formats.

Read: study npz (older names too), ptychodus product (npz, HDF5) and patterns, CXI, PtychoNN npz, tike npz;
recognized by the names of their arrays. Written: study npz, ptychodus product (npz, HDF5; patterns beside it), CXI.
The formats are described in docs/formats.md.
"""

import argparse
import logging
from pathlib import Path
from typing import get_args

from ptycho.commands.cli import check_output, entry_point
from ptycho.config.flags import add_flags, from_flags
from ptycho.config.schema import MeasuredConfig
from ptycho.io import formats
from ptycho.io.files import error_context
from ptycho.preparation.convert import require_trainable
from ptycho.preparation.load import load_content

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, help="file to read")
    parser.add_argument("output", type=Path, help="file to write: .npz (study), .h5 (ptychodus product) or .cxi")
    parser.add_argument("--to", choices=get_args(formats.Target), help="format to write (default: by the extension)")
    parser.add_argument(
        "--patterns", type=Path, help="patterns of the product that is read: of ptychodus (npz, HDF5), or a CXI file"
    )
    parser.add_argument(
        "--probe", type=Path, help="file whose probe is used: study npz, ptychodus product, CXI or tike npz"
    )
    parser.add_argument(
        "--trainable", action="store_true",
        help="refuse what a study cannot train on: a file without patterns, or with patterns that hold no counts",
    )  # fmt: skip
    add_flags(parser.add_argument_group("measured patterns, where the file does not state it"), MeasuredConfig)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Convert the file; InputError where it cannot be read or written so."""
    form = formats.target(arguments.output, arguments.to)
    config = from_flags(MeasuredConfig, arguments)
    for path in formats.outputs(arguments.output, form):
        check_output(path, arguments.input, arguments.patterns, arguments.probe, arguments.bad_pixels)
    content = load_content(arguments.input, config, patterns=arguments.patterns, probe=arguments.probe)
    if arguments.trainable:
        with error_context(arguments.input):
            require_trainable(content)
    for path in formats.save(arguments.output, content, form):
        logger.info("%s: written as %s", path, formats.TITLES[form])


entry = entry_point(main, build_parser)
