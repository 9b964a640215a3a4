"""A whole study: train what is missing, score it, and write the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kdn.data import Selection
from kdn.data.markup import markup_named
from kdn.study.heatmaps import KEPT_EPOCH
from kdn.study.plan import REFERENCE, Run
from kdn.study.report import write_report
from kdn.study.results import Study, collect, run_folder, samples_of
from kdn.study.sections import sections
from kdn.study.training import Job, run_jobs

__all__ = ["run_study"]


def run_study(
    study: Study,
    out: Path,
    *,
    jobs: int = 1,
    accelerator: str = "auto",
    quiet: bool = False,
    log: Callable[[str], object] = print,
) -> dict[str, str]:
    """Train what is not there yet, score it, write the report, and return what failed.

    Finished runs are not repeated, interrupted ones go on, and a run with another recipe has
    another folder. A run that fails is left out of the report, which names it.

    Args:
        study: What is compared.
        out: Folder of the study; gets `runs/`, `report.md`, `figures/`.
        jobs: Trainings side by side.
        accelerator: Lightning Fabric's name of a kind of device.
        quiet: No progress on screen.
        log: Called with a line on what is done.

    Returns:
        Why, by folder of the runs that failed.

    Raises:
        ValueError: If `jobs` is not positive, if a source cannot be read, or if no run is left.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out}: is a file, not a folder to write to")
    markup = markup_named(study.plan.base.data.markup)
    samples = samples_of(study.test, markup)
    for readable in (samples, *(samples_of(others, markup) for others in _others(study))):
        _require_readable(readable)  # before hours of training
    planned = [_job(study, run, out) for run in study.plan.runs]
    failed = run_jobs(planned, side_by_side=jobs, accelerator=accelerator, quiet=quiet, log=log)
    results = collect(study, out, samples, failed)
    if not results.first:
        raise ValueError(f"{out}: no run of a method is left: {next(iter(failed.values()), '')}")
    log("writing the report")
    log(str(write_report(out, study.title, sections(results, failed))))
    return failed


def _others(study: Study) -> list[tuple[str, ...]]:
    """Return the sources of the study besides the test data."""
    train = study.plan.base.data.train
    return [tuple(train), *([study.occluded] if study.occluded else [])]


def _require_readable(samples: Selection) -> None:
    """Raise if a picture that a sample names cannot be decoded; drawn ones always can."""
    problems = []
    for sample in samples.from_files():
        try:
            sample.read()
        except (OSError, ValueError) as error:
            problems.append(str(error))
    if problems:
        more = [f"… and {len(problems) - 10} more"] if len(problems) > 10 else []
        raise ValueError("\n".join([*problems[:10], *more]))


def _job(study: Study, run: Run, out: Path) -> Job:
    """Return what is to be done for a run: the hidden landmarks for first seeds alone."""
    first = run.seed == 0 and run.key in study.plan.methods
    sources = (study.test, study.occluded) if study.occluded and first else (study.test,)
    keep = (KEPT_EPOCH,) if run.key == REFERENCE and run.seed == 0 else ()
    return Job(run, run_folder(out, run), sources, study.bootstrap, keep)
