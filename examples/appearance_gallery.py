"""Draw each effect on one synthetic image: before and after, side by side.

    python examples/appearance_gallery.py [--side 64] [--out gallery]

Writes one PNG an effect, named for it, and `pipeline.png` with a label map and its two views.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import anyvox_keras as avx
from anyvox_keras.ops import _backend
from anyvox_keras.random import keys_for


def main() -> None:
    """Read the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("gallery"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    bank = avx.TemplateBank.geometric(count=50, side=options.side)
    # Plain views: a mixture and its texture, nothing else.
    off = {name: None for name in avx.Appearance().effects if name != "texture"}
    views = avx.PairedViews(avx.Appearance(**off))
    simple = avx.SyntheticStream(bank, options.side, seed=options.seed, views=views)
    image = next(simple.arrays())["view1"]

    for name, effect in avx.Appearance(noise={}).effects.items():
        effect.probability = 1.0
        with _backend.no_gradient():
            after = _backend.to_numpy(effect(image, keys=keys_for(options.seed, [1])))
        draw(options.out / f"{name}.png", {"before": image, name: after})
    pair = next(avx.SyntheticStream(bank, options.side, seed=options.seed).arrays())
    draw(options.out / "pipeline.png", pair)
    print(avx.Appearance().describe())
    print(f"pictures in {options.out}")


def draw(path: Path, volumes: dict[str, np.ndarray]) -> None:
    """Show the middle plane of each volume."""
    figure, axes = plt.subplots(1, len(volumes), figsize=(3 * len(volumes), 3.2))
    for axis, (name, volume) in zip(axes, volumes.items(), strict=True):
        volume = volume[0] if volume.ndim == 4 else volume[0, ..., 0]
        colours = "tab20" if volume.dtype == np.int32 else "gray"
        axis.imshow(volume[volume.shape[0] // 2], cmap=colours, interpolation="nearest")
        axis.set_title(name)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
