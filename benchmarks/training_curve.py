"""Draw the curves of a pretraining from the logs of its stages, one after the other.

    python benchmarks/training_curve.py RUN [RUN ...] --picture curve.png

Left the loss, right the alignment: of the pairs trained on (means of a row of the log) and of the
fixed validation pairs. Stages may differ in what they minimise: dotted lines part them.
"""

import argparse
import csv
from pathlib import Path
from typing import Any


def main() -> None:
    from matplotlib import pyplot as plt

    from anyvox_keras.pictures import style

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--picture", type=Path, required=True)
    options = parser.parse_args()
    plt.rcParams.update(style())
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    first = 0
    for run in options.runs:
        with open(run / "log.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        for panel, name in zip(axes, ("loss", "alignment"), strict=True):
            if first:
                panel.axvline(first, color="0.5", linestyle=":")
            draw(panel, rows, first, name, labelled=not first)
        first += int(rows[-1]["step"])
    figure.savefig(options.picture, dpi=110)


def draw(panel: Any, rows: list[dict[str, str]], first: int, name: str, labelled: bool) -> None:
    """Draw one stage, whose first step comes after `first` of the stages before."""
    checked = [row for row in rows if row["val_loss"]]
    for label, kept, column, line, color in (
        ("trained on", rows, name, "-", "C0"),
        ("validation", checked, f"val_{name}", "o-", "C1"),
    ):
        steps = [first + int(row["step"]) for row in kept]
        values = [float(row[column]) for row in kept]
        panel.plot(steps, values, line, color=color, label=label if labelled else None)
    panel.set(xlabel="step", ylabel=name)
    panel.legend()


if __name__ == "__main__":
    main()
