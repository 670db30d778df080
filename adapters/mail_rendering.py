"""Mails as text and HTML from typed facts, with nothing else: no clock, no look-up. The templates are in
`adapters/mail_templates`, read once.

What people typed (names, reasons, tracking numbers) is shown on one line, bounded, and without the characters that turn
the direction of writing; in HTML it is escaped and kept apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from domain.money import Money
from domain.notifications import MailTemplate

SHOP: Final = "Kontor"
TYPED_LENGTH_MAX: Final = 120
LINES_SHOWN_MAX: Final = 50
# What is not seen, or changes the direction of all that follows; and controls and what ends a line.
_HIDDEN: Final = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_BREAKS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Url(str):
    """A link of our own making: it is shown whole."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFacts:
    """One line of an order."""

    sku: str
    name: str
    quantity: int
    unit_price: Money
    total: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFacts:
    """An order. `reason` is there when it was cancelled, rejected or refunded, the rest when it was shipped."""

    number: str
    placed_at: datetime
    lines: tuple[LineFacts, ...]
    total: Money
    url: Url
    reason: str = ""
    carrier: str = ""
    tracking_number: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFacts:
    """A link that does something, for a while."""

    url: Url
    valid: timedelta

    @property
    def good_for(self) -> str:
        """`7 days`, `24 hours`, `30 minutes`."""
        if self.valid.days > 1:
            return f"{self.valid.days} days"
        hours, rest = divmod(int(self.valid.total_seconds()), 3600)
        return f"{hours} hours" if hours and not rest else f"{hours * 60 + rest // 60} minutes"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """Something that happened to an account."""

    url: Url


Facts: TypeAlias = OrderFacts | LinkFacts | AccountFacts


@dataclass(frozen=True, slots=True)
class Rendered:
    """A mail without its recipient."""

    subject: str
    text: str
    html: str


def render(template: MailTemplate, name: str, facts: Facts) -> Rendered:
    """The mail to a person of this name. Raises jinja2.UndefinedError for facts that the template does not fit."""
    lines = facts.lines if isinstance(facts, OrderFacts) else ()
    told = {
        "name": name,
        "facts": facts,
        "lines": lines[:LINES_SHOWN_MAX],
        "more": max(0, len(lines) - LINES_SHOWN_MAX),
        "shop": SHOP,
    }
    text = _ENVIRONMENT.get_template(f"{template}.txt")
    subject = "".join(text.blocks["subject"](text.new_context(told)))
    html = _ENVIRONMENT.get_template(f"{template}.html").render(told | {"subject": subject})
    return Rendered(subject, text.render(told).strip() + "\n", html.strip() + "\n")


def money(amount: Money) -> str:
    """`1,234.50 GBP`, `500 JPY`: with the decimals that the currency has."""
    return f"{amount.amount:,} {amount.currency}"


def day(moment: datetime) -> str:
    """`2026-01-31`, of UTC."""
    return moment.strftime("%Y-%m-%d")


def typed(text: str) -> str:
    """What somebody typed, as one bounded line."""
    line = " ".join(_BREAKS.sub(" ", _HIDDEN.sub("", text)).split())
    return line if len(line) <= TYPED_LENGTH_MAX else line[: TYPED_LENGTH_MAX - 1].rstrip() + "…"


def _shown(value: Any) -> Any:
    """Applied to everything that a template puts in, so that none can forget it."""
    return typed(value) if type(value) is str else value


_ENVIRONMENT: Final = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("mail_templates")),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
    finalize=_shown,
)
_ENVIRONMENT.filters |= {"money": money, "day": day}
