"""The trainings of a study, with their predictions and scores, several side by side."""

from __future__ import annotations

import importlib.metadata
import json
import multiprocessing
import os
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import torch

from kdn.data.paths import replacing
from kdn.study.plan import Run
from kdn.study.results import finished, predict_run, score_run
from kdn.train import train

__all__ = [
    "Job",
    "cores",
    "environment",
    "environment_of",
    "run_jobs",
]

_ENVIRONMENT = "environment.json"


@dataclass(frozen=True)
class Job:
    """One training and what is predicted with it.

    Args:
        run: The training.
        folder: Of the run.
        sources: Lists of sources that are predicted; the first one is scored.
        bootstrap: Resamples of the intervals.
        keep: Epochs whose checkpoints stay.
    """

    run: Run
    folder: Path
    sources: tuple[tuple[str, ...], ...]
    bootstrap: int
    keep: tuple[int, ...] = ()


def run_jobs(
    jobs: Sequence[Job],
    *,
    side_by_side: int,
    accelerator: str,
    quiet: bool,
    log: Callable[[str], object],
) -> dict[str, str]:
    """Train, predict and score whatever is not there yet; return what failed, by run folder.

    A run that fails does not stop the others. Side by side, each run has a process of its own with
    its share of the cores, and on a machine with GPUs one of these, in turn.

    Args:
        jobs: What is to be done, in this order.
        side_by_side: How many at a time.
        accelerator: Lightning Fabric's name of a kind of device.
        quiet: No progress on screen.
        log: Called with a line when a run is done.
    """
    failed: dict[str, str] = {}
    before = {job.run.folder for job in jobs if finished(job.folder, job.run)}
    if side_by_side == 1:
        for number, job in enumerate(jobs, 1):
            known = " (trained before)" if job.run.folder in before else ""
            log(f"[{number}/{len(jobs)}] {job.run.folder}{known}")
            problem = _guarded(job, accelerator, quiet)
            if problem:
                failed[job.run.folder] = problem
                log(f"failed: {job.run.folder}: {problem}")
        return failed
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    turns: Queue = context.Queue()
    for turn in range(side_by_side):
        turns.put(turn)
    with ProcessPoolExecutor(
        side_by_side, mp_context=context, initializer=_settle, initargs=(turns, side_by_side)
    ) as pool:
        waiting: dict[Future, Job] = {
            pool.submit(_guarded, job, accelerator, True): job for job in jobs
        }
        try:
            for number, future in enumerate(as_completed(waiting), 1):
                name = waiting[future].run.folder
                problem = _outcome(future)
                if problem:
                    failed[name] = problem
                what = "trained before" if name in before else "done"
                log(f"[{number}/{len(jobs)}] {name}: {f'failed: {problem}' if problem else what}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()  # what was trained up to the last epoch is on the disk
            raise
    return failed


def _outcome(future: Future) -> str:
    """Return what went wrong with a job, also where its process was killed."""
    try:
        return future.result()
    except BrokenProcessPool:
        return "a process was killed, perhaps for want of memory; start the study again to go on"


def _settle(turns: Queue, side_by_side: int) -> None:
    """Give a process its share of the cores, and one of the GPUs if there are any.

    It leaves interrupts to the process that started it, and ends when that one has ended.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    turn = turns.get()
    torch.set_num_threads(max(1, cores() // side_by_side))
    count = torch.cuda.device_count()  # does not start CUDA, so that what follows still counts
    if count:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(turn % count)


def _end_with(parent: int) -> None:
    """Wait until another process is this one's parent, because the first has gone, and end."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _guarded(job: Job, accelerator: str, quiet: bool) -> str:
    """Do a job and return what went wrong, "" if nothing did."""
    try:
        _do(job, accelerator, quiet)
    except (ArithmeticError, OSError, RuntimeError, ValueError) as error:
        return str(error)
    return ""


def _do(job: Job, accelerator: str, quiet: bool) -> None:
    if not finished(job.folder, job.run):
        train(
            job.run.recipe,
            job.folder,
            resume=True,
            accelerator=accelerator,
            quiet=quiet,
            keep=job.keep,
        )
        with replacing(job.folder / _ENVIRONMENT) as temporary:
            temporary.write_text(json.dumps(environment(), indent=2) + "\n", encoding="utf-8")
    for sources in job.sources:
        predict_run(job.folder, sources, accelerator=accelerator)
    score_run(job.folder, job.sources[0], bootstrap=job.bootstrap)


def environment_of(folder: Path) -> dict[str, Any]:
    """Return the facts that were written when a run ended, none where there is no such file."""
    path = folder / _ENVIRONMENT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


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
