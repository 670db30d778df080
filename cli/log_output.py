"""Where log events of a command go: stderr, one JSON object a line, so that stdout holds nothing but the answer.

E-mail addresses are masked in everything that is logged, tracebacks included: nobody has to remember it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

# Bounded on both sides, so that a long text without an address costs no more than its length.
_ADDRESS: Final = re.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,63}")
MASKED: Final = "***@***"


def mask_addresses(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor: every text of the event, also in lists and objects, without its e-mail addresses."""
    return {name: masked(value) for name, value in event.items()}


def masked(value: Any) -> Any:
    """The value without e-mail addresses; what is no text, list or object is shown as it is."""
    if isinstance(value, str):
        return _ADDRESS.sub(MASKED, value) if "@" in value else value
    if isinstance(value, list | tuple):
        return [masked(each) for each in value]
    if isinstance(value, dict):
        return {masked(name): masked(each) for name, each in value.items()}
    return value if isinstance(value, int | float | bool | None) else masked(str(value))


def log_to_stderr(process: str) -> None:
    """Every event names its process. Call it once, before anything is logged."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            mask_addresses,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(process=process)
