"""Tables and figures of the panel, for docs/performance.md. Imported by panel.py."""

from pathlib import Path

import numpy as np
import pandas as pd

KEYS = ["group", "label", "member", "size", "model", "trial"]
NAMES = {"pinn": "PtychoPINN", "baseline": "Baseline", "iterative": "rPIE, 20 iterations"}


def summary(rows: pd.DataFrame) -> str:
    """Return the medians over trials of all groups as text."""
    keys = ["group", "label", "member", "size", "model"]
    table = rows.groupby(keys)[["amplitude", "phase", "ssim_phase", "frc50_phase", "cpu_s"]].median()
    return str(table.assign(trials=rows.groupby(keys).size()).round(4).to_string())


def merged(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the rows of a csv file and ``rows``, which replace those of the same run, and write them to the file."""
    known = [pd.read_csv(path, keep_default_na=False, na_values=["nan"])] if path.exists() else []
    for table in known:  # where a training had been interrupted there is no number, and so an empty text
        table["cpu_s"] = pd.to_numeric(table["cpu_s"], errors="coerce")
    together = pd.concat([*known, rows.round(6)]).drop_duplicates(KEYS, keep="last").sort_values(KEYS)
    together.to_csv(path, index=False)
    return together


def write(rows: pd.DataFrame, titles: dict[str, str], docs: Path) -> None:
    """Write the tables between their marks in performance.md, and the figures to the images of the documentation.

    Printed is of which code the rows of each group are: a table may mix them.
    """
    print(rows.groupby(["group", "code"]).size().rename("rows").to_string())
    tables = {
        "panel": _clean(rows, titles),
        "panel_augmented": _augmented(rows, titles),
        "panel_choices": _choices(rows, titles),
        "panel_physics": _physics(rows, titles),
    }
    for name, table in tables.items():
        if table:
            insert(name, table, docs / "performance.md")
    _draw_panel(rows, titles, docs / "images" / "panel.png")
    _draw_physics(rows, titles, docs / "images" / "panel_physics.png")
    _draw_losses(rows, titles, docs / "images" / "learning_curves.png")


def insert(name: str, table: str, document: Path) -> None:
    """Write a table between the marks of its name in a document, if it has them."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    text = document.read_text(encoding="utf-8")
    if begin in text:
        before, rest = text.split(begin)
        document.write_text(before + begin + table + "\n" + end + rest.split(end)[1], encoding="utf-8")


def markdown(head: list[str], lines: list[list[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines])


def errors(part: pd.DataFrame) -> str:
    """Return amplitude / phase RMSE, the medians of runs, and how many are not ok; empty without runs."""
    if part.empty:
        return ""
    failed = int((part.status != "ok").sum())
    values = part[["amplitude", "phase"]].fillna(np.inf).median()  # a run without a value is the worst
    return f"{values.amplitude:.4f} / {values.phase:.3f}" + (f" ({failed} not ok)" if failed else "")


def _clean(rows: pd.DataFrame, titles: dict[str, str]) -> str:
    chosen = rows[rows.group == "clean"]
    head = [
        "input",
        "images",
        "PtychoPINN",
        "Baseline",
        "range of the phase: PtychoPINN",
        "Baseline",
        "FRC50 of the phase",
    ]
    head += ["CPU s", "trials", "rPIE"]
    lines = []
    for (member, size), part in chosen.groupby(["member", "size"]):
        models = [part[part.model == model] for model in ("pinn", "baseline")]
        ranges = [f"{model.phase.min():.3f} to {model.phase.max():.3f}" if len(model) else "" for model in models]
        rings, cpu = (
            " / ".join(
                "–" if np.isnan(model[key].median()) else f"{model[key].median():.0f}" for model in models if len(model)
            )
            for key in ("frc50_phase", "cpu_s")
        )
        reference = rows[(rows.group == "iterative") & (rows.member == member)]
        trials = " / ".join(str(len(model)) for model in models)
        lines.append([f"{member} {titles[member]}", str(size), *map(errors, models), *ranges, rings, cpu, trials])
        lines[-1].append(errors(reference))
    return markdown(head, lines) if lines else ""


def _augmented(rows: pd.DataFrame, titles: dict[str, str]) -> str:
    head = ["input", *(f"{NAMES[model]}, {kind}" for model in ("pinn", "baseline") for kind in ("clean", "augmented"))]
    lines = []
    for member, part in rows[rows.group == "augmented"].groupby("member"):
        size = part["size"].iloc[0]
        clean = rows[(rows.group == "clean") & (rows.member == member) & (rows["size"] == size) & (rows.trial == 1)]
        cells = [errors(table[table.model == m]) for m in ("pinn", "baseline") for table in (clean, part)]
        lines.append([f"{member} {titles[member]}", *cells])
    return markdown(head, lines) if lines else ""


def _choices(rows: pd.DataFrame, titles: dict[str, str]) -> str:
    chosen = rows[rows.group == "choices"]
    labels = list(dict.fromkeys(chosen.label))
    lines = []
    for model in ("pinn", "baseline"):
        for member, part in chosen[chosen.model == model].groupby("member"):
            cells = [errors(part[part.label == label]) for label in labels]
            lines.append([f"{member} {titles[member]}", NAMES[model], *cells])
    return markdown(["input", "model", *labels], lines) if lines else ""


def _physics(rows: pd.DataFrame, titles: dict[str, str]) -> str:
    chosen = rows[rows.group == "physics"]
    labels = list(dict.fromkeys(chosen.label))
    lines = []
    for (member, size), part in chosen.groupby(["member", "size"]):
        cells = [errors(part[part.label == label]) for label in labels]
        lines.append([f"{member} {titles[member]}", str(size), *cells])
    return markdown(["input", "images", *labels], lines) if lines else ""


def _axes(count: int) -> tuple[object, np.ndarray]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn as sns

    sns.set_theme(style="whitegrid", palette="colorblind", context="paper")
    columns = min(4, count)
    lines = -(-count // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(2.9 * columns, 2.5 * lines), layout="constrained", squeeze=False
    )
    for axis in axes.flat[count:]:
        axis.remove()
    return figure, axes


def _draw_panel(rows: pd.DataFrame, titles: dict[str, str], path: Path) -> None:
    """Draw the phase error against the training images for each input: medians, and bands from least to largest."""
    chosen = rows[rows.group == "clean"]
    members = sorted(chosen.member.unique())
    if not members:
        return
    figure, axes = _axes(len(members))
    for axis, member in zip(axes.flat, members, strict=False):
        for model in ("pinn", "baseline"):
            grouped = chosen[(chosen.member == member) & (chosen.model == model)].groupby("size").phase
            (line,) = axis.plot(grouped.median(), "o-", ms=4, label=NAMES[model])
            band = grouped.agg(["min", "max"])
            axis.fill_between(band.index, band["min"], band["max"], color=line.get_color(), alpha=0.2, lw=0)
        for value in rows[(rows.group == "iterative") & (rows.member == member)].phase:
            axis.axhline(value, color="0.4", ls="--", label=NAMES["iterative"])
        sizes = sorted(chosen[chosen.member == member]["size"].unique())
        axis.set_xscale("log", base=2)
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.set(title=f"{member} {titles[member]}", ylim=(0, 1.08 * axis.get_ylim()[1]))
    for axis in axes[:, 0]:
        axis.set_ylabel("phase RMSE (rad)")
    figure.supxlabel("training images", fontsize="medium")  # type: ignore[attr-defined]
    axes.flat[0].legend(fontsize="small")
    figure.savefig(path, dpi=150)  # type: ignore[attr-defined]


def _draw_physics(rows: pd.DataFrame, titles: dict[str, str], path: Path) -> None:
    """Draw the errors of the ways to train one network."""
    chosen = rows[rows.group == "physics"]
    members = sorted(chosen.member.unique())
    if not members:
        return
    figure, axes = _axes(2 * len(members))
    pairs = [(member, part) for member in members for part in ("amplitude", "phase")]
    for axis, (member, part) in zip(axes.flat, pairs, strict=False):
        for label in dict.fromkeys(chosen.label):
            line = chosen[(chosen.member == member) & (chosen.label == label)].sort_values("size")
            axis.plot(line["size"], line[part], "o-", ms=4, label=label)
        sizes = sorted(chosen[chosen.member == member]["size"].unique())
        axis.set_xscale("log", base=2)
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.set(title=f"{member} {titles[member]}", ylabel=f"{part} RMSE" + (" (rad)" if part == "phase" else ""))
        axis.set(xlabel="training images", ylim=(0, 1.08 * axis.get_ylim()[1]))
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize="small")  # type: ignore[attr-defined]
    figure.savefig(path, dpi=150)  # type: ignore[attr-defined]


def _draw_losses(rows: pd.DataFrame, titles: dict[str, str], path: Path) -> None:
    """Draw the validation losses of the clean trainings on 512 images, a line for each input."""
    chosen = rows[(rows.group == "clean") & (rows["size"] == 512)]
    if chosen.empty:
        return
    figure, axes = _axes(2)
    figure.set_size_inches(8, 3.2)  # type: ignore[attr-defined]
    for axis, model, unit in zip(axes.flat, ("pinn", "baseline"), ("deviance", "mean absolute error"), strict=True):
        for member, part in chosen[chosen.model == model].groupby("member"):
            losses = pd.DataFrame([[float(loss) for loss in text.split()] for text in part.val_loss]).median()
            axis.plot(losses.index + 1, losses, label=f"{member} {titles[str(member)]}")
        axis.set(yscale="log", xlabel="epoch", ylabel=unit, title=NAMES[model])
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize="small")  # type: ignore[attr-defined]
    figure.savefig(path, dpi=150)  # type: ignore[attr-defined]
