"""Mails as files, Maildir's way: written aside, synced, then renamed into `new`, so that nobody reads half a one.

Bounded in number and size: the oldest go. What was there before a restart is there after it. Several threads may use
one folder.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from itertools import count
from pathlib import Path
from typing import Final

MAILS_MAX: Final = 500
BYTES_MAX: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMail:
    """One mail as it is shown; what a mail lacks is empty."""

    id: str
    message_id: str
    sender: str
    to: str
    subject: str
    date: str
    text: str
    html: str
    headers: tuple[tuple[str, str], ...]

    def as_object(self) -> dict[str, str]:
        """For programs."""
        return {
            "id": self.id,
            "message_id": self.message_id,
            "from": self.sender,
            "to": self.to,
            "subject": self.subject,
            "date": self.date,
            "text": self.text,
            "html": self.html,
        }


class MailFolder:
    """The mails of one inbox. One process writes."""

    def __init__(self, path: Path, *, mails_max: int = MAILS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._aside, self._kept = path / "tmp", path / "new"
        self._mails_max, self._bytes_max = mails_max, bytes_max
        self._numbers = count(1)
        for folder in (self._aside, self._kept, path / "cur"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._aside.iterdir():
            left.unlink()
        # Names and bytes, the oldest first: a mail that comes costs the same however many are kept.
        self._sizes = deque((path.name, path.stat().st_size) for path in reversed(self._newest_first()))
        self._bytes = sum(size for _, size in self._sizes)
        self._dropping = threading.Lock()

    def keep(self, content: bytes) -> str:
        """Store a mail and drop the oldest that are too many; returns its id. It is on the disk when this returns."""
        mail_id = f"{time.time_ns()}-{os.getpid()}-{next(self._numbers)}"
        aside = self._aside / mail_id
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with self._dropping:
            aside.rename(self._kept / mail_id)
            self._sizes.append((mail_id, len(content)))
            self._bytes += len(content)
            self._drop_oldest()
        return mail_id

    def all(self) -> Iterator[KeptMail]:
        """Every mail, the newest first."""
        for path in self._newest_first():
            if (mail := self.find(path.name)) is not None:
                yield mail

    def find(self, mail_id: str) -> KeptMail | None:
        """The mail of this id."""
        source = self.source(mail_id)
        return None if source is None else _parsed(mail_id, source)

    def source(self, mail_id: str) -> bytes | None:
        """The mail as it came."""
        # Only a name that a listing shows: an id comes from a URL.
        if mail_id not in {path.name for path in self._kept.iterdir()}:
            return None
        try:
            return (self._kept / mail_id).read_bytes()
        except FileNotFoundError:
            return None

    def _newest_first(self) -> list[Path]:
        return sorted(self._kept.iterdir(), key=lambda path: _order(path.name), reverse=True)

    def _drop_oldest(self) -> None:
        while len(self._sizes) > self._mails_max or (len(self._sizes) > 1 and self._bytes > self._bytes_max):
            mail_id, size = self._sizes.popleft()
            self._bytes -= size
            (self._kept / mail_id).unlink(missing_ok=True)  # somebody may have emptied the folder


def _order(mail_id: str) -> list[int]:
    return [int(part) if part.isdigit() else 0 for part in mail_id.split("-")]


def _parsed(mail_id: str, source: bytes) -> KeptMail:
    message = BytesParser(policy=default).parsebytes(source)
    assert isinstance(message, EmailMessage)
    headers = tuple((name, str(value)) for name, value in message.items())
    named = {name.lower(): value for name, value in headers}
    return KeptMail(
        id=mail_id,
        message_id=named.get("message-id", ""),
        sender=named.get("from", ""),
        to=named.get("to", ""),
        subject=named.get("subject", ""),
        date=named.get("date", ""),
        text=_part(message, "plain"),
        html=_part(message, "html"),
        headers=headers,
    )


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    if part is None:
        return ""
    try:
        return str(part.get_content()).replace("\r\n", "\n")
    except (LookupError, ValueError):
        return "(This part cannot be shown: it is not written as it says.)"
