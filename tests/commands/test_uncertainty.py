"""The command on made studies whose spread and error are known."""

import numpy as np
import pandas as pd
import pytest

from ptycho.io import npz, text
from ptycho.plotting import style
from ptycho.results import layout, schema

TRUTH = 10 * np.exp(0.1j * np.arange(20).reshape(4, 5) / 20)
FIGURES = {
    f"{name}.{end}"
    for name in ("uncertainty_calibration", "uncertainty_amp_by_size", "uncertainty_phase_by_size")
    for end in ("png", "pdf")
}
NAMES = {"pinn": "PtychoPINN", "baseline": "Baseline", "iterative": "Iterative"}


@pytest.fixture
def run(command, monkeypatch):
    """Run the command in this process without saving the figures; return None, or what it says as it fails."""
    monkeypatch.setattr(style, "save_figure", lambda *_, **__: None)
    return command("summarize_uncertainty")


def image(error):
    """Return an object whose amplitude and phase differ from the truth by ``error`` and a tenth of it."""
    covered = np.arange(20).reshape(4, 5) > 0
    return np.where(covered, (np.abs(TRUTH) + error) * np.exp(1j * (np.angle(TRUTH) + error / 10)), 0)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes one trial: the error of each arm, and its status where it is not ok."""

    def trial(errors, size=64, number=1, branch="", truth=TRUTH, objects=True, **statuses):
        directory = tmp_path / branch / f"train_{size}" / f"trial_{number}"
        rows = [
            (NAMES[arm], "rmse", 0.5, 0.05, np.nan, statuses.get(arm, "ok" if truth is not None else "no_truth"))
            for arm in errors
        ]
        text.write_csv(directory / layout.COMPARISON_METRICS, pd.DataFrame(rows, columns=schema.COLUMNS))
        arrays = {f"{arm}_complex": image(error).astype(np.complex64) for arm, error in errors.items()}
        arrays |= {} if truth is None else {"ground_truth_complex": truth.astype(np.complex64)}
        if objects:
            npz.write_npz(directory / layout.RECONSTRUCTIONS, arrays)
        return tmp_path

    return trial


def table(study):
    return text.read_csv(study / layout.UNCERTAINTY, text=("variant", "note"))


def only(rows, **values):
    for name, value in values.items():
        rows = rows[rows[name] == value]
    return rows


def test_the_numbers_of_a_study_by_hand(run, write):
    for number, error in enumerate((-1, 2, 5), start=1):
        study = write({"pinn": error, "baseline": error + 1}, number=number)
    assert run(study, "--dpi", 50) is None
    found = table(study)
    assert set(found["pixels"].dropna()) == {19, 2, 1}  # one of 20 is not covered; bins of two, and of one
    for part, unit in (("amplitude", 1), ("phase", 0.1)):
        # errors -1, 2, 5 (mean 2, s = 3, mean square 10) and 0, 3, 6 (mean 3, s = 3, mean square 15)
        for arm, mean, square in (("pinn", 2, 10), ("baseline", 3, 15)):
            rows = only(found, train_size=64, model_type=arm, part=part)
            assert rows["row"].tolist() == ["all", *["bin"] * 10, *["coverage"] * 2]
            assert set(rows["trials"]) == {3}
            assert set(rows["excluded"]) == {0}
            assert rows["note"].isna().all()
            for row in rows[rows["row"] != "coverage"].itertuples():
                expected = np.array([3, mean, np.sqrt(square)]) * unit
                assert (row.spread, row.rmse_mean, row.rmse_trial) == pytest.approx(tuple(expected), rel=1e-4)
        shares = only(found, model_type="pinn", part=part, row="coverage")
        assert shares[["sigmas", "coverage"]].to_numpy().tolist() == [[1, 1], [2, 1]]
        # Student's t with two degrees of freedom, at k / sqrt(4/3)
        assert shares["expected_coverage"].tolist() == pytest.approx([np.sqrt(3 / 11), np.sqrt(3 / 5)])


def test_a_systematic_error_is_not_covered(run, write):
    for number, error in enumerate((2.9, 3, 3.1), start=1):
        study = write({"pinn": error}, number=number)
    assert run(study, "--dpi", 50) is None
    assert only(table(study), row="coverage")["coverage"].tolist() == [0, 0, 0, 0]


def test_failed_trials_and_those_without_objects_are_counted_and_told(run, write):
    for number, error in enumerate((-1, 2, 5), start=1):
        write({"pinn": error, "baseline": error}, number=number)
    write({"pinn": 80, "baseline": 8}, number=4, pinn="diverged")
    study = write({"pinn": 80, "baseline": 8}, number=5, objects=False)
    assert run(study, "--dpi", 50) is None
    pinn, baseline = (
        only(table(study), model_type=arm, part="amplitude", row="all").iloc[0] for arm in NAMES if arm != "iterative"
    )
    assert (pinn["trials"], pinn["excluded"]) == (3, 2)
    assert pinn["note"] == "trial 4: diverged; trial 5: no reconstructions.npz"
    assert pinn["spread"] == pytest.approx(3, rel=1e-5)
    assert (baseline["trials"], baseline["excluded"], baseline["note"]) == (4, 1, "trial 5: no reconstructions.npz")
    # -1, 2, 5, 8: mean 3.5, s² = (4.5² + 1.5² + 1.5² + 4.5²) / 3 = 15
    assert baseline["spread"] == pytest.approx(np.sqrt(15), rel=1e-5)


def test_fewer_than_three_trials_give_words_and_no_number(run, write):
    write({"pinn": 1}, number=1)
    write({"pinn": 2}, number=2, pinn="collapsed")
    study = write({"pinn": 3}, number=3)
    assert run(study, "--dpi", 50) is None
    found = table(study)
    assert found[["part", "row"]].to_numpy().tolist() == [["amplitude", "all"], ["phase", "all"]]
    assert set(found["note"]) == {"2 of at least 3 trials; trial 2: collapsed"}
    assert found[["spread", "rmse_mean", "rmse_trial", "coverage", "expected_coverage", "pixels"]].isna().all(axis=None)


def test_figures_are_written_whether_or_not_there_is_a_spread(command, write):
    run = command("summarize_uncertainty")
    study = write({"pinn": 1}, number=1)
    assert run(study, "--dpi", 50) is None
    figures = [study / name for name in FIGURES]
    sizes = [path.stat().st_size for path in figures]
    for number in (2, 3):
        write({"pinn": number}, number=number)
    assert run(study, "--dpi", 50) is None
    assert all(path.stat().st_size > size for path, size in zip(figures, sizes, strict=True))


def test_one_reconstruction_for_all_trials_has_no_spread(run, write):
    for number in (1, 2, 3):
        study = write({"pinn": number, "iterative": 1}, number=number)
    assert run(study, "--dpi", 50) is None
    found = only(table(study), model_type="iterative")
    assert set(found["note"]) == {"the same reconstruction in every trial: no spread"}
    assert found[["spread", "rmse_mean"]].isna().all(axis=None)


def test_without_a_ground_truth_nothing_is_compared(run, write):
    for number in (1, 2, 3):
        study = write({"pinn": number}, number=number, truth=None)
    assert run(study, "--dpi", 50) is None
    assert set(table(study)["note"]) == {"no ground truth: neither aligned nor compared"}


def test_variants_and_sizes_are_apart_and_flags_select_them(run, write, tmp_path):
    for number in (1, 2, 3):
        write({"pinn": number}, number=number)
        write({"pinn": 2 * number}, number=number, size=128)
        study = write({"pinn": 3 * number}, number=number, branch="variants/wide")
    assert run(study, "--dpi", 50) is None
    spreads = only(table(study), row="all", part="amplitude").set_index(["train_size", "model_type"])["spread"]
    assert spreads.to_dict() == pytest.approx({(64, "pinn"): 1, (128, "pinn"): 2, (64, "pinn_wide"): 3}, rel=1e-4)
    out = tmp_path / "out"
    words = ("--output_dir", out, "--variants", "--train-sizes", 128, "--dpi", 50)
    assert run(study, *words) is None
    assert set(table(out)["train_size"]) == {128}


def test_trials_of_different_objects_are_refused_in_one_line(run, write):
    write({"pinn": 1}, number=1)
    study = write({"pinn": 1}, number=2, truth=TRUTH * 1.1)
    assert run(study).endswith("repeat the comparisons of this size")
    study = write({"pinn": 1}, number=2, truth=TRUTH[:3])
    assert "trial_2/reconstructions.npz: its ground truth is not that of" in run(study)


def test_a_missing_object_is_named(run, write):
    for number in (1, 2, 3):
        study = write({"pinn": number}, number=number)
    path = study / "train_64/trial_2/reconstructions.npz"
    npz.write_npz(path, {"ground_truth_complex": TRUTH, "tike_complex": TRUTH})
    assert "no object of pinn; it holds ground_truth_complex, tike_complex" in run(study)


def test_an_empty_directory_is_named(run, tmp_path):
    assert "no results" in run(tmp_path)
