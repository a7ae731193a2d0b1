"""A page of MONAI: BasicUNet on crops about labels, for so many seconds or steps."""

import itertools
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from monai.transforms import Compose, NormalizeIntensityd, RandCropByPosNegLabeld, SpatialPadd

from anyvox_keras.segmentation import Case

CROPS = 4


class Recipe:
    """The trained network behind what the benchmark asks for."""

    def __init__(self, net: BasicUNet, window: Sequence[int]) -> None:
        self.net, self.window = net.eval(), window

    def label_map(self, image: np.ndarray) -> np.ndarray:
        """Segment `(D, H, W)` by windows."""
        x = torch.from_numpy((image - image.mean()) / (image.std() + 1e-8))[None, None]
        with torch.no_grad():
            logits = sliding_window_inference(
                x, self.window, 4, self.net, overlap=0.25, mode="gaussian", padding_mode="constant"
            )
        return logits.argmax(1)[0].numpy()


def train_recipe(
    cases: Sequence[Case],
    classes: int,
    side: int,
    seed: int,
    seconds: float,
    steps: int | None = None,
) -> Recipe:
    """Train until the time is over, or the steps are done.

    AdamW 1e-3 with polynomial decay, Dice with cross-entropy, z-scores (of scans that are scaled as
    ours are), four crops a step, about labels two times in three.

    Args:
        cases: To learn from.
        classes: Beside the background.
        side: Of the crops.
        seed: Of weights and crops.
        seconds: Of the training, where no steps are given.
        steps: How many of them there are.
    """
    torch.manual_seed(seed)
    sides = (side,) * 3
    net = BasicUNet(3, 1, classes + 1, features=(16, 16, 32, 64, 128, 16))
    crop = Compose(
        [
            NormalizeIntensityd("image"),
            SpatialPadd(("image", "label"), sides),
            RandCropByPosNegLabeld(
                ("image", "label"), "label", sides, pos=2, neg=1, num_samples=CROPS
            ),
        ]
    ).set_random_state(seed)
    volumes = [
        {"image": torch.from_numpy(c.image[None]), "label": torch.from_numpy(c.label_map[None])}
        for c in cases
    ]
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    adam = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-5)
    rng = np.random.default_rng(seed)
    for part in _parts(seconds, steps):
        for group in adam.param_groups:
            group["lr"] = 1e-3 * (1 - part) ** 0.9
        crops = crop(volumes[rng.integers(len(volumes))])
        images, labels = (
            torch.stack([c[k].as_tensor() for c in crops]) for k in ("image", "label")
        )
        adam.zero_grad()
        loss(net(images), labels).backward()
        adam.step()
    return Recipe(net, sides)


def _parts(seconds: float, steps: int | None) -> Iterator[float]:
    """Tell before each step which share of the training is done."""
    begin = time.perf_counter()
    for step in itertools.count():
        part = step / steps if steps else (time.perf_counter() - begin) / seconds
        if part >= 1:
            return
        yield part
