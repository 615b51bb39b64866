"""Prepare the halves of a simulated scan in one process, for test sets and variants with data of their own.

Writes OUTPUT_DIR/test.npz and, unless --test_only, OUTPUT_DIR/train.npz: the same data as the rules of the preparation
give, step by step.
"""

import argparse
import json
from contextlib import ExitStack
from pathlib import Path

from ptycho.commands.cli import entry_point
from ptycho.config.flags import add_flags, from_flags
from ptycho.config.keys import checked
from ptycho.config.schema import PreparationConfig, SimulationConfig, SpecimenConfig, StudyConfig
from ptycho.data.dataset import Reconstruction
from ptycho.errors import InputError
from ptycho.io import files, npz
from ptycho.preparation.pipeline import Drawn, drawn_specimen, prepare


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, required=True, help="directory of the halves")
    parser.add_argument("--input", type=Path, help="reconstruction npz to start from (default: a procedural specimen)")
    parser.add_argument("--test_only", action="store_true", help="write the test half alone")
    parser.add_argument("--seed", type=int, default=StudyConfig().seed, help="default: %(default)s")
    parser.add_argument(
        "--probe_of", metavar="JSON", help="seed, and keys of the section specimen, of one whose probe is kept"
    )
    add_flags(parser.add_argument_group("specimen"), SpecimenConfig)
    add_flags(parser.add_argument_group("simulation"), SimulationConfig)
    add_flags(parser.add_argument_group("preparation"), PreparationConfig, skip=("keep_stages",))
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Prepare the data and write them, both halves or none."""
    source: Path | Reconstruction = arguments.input or drawn_specimen(
        Drawn(from_flags(SpecimenConfig, arguments), arguments.seed), _probe_of(arguments.probe_of)
    )
    simulation, preparation = from_flags(SimulationConfig, arguments), from_flags(PreparationConfig, arguments)
    with files.error_context(arguments.input or arguments.output_dir):
        train, test = prepare(source, simulation, preparation, arguments.seed)
    halves = {"test": test} if arguments.test_only else {"train": train, "test": test}
    with ExitStack() as all_or_none:
        for name, half in halves.items():
            path = all_or_none.enter_context(files.replacing(arguments.output_dir / f"{name}.npz"))
            npz.write_dataset(path, half)


def _probe_of(word: str | None) -> Drawn | None:
    """Return the specimen whose probe is kept, of its JSON."""
    if word is None:
        return None
    try:
        given = json.loads(word)
        seed = int(given.pop("seed"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"--probe_of is {word:.60}: expected a JSON object with seed ({error})") from error
    return Drawn(checked(SpecimenConfig, given, "--probe_of "), seed)


entry = entry_point(main, build_parser)
