"""Who takes part, how each is started, and what it cannot do.

Our own are modules of this package. The peers are programs of others in a folder of their own, each with one adapter
that does the same work and prints one JSON object; a peer that is absent, not built or lacks its tool is left out with
a sentence.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cli.stack.home import PROJECT_ROOT
from cli.stack.problem import Problem

APPEND: Final = "append"
DECIDE: Final = "decide"
ORDER: Final = "order"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One program. `modes` are what it can do, each with the MODE it knows that by; `install` runs once a server."""

    name: str
    argv: tuple[str, ...]
    folder: Path
    modes: Mapping[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    install: tuple[str, ...] = ()
    install_hint: str = ""
    is_peer: bool = True


def _ours(name: str, module: str, modes: Mapping[str, str]) -> Contestant:
    return Contestant(
        name=name,
        argv=(sys.executable, "-m", f"cli.bench.{module}"),
        folder=PROJECT_ROOT,
        modes=modes,
        is_peer=False,
    )


OURS: Final = (
    _ours("limit", "limit", {APPEND: "append"}),
    _ours("library", "library", {APPEND: "append", DECIDE: "decide", ORDER: "order"}),
    _ours("kontor", "kontor", {APPEND: "append", DECIDE: "decide", ORDER: "order"}),
    _ours("kontor-uncached", "kontor", {DECIDE: "decide-uncached"}),
    _ours("kontor-pipeline", "kontor", {APPEND: "pipeline"}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A peer as it stands in the peers' folder: what must be there once it is built, and the tools it needs."""

    name: str
    folder: str
    argv: tuple[str, ...]
    built: str
    build: str
    tools: tuple[str, ...]
    modes: Mapping[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    install: tuple[str, ...] = ()
    install_hint: str = ""


PEERS: Final = (
    Peer(
        name="axon",
        folder="axon",
        argv=("sh", "run.sh"),
        built="target/c/bench/Main.class",
        build="./run.sh build",
        tools=("java",),
        modes={APPEND: "append", DECIDE: "decide"},
    ),
    Peer(
        name="emmett",
        folder="emmett",
        argv=("node", "bench.mjs"),
        built="node_modules/@event-driven-io/emmett-postgresql",
        build="npm i",
        tools=("node",),
        modes={APPEND: "append", DECIDE: "decide"},
        environment={"POOL": "1"},
    ),
    Peer(
        name="messagedb",
        folder="messagedb",
        argv=("sh", "run.sh"),
        built="node_modules/@eventide/message-db/database",
        build="npm i",
        tools=("psql", "createdb", "pgbench", "bash"),
        modes={APPEND: "append"},
        install=("sh", "run.sh", "install"),
        install_hint=(
            "it asks for the extension pgcrypto, which this server's build lacks and nothing in it needs: "
            "empty database/extensions/pgcrypto.sql of @eventide/message-db in your copy."
        ),
    ),
    Peer(
        name="coalescer",
        folder="coalescer_py",
        argv=(sys.executable, "bench_meta.py"),
        built="bench_meta.py",
        build="",
        tools=(),
        modes={APPEND: "append"},
    ),
)
NAMES: Final = tuple(each.name for each in (*OURS, *PEERS))


def peers_folder(named: Path | None) -> Path:
    """The folder that was named, else that of KONTOR_PEERS, else the one beside the project."""
    if named is not None:
        return named
    from_environment = os.environ.get("KONTOR_PEERS")
    return Path(from_environment) if from_environment else PROJECT_ROOT.parent / "shared" / "peers"


def chosen(only: str, peers: Path, *, server_is_ours: bool) -> tuple[list[Contestant], list[str]]:
    """Those that take part, in the order of the tables, and a sentence for each that was wanted and cannot.

    Raises Problem for a name that is none."""
    wanted = [name for name in only.split(",") if name] or list(NAMES)
    if unknown := sorted(set(wanted) - set(NAMES)):
        raise Problem(f"There is no contestant {', '.join(unknown)}: --only takes {', '.join(NAMES)}.")
    present = [each for each in OURS if each.name in wanted]
    left_out = []
    for peer in (each for each in PEERS if each.name in wanted):
        if why := _why_not(peer, peers, server_is_ours=server_is_ours):
            left_out.append(f"{peer.name} is left out: {why}")
        else:
            present.append(_contestant(peer, peers))
    return present, left_out


def _why_not(peer: Peer, peers: Path, *, server_is_ours: bool) -> str:
    folder = peers / peer.folder
    if not folder.is_dir():
        return f"there is no {folder}; --peers-built names the folder of the peers."
    if not (folder / peer.built).exists():
        return (
            f"it is not built in {folder}: copy the peers' folder, run `{peer.build}` in the copy's {peer.folder}, "
            "and name the copy with --peers-built."
        )
    if missing := [tool for tool in peer.tools if shutil.which(tool) is None]:
        return f"{' and '.join(missing)} cannot be found on PATH."
    if peer.install and not server_is_ours:
        return "it makes a role and a database of its own, which is not done to a given server."
    return ""


def _contestant(peer: Peer, peers: Path) -> Contestant:
    return Contestant(
        name=peer.name,
        argv=peer.argv,
        folder=peers / peer.folder,
        modes=peer.modes,
        environment=peer.environment,
        install=peer.install,
        install_hint=peer.install_hint,
    )
