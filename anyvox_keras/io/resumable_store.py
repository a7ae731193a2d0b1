"""What all outputs share that are filled piece by piece: banks, pair files, pair folders."""

import contextlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from anyvox_keras.errors import UserError
from anyvox_keras.io.output import exclusive


class ResumableStore(ABC):
    """An output that survives a crash at any moment and goes on where it stood.

    One process at a time writes, from `begin` to the end of the `with` block. What is begun goes on
    with the same settings only. What is held in memory gets to the disk with `flush`, at the latest
    when the block is left. `finish` completes the output, which appears whole or not at all.

    Args:
        path: The file or folder to make.
        settings: What its content depends on, as JSON can hold it.

    Raises:
        UserError: If another process writes there, or the disk takes no more.
    """

    #: what to do where the settings are others, for the message
    advice = "pass --overwrite to drop it"
    #: seconds to wait for another process
    patience = 0.0

    def __init__(self, path: str | os.PathLike[str], settings: dict[str, Any]) -> None:
        self.path = Path(path)
        self.settings = json.loads(json.dumps(settings))
        self.finished = False
        self._held = contextlib.ExitStack()
        self._begun = False

    def begin(self) -> None:
        """Take the lock and prepare the place, once."""
        if self._begun:
            return
        with contextlib.ExitStack() as held:
            held.enter_context(exclusive(self.path, self.patience))
            self._prepare(held)
            self._held = held.pop_all()
        self._begun = True

    def flush(self) -> None:  # noqa: B027
        """Put on the disk what is held in memory; nothing is, unless a subclass says so."""

    def finish(self) -> None:
        """Complete the output; everything must have been written.

        Raises:
            ValueError: If something has not.
            UserError: If the disk takes no more; the next run goes on from there.
        """
        if self.finished:
            return
        self.begin()
        self.flush()
        with self._writing(self.path):
            self._complete()
        self.finished = True

    def __enter__(self) -> Self:
        """Enter a `with` block, so that an interrupted run keeps what it has."""
        self.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Flush and let others write; an earlier error is the one to show."""
        self._begun = False
        with self._held, contextlib.suppress(*[UserError] * (error is not None)):
            self.flush()

    @abstractmethod
    def _prepare(self, held: contextlib.ExitStack) -> None:
        """Find out what is done and refuse what is not ours; `held` is released at the end."""

    @abstractmethod
    def _complete(self) -> None:
        """Make the output of its pieces."""

    def _require_same(self, found: Any, where: Path) -> None:
        """Refuse to go on with what was begun with other settings."""
        if found not in (None, self.settings):
            raise UserError(f"{where}: begun with other settings; {self.advice}")

    @contextlib.contextmanager
    def _writing(self, where: Path) -> Iterator[None]:
        """Say in one line what keeps the disk from taking more, and how to continue."""
        try:
            yield
        except (OSError, UserError) as error:
            # a full disk comes as a UserError of `atomic`, with the system's own error as its cause
            reason = getattr(error.__cause__ or error, "strerror", None) or str(error)
            kept = "what is finished is kept, run it again to go on"
            raise UserError(f"{where}: cannot be written ({reason}); {kept}") from error
