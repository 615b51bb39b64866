#!/usr/bin/env python
"""Print the part of CHANGELOG.md that is about a version, for its release.

    python .github/release_notes.py v0.1.0

The tag, pyproject.toml, CITATION.cff and the newest part of the changelog must name the same version.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def notes(tag: str, root: Path = ROOT) -> str:
    """Return the text of a version's part of the changelog; SystemExit where a file names another version."""
    version = tag.removeprefix("v")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    parts = re.findall(r"^## (\S+)[^\n]*\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    stated = {
        "pyproject.toml": re.findall(r'^version = "(.+)"', (root / "pyproject.toml").read_text(), re.MULTILINE),
        "CITATION.cff": re.findall(r"^version: (.+)", (root / "CITATION.cff").read_text(), re.MULTILINE),
        "CHANGELOG.md": [name for name, _ in parts[:1]],
    }
    for name, found in stated.items():
        if found != [version]:
            sys.exit(f"error: the tag is {tag}, but {name} states version {', '.join(found) or 'none'}")
    return parts[0][1].strip() + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: release_notes.py TAG")
    sys.stdout.write(notes(sys.argv[1]))
