import ast
from pathlib import Path

import pandas as pd
import pytest

from ptycho.errors import InputError
from ptycho.io.text import write_text
from ptycho.results import layout, schema
from ptycho.study import metric_tables, tables
from ptycho.study.trials import read_trials

WIDE = (
    "model,psnr_amplitude,psnr_phase,mae_amp,seconds,note\nPtychoPINN,30,20,0.1,3,good\nPty-chi (ePIE),40,31,0.2,,x\n"
)
TIDY = "model,metric,amplitude,phase,value\nPtychoPINN,psnr,33,22,\nTike,psnr,41,32,\nTike,computation_time_s,,,7\n"


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_study_made_elsewhere_is_read(tmp_path, caplog):
    put(tmp_path / "train_subsample_512_groups_512" / layout.COMPARISON_METRICS, WIDE)
    put(tmp_path / "train_1024" / layout.COMPARISON_METRICS, TIDY)
    (tmp_path / "train_notes").mkdir()
    wide = tables.results_all_trials(read_trials(tmp_path))
    assert wide[["train_size", "model_type"]].to_numpy().tolist() == [
        [512, "pinn"], [512, "pty_chi_epie"], [1024, "pinn"], [1024, "tike"],
    ]  # fmt: skip
    assert wide["psnr_phase"].tolist() == [20, 31, 22, 32]
    assert wide["psnr_amp"].tolist() == [30, 40, 33, 41]
    assert wide["mae_amp"].tolist()[:2] == [0.1, 0.2]
    assert wide.loc[0, "seconds"] == 3
    assert wide.loc[3, "computation_time_s"] == 7
    assert set(wide["status"]) == {"ok"}
    assert "columns note hold no numbers" in caplog.text


def test_a_wide_table_over_trials(tmp_path):
    put(tmp_path / "train_64" / layout.COMPARISON_METRICS, "trial,model,psnr_phase\n1,PtychoPINN,20\n2,PtychoPINN,21\n")
    trials = read_trials(tmp_path)
    assert trials[["trial", "metric", "phase"]].to_numpy().tolist() == [[1, "psnr", 20], [2, "psnr", 21]]


def test_directories_of_trials_win_over_the_table_of_the_size(tmp_path):
    put(tmp_path / "train_64" / layout.COMPARISON_METRICS, TIDY)
    put(tmp_path / "train_64" / "trial_3" / layout.COMPARISON_METRICS, TIDY)
    assert list(layout.metric_files(tmp_path)) == [(64, 3)]


def test_two_directories_of_one_size_are_refused(tmp_path):
    for name in ("train_512", "train_subsample_512_groups_128"):
        put(tmp_path / name / layout.COMPARISON_METRICS, TIDY)
    with pytest.raises(InputError, match="train_512 and train_subsample_512_groups_128 are both of 512 images"):
        read_trials(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "column model, metric, amplitude, phase missing, expected .*; found a,b"),
        ("model,note\nTike,x\n", "column metric"),
        ("model,metric,amplitude,phase\n", "no rows"),
        ("model,metric,amplitude,phase\nTike,psnr,one,2\n", "must be numbers"),
    ],
)
def test_other_tables_are_refused_in_one_line(tmp_path, text, words):
    put(tmp_path / "train_64" / layout.COMPARISON_METRICS, text)
    with pytest.raises(InputError, match=words) as error:
        read_trials(tmp_path)
    assert "\n" not in str(error.value)


def test_an_empty_directory_says_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"no results; looked for train_\{size\}"):
        read_trials(tmp_path)


def test_times_come_from_histories_and_a_network_pays_after_so_many_scans(tmp_path):
    text = (
        TIDY.replace("Tike,comp", "PtychoPINN,comp").replace("Tike", "Iterative")
        + "Iterative,computation_time_s,,,27\n"
    )
    put(tmp_path / "train_64" / "trial_1" / layout.COMPARISON_METRICS, text)
    write_text(tmp_path / "train_64/trial_1/pinn_run/history.json", '{"epoch_seconds": [30, 31, 39]}')
    wide = tables.results_all_trials(read_trials(tmp_path))
    times = tables.times(tmp_path, wide).set_index("model_type")
    columns = ["training_s", "reconstruction_s", "break_even_scans"]
    assert times.loc["pinn", columns].tolist() == [100, 7, 5]  # 100 / (27 - 7)
    assert times.loc["iterative", "reconstruction_s"] == 27
    assert times.loc["iterative", ["training_s", "break_even_scans"]].isna().all()


def test_a_variant_with_data_of_its_own_pays_against_its_own_iterative_reference(tmp_path):
    seconds = {"PtychoPINN": 7, "Iterative": 27, "PtychoPINN_dense": 30, "Iterative_dense": 500, "PtychoPINN_wide": 17}
    rows = [
        {"train_size": 64, "trial": 1, "variant": variant, "arm": schema.MODEL_TYPES[arm], "model_type":
         schema.MODEL_TYPES[arm] + f"_{variant}" * bool(variant), "status": "ok", "computation_time_s": value}
        for (arm, _, variant), value in ((name.partition("_"), value) for name, value in seconds.items())
    ]  # fmt: skip
    for row in rows:
        branch = tmp_path / f"variants/{row['variant']}" if row["variant"] else tmp_path
        if row["arm"] == "pinn":
            write_text(branch / "train_64/trial_1/pinn_run/history.json", '{"epoch_seconds": [30, 31, 39]}')
    times = tables.times(tmp_path, pd.DataFrame(rows)).set_index("model_type")["break_even_scans"]
    assert times["pinn"] == pytest.approx(100 / 20)
    assert times["pinn_dense"] == pytest.approx(100 / 470)
    assert times["pinn_wide"] == pytest.approx(100 / 10)


def test_times_of_an_earlier_version_are_read(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("train_size,model_type,variant,arm,training_s,answer_s,scans_to_pay\n64,pinn,,pinn,100,7,5\n")
    table = metric_tables.read_study_table(path, [])
    assert table[["reconstruction_s", "break_even_scans"]].iloc[0].tolist() == [7, 5]


def test_names_of_metrics_are_made_harmless(tmp_path):
    rows = "model,metric,amplitude,phase\n" + "".join(
        f"12,{name},1,2\n" for name in ("x$(touch y)", "frc1/7", "trial", "7", "arm")
    )
    put(tmp_path / "train_64" / layout.COMPARISON_METRICS, rows)
    trials = read_trials(tmp_path)
    assert trials["metric"].tolist() == ["x_touch_y", "frc1_7", "metric_trial", "metric_7", "metric_arm"]
    assert tables.results_all_trials(trials)["model_type"].tolist() == ["12"]


def test_repetitions_without_numbers_are_refused(tmp_path):
    put(tmp_path / "train_64" / layout.COMPARISON_METRICS, "model,psnr_phase\nTike,20\nTike,21\n")
    with pytest.raises(InputError, match="Tike appears twice: number repetitions in a column trial"):
        read_trials(tmp_path)
    (tmp_path / "train_32" / "trial_1").mkdir(parents=True)
    (tmp_path / "train_32" / "trial_01").mkdir()
    with pytest.raises(InputError, match="trial_01 and trial_1 are one trial"):
        read_trials(tmp_path)


def test_variants_stand_beside_the_study_under_their_name(tmp_path):
    put(tmp_path / "train_64" / "trial_1" / layout.COMPARISON_METRICS, TIDY)
    put(tmp_path / "variants/wide_2/train_64/trial_1" / layout.COMPARISON_METRICS, TIDY)
    write_text(tmp_path / "variants/wide_2/train_64/trial_1/pinn_run/history.json", '{"epoch_seconds": [4]}')
    wide = tables.results_all_trials(read_trials(tmp_path))
    assert wide["model_type"].tolist() == ["pinn", "pinn_wide_2", "tike", "tike_wide_2"]
    assert wide["variant"].tolist() == ["", "wide_2", "", "wide_2"]
    assert wide["arm"].tolist() == ["pinn", "pinn", "tike", "tike"]
    assert [model.label for model in schema.models(wide).values()] == [
        "PtychoPINN", "PtychoPINN (wide_2)", "tike", "tike (wide_2)",
    ]  # fmt: skip
    times = tables.times(tmp_path, wide).set_index("model_type")["training_s"]
    assert times["pinn_wide_2"] == 4
    assert times.drop("pinn_wide_2").isna().all()
    assert set(read_trials(tmp_path, variants=[])["model"]) == {"PtychoPINN", "Tike"}


# names ---------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
RULES = [ROOT / "workflow" / "rules" / f"{name}.smk" for name in ("compare", "aggregate", "report")]
CODE = [*(ROOT / "ptycho").rglob("*.py"), *(ROOT / "workflow" / "scripts").glob("*.py"), *RULES]
NAMES = {value for name, value in vars(layout).items() if name.isupper() and isinstance(value, str) and "." in value}
NAMES |= set(layout.MODEL_FILES.values())


def written_out(text):
    """Return the file names of a study that stand in quotes in a text, alone or at the end of a path."""
    return {name for name in NAMES if f'"{name}"' in text or f'/{name}"' in text}


def test_file_names_are_recognized():
    assert len(NAMES) > 15
    assert written_out('f"{OUT}/results.csv", "history.json"') == {"results.csv", "history.json"}
    assert written_out('"reads results.csv" f"{OUT}/{layout.RESULTS}"') == set()


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_name_is_written_out_in_one_place(path):
    if path == Path(layout.__file__) or path.parent.name == "models":  # models may not import layout: see below
        return
    assert written_out(path.read_text()) == set()


def test_the_models_package_writes_the_files_that_the_layout_names():
    tree = ast.parse((ROOT / "ptycho" / "models" / "serialization.py").read_text())  # importing it loads TensorFlow
    (files,) = (n.value for n in tree.body if isinstance(n, ast.AnnAssign) and ast.unparse(n.target) == "FILES")
    assert ast.literal_eval(files) == layout.MODEL_FILES
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    for name in (layout.HISTORY, layout.PARAMS):  # written beside the .dill of the same stem
        assert str(Path(name).with_suffix(".dill")) in texts


def test_every_name_is_used():
    users = [*CODE, ROOT / "workflow" / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")]
    text = "".join(path.read_text() for path in users)
    own = Path(layout.__file__).read_text()
    names = [name for name in vars(layout) if name.isupper()]
    assert [name for name in names if f"layout.{name}" not in text and own.count(name) < 2] == []
