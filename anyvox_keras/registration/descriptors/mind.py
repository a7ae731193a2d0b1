"""MIND-SSC, a descriptor of local self-similarity that ignores the contrast."""

import math

import numpy as np
from keras import ops

from anyvox_keras.backend import is_eager_on_cpu
from anyvox_keras.ops import box_filter, pad
from anyvox_keras.types import Array

# The twelve pairs of face neighbours (axis offsets) that lie at a right angle to each other, in
# the channel order of the authors' C++ code, which ConvexAdam keeps.
_FACES = np.array([[-1, 0, 0], [0, 0, -1], [0, -1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]])
_PAIRS = (
    (4, 2), (5, 0), (2, 0), (5, 4), (2, 1), (5, 3), (1, 0), (4, 3), (5, 1), (3, 2), (4, 1), (3, 0)
)  # fmt: skip
CHANNELS = len(_PAIRS)


def mind_ssc(image: Array, radius: int = 1, dilation: int = 2) -> Array:
    """Describe each voxel by twelve patch distances among its six neighbours.

    With `D_k` the mean squared difference of the two patches of pair `k` (side `2 radius + 1`,
    centres `dilation` voxels from the voxel, border replicated), `m_k = D_k - min_k D_k` and
    `v = mean_k m_k`, held within a thousandth and a thousand times its mean over the volume (to
    which no voxel adds more than a hundred times what 95 % of those with any stay below, so that a
    few extreme ones, electrodes or clips, change nothing far away):

        MIND_k = exp(-m_k / v)

    Args:
        image: `(B, D, H, W, 1)` float; each sample is described by itself.
        radius: Of the patch, in voxels.
        dilation: Distance of the six neighbours, in voxels.

    Returns:
        `(B, D, H, W, 12)` float32 in `(0, 1]`.

    Raises:
        ValueError: If the image has more than one channel, or a size is below one.

    Reference:
        Heinrich et al., Towards realtime multimodal fusion for image-guided interventions using
        self-similarities, MICCAI 2013.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import mind_ssc

        descriptor = mind_ssc(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """
    if len(image.shape) != 5 or image.shape[-1] != 1:
        raise ValueError(f"`image` must be (B, D, H, W, 1). Received: {tuple(image.shape)}")
    if radius < 1 or dilation < 1:
        raise ValueError(f"`radius` and `dilation` must be >= 1. Received: {radius}, {dilation}")
    image = ops.cast(ops.convert_to_tensor(image), "float32")
    distances = _patch_distances(image, radius, dilation)
    above = distances - ops.min(distances, axis=0)
    spread = ops.mean(above, axis=0)
    middle = _middle(spread)
    similar = ops.exp(-above / ops.clip(spread, 1e-3 * middle + _TINY, 1e3 * middle + _TINY))
    return ops.transpose(similar, (1, 2, 3, 4, 0))


def _middle(spread: Array) -> Array:
    """Mean of each sample, `(B, 1, 1, 1)`, in which extremes are held back."""
    step = max(1, round((math.prod(spread.shape[1:]) / _SAMPLE) ** (1 / 3)))
    voxels = math.prod(-(-n // step) for n in spread.shape[1:])  # the batch may be unknown
    some = ops.sort(ops.reshape(spread[:, ::step, ::step, ::step], (-1, voxels)), axis=-1)
    constant = ops.sum(ops.cast(some <= 0, "int32"), axis=-1, keepdims=True)
    rank = constant + ops.cast(0.95 * ops.cast(some.shape[-1] - constant, "float32"), "int32")
    usual = ops.take_along_axis(some, ops.minimum(rank, some.shape[-1] - 1), axis=-1)
    held = ops.minimum(spread, _EXTREME * ops.reshape(usual, (-1, 1, 1, 1)))
    return ops.mean(held, axis=(1, 2, 3), keepdims=True)


# voxels that are sorted to find what is usual
_SAMPLE = 30_000
# times what is usual
_EXTREME = 100.0
# A constant image has no spread at all: 0 / tiny is 0 there, not NaN.
_TINY = 1e-30


def _patch_distances(image: Array, radius: int, dilation: int) -> Array:
    """Mean squared patch differences, `(12, B, D, H, W)`: long rows, which are fast to add up."""
    shape, size = image.shape[1:4], 2 * radius + 1
    padded = pad(image, ((dilation, dilation),) * 3, "edge")
    neighbours = [_crop(padded, dilation * (1 + face), shape) for face in _FACES]
    squares = [ops.square(neighbours[a] - neighbours[b]) for a, b in _PAIRS]
    if is_eager_on_cpu(image):
        # Small pieces stay in the cache; XLA instead would compute the squares 27 times over.
        means = ops.concatenate([box_filter(square, size, "edge") for square in squares], axis=0)
    else:
        means = box_filter(ops.concatenate(squares, axis=0), size, "edge")
    return ops.reshape(means, (CHANNELS, -1, *shape))


def _crop(x: Array, start: np.ndarray, shape: tuple[int, ...]) -> Array:
    i, j, k = (slice(int(s), int(s) + n) for s, n in zip(start, shape, strict=True))
    return x[:, i, j, k]
