"""Inference by overlapping windows."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np


def sliding_window(
    volume: np.ndarray,
    predict: Callable[[np.ndarray], np.ndarray],
    window: Sequence[int],
    overlap: float = 0.8,
    sigma: float = 0.25,
    batch: int = 1,
) -> np.ndarray:
    """Predict overlapping windows of one volume and blend them by Gaussian weights.

    Windows lie on a regular grid of step `side (1 - overlap)`; the last of each axis is moved back
    into the volume. The weights are a separable Gaussian about the window's centre with standard
    deviation `sigma` times its side, at least 1e-3, as in MONAI's `sliding_window_inference`.

    Args:
        volume: `(D, H, W, C)`; an axis shorter than the window is one window.
        predict: Maps `(n, d, h, w, C)` to `(n, d, h, w, F)`.
        window: Sides of a window, in voxels.
        overlap: Fraction of a window's side that its neighbour also covers, in [0, 1).
        sigma: Standard deviation of the weights, as a fraction of the window's side.
        batch: Number of windows predicted at once.

    Returns:
        `(D, H, W, F)` float32.
    """
    slabs = sliding_window_slabs(volume, predict, window, overlap, sigma, batch)
    return join_slabs(slabs, volume.shape[0])


def join_slabs(slabs: Iterable[tuple[slice, np.ndarray]], planes: int) -> np.ndarray:
    """Put slabs into one array of that many planes, which alone is held, not every slab beside it.

    Args:
        slabs: Each one's place on the first axis, and its `(d, H, W, F)`.
        planes: Length of the first axis; slabs fill all of it.
    """
    whole = np.zeros(0, "float32")
    for place, values in slabs:
        whole = whole if whole.size else np.empty((planes, *values.shape[1:]), values.dtype)
        whole[place] = values
    return whole


def sliding_window_slabs(
    volume: np.ndarray,
    predict: Callable[[np.ndarray], np.ndarray],
    window: Sequence[int],
    overlap: float = 0.8,
    sigma: float = 0.25,
    batch: int = 1,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield what `sliding_window` returns, slab after slab along the first axis.

    Only as many planes as a window is deep are held at once.

    Args:
        volume: `(D, H, W, C)`; an axis shorter than the window is one window.
        predict: Maps `(n, d, h, w, C)` to `(n, d, h, w, F)`.
        window: Sides of a window, in voxels.
        overlap: Fraction of a window's side that its neighbour also covers, in [0, 1).
        sigma: Standard deviation of the weights, as a fraction of the window's side.
        batch: Number of windows predicted at once.

    Yields:
        The slab's start on the first axis, and its `(d, H, W, F)` float32.
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"`overlap` must be in [0, 1). Received: overlap={overlap}")
    sides = tuple(min(n, side) for n, side in zip(volume.shape[:3], window, strict=True))
    weight = _weights(sides, sigma)[..., None]
    slab = (sides[0], *volume.shape[1:3])
    low = 0
    total: np.ndarray | None = None
    mass = np.zeros((*slab, 1), "float32")
    for place, output in _predictions(volume, predict, sides, overlap, batch):
        if total is None:
            total = np.zeros((*slab, output.shape[-1]), "float32")
        if done := place[0].start - low:
            yield slice(low, low + done), total[:done] / mass[:done]
            for planes in (total, mass):  # in place: another copy would be as large as the slab
                planes[:-done] = planes[done:]
                planes[-done:] = 0
            low += done
        total[:, *place[1:]] += weight * output
        mass[:, *place[1:]] += weight
    if total is not None:
        yield slice(low, low + sides[0]), total / mass


def _predictions(
    volume: np.ndarray,
    predict: Callable[[np.ndarray], np.ndarray],
    sides: Sequence[int],
    overlap: float,
    batch: int,
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    for places in _batched(_windows(volume.shape[:3], sides, overlap), batch):
        outputs = predict(np.stack([volume[place] for place in places]))
        yield from zip(places, outputs, strict=True)


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
