"""Put a finished study into one archive, or verify one.

Writes OUTPUT (zip), a Research Object Crate (RO-Crate 1.1): all files of the study but its data sets, and
ro-crate-metadata.json with the SHA-256 of each. With --verify, checks these of an archive, and computes its tables
again from the metrics of its trials: each must be the archived one.
"""

import argparse
import logging
import tempfile
from pathlib import Path

import pandas as pd
import yaml

from ptycho.commands import aggregate
from ptycho.commands.cli import entry_point, say
from ptycho.config.schema import StudyConfig
from ptycho.errors import InputError
from ptycho.io import files, text
from ptycho.results import layout
from ptycho.study import crate, metric_tables

RELATIVE = 1e-9  # of numbers computed again, by other versions of the libraries


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="output_dir of a finished study; with --verify: an archive")
    parser.add_argument("output", type=Path, nargs="?", help="archive to write, name.zip")
    parser.add_argument("--verify", action="store_true", help="verify the archive SOURCE; nothing is written")
    parser.add_argument(
        "--license", default="not stated", help="license of the archive: its URL or a sentence (default: %(default)s)"
    )
    parser.add_argument(
        "--leave_out", nargs="*", default=[], metavar="PATTERN",
        help=f"leave out these files, too, e.g. '*.npz'; left out are {', '.join(crate.LEFT_OUT)}",
    )  # fmt: skip
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Write an archive, or verify one and say what was verified.

    Raises
    ------
    InputError : no finished study, or an archive that is damaged or whose tables do not follow from its trials
    """
    if arguments.verify:
        if arguments.output is not None:
            raise InputError(f"--verify writes nothing, but {arguments.output} was given: leave it out")
        verify(arguments.source)
        return
    if arguments.output is None or arguments.output.suffix != ".zip":
        raise InputError(f"the archive to write is {arguments.output}, expected a name that ends in .zip")
    if arguments.source.resolve() in arguments.output.resolve().parents:
        raise InputError(f"{arguments.output} is within the study: name an archive outside of {arguments.source}")
    left_out = (*crate.LEFT_OUT, *arguments.leave_out)
    names = crate.write(arguments.source, arguments.output, arguments.license, left_out)
    size = arguments.output.stat().st_size / 1e6
    say(f"{arguments.output}: {len(names)} files, {size:.1f} MB, sha256 {files.sha256(arguments.output)}")
    if not arguments.leave_out:  # else the tables may not follow from what is left
        verify(arguments.output)


def verify(archive: Path) -> None:
    """Verify checksums and tables of an archive."""
    with tempfile.TemporaryDirectory() as place:
        study, again = Path(place, "study"), Path(place, "again")
        names = crate.extract(archive, study)
        say(f"{archive}: {len(names)} files match their checksums")
        absent = [name for name in (*layout.TABLES, layout.STUDY_CONFIG) if name not in names]
        if absent:
            raise InputError(f"{archive}: without {', '.join(absent)}: its tables cannot be verified")
        logging.getLogger(aggregate.__name__).setLevel(logging.WARNING)  # where the tables are written tells nothing
        try:
            aggregate.main(aggregate.build_parser().parse_args([str(study), *_words(study, archive), str(again)]))
        except InputError as error:
            raise InputError(f"{archive}: its tables cannot be computed ({str(error).replace(place, '')})") from error
        for name in layout.TABLES:
            if not same_table(study / name, again / name):
                raise InputError(
                    f"{archive}: {name} does not follow from the metrics of its trials: it was changed, or trials "
                    "are missing"
                )
    say(f"{archive}: {len(layout.TABLES)} tables computed again from the trials, all equal: {', '.join(layout.TABLES)}")


def _words(study: Path, archive: Path) -> list[str]:
    """Return the arguments by which the workflow made the tables of a study, from its configuration."""
    path = study / layout.STUDY_CONFIG
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise InputError(f"{type(content).__name__}, expected keys and values")
        config = StudyConfig.from_mapping(content)
    except (OSError, ValueError, RecursionError, yaml.YAMLError, InputError) as error:
        raise InputError(f"{archive}: {path.name} cannot be read ({' '.join(str(error).split())})") from error
    target = [f"{name}={value}" for name, value in config.target.items()]
    return [
        "--tables-only", "--seed", str(config.seed), "--train-sizes", *map(str, config.train_sizes),
        "--num-trials", str(config.num_trials), "--variants", *config.variants,
        *(["--target", *target] if target else []), "--output_dir",
    ]  # fmt: skip


def same_table(one: Path, other: Path) -> bool:
    """Return whether two csv tables are equal but for rounding."""
    try:
        left, right = (text.read_csv(path).rename(columns=metric_tables.FORMER) for path in (one, other))
        pd.testing.assert_frame_equal(left, right, rtol=RELATIVE, atol=0)
    except AssertionError:
        return False
    return True


entry = entry_point(main, build_parser)
