"""Where log events of a command go: stderr, one JSON object a line, so that stdout holds nothing but the answer.

E-mail addresses are masked in everything that is logged, by us or by a library, tracebacks and the last words of a
process included: nobody has to remember it.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, Final

import structlog

# Whatever an account takes as address, of any script; rather too much is masked than too little. The last label begins
# with no digit: a host's number is shown. A domain is looked for from its @ on and the rest of the address backwards
# from there, within bounds, so that a long text costs no more than its length.
_LABEL: Final = r"[^\s@.,;:<>()\[\]{}\"'/\\]{1,63}"
_DOMAIN: Final = re.compile(rf"@(?:{_LABEL}\.){{1,126}}(?!\d){_LABEL}")
_LOCAL_LENGTH_MAX: Final = 254
_BEFORE_LOCAL: Final = frozenset('@,;:<>()[]"\\')
MASKED: Final = "***@***"


def mask_addresses(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor: every text of the event, also in lists and objects, without its e-mail addresses."""
    return {name: masked(value) for name, value in event.items()}


def masked(value: Any) -> Any:
    """The value without e-mail addresses; what is no text, list or object is shown as it is."""
    if isinstance(value, str):
        return _text_masked(value) if "@" in value else value
    if isinstance(value, list | tuple):
        return [masked(each) for each in value]
    if isinstance(value, dict):
        return {masked(name): masked(each) for name, each in value.items()}
    return value if isinstance(value, int | float | bool | None) else masked(str(value))


def _text_masked(text: str) -> str:
    shown, end = [], 0
    for domain in _DOMAIN.finditer(text):
        start, first = domain.start(), max(end, domain.start() - _LOCAL_LENGTH_MAX)
        while start > first and text[start - 1] not in _BEFORE_LOCAL and not text[start - 1].isspace():
            start -= 1
        if start < domain.start():
            shown += [text[end:start], MASKED]
            end = domain.end()
    return "".join([*shown, text[end:]])


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
    logging.setLogRecordFactory(MaskedRecord)
    sys.excepthook = _last_words


class MaskedRecord(logging.LogRecord):
    """What a library logs, masked before any handler, of whoever, sees it."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        try:
            said = self.getMessage()
        except (TypeError, ValueError, KeyError):  # the arguments do not fit the text: say both
            said = f"{self.msg} {self.args}"
        self.msg, self.args = masked(said), ()
        if self.exc_info and self.exc_info[0] is not None:
            # Formatters take this text when it is there.
            self.exc_text = masked("".join(traceback.format_exception(*self.exc_info)).rstrip())


def _last_words(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The traceback of what ends the process."""
    sys.stderr.write(masked("".join(traceback.format_exception(kind, error, trace))))
