"""What the development payment provider keeps and for how long, and where it says that it is enough; in one process."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from cli.gateway import books, faults, forms, serving
from cli.gateway.books import Books
from cli.gateway.clerk import Clerk
from cli.gateway.deliveries import ATTEMPTS_MAX, note
from cli.gateway.faults import FAULTS_MAX, Fault
from cli.gateway.payments import SEARCHED_MAX, Desk
from cli.gateway.refusals import Refusal
from cli.gateway.serving import Gateway
from tests.gateways import KEY, eventually

INTENTS = "/v1/payment_intents"


@pytest.mark.parametrize(
    "told",
    [b"", b"[]", b'{"kind":"decline","times":0}', b'{"kind":"delay","on":"explode"}', b'{"kind":"decline","x":1}',
     b'{"kind":"webhook_lose","on":"create"}', b'{"kind":"answer","status":200}', b"\xff"],
)  # fmt: skip
def test_what_is_no_fault_is_refused(told: bytes) -> None:
    with pytest.raises(Refusal):
        faults.read_fault(told)


def test_faults_are_bounded(tmp_path: Path) -> None:
    kept = Books(tmp_path / "books")
    for _ in range(FAULTS_MAX):
        kept.add_fault(Fault(kind="decline"))
    with pytest.raises(Refusal, match="clear them first"):
        kept.add_fault(Fault(kind="decline"))


def test_keys_are_forgotten_after_a_day_and_sent_webhooks_when_there_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "DONE_DELIVERIES_MAX", 3)
    kept = Books(tmp_path / "books")
    kept.keep_answer("k", books.KeptAnswer(b"", 200, b"", "req_1"), now=1_000.0)
    assert kept.kept_answer("k", now=1_000.0 + books.KEY_LIFE_S - 1)
    assert kept.kept_answer("k", now=1_000.0 + books.KEY_LIFE_S) is None
    kept.keep_answer("k", books.KeptAnswer(b"", 200, b"", "req_2"), now=1_000.0 + books.KEY_LIFE_S)
    for number in range(6):
        kept.queue(f"evt_{number}", "charge.refunded", "pi_1", b"", due=0.0, held=False, lost=False)
    for delivery in kept.due(now=1.0, limit=10):
        kept.sent(delivery, now=1.0)
    assert [each["event_id"] for each in kept.deliveries(10)] == ["evt_5", "evt_4", "evt_3"]


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    kept = Books(tmp_path / "books")
    answer = books.KeptAnswer(b"", 200, b"", "req_1")

    def twice() -> None:
        with kept.transaction():
            kept.keep_answer("k", answer, now=1.0)
            kept.keep_answer("k", answer, now=1.0)

    with pytest.raises(sqlite3.IntegrityError):
        twice()
    assert kept.kept_answer("k", now=1.0) is None


async def test_what_is_refused_beside_others_leaves_nothing_and_hinders_nobody(tmp_path: Path) -> None:
    clerk = Clerk(tmp_path / "books")
    await clerk.open()

    def refuse(kept: Books) -> None:
        kept.add_fault(Fault(kind="delay"))
        raise Refusal(400, "no")

    def fail(kept: Books) -> None:
        kept.add_fault(Fault(kind="hang"))
        raise ZeroDivisionError

    works = [lambda kept: kept.add_fault(Fault(kind="decline")), refuse, lambda kept: kept.faults()]
    first = await asyncio.gather(*(clerk.do(work) for work in works), return_exceptions=True)
    assert [type(each) for each in first] == [int, Refusal, list]
    assert [fault.kind for _, _, fault in first[2]] == ["decline"]
    with pytest.raises(ZeroDivisionError):
        await clerk.do(fail)
    assert [fault.kind for _, _, fault in await clerk.do(lambda kept: kept.faults())] == ["decline"]
    await clerk.close()


async def test_too_many_at_once_are_sent_away_and_silence_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "HANG_S_MAX", 0.8)
    clerk = Clerk(tmp_path / "books")
    await clerk.open()
    gateway = Gateway(clerk, KEY, requests=serving.REQUESTS_AT_ONCE_MAX - 1)
    async with TestClient(TestServer(serving.application(gateway))) as client:
        headers = {"Authorization": f"Bearer {KEY}"}
        await clerk.do(lambda kept: kept.add_fault(Fault(kind="hang", when="before", on="confirm")))
        last = asyncio.create_task(client.post(f"{INTENTS}/pi_1/confirm", headers=headers))
        await eventually(lambda: gateway.requests == serving.REQUESTS_AT_ONCE_MAX)
        assert (await client.get("/_gateway/ledger", headers=headers)).status == 429
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await last
        assert (await client.get("/_gateway/ledger", headers=headers)).status == 200
    await clerk.close()


def test_a_webhook_that_is_never_taken_is_given_up(tmp_path: Path) -> None:
    kept = Books(tmp_path / "books")
    kept.queue("evt_1", "charge.refunded", "pi_1", b"", due=0.0, held=False, lost=False)
    (waiting,) = kept.due(now=1.0, limit=1)
    for attempts, state in ((ATTEMPTS_MAX - 2, "waiting"), (ATTEMPTS_MAX - 1, "given up")):
        note(waiting._replace(attempts=attempts), "answered with 500", kept)
        assert [each["state"] for each in kept.deliveries(1)] == [state]


def test_a_form_has_its_bounds() -> None:
    with pytest.raises(Refusal, match="200 fields"):
        forms.Form("&".join(f"a{number}=1" for number in range(forms.FIELDS_MAX + 1)))
    assert len(forms.Form("&".join(f"a{number}=1" for number in range(forms.FIELDS_MAX))).fields) == forms.FIELDS_MAX


def test_a_search_finds_the_newest_and_says_that_there_are_more(tmp_path: Path) -> None:
    desk = Desk(Books(tmp_path / "books"), lambda *_: None, now=1)
    form = forms.Form("amount=1&currency=gbp&metadata[payment_id]=p-1")
    made = [desk.create(form).body["id"] for _ in range(3)]
    desk.create(forms.Form("amount=1&currency=gbp&metadata[payment_id]=p-2"))

    def found(text: str) -> tuple[list[str], bool]:
        body = desk.search(forms.Form(text)).body
        return [each.id for each in body["data"]], body["has_more"]

    wanted = "query=metadata['payment_id']:'p-1'"
    assert found(f"{wanted}&limit=2") == ([made[2], made[1]], True)
    assert found(f"{wanted}&limit=3") == ([made[2], made[1], made[0]], False)
    assert found("query=metadata['payment_id']:'p-3'") == ([], False)
    for refused in ("query=status:'succeeded'", "query=", f"{wanted}&limit={SEARCHED_MAX + 1}", f"{wanted}&page=2"):
        with pytest.raises(Refusal):
            found(refused)
