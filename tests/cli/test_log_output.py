"""What is logged names no e-mail address, wherever it stood."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
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
        ("o'brien&co=x!@example.com", MASKED),
        ("zoë@παράδειγμα.ελ", MASKED),
        ("<उदाहरण@उदाहरण.भारत>", f"<{MASKED}>"),
        ('to:a@b.c, d@e.xn--p1ai; "f@g.h1"', f'to:{MASKED}, {MASKED}; "{MASKED}"'),
        ("x" * 200 + "@a.b.c.d.e.f.g.h.i.j.k.example", MASKED),
        (b"a@b.co", f"{MASKED}'"),
    ],
)
def test_an_address_is_masked_and_the_rest_is_shown(value: object, shown: object) -> None:
    assert masked(value) == shown


@pytest.mark.parametrize(
    "text",
    ["a@" * 200_000 + "b" * 200_000, "b" * 400_000 + "@", "b" * 400_000 + "@example.com", "a@" + "b." * 200_000,
     "a@b.c " * 70_000, "'" * 400_000 + "a@b.c"],
)  # fmt: skip
def test_a_long_text_costs_no_more_than_its_length(text: str) -> None:
    began = time.process_time()
    assert masked(text)
    assert time.process_time() - began < 1


def test_what_is_masked_is_not_shown_around_it() -> None:
    assert masked("x" * 300 + "@example.com") == "x" * 46 + MASKED
    assert masked("@example.com") == "@example.com"


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
        logging.setLogRecordFactory(logging.LogRecord)
        sys.excepthook = sys.__excepthook__
    told = json.loads(line)
    assert "example.com" not in line
    assert told["who"] == MASKED
    assert "is not welcome" in told["exception"]


LIBRARY = """
import logging, sys
from cli.log_output import log_to_stderr
log_to_stderr("test")
{setup}
try:
    raise RuntimeError("ada@example.com is not welcome")
except RuntimeError:
    logging.getLogger("uvicorn.error").exception("no %s here", "bob@example.com")
    logging.getLogger("mode").error("not %(who)s", {{"who": "eve@example.com"}})
    logging.getLogger("mode").error("two %s %s", "dan@example.com")
raise ValueError("cat@example.com", "the end")
"""


@pytest.mark.parametrize(
    "setup",
    ["", "logging.basicConfig(level='INFO')",
     "from mode.utils.logging import setup_logging; setup_logging(loglevel='WARNING', loghandlers=[])"],
    ids=["as the API", "with a handler", "as the worker"],
)  # fmt: skip
def test_what_libraries_and_the_interpreter_say_names_nobody(setup: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIBRARY.format(setup=setup)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert "example.com" not in done.stdout + done.stderr
    for told in (
        f"no {MASKED} here",
        f"RuntimeError: {MASKED} is not welcome",
        f"not {MASKED}",
        "Traceback",
        "the end",
    ):
        assert told in done.stderr, done.stderr
