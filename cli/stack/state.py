"""What the launcher of a home started, so that every other command can find it and a later one can clean up.

Guarantees: written atomically; a recorded process is recognised by pid and creation time, so a recycled pid is never
signalled. The file holds URLs with passwords and is therefore mode 0600.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field

import psutil

from cli.stack.atomic_file import write_atomically
from cli.stack.home import Home
from cli.stack.problem import Problem

# Creation times are computed from clock ticks since boot and the boot time, which the kernel may round differently.
CREATE_TIME_TOLERANCE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """One child: pid, the moment it began, an argument that only it carries, and whether it serves."""

    pid: int
    create_time: float
    marker: str
    serving: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One installation as its launcher last described it.

    `settings` are the KONTOR_* values its processes were started with, without the keys; `expected` are the processes
    that run when all is well.
    """

    launcher: ProcessRecord
    ready: bool = False
    expected: tuple[str, ...] = ()
    http_url: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    processes: dict[str, ProcessRecord] = field(default_factory=dict)

    def serves(self) -> bool:
        """Whether the launcher lives, finished starting, and every process it keeps serves at this moment."""
        records = [self.launcher, *(self.processes[name] for name in self.expected if name in self.processes)]
        return (
            self.ready
            and all(name in self.processes and self.processes[name].serving for name in self.expected)
            and all(living(record) is not None for record in records)
        )

    def pids(self) -> dict[str, int]:
        """Current pids of the processes that live."""
        return {name: record.pid for name, record in self.processes.items() if living(record) is not None}


def record_of(pid: int, marker: str) -> ProcessRecord:
    """Describe a process that was just started; raises psutil.NoSuchProcess when it is gone already."""
    return ProcessRecord(pid=pid, create_time=psutil.Process(pid).create_time(), marker=marker)


def own_record() -> ProcessRecord:
    """Describe this process."""
    return record_of(os.getpid(), "")


def living(record: ProcessRecord) -> psutil.Process | None:
    """The recorded process if it still runs; None when it ended or its pid now belongs to another.

    A process that has begun at that moment but not yet become the program it was started as is still the recorded one,
    so the marker is only held against processes whose creation time is not exact.
    """
    try:
        process = psutil.Process(record.pid)
        drift_s = abs(process.create_time() - record.create_time)
        if process.status() == psutil.STATUS_ZOMBIE or drift_s > CREATE_TIME_TOLERANCE_S:
            return None
        if drift_s > 0.02 and record.marker and not any(record.marker in part for part in process.cmdline()):
            return None
    except psutil.Error:
        return None
    return process


def write_state(home: Home, state: State) -> None:
    """Replace the state of this home."""
    write_atomically(home.state_file, json.dumps(asdict(state), indent=1))


def read_state(home: Home) -> State | None:
    """The last written state, or None when nothing was started here; raises Problem when the file is damaged."""
    try:
        raw = json.loads(home.state_file.read_text())
        launcher = ProcessRecord(**raw.pop("launcher"))
        processes = {name: ProcessRecord(**record) for name, record in raw.pop("processes").items()}
        expected = tuple(raw.pop("expected"))
        return State(launcher=launcher, processes=processes, expected=expected, **raw)
    except FileNotFoundError:
        return None
    except (OSError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise Problem(
            f"The state file {home.state_file} cannot be read: delete it and start again with `kontor up`."
        ) from error


def forget_state(home: Home) -> None:
    """Remove the state after everything it named has stopped."""
    home.state_file.unlink(missing_ok=True)


def already_running(home: Home) -> str:
    """The sentence for a start where a launcher runs."""
    state = read_state(home)
    if state is None or not state.ready:
        return f"Kontor is just starting or stopping in {home.path}: wait for it with `kontor status`."
    return (
        f"Kontor already runs here (launcher pid {state.launcher.pid}, {state.http_url}): "
        "see `kontor status`, stop it with `kontor down`."
    )
