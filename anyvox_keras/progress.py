"""What the package is doing, told while it does it: records of one logger, drawn by whoever likes.

Nothing is shown unless asked for. The command line draws one line on a terminal;
`logging.basicConfig(level="INFO")` prints a line for each stage in a script or a notebook.
"""

import logging
from collections.abc import Iterable, Iterator
from typing import TypeVar

#: everything the package tells goes through here
LOGGER = logging.getLogger("anyvox_keras")

Item = TypeVar("Item")


def note(text: str) -> None:
    """Tell something that stays true, such as what was read.

    Args:
        text: One line.
    """
    LOGGER.info("%s", text)


def plan(**shares: float) -> None:
    """Tell which stages follow, and about how long each takes beside the others.

    Args:
        **shares: Stage to its share of the time, in any unit; words are joined by underscores.

    Example:
        ```python
        from anyvox_keras.progress import plan, tell

        plan(features=1, search=4)
        tell("features")
        tell("search", "level 1 of 2", done=0.5)
        ```
    """
    shares = {name.replace("_", " "): share for name, share in shares.items()}
    LOGGER.info("stages: %s", ", ".join(shares), extra={"plan": shares})


def tell(name: str, detail: str = "", done: float = 0.0) -> None:
    """Tell what begins now; whatever was told before is over.

    Args:
        name: The stage, as `plan` calls it if there is a plan.
        detail: Which part of it, such as "level 1 of 2".
        done: How much of the stage is over, from 0 to 1.
    """
    text = f"{name}, {detail}" if detail else name
    LOGGER.info("%s", text, extra={"stage": name, "detail": detail, "done": done})


def counted(items: Iterable[Item], what: str, total: int, done: int = 0) -> Iterator[Item]:
    """Yield the items and tell before each how many there are.

    Args:
        items: What remains.
        what: The name of an item, plural.
        total: How many items there are in all.
        done: How many were finished earlier.

    Example:
        ```python
        from anyvox_keras.progress import counted

        assert list(counted("ab", "letters", 2)) == ["a", "b"]
        ```
    """
    for number, item in enumerate(items, start=done):
        tell(what, f"{number + 1} of {total}", number / max(total, 1))
        yield item
