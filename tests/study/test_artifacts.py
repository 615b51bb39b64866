import pytest

from ptycho.results.schema import Model
from ptycho.study.artifacts import read_history


@pytest.mark.parametrize("content", [None, "{}", "[]", '{"loss": "x"}', '{"loss": [0.5], "status": "ok"}'])
def test_a_file_that_is_no_history_is_named(tmp_path, caplog, content):
    run = tmp_path / "train_64/trial_1/pinn_run"
    run.mkdir(parents=True)
    if content is not None:
        (run / "history.json").write_text(content)
    history = read_history(tmp_path, 64, 1, Model("pinn"))
    valid = content is not None and "ok" in content
    assert history == ({"loss": [0.5], "status": "ok"} if valid else {})
    assert ("not the history of a training" in caplog.text) == (content is not None and not valid)
