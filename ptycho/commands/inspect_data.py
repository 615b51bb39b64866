"""Say what a file of data holds and what may go wrong with it, and draw it.

Any format that convert_dataset.py reads: scans and reconstructions. Facts and problems go to standard output; the
picture goes to the current directory.
"""

import argparse
import logging
import zipfile
from pathlib import Path
from typing import Any

from ptycho.commands.cli import say
from ptycho.config.flags import add_flags, from_flags
from ptycho.config.schema import MeasuredConfig
from ptycho.data.dataset import Dataset
from ptycho.errors import InputError
from ptycho.io import formats, npz
from ptycho.preparation.load import load_content

logger = logging.getLogger(__name__)

LARGE = ("diffraction", "Y")  # left out where a refused file is looked at again


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="scan or reconstruction")
    parser.add_argument("--output", type=Path, help="picture to write (default: {name}_inspection.png, here)")
    parser.add_argument("--no-picture", action="store_true", help="words only")
    parser.add_argument("--patterns", type=Path, help="ptychodus patterns (npz, HDF5) of the product that is read")
    parser.add_argument("--probe", type=Path, help="file whose probe is taken")
    add_flags(parser.add_argument_group("measured patterns, where the file does not say"), MeasuredConfig)
    return parser


def main(arguments: argparse.Namespace) -> None:
    from ptycho.inspection import measure, report  # here, as --help starts faster without

    picture = arguments.output or Path(f"{arguments.file.stem}_inspection.png")
    read = (arguments.file, arguments.patterns, arguments.probe, arguments.bad_pixels)
    if any(path is not None and Path(path).resolve() == picture.resolve() for path in read):
        raise InputError(f"{picture}: would be overwritten; inputs stay as they are: write to another file")
    config = from_flags(MeasuredConfig, arguments)
    form = formats.detect(arguments.file)
    listing = report.contents(arguments.file, formats.TITLES[form])
    try:
        content = load_content(arguments.file, config, arguments.patterns, arguments.probe)
    except InputError as error:
        found = (f"cannot be used: {error}", *_refused(arguments.file, form))
        say(report.Inspection((listing,), found).text())
        raise
    patterns = measure.survey_patterns(content) if isinstance(content, Dataset) else None
    facts = report.inspect(content, patterns)
    say(report.Inspection((listing, *facts.sections), facts.problems).text())
    if not arguments.no_picture:
        _draw(content, arguments.file.name, patterns, picture)


def _refused(path: Path, form: str) -> tuple[str, ...]:
    """Return all that is wrong with the arrays of a file that cannot be read, as far as they can be."""
    from ptycho.inspection import checks

    try:
        if form == "study" and zipfile.is_zipfile(path) and npz.is_dataset(path):
            names = [name for name in npz.npz_members(path) if name not in LARGE]
            return checks.check_arrays(npz.read_npz(path, (), names))
        return checks.check_arrays(formats.READERS[form](path)[0])
    except (InputError, KeyError):  # the error that is shown says it
        return ()


def _draw(content: Any, title: str, patterns: Any, path: Path) -> None:
    from ptycho.inspection import figure

    figure.save(figure.dataset_figure(content, title, patterns), path)
    say(f"\nPicture: {path}")
