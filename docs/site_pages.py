"""Hooks of mkdocs (mkdocs.yml): pages that are generated, and links that leave docs/."""

import argparse
import importlib.util
import os
import re
from pathlib import Path
from typing import Any

from ptycho.config.schema import json_schema

ROOT = Path(__file__).resolve().parents[1]
COPIED = {  # pages of the site that are files beside docs/
    "README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}  # fmt: skip
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages, and those that are copied."""
    from mkdocs.structure.files import File

    pages = {name: (ROOT / source).read_text(encoding="utf-8") for source, name in COPIED.items()}
    pages |= {"configuration.md": configuration_page(), "commands.md": commands_page()}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Point links to files of the repository at their page, or name the file where it has none."""
    copied = page.file.src_uri in COPIED.values()
    return LINK.sub(lambda match: _link(match, copied), markdown)


def _link(match: re.Match[str], copied: bool) -> str:
    """Return a link as it is on the site; ``copied`` pages are written beside docs/."""
    image, words, target = match.groups()
    path, hash_sign, anchor = target.partition("#")
    if re.match(r"[a-z]+:", target) or not path:
        return match[0]
    place = os.path.normpath(path if copied else os.path.join("docs", path))
    if place in COPIED:
        return f"[{words}]({COPIED[place]}{hash_sign}{anchor})"
    if place.startswith("docs/"):
        return f"{image}[{words}]({place.removeprefix('docs/')}{hash_sign}{anchor})"
    return f"{words} (`{place}`)" if words.strip("`") != place else f"`{place}`"


def configuration_page() -> str:
    """Return the reference of all configuration keys, from the schema."""
    schema = json_schema()
    lines = [
        "# Configuration", "",
        "All keys, with defaults; `config/config.yaml` has the reasons. A key of a section is `section.key: value` "
        "in a file, or `--config section='{key: value}'` on the command line. A misspelt key is an error.", "",
    ]  # fmt: skip
    sections = {name: one["$ref"] for name, one in schema["properties"].items() if "$ref" in one}
    top = {name: one for name, one in schema["properties"].items() if name not in sections}
    lines += ["## Study", "", *_keys(top)]
    for name, reference in sections.items():
        section = schema["$defs"][reference.rsplit("/", 1)[1]]
        lines += ["", f"## {name}", "", *_keys(section["properties"])]
    return "\n".join(lines) + "\n"


def _keys(properties: dict[str, Any]) -> list[str]:
    """Return a table of keys."""
    lines = ["| key | default | values | meaning |", "|---|---|---|---|"]
    for name, one in properties.items():
        cells = [f"`{name}`", f"`{_plain(one.get('default'))}`", values(one), one.get("description", "")]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def _plain(value: Any) -> str:
    """Return a default as it is written in YAML."""
    return {None: "null", True: "true", False: "false"}.get(value, str(value)) if not isinstance(value, list | dict) \
        else str(value).replace("'", "")  # fmt: skip


def values(one: dict[str, Any]) -> str:
    """Return which values a key takes, in words."""
    if "anyOf" in one:
        return " or ".join(dict.fromkeys(values(part) for part in one["anyOf"]))
    if "enum" in one:
        return ", ".join(f"`{_plain(value)}`" for value in one["enum"])
    if "const" in one:
        return f"`{_plain(one['const'])}`"
    kind = str(one.get("type", "any"))
    if kind == "array":
        return f"list of {values(one.get('items', {}))}"
    bounds = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    limits = [f"{word} {one[key]:g}" for key, word in bounds.items() if key in one]
    return " ".join([{"null": "null", "object": "mapping", "string": "text"}.get(kind, kind), *limits])


def commands_page() -> str:
    """Return the help of every command."""
    os.environ["COLUMNS"] = "84"  # of argparse's help: as wide as the page
    lines = [
        "# Commands", "",
        "The rules of the workflow call these commands, which also work on their own: `python workflow/scripts/NAME`, "
        "or installed (`train.py` is `ptycho-train`). The text of each is that of its `--help`.",
    ]  # fmt: skip
    for path in sorted((ROOT / "workflow" / "scripts").glob("*.py")):
        text = parser_of(path).format_help().rstrip()
        lines += ["", f"## {path.name}", "", "```text", text, "```"]
    return "\n".join(lines) + "\n"


def parser_of(path: Path) -> argparse.ArgumentParser:
    """Return the parser of a command."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parser: argparse.ArgumentParser = module.build_parser()
    parser.prog = path.name
    return parser
