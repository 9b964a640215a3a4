"""Where and by what a result was made: commit, versions, machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

__all__ = ["cores", "environment"]


def environment() -> dict[str, Any]:
    """Return the facts that a report needs to be repeated, as JSON types."""
    return {
        "kdn": importlib.metadata.version("kdn"),
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def cores() -> int:
    """Return how many CPU cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _commit() -> str:
    """Return the commit of the checkout that the package is run from, or what there is to say."""
    folder = Path(__file__).parents[1]
    if not any((parent / ".git").exists() for parent in folder.parents):
        return "not a checkout"
    try:
        head = _git(folder, "rev-parse", "--short=10", "HEAD")
        return head + (" with changes" if _git(folder, "status", "--porcelain", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def _processor() -> str:
    """Return the name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # Linux alone has it
        pass
    return platform.processor() or "unknown"
