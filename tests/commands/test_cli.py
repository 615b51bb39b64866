import argparse
import logging
import sys

import pytest

from ptycho.commands.cli import buffer_log_records, log_to, run
from ptycho.config.schema import StudyConfig
from ptycho.errors import InputError


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command whose ``main`` raises ``error``, and return its exit message and standard error."""
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def call(error, *words):
        def main(arguments):
            raise error

        monkeypatch.setattr(sys, "argv", ["some_tool.py", *words])
        with pytest.raises(SystemExit) as caught:
            run(main, argparse.ArgumentParser())
        return caught.value.code, capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("a.npz: no probe"), "some_tool.py: error: a.npz: no probe"),
        (FileNotFoundError(2, "No such file", "a.npz"), "some_tool.py: error: [Errno 2] No such file: 'a.npz'"),
        (MemoryError("9 GB"), "some_tool.py: error: not enough memory (9 GB): smaller numbers, or a larger machine"),
    ],
    ids=["input", "os", "memory"],
)
def test_bad_input_is_one_line_and_a_traceback_with_debug(command, error, line):
    assert command(error) == (line, "")
    message, shown = command(error, "--debug")
    assert message == line
    assert shown.startswith("Traceback (most recent call last):")
    assert "raise error" in shown


def test_a_bug_is_not_taken_for_bad_input(monkeypatch):
    def main(arguments):
        raise ValueError("a bug")

    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["some_tool.py"])
    with pytest.raises(ValueError, match="a bug"):
        run(main, argparse.ArgumentParser())


def test_input_error_is_caught_by_no_except_clause_for_bugs():
    assert InputError.__bases__ == (Exception,)


@pytest.mark.parametrize("build", [StudyConfig.from_mapping, lambda mapping: StudyConfig(**mapping)])
def test_a_contradiction_in_the_configuration_is_an_input_error(build):
    with pytest.raises(InputError, match=r"^(configuration: )?arms is \['pinn', 'pinn'\]: [^\n]+$"):
        build({"arms": ("pinn", "pinn")})


def test_buffered_records_are_the_first_lines_of_the_log_file(tmp_path, monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", logging.INFO)
    monkeypatch.setattr("os.dup2", lambda *_: None)  # stderr of pytest stays
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    buffered = buffer_log_records()
    logging.getLogger("ptycho").info("first")
    log_to(tmp_path / "new" / "training.log", buffered)
    logging.getLogger("ptycho").info("second")
    assert buffered not in root.handlers
    lines = (tmp_path / "new" / "training.log").read_text().splitlines()
    assert [line.split()[-1] for line in lines] == ["first", "second"]
    for handler in root.handlers:
        handler.close()
