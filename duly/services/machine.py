"""The machine that something was measured on, and the memory that it took."""

import os
import platform
import resource
import sys
from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def machine() -> str:
    """Processor, cores, system and Python, in a line."""
    cores = os.cpu_count() or 1
    return (
        f"{_processor()}, {cores} core{'' if cores == 1 else 's'}, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}"
    )


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def forget_peak() -> None:
    """Begin anew to watch for the most memory that this process has, where the system can (Linux)."""
    with suppress(OSError):
        _CLEAR.write_text("5")


def peak_memory() -> int:
    """The most memory that this process had since `forget_peak`, in bytes; elsewhere than on Linux, ever."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
