"""Report the content of a data file and its problems, and draw it.

Any format that convert_dataset.py reads: scans and reconstructions. The report goes to standard output, the figure to
the current directory.
"""

import argparse
import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ptycho.commands.cli import check_output, entry_point, say
from ptycho.config.flags import add_flags, from_flags
from ptycho.config.schema import MeasuredConfig
from ptycho.data.dataset import Dataset
from ptycho.errors import InputError
from ptycho.io import formats, npz
from ptycho.preparation.load import load_content

logger = logging.getLogger(__name__)

LARGE = ("diffraction", "Y")  # not read where a refused file is examined again


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="scan or reconstruction")
    parser.add_argument("--output", type=Path, help="figure to write (default: {name}_inspection.png, here)")
    parser.add_argument("--no-picture", action="store_true", help="text only")
    parser.add_argument("--write_mask", type=Path, help="npz to write: bad pixels of the file, and those found here")
    parser.add_argument(
        "--patterns", type=Path, help="patterns of the product that is read: of ptychodus (npz, HDF5), or a CXI file"
    )
    parser.add_argument("--probe", type=Path, help="file whose probe is used")
    add_flags(parser.add_argument_group("measured patterns, where the file does not state it"), MeasuredConfig)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Print the report of a file and write its figure.

    Raises
    ------
    InputError : the file cannot be used; what is known of it is printed first; or no mask can be written
    """
    from ptycho.inspection import measure, report  # here: --help starts faster without

    picture = arguments.output or Path(f"{arguments.file.stem}_inspection.png")
    for output in filter(None, (None if arguments.no_picture else picture, arguments.write_mask)):
        check_output(output, arguments.file, arguments.patterns, arguments.probe, arguments.bad_pixels)
    config = from_flags(MeasuredConfig, arguments)
    form = formats.detect(arguments.file)
    listing = report.contents(arguments.file, formats.TITLES[form])
    try:
        content = load_content(arguments.file, config, arguments.patterns, arguments.probe)
    except InputError as error:
        problems = (f"cannot be used: {error}", *_refused(arguments.file, form))
        say(report.Inspection((listing,), problems).text())
        raise
    patterns = measure.survey_patterns(content) if isinstance(content, Dataset) else None
    found = report.inspect(content, patterns)
    say(report.Inspection((listing, *found.sections), found.problems).text())
    if arguments.write_mask:
        own = form == "study" and arguments.probe is None and npz.is_dataset(arguments.file)
        _write_mask(content, patterns, own, arguments.write_mask)
    if not arguments.no_picture:
        _draw(content, arguments.file.name, patterns, picture)


def _refused(path: Path, form: str) -> tuple[str, ...]:
    """Return the problems of the arrays of a refused file, as far as they can be read."""
    from ptycho.inspection import checks

    try:
        if form == "study" and zipfile.is_zipfile(path) and npz.is_dataset(path):
            names = [name for name in npz.npz_members(path) if name not in LARGE]
            return checks.check_arrays(npz.read_npz(path, (), names))
        return checks.check_arrays(formats.READERS[form](path)[0])
    except (InputError, KeyError):  # reported by the error that is shown
        return ()


def _write_mask(content: Any, patterns: Any, own: bool, path: Path) -> None:
    """Write the bad pixels of a dataset, with those that look bad, oriented as the patterns of its file.

    Parameters
    ----------
    own : whether the file is in the study's format; the patterns of others may have been shifted when they were read
    """
    from ptycho.inspection import measure, report

    if not isinstance(content, Dataset):
        raise InputError("--write_mask: a reconstruction has no patterns; expected a scan")
    if path.suffix != ".npz":
        raise InputError(f"--write_mask is {path}, expected a name that ends with .npz")
    read = content.metadata.last_step("read")
    dc = "centre" if own or read is None else read.parameters.get("dc")
    if dc is None:
        raise InputError(
            "--write_mask: the file does not state where DC is, and a mask is oriented as its patterns: add "
            "--dc centre or --dc corner"
        )
    marked, again = report.without_suspects(content, patterns)
    dead = measure.dead_pixels(again, marked.bad_pixels)
    bad = dead if marked.bad_pixels is None else dead | marked.bad_pixels
    npz.write_npz(path, {"bad_pixels": np.fft.ifftshift(bad) if dc == "corner" else bad})
    say(f"\nMask: {path}, {bad.sum()} bad pixels")


def _draw(content: Any, title: str, patterns: Any, path: Path) -> None:
    from ptycho.inspection import figure

    figure.save(figure.dataset_figure(content, title, patterns), path)
    say(f"\nPicture: {path}")


entry = entry_point(main, build_parser)
