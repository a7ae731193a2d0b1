"""Facts of the machine."""

import re
import resource
import sys
from pathlib import Path


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MB (2^20 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():
        # The system call's figure begins at the size of the process that started this one.
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        return int(found[1]) / 1024 if found else 0.0
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**20 if sys.platform == "darwin" else 2**10)
