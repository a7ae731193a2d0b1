"""Few-shot segmentation of the hippocampus: scratch, pretrained, and MONAI's BasicUNet.

    KERAS_BACKEND=torch python benchmarks/segmentation.py --out results [--weights PRESET]
        [--counts 1,3,10] [--seeds 3] [--steps 600] [--side 32] [--methods scratch,pretrained,monai]

Cases come from $ANYVOX_DATA/data/hippocampus (Medical Segmentation Decathlon, task 4) by the split
of hippocampus_split.json: seed s trains on volumes s n ... s n + n - 1 of the training list, in a
circle; all 20 test cases count. Every method gets the same crops, augmentation, steps, rates and
rule for the best weights. Methods `generalise` and `generalise-pretrained` train with the stream's
appearance effects; --copies tests all methods on inverted and on unevenly lit copies too.

results/table.csv holds a row a training, results/<training>/log.csv its learning curve, and
results/curve.png the Dice by number of training volumes. A killed benchmark goes on.
"""

import argparse
import csv
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from anyvox_keras.metrics import dice
from anyvox_keras.segmentation import (
    Case,
    CaseFiles,
    Dataset,
    Predictor,
    SegmentationRun,
    SegmentationSettings,
    load_case,
    load_run,
)

DATA = Path(os.environ.get("ANYVOX_DATA", Path(__file__).parents[2] / "shared"))
FOLDER = DATA / "data" / "hippocampus"
SPLIT = json.loads(Path(__file__).with_name("hippocampus_split.json").read_text(encoding="utf-8"))
CLASSES = ("anterior", "posterior")


def main() -> None:
    """Train every method with every number of volumes and every seed; print the means."""
    options = _options()
    test = [load_case(_files(name)) for name in SPLIT["test"][: options.test]]
    rows = []
    for count in map(int, options.counts.split(",")):
        for seed in range(options.seeds):
            for method in options.methods.split(","):
                rows.append(_row(method, count, seed, test, options))
                print(" ".join(f"{k}={v}" for k, v in rows[-1].items()), flush=True)
    with open(options.out / "table.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    _print_table(rows)
    _draw(rows, options.out / "curve.png")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", default="anyvox-base", help="For the methods `pretrained`.")
    parser.add_argument("--methods", default="scratch,pretrained,monai")
    parser.add_argument("--counts", default="1,3,10")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--width", type=int, default=16, help="Of the methods from scratch.")
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--validation", type=int, default=4, help="Validation cases in use.")
    parser.add_argument("--test", type=int, default=20, help="Test cases in use.")
    parser.add_argument("--copies", action="store_true", help="Test on changed copies too.")
    options = parser.parse_args()
    if "monai" in options.methods and keras.config.backend() != "torch":
        parser.error("the method monai needs KERAS_BACKEND=torch; it may add to another's --out")
    return options


def _files(name: str) -> CaseFiles:
    image, labels = (FOLDER / kind / f"{name}.nii.gz" for kind in ("images", "labels"))
    return CaseFiles(name, image, labels)


def _row(
    method: str, count: int, seed: int, test: list[Case], options: argparse.Namespace
) -> dict[str, Any]:
    """Train once and test; what an earlier run of the benchmark found is read."""
    folder = options.out / f"{method}-{count}-{seed}"
    if (folder / "row.json").exists():
        found: dict[str, Any] = json.loads((folder / "row.json").read_text(encoding="utf-8"))
        return found
    chosen = [SPLIT["training"][(seed * count + i) % 10] for i in range(count)]
    validation = SPLIT["validation"][: options.validation]
    dataset = Dataset([*map(_files, chosen)], [*map(_files, validation)], CLASSES)
    run = SegmentationRun(folder, _settings(method, seed, options), dataset)
    start = time.perf_counter()
    model = _monai_trained(run, folder) if method == "monai" else _trained(run, folder)
    seconds = time.perf_counter() - start
    predictor = Predictor([model], options.side, overlap=0.5)
    scores = {name: _test(predictor, cases) for name, cases in _copies(test, options.copies)}
    facts = {"method": method, "volumes": count, "seed": seed, "seconds": round(seconds)}
    row = {**facts, **{name: round(value, 4) for name, value in scores.items()}}
    (folder / "row.json").write_text(json.dumps(row), encoding="utf-8")
    return row


def _settings(method: str, seed: int, options: argparse.Namespace) -> SegmentationSettings:
    every = max(options.steps // 10, 1)
    pretrained = method.endswith("pretrained")
    sizes = {"weights": options.weights} if pretrained else {
        "weights": "scratch", "width": options.width, "levels": options.levels}  # fmt: skip
    return SegmentationSettings(
        seed=seed, side=options.side, steps=options.steps, batch_size=options.batch_size,
        learning_rate=options.learning_rate, epoch_steps=every, log_every=every,
        validate_every=every, overlap=0.5, balanced=True,
        generalise=method.startswith("generalise"), **sizes,
    )  # fmt: skip


def _trained(run: SegmentationRun, folder: Path) -> Any:
    run.train()
    return load_run(folder)[0]


class _BasicUNet:
    """MONAI's network behind the two things that `Predictor` reads."""

    def __init__(self, seed: int) -> None:
        import torch
        from monai.networks.nets import BasicUNet

        torch.manual_seed(seed)
        self.classes = len(CLASSES)
        self.net = BasicUNet(3, 1, self.classes + 1)

    def logits(self, image: Any) -> Any:
        """Map `(B, D, H, W, 1)` to `(B, classes + 1, D, H, W)`."""
        return self.net(image.movedim(-1, 1))

    def predict_on_batch(self, batch: np.ndarray) -> np.ndarray:
        """Return logits, channels last."""
        import torch

        self.net.eval()
        with torch.no_grad():
            logits = self.logits(torch.from_numpy(batch.astype("float32")))
        return logits.movedim(1, -1).numpy()


def _monai_trained(run: SegmentationRun, folder: Path) -> _BasicUNet:
    """Train MONAI's network with its own loss on the crops that ours gets."""
    import copy

    import torch
    from monai.losses import DiceCELoss

    s = run.settings
    model = _BasicUNet(s.seed)
    stream, validation = run.streams()
    loss = DiceCELoss(include_background=False, softmax=True, to_onehot_y=True)
    adam = torch.optim.Adam(model.net.parameters(), lr=s.learning_rate)
    epochs = -(-s.steps // s.epoch_steps)
    law = torch.optim.lr_scheduler.CosineAnnealingLR(adam, epochs)
    best, kept, rows = np.inf, None, []
    for step in range(1, s.steps + 1):
        with torch.no_grad():
            crops = stream.layer(stream[step - 1][0], training=True)
        model.net.train()
        value = loss(model.logits(crops["image"]), crops["label_map"][:, None])
        adam.zero_grad()
        value.backward()
        adam.step()
        if step % s.epoch_steps == 0:
            law.step()
        if step % s.validate_every == 0 or step == s.steps:
            scores = run.validate(model, validation)
            rows.append({"step": step, **{f"val_{k}": v for k, v in scores.items()}})
            if scores["loss"] < best:
                best, kept = scores["loss"], copy.deepcopy(model.net.state_dict())
    model.net.load_state_dict(kept)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return model


def _copies(test: list[Case], copies: bool) -> Iterator[tuple[str, list[Case]]]:
    """Yield the test cases as they are, turned around, and unevenly lit."""
    yield "dice", test
    if copies:
        yield "dice_inverted", [Case(c.name, 1 - c.image, c.label_map) for c in test]
        yield "dice_biased", [Case(c.name, _lit(c.image), c.label_map) for c in test]


def _lit(image: np.ndarray) -> np.ndarray:
    """Multiply by a smooth field between exp(-1) and exp(1), rescaled to [0, 1]."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in image.shape], indexing="ij")
    lit = image * np.exp(0.5 * x + 0.5 * y * z)
    return ((lit - lit.min()) / (lit.max() - lit.min())).astype("float32")


def _test(predictor: Predictor, cases: list[Case]) -> float:
    """Mean Dice over both labels and all cases."""
    scores = [dice(predictor.label_map(c.image), c.label_map, (1, 2)).values() for c in cases]
    return float(np.mean([value for case in scores for value in case]))


def _print_table(rows: list[dict[str, Any]]) -> None:
    names = [name for name in rows[0] if name.startswith("dice")]
    print(f"| method | volumes | {' | '.join(names)} | seconds |")
    print(f"|---|---|{'---|' * len(names)}---|")
    for method, count in dict.fromkeys((row["method"], row["volumes"]) for row in rows):
        own = [row for row in rows if (row["method"], row["volumes"]) == (method, count)]
        cells = [
            f"{np.mean([r[n] for r in own]):.3f} ({np.std([r[n] for r in own]):.3f})" for n in names
        ]
        seconds = np.mean([row["seconds"] for row in own])
        print(f"| {method} | {count} | {' | '.join(cells)} | {seconds:.0f} |")


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5))
    axes = figure.subplots()
    for method in dict.fromkeys(row["method"] for row in rows):
        counts = sorted({row["volumes"] for row in rows})
        values = [
            [r["dice"] for r in rows if (r["method"], r["volumes"]) == (method, n)] for n in counts
        ]
        means, spread = ([f(v) for v in values] for f in (np.mean, np.std))
        axes.errorbar(counts, means, spread, marker="o", capsize=3, label=method)
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.set_xlabel("training volumes")
    axes.set_ylabel("mean test Dice, mean and spread over seeds")
    axes.legend()
    figure.savefig(path, dpi=150, bbox_inches="tight")


if __name__ == "__main__":
    main()
