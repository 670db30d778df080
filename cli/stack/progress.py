"""How the launcher tells a person what it is doing: spinners on a terminal, plain lines elsewhere, always on stderr.

A test run passes its own `Progress`; `Silent` says nothing. Does not decide what is worth saying.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from rich.console import Console
from rich.progress import Progress as RichProgress
from rich.progress import ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.text import Text


class Progress(Protocol):
    """Receives steps, which take time, and notes, which do not. An `outcome` says how an unsuccessful step ended."""

    def begin(self, step: str) -> None: ...

    def end(self, step: str, seconds: float, outcome: str = "") -> None: ...

    def note(self, text: str) -> None: ...


@contextmanager
def timed(progress: Progress, step: str) -> Iterator[None]:
    """Report one step and its seconds; when it fails or is cancelled, that is reported and the error goes on."""
    began = time.monotonic()
    progress.begin(step)
    try:
        yield
    except BaseException as error:
        outcome = "failed" if isinstance(error, Exception) else "given up"
        progress.end(step, time.monotonic() - began, outcome)
        raise
    progress.end(step, time.monotonic() - began)


class Silent:
    """Says nothing."""

    def begin(self, step: str) -> None: ...

    def end(self, step: str, seconds: float, outcome: str = "") -> None: ...

    def note(self, text: str) -> None: ...


class PlainLines:
    """One line when a step ends and one per note: for logs, pipes and CI."""

    def begin(self, step: str) -> None: ...

    def end(self, step: str, seconds: float, outcome: str = "") -> None:
        self.note(f"{seconds:6.1f} s  {step} {outcome}".rstrip())

    def note(self, text: str) -> None:
        # The reader of a pipe may have gone; what runs must not end for that.
        with suppress(OSError):
            print(text, file=sys.stderr, flush=True)


class _Seconds(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.elapsed or 0.0:6.1f} s", style="dim")


class Terminal:
    """A spinner per step that runs, its seconds beside it; call `close` before printing anything else."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self._bars = RichProgress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            _Seconds(),
            TextColumn("{task.description}"),
            console=self.console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._bars.start()

    def begin(self, step: str) -> None:
        self._tasks[step] = self._bars.add_task(step, total=1)

    def end(self, step: str, seconds: float, outcome: str = "") -> None:
        if outcome:
            self._bars.update(self._tasks[step], description=f"[red]{step} {outcome} after {seconds:.1f} s[/]")
            self._bars.stop_task(self._tasks[step])
        else:
            self._bars.update(self._tasks[step], completed=1)

    def note(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Leave the finished lines on the screen and stop drawing."""
        self._bars.stop()


def for_stderr() -> PlainLines | Terminal:
    """What suits the stderr of this process."""
    return Terminal() if sys.stderr.isatty() else PlainLines()
