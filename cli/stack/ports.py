"""Which loopback ports an installation listens on.

Guarantees: a port named by the environment is taken as it is or refused with a sentence; others are chosen once, kept
in `ports.json`, and chosen anew only when a stranger listens there. Chosen ports lie below the range from which the
kernel gives ports to outgoing connections, so that a client that retries a stopped server cannot occupy its port.
"""

from __future__ import annotations

import errno
import json
import os
import random
import socket
from dataclasses import asdict, dataclass, replace

from cli.stack.atomic_file import write_atomically
from cli.stack.home import Home
from cli.stack.problem import Problem

VARIABLES = {
    "postgres": "KONTOR_POSTGRES_PORT",
    "kafka": "KONTOR_KAFKA_PORT",
    "redis": "KONTOR_REDIS_PORT",
    "http": "KONTOR_HTTP_PORT",
    "gateway": "KONTOR_GATEWAY_PORT",
    "smtp": "KONTOR_SMTP_PORT",
    "inbox": "KONTOR_INBOX_PORT",
}
PREFERRED = {
    "postgres": 15432,
    "kafka": 19092,
    "kafka_controller": 19093,
    "redis": 16379,
    "http": 8000,
    "gateway": 12111,
    "smtp": 11025,
    "inbox": 18025,
}
CHOSEN_FROM = range(20000, 30000)
TRIES_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """One port per listener, all on 127.0.0.1."""

    postgres: int
    kafka: int
    kafka_controller: int
    redis: int
    http: int
    gateway: int
    smtp: int
    inbox: int


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        # A listener on all addresses does not stop a bind to loopback everywhere, so ask for an answer first.
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
        return True


def named_ports() -> dict[str, int]:
    """Ports given by the environment; raises Problem naming a variable that is not a port, or two that are equal."""
    named: dict[str, int] = {}
    for listener, variable in VARIABLES.items():
        text = os.environ.get(variable, "")
        if not text:
            continue
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
            raise Problem(f"{variable} is {text!r}: give it a port number between 1 and 65535, or unset it.")
        if int(text) in named.values():
            raise Problem(f"{variable} is {text}, which another KONTOR_..._PORT names too: give each its own port.")
        named[listener] = int(text)
    return named


def choose_ports(home: Home, *, preferred: bool, needed: frozenset[str]) -> Ports:
    """Ports for this start: named ones, else those of the last start, else free ones; remembered in the home.

    `preferred` tries well-known numbers first; a test run passes False, so that runs side by side do not meet.
    Only the listeners in `needed` will be opened: others are not required to be free.
    """
    named = named_ports()
    remembered = _remembered(home)
    chosen: dict[str, int] = {}
    for listener, preference in PREFERRED.items():
        if listener in named:
            if listener in needed and not is_free(named[listener]):
                raise Problem(
                    f"Port {named[listener]}, which {VARIABLES[listener]} names, is taken by another program: "
                    "stop that program, or choose another port."
                )
            chosen[listener] = named[listener]
            continue
        avoid = set(named.values()) | set(chosen.values())
        wishes = [remembered[listener]] if listener in remembered else []
        wishes += [preference] if preferred else []
        chosen[listener] = _first_free(wishes, avoid)
    ports = Ports(**chosen)
    # What the environment names holds for this start only, so the remembered number of that listener stays.
    kept = replace(ports, **{listener: remembered[listener] for listener in named if listener in remembered})
    write_atomically(home.ports_file, json.dumps(asdict(kept)))
    return ports


def _remembered(home: Home) -> dict[str, int]:
    try:
        raw = json.loads(home.ports_file.read_text())
        return {name: int(raw[name]) for name in PREFERRED if 1 <= int(raw.get(name, 0)) <= 65535}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # Ports can be chosen again; nothing is lost with the file.


def _first_free(wishes: list[int], avoid: set[int]) -> int:
    candidates = wishes + random.sample(CHOSEN_FROM, TRIES_MAX)
    for port in candidates:
        if port not in avoid and is_free(port):
            return port
    raise Problem(f"No free port was found between {CHOSEN_FROM.start} and {CHOSEN_FROM.stop}: stop some programs.")
