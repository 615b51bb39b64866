"""Words, lists and tables in Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any


def listed(words: Sequence[str]) -> str:
    """Return words as in a sentence: ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def bullets(lines: Iterable[str]) -> str:
    """Return lines as a Markdown list; nothing where there are none."""
    return "\n".join(f"- {line}" for line in lines)


def table(heads: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a Markdown table; nothing where there are no rows."""
    body = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [heads, ["---"] * len(heads), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if body else ""
