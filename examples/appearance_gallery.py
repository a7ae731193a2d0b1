"""Draw every effect on one synthetic image: before and after, one picture a group.

    python examples/appearance_gallery.py [--side 64] [--out gallery]

Writes `labels.png`, `pipeline.png` and a PNG for each group of effects.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import anyvox_keras as avx
from anyvox_keras import backend
from anyvox_keras.pictures import style
from anyvox_keras.random import keys_for
from anyvox_keras.synthesis.appearance import Motion
from anyvox_keras.synthesis.augmentation import TrainTimeAugmentation

GROUPS = {
    "contrast": ("texture", "bias", "contrast", "inversion"),
    "k_space": ("spike", "gibbs", "ghosting", "motion"),
    "resolution": ("blur", "sharpen", "resolution", "slices"),
    "noise": ("noise", "rician", "cut_out"),
}
#: Optional effects, and settings that show on a small picture.
SETTINGS = {
    "bias": {"coefficients": (-0.3, 0.3)},
    "spike": {"intensity": 1.1},
    "ghosting": {"ghosts": (4, 4), "intensity": 1.0},
    "contrast": {"gamma": 2.0},
    "inversion": {},
    "blur": {"sigma": 1.0},
    "gibbs": {"alpha": 0.6},
    "sharpen": {"alpha": 30.0},
    "resolution": {"zoom": 0.5},
    "slices": {},
    "rician": {},
    "noise": {},
    "cut_out": {"extent": 0.5},
}


def main() -> None:
    """Read the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("gallery"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update(style())
    bank = avx.TemplateBank.geometric(count=50, side=options.side)
    keys = keys_for(options.seed, [0])

    draw(options.out / "labels.png", label_maps(bank, options.side, keys))
    pair = next(avx.SyntheticStream(bank, options.side, seed=options.seed).arrays())
    augmented = TrainTimeAugmentation()(pair, keys=keys, training=True)
    trained = {f"{name}, train time": backend.to_numpy(x) for name, x in augmented.items()}
    draw(options.out / "pipeline.png", {**pair, **trained}, columns=3)

    appearance = avx.Appearance(**SETTINGS)
    effects = {**appearance.effects, "motion": Motion()}
    image = plain_image(pair["label_map"], keys)
    for group, names in GROUPS.items():
        after = {name: applied(effects[name], image, keys) for name in names}
        draw(options.out / f"{group}.png", {"before": image, **after})
    print(avx.Appearance().describe())
    print(f"pictures in {options.out}")


def label_maps(bank: avx.TemplateBank, side: int, keys: np.ndarray) -> dict[str, np.ndarray]:
    """Paint one set of templates bare, in a foreground, and in an envelope."""
    maps = {}
    kinds = {"templates": (0.0, 0.0), "foreground": (1.0, 0.0), "envelope": (1.0, 1.0)}
    for name, (foreground, envelope) in kinds.items():
        ensemble = avx.LabelEnsemble(side, foreground=foreground, envelope=envelope)
        packed = bank.pack([np.arange(ensemble.templates)])
        maps[name] = backend.to_numpy(ensemble(packed, keys=keys))
    return maps


def plain_image(label_map: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Paint a mixture of Gaussians and nothing else."""
    mixture = avx.Appearance(mixture={"empty_background": 0.0}).mixture
    return backend.to_numpy(mixture(label_map, keys=keys))


def applied(effect: object, image: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Apply an effect for certain."""
    effect.probability = 1.0
    with backend.no_gradient():
        return backend.to_numpy(effect(image, keys=keys, training=True))


def draw(path: Path, volumes: dict[str, np.ndarray], columns: int = 5) -> None:
    """Show the middle plane of each volume."""
    columns = min(columns, len(volumes))
    rows = -(-len(volumes) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.9 * columns, 2.1 * rows))
    for axis in axes.flat:
        axis.axis("off")
    for axis, (name, volume) in zip(axes.flat, volumes.items(), strict=False):
        plane = volume[0, volume.shape[1] // 2]
        colours = "nipy_spectral" if plane.ndim == 2 else "gray"
        axis.imshow(plane.reshape(plane.shape[:2]), cmap=colours, interpolation="nearest")
        axis.set_title(name, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)


if __name__ == "__main__":
    main()
