"""Where log events of a command go: stderr, one JSON object a line, so that stdout holds nothing but the answer."""

from __future__ import annotations

import sys

import structlog


def log_to_stderr(process: str) -> None:
    """Every event names its process. Call it once, before anything is logged."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(process=process)
