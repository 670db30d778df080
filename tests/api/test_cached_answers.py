"""Answers that are kept: for whom they were made alone, by the question's bytes, and no longer than they are true."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import msgspec
import pytest

from adapters.consistency import ViewPositions
from adapters.read_store import ReadStore, tell_changed, upsert
from adapters.wiring import Kontor
from api import cached_answers
from commands.handling import Actor
from domain.identity import stock_item_id
from domain.users import Role
from projections.catalogue import CATALOGUE
from projections.inventory import STOCK
from projections.view import Row, View
from tests.api.following import until as eventually
from tests.api.made_rows import Shop, stored_shop
from tests.api.served import Served, served
from tests.conftest import Stack, installation_on
from tests.erasing import erased_in_the_log

pytestmark = pytest.mark.servers
STOCK_OF = "query($sku: String!) { stockItem(sku: $sku) { sku onHand version } }"
ORDERS = "{ orders(first: 50) { nodes { id customer { name } } totalCount } }"
ME = "{ me { id name email } }"
ORIGIN = "https://shop.example"


@dataclass(frozen=True)
class Told:
    """An answer as it came."""

    status: int
    headers: Any
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)["data"]


class Asking:
    """Who asks an API of the test's own, and the shop behind it."""

    def __init__(self, api: Served, shop: Shop) -> None:
        self.api, self.shop = api, shop
        self.sku = shop.products[0].sku

    @property
    def kontor(self) -> Kontor:
        return self.api.kontor

    def token(self, actor: Actor) -> str:
        assert actor.user_id is not None
        return self.api.token(actor.user_id, *actor.roles)

    async def ask(
        self, document: str, token: str = "", headers: dict[str, str] | None = None, **variables: Any
    ) -> Told:
        body = json.dumps({"query": document, "variables": variables}).encode()
        head = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        async with self.api.http.post(f"{self.api.url}/graphql", data=body, headers=head | (headers or {})) as answer:
            return Told(answer.status, answer.headers, await answer.read())

    async def kept(self, document: str, token: str = "", **variables: Any) -> Told:
        """The answer, once it comes from the cache: the same bytes again, with a validator."""

        async def again() -> Told | None:
            # Both ways to it: of pages more has to be judged first.
            first, second = [
                await self.ask(document, token, headers, **variables) for headers in ({"Origin": ORIGIN}, None)
            ]
            same = first.headers.get("etag") and first.headers.get("etag") == second.headers.get("etag")
            return second if same and first.body == second.body else None

        return await eventually(again)

    async def change(self, view: View[Any], row: Row) -> None:
        """As a worker changes a row."""
        row = msgspec.structs.replace(row, version=row.version + 1)
        async with self.kontor.pool.connection() as connection, connection.transaction():
            await connection.execute(upsert(view), [msgspec.json.encode([row]).decode()])
            await tell_changed(connection, view, [row.id])

    async def stock(self) -> Any:
        (row,) = (await self.kontor.reads.by_id(STOCK, [self.stock_id])).values()
        return row

    @property
    def stock_id(self) -> UUID:
        return stock_item_id(self.sku)


@pytest.fixture
async def asking(stack: Stack) -> AsyncIterator[Asking]:
    async with (
        installation_on(stack) as settings,
        served(settings, allowed_origins=ORIGIN, environment="production") as api,
    ):
        shop = await stored_shop(api.kontor, 5)
        await eventually(lambda: trusted(api))
        yield Asking(api, shop)


async def trusted(api: Served) -> bool:
    return api.kontor.responses.trusted


async def test_what_is_asked_again_is_answered_with_the_same_bytes_and_costs_nothing(asking: Asking) -> None:
    first, second = [await asking.ask(STOCK_OF, sku=asking.sku) for _ in range(2)]
    assert "etag" not in first.headers
    third = await asking.ask(STOCK_OF, sku=asking.sku)
    assert third.body == second.body
    assert third.headers["etag"] == second.headers["etag"]
    for told in (second, third):
        assert ", ".join(told.headers.getall("vary")) == "Authorization, Accept, Origin"
    assert third.headers["cache-control"] == "private, no-cache"
    assert third.headers["content-type"] == first.headers["content-type"]
    assert json.loads(third.body)["data"] == json.loads(first.body)["data"]
    for name in ("x-content-type-options", "content-security-policy", "x-frame-options"):
        assert third.headers[name] == first.headers[name]
    assert third.headers["x-request-id"] not in (first.headers["x-request-id"], second.headers["x-request-id"])


async def test_who_has_the_answer_is_told_that_it_is_still_the_same(asking: Asking) -> None:
    etag = (await asking.kept(STOCK_OF, sku=asking.sku)).headers["etag"]
    for known in (etag, f'"other", {etag}', f"W/{etag}"):
        told = await asking.ask(STOCK_OF, headers={"If-None-Match": known}, sku=asking.sku)
        assert (told.status, told.body, told.headers["etag"]) == (304, b"", etag)
        assert "content-length" not in told.headers
    assert (await asking.ask(STOCK_OF, headers={"If-None-Match": '"other"'}, sku=asking.sku)).status == 200
    await asking.change(STOCK, replace_on_hand(await asking.stock(), 77))

    async def new() -> bool:
        told = await asking.ask(STOCK_OF, headers={"If-None-Match": etag}, sku=asking.sku)
        return told.status == 200 and told.data["stockItem"]["onHand"] == 77

    await eventually(new)


def replace_on_hand(row: Any, on_hand: int) -> Any:
    return msgspec.structs.replace(row, on_hand=on_hand)


async def test_nobody_gets_what_was_made_for_somebody_else(asking: Asking) -> None:
    """Two customers, staff, a customer with another role, nobody: each answer is made, kept, and asked for again."""
    one = Actor.user(asking.shop.users[0].id, [Role.CUSTOMER])
    actors = [one, Actor.user(asking.shop.users[1].id, [Role.CUSTOMER]), Actor.user(uuid4(), [Role.STAFF])]
    tokens = {actor.user_id: asking.token(actor) for actor in actors}
    answers = {user_id: await asking.kept(ORDERS, token) for user_id, token in tokens.items()}
    for actor in actors:
        wanted = [row for row in asking.shop.orders if actor.is_staff or row.customer_id == actor.user_id]
        assert answers[actor.user_id].data["orders"]["totalCount"] == len(wanted)
    assert (await asking.ask(ORDERS, tokens[one.user_id])).body == answers[one.user_id].body
    promoted = await asking.kept(ORDERS, asking.api.token(asking.shop.users[0].id, Role.STAFF))
    assert promoted.data["orders"]["totalCount"] == len(asking.shop.orders)
    nobody = await asking.ask(ORDERS)
    assert b"UNAUTHENTICATED" in nobody.body
    # Another token of the same user and roles sees the same.
    assert (await asking.ask(ORDERS, asking.token(one))).body == answers[one.user_id].body


async def test_a_token_is_good_for_kept_answers_as_long_as_for_others(asking: Asking) -> None:
    user_id = asking.shop.users[0].id
    kontor = asking.kontor
    issued = kontor.ports.clock.now() - timedelta(seconds=900 - 3)
    token = kontor.access_tokens.issue(user_id, [Role.CUSTOMER], uuid4(), now=issued)
    assert (await asking.kept(ME, asking.api.token(user_id, Role.CUSTOMER))).data["me"]["id"] == str(user_id)
    for _ in range(3):
        assert (await asking.ask(ME, token)).status == 200

    async def refused() -> bool:
        return b"UNAUTHENTICATED" in (await asking.ask(ME, token)).body

    await eventually(refused)
    for wrong in ("x", token[:-3] + "abc"):
        assert b"UNAUTHENTICATED" in (await asking.ask(ME, wrong)).body


async def test_a_token_of_an_ended_session_gets_no_kept_answer_and_no_other(asking: Asking) -> None:
    who = {"email": f"{uuid4().hex}@example.com", "password": "correct horse battery"}
    register = "mutation($i: RegisterUserInput!) { registerUser(input: $i) { ok } }"
    assert (await asking.ask(register, i=who | {"name": "Buyer"})).data["registerUser"]["ok"]
    sign_in = "mutation($i: SignInInput!) { signIn(input: $i) { tokens { accessToken } } }"
    token = (await asking.ask(sign_in, i=who)).data["signIn"]["tokens"]["accessToken"]
    await asking.kept(STOCK_OF, token, sku=asking.sku)
    assert (await asking.ask("mutation { signOut { ok } }", token)).data["signOut"]["ok"]
    assert b"UNAUTHENTICATED" in (await asking.ask(STOCK_OF, token, sku=asking.sku)).body
    assert b"UNAUTHENTICATED" in (await asking.ask("{ products(first: 1) { nodes { id } } }", token)).body


async def test_pages_of_other_sites_are_refused_and_allowed_ones_get_their_headers(asking: Asking) -> None:
    await asking.kept(STOCK_OF, sku=asking.sku)
    allowed = await asking.ask(STOCK_OF, headers={"Origin": ORIGIN}, sku=asking.sku)
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "etag" in allowed.headers["access-control-expose-headers"]
    assert allowed.headers["etag"]
    assert (await asking.ask(STOCK_OF, headers={"Origin": "https://evil.example"}, sku=asking.sku)).status == 403
    assert (await asking.ask(STOCK_OF, headers={"Content-Type": "text/plain"}, sku=asking.sku)).status == 415


@pytest.mark.parametrize(
    "document",
    [
        "{ views { name } }",
        "query($sku: String!) { product(sku: $sku) { history { type } } }",
        "{ orders { nodes { id } } }",  # refused: nobody is signed in
        'query($sku: String!) { stockItem(sku: $sku, asOf: "2030-01-01T00:00:00Z") { sku } }',
        "mutation { signOut { ok } }",
        "{ __typename",
    ],
)
async def test_what_may_change_unnoticed_or_was_refused_is_not_kept(asking: Asking, document: str) -> None:
    variables = {"sku": asking.sku} if "$sku" in document else {}
    for _ in range(4):
        assert "etag" not in (await asking.ask(document, **variables)).headers
    assert len(asking.kontor.responses) == 0


@pytest.mark.parametrize("header", ["Kontor-Consistent-With", "Kontor-Wait-Ms", "Kontor-Require"])
async def test_how_fresh_an_answer_must_be_is_never_taken_from_the_cache(asking: Asking, header: str) -> None:
    await asking.kept(STOCK_OF, sku=asking.sku)
    for origin in ({}, {"Origin": ORIGIN}):
        told = await asking.ask(STOCK_OF, headers={header: "!", **origin}, sku=asking.sku)
        assert b"errors" in told.body
        assert "etag" not in told.headers


async def test_what_was_read_before_a_change_is_not_kept_after_it(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, release = asyncio.Event(), asyncio.Event()
    by_id = ReadStore.by_id

    async def slow(self: ReadStore, view: View[Any], ids: Any) -> Any:
        rows = await by_id(self, view, ids)
        if self._made_of is not None:
            read.set()
            await release.wait()
        return rows

    await asking.ask(STOCK_OF, sku=asking.sku)
    monkeypatch.setattr(ReadStore, "by_id", slow)
    late = asyncio.create_task(asking.ask(STOCK_OF, sku=asking.sku))
    await read.wait()
    monkeypatch.undo()
    responses = asking.kontor.responses
    told = responses._number
    await asking.change(STOCK, replace_on_hand(await asking.stock(), 4_711))
    await eventually(lambda: is_past(responses, told))
    release.set()
    assert "etag" not in (await late).headers
    assert len(responses) == 0
    assert (await asking.ask(STOCK_OF, sku=asking.sku)).data["stockItem"]["onHand"] == 4_711


async def is_past(responses: Any, number: int) -> bool:
    return bool(responses._number > number)


async def test_while_changes_are_not_told_nothing_is_taken_from_the_cache(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The channel is cut and stays so; what was kept is gone when it is back."""
    await asking.kept(STOCK_OF, sku=asking.sku)
    follow = ViewPositions._follow
    cut = asyncio.Event()

    async def gone(*_: Any) -> None:
        cut.set()
        await asyncio.sleep(0.2)

    monkeypatch.setattr(ViewPositions, "_follow", gone)
    async with asking.kontor.pool.connection() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'kontor.view-positions'"
        )
    await eventually(lambda: happened(cut))
    assert not asking.kontor.responses.trusted
    assert len(asking.kontor.responses) == 0
    for on_hand in (1, 2):
        await asking.change(STOCK, replace_on_hand(await asking.stock(), on_hand))
        await asking.kontor.redis.flushdb()
        for _ in range(3):
            told = await asking.ask(STOCK_OF, sku=asking.sku)
            assert (told.data["stockItem"]["onHand"], "etag" in told.headers) == (on_hand, False)
            await asking.kontor.redis.flushdb()
    monkeypatch.setattr(ViewPositions, "_follow", follow)
    assert (await asking.kept(STOCK_OF, sku=asking.sku)).data["stockItem"]["onHand"] == 2


async def happened(event: asyncio.Event) -> bool:
    return event.is_set()


async def test_a_name_is_gone_once_its_key_is_whatever_the_views_have_seen(asking: Asking) -> None:
    person = asking.shop.users[0]
    mine, staffs = asking.api.token(person.id, Role.CUSTOMER), asking.api.token(uuid4(), Role.STAFF)
    names = "query($id: ID!) { user(id: $id) { name email } }"
    for token in (mine, staffs):
        assert (await asking.kept(names, token, id=str(person.id))).data["user"]["email"] == "p0@example.com"
    await erased_in_the_log(asking.kontor.store, person.id)
    await asking.kontor.personal_data.destroy(person.id)

    async def gone() -> bool:
        told = [await asking.ask(names, token, id=str(person.id)) for token in (mine, staffs)]
        return all(b"p0@example.com" not in each.body for each in told)

    await eventually(gone)


async def test_another_generation_of_a_view_shows_what_it_has(asking: Asking) -> None:
    document = "query($sku: String!) { product(sku: $sku) { name } }"
    staff = asking.api.token(uuid4(), Role.STAFF)
    product = asking.shop.products[0]
    assert (await asking.kept(document, staff, sku=asking.sku)).data["product"]["name"] == product.name
    generations = asking.kontor.reads.generations
    candidate = await generations.begin(CATALOGUE)
    async with asking.kontor.pool.connection() as connection:
        renamed = msgspec.structs.replace(product, name="Of the other generation")
        await connection.execute(upsert(candidate), [msgspec.json.encode([renamed]).decode()])
    await generations.beside(candidate)
    for change_over, name in ((generations.promote, renamed.name), (generations.rollback, product.name)):
        assert await change_over(CATALOGUE)

        async def shows(name: str = name) -> bool:
            told = await asking.kept(document, staff, sku=asking.sku)
            return bool(told.data["product"]["name"] == name)

        await eventually(shows)


async def test_a_question_that_is_too_long_is_answered_all_the_same(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_answers, "QUESTION_BYTES_MAX", 50)
    for _ in range(3):
        told = await asking.ask(STOCK_OF, sku=asking.sku)
        assert (told.status, "etag" in told.headers) == (200, False)
        assert told.data["stockItem"]["sku"] == asking.sku


@pytest.mark.parametrize("pauses_s", [(0.0, 0.0), (0.2, 0.2), (0.2, 2 * cached_answers.LOOK_S_MAX)])
async def test_who_sends_the_question_slowly_is_answered_all_the_same(
    asking: Asking, pauses_s: tuple[float, float]
) -> None:
    kept = await asking.kept(STOCK_OF, sku=asking.sku)
    body = json.dumps({"query": STOCK_OF, "variables": {"sku": asking.sku}}).encode()
    head = f"POST /graphql HTTP/1.1\r\nhost: kontor\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    url = urlsplit(asking.api.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        for part, pause_s in zip((head.encode() + b"\r\n\r\n", body[:20], body[20:]), (*pauses_s, 0.0), strict=True):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)
        async with asyncio.timeout(60):
            answered = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(answered.partition(b"content-length: ")[2].split()[0])
            assert answered.startswith(b"http/1.1 200")
            assert json.loads(await reader.readexactly(length))["data"] == kept.data
    finally:
        writer.close()


async def test_who_asks_and_goes_leaves_nothing_behind(asking: Asking) -> None:
    url = urlsplit(asking.api.url)
    before = len(asyncio.all_tasks())
    for _ in range(20):
        _, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(
            b"POST /graphql HTTP/1.1\r\nhost: k\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
        )
        await writer.drain()
        writer.transport.abort()

    async def gone() -> bool:
        return len(asyncio.all_tasks()) <= before + 2

    await eventually(gone)


async def test_a_size_of_zero_keeps_nothing(stack: Stack) -> None:
    async with installation_on(stack) as settings, served(settings, response_cache_bytes=0) as api:
        asking = Asking(api, await stored_shop(api.kontor, 5))
        for _ in range(4):
            assert "etag" not in (await asking.ask(STOCK_OF, sku=asking.sku)).headers
