"""The rules of the package: which layer may import which, what never happens, and how long a function may be."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "ptycho").rglob("*.py"))
SCRIPTS = sorted((ROOT / "workflow" / "scripts").rglob("*.py"))
FUNCTION_LINES = 60  # of code
ALLOWED = {  # what each package may import beside itself and errors
    "errors": "",
    "config": "",
    "data": "config",
    "physics": "data",
    "io": "data config",
    "preparation": "io physics data config",
    "models": "preparation io physics data config",
    "results": "io data config",
    "evaluation": "results physics data config",
    "study": "results io data config",
    "plotting": "study results io data config",
    "inspection": "plotting preparation io physics data config",
    "commands": "inspection plotting study evaluation results models preparation io physics data config",
}
FURTHER = {"study/preflight.py": "preparation physics"}  # it opens the configured data


def imports(tree, package):
    """Return the dotted names that a module of ``package`` imports anywhere, inside of functions too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def imported(path):
    return imports(parsed(path), ".".join(path.relative_to(ROOT).parent.parts))


def parsed(path):
    return ast.parse(path.read_text())


def within(name, *rooms):
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def name(path):
    return str(path.relative_to(ROOT))


# layers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import ptycho.models.pinn as p", "ptycho.models.pinn"),
        ("def f():\n    from ptycho import models", "ptycho.models"),
        ("from ..models import pinn", "ptycho.models.pinn"),
        ("from . import metrics", "ptycho.evaluation.metrics"),
        ("from .. import study", "ptycho.study"),
    ],
)
def test_every_way_of_importing_is_seen(source, expected):
    assert expected in imports(ast.parse(source), "ptycho.evaluation")


def layer(path):
    return path.relative_to(ROOT / "ptycho").parts[0].removesuffix(".py")


def test_the_layers_are_those_that_have_rules():
    assert {layer(path) for path in PACKAGE} - {"__init__"} == set(ALLOWED)


@pytest.mark.parametrize("path", PACKAGE, ids=name)
def test_each_module_imports_what_its_layer_may(path):
    inside = str(path.relative_to(ROOT / "ptycho"))
    own = layer(path)
    may = {"errors", "__version__", own, *ALLOWED.get(own, "").split(), *FURTHER.get(inside, "").split()}
    found = {i.split(".")[1] for i in imported(path) if i.startswith("ptycho.")}
    assert found - may == set()


def test_the_rules_hold_no_circle():
    done: set[str] = set()
    while rest := {name: set(may.split()) for name, may in ALLOWED.items() if name not in done}:
        ready = {name for name, may in rest.items() if may <= done}
        assert ready, f"a circle among {sorted(rest)}"
        done |= ready


def test_tensorflow_lives_in_models_alone():
    libraries = ("tensorflow", "keras", "tf_keras")
    users = {path for path in PACKAGE if any(within(i, *libraries) for i in imported(path))}
    assert users
    assert {layer(path) for path in users} == {"models"}


def test_nothing_in_the_package_knows_snakemake():
    assert [name(path) for path in PACKAGE if any(within(i, "snakemake") for i in imported(path))] == []


def test_importing_the_lower_layers_loads_nothing_heavy():
    code = (
        "import sys, ptycho, ptycho.config.schema, ptycho.io.npz, ptycho.study.preflight\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'matplotlib', 'seaborn', 'h5py', 'dill', 'skimage', 'snakemake'}\n"
        "print(*sorted(heavy & sys.modules.keys()))\n"
        "import pandas; print('pandas' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["", "True"]


# what never happens --------------------------------------------------------------------------------------

UNSAFE_MODULES = ("pickle", "_pickle", "cloudpickle", "joblib", "shelve", "marshal")
UNSAFE_CALLS = {"load_model", "unsafe_load", "full_load", "read_pickle", "enable_unsafe_deserialization"}


def prints(tree):
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


def unsafe(tree):
    """Return the lines that could unpickle something: files a user was sent must not run code."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = imports(ast.Module([node], []), "ptycho")
            renamed = any(alias.asname for alias in node.names if alias.name == "dill")
            bad = any(within(i, *UNSAFE_MODULES) or i.startswith("dill.") for i in names) or renamed
        elif isinstance(node, ast.Attribute):
            of_dill = (
                isinstance(node.value, ast.Name) and node.value.id == "dill" and node.attr not in ("dump", "dumps")
            )
            bad = of_dill or node.attr in UNSAFE_CALLS
        elif isinstance(node, ast.keyword):
            may = {"allow_pickle": False, "safe_mode": True}.get(node.arg or "")
            bad = may is not None and not (isinstance(node.value, ast.Constant) and node.value.value is may)
        else:
            bad = isinstance(node, ast.Name) and node.id in UNSAFE_CALLS
        if bad:
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "import dill as d",
        "from dill import load",
        "import dill\ndill.load(stream)",
        "import dill\nread = dill.loads",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=wanted)",
        "keras.models.load_model(path)",
        "load_model(path)",
        "deserialize(config, safe_mode=False)",
        "pd.read_pickle(path)",
        "yaml.unsafe_load(stream)",
    ],
)
def test_every_way_of_unpickling_is_seen(source):
    assert unsafe(ast.parse(source))


@pytest.mark.parametrize("source", ["import dill\ndill.dump(x, f)", "np.load(p, allow_pickle=False)", "import numpy"])
def test_writing_and_plain_arrays_are_safe(source):
    assert not unsafe(ast.parse(source))


@pytest.mark.parametrize("path", PACKAGE + SCRIPTS, ids=name)
def test_nothing_is_unpickled(path):
    assert unsafe(parsed(path)) == []


def test_prints_are_seen():
    assert prints(ast.parse("x = 1\nprint(x)")) == [2]
    assert prints(ast.parse("blueprint(x)\nx.print()")) == []


@pytest.mark.parametrize("path", PACKAGE, ids=name)
def test_the_package_does_not_print(path):
    assert prints(parsed(path)) == []


# length --------------------------------------------------------------------------------------------------


def code_lines(source, function):
    """Return the number of lines of a function but for its docstring, comments and blank lines."""
    first = function.body[0]
    described = ast.get_docstring(function, clean=False) is not None
    docstring = range(first.lineno, (first.end_lineno or 0) + 1) if described else range(0)
    lines = enumerate(source.splitlines(), start=1)
    inside = (line.strip() for n, line in lines if function.lineno <= n <= function.end_lineno and n not in docstring)
    return sum(bool(line) and not line.startswith("#") for line in inside)


def lengths(source):
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return {function.name: code_lines(source, function) for function in functions}


def test_lines_of_code_by_hand():
    source = 'def f(\n    x,\n):\n    """Say.\n\n    More.\n    """\n    # why\n    y = x\n\n    return y\n'
    assert lengths(source) == {"f": 5}  # three of the signature, y = x and return


@pytest.mark.parametrize("path", PACKAGE + SCRIPTS, ids=name)
def test_functions_fit_a_screen(path):
    source = path.read_text()
    assert {function: n for function, n in lengths(source).items() if n > FUNCTION_LINES} == {}
