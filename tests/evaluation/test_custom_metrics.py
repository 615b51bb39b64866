import numpy as np
import pytest

from ptycho.errors import InputError
from ptycho.evaluation import custom_metrics, metrics
from ptycho.evaluation.metrics import Images
from ptycho.results import schema

WORST = "def worst(target, prediction):\n    return abs(prediction - target).max()\n"


@pytest.fixture
def file(tmp_path):
    """Write a user's file, and return its path."""

    def write(text, name="mine.py"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refusal(function, path):
    with pytest.raises(InputError) as error:
        function(path)
    message = str(error.value)
    assert message.startswith(f"custom_metrics: {path}: ")
    return message


# names ---------------------------------------------------------------------------------------------------


def test_names_are_those_of_the_public_functions_in_their_order(file):
    path = file(
        "import math\nfrom os.path import join\n"
        "LIMIT = 3\n"
        "def worst(target, prediction): return 0\n"
        "def _help(): pass\n"
        "class Thing:\n    def method(self): pass\n"
        "def best(target, prediction):\n    def inner(): pass\n    return 0\n"
    )
    assert custom_metrics.names(path) == custom_metrics.names(str(path)) == ["worst", "best"]


def test_names_do_not_run_the_file(file, tmp_path):
    path = file(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit\n" + WORST)
    assert custom_metrics.names(path) == ["worst"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("function", [custom_metrics.names, custom_metrics.load])
def test_a_missing_file_is_named(tmp_path, function):
    assert "No such file or directory: expected a python file" in refusal(function, tmp_path / "none.py")


def test_a_directory_is_no_file(tmp_path):
    assert "expected a python file" in refusal(custom_metrics.names, tmp_path)


@pytest.mark.parametrize("text", ["def worst(target, prediction:\n", b"\x00\x01", b"def f(t, p): return '\xff'\n"])
def test_what_is_not_python_is_said_to_be_none(file, text):
    assert "not python (" in refusal(custom_metrics.names, file(text))


@pytest.mark.parametrize(
    "text", ["", "x = 1\n", "def _private(target, prediction): return 0\n", "class Metric: pass\n"]
)
def test_a_file_without_a_function_says_what_is_expected(file, text):
    assert "no function: expected some def metric(target, prediction)" in refusal(custom_metrics.names, file(text))


@pytest.mark.parametrize("name", ["psnr", "frc50_at_nyquist", "computation_time_s", "train_size", "status"])
def test_names_of_the_study_are_taken(file, name):
    path = file(WORST + f"def {name}(target, prediction): return 0\n")
    assert f"the name {name} is taken: give that function another one" in refusal(custom_metrics.names, path)


def test_a_name_stands_for_one_function(file):
    assert "the name worst is taken" in refusal(custom_metrics.names, file(WORST + WORST))


@pytest.mark.parametrize("name", ["rms_", "größe"])
def test_names_that_tables_cannot_bear_are_refused(file, name):
    path = file(f"def {name}(target, prediction):\n    return 0.0\n")
    assert f"the name {name}: files and tables bear" in refusal(custom_metrics.names, path)


def test_every_name_of_the_studys_tables_is_taken_and_no_other():
    keys = {"train_size", "trial", "model_type", "variant", "arm", "model", "status"}
    assert set(custom_metrics.TAKEN) == {*metrics.METRICS, *schema.VALUES, *schema.MARKS, *keys}
    assert len(custom_metrics.TAKEN) == len(set(custom_metrics.TAKEN))


# metrics -------------------------------------------------------------------------------------------------


def test_metrics_are_the_functions_and_return_floats(file):
    path = file(f"import numpy as np\n{WORST}def _unused(): pass\ndef count(target, prediction): return target.size\n")
    found = custom_metrics.load(str(path))
    assert list(found) == ["worst", "count"]
    target = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert found["worst"](Images.of(target, target + np.array([[0, 0.5], [-2, 0]]))) == 2
    count = found["count"](Images.of(target, target))
    assert count == 4
    assert type(count) is float


def test_a_third_argument_is_given_the_covered_pixels(file, caplog):
    path = file("def count(target, prediction, covered):\n    return covered.sum()\n" + WORST)
    found = custom_metrics.load(path)
    target, covered = np.arange(12.0).reshape(3, 4), np.arange(12).reshape(3, 4) < 9
    images = Images.of(target, target + np.where(covered, 1, 50), covered)
    assert found["count"](images) == 9
    assert not caplog.text
    assert found["worst"](images) == 1  # what is not covered holds one value in both images
    assert "worst takes no third argument covered: the 25.0 % of the region" in caplog.text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return target.nonsense", "AttributeError: "),
        ("raise ValueError('too dark')", "ValueError: too dark"),
        ("pass", "TypeError: "),
        ("return prediction - target", "TypeError: "),
        ("return 1j", "TypeError: "),
        ("return '1.5'", "TypeError: it returned text, '1.5'"),
    ],
)
def test_a_function_that_returns_no_number_is_refused_as_it_is_loaded(file, body, reason):
    message = refusal(custom_metrics.load, file(WORST + f"def poor(target, prediction):\n    {body}\n"))
    assert "poor(target, prediction), of images (64, 64), expected to return a number: " + reason in message


def test_a_function_of_other_arguments_is_refused(file):
    assert "poor(target, prediction)" in refusal(custom_metrics.load, file("def poor(target): return 0\n"))


def test_a_failure_later_names_file_function_and_images(file):
    path = file("def picky(target, prediction):\n    assert target.shape == (64, 64), 'odd'\n    return 0\n")
    picky = custom_metrics.load(path)["picky"]
    with pytest.raises(InputError, match=r"picky\(target, prediction\), of images \(3, 5\), .*: AssertionError: odd"):
        picky(Images.of(np.zeros((3, 5)), np.zeros((3, 5))))


def test_a_file_that_raises_as_it_runs_is_refused(file):
    assert "ZeroDivisionError: division by zero" in refusal(custom_metrics.load, file("x = 1 / 0\n" + WORST))
    assert "ModuleNotFoundError: No module named 'nonesuch'" in refusal(
        custom_metrics.load, file("import nonesuch\n" + WORST)
    )


def test_a_metric_cannot_change_the_images(file):
    found = custom_metrics.load(
        file("def wipe(target, prediction):\n    target[:] = 0\n    prediction[:] = 5\n    return prediction.max()\n")
    )
    images = Images.of(*np.ones((2, 4, 4)))
    assert found["wipe"](images) == 5
    assert (images.target == 1).all()
    assert (images.prediction == 1).all()


def test_not_a_number_is_a_number(file):
    dark = custom_metrics.load(file("def dark(target, prediction): return float('nan')\n"))["dark"]
    assert np.isnan(dark(Images.of(*np.ones((2, 3, 3)))))
