"""A page of MONAI: BasicUNet on crops about labels, for so many seconds."""

import time
from collections.abc import Sequence

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from monai.transforms import Compose, NormalizeIntensityd, RandCropByPosNegLabeld, SpatialPadd

from anyvox_keras.segmentation import Case

SIDE = (48, 48, 48)
CROPS = 4


class Recipe:
    """The trained network behind what the benchmark asks for."""

    def __init__(self, net: BasicUNet) -> None:
        self.net = net.eval()

    def label_map(self, image: np.ndarray) -> np.ndarray:
        """Segment `(D, H, W)` by windows."""
        x = torch.from_numpy((image - image.mean()) / (image.std() + 1e-8))[None, None]
        with torch.no_grad():
            logits = sliding_window_inference(
                x, SIDE, 4, self.net, overlap=0.25, mode="gaussian", padding_mode="constant"
            )
        return logits.argmax(1)[0].numpy()


def train_recipe(cases: Sequence[Case], classes: int, seconds: float, seed: int) -> Recipe:
    """Train until the time is over.

    AdamW 1e-3 with polynomial decay over the time, Dice with cross-entropy, z-scores (of scans that
    are scaled as ours are), four crops a step, about labels two times in three.

    Args:
        cases: To learn from.
        classes: Beside the background.
        seconds: Of the training.
        seed: Of weights and crops.
    """
    begin = time.perf_counter()
    torch.manual_seed(seed)
    net = BasicUNet(3, 1, classes + 1, features=(16, 16, 32, 64, 128, 16))
    crop = Compose(
        [
            NormalizeIntensityd("image"),
            SpatialPadd(("image", "label"), SIDE),
            RandCropByPosNegLabeld(
                ("image", "label"), "label", SIDE, pos=2, neg=1, num_samples=CROPS
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
    while (part := (time.perf_counter() - begin) / seconds) < 1:
        for group in adam.param_groups:
            group["lr"] = 1e-3 * (1 - part) ** 0.9
        crops = crop(volumes[rng.integers(len(volumes))])
        images, labels = (
            torch.stack([c[k].as_tensor() for c in crops]) for k in ("image", "label")
        )
        adam.zero_grad()
        loss(net(images), labels).backward()
        adam.step()
    return Recipe(net)
