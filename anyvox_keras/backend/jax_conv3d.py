"""A 3D convolution and its gradients in a form that XLA computes fast on a CPU.

Measured on one core with JAX 0.10, float32, 16 channels at 64^3: XLA's own 3D convolution runs at
14 GFlop/s, the gradient with respect to the kernel at 5; the matrix products below at 70 and more.

On the flattened voxels, `(B D H W, C)`, each kernel tap is one row offset. A block of rows that
fits into the cache is taken at all depths of the kernel, side by side, and multiplied by the
kernel. That gives the contribution of each voxel to its neighbours in the plane; these are shifted
and added. The gradient with respect to the kernel is the transposed product.
"""

import jax
from jax import Array, lax, numpy as jnp

# Size of a block and its product in numbers: a megabyte of float32, about half a core's cache.
BLOCK = 2**18
FEWEST_ROWS = 64


@jax.custom_vjp
def conv3d_on_cpu(x: Array, kernel: Array) -> Array:
    """Convolve `(B, D, H, W, C)` with `(kd, kh, kw, C, F)`, stride 1, without padding."""
    depths, offsets = _offsets(x, kernel)
    channels, filters = kernel.shape[3:]
    length, blocks = _blocks(x, kernel)
    rows = _rows(x, 0, blocks * length + depths[-1] + offsets[-1])
    columns = kernel.transpose(0, 3, 1, 2, 4).reshape(len(depths) * channels, -1)

    def block(number: Array, out: Array) -> Array:
        start = number * length
        product = _product(_side_by_side(rows, start, length + offsets[-1], depths), columns, 1)
        parts = [
            product[offset : offset + length, tap * filters : (tap + 1) * filters]
            for tap, offset in enumerate(offsets)
        ]
        return lax.dynamic_update_slice(out, sum(parts).astype(x.dtype), (start, 0))

    out = lax.fori_loop(0, blocks, block, jnp.zeros((blocks * length, filters), x.dtype))
    batch, *space = x.shape[:4]
    whole = out[: batch * space[0] * space[1] * space[2]].reshape(batch, *space, filters)
    depth, height, width = (n - k + 1 for n, k in zip(space, kernel.shape, strict=False))
    return whole[:, :depth, :height, :width]


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return conv3d_on_cpu(x, kernel), (x, kernel)


def _backward(kept: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    x, kernel = kept
    around = [(0, 0), *((n - 1, n - 1) for n in kernel.shape[:3]), (0, 0)]
    turned = jnp.flip(kernel, (0, 1, 2)).swapaxes(3, 4)
    return conv3d_on_cpu(jnp.pad(slope, around), turned), _to_kernel(x, kernel, slope)


def _to_kernel(x: Array, kernel: Array, slope: Array) -> Array:
    """Gradient with respect to the kernel; zeros stand where the input has no output."""
    depths, offsets = _offsets(x, kernel)
    channels, filters = kernel.shape[3:]
    length, blocks = _blocks(x, kernel)
    after = [(0, 0), *((0, n - 1) for n in kernel.shape[:3]), (0, 0)]
    rows = _rows(x, 0, blocks * length + depths[-1])
    slopes = _rows(jnp.pad(slope, after), offsets[-1], blocks * length)
    places = [offsets[-1] - offset for offset in offsets]

    def block(number: Array, total: Array) -> Array:
        here = _side_by_side(rows, number * length, length, depths)
        return total + _product(here, _side_by_side(slopes, number * length, length, places), 0)

    shape = (len(depths) * channels, len(offsets) * filters)
    total = lax.fori_loop(0, blocks, block, jnp.zeros(shape, "float32"))
    height, width = kernel.shape[1:3]
    taps = total.reshape(len(depths), channels, height, width, filters)
    return taps.transpose(0, 2, 3, 1, 4).astype(kernel.dtype)


def _offsets(x: Array, kernel: Array) -> tuple[list[int], list[int]]:
    """Flat offsets of the kernel's depths, and of its taps in a plane."""
    depth, height, width = kernel.shape[:3]
    rows, plane = x.shape[3], x.shape[2] * x.shape[3]
    return [i * plane for i in range(depth)], [
        j * rows + k for j in range(height) for k in range(width)
    ]


def _blocks(x: Array, kernel: Array) -> tuple[int, int]:
    """Rows of a block, and the number of blocks."""
    depth, height, width, channels, filters = kernel.shape
    fit = BLOCK // (depth * channels + height * width * filters)
    length = max(FEWEST_ROWS, fit // FEWEST_ROWS * FEWEST_ROWS)
    return length, -(-(x.size // channels) // length)


def _rows(x: Array, before: int, until: int) -> Array:
    """Rows of voxels with `before` rows of zeros in front, and zeros up to row `until`."""
    rows = x.reshape(-1, x.shape[-1])
    return jnp.pad(rows, ((before, until - len(rows)), (0, 0)))


def _side_by_side(rows: Array, start: Array, length: int, offsets: list[int]) -> Array:
    channels = rows.shape[1]
    parts = [lax.dynamic_slice(rows, (start + n, 0), (length, channels)) for n in offsets]
    return jnp.concatenate(parts, axis=1)


def _product(a: Array, b: Array, axis: int) -> Array:
    """Sum over `axis` of `a` and the first of `b`, in float32 whatever the precision."""
    summed = (((axis,), (0,)), ((), ()))
    return lax.dot_general(a, b, summed, preferred_element_type="float32")


conv3d_on_cpu.defvjp(_forward, _backward)
