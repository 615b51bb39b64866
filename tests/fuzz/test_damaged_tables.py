"""Damaged tables and configurations: what is cut or of another kind is refused; see damage.py."""

import csv
import io
import json
from pathlib import Path

import damage
import pandas as pd
import pytest
import samples

from ptycho.config.schema import StudyConfig
from ptycho.errors import InputError
from ptycho.io import text
from ptycho.results import layout
from ptycho.results.schema import IDENTITY
from ptycho.study import summary, tables
from ptycho.study.metric_tables import read_metrics, read_study_table, read_wide, require_same_trials
from ptycho.study.statistics import study_statistics
from ptycho.study.trials import read_trials

NAMES = (layout.RESULTS, layout.ALL_TRIALS, layout.STATISTICS, layout.TIMES)
WORDS = {"x": "text", "": "nothing", "1e999": "infinite", "-3": "negative", "1.5": "a fraction", "1e30": "huge",
         "9" * 400: "400 digits", "9" * 5000: "5,000 digits", "\x00": "NUL", '"': "a quote"}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return a directory with the tables of two trials of one size and one of another."""
    directory = tmp_path_factory.mktemp("study")
    for size, trial in ((16, 1), (16, 2), (32, 1)):
        rows = [
            (model, metric, size + trial + i, size - trial + i, None, "ok")
            for i, model in enumerate(("PtychoPINN", "Baseline"))
            for metric in ("psnr", "mae")
        ]
        table = pd.DataFrame(rows, columns=["model", "metric", "amplitude", "phase", "value", "status"])
        text.write_csv(directory / f"train_{size}/trial_{trial}/comparison_metrics.csv", table)
    trials = read_trials(directory)
    wide = tables.results_all_trials(trials)
    made = (tables.results(trials), wide, study_statistics(wide, 1), tables.times(directory, wide))
    for name, table in zip(NAMES, made, strict=True):
        text.write_csv(directory / name, table)
    return directory


@pytest.fixture(scope="module")
def undamaged(study):
    return {name: read_study_table(study / name, []) for name in NAMES}


@pytest.fixture
def summarized(study, undamaged, tmp_path):
    """Return a reader of one of the tables that goes on to the summary, the other tables undamaged."""

    def read(path: Path):
        found = {path.name: read_study_table(path, [])}
        results, wide, statistics, times = (found[n] if n in found else undamaged[n].copy() for n in NAMES)
        place = path if path.name == layout.RESULTS else study / layout.RESULTS
        require_same_trials(place, results, wide)
        made = summary.study_summary({}, results, statistics.astype({"train_size": "Int64"}), wide, [], {}, [], times)
        summary.results_tex(results, wide)
        return made

    return read


def read_trial(path: Path):
    """Read the metrics of a trial, and make the tables of the study."""
    table = read_metrics(path).assign(train_size=16, variant="", arm="pinn")
    table["arm"] = [{"PtychoPINN": "pinn"}.get(name, name.lower()) for name in table["model"]]
    return tables.results(table)


def cells(content: str):
    """Yield each cell of a csv text but the headings: column, row number, and a function to replace it."""
    rows = list(csv.reader(io.StringIO(content)))
    for number, row in enumerate(rows[1:], start=1):
        for column, name in enumerate(rows[0]):
            yield (
                name,
                number,
                lambda word, number=number, column=column: written(
                    [
                        [word if (i, j) == (number, column) else cell for j, cell in enumerate(r)]
                        for i, r in enumerate(rows)
                    ]
                ),
                row[column],
            )


def written(rows):
    return "".join(",".join(row) + "\n" for row in rows)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 1])
def test_a_table_that_was_cut(study, summarized, tmp_path, name, share):
    content = (study / name).read_bytes()
    (tmp_path / name).write_bytes(content[: max(1, int(share * (len(content) - 1)))])
    assert damage.outcome(summarized, tmp_path / name) == "refused"


def test_results_that_were_cut_between_two_lines(study, summarized, tmp_path):
    lines = (study / layout.RESULTS).read_text().splitlines(keepends=True)
    for kept in range(1, len(lines)):
        (tmp_path / layout.RESULTS).write_text("".join(lines[:kept]))
        assert damage.outcome(summarized, tmp_path / layout.RESULTS) == "refused"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("word", WORDS, ids=WORDS.values())
def test_a_word_in_the_first_row(study, summarized, tmp_path, name, word):
    content = (study / name).read_text()
    turn = list(WORDS).index(word)
    for place, (column, number, replace, before) in enumerate(cells(content)):
        if number > 1:
            break
        if (place + turn) % 3:  # a third of the words in each column: the summary takes 30 ms
            continue
        (tmp_path / name).write_text(replace(word))
        found = damage.outcome(summarized, tmp_path / name)
        refused = word in ("x", "\x00", '"') and column not in (
            "interval",
            "verdict",
            "metric",
            "quantity",
            *IDENTITY,
            "model_type",
        )
        refused |= column == "model_type" and name in (layout.RESULTS, layout.ALL_TRIALS)
        refused |= column in ("train_size", "trial", "n_trials") and name != layout.STATISTICS and word != "9" * 400
        assert found == "refused" or not refused, (column, before)


@pytest.mark.parametrize("word", WORDS, ids=WORDS.values())
def test_a_word_in_the_metrics_of_a_trial(tmp_path, word):
    content = (
        "trial,model,metric,amplitude,phase,value,status\n1,PtychoPINN,psnr,1.5,2.5,,ok\n1,Baseline,psnr,1,2,,ok\n"
    )
    path = tmp_path / "comparison_metrics.csv"
    for column, _, replace, _ in cells(content):
        path.write_text(replace(word))
        found = damage.outcome(read_trial, path)
        assert (
            found == "refused"
            or column in ("model", "metric")
            or (column != "trial" and word not in ("x", "\x00", '"'))
        )


@pytest.mark.parametrize("trial", ["1.5", "1e30", "0", "-1", "inf", "nan", "", "x"])
def test_a_trial_that_is_no_whole_number(tmp_path, trial):
    (tmp_path / "metrics.csv").write_text(f"trial,model,metric,amplitude,phase,value,status\n{trial},A,psnr,1,2,,ok\n")
    with pytest.raises(InputError, match="trial"):
        read_metrics(tmp_path / "metrics.csv")


@pytest.mark.parametrize("seed", range(40))
def test_damage_to_a_table_ends_in_no_traceback(study, summarized, tmp_path, seed):
    """A changed digit cannot be noticed; everything else is refused, or read as it is."""
    name = NAMES[seed % len(NAMES)]
    (tmp_path / name).write_bytes(damage.damaged((study / name).read_bytes(), seed))
    damage.outcome(summarized, tmp_path / name)
    trial = (study / "train_16/trial_1/comparison_metrics.csv").read_bytes()
    (tmp_path / "metrics.csv").write_bytes(damage.damaged(trial, seed))
    damage.outcome(read_trial, tmp_path / "metrics.csv")


@pytest.mark.parametrize(
    "content", ["hello\n", "a,b\n1,2\n1,2,3\n", "a,b\n1\n", "a,a\n1,2\n", "\x00\x01\n", "model_type\n", "\n"]
)
@pytest.mark.parametrize("name", NAMES)
def test_text_that_is_no_table(study, summarized, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert damage.outcome(summarized, tmp_path / name) == "refused"


def test_a_damaged_table_of_all_trials_is_not_taken_for_the_trials(study, tmp_path):
    content = (study / layout.ALL_TRIALS).read_text()
    path = tmp_path / layout.ALL_TRIALS
    path.write_text(content)
    assert read_wide(path) is not None
    for damaged in (content[:-1], content[:-9], content.replace("16,1,", "16.5,1,"), content.replace(",ok,", ",fine,")):
        path.write_text(damaged)
        assert read_wide(path) is None


# configuration ------------------------------------------------------------------------------------------

VALUES = [None, True, -1, 0.5, 1e300, float("nan"), 10**400, "x", "", [], [[]], {}, {"x": 1}, [1, "x"], "../..", "\x00"]


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_values_in_a_configuration(number):
    """A value of another kind is refused in one line; what is accepted is what was written."""
    from dataclasses import asdict

    message = ""
    whole = json.loads(json.dumps(asdict(StudyConfig())))
    for place in list(damage.places(whole))[number % 3 :: 3]:  # building the checks of a section takes 10 ms
        changed = damage.replaced(whole, place, VALUES[number])
        try:
            found = asdict(StudyConfig.from_mapping(changed))
        except InputError as error:
            message = str(error)
            continue
        finally:
            assert "\n" not in message, place
            assert len(message) < 1000
        for key in place:
            found = found[key]
        expected = VALUES[number]
        if isinstance(expected, list):
            assert len(found) == len(expected)
        elif not isinstance(expected, dict):  # an empty section has the defaults
            assert found == expected or expected is None, place


@pytest.mark.parametrize(
    "content",
    [
        "seed: !!python/object/apply:os.system ['touch ran']", "seed: !!python/name:os.system", "seed: *unknown",
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\nseed: *d", "seed: 2001-99-99", "seed: " + "9" * 5000, "[" * 3000,
        "seed: {", "- seed", "\x00", "seed: &a [*a]", "? {seed: 1}: 2", "seed: 1\nseed: 2\nsee: 3", "12", "'",
    ],
)  # fmt: skip
def test_a_configuration_that_is_none(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / layout.STUDY_CONFIG
    path.write_text("seed: 1")
    assert samples.read_config(path)  # the checks are built, which runs code of pydantic's own
    path.write_text(content)
    assert damage.outcome(samples.read_config, path) == "warned"
    assert not (tmp_path / "ran").exists()
