"""Seconds and memory of the stages of a run."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from anyvox_keras.ops._backend import peak_memory_mb


class Stages:
    """Measures named stages of a process.

    Attributes:
        seconds: Wall time of each stage, s.
        peak_memory_mb: Largest resident memory during each stage, MB (2^20 bytes).
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peak_memory_mb: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measure one stage."""
        _forget_peak()
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)
        self.peak_memory_mb[name] = round(peak_memory_mb())


def _forget_peak() -> None:
    """Set Linux's high-water mark back to now, which the lifetime peak cannot do."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
