#!/usr/bin/env python
"""What Snakemake asks of conda, done with venv and pip: an environment holds what its file names, and nothing else.

Channels are not used; the Python is that of this process. Each Python that starts in the environment notes its command
in ``started.txt`` there.
"""

import argparse
import json
import subprocess
import sys
import venv
from pathlib import Path

import yaml

NOTES = """
import os, sys
with open(os.path.join(sys.prefix, "started.txt"), "a") as file:
    file.write(" ".join(map(os.path.basename, sys.orig_argv[1:2])) + "\\n")
"""


def create(file: Path, prefix: Path) -> None:
    """Create an environment of the packages of a file, without their dependencies: it must name all of them."""
    described = yaml.safe_load(file.read_text())
    (from_pip,) = (part["pip"] for part in described["dependencies"] if isinstance(part, dict))
    venv.create(prefix, with_pip=True)
    install = [prefix / "bin/python", "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps"]
    subprocess.run([*install, *from_pip], check=True)
    (site,) = prefix.glob("lib/python*/site-packages")
    (site / "sitecustomize.py").write_text(NOTES)


def main(words: list[str]) -> None:
    """Answer as conda does; ``home`` is the folder of this program's ``bin``."""
    home = Path(sys.argv[0]).absolute().parents[1]
    answers = {
        "--version": "conda 99.1.0",
        "clean -y --tarballs": "",
        "info --json": json.dumps({"conda_prefix": str(home), "platform": "linux-64"}),
        "config --get channel_priority --json": json.dumps({"get": {"channel_priority": "strict"}}),
    }
    if " ".join(words) in answers:
        sys.stdout.write(answers[" ".join(words)])
        return
    parser = argparse.ArgumentParser()
    for flag in ("--file", "--prefix"):
        parser.add_argument(flag, type=Path, required=True)
    parser.add_argument("subcommand", nargs=2)
    given, _ = parser.parse_known_args(words)
    assert given.subcommand == ["env", "create"]
    create(given.file, given.prefix)


if __name__ == "__main__":
    main(sys.argv[1:])
