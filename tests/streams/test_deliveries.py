"""Webhook deliveries to a real HTTP server: what is told, in which order, how often, and when no more."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from pydantic import SecretStr

from adapters import deliveries_plan
from adapters.deliveries_ledger import STATES, Delivery, effect_of
from adapters.settings import Settings
from adapters.wiring import Kontor
from commands.catalogue import AddProduct, RepriceProduct
from commands.handling import Actor
from commands.users import GrantRole, RegisterUser, RevokeRole
from commands.webhooks import (
    PauseWebhook,
    RegisterWebhook,
    RemoveWebhook,
    ReplayWebhook,
    ResumeWebhook,
    RotateWebhookSecret,
    UpdateWebhook,
)
from domain.identity import ProductId, UserId, WebhookEndpointId, event_id_text, product_id
from domain.money import Money
from domain.users import Role
from domain.webhooks import EndpointState, WebhookEndpoint
from streams import deliveries as posting
from streams import effects
from streams.deliveries import Deliveries
from tests.conftest import ROOT
from tests.given import SYSTEM
from tests.streams.webhook_receiver import Post, Receiver, receiver, status

pytestmark = pytest.mark.servers
WAIT_S = 30.0
ADDED, REPRICED = "kontor.product.added", "kontor.product.repriced"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and pauses of tests."""
    monkeypatch.setattr(posting, "LOOK_S", 0.05)
    monkeypatch.setattr(posting, "PAUSE_S_MIN", 0.02)
    monkeypatch.setattr(posting, "PAUSE_S_MAX", 0.2)
    monkeypatch.setattr(effects, "GATHER_S", 0.005)


@dataclass
class Shop:
    """A Kontor and who receives its webhooks."""

    kontor: Kontor
    receiver: Receiver
    owner: Actor

    async def do(self, request: Any, actor: Actor = SYSTEM) -> Any:
        return await self.kontor.pipeline.execute(request, actor=actor)

    async def endpoint(self, path: str = "/hooks", *types: str) -> tuple[WebhookEndpointId, str]:
        """Its id and its secret."""
        done = await self.do(RegisterWebhook(url=self.receiver.url + path, types=types or ("*",)), self.owner)
        return WebhookEndpointId(done.aggregate_id), done.secret["secret"]

    async def product(self, sku: str, *, prices: int = 0) -> ProductId:
        await self.do(AddProduct(sku=sku, name=sku, price=Money(100, "GBP")))
        for minor in range(1, prices + 1):
            await self.do(RepriceProduct(product_id=product_id(sku), price=Money(100 + minor, "GBP")))
        return product_id(sku)

    async def rows(self, endpoint_id: UUID) -> list[Delivery]:
        """The oldest first."""
        newest = await self.kontor.deliveries.newest([endpoint_id], STATES, limit=10_000)
        return newest.get(endpoint_id, [])[::-1]

    async def states(self, endpoint_id: UUID) -> list[str]:
        return [row.state for row in await self.rows(endpoint_id)]

    async def state(self, endpoint_id: UUID) -> EndpointState:
        endpoint = (await self.kontor.store.load([endpoint_id]))[endpoint_id][0]
        assert isinstance(endpoint, WebhookEndpoint)
        return endpoint.state

    async def execute(self, statement: str, *values: Any) -> None:
        async with self.kontor.pool.connection() as connection:
            await connection.execute(statement.encode(), values)


async def until(holds: Callable[[], Any]) -> None:
    """Waits until it is true."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found = holds()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.02)


@pytest.fixture
async def shop(kontor: Kontor) -> AsyncIterator[Shop]:
    async with receiver() as receiving:
        ines = RegisterUser(email="ines@example.com", name="Ines", password=None, roles=(Role.INTEGRATOR,))
        owner = (await kontor.pipeline.execute(ines, actor=SYSTEM)).aggregate_id
        yield Shop(kontor, receiving, Actor.user(owner, [Role.INTEGRATOR]))


@asynccontextmanager
async def delivering(shop: Shop) -> AsyncIterator[None]:
    """A worker's part in it."""
    task = asyncio.create_task(Deliveries(shop.kontor).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def all_done(shop: Shop, endpoint_id: UUID) -> bool:
    return set(await shop.states(endpoint_id)) == {"done"}


async def planned(shop: Shop) -> None:
    """Plan all there is."""
    while (await posting.plan(shop.kontor)).more:
        pass


def told(shop: Shop, path: str = "/hooks") -> list[tuple[str, str, str]]:
    """SKU or aggregate, type and version of what was taken, in order."""
    return [
        (post.event["subject"], post.event["type"], post.event["sequence"])
        for post in shop.receiver.taken
        if post.path == path
    ]


async def test_an_endpoint_is_told_what_follows_its_registration_once_signed_and_in_the_envelope_of_kafka(
    shop: Shop,
) -> None:
    await shop.product("BEFORE")
    endpoint_id, secret = await shop.endpoint("/hooks", "product.added")
    mug = await shop.product("MUG", prices=1)
    async with delivering(shop):
        await until(lambda: shop.receiver.taken)
        (post,) = shop.receiver.posts
    assert post.signed_with(secret)
    assert post.id == post.event["id"] == event_id_text(mug, 1)
    assert post.headers["content-type"] == "application/cloudevents+json"
    (record,) = await shop.kontor.log.of_aggregate(mug, limit=1)
    told = post.event
    assert (told["data"]["sku"], told.pop("data")["name"]) == ("MUG", "MUG")
    assert told == {
        "specversion": "1.0",
        "id": event_id_text(mug, 1),
        "source": "/kontor/product",
        "type": ADDED,
        "subject": str(mug),
        "time": told["time"],
        "dataschema": f"/schemas/product.added/{record.schema_version}.json",
        "datacontenttype": "application/json",
        "position": str(record.position),
        "sequence": "1",
        "partitionkey": str(mug),
        "correlationid": str(record.correlation_id),
        "causationid": str(record.command_id),
        "commandid": str(record.command_id),
        "actor": "system:test",
    }
    await until(lambda: all_done(shop, endpoint_id))
    (row,) = await shop.rows(endpoint_id)
    assert (row.event_id, row.attempts, row.last_status) == (UUID(post.id), 1, 204)


async def test_each_endpoint_is_told_what_follows_its_registration_however_late_it_is_planned(shop: Shop) -> None:
    early, _ = await shop.endpoint("/early", "product.added")
    first = await shop.product("FIRST")
    late, _ = await shop.endpoint("/late", "product.added", "product.repriced")
    second = await shop.product("SECOND", prices=1)
    await shop.do(UpdateWebhook(endpoint_id=early, types=("product.repriced",)), shop.owner)
    third = await shop.product("THIRD", prices=1)
    await planned(shop)
    assert [(row.event_type, row.subject_id) for row in await shop.rows(early)] == [
        ("product.added", first),
        ("product.added", second),
        ("product.repriced", third),
    ]
    assert [row.subject_id for row in await shop.rows(late)] == [second, second, third, third]


async def test_events_of_one_aggregate_come_in_order_though_one_fails_and_others_do_not_wait(shop: Shop) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added", "product.repriced")
    shop.receiver.answers["/hooks"] = [status(500), status(404)]
    mug = await shop.product("MUG", prices=4)
    await planned(shop)
    cup = await shop.product("CUP", prices=4)
    async with delivering(shop):
        await until(lambda: len(shop.receiver.taken) == 10)
        await until(lambda: all_done(shop, endpoint_id))
    for product in (mug, cup):
        assert [version for subject, _, version in told(shop) if subject == str(product)] == ["1", "2", "3", "4", "5"]
    assert len(shop.receiver.posts) == 12
    rows = await shop.rows(endpoint_id)
    assert sorted(row.attempts for row in rows) in ([1] * 8 + [2, 2], [1] * 9 + [3])
    # The second answer is the first one's second, or another's first.
    errors = {"EndpointAway: it answered 500: told 500", "Untaken: it answered 404: told 404"}
    assert {row.last_error for row in rows if row.attempts > 1} in (errors, {"Untaken: it answered 404: told 404"})


async def test_a_dead_endpoint_delays_no_other(shop: Shop) -> None:
    dead, _ = await shop.endpoint("/dead", "product.added")
    await shop.endpoint("/alive", "product.added")
    shop.receiver.always["/dead"] = never
    async with delivering(shop):
        for number in range(12):
            await shop.product(f"P{number}")
        await until(lambda: len(told(shop, "/alive")) == 12)
        assert (told(shop, "/dead"), await shop.states(dead)) == ([], ["waiting"] * 12)
        assert len([post for post in shop.receiver.posts if post.path == "/dead"]) <= posting.AT_ONCE


async def never(_: Post) -> web.StreamResponse:
    await asyncio.sleep(600)
    return web.Response()


async def test_an_endpoint_that_asks_to_be_left_alone_is_left_alone(shop: Shop) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added")
    shop.receiver.answers["/hooks"] = [status(429, **{"Retry-After": "2"})]
    await shop.product("FIRST")
    loop = asyncio.get_running_loop()
    async with delivering(shop):
        await until(lambda: shop.receiver.posts)
        asked_at = loop.time()
        await shop.product("SECOND")
        await until(lambda: len(shop.receiver.taken) == 2)
    assert loop.time() - asked_at > 1.5
    assert [row.attempts for row in await shop.rows(endpoint_id)] == [2, 1]


async def test_an_endpoint_that_is_gone_is_disabled_and_told_what_follows_its_resumption(shop: Shop) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added")
    shop.receiver.answers["/hooks"] = [status(410)]
    await shop.product("GONE")
    async with delivering(shop):
        await until(lambda: is_in(shop, endpoint_id, EndpointState.DISABLED))
        await until(lambda: are(shop, endpoint_id, ["given_up"]))
        await shop.product("MISSED")
        await shop.do(ResumeWebhook(endpoint_id=endpoint_id), shop.owner)
        back = await shop.product("BACK")
        await until(lambda: shop.receiver.taken)
        await until(lambda: are(shop, endpoint_id, ["given_up", "done"]))
    assert told(shop) == [(str(back), ADDED, "1")]
    assert len(shop.receiver.posts) == 2
    (disabled,) = await shop.kontor.log.matching(0, types=["webhook.disabled"], limit=9)
    assert (disabled.actor, json.loads(disabled.state)["reason"]) == ("system:webhooks", "it answered 410: told 410")


async def is_in(shop: Shop, endpoint_id: UUID, state: EndpointState) -> bool:
    return await shop.state(endpoint_id) is state


async def are(shop: Shop, endpoint_id: UUID, states: list[str]) -> bool:
    return await shop.states(endpoint_id) == states


@pytest.mark.parametrize(("alive", "state"), [(False, EndpointState.DISABLED), (True, EndpointState.ACTIVE)])
async def test_what_fails_for_three_days_is_given_up_and_so_is_an_endpoint_that_takes_nothing_else(
    shop: Shop, alive: bool, state: EndpointState
) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added", "product.repriced")
    mug = await shop.product("MUG", prices=1)

    async def first_refused(post: Post) -> web.StreamResponse:
        refused = not alive or (post.event["subject"], post.event["sequence"]) == (str(mug), "1")
        return web.Response(status=400 if refused else 200)

    shop.receiver.always["/hooks"] = first_refused
    async with delivering(shop):
        await until(lambda: shop.receiver.posts)
        await shop.product("CUP")
        await until(lambda: not alive or shop.receiver.taken)
        # Three days later.
        await shop.execute("UPDATE webhook_deliveries SET give_up_at = now(), due_at = now() WHERE attempts > 0")
        await until(lambda: has_given_up(shop, endpoint_id))
        await until(lambda: is_in(shop, endpoint_id, state))
        if alive:
            # The next of its aggregate has its turn.
            await until(lambda: (str(mug), REPRICED, "2") in told(shop))
    disabled = await shop.kontor.log.matching(0, types=["webhook.disabled"], limit=9)
    assert [json.loads(each.state)["reason"] for each in disabled] == (
        [] if alive else ["nothing was taken for 3 days; last: it answered 400"]
    )


async def has_given_up(shop: Shop, endpoint_id: UUID) -> bool:
    return "given_up" in await shop.states(endpoint_id)


async def test_while_an_endpoint_is_paused_what_happens_waits_and_then_goes_on_in_order(shop: Shop) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added", "product.repriced")
    await shop.do(PauseWebhook(endpoint_id=endpoint_id), shop.owner)
    mug = await shop.product("MUG", prices=3)
    other, _ = await shop.endpoint("/other", "product.added")
    await shop.product("CUP")
    async with delivering(shop):
        await until(lambda: all_done(shop, other))
        assert (told(shop), await shop.states(endpoint_id)) == ([], ["waiting"] * 5)
        await shop.do(ResumeWebhook(endpoint_id=endpoint_id), shop.owner)
        await until(lambda: all_done(shop, endpoint_id))
    assert [version for subject, _, version in told(shop) if subject == str(mug)] == ["1", "2", "3", "4"]


async def test_an_endpoint_whose_owner_may_not_read_the_log_any_more_is_told_nothing_of_it(shop: Shop) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added")
    owner = UserId(shop.owner.user_id or UUID(int=0))
    await shop.do(RevokeRole(user_id=owner, role=Role.INTEGRATOR))
    await shop.product("SECRET")
    async with delivering(shop):
        await until(lambda: is_in(shop, endpoint_id, EndpointState.DISABLED))
        await until(lambda: are(shop, endpoint_id, ["given_up"]))
        await shop.do(GrantRole(user_id=owner, role=Role.INTEGRATOR))
        await shop.do(ResumeWebhook(endpoint_id=endpoint_id), shop.owner)
        known = await shop.product("KNOWN")
        await until(lambda: shop.receiver.taken)
    assert [post.event["subject"] for post in shop.receiver.posts] == [str(known)]


async def test_what_was_tried_before_a_pause_is_tried_anew_after_it_and_does_not_disable(shop: Shop) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added")
    shop.receiver.answers["/hooks"] = [status(500), status(400)]
    await shop.product("MUG")
    await planned(shop)
    (row,) = await shop.kontor.deliveries.claim(effect_of(endpoint_id), limit=9, lease_s=9)
    await shop.kontor.deliveries.failed(row, "EndpointAway", pause_s=30_000)
    await shop.do(PauseWebhook(endpoint_id=endpoint_id), shop.owner)
    await planned(shop)
    await shop.execute("UPDATE webhook_deliveries SET give_up_at = now() - interval '4 days'")
    await shop.do(ResumeWebhook(endpoint_id=endpoint_id), shop.owner)
    async with delivering(shop):
        await until(lambda: all_done(shop, endpoint_id))
    assert await shop.state(endpoint_id) is EndpointState.ACTIVE
    assert [each.attempts for each in await shop.rows(endpoint_id)] == [4]


async def test_a_removed_endpoint_is_told_nothing_more_not_even_what_waits(shop: Shop) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added")
    other, _ = await shop.endpoint("/other", "product.added")
    await shop.product("MUG")
    await planned(shop)
    assert await shop.states(endpoint_id) == ["waiting"]
    await shop.do(RemoveWebhook(endpoint_id=endpoint_id), shop.owner)
    await shop.product("CUP")
    async with delivering(shop):
        await until(lambda: len(told(shop, "/other")) == 2)
        await until(lambda: all_done(shop, other))
        await until(lambda: are(shop, endpoint_id, []))  # whoever posts may see the removal before whoever plans
    assert told(shop) == []


async def test_after_a_rotation_both_secrets_sign_for_a_day(shop: Shop) -> None:
    endpoint_id, old = await shop.endpoint("/hooks", "product.added")
    new = (await shop.do(RotateWebhookSecret(endpoint_id=endpoint_id), shop.owner)).secret["secret"]
    async with delivering(shop):
        await shop.product("FIRST")
        await until(lambda: len(shop.receiver.taken) == 1)
        await shop.execute("UPDATE webhook_secrets SET previous_until = now() - interval '1 second'")
        await shop.product("SECOND")
        await until(lambda: len(shop.receiver.taken) == 2)
    first, second = shop.receiver.taken
    assert (first.signed_with(old), first.signed_with(new)) == (True, True)
    assert (second.signed_with(old), second.signed_with(new)) == (False, True)


async def test_a_stretch_of_the_log_is_told_again_in_order_a_few_at_a_time(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await shop.product("BEFORE", prices=20)
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added", "product.repriced")
    start, end = [(await shop.kontor.log.of_aggregate(before, limit=99))[at].position for at in (3, 18)]
    monkeypatch.setattr(deliveries_plan, "REPLAYED_AHEAD_MAX", 4)
    monkeypatch.setattr(posting, "EVENTS_AT_ONCE", 3)
    await shop.do(ReplayWebhook(endpoint_id=endpoint_id, since=start, until=end), shop.owner)
    for _ in range(5):
        await posting.plan(shop.kontor)
    # Whoever plans has died, and another goes on; nothing was posted yet, so it stands still.
    assert 4 < len(await shop.states(endpoint_id)) <= 4 + 3
    async with delivering(shop):
        after = await shop.product("AFTER")
        await until(lambda: len(shop.receiver.taken) == 16)
        await until(lambda: all_done(shop, endpoint_id))
    assert [version for subject, _, version in told(shop) if subject == str(before)] == [str(n) for n in range(5, 20)]
    assert (str(after), ADDED, "1") in told(shop)
    async with shop.kontor.pool.connection() as connection:
        found = await connection.execute("SELECT replay, until FROM webhook_stretches")
        assert await found.fetchall() == [(False, None)]


async def test_a_replay_up_to_now_tells_what_was_told_under_the_same_ids(shop: Shop) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added")
    await shop.product("MUG")
    async with delivering(shop):
        await until(lambda: len(shop.receiver.taken) == 1)
        await shop.do(ReplayWebhook(endpoint_id=endpoint_id, since=0), shop.owner)
        await until(lambda: len(shop.receiver.taken) == 2)
        await until(lambda: all_done(shop, endpoint_id))
    first, again = shop.receiver.taken
    assert (first.id, first.body) == (again.id, again.body)
    assert len(await shop.rows(endpoint_id)) == 2


async def test_without_endpoints_nothing_is_written_and_one_at_a_time_plans(shop: Shop) -> None:
    await shop.product("MUG", prices=3)
    assert await posting.plan(shop.kontor) == posting.Planned(0, more=False)
    async with shop.kontor.pool.connection() as connection:
        found = await connection.execute("SELECT position FROM webhook_planning")
        assert await found.fetchone() == (0,)
    await shop.endpoint("/hooks", "product.added")
    await shop.product("CUP")
    async with deliveries_plan.planning(shop.kontor.pool) as mine:
        assert mine is not None
        assert await posting.plan(shop.kontor) == posting.Planned(0, more=False)
    assert (await posting.plan(shop.kontor)).deliveries == 1


async def test_what_a_planner_that_dies_has_not_committed_is_planned_again_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added")
    await shop.product("MUG")

    async def dies(*_: Any) -> None:
        raise OSError("the connection is gone")

    with monkeypatch.context() as patched:
        patched.setattr(deliveries_plan.Planning, "move", dies)
        with pytest.raises(OSError, match="gone"):
            await posting.plan(shop.kontor)
    assert await shop.states(endpoint_id) == []
    for _ in range(2):
        await planned(shop)
    assert await shop.states(endpoint_id) == ["waiting"]


async def test_no_more_than_a_bounded_number_waits_and_the_log_keeps_the_rest(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries_plan, "WAITING_MAX", 5)
    monkeypatch.setattr(posting, "EVENTS_AT_ONCE", 2)
    endpoint_id, _ = await shop.endpoint("/hooks", "product.repriced")
    await shop.product("MUG", prices=12)
    for _ in range(12):
        await posting.plan(shop.kontor)
    assert len(await shop.states(endpoint_id)) in (6, 7)
    async with delivering(shop):
        await until(lambda: len(shop.receiver.taken) == 12)
    assert [version for _, _, version in told(shop)] == [str(number) for number in range(2, 14)]


async def test_old_deliveries_are_deleted_what_failed_later_and_what_waits_never(shop: Shop) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "product.repriced")
    await shop.product("MUG", prices=6)
    await planned(shop)
    rows = await shop.rows(endpoint_id)
    for row, state, days in zip(
        rows, ("done", "done", "given_up", "given_up", "waiting"), (6, 8, 8, 31, 99), strict=False
    ):
        await shop.execute("UPDATE webhook_deliveries SET state = %s, ended_at = now() - make_interval(days => %s)"
                           " WHERE number = %s", state, days, row.number)  # fmt: skip
    assert await shop.kontor.deliveries.delete_done(limit=1) == 1
    assert await shop.kontor.deliveries.delete_done(limit=9) == 1
    assert await shop.kontor.deliveries.delete_done(limit=9) == 0
    assert await shop.states(endpoint_id) == ["done", "given_up", "waiting", "waiting"]


async def test_a_worker_killed_between_the_answer_and_its_note_posts_again_under_the_same_id_and_nothing_is_lost(
    shop: Shop,
) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added", "product.repriced")
    mug = await shop.product("MUG", prices=2)
    worker = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("killed_deliverer.py")), env=environment(shop.kontor.settings)
    )
    async with asyncio.timeout(2 * WAIT_S):
        assert await worker.wait() == -signal.SIGKILL
    (taken,) = shop.receiver.taken
    assert await shop.states(endpoint_id) == ["waiting"] * 3
    await shop.execute("UPDATE webhook_deliveries SET claimed_until = now()")  # its lease is over
    async with delivering(shop):
        await until(lambda: all_done(shop, endpoint_id))
    again = shop.receiver.taken[1]
    assert (again.id, again.body) == (taken.id, taken.body)
    assert [version for _, _, version in told(shop)] == ["1", "1", "2", "3"]
    assert {subject for subject, _, _ in told(shop)} == {str(mug)}


def environment(settings: Settings) -> dict[str, str]:
    """For a process of its own on the same servers."""
    given = {f"KONTOR_{name.upper()}": str(reveal(value)) for name, value in settings if value not in (None, "")}
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **given}


def reveal(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


async def test_an_endpoint_gets_its_first_post_once_it_has_agreed_to_receive_posts(shop: Shop) -> None:
    shop.receiver.consent = "other.example"
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added")
    mug = await shop.product("MUG")
    async with delivering(shop):
        await until(lambda: len(shop.receiver.asked) > 1)
        assert shop.receiver.posts == []
        shop.receiver.consent = "127.0.0.1"  # the host of KONTOR_PUBLIC_URL
        await until(lambda: all_done(shop, endpoint_id))
    assert told(shop) == [(str(mug), ADDED, "1")]


async def test_an_endpoint_is_told_only_what_its_owner_may_read(shop: Shop) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "*")
    admin = RegisterUser(email="anne@example.com", name="Anne", password=None, roles=(Role.ADMIN,))
    anne = UserId((await shop.do(admin)).aggregate_id)
    await shop.do(GrantRole(user_id=anne, role=Role.STAFF))
    await shop.endpoint("/others", "order.placed")
    await shop.product("MUG")
    await shop.do(ReplayWebhook(endpoint_id=endpoint_id, since=0), shop.owner)
    async with delivering(shop):
        await until(lambda: all_done(shop, endpoint_id))
    told_of = {post.event["type"] for post in shop.receiver.posts if post.path == "/hooks"}
    assert told_of == {"kontor.user.registered", "kontor.product.added"}
    assert all(
        post.event["data"]["roles"] is None
        for post in shop.receiver.posts
        if post.event["type"] == "kontor.user.registered"
    )
    assert {row.event_type for row in await shop.rows(endpoint_id)} == {"user.registered", "product.added"}


async def test_an_admins_endpoint_is_told_everything_until_he_is_none(shop: Shop) -> None:
    owner = UserId(shop.owner.user_id or UUID(int=0))
    await shop.do(GrantRole(user_id=owner, role=Role.ADMIN))
    shop.owner = Actor.user(owner, [Role.INTEGRATOR, Role.ADMIN])
    endpoint_id, _ = await shop.endpoint("/hooks", "user.role_granted", "user.role_revoked", "product.added")
    await shop.do(GrantRole(user_id=owner, role=Role.ANALYST))
    await planned(shop)
    await shop.do(RevokeRole(user_id=owner, role=Role.ADMIN))
    await shop.product("MUG")
    async with delivering(shop):
        await until(lambda: are(shop, endpoint_id, ["given_up", "done"]))
    assert [post.event["type"] for post in shop.receiver.posts] == [ADDED]
