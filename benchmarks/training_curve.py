"""Draw the curves of a pretraining run from its log.

    python benchmarks/training_curve.py RUN --picture curve.png

Left the loss, right the alignment: of the pairs trained on (means of a row of the log) and of the
fixed validation pairs.
"""

import argparse
import csv
from pathlib import Path


def main() -> None:
    from matplotlib import pyplot as plt

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--picture", type=Path, required=True)
    options = parser.parse_args()
    with open(options.run / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    checked = [row for row in rows if row["val_loss"]]
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    for panel, name in zip(axes, ("loss", "alignment"), strict=True):
        for label, kept, column in (
            ("trained on", rows, name),
            ("validation", checked, f"val_{name}"),
        ):
            style = "o-" if kept is checked else "-"
            steps = [int(row["step"]) for row in kept]
            panel.plot(steps, [float(row[column]) for row in kept], style, label=label)
        panel.set(xlabel="step", ylabel=name)
        panel.legend()
    figure.savefig(options.picture, dpi=110)


if __name__ == "__main__":
    main()
