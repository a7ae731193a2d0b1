"""Facts of the machine: memory, processors, arithmetic."""

import re
import sys
from pathlib import Path

import psutil

MB = 2**20
CPUINFO = Path("/proc/cpuinfo")
#: Names of the instructions that multiply bfloat16: on x86 in tiles and in vectors, on Arm.
BFLOAT16 = {"amx_bf16", "avx512_bf16", "bf16"}


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MB (2^20 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():
        # The system call's figure begins at the size of the process that started this one.
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        return int(found[1]) / 1024 if found else 0.0
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MB
    memory = psutil.Process().memory_info()
    return float(getattr(memory, "peak_wset", memory.rss)) / MB  # the peak's name on Windows


def machine_memory_mb() -> tuple[float, float]:
    """Memory of the machine, and what of it is available now, in MB (2^20 bytes)."""
    memory = psutil.virtual_memory()
    return memory.total / MB, memory.available / MB


def processors() -> int:
    """Number of processors that this process may use."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):  # not on macOS
        return len(process.cpu_affinity())
    return psutil.cpu_count() or 1


def cpu_has_bfloat16() -> bool:
    """Whether the processor has arithmetic for bfloat16, as Linux tells; elsewhere False."""
    if not CPUINFO.exists():
        return False
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", CPUINFO.read_text(), re.M)
    return found is not None and not BFLOAT16.isdisjoint(found[1].split())
