"""How much labels and landmarks count in the search, as a user says it."""

import math
from typing import Any, Literal, cast

from anyvox_keras.errors import UserError
from anyvox_keras.types import PairOptions

Guide = Literal["label_weight", "landmark_weight"]
#: what each weight needs of both images: the options' ending, and its words
_NEEDED: dict[Guide, tuple[str, str]] = {
    "label_weight": ("seg", "label maps"),
    "landmark_weight": ("points", "landmarks"),
}


def guide_weights(options: PairOptions) -> dict[Guide, float]:
    """Read both weights; true stands for 1, none and false for 0.

    Args:
        options: Of a pair; what a weight needs has to be among them.

    Raises:
        UserError: A weight that is none, or one without labels or landmarks of both images.
    """
    return {name: _weight(cast(dict[str, Any], options), name) for name in _NEEDED}


def _weight(options: dict[str, Any], name: Guide) -> float:
    weight = options.get(name)
    if weight is None or isinstance(weight, bool):
        weight = float(bool(weight))
    if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
        raise UserError(f"{name}: expected a number from 0 up, received {weight!r}")
    kind, what = _NEEDED[name]
    sides = [f"{side}_{kind}" for side in ("fixed", "moving")]
    lacking = [side for side in sides if options.get(side) is None]
    if weight and lacking:
        raise UserError(
            f"{name}: expected {what} of both images, received no {' and '.join(lacking)}"
        )
    return float(weight)
