"""Each name of the security log is one, is documented, and is told in one place, whatever the transport."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from commands import COMMANDS
from commands.security_events import EVENT_OF, SecurityEvent
from tests.house.test_house import ROOT

ABOUT_ACCOUNTS = {"account_recovery", "credentials", "sessions", "users", "suspension", "email_changes"}
# Identity and rate are refused where they are told; a handler's refusal passes the pipeline, which tells it.
MAY_REFUSE = {
    "api/security.py",
    "adapters/access_tokens.py",
    "api/throttling.py",
    "adapters/rate_limits.py",
    "api/graphql/events.py",  # within what watches the root field and the subscription
    "api/graphql/sockets.py",  # no text at all
    "api/graphql/limits.py",  # points: told where they are refused
    "api/graphql/charging.py",
    "api/rest/commands.py",
}
REFUSALS = {"Unauthenticated", "Forbidden", "RateLimited", "CostLimitExceeded", "problems.CostLimitReached"}
PERMISSIONS = {"anyone", "signed_in", "staff", "admin", "integrator", "analyst", "log_reader", "system"}


def test_every_name_is_unique_and_has_a_line_in_the_documentation() -> None:
    documented = re.findall(r"^\| `(security\.[a-z_.]+)` \|", (ROOT / "docs/security-log.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted({each.value for each in SecurityEvent})


def test_every_name_is_told_somewhere() -> None:
    text = "".join(path.read_text() for path in python_files())
    for each in SecurityEvent:
        assert each in EVENT_OF.values() or text.count(f"SecurityEvent.{each.name}") > 0, each


def test_every_command_about_accounts_changes_rights_under_a_name() -> None:
    about = {each.__name__ for each in COMMANDS if each.__module__.rpartition(".")[2] in ABOUT_ACCOUNTS}
    assert about - set(EVENT_OF) == set()


def test_a_permission_is_asked_where_its_refusal_is_told() -> None:
    asking = set()
    for path in python_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and asks(node.func) and not is_within_watched(path, node):
                asking.add(str(path.relative_to(ROOT)))
    assert asking - {"commands/actors.py"} == set()  # where they are declared by each other


def asks(called: ast.expr) -> bool:
    if isinstance(called, ast.Name):
        return called.id in PERMISSIONS
    return isinstance(called, ast.Attribute) and called.attr in {"permission", "who", "_who"}


def is_within_watched(path: Path, node: ast.AST) -> bool:
    """Does it stand in a `with` of `SecurityLog.watched`?"""
    blocks = [each for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.With)]
    watched = [each for each in blocks if any("watched" in ast.unparse(item.context_expr) for item in each.items)]
    return any(each.lineno < node.lineno <= (each.end_lineno or 0) for each in watched)  # type: ignore[attr-defined]


def test_an_identity_or_a_rate_is_refused_in_few_places() -> None:
    refusing = set()
    for path in python_files():
        place = str(path.relative_to(ROOT))
        if place.split("/", maxsplit=1)[0] in {"commands", "domain"}:
            continue  # within the pipeline, which tells what passes through it
        for node in ast.walk(ast.parse(path.read_text())):
            raised = node.exc if isinstance(node, ast.Raise) else None
            if isinstance(raised, ast.Call) and ast.unparse(raised.func) in REFUSALS:
                refusing.add(place)
    assert refusing - MAY_REFUSE == set()


def python_files() -> list[Path]:
    return [path for layer in ("adapters", "api", "cli", "commands", "domain", "streams")
            for path in sorted((ROOT / layer).rglob("*.py"))]  # fmt: skip
