"""MONAI's BasicUNet, trained as a `SegmentationRun` trains ours."""

import csv
from typing import Any

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet

from anyvox_keras.segmentation import SegmentationRun


class MonaiUNet:
    """MONAI's network behind the two things that `Predictor` reads."""

    def __init__(self, seed: int, classes: int) -> None:
        torch.manual_seed(seed)
        self.classes = classes
        self.net = BasicUNet(3, 1, classes + 1)

    def logits(self, image: Any) -> Any:
        """Map `(B, D, H, W, 1)` to `(B, classes + 1, D, H, W)`."""
        return self.net(image.movedim(-1, 1))

    def predict_on_batch(self, batch: np.ndarray) -> np.ndarray:
        """Return logits, channels last."""
        self.net.eval()
        with torch.no_grad():
            logits = self.logits(torch.from_numpy(batch.astype("float32")))
        return logits.movedim(1, -1).numpy()


def train_monai(run: SegmentationRun, classes: int) -> MonaiUNet:
    """Train with MONAI's own loss on the crops that the run's settings give, and keep the best.

    Args:
        run: Its folder receives `log.csv` and `best.pt`; with them nothing is left to do.
        classes: Beside the background.
    """
    model = MonaiUNet(run.settings.seed, classes)
    kept = run.folder / "best.pt"
    if not kept.exists():
        run.folder.mkdir(parents=True, exist_ok=True)
        best, rows = _fit(model, run)
        with open(run.folder / "log.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        torch.save(best, kept)
    model.net.load_state_dict(torch.load(kept))
    return model


def _fit(model: MonaiUNet, run: SegmentationRun) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Return the weights of the lowest validation loss, and a row a validation."""
    s = run.settings
    stream, validation = run.streams()
    loss = DiceCELoss(include_background=False, softmax=True, to_onehot_y=True)
    adam = torch.optim.Adam(model.net.parameters(), lr=s.learning_rate)
    law = torch.optim.lr_scheduler.CosineAnnealingLR(adam, -(-s.steps // s.epoch_steps))
    best: dict[str, Any] = {}
    rows: list[dict[str, float]] = []
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
            if scores["loss"] < min((row["val_loss"] for row in rows), default=np.inf):
                best = {name: value.clone() for name, value in model.net.state_dict().items()}
            rows.append({"step": step, **{f"val_{k}": v for k, v in scores.items()}})
    return best, rows
