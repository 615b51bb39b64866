import pandas as pd
import pytest

from ptycho.errors import InputError
from ptycho.io import text
from ptycho.results import schema
from ptycho.study import artifacts, tables
from ptycho.study.trials import missing_trials, read_trials


def test_reads_trials_in_order_with_the_stated_columns(known):
    trials = read_trials(known)
    assert list(trials.columns) == schema.TRIAL_COLUMNS
    assert list(dict.fromkeys(zip(trials.train_size, trials.trial, strict=True))) == [
        (64, 1), (64, 2), (64, 3), (1024, 1),
    ]  # fmt: skip
    assert trials[["train_size", "trial"]].dtypes.map(lambda kind: kind.kind).tolist() == ["i", "i"]


def test_flat_layout_is_read_and_trial_directories_win_over_it(known, tmp_path):
    flat = tmp_path / "flat"
    trials = read_trials(known)
    per_size = tables.per_size(trials, 64)
    assert list(per_size.columns) == ["trial", *schema.COLUMNS]
    text.write_csv(flat / "train_64" / "comparison_metrics.csv", per_size)
    single = per_size[per_size["trial"] == 1].drop(columns=["trial", "status"])
    text.write_csv(flat / "train_128" / "comparison_metrics.csv", single)
    read = read_trials(flat)
    pd.testing.assert_frame_equal(
        read[read.train_size == 64].reset_index(drop=True),
        trials[trials.train_size == 64].reset_index(drop=True),
    )
    assert set(read.loc[read.train_size == 128, "trial"]) == {1}
    assert set(read.loc[read.train_size == 128, "status"]) == {"ok"}
    text.write_csv(known / "train_64" / "comparison_metrics.csv", single)
    pd.testing.assert_frame_equal(read_trials(known), trials)


def test_missing_trials_and_models_are_named(write_study):
    study = write_study({(64, 1): {"PtychoPINN": 30.0, "Baseline": 20.0}, (128, 1): {"PtychoPINN": 30.0}})
    trials = read_trials(study)
    assert missing_trials(trials, [(64, 1), (64, 2), (128, 1), (256, 1)]) == [(64, 2), (256, 1)]
    wide = tables.results_all_trials(trials)
    assert tables.models_without_result(wide) == [(128, 1, schema.Model("baseline"))]


@pytest.mark.parametrize("log", [None, "tensorboard/train/events.out.tfevents.1", "checkpoint-1.h5"])
def test_models_that_are_gone_are_excluded_with_what_started_from_them(write_study, log):
    study = write_study({(64, 1): {"PtychoPINN": 30.0, "Baseline": 20.0, "Refined": 35.0}})
    run = study / "train_64/trial_1/pinn_run"
    for name in filter(None, ("training.log", log)):
        text.write_text(run / name, "")
    assert set(read_trials(study)["model"]) == {"Baseline"}
    text.write_text(run / "wts.h5.zip", "")
    assert set(read_trials(study)["model"]) == {"PtychoPINN", "Baseline", "Refined"}


def test_an_empty_directory_says_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"no results; looked for train_\{size\}/trial_\{trial\}/comparison_metrics"):
        read_trials(tmp_path)
    with pytest.raises(InputError, match=r"no results for 7 training images"):
        tables.per_size(pd.DataFrame({"train_size": [8], "trial": [1]}), 7)
    with pytest.raises(InputError, match=r"reconstructions\.npz"):
        artifacts.read_objects(tmp_path, 64)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="phase"), "column phase missing"),
        (lambda t: t.assign(status="great"), "status great, expected one of ok"),
        (lambda t: t.assign(phase="many"), "must be numbers"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: t.assign(model=None), "without model"),
    ],
)
def test_bad_tables_are_refused(known, change, words):
    path = known / "train_64" / "trial_2" / "comparison_metrics.csv"
    text.write_csv(path, change(text.read_csv(path)))
    with pytest.raises(InputError, match=words) as error:
        read_trials(known)
    assert str(path) in str(error.value)
