"""The spectrum of an image with channels last."""

from keras import ops

from anyvox_keras.ops import fft3, ifft3
from anyvox_keras.ops._backend import Array


def spectrum(x: Array) -> tuple[Array, Array]:
    """Transform `(B, D, H, W, C)` to the real and imaginary part, `(B, C, D, H, W)`."""
    return fft3(ops.moveaxis(x, -1, 1))


def image(real: Array, imag: Array) -> Array:
    """Transform a spectrum `(B, C, D, H, W)` back and take the real part, `(B, D, H, W, C)`."""
    return ops.moveaxis(ifft3(real, imag)[0], 1, -1)
