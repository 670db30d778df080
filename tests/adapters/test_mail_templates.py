"""Every mail as it is sent, held against `tests/golden/mails`; with names and texts that mean harm.

`WRITE_GOLDEN_MAILS=1` writes the files anew: look at what differs before it is committed.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from adapters.mail_rendering import (
    LINES_SHOWN_MAX,
    TYPED_LENGTH_MAX,
    AccountFacts,
    Facts,
    LineFacts,
    LinkFacts,
    OrderFacts,
    Rendered,
    Url,
    money,
    render,
)
from domain.money import Money
from domain.notifications import MailTemplate

GOLDEN = Path(__file__).parents[1] / "golden" / "mails"
SHOP = "https://shop.example"
ADA = "Ada Lovelace"
ORDER = OrderFacts(
    number="K100001",
    placed_at=datetime(2026, 1, 31, 12, tzinfo=UTC),
    lines=(
        LineFacts(
            sku="TEA-1",
            name="Earl Grey, 100 g",
            quantity=200,
            unit_price=Money(650, "GBP"),
            total=Money(130_000, "GBP"),
        ),
        LineFacts(
            sku="CUP-W", name="Cup <white> & blue", quantity=1, unit_price=Money(725, "GBP"), total=Money(725, "GBP")
        ),
    ),
    total=Money(130_725, "GBP"),
    url=Url(f"{SHOP}/orders/7"),
)
REASONED = replace(ORDER, reason="none left")
UNDO = LinkFacts(url=Url(f"{SHOP}/undo-email-change#token=abc"), valid=timedelta(days=7))
FACTS: dict[MailTemplate, Facts] = {
    MailTemplate.ORDER_CONFIRMED: ORDER,
    MailTemplate.ORDER_SHIPPED: replace(ORDER, carrier="Royal Mail", tracking_number="RM 123"),
    MailTemplate.ORDER_CANCELLED: REASONED,
    MailTemplate.ORDER_REJECTED: REASONED,
    MailTemplate.ORDER_REFUNDED: REASONED,
    MailTemplate.EMAIL_VERIFICATION: LinkFacts(url=Url(f"{SHOP}/verify-email#token=abc"), valid=timedelta(hours=24)),
    MailTemplate.EMAIL_VERIFIED: AccountFacts(url=Url(SHOP)),
    MailTemplate.PASSWORD_RESET: LinkFacts(url=Url(f"{SHOP}/reset-password#token=abc"), valid=timedelta(minutes=30)),
    MailTemplate.PASSWORD_CHANGED: AccountFacts(url=Url(f"{SHOP}/forgotten")),
    MailTemplate.MFA_ENABLED: AccountFacts(url=Url(f"{SHOP}/forgotten")),
    MailTemplate.MFA_DISABLED: AccountFacts(url=Url(f"{SHOP}/forgotten")),
    MailTemplate.ADDRESS_TAKEN: AccountFacts(url=Url(f"{SHOP}/forgotten")),
    MailTemplate.EMAIL_CHANGE: LinkFacts(url=Url(f"{SHOP}/verify-email#token=abc"), valid=timedelta(hours=24)),
    MailTemplate.EMAIL_CHANGE_REQUESTED: UNDO,
    MailTemplate.EMAIL_CHANGED: UNDO,
}
HOSTILE = {
    "html": '<img src=x onerror="alert(1)"></bdi><script>alert(2)</script>',
    "newlines": "Ada\r\nBcc: everybody@example.com\n\n.\nQUIT\u2028x\u0085y",
    "right to left": "\u202eadA\u202c \u2066x\u200f",
    "very long": "A" * 5_000,
    "a template": "{{ 7 * 7 }}{% raw %}${7*7}",
    "a link": "https://evil.example/" + "a" * 300,
}


class Shape(HTMLParser):
    """The tags of a page, with their attributes' names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, tuple(name for name, _ in attrs)))


def hostile_facts(text: str) -> dict[MailTemplate, Facts]:
    line = LineFacts(sku=text, name=text, quantity=1, unit_price=Money(1, "GBP"), total=Money(1, "GBP"))
    order = replace(ORDER, lines=(line, line), reason=text, carrier=text, tracking_number=text)
    return {template: order if isinstance(facts, OrderFacts) else facts for template, facts in FACTS.items()}


def shown(mail: Rendered) -> dict[str, str]:
    return {"txt": f"Subject: {mail.subject}\n\n{mail.text}", "html": mail.html}


@pytest.mark.parametrize("template", MailTemplate)
def test_a_mail_is_the_one_that_was_agreed(template: MailTemplate) -> None:
    for kind, text in shown(render(template, ADA, FACTS[template])).items():
        file = GOLDEN / f"{template}.{kind}"
        if os.environ.get("WRITE_GOLDEN_MAILS"):
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        assert text == file.read_text(), file.name


def test_there_is_no_golden_file_without_its_template() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(MailTemplate)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("template", MailTemplate)
def test_whatever_somebody_typed_the_mail_keeps_its_shape(template: MailTemplate, text: str) -> None:
    good, mail = render(template, ADA, FACTS[template]), render(template, text, hostile_facts(text)[template])
    assert Shape(mail.html).seen == Shape(good.html).seen
    assert len(mail.text.splitlines()) == len(good.text.splitlines())
    assert mail.subject == good.subject
    for part in (mail.text, mail.html):
        assert not set(part) & set("\r\u2028\u0085\u202e\u202c\u2066\u200f")
        assert "49" not in part
        assert "A" * (TYPED_LENGTH_MAX + 1) not in part
        assert "a" * TYPED_LENGTH_MAX not in part


def test_who_gives_another_ones_address_cannot_write_into_the_mail() -> None:
    mail = render(MailTemplate.EMAIL_VERIFICATION, "Buy at evil.example now", FACTS[MailTemplate.EMAIL_VERIFICATION])
    assert "evil.example" not in mail.text + mail.html


def test_of_a_long_order_the_rest_is_counted() -> None:
    (line, *_) = ORDER.lines
    for more, said in ((0, None), (1, "and 1 more line\n"), (1_950, "and 1950 more lines\n")):
        mail = render(MailTemplate.ORDER_CONFIRMED, ADA, replace(ORDER, lines=(line,) * (LINES_SHOWN_MAX + more)))
        assert mail.text.count("TEA-1") == mail.html.count("TEA-1") == LINES_SHOWN_MAX
        assert (said in mail.text) if said else ("more line" not in mail.text)


def test_facts_of_another_mail_are_an_error_and_no_mail_with_holes() -> None:
    with pytest.raises(UndefinedError):
        render(MailTemplate.ORDER_SHIPPED, ADA, AccountFacts(url=Url(SHOP)))


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Money(123_450, "GBP"), "1,234.50 GBP"),
        (Money(5, "GBP"), "0.05 GBP"),
        (Money(1_234_567, "JPY"), "1,234,567 JPY"),
        (Money(1_250, "BHD"), "1.250 BHD"),
        (Money(0, "EUR"), "0.00 EUR"),
    ],
)
def test_money_has_the_decimals_of_its_currency(amount: Money, text: str) -> None:
    assert money(amount) == text
