"""What a training run says while it goes: a progress bar, a CSV file, TensorBoard if installed."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from kdn.data.paths import replacing

__all__ = ["Report"]


class Report:
    """Progress bar over steps, one line per epoch, `log.csv`, and TensorBoard when installed.

    The CSV file is written whole after every epoch, so that a resumed run leaves out what was
    done after the state it resumed from.

    Args:
        out: Folder of the run.
        steps: Steps of the whole run.
        scores: How validation scores are printed, by name, the one that decides first.
        done: Steps done before.
        quiet: Write to files only.
    """

    def __init__(
        self, out: Path, *, steps: int, scores: Mapping[str, str], done: int, quiet: bool = False
    ):
        self.scores = dict(scores)
        self.decides = next(iter(scores))
        self.path = out / "log.csv"
        self.quiet = quiet
        self.best = math.nan
        self.bar = tqdm(
            total=steps, initial=done, unit="step", disable=True if quiet else None, smoothing=0.05
        )
        self.board = _tensorboard(out)

    def __enter__(self) -> Report:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.close()
        if self.board is not None:
            self.board.close()

    def step(self, loss: float) -> None:
        """Count one step with its loss per label."""
        score = " ".join(self.scores[self.decides].format(self.best).split())
        best = f", best {score}" if math.isfinite(self.best) else ""
        self.bar.set_postfix_str(f"loss {loss:.3f}{best}", refresh=False)
        self.bar.update()

    def epoch(self, history: list[dict[str, Any]]) -> None:
        """Write the log after an epoch, the last entry of `history`."""
        columns = ("epoch", "rate", "loss", *self.scores, "seconds")
        _write_csv(self.path, columns, history)
        row = history[-1]
        self.best = min((r[self.decides] for r in history), default=math.nan)
        if self.board is not None:
            for name in columns[1:]:
                self.board.add_scalar(name, row[name], row["epoch"])
        if not self.quiet:
            self.bar.write(f"{self._line(row)}  {row['seconds']:.0f} s")

    def _line(self, row: dict[str, Any]) -> str:
        """Return the scores of an epoch on one line, without those that there are not."""
        text = f"epoch {row['epoch']:3d}  loss {row['loss']:8.4f}"
        if math.isnan(row[self.decides]):
            return text
        scores = (form.format(row[name]) for name, form in self.scores.items())
        return f"{text}  valid {'  '.join(scores)}"


def _write_csv(path: Path, columns: Sequence[str], history: list[dict[str, Any]]) -> None:
    """Write the history of a run, one row per epoch, in one move."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(history)
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def _tensorboard(out: Path) -> Any:
    """Return a TensorBoard writer, or None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out / "tensorboard"))
