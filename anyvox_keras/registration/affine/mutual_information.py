"""How much one image tells about another, whatever their contrasts."""

import numpy as np
from scipy.stats import entropy


def mutual_information(first: np.ndarray, second: np.ndarray, bins: int = 32) -> float:
    """Return the mutual information of two lists of values, in nats.

    From the joint histogram, with `bins` levels between the half and the 99.5th percentile of
    each (values beyond count as the outermost level):

        I(a, b) = H(a) + H(b) - H(a, b)

    Args:
        first: Any shape.
        second: The same shape.
        bins: Levels of each.

    Raises:
        ValueError: If the shapes differ or are empty.

    Reference:
        Viola and Wells, Alignment by maximization of mutual information, ICCV 1995.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import mutual_information

        x = np.random.rand(1000)
        nats = mutual_information(x, 1 - x)
        ```
    """
    if first.shape != second.shape or not first.size:
        raise ValueError(
            "`first` and `second` must have one shape and hold values. "
            f"Received: {first.shape} and {second.shape}"
        )
    pair = _levels(first, bins).ravel() * bins + _levels(second, bins).ravel()
    joint = np.bincount(pair, minlength=bins**2).reshape(bins, bins)
    return float(entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint.ravel()))


def _levels(x: np.ndarray, bins: int) -> np.ndarray:
    low, high = np.percentile(x, [0.5, 99.5])
    share = (x - low) / max(high - low, 1e-9)
    return np.minimum(np.clip(share, 0, 1) * bins, bins - 1).astype(int)
