"""The pages of the documentation's site that are generated; ``make docs`` builds it (.ci/run)."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from ptycho.config.schema import json_schema

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site():
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "docs" / "site_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def nav_pages():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    parts = [part for entry in nav for part in entry.values()]
    sections = [part for part in parts if not isinstance(part, str)]
    return [part for part in parts if isinstance(part, str)] + [
        page for section in sections for item in section for page in item.values()
    ]


def test_the_navigation_has_every_page(site):
    pages = nav_pages()
    assert len(pages) == len(set(pages))
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert set(pages) == written | set(site.COPIED.values()) | {"configuration.md", "commands.md"}


def test_the_reference_has_every_key_with_its_default_and_meaning(site):
    text, schema = site.configuration_page(), json_schema()
    for reference, part in {"Study": schema, **schema["$defs"]}.items():
        for name, one in part["properties"].items():
            if "$ref" in one or not one.get("description"):
                continue
            assert f"| `{name}` |" in text, reference
            assert one["description"].replace("|", "\\|") in text
    assert "| `epochs` | `50` | integer from 1 |" in text
    assert "| `region` | `object` | `object`, `scan` |" in text
    assert "| `stitch_crop_px` | `null` | integer from" in text


def test_every_command_has_its_help(site):
    text = site.commands_page()
    scripts = sorted(path.name for path in (ROOT / "workflow/scripts").glob("*.py"))
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == scripts
    assert text.count("usage: ") == len(scripts)
    assert "--nepochs EPOCHS" in text


@pytest.mark.parametrize(
    ("written", "copied", "link"),
    [
        ("[a](docs/methods.md#evaluation)", True, "[a](methods.md#evaluation)"),
        ("![a](docs/images/panel.png)", True, "![a](images/panel.png)"),
        ("[SECURITY.md](SECURITY.md)", True, "[SECURITY.md](security.md)"),
        ("[a](../README.md)", False, "[a](index.md)"),
        ("[a](methods.md)", False, "[a](methods.md)"),
        ("[config/config.yaml](../config/config.yaml)", False, "`config/config.yaml`"),
        ("[the rule](../workflow/rules/train.smk)", False, "the rule (`workflow/rules/train.smk`)"),
        ("[a](https://example.org/b)", True, "[a](https://example.org/b)"),
        ("[a](#here)", False, "[a](#here)"),
    ],
)
def test_links_lead_to_pages(site, written, copied, link):
    assert site.LINK.sub(lambda match: site._link(match, copied), written) == link


def test_no_page_links_to_a_file_that_is_not_on_the_site(site):
    pages = set(nav_pages())
    for path in [*(ROOT / "docs").glob("*.md"), *(ROOT / name for name in site.COPIED)]:
        copied = path.parent == ROOT
        for match in site.LINK.finditer(path.read_text(encoding="utf-8")):
            target = re.search(r"\]\(([^)#\s]+)", site._link(match, copied))
            if target is None or target[1].startswith("http"):
                continue
            assert target[1] in pages or (ROOT / "docs" / target[1]).is_file(), (path.name, match[0])
