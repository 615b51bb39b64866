import importlib
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"


@pytest.fixture
def command(monkeypatch):
    """Return a function that runs one of the workflow's commands in this process: None, or what it says as it fails."""
    monkeypatch.syspath_prepend(SCRIPTS)

    def of(name):
        module = importlib.import_module(name)

        def call(*words):
            monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, words)])
            try:
                module.run(module.main, module.build_parser())
            except SystemExit as stop:
                return stop.code
            return None

        return call

    return of
