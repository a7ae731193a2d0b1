"""The error that stands for a user's mistake, and the checks that many arguments share."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    # at run time where arrays are looked at: `anyvox --help` needs none and answers at once
    import numpy as np


class UserError(ValueError):
    """Input that cannot be used; the message is one line: what, what was expected, what came.

    The command line prints it without a traceback and exits with code 2.

    Example:
        ```python
        import anyvox_keras as avx

        try:
            avx.register("absent.nii.gz", "moving.nii.gz")
        except avx.UserError as error:
            print(error)
        ```
    """


def one_of(name: str, value: Any, kind: Any) -> None:
    """Refuse a word that is no option of an argument.

    Args:
        name: The argument's name.
        value: What was given.
        kind: A `Literal` of `anyvox_keras.types`, or a collection of the options.

    Raises:
        ValueError: If it is none of them.
    """
    if value not in (known := options(kind)):
        raise ValueError(f"`{name}` must be one of {', '.join(known)}. Received: {name}={value!r}")


def require_one_of(name: str, value: Any, kind: Any) -> None:
    """Do what `one_of` does for what a user of the command line may have written too.

    Raises:
        UserError: If it is none of them.
    """
    if value not in (known := options(kind)):
        raise UserError(f"{name}: expected one of {', '.join(known)}, received {value}")


def options(kind: Any) -> tuple[str, ...]:
    """Return the words of a `Literal`, or of a collection, in the order in which they stand."""
    return get_args(kind) or tuple(kind)


def check_volumes(name: str, x: Any, channels: int | None = None) -> None:
    """Refuse what is no batch of volumes with their channels last.

    Args:
        name: The argument's name.
        x: An array, tensor or symbol.
        channels: How many channels there must be; None allows any number.

    Raises:
        ValueError: If `x` has another rank or number of channels, or is not real.
    """
    check_real(name, x)
    shape, last = tuple(x.shape), "C" if channels is None else channels
    if len(shape) != 5 or (channels is not None and shape[-1] not in (None, channels)):
        raise ValueError(
            f"`{name}` must be (B, D, H, W, {last}), channels last. Received: shape={shape}"
        )


def check_spatial(name: str, x: Any, least: int = 4) -> None:
    """Refuse what has no three spatial axes after the batch; any number of axes may follow.

    Args:
        name: The argument's name.
        x: An array, tensor or symbol.
        least: Number of axes: 4 where label maps `(B, D, H, W)` will do, 5 where channels follow.

    Raises:
        ValueError: If `x` has fewer axes, or is not real.
    """
    check_real(name, x)
    if len(x.shape) < least:
        layout = "(B, D, H, W, ...)" if least == 4 else "(B, D, H, W, C, ...)"
        raise ValueError(f"`{name}` must be {layout}. Received: shape={tuple(x.shape)}")


def check_real(name: str, x: Any) -> None:
    """Refuse what is no array of real numbers, or hides some of them.

    Args:
        name: The argument's name.
        x: An array, tensor or symbol.

    Raises:
        ValueError: If `x` is no array, complex, text or objects, or has masked voxels.
    """
    import numpy as np

    if not hasattr(x, "shape"):
        raise ValueError(f"`{name}` must be an array. Received: {type(x).__name__}")
    # not by `kind`, which calls bfloat16 raw bytes
    if any(word in str(x.dtype) for word in ("complex", "object", "<U", "|S")):
        raise ValueError(f"`{name}` must be real. Received: dtype={x.dtype}")
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise ValueError(f"`{name}` must not be masked; fill it. Received: masked voxels")


def check_sizes(name: str, shape: Any) -> None:
    """Refuse what is no size of each of the three spatial axes.

    Args:
        name: The argument's name.
        shape: `(D, H, W)`; None stands for a size that a symbolic tensor does not know.

    Raises:
        ValueError: If `shape` is not three whole numbers from 1 up.
    """
    # TensorFlow's own shapes are no sequences
    sizes = list(shape) if isinstance(shape, Iterable) else []
    known = [n for n in sizes if n is not None]
    if len(sizes) != 3 or not all(isinstance(n, Integral) and int(n) >= 1 for n in known):
        raise ValueError(f"`{name}` must be three sizes >= 1. Received: {name}={shape!r}")


def check_finite(name: str, x: Any) -> None:
    """Refuse an array whose values would not survive as float32.

    Args:
        name: The argument's name.
        x: What was given.

    Raises:
        ValueError: If values are masked, NaN, infinite or beyond float32, or not real.
    """
    import numpy as np

    check_real(name, x)
    if not np.isfinite(x).all():
        raise ValueError(f"`{name}` must be finite. Received: NaN or infinite values")
    if np.abs(x).max(initial=0) > np.finfo("float32").max:
        raise ValueError(f"`{name}` must fit float32. Received: values beyond 3.4e38")


def real_numbers(name: str, values: Any, dtype: str | None = None) -> "np.ndarray":
    """Return an array of numbers, and refuse what would lose something on the way.

    Args:
        name: What they are called in the message.
        values: An array or nested sequences.
        dtype: Of the result; their own by default.

    Raises:
        UserError: If they are complex, masked, text, or sequences of several lengths.
    """
    import numpy as np

    try:
        array = np.asanyarray(values)
    except ValueError as error:
        raise UserError(f"{name}: expected numbers in rows of one length") from error
    if array.dtype.kind not in "iufb":
        raise UserError(f"{name}: expected real numbers, received {array.dtype}")
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise UserError(f"{name}: expected all numbers, received masked ones")
    return np.asarray(array, dtype)


def check_count(name: str, value: Any) -> None:
    """Refuse what counts nothing.

    Raises:
        ValueError: If `value` is no whole number from 1 up.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < 1:
        raise ValueError(f"`{name}` must be >= 1, a whole number. Received: {name}={value!r}")


def check_seed(name: str, value: Any) -> None:
    """Refuse what starts no stream of draws.

    Raises:
        ValueError: If `value` is no whole number.
    """
    if not isinstance(value, Integral):
        raise ValueError(f"`{name}` must be a whole number. Received: {name}={value!r}")


def one_line(said: object) -> str:
    """Return what an error, a warning or a reader said, without its line breaks."""
    return " ".join(str(said).split())


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Say in one line that a file is damaged or foreign, whatever its reader stumbled over.

    Args:
        path: the file.
        what: what it should be, such as "a preset".

    Raises:
        UserError: anything went wrong within; a `UserError` passes as it is.
    """
    try:
        yield
    except UserError:
        raise
    # readers of foreign formats raise whatever the bytes make them raise
    except Exception as error:
        reason = one_line(error)[:160] or type(error).__name__
        raise UserError(f"{path}: cannot be loaded as {what} ({reason})") from error
