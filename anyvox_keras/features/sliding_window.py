"""Inference by overlapping windows."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np


def sliding_window(
    volume: np.ndarray,
    predict: Callable[[np.ndarray], np.ndarray],
    window: Sequence[int],
    overlap: float = 0.8,
    sigma: float = 0.25,
    batch: int = 1,
) -> np.ndarray:
    """Predict windows of one volume and blend them, nearer voxels weighing more.

    Windows lie on a regular grid of step `side (1 - overlap)`, the last of each axis moved back
    into the volume. Each weighs by a separable Gaussian about its centre with std `sigma` times
    its side, at least 1e-3. MONAI's `sliding_window_inference` obeys the same law.

    Args:
        volume: `(D, H, W, C)`; an axis shorter than the window is one window.
        predict: Maps `(n, d, h, w, C)` to `(n, d, h, w, F)`.
        window: Sides of a window, voxels.
        overlap: Share of a window's side that its neighbour covers too, in [0, 1).
        sigma: Std of the weights, as a share of the window's side.
        batch: Windows predicted at once.

    Returns:
        `(D, H, W, F)` float32.
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"`overlap` must be in [0, 1). Received: overlap={overlap}")
    sides = tuple(min(n, side) for n, side in zip(volume.shape[:3], window, strict=True))
    weight = _weights(sides, sigma)[..., None]
    total: np.ndarray | None = None
    mass = np.zeros((*volume.shape[:3], 1), "float32")
    for places in _batched(_windows(volume.shape[:3], sides, overlap), batch):
        outputs = predict(np.stack([volume[place] for place in places]))
        if total is None:
            total = np.zeros((*volume.shape[:3], outputs.shape[-1]), "float32")
        for place, output in zip(places, outputs, strict=True):
            total[place] += weight * output
            mass[place] += weight
    return total / mass


def _windows(
    shape: Sequence[int], sides: Sequence[int], overlap: float
) -> Iterator[tuple[slice, ...]]:
    starts = []
    for n, side in zip(shape, sides, strict=True):
        step = max(1, int(side * (1 - overlap))) if side < n else side
        starts.append([min(i * step, n - side) for i in range(-(-(n - side) // step) + 1)])
    for corner in itertools.product(*starts):
        yield tuple(slice(a, a + side) for a, side in zip(corner, sides, strict=True))


def _weights(sides: Sequence[int], sigma: float) -> np.ndarray:
    weight = np.ones((), "float32")
    for side in sides:
        x = np.arange(side, dtype="float32") - (side - 1) / 2
        weight = weight[..., None] * np.exp(-(x**2) / (2 * (sigma * side) ** 2))
    return np.maximum(weight, 1e-3).astype("float32")


def _batched(places: Iterator[tuple[slice, ...]], size: int) -> Iterator[list[tuple[slice, ...]]]:
    while part := list(itertools.islice(places, size)):
        yield part
