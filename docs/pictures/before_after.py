"""The moving picture of the first page: a line that wipes between two heads, before and after.

`KERAS_BACKEND=torch python docs/pictures/before_after.py --out docs/images/before_after.webp`
"""

import argparse
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import anyvox_keras as avx
from anyvox_keras.cli._demo_pair import make_demo_pair
from anyvox_keras.pictures import window
from anyvox_keras.pictures.drawing import BACKGROUND, TEXT, Cut

#: the R, A, S axis that each row's plane cuts, pixels per millimetre, frames of one way
AXES, SCALE, FRAMES = (2, 1), 1.6, 20
GAP, HEAD = 14, 30


def rows_of(cut: Cut, array: np.ndarray) -> list[np.ndarray]:
    """Planes of a windowed image, as one looks at them: the patient's right on the left."""
    planes = []
    for axis in AXES:
        plane = cut.plane(array, axis)[::-1, ::-1]
        size = [round(SCALE * mm) for mm in cut.size(axis)]
        image = Image.fromarray((255 * plane).astype("uint8"))
        planes.append(np.asarray(image.resize(size, Image.Resampling.BICUBIC)))
    return planes


def frames(fixed: list[np.ndarray], others: dict[str, list[np.ndarray]]) -> Iterator[Image.Image]:
    """The line goes from left to right and back; what is left of it is the fixed image."""
    width = max(plane.shape[1] for plane in fixed)
    height = sum(plane.shape[0] for plane in fixed) + GAP
    font = ImageFont.load_default(15)
    share = (1 - np.cos(np.linspace(0, 2 * np.pi, 2 * FRAMES, endpoint=False))) / 2
    for line in (0.1 + 0.8 * share) * width:
        frame = Image.new("RGB", (2 * width + 3 * GAP, height + HEAD + GAP), BACKGROUND)
        pen = ImageDraw.Draw(frame)
        for column, (name, planes) in enumerate(others.items()):
            left, top = GAP + column * (width + GAP), HEAD
            pen.text((left, 6), name, TEXT, font)
            for here, there in zip(fixed, planes, strict=True):
                wiped = np.where(np.arange(here.shape[1]) < line, here, there)
                frame.paste(Image.fromarray(wiped), (left, top))
                x = left + round(line)
                pen.line((x, top, x, top + here.shape[0]), "#58a6ff", 2)
                top += here.shape[0] + GAP
        yield frame


def main() -> None:
    """Register the demonstration's pair, and wipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="before_after.webp")
    out = parser.parse_args().out
    pair = make_demo_pair()
    result = avx.register(pair.fixed, pair.moving, features="mind")
    error = pair.error_mm(), pair.error_mm(result.displacement)
    cut = Cut.of(pair.fixed.grid, np.asarray(pair.fixed.shape) // 2 + [0, 3, 2])
    fixed, before, after = (
        rows_of(cut, window(image)) for image in (pair.fixed.array, result.before, result.moved)
    )
    named = {
        f"T1 | other contrast, before ({error[0]:.1f} mm apart)": before,
        f"after ({error[1]:.1f} mm)": after,
    }
    first, *rest = frames(fixed, named)
    first.save(out, save_all=True, append_images=rest, duration=70, loop=0, quality=70, method=3)


if __name__ == "__main__":
    main()
