"""Merge the logs of a study into study_log.txt, in time order, each line under the name of its log."""

import argparse
from pathlib import Path

from ptycho.commands.cli import entry_point
from ptycho.errors import InputError
from ptycho.io import text
from ptycho.results import layout
from ptycho.study.logs import merge_logs


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study_dir", type=Path, help="directory of the study")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Merge the logs and write ``study_log.txt``; InputError where there is no such study."""
    study = arguments.study_dir
    if not study.is_dir():
        raise InputError(f"{study}: no such directory: name the directory of a study")
    patterns = ("logs/*.log", f"train_*/trial_*/*_run/{layout.TRAINING_LOG}")
    logs = sorted(
        path for branch in layout.branches(study).values() for pattern in patterns for path in branch.glob(pattern)
    )
    texts = {str(path.relative_to(study)): path.read_text(errors="replace") for path in logs}
    text.write_text(study / layout.STUDY_LOG, merge_logs(texts))


entry = entry_point(main, build_parser)
