"""What is logged names no e-mail address, wherever it stood."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
import structlog

from cli.log_output import MASKED, log_to_stderr, masked


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("sent to ada.l+x@mail.example.com.", f"sent to {MASKED}."),
        ("Key (email)=(a@b.co) exists", f"Key (email)=({MASKED}) exists"),
        ({"to": ["a@b.co", 5]}, {"to": [MASKED, 5]}),
        (ValueError("a@b.co"), MASKED),
        (UUID(int=5), str(UUID(int=5))),
        ("@", "@"),
        ("postgresql://kontor:***@127.0.0.1:5432/kontor", "postgresql://kontor:***@127.0.0.1:5432/kontor"),
        (None, None),
    ],
)
def test_an_address_is_masked_and_the_rest_is_shown(value: object, shown: object) -> None:
    assert masked(value) == shown


def test_a_long_text_is_searched_in_time() -> None:
    assert masked("a@" * 200_000 + "b" * 200_000).startswith("a@a@")


def test_a_traceback_names_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        log_to_stderr("test")
        try:
            raise RuntimeError("ada@example.com is not welcome")
        except RuntimeError:
            structlog.get_logger().exception("failed", who="bob@example.com")
        (line,) = capsys.readouterr().err.splitlines()
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    told = json.loads(line)
    assert "example.com" not in line
    assert told["who"] == MASKED
    assert "is not welcome" in told["exception"]
